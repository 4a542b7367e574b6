//! The fast path for redirects answers as the `App` behind actix-http does, whatever the client, and however its bytes arrive.

use serde_json::json;
use waypost_testkit::{Client, Node};

use super::{Raw, get, metric};
use crate::fresh_node;

/// Heads as real clients send them.
const CLIENTS: &[(&str, &str)] = &[
    ("curl", "Host: go.example\r\nUser-Agent: curl/8.14.1\r\nAccept: */*\r\n"),
    (
        "Chromium",
        "Host: go.example:8080\r\nConnection: keep-alive\r\nsec-ch-ua: \"Chromium\";v=\"141\", \"Not?A_Brand\";v=\"8\"\r\nsec-ch-ua-mobile: ?0\r\n\
         sec-ch-ua-platform: \"Linux\"\r\nUpgrade-Insecure-Requests: 1\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 \
         (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36\r\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,\
         image/webp,*/*;q=0.8\r\nSec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\nSec-Fetch-Dest: document\r\n\
         Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: de-DE,de;q=0.9,en;q=0.8\r\nCookie: a=b; c=\"d\"\r\n",
    ),
    (
        "Firefox",
        "Host: go.example\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0\r\nAccept: text/html,\
         application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
         DNT: 1\r\nSec-GPC: 1\r\nConnection: keep-alive\r\nUpgrade-Insecure-Requests: 1\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\n\
         Sec-Fetch-Site: cross-site\r\nPriority: u=0, i\r\n",
    ),
    (
        "Safari",
        "Host: go.example\r\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nSec-Fetch-Site: none\r\n\
         Accept-Encoding: gzip, deflate\r\nSec-Fetch-Mode: navigate\r\nUser-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) \
         AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1\r\nAccept-Language: fr-FR,fr;q=0.9\r\n\
         Sec-Fetch-Dest: document\r\nConnection: keep-alive\r\n",
    ),
    (
        "Python",
        "Host: go.example\r\nUser-Agent: python-requests/2.32.5\r\nAccept-Encoding: gzip, deflate\r\nAccept: */*\r\nConnection: keep-alive\r\n",
    ),
    ("Go", "Host: go.example\r\nUser-Agent: Go-http-client/1.1\r\nAccept-Encoding: gzip\r\n"),
    ("a health checker", "Host: 10.0.0.7:8080\r\nUser-Agent: kube-probe/1.34\r\nAccept: */*\r\nConnection: close\r\n"),
    (
        "nginx",
        "Host: go.example\r\nX-Real-IP: 203.0.113.7\r\nX-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: go.example\r\n\
         User-Agent: Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)\r\n",
    ),
];

/// An answer without the time at which it was made, and without the names of requests, which are all different.
fn comparable(answer: &str) -> (Vec<String>, String) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}"));
    let told = |line: &&str| !line.starts_with("date: ") && !line.starts_with("x-request-id: ");
    let mut lines: Vec<String> = head.lines().filter(told).map(str::to_owned).collect();
    assert!(head.contains("\r\ndate: "), "{head}");
    lines.sort();
    (lines, body.to_owned())
}

/// The answer on a connection of its own.
fn ask(node: &Node, request: &str) -> String {
    let mut raw = Raw::connect(node.address());
    raw.send(request);
    raw.answer()
}

/// The answer on a connection that was handed on.
fn ask_behind(node: &Node, request: &str) -> String {
    let mut raw = Raw::connect(node.address());
    raw.send(&get("/health/live"));
    assert!(raw.answer().starts_with("HTTP/1.1 200"));
    raw.send(request);
    raw.answer()
}

async fn handed_on(node: &Node) -> f64 {
    metric(node, "waypost_http_connections_handed_on_total").await.unwrap()
}

