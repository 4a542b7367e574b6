//! Every request of a connection has its deadlines.

use std::net::SocketAddr;
use std::time::Duration;

use waypost_testkit::Node;

use super::{Raw, get, metric};
use crate::node_in_temp;

/// Short deadlines for requests, and a long one for idle connections: which of them has closed a connection shows in how long it took.
fn node() -> (tempfile::TempDir, Node) {
    let (dir, builder) = node_in_temp();
    let builder = builder.env("WAYPOST_HTTP_CLIENT_TIMEOUT_MS", "400").env("WAYPOST_HTTP_KEEP_ALIVE_S", "3600");
    let builder = builder.env("WAYPOST_HTTP_REQUEST_TIMEOUT_MS", "1000");
    (dir, builder.start().unwrap())
}

/// The answer to a request that does not come to its end.
fn is_timeout(answer: &str) {
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("application/problem+json") && answer.contains("request-timeout"), "{answer}");
}

fn after_one_request(address: SocketAddr, path: &str) -> Raw {
    let mut raw = Raw::connect(address);
    raw.send(&get(path));
    assert!(raw.answer().starts_with("HTTP/1.1 200"));
    raw
}

#[tokio::test]
async fn the_head_of_every_request_has_a_deadline() {
    let (_dir, node) = node();
    let mut first = Raw::connect(node.address());
    first.send("GET / HTTP/1.1\r\nHost:");
    is_timeout(&first.end().0);

    let mut second = after_one_request(node.address(), "/health/live");
    second.send("G");
    is_timeout(&second.end().0);

    // Half of a head that came together with the request before it.
    let mut together = Raw::connect(node.address());
    together.send(&(get("/health/live") + "GET /health/l"));
    assert!(together.answer().starts_with("HTTP/1.1 200"));
    is_timeout(&together.end().0);
    assert_eq!(metric(&node, "waypost_http_connections_late_total{deadline=\"head\"}").await, Some(3.0));
}

#[tokio::test]
async fn bytes_that_come_one_by_one_do_not_move_the_deadline_of_a_head() {
    let (_dir, node) = node();
    let mut raw = after_one_request(node.address(), "/health/live");
    let mut sender = raw.stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        use std::io::Write;
        // Longer than anybody waits; it ends with the connection.
        for _ in 0..10_000 {
            if sender.write_all(b"x").is_err() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    });
    is_timeout(&raw.end().0);
    drop(raw);
    assert!(sending.join().unwrap(), "the connection was closed");
}

#[tokio::test]
async fn the_body_of_every_request_has_a_deadline() {
    let (_dir, node) = node();
    for framing in ["Content-Length: 100\r\n\r\nhttps://", "Transfer-Encoding: chunked\r\n\r\n8\r\nhttps://\r\n"] {
        let mut raw = after_one_request(node.address(), "/health/live");
        raw.send(&format!("POST /shorten HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n{framing}"));
        is_timeout(&raw.end().0);
    }
    assert_eq!(metric(&node, "waypost_http_connections_late_total{deadline=\"body\"}").await, Some(2.0));
}

#[tokio::test]
async fn who_still_sends_when_a_deadline_is_over_is_listened_to_until_the_answer_has_arrived() {
    let (_dir, builder) = node_in_temp();
    let node = builder.env("WAYPOST_HTTP_CLIENT_TIMEOUT_MS", "2000").start().unwrap();
    for begun in
        ["GET / HTTP/1.1\r\nX: ", "POST /shorten HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\nhttps:"]
    {
        let mut raw = Raw::connect(node.address());
        raw.send(begun);
        raw.stream.peek(&mut [0]).unwrap();
        for sent in 0..20 {
            // On a connection that was closed, the second write fails, and what the client has not read may be lost to it.
            use std::io::Write;
            raw.stream.write_all(b"x").unwrap_or_else(|error| panic!("after {sent} bytes: {error}"));
            std::thread::sleep(Duration::from_millis(5));
        }
        is_timeout(&raw.end().0);
    }
}

#[tokio::test]
async fn a_body_that_nobody_reads_and_that_never_ends_is_not_waited_for() {
    let (_dir, node) = node();
    let code = node.client().create("https://example.com/").await.unwrap();
    for path in [format!("/{code}"), "/health/live".to_owned()] {
        let mut raw = Raw::connect(node.address());
        raw.send(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"));
        let _answer = raw.answer();
        raw.send("1\r\nx\r\n1\r\nx\r\n");
        raw.end();
    }
}

#[tokio::test]
async fn a_body_that_nobody_waited_for_is_not_taken_for_the_head_of_another_request() {
    let (_dir, builder) = node_in_temp();
    let builder = builder.env("WAYPOST_HTTP_CLIENT_TIMEOUT_MS", "400").env("WAYPOST_HTTP_KEEP_ALIVE_S", "3600");
    let node = builder.env("WAYPOST_ADMIN_KEY", "wp_admin_0123456789abcdefghijkl").start().unwrap();
    for head in ["GET /neverwas", "POST /shorten"] {
        let mut raw = Raw::connect(node.address());
        raw.send(&format!("{head} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"));
        assert!(raw.answer().starts_with("HTTP/1.1 40"), "it is refused before its body has come");
        raw.send("1\r\nx\r\n0\r\n\r\n");
        // The deadline of a head that is begun later.
        let mut later = Raw::connect(node.address());
        later.send("G");
        is_timeout(&later.end().0);
        raw.send(&get("/health/live"));
        let answer = raw.answer();
        assert!(answer.starts_with("HTTP/1.1 200"), "{head}: {answer}");
    }
}

#[tokio::test]
async fn the_admin_listener_has_deadlines_too() {
    let (_dir, node) = node();
    let mut raw = after_one_request(node.admin(), "/health/live");
    raw.send("G");
    is_timeout(&raw.end().0);
}

#[tokio::test]
async fn an_idle_connection_is_closed_without_a_word_and_one_in_use_is_not() {
    let (_dir, builder) = node_in_temp();
    let node = builder.env("WAYPOST_HTTP_KEEP_ALIVE_S", "1").start().unwrap();
    let mut raw = after_one_request(node.address(), "/health/live");
    let mut busy = after_one_request(node.address(), "/health/live");
    for _ in 0..6 {
        std::thread::sleep(Duration::from_millis(400));
        busy.send(&get("/health/live"));
        assert!(busy.answer().starts_with("HTTP/1.1 200"));
    }
    assert_eq!(raw.end().0, "");
}

#[tokio::test]
async fn an_answer_that_takes_longer_than_a_head_may_is_waited_for() {
    let (_dir, node) = node();
    // Events come every second.
    let mut raw = Raw::connect(node.address());
    raw.send(&get("/api/v1/stats/live"));
    let head = raw.answer();
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/event-stream"), "{head}");
    let mut seen = String::new();
    while seen.matches(":\n\n").count() < 3 {
        let mut buffer = [0; 256];
        let length = std::io::Read::read(&mut raw.stream, &mut buffer).unwrap();
        assert!(length > 0, "{seen}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
}
