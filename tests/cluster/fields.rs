//! The properties of links in a cluster: on every node, led or not, with a replica or without.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use waypost_testkit::{Answer, Client, Cluster};

use crate::PROGRAM;

/// How long a busy machine may take.
const PATIENCE: Duration = Duration::from_secs(60);

async fn edited(client: &Client, code: &str, body: serde_json::Value) -> Answer {
    client.send(client.request(Method::PATCH, &format!("/api/v1/links/{code}")).json(&body)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_sets_and_follows_the_properties_of_links_also_one_without_replicas() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::new(PROGRAM, dir.path());
    for _ in 0..3 {
        cluster.add(None).unwrap();
    }
    cluster.start(&[0, 1, 2]).unwrap();
    cluster.settled(0, 3).await.unwrap();
    let edge = cluster.add(Some(r#"["redirector", "click_counter"]"#)).unwrap();
    cluster.start(&[edge]).unwrap();
    // The shards of the codes are led by different nodes.
    let since = Instant::now();
    for round in 0..8 {
        let (writer, editor) = (cluster.client(round % 4), cluster.client((round + 1) % 4));
        let given = json!({
            "longUrl": "https://example.com/a?b=1", "customSlug": format!("field-{round}"), "title": "T", "tags": ["a"],
            "note": "n", "validSince": "2020-01-01T00:00:00Z", "redirectStatus": 307, "forwardQuery": true,
            "forwardPath": true, "expiredUrl": "https://example.com/over", "crawlable": true,
        });
        // The level of a new cluster is raised when all its members have reported theirs.
        let code = loop {
            let answer = writer.shorten(given.clone()).await.unwrap();
            if answer.status == 201 {
                break answer.text("shortCode");
            }
            // The node that was asked does not know the new level yet, or the leader of the shard does not.
            let refused = (answer.status, answer.problem());
            let (not_yet, unavailable) = ((409, "not-yet-supported".to_owned()), (503, "unavailable".to_owned()));
            assert!(refused == not_yet || refused == unavailable, "{}", String::from_utf8_lossy(&answer.body));
            assert!(since.elapsed() < PATIENCE, "the level of the cluster is not raised");
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        for node in 0..4 {
            let answer = cluster.client(node).get(&format!("/{code}/x?b=2")).await.unwrap();
            let location = answer.header("location").unwrap_or_default();
            assert_eq!((answer.status, location), (307, "https://example.com/a/x?b=2"), "node {node}");
            let shown = cluster.client(node).get(&format!("/api/v1/links/{code}")).await.unwrap().json();
            assert_eq!((&shown["title"], &shown["tags"]), (&json!("T"), &json!(["a"])), "node {node}");
            let rest = (&shown["note"], &shown["validSince"], &shown["expiredUrl"]);
            let given = (&json!("n"), &json!("2020-01-01T00:00:00.000Z"), &json!("https://example.com/over"));
            assert_eq!(rest, given, "node {node}");
        }
        if round == 7 {
            for node in 0..4 {
                let asked = Instant::now();
                let listed = async || {
                    let robots = cluster.client(node).get("/robots.txt").await.unwrap();
                    String::from_utf8(robots.body).unwrap().matches("\nAllow: /field-").count()
                };
                // A replica may be a little behind, and a node keeps the file for ten seconds.
                while listed().await < 8 {
                    assert!(asked.elapsed() < PATIENCE, "node {node} does not list all links");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
        let answer = edited(&editor, &code, json!({ "disabled": true, "expiredUrl": null, "forwardPath": null })).await;
        assert_eq!(answer.status, 200);
        let edited = Instant::now();
        for node in 0..4 {
            // Other nodes follow within the bound.
            while cluster.client(node).get(&format!("/{code}")).await.unwrap().status != 410 {
                assert!(edited.elapsed() < PATIENCE, "node {node} still redirects");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}
