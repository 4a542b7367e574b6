//! Statistics as a reader sees them who asks one node after another, as behind a balancer.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use waypost_testkit::{Client, Cluster, Rule};

use super::PATIENCE;

/// The totals that were told, by where they were asked.
#[derive(Default)]
struct Reader {
    seen: HashMap<String, u64>,
    /// Answers that said of themselves that they may be behind.
    stale: u32,
    /// The others.
    sure: u32,
}

impl Reader {
    /// Asks a node for all totals that it tells.
    async fn ask(&mut self, client: &Client, code: &str, node: usize) {
        for path in [format!("/analytics/{code}"), format!("/api/v1/links/{code}/stats"), "/api/v1/stats".to_owned()] {
            let answer = client.get(&path).await.unwrap();
            assert_eq!(answer.status, 200, "{path} on node {node}: {}", String::from_utf8_lossy(&answer.body));
            let report: Value = answer.json();
            let stale = report["stale"] == true;
            assert_eq!(answer.header("x-waypost-stale").is_some(), stale && !path.starts_with("/analytics"));
            if stale {
                self.stale += 1;
                continue;
            }
            self.sure += 1;
            let total = report["totalClicks"].as_u64().unwrap();
            let seen = self.seen.entry(path.clone()).or_default();
            assert!(total >= *seen, "{path}: {total} on node {node}, after {seen}");
            *seen = total;
        }
    }
}

async fn three_nodes(dir: &std::path::Path) -> (Cluster, String) {
    let mut cluster = Cluster::new(crate::PROGRAM, dir).behind_proxies().env("WAYPOST_CLICKS_INTERVAL_MS", "50");
    for _ in 0..3 {
        cluster.add(None).unwrap();
    }
    cluster.start(&[0, 1, 2]).unwrap();
    cluster.settled(0, 3).await.unwrap();
    let code = cluster.client(0).create("https://example.com/").await.unwrap();
    (cluster, code)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn totals_never_go_back_for_who_asks_one_node_after_another() {
    let dir = tempfile::tempdir().unwrap();
    let (mut cluster, code) = three_nodes(dir.path()).await;
    // What the others say comes late to one of them, so that its replicas are always behind; soon enough that it can lead.
    for other in [0, 1] {
        cluster.proxies().set(other, 2, Rule::Delay(Duration::from_millis(60)));
    }
    let mut reader = Reader::default();
    let since = Instant::now();
    while reader.seen.values().min().is_none_or(|total| *total < 150) {
        assert!(since.elapsed() < PATIENCE * 2, "{:?}", reader.seen);
        for _ in 0..4 {
            assert!(cluster.client(1).follow(&code).await.unwrap().is_some());
        }
        for node in 0..3 {
            reader.ask(&cluster.client(node), &code, node).await;
        }
    }
    // Those who lead after a leader's death know what it has told.
    cluster.kill(0).unwrap();
    let (since, sure) = (Instant::now(), reader.sure);
    while reader.sure < sure + 30 {
        assert!(since.elapsed() < PATIENCE * 2, "nobody is sure of the totals");
        for node in [1, 2] {
            reader.ask(&cluster.client(node), &code, node).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_leader_a_replica_tells_what_it_knows_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (mut cluster, code) = three_nodes(dir.path()).await;
    for _ in 0..10 {
        assert!(cluster.client(2).follow(&code).await.unwrap().is_some());
    }
    let mut reader = Reader::default();
    let since = Instant::now();
    while reader.seen.get("/api/v1/stats").is_none_or(|total| *total < 10) {
        assert!(since.elapsed() < PATIENCE, "{:?}", reader.seen);
        reader.ask(&cluster.client(2), &code, 2).await;
    }
    cluster.kill(0).unwrap();
    cluster.kill(1).unwrap();
    // A leader that has just lost its quorum may be sure of itself for the rest of its lease.
    let since = Instant::now();
    while reader.stale < 3 {
        assert!(since.elapsed() < PATIENCE, "nothing is marked");
        reader.ask(&cluster.client(2), &code, 2).await;
    }
    cluster.start(&[0, 1]).unwrap();
    let (since, sure) = (Instant::now(), reader.sure);
    while reader.sure < sure + 9 {
        assert!(since.elapsed() < PATIENCE * 2, "nobody is sure of the totals");
        for node in 0..3 {
            reader.ask(&cluster.client(node), &code, node).await;
        }
    }
    assert_eq!(reader.seen["/api/v1/stats"], 10);
}
