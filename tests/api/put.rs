//! `POST /api/v1/links`, and `PUT` and `HEAD /api/v1/links/{code}`.

use reqwest::Method;
use serde_json::{Value, json};
use waypost_testkit::{Answer, Client};

use crate::fresh_node;

async fn put(client: &Client, code: &str, body: Value, headers: &[(&'static str, &str)]) -> Answer {
    let request = client.request(Method::PUT, &format!("/api/v1/links/{code}")).json(&body);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    client.send(request).await.unwrap()
}

#[tokio::test]
async fn a_link_that_is_created_has_an_address_and_a_tag_for_its_next_change() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let post = |body: Value| client.send(client.request(Method::POST, "/api/v1/links").json(&body));
    let made = post(json!({ "longUrl": "https://example.com/a", "customSlug": "new" })).await.unwrap();
    assert_eq!(made.status, 201, "{:?}", made.json());
    assert_eq!(made.header("location"), Some(format!("http://{}/api/v1/links/new", node.address()).as_str()));
    let read = client.get("/api/v1/links/new").await.unwrap();
    assert_eq!((read.header("etag"), &read.body), (made.header("etag"), &made.body));
    let taken = post(json!({ "longUrl": "https://example.com/b", "customSlug": "new" })).await.unwrap();
    assert_eq!((taken.status, taken.problem()), (409, "slug-taken".to_owned()));
    let found = json!({ "longUrl": "https://example.com/c", "findIfExists": true });
    let (first, second) = (post(found.clone()).await.unwrap(), post(found).await.unwrap());
    assert_eq!((first.status, second.status), (201, 200));
    assert_eq!((first.header("etag"), &first.body), (second.header("etag"), &second.body));
    let text = client.request(Method::POST, "/api/v1/links").header("content-type", "text/plain");
    let text = client.send(text.body("https://example.com/")).await.unwrap();
    assert_eq!((text.status, text.problem()), (415, "unsupported-media-type".to_owned()));
    let once = async || {
        let request = client.request(Method::POST, "/api/v1/links").header("idempotency-key", "k");
        client.send(request.json(&json!({ "longUrl": "https://example.com/d" }))).await.unwrap()
    };
    let (first, second) = (once().await, once().await);
    assert_eq!((first.status, second.status, &first.body), (201, 201, &second.body));
}

#[tokio::test]
async fn head_tells_whether_a_link_exists() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let code = client.create("https://example.com/").await.unwrap();
    let head = async |code: &str| client.send(client.request(Method::HEAD, &format!("/api/v1/links/{code}"))).await;
    let there = head(&code).await.unwrap();
    assert_eq!((there.status, there.body.len()), (200, 0));
    assert!(there.header("etag").is_some());
    assert_eq!(head("other").await.unwrap().status, 404);
}

#[tokio::test]
async fn a_put_creates_a_link_or_replaces_everything_of_it() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let ends = json!({ "longUrl": "https://example.com/1", "validUntil": "2999-01-01T00:00:00Z" });
    let made = put(&client, "mine", ends.clone(), &[]).await;
    assert_eq!((made.status, made.text("shortCode")), (201, "mine".to_owned()));
    assert_eq!(made.header("location"), Some(format!("http://{}/api/v1/links/mine", node.address()).as_str()));
    let again = put(&client, "mine", ends, &[]).await;
    assert_eq!((again.status, again.header("etag")), (200, made.header("etag")), "nothing was changed");
    assert_eq!(client.follow("mine").await.unwrap().as_deref(), Some("https://example.com/1"));
    let other = put(&client, "mine", json!({ "longUrl": "https://example.com/2", "customSlug": "mine" }), &[]).await;
    assert_eq!((other.status, other.text("longUrl")), (200, "https://example.com/2".to_owned()));
    assert_eq!(other.json()["validUntil"], json!(null), "the end was not given again, so it is gone");
    assert_ne!(other.header("etag"), made.header("etag"));
    assert_eq!(client.follow("mine").await.unwrap().as_deref(), Some("https://example.com/2"));
    let generated = client.create("https://example.com/3").await.unwrap();
    assert_eq!(put(&client, &generated, json!({ "longUrl": "https://example.com/4" }), &[]).await.status, 200);
    assert_eq!(client.follow(&generated).await.unwrap().as_deref(), Some("https://example.com/4"));
    for (code, body, problem) in [
        ("mine", json!({ "longUrl": "https://example.com/", "customSlug": "other" }), "invalid-value"),
        ("mine", json!({ "longUrl": "https://example.com/", "findIfExists": true }), "invalid-value"),
        ("mine", json!({ "longUrl": "ftp://example.com/" }), "invalid-url"),
        ("mine", json!({ "validUntil": null }), "malformed-request"),
        ("api", json!({ "longUrl": "https://example.com/" }), "invalid-slug"),
        ("-x", json!({ "longUrl": "https://example.com/" }), "invalid-slug"),
        ("%00", json!({ "longUrl": "https://example.com/" }), "invalid-slug"),
    ] {
        assert_eq!(put(&client, code, body.clone(), &[]).await.problem(), problem, "{code} {body}");
    }
    assert_eq!(client.follow("mine").await.unwrap().as_deref(), Some("https://example.com/2"));
}

