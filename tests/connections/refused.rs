//! Whatever is refused, by whomever, is refused with a problem document; and logs tell of it, but not every time.

use super::{Raw, get};
use crate::{fresh_node, node_in_temp};

const KEY: &str = "a-long-enough-key-for-the-tests";

/// A node with a key, so that a request with it is refused for nothing but what it is.
fn node_with_key() -> (tempfile::TempDir, waypost_testkit::Node) {
    let (dir, builder) = node_in_temp();
    (dir, builder.env("WAYPOST_ADMIN_KEY", KEY).start().unwrap())
}

fn is_problem(answer: &str, status: &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let head = head.to_ascii_lowercase();
    assert!(head.starts_with(&format!("http/1.1 {status} ")), "{status}: {answer}");
    assert!(head.contains("content-type: application/problem+json"), "{answer}");
    assert!(head.contains(&format!("content-length: {}", body.len())), "{answer}");
    assert!(head.contains("no-store"), "{answer}");
    let body: serde_json::Value = serde_json::from_str(body).expect(answer);
    assert_eq!(body["status"].to_string(), status, "{answer}");
    assert!(body["detail"].as_str().is_some_and(|detail| detail.len() > 10), "{answer}");
}

#[tokio::test]
async fn what_is_no_http_is_refused_with_a_problem_document() {
    let (_dir, node) = fresh_node();
    for address in [node.address(), node.admin()] {
        for (request, status) in [
            ("GET / HTTP/9.9\r\n\r\n".to_owned(), "400"),
            ("\0\0\0\0\r\n\r\n".to_owned(), "400"),
            ("GET /a\0b HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), "400"),
            ("GET / HTTP/1.1\r\n\r\n".to_owned(), "400"),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(), "400"),
            ("GET /a b HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), "400"),
            ("GET / HTTP/1.1\r\nHost: h\r\nno header\r\n\r\n".to_owned(), "400"),
            ("POST /shorten HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n".to_owned(), "400"),
            ("POST /shorten HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".to_owned(), "400"),
            ("POST /shorten HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n".to_owned(), "400"),
            (format!("GET /a HTTP/1.1\r\nHost: h\r\n{}\r\n", "A: b\r\n".repeat(200)), "431"),
            (format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(100_000)), "431"),
            (format!("GET / HTTP/1.1\r\nHost: h\r\nCookie: {}\r\n\r\n", "a".repeat(200_000)), "431"),
            (format!("GET / HTTP/1.1\r\nHost: h\r\nCookie: {}", "a".repeat(40_000)), "431"),
        ] {
            // Also when it is not the first request of its connection, or comes together with others.
            for before in [0, 1, 3] {
                let mut raw = Raw::connect(address);
                raw.send(&(get("/health/live").repeat(before) + &request));
                for _ in 0..before {
                    assert!(raw.answer().starts_with("HTTP/1.1 200"));
                }
                is_problem(&raw.end().0, status);
            }
        }
    }
}

