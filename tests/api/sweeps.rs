//! Changes of all links that fit: `/api/v1/tags`, and `POST /api/v1/bulk/links`.

use reqwest::Method;
use serde_json::{Value, json};
use waypost_testkit::{Answer, Client};

use super::lists::{codes, create, list, listing_node, waits_for};

async fn send(client: &Client, method: Method, path: &str, body: Value) -> Answer {
    client.send(client.request(method, path).json(&body)).await.unwrap()
}

/// Creates links with these tags, and waits until lists have them.
async fn tagged(client: &Client, links: &[(&str, &[&str])]) {
    for (slug, tags) in links {
        let body = json!({ "longUrl": "https://example.com/", "customSlug": slug, "tags": tags });
        let seen = create(client, body).await;
        list(client, &[("limit", "1"), ("seen", &seen)]).await;
    }
}

/// A query for a part that no tag has.
const LONG: &str = "?q=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

async fn tags_of(client: &Client, code: &str) -> Value {
    client.get(&format!("/api/v1/links/{code}")).await.unwrap().json()["tags"].clone()
}

async fn counts(client: &Client, query: &str) -> Vec<(String, u64)> {
    let answer = client.get(&format!("/api/v1/tags{query}")).await.unwrap();
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let tags = answer.json()["tags"].as_array().unwrap().clone();
    tags.iter().map(|tag| (tag["tag"].as_str().unwrap().to_lowercase(), tag["links"].as_u64().unwrap())).collect()
}

fn pairs(tags: &[(&str, u64)]) -> Vec<(String, u64)> {
    tags.iter().map(|(tag, links)| ((*tag).to_owned(), *links)).collect()
}

#[tokio::test]
async fn tags_are_counted_over_all_links() {
    let (_dir, node) = listing_node().await;
    let client = node.client();
    send(&client, Method::POST, "/api/v1/domains", json!({ "host": "b.example" })).await;
    tagged(&client, &[("a", &["Sale", "x"]), ("b", &["sale", "Ärger"]), ("c", &["sale"]), ("d", &[])]).await;
    let body = json!({ "longUrl": "https://example.com/", "customSlug": "e", "tags": ["x"], "domain": "b.example" });
    let seen = create(&client, body).await;
    list(&client, &[("seen", &seen)]).await;
    assert_eq!(counts(&client, "").await, pairs(&[("sale", 3), ("x", 2), ("ärger", 1)]));
    assert_eq!(counts(&client, "?q=SA").await, pairs(&[("sale", 3)]));
    assert_eq!(counts(&client, "?q=%C3%84RG").await, pairs(&[("ärger", 1)]));
    assert_eq!(counts(&client, "?domain=b.example").await, pairs(&[("x", 1)]));
    assert_eq!(counts(&client, "?limit=1").await, pairs(&[("sale", 3)]));
    assert_eq!(client.get("/api/v1/tags?limit=1").await.unwrap().json()["total"], 3);
    for (query, status) in [
        ("?limit=0", 422),
        ("?limit=1001", 422),
        ("?limit=x", 422),
        (LONG, 422),
        ("?domain=c.example", 404),
        ("?x=1", 400),
    ] {
        assert_eq!(client.get(&format!("/api/v1/tags{query}")).await.unwrap().status, status, "{query}");
    }
    send(&client, Method::DELETE, "/api/v1/links/c", json!(null)).await;
    waits_for(async || counts(&client, "?q=sale").await == pairs(&[("sale", 2)])).await;
}

