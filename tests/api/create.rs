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
async fn a_create_with_a_key_says_nothing_of_visits_in_every_way_to_create() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let link = json!({ "longUrl": "https://example.com/" });
    for (path, body, at) in [
        ("/shorten", link.clone(), "/visits"),
        ("/api/v1/links", link.clone(), "/visits"),
        ("/api/v1/bulk", json!({ "items": [{ "op": "create", "link": link }] }), "/results/0/link/visits"),
    ] {
        let plain = client.send(client.request(Method::POST, path).json(&body)).await.unwrap().json();
        assert_eq!(plain.pointer(at).unwrap()["total"], 0, "{path}: {plain}");
        let request = client.request(Method::POST, path).header("idempotency-key", "k");
        let keyed = client.send(request.json(&body)).await.unwrap().json();
        assert_eq!(keyed.pointer(at), Some(&json!(null)), "{path}: {keyed}");
    }
}

#[tokio::test]
async fn a_repeated_create_gets_its_answer_after_the_link_has_ended_and_a_new_one_is_refused() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let end = (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2)).to_string();
    let ends = |url: &str| json!({ "longUrl": url, "validUntil": end });
    let send = async |key: &str, url: &str| {
        let request = client.request(Method::POST, "/api/v1/links").header("idempotency-key", key);
        client.send(request.json(&ends(url))).await.unwrap()
    };
    let bulk = async |key: &str| {
        let items = json!({ "items": [{ "op": "create", "link": ends("https://example.com/b") }] });
        let request = client.request(Method::POST, "/api/v1/bulk").header("idempotency-key", key);
        client.send(request.json(&items)).await.unwrap().json()["results"][0].clone()
    };
    let (first, part) = (send("k", "https://example.com/a").await, bulk("k").await);
    assert_eq!((first.status, &part["status"]), (201, &json!(201)));
    let code = first.text("shortCode");
    while client.get(&format!("/{code}")).await.unwrap().status != 410 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let (again, part_again) = (send("k", "https://example.com/a").await, bulk("k").await);
    assert_eq!((again.status, again.header("etag")), (201, first.header("etag")), "{}", again.json());
    assert_eq!(again.json()["shortCode"], code);
    assert_eq!((&part_again["status"], &part_again["etag"]), (&part["status"], &part["etag"]), "{part_again}");
    for refused in [send("k", "https://example.com/c").await, send("other", "https://example.com/a").await] {
        assert_eq!((refused.status, refused.problem().as_str()), (422, "invalid-value"));
    }
    assert_eq!(bulk("other").await["status"], 422);
    assert_eq!(client.shorten(ends("https://example.com/a")).await.unwrap().status, 422);
}

#[tokio::test]
async fn the_conflict_with_a_link_to_the_same_url_says_in_which_fields_it_differs() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let there = json!({ "longUrl": "https://example.com/", "customSlug": "mine", "title": "T", "note": "n" });
    assert_eq!(client.shorten(there.clone()).await.unwrap().status, 201);
    let conflict = async |body| {
        let refused = client.shorten(body).await.unwrap();
        assert_eq!((refused.status, refused.problem().as_str()), (409, "slug-taken"));
        (refused.text("detail"), refused.json()["shortUrl"].is_string())
    };
    let (same, has_url) = conflict(there).await;
    assert!(same.contains("nothing to create") && has_url, "{same}");
    let other = json!({
        "longUrl": "https://example.com/", "customSlug": "mine", "title": "U", "validUntil": "2999-01-01T00:00:00Z",
    });
    let (differs, has_url) = conflict(other).await;
    assert!(differs.contains("differs in validUntil, title, note;") && !has_url, "{differs}");
    let (elsewhere, has_url) = conflict(json!({ "longUrl": "https://example.com/b", "customSlug": "mine" })).await;
    assert!(elsewhere.contains("another link") && !has_url, "{elsewhere}");
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
