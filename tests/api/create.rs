//! `POST /shorten` and `GET /generate-key`.

use std::collections::HashSet;

use reqwest::Method;
use serde_json::json;

use crate::fresh_node;

#[tokio::test]
async fn a_new_link_is_described_and_leads_to_its_url() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let answer = client.shorten(json!({ "longUrl": "https://example.com/a?b=c#d" })).await.unwrap();
    assert_eq!(answer.status, 201);
    let link = answer.json();
    let code = link["shortCode"].as_str().unwrap();
    assert_eq!(code.len(), 7);
    assert_eq!(link["longUrl"], "https://example.com/a?b=c#d");
    assert_eq!(link["shortUrl"], format!("http://{}/{code}", node.address()));
    assert_eq!(answer.header("location"), link["shortUrl"].as_str());
    assert_eq!(link["validUntil"], json!(null));
    assert!(link["createdAt"].as_str().unwrap().ends_with('Z'));
    assert!(link["id"].is_string());
    assert_eq!(client.follow(code).await.unwrap().as_deref(), Some("https://example.com/a?b=c#d"));
}

#[tokio::test]
async fn a_plain_text_body_is_just_the_url() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    for (content_type, body) in [
        (Some("text/plain"), "https://example.com/text\n"),
        (Some("text/plain; charset=utf-8"), "https://example.com/text"),
        (None, "https://example.com/text"),
        (None, "{\"url\":\"https://example.com/text\"}"),
    ] {
        let mut request = client.request(Method::POST, "/shorten").body(body);
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let answer = client.send(request).await.unwrap();
        assert_eq!((answer.status, answer.text("longUrl")), (201, "https://example.com/text".to_owned()), "{body}");
    }
}

#[tokio::test]
async fn a_custom_slug_has_one_owner_whoever_asks_at_the_same_time() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let claims = (0..20).map(|i| {
        let client = client.clone();
        tokio::spawn(async move {
            let url = format!("https://example.com/{i}");
            let body = json!({ "longUrl": url, "customSlug": "spring-sale" });
            (url, client.shorten(body).await.unwrap())
        })
    });
    let mut winners = Vec::new();
    for claim in claims {
        let (url, answer) = claim.await.unwrap();
        match answer.status {
            201 => winners.push(url),
            409 => assert_eq!(answer.problem(), "slug-taken"),
            other => panic!("{other}"),
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(client.follow("spring-sale").await.unwrap(), Some(winners[0].clone()));
}

#[tokio::test]
async fn find_if_exists_answers_the_link_that_is_there() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let code = client.create("https://example.com/same").await.unwrap();
    let again = client.shorten(json!({ "longUrl": "https://EXAMPLE.com/same", "findIfExists": true })).await.unwrap();
    assert_eq!((again.status, again.text("shortCode")), (200, code.clone()));
    let other = client.shorten(json!({ "longUrl": "https://example.com/same" })).await.unwrap();
    assert_eq!(other.status, 201);
    assert_ne!(other.text("shortCode"), code);
    let fresh = client.shorten(json!({ "longUrl": "https://example.com/new", "findIfExists": true })).await.unwrap();
    assert_eq!(fresh.status, 201);
}

#[tokio::test]
async fn a_request_that_is_sent_twice_with_one_idempotency_key_makes_one_link() {
    let (_dir, mut node) = fresh_node();
    let send = async |client: &waypost_testkit::Client, url: &str| {
        let request = client.request(Method::POST, "/shorten").header("idempotency-key", "k-1");
        client.send(request.json(&json!({ "longUrl": url }))).await.unwrap()
    };
    let first = send(&node.client(), "https://example.com/once").await;
    let second = send(&node.client(), "https://example.com/once").await;
    assert_eq!((first.status, second.status), (201, 201));
    assert_eq!(first.body, second.body);
    node.kill().unwrap();
    node.restart().unwrap();
    let third = send(&node.client(), "https://example.com/once").await;
    assert_eq!((third.status, third.text("shortCode")), (201, first.text("shortCode")));
}

#[tokio::test]
async fn generated_keys_are_fresh_and_can_be_used_as_slugs() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let mut seen = HashSet::new();
    for (query, count) in [("", 1), ("?count=1000", 1000), ("?count=7", 7)] {
        let answer = client.get(&format!("/generate-key{query}")).await.unwrap();
        let keys = answer.json()["keys"].as_array().unwrap().clone();
        assert_eq!((answer.status, keys.len()), (200, count));
        for key in keys {
            assert!(seen.insert(key.as_str().unwrap().to_owned()));
        }
    }
    for _ in 0..50 {
        assert!(seen.insert(client.create("https://example.com/").await.unwrap()));
    }
    let key = client.get("/generate-key").await.unwrap().text("key");
    let answer = client.shorten(json!({ "longUrl": "https://example.com/k", "customSlug": key })).await.unwrap();
    assert_eq!(answer.status, 201);
    for query in ["?count=0", "?count=1001", "?count=x", "?count=-1", "?size=3"] {
        assert!((400..500).contains(&client.get(&format!("/generate-key{query}")).await.unwrap().status), "{query}");
    }
}

#[tokio::test]
async fn a_generated_code_that_an_alias_has_taken_is_passed_over() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    // Keys are handed out from the same counter as codes: claim some ahead of the codes of links.
    let keys = client.get("/generate-key?count=200").await.unwrap().json()["keys"].clone();
    for key in keys.as_array().unwrap() {
        let answer =
            client.shorten(json!({ "longUrl": "https://example.com/alias", "customSlug": key })).await.unwrap();
        assert_eq!(answer.status, 201);
    }
    for i in 0..200 {
        client.create(&format!("https://example.com/{i}")).await.unwrap();
    }
}