#[tokio::test]
async fn a_tag_is_renamed_merged_and_removed_in_all_links() {
    let (_dir, node) = listing_node().await;
    let client = node.client();
    tagged(&client, &[("a", &["x", "Sale", "y"]), ("b", &["sale", "SPRING"]), ("c", &["other"]), ("d", &["a/b & c"])])
        .await;
    let renamed = send(&client, Method::PATCH, "/api/v1/tags/SALE", json!({ "tag": " Spring " })).await;
    assert_eq!((renamed.status, renamed.header("content-type")), (200, Some("application/json")));
    let expected = json!({ "links": 2, "changed": 2, "unchanged": 0, "failed": 0, "done": true });
    let mut told = renamed.json();
    // The second look finds those that were changed, as long as the list shows their old tags.
    told["unchanged"] = json!(0);
    assert_eq!(told, expected);
    assert_eq!(
        (tags_of(&client, "a").await, tags_of(&client, "b").await),
        (json!(["x", "Spring", "y"]), json!(["Spring"]))
    );
    assert_eq!(tags_of(&client, "c").await, json!(["other"]));
    // The same again finds nothing to do.
    let again = send(&client, Method::PATCH, "/api/v1/tags/SALE", json!({ "tag": "Spring" })).await.json();
    assert_eq!((&again["changed"], &again["failed"], &again["done"]), (&json!(0), &json!(0), &json!(true)));
    let spelled = send(&client, Method::PATCH, "/api/v1/tags/spring", json!({ "tag": "spring" })).await.json();
    assert_eq!((&spelled["changed"], &spelled["done"]), (&json!(2), &json!(true)), "{spelled}");
    let odd = send(&client, Method::PATCH, "/api/v1/tags/a%2Fb%20%26%20c", json!({ "tag": "plain" })).await.json();
    assert_eq!((&odd["changed"], tags_of(&client, "d").await), (&json!(1), json!(["plain"])));
    let removed = send(&client, Method::DELETE, "/api/v1/tags/Spring", json!(null)).await.json();
    assert_eq!((&removed["changed"], &removed["done"]), (&json!(2), &json!(true)));
    assert_eq!((tags_of(&client, "a").await, tags_of(&client, "b").await), (json!(["x", "y"]), json!([])));
    waits_for(async || counts(&client, "?q=s").await.is_empty()).await;
    let entries = client.get("/api/v1/links/a/history").await.unwrap().json();
    assert_eq!(entries["entries"][0]["changed"], json!(["tags"]), "each change is an edit of the link");
    for (path, body, status) in [
        ("/api/v1/tags/a", json!({ "tag": "" }), 422),
        ("/api/v1/tags/a", json!({ "tag": "b,c" }), 422),
        ("/api/v1/tags/a%0Ab", json!({ "tag": "b" }), 422),
        ("/api/v1/tags/a", json!({ "name": "b" }), 400),
        ("/api/v1/tags/a?domain=c.example", json!({ "tag": "b" }), 404),
        ("/api/v1/tags/a?q=b", json!({ "tag": "b" }), 400),
    ] {
        assert_eq!(send(&client, Method::PATCH, path, body.clone()).await.status, status, "{path} {body}");
    }
}

#[tokio::test]
async fn a_link_that_was_created_just_before_is_renamed_too() {
    let (_dir, node) = listing_node().await;
    let client = node.client();
    for n in 0..3 {
        let slug = format!("s{n}");
        create(&client, json!({ "longUrl": "https://example.com/", "customSlug": slug, "tags": ["now"] })).await;
        let renamed = send(&client, Method::PATCH, "/api/v1/tags/now", json!({ "tag": "then" })).await.json();
        assert_eq!((&renamed["changed"], &renamed["done"]), (&json!(1), &json!(true)), "{renamed}");
        assert_eq!(tags_of(&client, &slug).await, json!(["then"]));
    }
}

