//! Health, metrics and the public address.

use serde_json::json;
use waypost_testkit::Client;

use crate::{fresh_node, node_in_temp};

#[tokio::test]
async fn a_link_that_is_not_cached_is_read_from_the_replica_of_the_node_without_a_message() {
    let (_dir, node) = fresh_node();
    let (client, admin) = (node.client(), Client::new(node.admin()));
    let handled = async || {
        let metrics = String::from_utf8(admin.get("/metrics").await.unwrap().body).unwrap();
        let of_redirectors = |line: &&str| line.starts_with("waypost_actor_handled_total{actor=\"redirector\"");
        let count = |line: &str| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
        metrics.lines().filter(of_redirectors).map(count).sum::<f64>()
    };
    for _ in 0..3 {
        let code = client.create("https://example.com/").await.unwrap();
        client.follow(&code).await.unwrap();
    }
    assert_eq!(handled().await, 0.0);
    // What no replica has, the Redirector is asked for.
    assert_eq!(client.get("/unknown").await.unwrap().status, 404);
    assert_eq!(handled().await, 1.0);
}

#[tokio::test]
async fn the_node_tells_of_its_health_and_its_metrics() {
    let (_dir, node) = fresh_node();
    let (client, admin) = (node.client(), Client::new(node.admin()));
    let code = client.create("https://example.com/").await.unwrap();
    for _ in 0..10 {
        client.follow(&code).await.unwrap();
    }
    for path in ["/health/live", "/health/ready"] {
        assert_eq!(client.get(path).await.unwrap().status, 200);
        assert_eq!(admin.get(path).await.unwrap().status, 200);
    }
    let metrics = String::from_utf8(admin.get("/metrics").await.unwrap().body).unwrap();
    for line in [
        "waypost_links 1",
        "waypost_cache_entries 1",
        "waypost_cache_hits_total 9",
        "waypost_cache_misses_total 1",
        "waypost_http_request_seconds_count{class=\"3xx\",route=\"redirect\"} 10",
        "waypost_http_request_seconds_count{class=\"2xx\",route=\"shorten\"} 1",
        "waypost_actor_up{actor=\"link_store\"} 16",
        "waypost_actor_inflight{actor=\"link_store\"} 0",
        "waypost_actor_handled_total{actor=\"link_store\",message=\"create_link\",outcome=\"ok\"} 1",
        "waypost_store_failed 0",
        "waypost_read_only 0",
    ] {
        assert!(metrics.lines().any(|have| have == line), "{line} is missing in\n{metrics}");
    }
    for name in
        ["waypost_store_bytes", "waypost_commit_seconds_bucket", "waypost_commit_waiters_sum", "waypost_cache_bytes"]
    {
        assert!(metrics.contains(name), "{name}");
    }
}

#[tokio::test]
async fn metrics_are_not_on_the_public_listener() {
    let (_dir, node) = fresh_node();
    assert_eq!(node.client().get("/metrics").await.unwrap().status, 404);
}

