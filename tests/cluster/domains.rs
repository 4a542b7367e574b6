//! Domains in a cluster: made and used through every node, also one without replicas.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;

use super::with_edge;

/// How long a busy machine may take.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_domain_is_made_and_its_links_are_used_through_every_node() {
    let (_dir, mut cluster, edge) = with_edge().await;
    let nodes = [0, 1, 2, edge];
    for (at, maker) in nodes.into_iter().enumerate() {
        let (client, host) = (cluster.client(maker), format!("d{at}.example"));
        let since = Instant::now();
        // The level of a new cluster is raised when all its members have reported theirs.
        loop {
            let body = json!({ "host": host, "caseInsensitive": true, "multiSegment": true, "defaultStatus": 307 });
            let made = client.send(client.request(Method::POST, "/api/v1/domains").json(&body)).await.unwrap();
            if made.status == 201 {
                break;
            }
            assert_eq!((made.status, made.problem()), (409, "not-yet-supported".to_owned()));
            assert!(since.elapsed() < PATIENCE, "the level of the cluster is not raised");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for (turn, writer) in nodes.into_iter().enumerate() {
            let since = Instant::now();
            let mut codes = Vec::new();
            for slug in [Some(format!("Slug/{turn}")), None] {
                let body = json!({ "longUrl": format!("https://example.com/{at}/{turn}"), "customSlug": slug, "domain": host });
                let made = loop {
                    let made = cluster.client(writer).shorten(body.clone()).await.unwrap();
                    if made.status == 201 {
                        break made;
                    }
                    // The node has not heard of the domain yet.
                    assert_eq!((made.status, made.text("field")), (422, "domain".to_owned()));
                    assert!(since.elapsed() < PATIENCE, "node {writer} does not hear of {host}");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                };
                codes.push(made.text("shortCode"));
            }
            for reader in nodes {
                let client = cluster.client(reader);
                for code in &codes {
                    let visit = || {
                        client.send(
                            client.request(Method::GET, &format!("/{}", code.to_uppercase())).header("host", &host),
                        )
                    };
                    let since = Instant::now();
                    while visit().await.unwrap().status != 307 {
                        assert!(since.elapsed() < PATIENCE, "node {reader} does not lead to {code} of {host}");
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                    let there = visit().await.unwrap();
                    assert_eq!(there.header("location"), Some(format!("https://example.com/{at}/{turn}").as_str()));
                    let escaped = code.replace('/', "%2F");
                    let shown = client.get(&format!("/api/v1/links/{escaped}?domain={host}")).await.unwrap();
                    assert_eq!((shown.status, shown.text("domain")), (200, host.clone()), "node {reader}");
                }
            }
        }
    }
    // A node that was away hears of what was made meanwhile.
    cluster.kill(2).unwrap();
    let client = cluster.client(0);
    let gone = client.send(client.request(Method::DELETE, "/api/v1/domains/d0.example")).await.unwrap();
    assert_eq!(gone.status, 204);
    cluster.start(&[2]).unwrap();
    for node in nodes {
        let since = Instant::now();
        while cluster.client(node).get("/api/v1/domains/d0.example").await.unwrap().status != 404 {
            assert!(since.elapsed() < PATIENCE, "node {node} does not hear of the removal");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(cluster.client(node).get("/api/v1/domains/d1.example").await.unwrap().status, 200);
    }
}
