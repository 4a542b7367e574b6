//! Slugs of several segments, on domains that have them.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use waypost_testkit::{Answer, Client};

use crate::fresh_node;

async fn send(client: &Client, method: Method, path: &str, body: Value) -> Answer {
    client.send(client.request(method, path).json(&body)).await.unwrap()
}

/// A domain of slugs with several segments.
async fn docs_domain(client: &Client) {
    let made =
        send(client, Method::POST, "/api/v1/domains", json!({ "host": "b.example", "multiSegment": true })).await;
    assert_eq!((made.status, &made.json()["multiSegment"]), (201, &json!(true)));
}

async fn link(client: &Client, slug: &str, to: &str, more: Value) -> Value {
    let mut body = json!({ "longUrl": format!("https://example.com/{to}"), "customSlug": slug, "domain": "b.example" });
    body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    let answer = send(client, Method::POST, "/api/v1/links", body).await;
    assert_eq!(answer.status, 201, "{slug}: {}", String::from_utf8_lossy(&answer.body));
    answer.json()
}

async fn visit(client: &Client, host: &str, path: &str) -> Answer {
    client.send(client.request(Method::GET, path).header("host", host)).await.unwrap()
}

async fn led_to(client: &Client, path: &str) -> String {
    let answer = visit(client, "b.example", path).await;
    match answer.status {
        302 => answer.header("location").unwrap().to_owned(),
        other => format!("{other} {}", answer.problem()),
    }
}