#[tokio::test]
async fn no_edit_by_somebody_else_is_lost_while_a_tag_is_renamed() {
    let (_dir, node) = listing_node().await;
    let client = node.client();
    let items: Vec<Value> = (0..300)
        .map(|n| json!({ "op": "put", "code": format!("s{n}"), "link": { "longUrl": "https://example.com/", "tags": ["old"] } }))
        .collect();
    assert_eq!(send(&client, Method::POST, "/api/v1/bulk", json!({ "items": items })).await.json()["failed"], 0);
    waits_for(async || list(&client, &[("tags", "old"), ("limit", "1")]).await["total"] == 300).await;
    // Each link gets a title, and every tenth one is deleted, while the tag changes.
    let editing = async {
        for n in 0..300 {
            let path = format!("/api/v1/links/s{n}");
            match n % 10 {
                0 => assert_eq!(send(&client, Method::DELETE, &path, json!(null)).await.status, 204),
                _ => assert_eq!(
                    send(&client, Method::PATCH, &path, json!({ "title": format!("T{n}") })).await.status,
                    200
                ),
            }
        }
    };
    let rename = client.request(Method::PATCH, "/api/v1/tags/old").header("accept", "application/x-ndjson");
    let renaming = client.send(rename.json(&json!({ "tag": "new" })));
    let ((), renamed) = tokio::join!(editing, renaming);
    let renamed = renamed.unwrap();
    assert_eq!((renamed.status, renamed.header("content-type")), (200, Some("application/x-ndjson")));
    let lines: Vec<Value> =
        String::from_utf8(renamed.body).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (last, before) = lines.split_last().unwrap();
    assert!(before.len() > 1 && before.iter().all(|line| line["done"] == false), "{lines:?}");
    assert_eq!((&last["failed"], &last["done"], &last["links"]), (&json!(0), &json!(true), &json!(300)), "{last}");
    for n in 0..300 {
        let link = client.get(&format!("/api/v1/links/s{n}")).await.unwrap();
        match n % 10 {
            0 => assert_eq!(link.status, 404),
            _ => assert_eq!(
                (&link.json()["title"], &link.json()["tags"]),
                (&json!(format!("T{n}")), &json!(["new"])),
                "s{n}"
            ),
        }
    }
}

#[tokio::test]
async fn links_that_fit_a_filter_are_counted_changed_and_deleted() {
    let (_dir, node) = listing_node().await;
    let client = node.client();
    tagged(&client, &[("a", &["x"]), ("b", &["x", "y"]), ("c", &["y"]), ("d", &[])]).await;
    let sweep =
        async |query: &str, body: Value| send(&client, Method::POST, &format!("/api/v1/bulk/links{query}"), body).await;
    let dry = sweep("?tags=x", json!({ "op": "delete", "dryRun": true })).await;
    assert_eq!(dry.json(), json!({ "links": 2, "changed": 0, "unchanged": 0, "failed": 0, "done": true }));
    let dry = sweep("?q=example", json!({ "op": "edit", "changes": { "title": "T" }, "dryRun": true })).await.json();
    assert_eq!((&dry["links"], &dry["changed"]), (&json!(4), &json!(0)));
    assert_eq!(list(&client, &[]).await["total"], 4);

    let edit = json!({ "op": "edit", "changes": { "title": "T", "disabled": true }, "addTags": ["z", "Y"], "removeTags": ["X"] });
    let edited = sweep("?tags=x", edit.clone()).await.json();
    assert_eq!(edited, json!({ "links": 2, "changed": 2, "unchanged": 0, "failed": 0, "done": true }));
    assert_eq!((tags_of(&client, "a").await, tags_of(&client, "b").await), (json!(["z", "Y"]), json!(["y", "z"])));
    let a = client.get("/api/v1/links/a").await.unwrap().json();
    assert_eq!((&a["title"], &a["state"]), (&json!("T"), &json!("disabled")));
    assert_eq!(client.get("/api/v1/links/c").await.unwrap().json()["title"], Value::Null);
    // Links that are as they should be are left alone.
    waits_for(async || list(&client, &[("tags", "z"), ("limit", "1")]).await["total"] == 2).await;
    let version = async || client.get("/api/v1/links/b").await.unwrap().header("etag").unwrap().to_owned();
    let before = version().await;
    let again = sweep("?tags=z", edit).await.json();
    assert_eq!((&again["changed"], &again["unchanged"], version().await), (&json!(0), &json!(2), before));

    let deleted = sweep("?tags=z&excludeTags=nothing", json!({ "op": "delete" })).await.json();
    assert_eq!((&deleted["changed"], &deleted["done"]), (&json!(2), &json!(true)));
    waits_for(async || list(&client, &[("limit", "1")]).await["total"] == 2).await;
    assert_eq!(codes(&list(&client, &[("sort", "slug")]).await), ["c", "d"]);
    assert_eq!(client.get("/a").await.unwrap().status, 404);
}

