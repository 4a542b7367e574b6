//! Links with rules in a cluster: every node leads a visitor to the same target, led or not, with a replica or without.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use waypost_testkit::Client;

use super::with_edge;

/// How long a busy machine may take.
const PATIENCE: Duration = Duration::from_secs(60);

async fn led(client: &Client, code: &str, agent: &str) -> String {
    let request = client.request(Method::GET, &format!("/{code}")).header("user-agent", agent);
    let answer = client.send(request).await.unwrap();
    assert_eq!(answer.status, 302, "{code}");
    answer.header("location").unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_leads_a_visitor_to_the_same_target() {
    let (_dir, cluster, edge) = with_edge().await;
    assert_eq!(edge, 3);
    let since = Instant::now();
    // The shards of the codes are led by different nodes.
    for round in 0..8 {
        let code = format!("ruled-{round}");
        let given = json!({
            "longUrl": "https://example.com/else", "customSlug": code,
            "rules": [
                { "conditions": [{ "type": "device", "value": "ios" }], "longUrl": "https://example.com/ios" },
                { "conditions": [{ "type": "device", "value": "android" }], "weights": [
                    { "longUrl": "https://example.com/a", "weight": 1 },
                    { "longUrl": "https://example.com/b", "weight": 1 },
                ] },
            ],
        });
        // The level of a new cluster is raised when all its members have reported theirs.
        loop {
            let answer = cluster.client(round % 4).shorten(given.clone()).await.unwrap();
            if answer.status == 201 {
                break;
            }
            assert!(matches!(answer.status, 409 | 503), "{}", String::from_utf8_lossy(&answer.body));
            assert!(since.elapsed() < PATIENCE, "the level of the cluster is not raised");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let android = "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36";
        let iphone = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1";
        let chosen = led(&cluster.client(0), &code, android).await;
        for node in 0..4 {
            let client = cluster.client(node);
            // The first is not cached, the second is.
            for _ in 0..2 {
                assert_eq!(led(&client, &code, android).await, chosen, "node {node}");
                assert_eq!(led(&client, &code, iphone).await, "https://example.com/ios", "node {node}");
                assert_eq!(led(&client, &code, "curl/8.5.0").await, "https://example.com/else", "node {node}");
            }
            let shown = client.get(&format!("/api/v1/links/{code}")).await.unwrap().json();
            assert_eq!(shown["rules"], given["rules"], "node {node}");
        }
        let editor = cluster.client((round + 1) % 4);
        let path = format!("/api/v1/links/{code}");
        let cleared = editor.send(editor.request(Method::PATCH, &path).json(&json!({ "rules": null }))).await.unwrap();
        assert_eq!(cleared.status, 200);
        for node in 0..4 {
            let edited = Instant::now();
            // Other nodes follow within the bound.
            while led(&cluster.client(node), &code, iphone).await != "https://example.com/else" {
                assert!(edited.elapsed() < PATIENCE, "node {node} still follows the rules");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}
