//! Bad input: a right `4xx`, a problem document, no change, no panic.

use proptest::prelude::*;
use reqwest::Method;
use serde_json::{Value, json};
use waypost_testkit::{Client, Node};

use crate::fresh_node;

async fn links(node: &Node) -> String {
    let metrics = Client::new(node.admin()).get("/metrics").await.unwrap();
    let text = String::from_utf8(metrics.body).unwrap();
    text.lines().find(|line| line.starts_with("waypost_links ")).unwrap().to_owned()
}

#[tokio::test]
async fn bad_values_are_named_and_change_nothing() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let ok = "https://example.com/";
    let table: Vec<(Value, u16, &str)> = vec![
        (json!({ "longUrl": format!("https://example.com/{}", "a".repeat(9000)) }), 422, "invalid-url"),
        (json!({ "longUrl": "javascript:alert(1)" }), 422, "invalid-url"),
        (json!({ "longUrl": "data:text/html,x" }), 422, "invalid-url"),
        (json!({ "longUrl": "file:///etc/passwd" }), 422, "invalid-url"),
        (json!({ "longUrl": "https://a.example/\r\nSet-Cookie: x=y" }), 422, "invalid-url"),
        (json!({ "longUrl": "https://a.example/\0" }), 422, "invalid-url"),
        (json!({ "longUrl": "https://user:pw@a.example/" }), 422, "invalid-url"),
        (json!({ "longUrl": format!("http://{}/x", node.address()) }), 422, "invalid-url"),
        (json!({ "longUrl": "" }), 422, "invalid-url"),
        (json!({ "longUrl": "example.com" }), 422, "invalid-url"),
        (json!({ "longUrl": ok, "customSlug": "a/b" }), 422, "invalid-slug"),
        (json!({ "longUrl": ok, "customSlug": ".." }), 422, "invalid-slug"),
        (json!({ "longUrl": ok, "customSlug": "" }), 422, "invalid-slug"),
        (json!({ "longUrl": ok, "customSlug": "Shorten" }), 422, "invalid-slug"),
        (json!({ "longUrl": ok, "customSlug": "🚀" }), 422, "invalid-slug"),
        (json!({ "longUrl": ok, "customSlug": "x".repeat(65) }), 422, "invalid-slug"),
        (json!({ "longUrl": ok, "validUntil": "soon" }), 422, "invalid-value"),
        (json!({ "longUrl": ok, "validUntil": "2001-01-01T00:00:00Z" }), 422, "invalid-value"),
        (json!({ "longUrl": ok, "customSlug": "x", "findIfExists": true }), 422, "invalid-value"),
        (json!({ "longUrl": ok, "colour": "red" }), 400, "malformed-request"),
        (json!({ "longUrl": ok, "url": ok }), 400, "malformed-request"),
        (json!({ "longUrl": 7 }), 400, "malformed-request"),
        (json!({ "longUrl": ok, "findIfExists": "yes" }), 400, "malformed-request"),
        (json!({}), 400, "malformed-request"),
        (json!([]), 400, "malformed-request"),
        (json!(null), 400, "malformed-request"),
    ];
    for (body, status, problem) in table {
        let answer = client.shorten(body.clone()).await.unwrap();
        assert_eq!((answer.status, answer.problem()), (status, problem.to_owned()), "{body}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert!(answer.text("detail").len() > 10, "{body}");
    }
    let port = node.address().port();
    for host in ["localhost", "127.0.0.1", "127.9.9.9", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "a.localhost"] {
        let body = json!({ "longUrl": format!("http://{host}:{port}/loop"), "customSlug": "loop" });
        let answer = client.shorten(body).await.unwrap();
        assert_eq!((answer.status, answer.problem()), (422, "invalid-url".to_owned()), "{host}");
    }
    assert_eq!(links(&node).await, "waypost_links 0");
}