#[tokio::test]
async fn a_put_keeps_to_the_states_that_it_requires() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let to = |n: u32| json!({ "longUrl": format!("https://example.com/{n}") });
    for headers in [&[("if-match", "*")][..], &[("if-match", "\"1-2\"")], &[("if-match", "\"x\"")]] {
        let refused = put(&client, "one", to(1), headers).await;
        assert_eq!((refused.status, refused.problem()), (412, "version-mismatch".to_owned()), "{headers:?}");
    }
    assert_eq!(client.get("/one").await.unwrap().status, 404);
    let made = put(&client, "one", to(1), &[("if-none-match", "*")]).await;
    assert_eq!(made.status, 201);
    let there = put(&client, "one", to(2), &[("if-none-match", "*")]).await;
    assert_eq!(there.status, 412);
    let detail = there.text("detail");
    assert!(detail.contains("leave If-None-Match out") && !detail.contains("repeat"), "{detail}");
    let tag = made.header("etag").unwrap();
    // Only `*` asks for no link at all.
    let both = put(&client, "one", to(2), &[("if-match", "*"), ("if-none-match", "*")]).await;
    assert!(both.text("detail").contains("leave If-None-Match out"), "{}", both.text("detail"));
    let this = put(&client, "one", to(2), &[("if-none-match", tag)]).await;
    assert!(!this.text("detail").contains("asks for no link"), "{}", this.text("detail"));
    assert_eq!(put(&client, "one", to(2), &[("if-none-match", tag)]).await.status, 412);
    assert_eq!(put(&client, "one", to(2), &[("if-match", "*")]).await.status, 200);
    let late = put(&client, "one", to(3), &[("if-match", tag)]).await;
    assert_eq!((late.status, late.problem()), (412, "version-mismatch".to_owned()));
    let weak = put(&client, "one", to(3), &[("if-match", "W/\"1-2\"")]).await;
    assert_eq!((weak.status, weak.problem()), (412, "unusable-entity-tag".to_owned()));
    let third = put(&client, "one", to(3), &[("if-none-match", tag)]).await;
    assert_eq!(third.status, 200, "it has another tag now");
    // As a proxy that compresses passes it on.
    let coded = third.header("etag").unwrap().replace("\"", "");
    let changed = put(&client, "one", to(4), &[("if-match", &format!("\"{coded}-gzip\""))]).await;
    assert_eq!(changed.status, 200);
    assert_eq!(client.follow("one").await.unwrap().as_deref(), Some("https://example.com/4"));
}

#[tokio::test]
async fn of_two_editors_with_the_same_tag_the_second_is_refused() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let code = client.create("https://example.com/").await.unwrap();
    let path = format!("/api/v1/links/{code}");
    for round in 0..20 {
        let tag = client.get(&path).await.unwrap().header("etag").unwrap().to_owned();
        let edit = |method: Method, editor: &str| {
            let body = json!({ "longUrl": format!("https://example.com/{round}/{editor}") });
            client.send(client.request(method, &path).header("if-match", &tag).json(&body))
        };
        let (patched, put) = tokio::join!(edit(Method::PATCH, "a"), edit(Method::PUT, "b"));
        let (patched, put) = (patched.unwrap(), put.unwrap());
        let (winner, loser) = if patched.status == 200 { (patched, put) } else { (put, patched) };
        assert_eq!((winner.status, loser.status, loser.problem()), (200, 412, "version-mismatch".to_owned()));
        assert_eq!(client.follow(&code).await.unwrap(), Some(winner.text("longUrl")));
    }
}

#[tokio::test]
async fn puts_of_one_code_at_the_same_time_create_one_link_and_the_others_replace_it() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let puts = (0..8).map(|n| {
        let client = client.clone();
        tokio::spawn(async move {
            put(&client, "race", json!({ "longUrl": format!("https://example.com/{n}") }), &[]).await
        })
    });
    let mut created = 0;
    for put in puts.collect::<Vec<_>>() {
        let answer = put.await.unwrap();
        assert!(matches!(answer.status, 200 | 201), "{:?}", answer.json());
        created += u32::from(answer.status == 201);
    }
    assert_eq!(created, 1);
}