async fn node_with_links() -> (tempfile::TempDir, Node) {
    let (dir, node) = fresh_node();
    let client = node.client();
    for link in [
        json!({ "longUrl": "https://example.com/plain?a=1", "customSlug": "plain" }),
        json!({ "longUrl": "https://example.com/q", "customSlug": "query", "forwardQuery": true }),
        json!({ "longUrl": "https://example.com/p", "customSlug": "kept", "redirectStatus": 308 }),
        json!({ "longUrl": "https://example.com/t", "customSlug": "temporary", "redirectStatus": 307 }),
        json!({ "longUrl": "https://example.com/d", "customSlug": "off", "disabled": true }),
        json!({ "longUrl": "https://example.com/s", "customSlug": "secret", "password": "correct horse" }),
        json!({ "longUrl": "https://example.com/l", "customSlug": "later", "validSince": "2999-01-01T00:00:00Z" }),
    ] {
        let answer = client.send(client.request(reqwest::Method::POST, "/api/v1/links").json(&link)).await.unwrap();
        assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    }
    (dir, node)
}

#[tokio::test]
async fn every_client_gets_the_same_answer_both_ways_and_is_counted_alike() {
    let (_dir, node) = node_with_links().await;
    let before = handed_on(&node).await;
    let mut behind = 0.0;
    for path in [
        "/plain",
        "/plain?utm=1",
        "/query?x=%20y",
        "/kept",
        "/temporary",
        "/off",
        "/secret",
        "/later",
        "/nothing",
        "/plain+",
        "/%70lain",
    ] {
        // Once, so that what can be cached is.
        ask(&node, &get(path));
        for (name, headers) in CLIENTS {
            for method in ["GET", "HEAD"] {
                let request = format!("{method} {path} HTTP/1.1\r\n{headers}\r\n");

                let (fast, app) = match method {
                    // The answer has no body, whatever length it tells.
                    "HEAD" => (head_of(&node, &request, false), head_of(&node, &request, true)),
                    _ => (ask(&node, &request), ask_behind(&node, &request)),
                };
                behind += 1.0;
                assert_eq!(comparable(&fast), comparable(&app), "{name}: {method} {path}");
            }
        }
    }
    assert_eq!(handed_on(&node).await - before, behind, "only those that asked for something else before");
}