#[tokio::test]
async fn bad_bodies_are_refused() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let send = |content_type: &'static str, body: Vec<u8>| {
        client.send(client.request(Method::POST, "/shorten").header("content-type", content_type).body(body))
    };
    for (content_type, body, status) in [
        ("application/json", b"{\"longUrl\":".to_vec(), 400),
        ("application/json", b"\xff\xfe".to_vec(), 400),
        ("application/json", br#"["https://example.com/", null, null, false]"#.to_vec(), 400),
        ("application/json", format!("{{\"longUrl\":{}", "[".repeat(20_000)).into_bytes(), 400),
        ("text/plain", b"https://example.com/\xff".to_vec(), 400),
        ("text/plain", b"https://example.com/\nhttps://example.com/".to_vec(), 422),
        ("text/plain", Vec::new(), 422),
        ("application/xml", b"<x/>".to_vec(), 415),
        ("application/x-www-form-urlencoded", b"url=https://example.com/".to_vec(), 415),
    ] {
        let answer = send(content_type, body).await.unwrap();
        assert_eq!(answer.status, status, "{content_type}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{content_type}");
    }
    for (path, body) in [("/shorten", "nothing"), ("/api/v1/links", "{}"), ("/api/v1/bulk", "{}"), ("/a", "password=b")]
    {
        let packed = |coding: &str| client.request(Method::POST, path).header("content-encoding", coding).body(body);
        for coding in ["gzip", "br", "identity, zstd"] {
            let refused = client.send(packed(coding)).await.unwrap();
            assert_eq!(
                (refused.status, refused.problem()),
                (415, "unsupported-media-type".to_owned()),
                "{path} {coding}"
            );
            assert!(refused.text("detail").contains("send it uncompressed"), "{}", refused.text("detail"));
        }
        let plain = client.send(packed("identity")).await.unwrap();
        assert!(!plain.text("detail").contains("uncompressed"), "{path}");
    }
    // The server may answer and close before ten megabytes are sent; what counts is that it does, and lives.
    if let Ok(answer) = send("application/json", vec![b' '; 10 << 20]).await {
        assert_eq!(answer.status, 413);
        // The end of the connection may overtake the body of the answer or its rest, as megabytes were still on their way.
        let cut_short = serde_json::from_slice::<serde_json::Value>(&answer.body).is_err();
        assert!(cut_short || answer.problem() == "body-too-large", "{}", answer.problem());
    }
    let long = vec![b' '; 100_000];
    let refused = send("application/json", long).await.unwrap();
    assert_eq!(refused.status, 413);
    assert!(refused.header("x-request-id").is_some_and(|id| id.len() == 16), "also a refusal names its request");
    assert_eq!(links(&node).await, "waypost_links 0");
    assert!(!node.errors().contains("panic"), "{}", node.errors());
}

#[tokio::test]
async fn wrong_paths_and_methods_are_refused() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    for (method, path, status) in [
        (Method::GET, "/a/b", 404),
        (Method::GET, "/", 404),
        (Method::GET, "/shorten", 405),
        (Method::DELETE, "/shorten", 405),
        (Method::DELETE, "/abc", 405),
        (Method::POST, "/abc", 415),
        (Method::PUT, "/api/v1/links/abc", 400),
        (Method::POST, "/api/v1/links/abc", 405),
        (Method::DELETE, "/api/v1/links", 405),
        (Method::GET, "/api/v1/links/abc", 404),
        (Method::GET, "/api/v1/links/%00", 404),
        (Method::GET, "/%2e%2e", 404),
        (Method::GET, "/%F0%9F%9A%80", 404),
        (Method::GET, "/%ff", 404),
    ] {
        let answer = client.send(client.request(method.clone(), path)).await.unwrap();
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{method} {path}");
    }
    for (method, path) in [(Method::POST, "/shorten/"), (Method::GET, "/api/v1/links/"), (Method::GET, "/health/live/")]
    {
        let answer = client.send(client.request(method.clone(), path)).await.unwrap();
        assert_eq!(answer.status, 404, "{method} {path}");
        assert!(answer.text("detail").contains("no slash at their end"), "{method} {path}: {}", answer.text("detail"));
    }
    let week = client.get("/api/v1/stats?interval=week").await.unwrap();
    let detail = week.text("detail");
    assert!(
        week.status == 400 && detail.starts_with("the query cannot be used:") && detail.contains("week"),
        "{detail}"
    );
    let typed = client.request(Method::POST, "/shorten").header("content-type", "text/json");
    let made = client.send(typed.body("{\"longUrl\":\"https://example.com/text-json\"}")).await.unwrap();
    assert_eq!(made.status, 201, "{}", made.text("detail"));
    for raw in ["GET / HTTP/9.9\r\n\r\n", "\0\0\0\0\r\n\r\n", "GET /a\0b HTTP/1.1\r\nHost: h\r\n\r\n"] {
        let answer = client.raw(raw.as_bytes()).unwrap();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{raw:?}: {answer}");
    }
    assert_eq!(client.get("/health/live").await.unwrap().status, 200);
}

#[test]
fn whatever_is_sent_the_server_answers_and_lives() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    proptest!(ProptestConfig::with_cases(300), |(url in ".{0,200}", slug in proptest::option::of(".{0,80}"), until in proptest::option::of(".{0,30}"))| {
        let body = json!({ "longUrl": url, "customSlug": slug, "validUntil": until });
        let answer = runtime.block_on(client.shorten(body)).unwrap();
        prop_assert!(matches!(answer.status, 201 | 400 | 409 | 422), "{}", answer.status);
    });
    proptest!(ProptestConfig::with_cases(200), |(body in proptest::collection::vec(any::<u8>(), 0..300))| {
        let request = client.request(Method::POST, "/shorten").header("content-type", "application/json").body(body);
        let answer = runtime.block_on(client.send(request)).unwrap();
        prop_assert!(answer.status == 400, "{}", answer.status);
    });
    assert!(!node.errors().contains("panic"), "{}", node.errors());
}