#[tokio::test]
async fn who_still_sends_when_a_request_is_refused_is_listened_to_until_the_answer_has_arrived() {
    use std::io::Write;
    let (_dir, node) = node_with_key();
    for malformed in ["NONSENSE\r\n\r\n", "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n"] {
        let mut raw = Raw::connect(node.address());
        raw.send(malformed);
        raw.stream.peek(&mut [0]).unwrap();
        for sent in 0..20 {
            // On a connection that was closed, the second write fails, and what the client has not read may be lost to it.
            raw.stream.write_all(b"x").unwrap_or_else(|error| panic!("after {sent} bytes: {error}"));
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        is_problem(&raw.end().0, "400");
    }
}

#[tokio::test]
async fn a_broken_body_is_refused_with_a_problem_document() {
    let (_dir, node) = node_with_key();
    let post = |framing: &str, body: &str| {
        format!(
            "POST /shorten HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {KEY}\r\nConnection: close\r\n{framing}\r\n\r\n{body}"
        )
    };
    let large = "[".repeat(100_000);
    for (request, status) in [
        (post("Content-Type: application/json\r\nContent-Length: 100000", &large), "413"),
        (post("Content-Length: 100000", &large), "413"),
        (post("Content-Type: text/plain\r\nContent-Length: 100000", &large), "413"),
        (post("Transfer-Encoding: chunked", &format!("186a0\r\n{large}\r\n0\r\n\r\n")), "413"),
        (post("Content-Type: application/json\r\nContent-Length: 60000", &large[..60_000]), "400"),
        (post("Content-Type: application/json\r\nTransfer-Encoding: chunked", "zz\r\n[]\r\n0\r\n\r\n"), "400"),
        (post("Transfer-Encoding: chunked", "5\r\nhelloworld\r\n0\r\n\r\n"), "400"),
        (post("Content-Type: application/xml\r\nContent-Length: 4", "<a/>"), "415"),
        (post("Content-Type: \u{7f}\u{7f}\r\nContent-Length: 4", "<a/>"), "400"),
        (post("Content-Encoding: gzip\r\nContent-Type: application/json\r\nContent-Length: 4", "\x1f\u{b}ab"), "415"),
    ] {
        let mut raw = Raw::connect(node.address());
        raw.send(&request);
        let answer = raw.end().0;
        is_problem(&answer, status);
    }
    let key =
        format!("POST /cluster/move-leader HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {KEY}\r\nConnection: close\r\n");
    for (request, status) in [
        (format!("{key}Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n{large}"), "413"),
        (format!("{key}Content-Type: application/json\r\nContent-Length: 1\r\n\r\n["), "400"),
        (format!("{key}Content-Type: text/plain\r\nContent-Length: 1\r\n\r\n["), "415"),
    ] {
        let mut raw = Raw::connect(node.admin());
        raw.send(&request);
        is_problem(&raw.end().0, status);
    }
}

#[tokio::test]
async fn paths_and_methods_that_there_are_not_are_refused_with_a_problem_document() {
    let (_dir, node) = node_with_key();
    for (address, request, status) in [
        (node.address(), "GET /%ff", "404"),
        (node.address(), "GET /%", "404"),
        (node.address(), "GET /api/v1/links/%ff/stats", "404"),
        (node.address(), "GET /api/v1/stats?form=1", "400"),
        (node.address(), "GET /api/v1/links/a?consistency=x", "400"),
        (node.address(), "BREW /shorten", "405"),
        (node.address(), "OPTIONS *", "404"),
        (node.address(), "CONNECT example.com:443", "404"),
        (node.admin(), "GET /cluster/nodes/a/drain", "405"),
        (node.admin(), "POST /metrics", "405"),
        (node.admin(), "POST /cluster/nodes/%ff/drain", "404"),
        (node.admin(), "DELETE /cluster/nodes/%ff", "404"),
        (node.admin(), "GET /%ff", "404"),
    ] {
        let mut raw = Raw::connect(address);
        raw.send(&format!("{request} HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {KEY}\r\nConnection: close\r\n\r\n"));
        is_problem(&raw.end().0, status);
    }
}

#[tokio::test]
async fn a_flood_of_malformed_requests_leaves_a_few_lines_in_the_log() {
    let (_dir, builder) = node_in_temp();
    let node = builder.env("WAYPOST_HTTP_WORKERS", "1").start().unwrap();
    let before = node.errors().lines().count();
    for _ in 0..500 {
        let mut raw = Raw::connect(node.address());
        raw.send("nonsense\r\n\r\n");
        raw.end();
    }
    let lines = node.errors().lines().count() - before;
    assert!((1..50).contains(&lines), "{lines} lines: {}", node.errors());
    assert!(node.errors().contains("a malformed request was refused"), "{}", node.errors());
}

#[tokio::test]
async fn head_is_answered_as_get_without_the_body() {
    let (_dir, node) = node_with_key();
    let code = node.client().with_key(KEY).create("https://example.com/").await.unwrap();
    let public = [
        "/health/live".to_owned(),
        "/health/ready".to_owned(),
        format!("/analytics/{code}"),
        format!("/api/v1/links/{code}"),
        format!("/api/v1/links/{code}/stats"),
        "/api/v1/stats".to_owned(),
        "/api/v1/stats/orphans".to_owned(),
        format!("/{code}"),
        "/unknown".to_owned(),
        "/a/b".to_owned(),
    ];
    let admin = ["/metrics", "/health/live", "/health/ready", "/cluster"].map(str::to_owned);
    let all = public.into_iter().map(|path| (node.address(), path)).chain(admin.map(|path| (node.admin(), path)));
    for (address, path) in all {
        let ask = |method: &str| {
            let mut raw = Raw::connect(address);
            raw.send(&format!(
                "{method} {path} HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {KEY}\r\nConnection: close\r\n\r\n"
            ));
            let answer = raw.end().0;
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            (head.to_ascii_lowercase(), body.to_owned())
        };
        let (head, body) = ask("HEAD");
        let (of_get, full) = ask("GET");
        assert_eq!((head.lines().next(), body.as_str()), (of_get.lines().next(), ""), "{path}: {head}");
        let header = |head: &str, name: &str| head.lines().find(|line| line.starts_with(name)).map(str::to_owned);
        assert_eq!(header(&head, "content-type"), header(&of_get, "content-type"), "{path}");
        // The numbers in the metrics and in the cluster's view grow meanwhile, and with them their length.
        let length: usize =
            header(&head, "content-length: ").expect(&path)["content-length: ".len()..].parse().unwrap();
        assert!(
            length.abs_diff(full.len()) < 200 && (path == "/metrics" || path == "/cluster" || length == full.len()),
            "{path}: {length} of {}",
            full.len()
        );
    }
    for path in
        [format!("/api/v1/links/{code}/stats/live"), "/api/v1/stats/live".to_owned(), "/api/v1/backup".to_owned()]
    {
        let mut raw = Raw::connect(node.address());
        // The connection is free for the next request: what `GET` would go on to send has not begun.
        raw.send(&format!(
            "HEAD {path} HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {KEY}\r\n\r\n{}",
            get("/health/live")
        ));
        let (head, next) = (raw.answer(), raw.answer());
        assert!(head.starts_with("HTTP/1.1 200") && next.contains("\"live\""), "{path}: {head}{next}");
    }
}

#[tokio::test]
async fn nobody_keeps_an_answer_of_the_api() {
    let (_dir, node) = fresh_node();
    let code = node.client().create("https://example.com/").await.unwrap();
    for (address, request) in [
        (node.address(), format!("GET /api/v1/links/{code}")),
        (node.address(), format!("GET /analytics/{code}")),
        (node.address(), "GET /api/v1/stats".to_owned()),
        (node.address(), "GET /api/v1/links/unknown".to_owned()),
        (node.address(), "PUT /shorten".to_owned()),
        (node.address(), "GET /generate-key".to_owned()),
        (node.address(), "GET /a/b".to_owned()),
        (node.address(), format!("DELETE /api/v1/links/{code}")),
        (node.admin(), "GET /cluster".to_owned()),
    ] {
        let mut raw = Raw::connect(address);
        raw.send(&format!("{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
        let answer = raw.end().0;
        assert!(answer.to_ascii_lowercase().contains("cache-control: no-store\r\n"), "{request}: {answer}");
    }
}

#[tokio::test]
async fn a_body_that_looks_like_a_request_stays_a_body() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let made =
        client.shorten(serde_json::json!({ "longUrl": "https://example.com/", "customSlug": "abc" })).await.unwrap();
    assert_eq!(made.status, 201);
    assert_eq!(client.get("/abc").await.unwrap().status, 302);
    // If the bytes of the body were escaped, it would end before the request in it.
    let inner = "\r\n0\r\n\r\nGET /health/live HTTP/1.1\r\nHost: ab\r\n\r\n";
    let body = format!("A\r\n\r\nx {}{inner}", "<".repeat(inner.len() / 2));
    let chunked = format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let sized = format!("Content-Length: {}\r\n\r\n{body}", body.len());
    for path in ["abc", "nothing", "abc+"] {
        for framed in [&chunked, &sized] {
            for before in [0, 1, 3] {
                let request =
                    get("/health/live").repeat(before) + &format!("GET /{path} HTTP/1.1\r\nHost: h\r\n{framed}");
                let answers = client.raw(request.as_bytes()).unwrap();
                assert_eq!(answers.matches("HTTP/1.1 ").count(), before + 1, "{path} {framed}: {answers}");
            }
        }
    }
}