#[tokio::test]
async fn visits_are_counted_alike_both_ways() {
    let (_dir, node) = node_with_links().await;
    node.client().shorten(json!({ "longUrl": "https://example.com/", "customSlug": "behind" })).await.unwrap();
    for (_, headers) in CLIENTS {
        for query in ["", "?utm=1"] {
            // In the cache already, and not.
            for _ in 0..2 {
                ask(&node, &format!("GET /plain{query} HTTP/1.1\r\n{headers}\r\n"));
                ask_behind(&node, &format!("GET /behind{query} HTTP/1.1\r\n{headers}\r\n"));
            }
        }
    }
    let since = std::time::Instant::now();
    loop {
        let client = node.client();
        let visits =
            async |code: &str| client.get(&format!("/api/v1/links/{code}")).await.unwrap().json()["visits"].clone();
        let (plain, behind) = (visits("plain").await, visits("behind").await);
        let all = (CLIENTS.len() * 4) as u64;
        if plain["total"] == all && behind["total"] == all {
            assert_eq!(plain, behind);
            assert!(plain["people"].as_u64() > Some(0) && plain["bots"].as_u64() > Some(0), "{plain}");
            return;
        }
        assert!(since.elapsed() < super::PATIENCE, "{plain} {behind}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_client_whose_requests_never_end_with_what_is_read_takes_no_memory() {
    let (_dir, node) = node_with_links().await;
    let request = format!("GET /plain HTTP/1.1\r\nHost: h\r\nCookie: {}\r\n\r\n", "a".repeat(7000));
    let mut raw = Raw::connect(node.address());
    raw.send("G");
    let mut ask = |times: usize| {
        for _ in 0..times {
            raw.send(&format!("{}G", &request[1..]));
            assert!(raw.answer().starts_with("HTTP/1.1 302"));
        }
    };
    ask(100);
    let before = super::memory(&node);
    ask(4000);
    let grown = super::memory(&node).saturating_sub(before);
    assert!(grown < 8 << 20, "{} KiB more", grown >> 10);
}

#[tokio::test]
async fn a_word_of_ours_is_one_also_with_an_escape() {
    let (_dir, node) = node_with_links().await;
    for path in ["/generate%2Dkey", "/%64ocs", "/openapi%2ejson", "/generate-key"] {
        assert_eq!(comparable(&ask(&node, &get(path))).0[0], "HTTP/1.1 200 OK", "{path}");
        assert_eq!(comparable(&ask_behind(&node, &get(path))).0[0], "HTTP/1.1 200 OK", "{path}");
    }
}

/// The head of an answer to `HEAD`.
fn head_of(node: &Node, request: &str, behind: bool) -> String {
    let mut raw = Raw::connect(node.address());
    if behind {
        raw.send(&get("/health/live"));
        raw.answer();
    }
    // The next request shows that no body came.
    raw.send(&format!("{}{}", request.replace("Connection: close", "Connection: keep-alive"), get("/kept")));
    let head = raw.head();
    assert!(raw.answer().starts_with("HTTP/1.1 308 "), "after {head}");
    head
}

#[tokio::test]
async fn a_head_may_arrive_in_two_parts_wherever_it_is_cut() {
    let (_dir, node) = node_with_links().await;
    let request = get("/plain");
    let whole = comparable(&ask(&node, &request));
    let before = handed_on(&node).await;
    for cut in 1..request.len() {
        let mut raw = Raw::connect(node.address());
        raw.stream.set_nodelay(true).unwrap();
        raw.send(&request[..cut]);
        raw.send(&request[cut..]);
        assert_eq!(comparable(&raw.answer()), whole, "{cut}");
    }
    assert_eq!(handed_on(&node).await, before);
}

#[tokio::test]
async fn requests_that_come_together_are_answered_in_their_order_until_the_last_of_any_kind() {
    let (_dir, node) = node_with_links().await;
    let paths = [
        "/plain",
        "/nothing",
        "/plain",
        "/kept",
        "/plain+",
        "/off",
        "/plain",
        "/health/live",
        "/plain",
        "/nothing",
        "/api/v1/links/plain",
    ];
    for begin in 0..paths.len() {
        let asked: Vec<&str> = paths[begin..].iter().chain(&paths[..begin]).copied().collect();
        let mut raw = Raw::connect(node.address());
        raw.send(&asked.iter().map(|path| get(path)).collect::<String>());
        for path in &asked {
            let expected = match *path {
                "/plain" => "302",
                "/kept" => "308",
                "/nothing" => "404",
                "/off" => "410",
                _ => "200",
            };
            let answer = raw.answer();
            assert!(answer.starts_with(&format!("HTTP/1.1 {expected} ")), "{path} of {asked:?}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_client_that_says_so_is_the_last_to_ask_on_its_connection() {
    let (_dir, node) = node_with_links().await;
    for path in ["/plain", "/nothing"] {
        let mut raw = Raw::connect(node.address());
        raw.send(&format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n{}", get("/plain")));
        let (answers, _) = raw.end();
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{answers}");
        assert!(answers.contains("\r\nconnection: close\r\n"), "{answers}");
    }
}

#[tokio::test]
async fn a_browser_of_ours_needs_no_other_way() {
    let (_dir, node) = node_with_links().await;
    let before = handed_on(&node).await;
    let client = Client::new(node.address());
    for _ in 0..5 {
        assert_eq!(client.follow("plain").await.unwrap().as_deref(), Some("https://example.com/plain?a=1"));
        assert_eq!(client.get("/nothing").await.unwrap().status, 404);
    }
    assert_eq!(handed_on(&node).await, before);
}