#[tokio::test]
async fn all_links_are_meant_only_if_the_request_says_so() {
    let (_dir, node) = listing_node().await;
    let client = node.client();
    tagged(&client, &[("a", &["x"]), ("b", &[])]).await;
    let sweep =
        async |query: &str, body: Value| send(&client, Method::POST, &format!("/api/v1/bulk/links{query}"), body).await;
    for query in ["", "?q=", "?q=%20&tags=,", "?tagsMode=all"] {
        for dry in [true, false] {
            let refused = sweep(query, json!({ "op": "delete", "dryRun": dry })).await;
            assert_eq!((refused.status, refused.text("field")), (422, "all".to_owned()), "{query}");
        }
    }
    // Nothing of these is left to search for, so every link would fit.
    for text in ["%C2%B4", "%C2%A8", "%C2%B8", "%CC%81", "%00", "%20%CC%81%20%C2%B4"] {
        for body in [json!({ "op": "delete" }), json!({ "op": "edit", "changes": { "title": "T" } })] {
            let refused = sweep(&format!("?q={text}"), body).await;
            assert_eq!((refused.status, refused.text("field")), (422, "q".to_owned()), "{text}");
        }
    }
    assert_eq!(list(&client, &[]).await["total"], 2);
    assert_eq!(client.get("/api/v1/links/a").await.unwrap().json()["title"], Value::Null);
    for (query, body, status) in [
        // A name that is not known is no filter.
        ("?tag=x", json!({ "op": "delete" }), 400),
        ("?tags=x&limit=1", json!({ "op": "delete" }), 400),
        ("?tags=x&state=gone", json!({ "op": "delete" }), 422),
        ("?domain=nobody.example", json!({ "op": "delete" }), 404),
        ("?tags=x", json!({ "op": "delete", "changes": {} }), 400),
        ("?tags=x", json!({ "op": "move" }), 400),
        ("?tags=x", json!({}), 400),
        ("?tags=x", json!({ "op": "edit" }), 400),
        ("?tags=x", json!({ "op": "edit", "changes": { "longUrl": "no url" } }), 422),
        ("?tags=x", json!({ "op": "edit", "changes": { "longUrl": "no url" }, "dryRun": true }), 422),
        ("?tags=x", json!({ "op": "edit", "addTags": ["a,b"] }), 422),
        ("?tags=x", json!({ "op": "edit", "addTags": vec!["a"; 33] }), 422),
    ] {
        assert_eq!(sweep(query, body.clone()).await.status, status, "{query} {body}");
    }
    assert_eq!(list(&client, &[]).await["total"], 2);
    let deleted = sweep("", json!({ "op": "delete", "all": true })).await.json();
    assert_eq!((&deleted["changed"], &deleted["done"]), (&json!(2), &json!(true)));
}

#[tokio::test]
async fn a_link_that_cannot_be_changed_is_named_and_all_others_are_changed() {
    let (_dir, node) = listing_node().await;
    let client = node.client();
    let full: Vec<String> = (0..32).map(|n| format!("t{n}")).collect();
    let full: Vec<&str> = full.iter().map(String::as_str).collect();
    tagged(&client, &[("a", &["t0"]), ("full", &full), ("b", &["t0"])]).await;
    let edit = json!({ "op": "edit", "addTags": ["one-more"] });
    let done = send(&client, Method::POST, "/api/v1/bulk/links?tags=t0", edit).await.json();
    assert_eq!((&done["changed"], &done["failed"], &done["done"]), (&json!(2), &json!(1), &json!(true)), "{done}");
    let failure = &done["failures"][0];
    assert_eq!((&failure["shortCode"], &failure["domain"]), (&json!("full"), &Value::Null));
    assert_eq!(
        (&failure["problem"]["type"], &failure["problem"]["field"]),
        (&json!("urn:waypost:problem:invalid-value"), &json!("tags"))
    );
    assert_eq!(tags_of(&client, "b").await, json!(["t0", "one-more"]));
}
