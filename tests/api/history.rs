//! `GET /api/v1/links/{code}/history`, and `POST …/history/{id}/restore`.

use reqwest::Method;
use serde_json::{Value, json};
use waypost_testkit::{Answer, Client};

use crate::{fresh_node, node_in_temp};

async fn edit(client: &Client, code: &str, body: Value) {
    let edit = client.request(Method::PATCH, &format!("/api/v1/links/{code}")).json(&body);
    assert_eq!(client.send(edit).await.unwrap().status, 200, "{body}");
}

async fn entries(client: &Client, code: &str) -> Vec<Value> {
    let answer = client.get(&format!("/api/v1/links/{code}/history")).await.unwrap();
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    answer.json()["entries"].as_array().unwrap().clone()
}

async fn restore(client: &Client, code: &str, id: &str, tag: Option<&str>) -> Answer {
    let request = client.request(Method::POST, &format!("/api/v1/links/{code}/history/{id}/restore"));
    let request = tag.iter().fold(request, |request, tag| request.header("if-match", *tag));
    client.send(request).await.unwrap()
}

fn ids(entries: &[Value]) -> Vec<u64> {
    entries.iter().map(|entry| entry["id"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn a_history_says_where_a_link_led_and_who_changed_what_newest_first() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let made = json!({ "longUrl": "https://example.com/1", "customSlug": "mine", "title": "one" });
    let made = client.shorten(made).await.unwrap().json();
    let first = entries(&client, "mine").await;
    let created = json!({
        "id": 1, "longUrl": "https://example.com/1", "changedAt": made["createdAt"], "by": "account", "changed": [],
    });
    assert_eq!((first.len(), &first[0]), (1, &created));
    edit(&client, "mine", json!({ "longUrl": "https://example.com/2" })).await;
    edit(&client, "mine", json!({ "title": "two", "validUntil": "2999-01-01T00:00:00Z" })).await;
    // It changes nothing.
    edit(&client, "mine", json!({ "title": "two", "longUrl": "https://example.com/2" })).await;
    let put = client.request(Method::PUT, "/api/v1/links/mine").json(&json!({ "longUrl": "https://example.com/3" }));
    assert_eq!(client.send(put).await.unwrap().status, 200);
    let all = entries(&client, "mine").await;
    assert_eq!(ids(&all), [5, 3, 2, 1]);
    let shown: Vec<(&str, &Value)> =
        all.iter().map(|entry| (entry["longUrl"].as_str().unwrap(), &entry["changed"])).collect();
    let expected = [
        ("https://example.com/3", &json!(["longUrl", "validUntil", "title"])),
        ("https://example.com/2", &json!(["validUntil", "title"])),
        ("https://example.com/2", &json!(["longUrl"])),
        ("https://example.com/1", &json!([])),
    ];
    assert_eq!(shown, expected);
    assert_eq!(all[3], created);
    assert!(all.iter().all(|entry| entry["by"] == "account" && entry["changedAt"].is_string()));
    assert_eq!(client.get("/api/v1/links/other/history").await.unwrap().problem(), "link-not-found");
}

#[tokio::test]
async fn a_restored_link_leads_where_it_led_and_keeps_its_other_fields() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    client.shorten(json!({ "longUrl": "https://example.com/1", "customSlug": "mine" })).await.unwrap();
    edit(&client, "mine", json!({ "longUrl": "https://example.com/2", "title": "two" })).await;
    let before = client.get("/api/v1/links/mine").await.unwrap();
    let back = restore(&client, "mine", "1", before.header("etag")).await;
    assert_eq!((back.status, back.text("longUrl")), (200, "https://example.com/1".to_owned()));
    assert_eq!(back.text("title"), "two");
    assert_eq!(client.follow("mine").await.unwrap().as_deref(), Some("https://example.com/1"));
    let now = client.get("/api/v1/links/mine").await.unwrap();
    assert_eq!((now.header("etag"), &now.body), (back.header("etag"), &back.body));
    let all = entries(&client, "mine").await;
    assert_eq!((ids(&all), &all[0]["changed"]), (vec![3, 2, 1], &json!(["longUrl"])));
    // Another editor was faster, as the tag says.
    let late = restore(&client, "mine", "2", before.header("etag")).await;
    assert_eq!((late.status, late.problem().as_str()), (412, "version-mismatch"));
    let weak = restore(&client, "mine", "2", Some("W/\"1-2\"")).await;
    assert_eq!((weak.status, weak.problem().as_str()), (412, "unusable-entity-tag"));
    let same = restore(&client, "mine", "1", None).await;
    assert_eq!((same.status, same.header("etag")), (200, now.header("etag")), "it leads there already");
    for id in ["0", "4", "x", "-1", "99999999999"] {
        let refused = restore(&client, "mine", id, None).await;
        assert_eq!((refused.status, refused.problem().as_str()), (404, "history-entry-not-found"), "{id}");
    }
    let unknown = restore(&client, "other", "1", None).await;
    assert_eq!((unknown.status, unknown.problem().as_str()), (404, "link-not-found"));
    assert_eq!(ids(&entries(&client, "mine").await), [3, 2, 1]);
}

#[tokio::test]
async fn the_history_goes_with_its_link() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let create = || client.shorten(json!({ "longUrl": "https://example.com/1", "customSlug": "mine" }));
    create().await.unwrap();
    edit(&client, "mine", json!({ "longUrl": "https://example.com/2" })).await;
    client.send(client.request(Method::DELETE, "/api/v1/links/mine")).await.unwrap();
    create().await.unwrap();
    assert_eq!(ids(&entries(&client, "mine").await), [1]);
    assert_eq!(restore(&client, "mine", "2", None).await.problem(), "history-entry-not-found");
}

#[tokio::test]
async fn a_history_survives_a_restart() {
    let (_dir, builder) = node_in_temp();
    let mut node = builder.start().unwrap();
    let client = node.client();
    client.shorten(json!({ "longUrl": "https://example.com/1", "customSlug": "mine" })).await.unwrap();
    edit(&client, "mine", json!({ "longUrl": "https://example.com/2" })).await;
    let before = entries(&client, "mine").await;
    node.kill().unwrap();
    node.restart().unwrap();
    assert_eq!(entries(&node.client(), "mine").await, before);
}

#[tokio::test]
async fn a_history_needs_the_key_of_those_who_manage_links_and_names_it() {
    let (_dir, builder) = node_in_temp();
    let key = "a-long-enough-key-for-the-tests";
    let node = builder.env("WAYPOST_ADMIN_KEY", key).start().unwrap();
    let (client, owner) = (node.client(), node.client().with_key(key));
    owner.shorten(json!({ "longUrl": "https://example.com/1", "customSlug": "mine" })).await.unwrap();
    edit(&owner, "mine", json!({ "longUrl": "https://example.com/2" })).await;
    let all = entries(&owner, "mine").await;
    assert_eq!((all[0]["by"].as_str(), all[1]["by"].as_str()), (Some("admin"), Some("admin")));
    assert_eq!(client.get("/api/v1/links/mine/history").await.unwrap().status, 401);
    assert_eq!(restore(&client, "mine", "1", None).await.status, 401);
    assert_eq!(owner.follow("mine").await.unwrap().as_deref(), Some("https://example.com/2"));
}
