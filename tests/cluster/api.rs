//! The API through every kind of node: one that leads the shard of a link or does not, and one without replicas.

use reqwest::Method;
use serde_json::{Value, json};
use waypost_testkit::Cluster;

use crate::PROGRAM;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_are_put_and_changed_in_bulk_through_every_node_also_one_without_replicas() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::new(PROGRAM, dir.path());
    for _ in 0..3 {
        cluster.add(None).unwrap();
    }
    let edge = cluster.add(Some(r#"["redirector", "click_counter"]"#)).unwrap();
    cluster.start(&[0, 1, 2, edge]).unwrap();
    cluster.settled(0, 3).await.unwrap();
    // With 32 links each node leads the shards of some.
    for node in [0, 1, 2, edge] {
        let (client, other) = (cluster.client(node), cluster.client((node + 1) % 4));
        let to = |n: usize| json!({ "longUrl": format!("https://example.com/{node}/{n}") });
        for n in 0..32 {
            let path = format!("/api/v1/links/put-{node}-{n}");
            let put = |body: Value, name, tag: &str| {
                client.send(client.request(Method::PUT, &path).header(name, tag).json(&body))
            };
            let made = put(to(n), "if-none-match", "*").await.unwrap();
            assert_eq!(made.status, 201, "{node} {n}");
            let tag = made.header("etag").unwrap();
            let replaced = other.send(other.request(Method::PUT, &path).json(&to(n + 100))).await.unwrap();
            assert_eq!(replaced.status, 200, "{node} {n}");
            let late = put(to(n + 200), "if-match", tag).await.unwrap();
            assert_eq!((late.status, late.problem()), (412, "version-mismatch".to_owned()), "{node} {n}");
        }
        let items: Vec<Value> = (0..32)
            .map(|n| json!({ "op": "delete", "code": format!("put-{node}-{n}") }))
            .chain((0..100).map(|n| json!({ "op": "create", "link": to(n) })))
            .collect();
        let bulk = client.request(Method::POST, "/api/v1/bulk").header("idempotency-key", format!("bulk {node}"));
        let answer = client.send(bulk.json(&json!({ "items": items[32..] }))).await.unwrap().json();
        // The same request through another node creates nothing.
        let again = other.request(Method::POST, "/api/v1/bulk").header("idempotency-key", format!("bulk {node}"));
        let again = other.send(again.json(&json!({ "items": items[32..] }))).await.unwrap().json();
        assert_eq!((&answer["failed"], &again["failed"]), (&json!(0), &json!(0)), "{answer}");
        for (first, second) in answer["results"].as_array().unwrap().iter().zip(again["results"].as_array().unwrap()) {
            assert_eq!(first["link"]["id"], second["link"]["id"]);
        }
        let deleted = client.request(Method::POST, "/api/v1/bulk").json(&json!({ "items": items[..32] }));
        let deleted = client.send(deleted).await.unwrap().json();
        assert_eq!((&deleted["failed"], deleted["results"].as_array().unwrap().len()), (&json!(0), 32), "{deleted}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_the_redirector_has_no_such_path_whatever_code_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::new(PROGRAM, dir.path());
    let store = cluster.add(Some(r#"["key_allocator", "link_store", "click_counter", "janitor"]"#)).unwrap();
    cluster.start(&[store]).unwrap();
    let client = cluster.client(store);
    let made = client.shorten(json!({ "longUrl": "https://example.com/", "customSlug": "mine" })).await.unwrap();
    assert_eq!(made.status, 201, "{}", String::from_utf8_lossy(&made.body));
    assert_eq!(client.get("/api/v1/links/mine").await.unwrap().status, 200);
    // A link that exists, one that does not, and what cannot be a code.
    for path in ["/mine", "/other", "/mine/below", "/-x"] {
        let answer = client.get(path).await.unwrap();
        assert_eq!((answer.status, answer.problem().as_str()), (404, "not-found"), "{path}");
    }
}