#[tokio::test]
async fn a_slug_of_several_segments_is_a_link_like_any_other() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    docs_domain(&client).await;
    let made = link(&client, "docs/setup", "setup", json!({})).await;
    let short_url = format!("http://b.example:{}/docs/setup", node.address().port());
    assert_eq!((&made["shortCode"], &made["shortUrl"]), (&json!("docs/setup"), &json!(short_url)));
    link(&client, "2026/spring/a-1", "spring", json!({})).await;
    link(&client, "plain", "plain", json!({})).await;
    // From the store, and then from the cache; as people type it.
    for path in [
        "/docs/setup",
        "/docs/setup",
        "/docs/setup/",
        "/docs/setup.",
        "/docs%2Fsetup",
        "/docs%2fsetup/",
        "//docs/setup",
    ] {
        assert_eq!(led_to(&client, path).await, "https://example.com/setup", "{path}");
    }
    assert_eq!(led_to(&client, "/2026/spring/a-1").await, "https://example.com/spring");
    assert_eq!(led_to(&client, "/plain").await, "https://example.com/plain");
    assert_eq!(led_to(&client, "/plain/more").await, "404 link-not-found");
    assert_eq!(led_to(&client, "/docs/Setup").await, "404 link-not-found");
    let head = client.send(client.request(Method::HEAD, "/docs/setup").header("host", "b.example")).await.unwrap();
    assert_eq!((head.status, head.header("location")), (302, Some("https://example.com/setup")));
    // Our own page stays, and so do the paths of other domains.
    assert_eq!(visit(&client, "b.example", "/docs").await.status, 200);
    for path in ["/docs/setup", "/2026/spring/a-1"] {
        let answer = visit(&client, "localhost", path).await;
        assert_eq!((answer.status, answer.problem()), (404, "not-found".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn every_operation_of_a_link_takes_its_segments_escaped() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    docs_domain(&client).await;
    let body = json!({ "longUrl": "https://example.com/setup", "customSlug": "docs/setup", "domain": "b.example" });
    let made = send(&client, Method::POST, "/api/v1/links", body).await;
    let location = made.header("location").unwrap().to_owned();
    assert!(location.ends_with("/api/v1/links/docs%2Fsetup?domain=b.example"), "{location}");
    let of = |rest: &str| format!("/api/v1/links/docs%2Fsetup{rest}?domain=b.example");
    assert_eq!(client.get(&of("")).await.unwrap().text("longUrl"), "https://example.com/setup");
    let edited = send(&client, Method::PATCH, &of(""), json!({ "longUrl": "https://example.com/edited" })).await;
    assert_eq!((edited.status, edited.text("shortCode")), (200, "docs/setup".to_owned()));
    let put = send(&client, Method::PUT, &of(""), json!({ "longUrl": "https://example.com/put" })).await;
    assert_eq!((put.status, led_to(&client, "/docs/setup").await), (200, "https://example.com/put".to_owned()));
    let history = client.get(&of("/history")).await.unwrap().json();
    assert_eq!(history["entries"].as_array().unwrap().len(), 3, "{history}");
    let restored = send(&client, Method::POST, &of("/history/1/restore"), Value::Null).await;
    assert_eq!((restored.status, restored.text("longUrl")), (200, "https://example.com/setup".to_owned()));
    assert_eq!(client.get(&of("/qr")).await.unwrap().status, 200);
    let live = client.get(&of("/stats/live")).await;
    assert!(live.is_err() || live.unwrap().status == 200);
    let put = send(
        &client,
        Method::PUT,
        "/api/v1/links/a%2Fb?domain=b.example",
        json!({ "longUrl": "https://example.com/new" }),
    );
    assert_eq!(put.await.status, 201);
    let items = json!({ "items": [
        { "op": "create", "link": { "longUrl": "https://example.com/c", "customSlug": "x/y/z", "domain": "b.example" } },
        { "op": "edit", "code": "x/y/z", "domain": "b.example", "changes": { "title": "T" } },
        { "op": "delete", "code": "a/b", "domain": "b.example" },
    ] });
    let answer = send(&client, Method::POST, "/api/v1/bulk", items).await.json();
    let statuses: Vec<u64> =
        answer["results"].as_array().unwrap().iter().filter_map(|one| one["status"].as_u64()).collect();
    assert_eq!(statuses, [201, 200, 204], "{answer}");

    let since = Instant::now();
    while client.get("/analytics/docs%2Fsetup?domain=b.example").await.unwrap().json()["totalClicks"] != 1 {
        assert!(since.elapsed() < Duration::from_secs(60), "the visit is not counted");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(client.get(&of("/stats")).await.unwrap().json()["totalClicks"], 1);
    assert_eq!(send(&client, Method::DELETE, &of("/stats"), Value::Null).await.status, 204);
    assert_eq!(send(&client, Method::DELETE, &of(""), Value::Null).await.status, 204);
    assert_eq!(led_to(&client, "/docs/setup").await, "404 link-not-found");
}

#[tokio::test]
async fn the_exact_slug_wins_over_links_that_forward_the_path_and_of_these_the_longest_wins() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    docs_domain(&client).await;
    let forwards = json!({ "forwardPath": true });
    link(&client, "a", "one", forwards.clone()).await;
    link(&client, "a/b", "two", forwards).await;
    link(&client, "a/b/c", "exact", json!({})).await;
    link(&client, "docs/guide", "guide", json!({ "forwardPath": true, "password": "correct horse" })).await;
    for _ in 0..2 {
        for (path, to) in [
            ("/a", "one"),
            ("/a/x", "one/x"),
            ("/a/x.html", "one/x.html"),
            ("/a/b", "two"),
            ("/a/b/", "two"),
            ("/a/b/x", "two/x"),
            ("/a/b/x/y.z", "two/x/y.z"),
            ("/a/b/c", "exact"),
            // The exact link forwards no path, so the next one does.
            ("/a/b/c/d", "two/c/d"),
            ("/a/b/1/2/3/4/5/6/7/8", "two/1/2/3/4/5/6/7/8"),
        ] {
            assert_eq!(led_to(&client, path).await, format!("https://example.com/{to}"), "{path}");
        }
    }
    assert_eq!(led_to(&client, "/b/a").await, "404 link-not-found");
    let form = |path: &str| {
        let request = client.request(Method::POST, path).header("host", "b.example");
        client.send(request.header("content-type", "application/x-www-form-urlencoded").body("password=correct+horse"))
    };
    for (path, to) in [("/docs/guide", "guide"), ("/docs/guide/more", "guide/more")] {
        assert_eq!(led_to(&client, path).await, "403 link-protected", "{path}");
        let passed = form(path).await.unwrap();
        assert_eq!(
            (passed.status, passed.header("location").unwrap()),
            (303, format!("https://example.com/{to}").as_str())
        );
    }
}

#[tokio::test]
async fn a_preview_of_several_segments_is_shown_and_counts_no_visit() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    docs_domain(&client).await;
    link(&client, "docs/setup", "setup", json!({ "title": "Setup" })).await;
    link(&client, "a", "one", json!({ "forwardPath": true })).await;
    link(&client, "a/over", "over", json!({ "disabled": true })).await;
    for path in ["/docs/setup+", "/docs%2Fsetup+"] {
        let request =
            client.request(Method::GET, path).header("host", "b.example").header("accept", "application/json");
        let preview = client.send(request).await.unwrap();
        assert_eq!(
            (preview.status, preview.text("longUrl"), preview.text("title")),
            (200, "https://example.com/setup".to_owned(), "Setup".to_owned())
        );
    }
    let page = client.request(Method::GET, "/docs/setup+").header("host", "b.example").header("accept", "text/html");
    let page = client.send(page).await.unwrap();
    assert!(page.status == 200 && String::from_utf8_lossy(&page.body).contains("https://example.com/setup"));
    assert_eq!(led_to(&client, "/a/over+").await, "410 link-disabled");
    // There is no such link, so the path belongs to the one that forwards it.
    assert_eq!(led_to(&client, "/a/c+").await, "https://example.com/one/c+");
    let missing = visit(&client, "b.example", "/b/c+").await;
    assert_eq!((missing.status, missing.problem()), (404, "link-not-found".to_owned()));
    assert_eq!(client.get("/analytics/docs%2Fsetup?domain=b.example").await.unwrap().json()["totalClicks"], 0);
}

#[tokio::test]
async fn what_is_no_slug_of_several_segments_is_refused_and_whether_a_domain_has_them_is_fixed() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    docs_domain(&client).await;
    let body = |slug: &str, host: Option<&str>| json!({ "longUrl": "https://example.com/", "customSlug": slug, "domain": host });
    for slug in ["api/x", "docs", "analytics/a", "/a", "a/", "a//b", "a/../b", "1/2/3/4/5/6/7", "a/-b", "a b/c"] {
        let refused = client.shorten(body(slug, Some("b.example"))).await.unwrap();
        assert_eq!((refused.status, refused.problem()), (422, "invalid-slug".to_owned()), "{slug}");
    }
    assert_eq!(client.shorten(body("a/b", None)).await.unwrap().problem(), "invalid-slug");
    link(&client, "a/b", "ab", json!({})).await;
    assert_eq!(client.shorten(body("a/b", Some("b.example"))).await.unwrap().problem(), "slug-taken");
    let path = "/api/v1/domains/b.example";
    let refused = send(&client, Method::PATCH, path, json!({ "multiSegment": false })).await;
    assert_eq!((refused.status, refused.problem()), (409, "conflict".to_owned()));
    assert_eq!(send(&client, Method::PATCH, path, json!({ "multiSegment": true })).await.status, 200);
    let default = send(&client, Method::PATCH, "/api/v1/domains/DEFAULT", json!({ "multiSegment": true })).await;
    assert_eq!((default.status, default.problem()), (409, "conflict".to_owned()));
    assert_eq!(send(&client, Method::DELETE, path, Value::Null).await.status, 204);
    let other = send(&client, Method::POST, "/api/v1/domains", json!({ "host": "b.example" })).await;
    assert_eq!((other.status, other.problem()), (409, "conflict".to_owned()));
    docs_domain(&client).await;
    assert_eq!(led_to(&client, "/a/b").await, "https://example.com/ab");
}

#[tokio::test]
async fn a_domain_may_compare_several_segments_without_case() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let settings = json!({ "host": "b.example", "multiSegment": true, "caseInsensitive": true });
    assert_eq!(send(&client, Method::POST, "/api/v1/domains", settings).await.status, 201);
    assert_eq!(link(&client, "Docs/Setup", "setup", json!({})).await["shortCode"], "docs/setup");
    for path in ["/DOCS/setup", "/DOCS/setup", "/Docs/Setup/"] {
        assert_eq!(led_to(&client, path).await, "https://example.com/setup", "{path}");
    }
}
