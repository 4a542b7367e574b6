//! `GET /{code}`: the same answer on both ways, and what is counted.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;

use crate::fresh_node;

/// The head of a raw answer without what differs between any two answers.
fn head(answer: &str) -> Vec<String> {
    let head = answer.split("\r\n\r\n").next().unwrap_or_default();
    let mut lines: Vec<String> =
        head.lines().map(str::to_owned).filter(|line| !line.to_lowercase().starts_with("date:")).collect();
    lines[1..].sort();
    lines
}

#[tokio::test]
async fn the_front_and_the_app_answer_alike() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    client.shorten(json!({ "longUrl": "https://example.com/x", "customSlug": "abc" })).await.unwrap();
    let ask = |target: &str| {
        client.raw(format!("GET {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").as_bytes()).unwrap()
    };
    // Not cached yet: from the replica. Then cached. An escape goes by the App, and so does a whole URL.
    let cold = ask("/abc");
    let warm = ask("/abc");
    assert!(cold.starts_with("HTTP/1.1 302 Found"), "{cold}");
    for other in [&warm, &ask("/%61bc"), &ask("/abc?utm=1"), &ask("/a%62c?x"), &ask("http://h/abc")] {
        assert_eq!(head(&cold), head(other));
    }
    let lines = head(&cold);
    for line in ["location: https://example.com/x", "cache-control: private, no-store", "content-length: 0"] {
        assert!(lines.iter().any(|have| have == line), "{lines:?}");
    }
}

#[tokio::test]
async fn head_answers_the_same_and_counts_nothing() {
    let (_dir, mut node) = fresh_node();
    let client = node.client();
    let code = client.create("https://example.com/h").await.unwrap();
    for _ in 0..3 {
        let get = client.get(&format!("/{code}")).await.unwrap();
        let head = client.send(client.request(Method::HEAD, &format!("/{code}"))).await.unwrap();
        assert_eq!((get.status, get.header("location")), (head.status, head.header("location")));
    }
    node.terminate().unwrap();
    node.restart().unwrap();
    let analytics = node.client().get(&format!("/analytics/{code}")).await.unwrap().json();
    assert_eq!(analytics["totalClicks"], 3);
}

#[tokio::test]
async fn a_browser_gets_a_page_and_a_program_a_problem_document() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let soon = jiff_in(1);
    let body = json!({ "longUrl": "https://example.com/", "customSlug": "brief", "validUntil": soon });
    assert_eq!(client.shorten(body).await.unwrap().status, 201);
    assert_eq!(client.get("/brief").await.unwrap().status, 302);
    let deadline = Instant::now() + Duration::from_secs(20);
    while client.get("/brief").await.unwrap().status == 302 {
        assert!(Instant::now() < deadline, "it never expires");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for (path, status, problem) in [("/nothing", 404, "link-not-found"), ("/brief", 410, "link-expired")] {
        let program = client.get(path).await.unwrap();
        assert_eq!((program.status, program.problem()), (status, problem.to_owned()));
        assert_eq!(program.header("content-type"), Some("application/problem+json"));
        let browser = client.request(Method::GET, path).header("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
        let browser = client.send(browser).await.unwrap();
        assert_eq!(browser.status, status);
        assert!(browser.header("content-type").unwrap().starts_with("text/html"));
        assert!(String::from_utf8(browser.body).unwrap().contains("<h1>"));
    }
}

fn jiff_in(seconds: i64) -> String {
    (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds)).to_string()
}

#[tokio::test]
async fn clicks_and_the_last_of_them_show_in_the_analytics() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let code = client.create("https://example.com/c").await.unwrap();
    let analytics = async || client.get(&format!("/analytics/{code}")).await.unwrap().json();
    let before = analytics().await;
    assert_eq!((&before["totalClicks"], &before["lastAccessed"]), (&json!(0), &json!(null)));
    assert_eq!(before["longUrl"], "https://example.com/c");
    for _ in 0..25 {
        client.get(&format!("/{code}")).await.unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while analytics().await["totalClicks"] != 25 {
        assert!(Instant::now() < deadline, "{}", analytics().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(analytics().await["lastAccessed"].is_string());
    assert_eq!(client.get("/analytics/nothing").await.unwrap().status, 404);
}

#[tokio::test]
async fn a_path_below_a_code_is_there_to_be_read_and_one_below_our_own_words_is_unknown() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let body = json!({ "longUrl": "https://example.com/a", "customSlug": "abc", "forwardPath": true });
    assert_eq!(client.shorten(body).await.unwrap().status, 201);
    let send = async |method: Method, path: &str| client.send(client.request(method, path)).await.unwrap();
    for method in [Method::GET, Method::HEAD] {
        assert_eq!(send(method, "/abc/x/y").await.header("location"), Some("https://example.com/a/x/y"));
    }
    let refused = send(Method::POST, "/abc/x/y").await;
    assert_eq!(
        (refused.status, refused.problem().as_str()),
        (415, "unsupported-media-type"),
        "only a password is sent there"
    );
    let refused = send(Method::PUT, "/abc/x/y").await;
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD, POST")));
    for path in ["/api/v1/nothing", "/api/x", "/shorten/x", "/health/x/y", "/docs/x"] {
        for method in [Method::GET, Method::POST] {
            let unknown = send(method, path).await;
            assert_eq!((unknown.status, unknown.problem().as_str()), (404, "not-found"), "{path}");
        }
    }
    let metrics = String::from_utf8(node.admin_client().unwrap().get("/metrics").await.unwrap().body).unwrap();
    let redirects = metrics.lines().find(|line| {
        line.starts_with("waypost_http_request_seconds_count") && line.contains("redirect") && line.contains("3xx")
    });
    assert!(redirects.is_some_and(|line| line.ends_with(" 2")), "{redirects:?}");
}
