//! `robots.txt`, which lists the links that crawlers may follow.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use waypost_testkit::Client;

use crate::node_in_temp;

/// A node with a public address needs a key.
const KEY: &str = "a-long-enough-key-for-the-tests";

/// How long a busy machine may take; the file is kept for ten seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// The lines about links.
async fn listed(client: &Client, host: &str) -> Vec<String> {
    let answer = client.send(client.request(Method::GET, "/robots.txt").header("host", host)).await.unwrap();
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/plain; charset=utf-8")));
    assert_eq!(answer.header("cache-control"), Some("public, max-age=3600"));
    let text = String::from_utf8(answer.body).unwrap();
    let (head, others) = text.split_once("\n\nUser-agent: *\n").unwrap();
    assert!(head.contains("User-agent: Twitterbot\n"), "{head}");
    let lines: Vec<&str> = others.lines().collect();
    let (last, links) = lines.split_last().unwrap();
    assert_eq!(*last, "Disallow: /");
    links.iter().map(|line| (*line).to_owned()).collect()
}

async fn becomes(client: &Client, expected: &[&str]) {
    becomes_at(client, "localhost", expected).await;
}

async fn becomes_at(client: &Client, host: &str, expected: &[&str]) {
    let since = Instant::now();
    loop {
        let now = listed(client, host).await;
        if now == expected {
            return;
        }
        assert!(since.elapsed() < PATIENCE, "{now:?} and not {expected:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn edit(client: &Client, code: &str, body: Value) {
    let request = client.request(Method::PATCH, &format!("/api/v1/links/{code}")).json(&body);
    assert_eq!(client.send(request).await.unwrap().status, 200);
}

#[tokio::test]
async fn crawlable_links_are_listed_in_their_order_and_no_others() {
    let (_dir, builder) = node_in_temp();
    let mut node = builder.start().unwrap();
    let client = node.client();
    for (slug, crawlable) in [("zebra", true), ("apple", true), ("applepie", false), ("mango", true)] {
        let body = json!({ "longUrl": "https://example.com/", "customSlug": slug, "crawlable": crawlable });
        assert_eq!(client.shorten(body).await.unwrap().json()["crawlable"], json!(crawlable));
    }
    becomes(&client, &["Allow: /apple$", "Allow: /mango$", "Allow: /zebra$"]).await;
    edit(&client, "mango", json!({ "crawlable": null })).await;
    edit(&client, "applepie", json!({ "crawlable": true })).await;
    edit(&client, "zebra", json!({ "title": "striped" })).await;
    let deleted = client.send(client.request(Method::DELETE, "/api/v1/links/apple")).await.unwrap();
    assert_eq!(deleted.status, 204);
    becomes(&client, &["Allow: /applepie$", "Allow: /zebra$"]).await;
    node.kill().unwrap();
    let node = builder.start().unwrap();
    becomes(&node.client(), &["Allow: /applepie$", "Allow: /zebra$"]).await;
}

#[tokio::test]
async fn each_domain_lists_its_own_links() {
    let (_dir, builder) = node_in_temp();
    let node =
        builder.env("WAYPOST_HTTP_PUBLIC_URL", "http://go.example").env("WAYPOST_ADMIN_KEY", KEY).start().unwrap();
    let client = node.client().with_key(KEY);
    let send = |method, path: &'static str, body: Value| client.send(client.request(method, path).json(&body));
    for domain in [json!({ "host": "b.example", "multiSegment": true }), json!({ "host": "c.example" })] {
        assert_eq!(send(Method::POST, "/api/v1/domains", domain).await.unwrap().status, 201);
    }
    for (slug, domain) in [("default", None), ("docs/setup", Some("b.example")), ("b", Some("b.example"))] {
        let body =
            json!({ "longUrl": "https://example.com/", "customSlug": slug, "domain": domain, "crawlable": true });
        assert_eq!(client.shorten(body).await.unwrap().status, 201);
    }
    becomes_at(&client, "go.example", &["Allow: /default$"]).await;
    becomes_at(&client, "stray.example", &["Allow: /default$"]).await;
    becomes_at(&client, "B.example:80", &["Allow: /b$", "Allow: /docs/setup$"]).await;
    becomes_at(&client, "c.example", &[]).await;
    // Hosts without links allow nothing.
    assert_eq!(send(Method::DELETE, "/api/v1/domains/b.example", Value::Null).await.unwrap().status, 204);
    becomes_at(&client, "b.example", &[]).await;
    let refuse = json!({ "unknownHost": "notFound" });
    assert_eq!(send(Method::PATCH, "/api/v1/domains/DEFAULT", refuse).await.unwrap().status, 200);
    becomes_at(&client, "stray.example", &[]).await;
    becomes_at(&client, "go.example", &["Allow: /default$"]).await;
}