#[tokio::test]
async fn short_urls_begin_with_the_public_url_if_there_is_one_and_with_the_host_of_the_request_else() {
    let (_dir, builder) = node_in_temp();
    let key = "a-long-enough-key-for-the-tests";
    let node =
        builder.env("WAYPOST_HTTP_PUBLIC_URL", "https://go.example").env("WAYPOST_ADMIN_KEY", key).start().unwrap();
    let client = node.client();
    let shorten = |url: &str| {
        let request = client.request(reqwest::Method::POST, "/shorten").header("x-api-key", key);
        client.send(request.json(&json!({ "longUrl": url })))
    };
    let answer = shorten("https://example.com/").await.unwrap();
    assert!(answer.text("shortUrl").starts_with("https://go.example/"), "{}", answer.text("shortUrl"));
    let own = shorten("https://go.example/x").await.unwrap();
    assert_eq!((own.status, own.problem()), (422, "invalid-url".to_owned()));

    let (_dir, builder) = node_in_temp();
    let node = builder.env("WAYPOST_ADMIN_KEY", key).start().unwrap();
    let client = node.client();
    for (host, base) in
        [("short.example", "http://short.example/".to_owned()), ("a b<x>", format!("http://{}/", node.address()))]
    {
        let body = "https://example.com/";
        let raw = format!(
            "POST /shorten HTTP/1.1\r\nHost: {host}\r\nX-Api-Key: {key}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let answer = client.raw(raw.as_bytes()).unwrap();
        assert!(answer.contains(&format!("\"shortUrl\":\"{base}")) || answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
}

#[tokio::test]
async fn short_urls_and_loops_follow_what_a_trusted_proxy_says_and_nobody_else() {
    let key = "a-long-enough-key-for-the-tests";
    for (trusted, base) in [("127.0.0.1", "https://go.example:8443/"), ("10.0.0.0/8", "http://inner.example/")] {
        let (_dir, builder) = node_in_temp();
        let node = builder.env("WAYPOST_HTTP_TRUSTED_PROXIES", trusted).env("WAYPOST_ADMIN_KEY", key).start().unwrap();
        let client = node.client().with_key(key);
        let shorten = async |url: &str, headers: &[(&str, &str)]| {
            let request = client.request(reqwest::Method::POST, "/shorten").header("host", "inner.example");
            let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
            client.send(request.json(&json!({ "longUrl": url }))).await.unwrap()
        };
        let separate =
            [("x-forwarded-proto", "https"), ("x-forwarded-host", "go.example"), ("x-forwarded-port", "8443")];
        let one = [("forwarded", "for=192.0.2.1;proto=https;host=\"go.example:8443\"")];
        for headers in [&separate[..], &one] {
            let made = shorten("https://example.com/", headers).await;
            assert_eq!(made.status, 201);
            assert!(made.text("shortUrl").starts_with(base), "{trusted}: {}", made.text("shortUrl"));
            assert_eq!(made.header("location"), Some(made.text("shortUrl").as_str()));
            let heard = base.starts_with("https");
            assert_eq!(shorten("https://go.example:8443/x", headers).await.status, if heard { 422 } else { 201 });
            assert_eq!(
                shorten("http://inner.example/x", headers).await.status,
                422,
                "the request's own host is a loop, too"
            );
        }
    }
}

#[tokio::test]
async fn a_method_that_a_path_does_not_answer_is_told_which_it_does() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    for (path, allow) in
        [("/shorten", "POST"), ("/api/v1/links/x", "GET, HEAD, PUT, PATCH, DELETE"), ("/x", "GET, HEAD, POST")]
    {
        let answer = client.send(client.request(reqwest::Method::OPTIONS, path)).await.unwrap();
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allow)), "{path}");
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let (_dir, builder) = node_in_temp();
    let builder = builder.env("WAYPOST_HTTP_CLIENT_TIMEOUT_MS", "200").env("WAYPOST_HTTP_REQUEST_TIMEOUT_MS", "300");
    let node = builder.start().unwrap();
    let head = "POST /shorten HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n";
    let answer = node.client().raw(head.as_bytes()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("request-timeout"), "{answer}");
}

#[tokio::test]
async fn logs_are_events_of_the_elastic_common_schema_and_name_no_visitor() {
    let (_dir, builder) = crate::node_in_temp();
    let builder = builder.env("WAYPOST_LOG_FORMAT", "json").env("WAYPOST_LOG_ACCESS_EVERY", "1");
    let node = builder.start().unwrap();
    let client = node.client();
    let code = client.create("https://example.com/").await.unwrap();
    let visit = client.request(reqwest::Method::GET, &format!("/{code}")).header("user-agent", "Mozilla/5.0 Spy/1.0");
    assert_eq!(client.send(visit).await.unwrap().status, 302);
    let path = format!("/{code}");
    let since = std::time::Instant::now();
    let visit = loop {
        let lines: Vec<serde_json::Value> =
            node.errors().lines().map(|line| serde_json::from_str(line).expect(line)).collect();
        for line in &lines {
            for field in ["@timestamp", "log.level", "message", "ecs.version", "service.name", "service.node.name"] {
                assert!(line[field].is_string(), "{field} of {line}");
            }
        }
        if let Some(found) = lines.into_iter().find(|line| line["waypost"]["path"] == path.as_str()) {
            break found;
        }
        assert!(since.elapsed().as_secs() < 30, "the visit is not logged");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    assert_eq!((&visit["message"], &visit["waypost"]["status"]), (&"request".into(), &302.into()));
    assert_eq!(visit["waypost"]["network"], "127.0.0.0");
    let errors = node.errors();
    assert!(!errors.contains("127.0.0.1\"") && !errors.contains("Spy"), "{errors}");
}
