//! Protected links in a cluster: every node asks for the password, and checks it.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use waypost_testkit::Client;

use super::with_edge;

/// How long a busy machine may take.
const PATIENCE: Duration = Duration::from_secs(60);

async fn unlock(client: &Client, path: &str, password: &str) -> u16 {
    let request = client.request(Method::POST, path).header("content-type", "application/x-www-form-urlencoded");
    client.send(request.body(format!("password={password}"))).await.unwrap().status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_asks_for_the_password_of_a_link_and_checks_it_also_one_without_replicas() {
    let (_dir, cluster, edge) = with_edge().await;
    let nodes = [0, 1, 2, edge];
    let since = Instant::now();
    // Their shards are led by different nodes.
    for round in 0..4 {
        let (writer, slug) = (cluster.client(nodes[round]), format!("protected-{round}"));
        let body = json!({ "longUrl": "https://example.com/", "customSlug": slug, "password": "first" });
        loop {
            let answer = writer.shorten(body.clone()).await.unwrap();
            if answer.status == 201 {
                break;
            }
            let waits = answer.status == 503 || answer.problem() == "not-yet-supported";
            assert!(waits && since.elapsed() < PATIENCE, "{}", String::from_utf8_lossy(&answer.body));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let path = format!("/{slug}");
        for node in nodes {
            let client = cluster.client(node);
            assert_eq!(client.get(&path).await.unwrap().status, 403, "{slug}, node {node}");
            assert_eq!(unlock(&client, &path, "wrong").await, 403, "{slug}, node {node}");
            assert_eq!(unlock(&client, &path, "first").await, 303, "{slug}, node {node}");
        }
        let editor = cluster.client(nodes[(round + 1) % nodes.len()]);
        let edit = editor.request(Method::PATCH, &format!("/api/v1/links/{slug}"));
        let edited = editor.send(edit.json(&json!({ "password": "second" }))).await.unwrap();
        assert_eq!((edited.status, &edited.json()["protected"]), (200, &json!(true)));
        let edited = Instant::now();
        for node in nodes {
            // Other nodes follow within the bound.
            while unlock(&cluster.client(node), &path, "second").await != 303 {
                assert!(edited.elapsed() < PATIENCE, "node {node} knows the old password only");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            assert_eq!(unlock(&cluster.client(node), &path, "first").await, 403, "{slug}, node {node}");
        }
    }
}
