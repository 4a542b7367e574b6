//! `GET`, `PATCH` and `DELETE /api/v1/links/{code}`.

use reqwest::Method;
use serde_json::json;

use crate::fresh_node;

#[tokio::test]
async fn an_edit_is_seen_by_the_next_redirect() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let code = client.create("https://example.com/old").await.unwrap();
    let path = format!("/api/v1/links/{code}");
    for i in 0..50 {
        let url = format!("https://example.com/new/{i}");
        client.follow(&code).await.unwrap();
        let edit = client.request(Method::PATCH, &path).json(&json!({ "longUrl": url }));
        let answer = client.send(edit).await.unwrap();
        assert_eq!((answer.status, answer.text("longUrl")), (200, url.clone()));
        assert_eq!(client.follow(&code).await.unwrap(), Some(url));
    }
}

#[tokio::test]
async fn edits_are_guarded_by_the_version() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let code = client.create("https://example.com/v").await.unwrap();
    let path = format!("/api/v1/links/{code}");
    let first = client.get(&path).await.unwrap();
    let tag = first.header("etag").unwrap().to_owned();
    let edit = |tag: &str, url: &str| {
        client.send(client.request(Method::PATCH, &path).header("if-match", tag).json(&json!({ "longUrl": url })))
    };
    assert_eq!(edit(&tag, "https://example.com/1").await.unwrap().status, 200);
    let late = edit(&tag, "https://example.com/2").await.unwrap();
    assert_eq!((late.status, late.problem()), (412, "version-mismatch".to_owned()));
    assert_eq!(client.follow(&code).await.unwrap().as_deref(), Some("https://example.com/1"));
    for foreign in ["nonsense", "\"3\"", "W/\"1\"", "\"a\", \"b\""] {
        assert_eq!(edit(foreign, "https://example.com/3").await.unwrap().status, 412, "{foreign}");
    }
    let now = client.get(&path).await.unwrap().header("etag").unwrap().to_owned();
    assert_eq!(edit(&format!("\"x\", {now}"), "https://example.com/3").await.unwrap().status, 200);
    assert_eq!(edit("*", "https://example.com/4").await.unwrap().status, 200);
    let delete = client.request(Method::DELETE, &path).header("if-match", &tag);
    assert_eq!(client.send(delete).await.unwrap().status, 412);
    let current = client.get(&path).await.unwrap().header("etag").unwrap().to_owned();
    let unchanged = client.request(Method::GET, &path).header("if-none-match", &current);
    assert_eq!(client.send(unchanged).await.unwrap().status, 304);
}

#[tokio::test]
async fn an_if_match_that_can_never_match_says_why() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let code = client.create("https://example.com/v").await.unwrap();
    let path = format!("/api/v1/links/{code}");
    let tag = client.get(&path).await.unwrap().header("etag").unwrap().to_owned();
    let bare = tag.trim_matches('"');
    for (wrong, part) in [
        (format!("W/{tag}"), "strong"),
        (format!("w/{tag}"), "strong"),
        (format!("\"x\", W/{tag}"), "strong"),
        ("W/\"1\"".to_owned(), "strong"),
        (bare.to_owned(), "double quotes"),
        (format!("'{bare}'"), "double quotes"),
        (String::new(), "leave the header out"),
        ("\"1-0\"".to_owned(), "repeat the change"),
    ] {
        for method in [Method::PATCH, Method::DELETE] {
            let change = client
                .request(method, &path)
                .header("if-match", &wrong)
                .json(&json!({ "longUrl": "https://example.com/1" }));
            let refused = client.send(change).await.unwrap();
            assert_eq!(refused.status, 412, "{wrong}");
            let detail = refused.text("detail");
            assert!(detail.contains(part) && detail.contains(&tag), "{wrong}: {detail}");
            assert_eq!(detail.contains("repeat the change"), part == "repeat the change", "{wrong}: {detail}");
        }
    }
    let change = client.request(Method::PATCH, &path).header("if-match", format!("W/\"9-9\", {tag}"));
    let change = change.json(&json!({ "longUrl": "https://example.com/1" }));
    assert_eq!(client.send(change).await.unwrap().status, 200, "one of several is right");
}

#[tokio::test]
async fn the_end_of_a_link_can_be_set_and_removed() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let code = client.create("https://example.com/e").await.unwrap();
    let path = format!("/api/v1/links/{code}");
    let edit = |body| client.send(client.request(Method::PATCH, &path).json(&body));
    let set = edit(json!({ "validUntil": "2999-01-01T00:00:00Z" })).await.unwrap();
    assert_eq!(set.json()["validUntil"], "2999-01-01T00:00:00.000Z");
    let removed = edit(json!({ "validUntil": null })).await.unwrap();
    assert_eq!(removed.json()["validUntil"], json!(null));
    for body in [json!({}), json!({ "validUntil": "2001-01-01T00:00:00Z" }), json!({ "other": 1 }), json!([1])] {
        assert!((400..500).contains(&edit(body.clone()).await.unwrap().status), "{body}");
    }
}

#[tokio::test]
async fn a_deleted_link_is_gone_at_once_and_its_alias_can_be_claimed_again() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let body = json!({ "longUrl": "https://example.com/1", "customSlug": "again" });
    assert_eq!(client.shorten(body).await.unwrap().status, 201);
    assert!(client.follow("again").await.unwrap().is_some());
    let delete = || client.send(client.request(Method::DELETE, "/api/v1/links/again"));
    assert_eq!(delete().await.unwrap().status, 204);
    assert_eq!(client.get("/again").await.unwrap().status, 404);
    assert_eq!(delete().await.unwrap().status, 404);
    let body = json!({ "longUrl": "https://example.com/2", "customSlug": "again" });
    assert_eq!(client.shorten(body).await.unwrap().status, 201);
    assert_eq!(client.follow("again").await.unwrap().as_deref(), Some("https://example.com/2"));
    assert_eq!(client.get("/analytics/again").await.unwrap().json()["totalClicks"], 0);
}

#[tokio::test]
async fn the_tag_of_a_deleted_link_does_not_fit_another_link_of_the_same_alias() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let path = "/api/v1/links/reused";
    let create = |url: &str| client.shorten(json!({ "longUrl": url, "customSlug": "reused" }));
    create("https://example.com/1").await.unwrap();
    let tag = client.get(path).await.unwrap().header("etag").unwrap().to_owned();
    client.send(client.request(Method::DELETE, path)).await.unwrap();
    create("https://example.com/2").await.unwrap();
    let read = client.request(Method::GET, path).header("if-none-match", &tag);
    assert_eq!(client.send(read).await.unwrap().text("longUrl"), "https://example.com/2");
    let delete = client.request(Method::DELETE, path).header("if-match", &tag);
    assert_eq!(client.send(delete).await.unwrap().status, 412);
}

#[tokio::test]
async fn an_edit_has_to_be_json() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let code = client.create("https://example.com/").await.unwrap();
    let edit = client.request(Method::PATCH, &format!("/api/v1/links/{code}")).header("content-type", "text/csv");
    let answer = client.send(edit.body(r#"{"longUrl":"https://example.com/2"}"#)).await.unwrap();
    assert_eq!((answer.status, answer.problem()), (415, "unsupported-media-type".to_owned()));
}
