//! What a node says of its groups when most of their members are away.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use waypost_testkit::{Client, Cluster};

use super::cluster_of;
use crate::PROGRAM;

/// How long a node may take to say what is so: an election time, and room for a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// What a node says of itself in all places where it can be asked.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    ready: u16,
    writable: bool,
    leaderless: usize,
    metric: u64,
    leads: bool,
    /// Groups without a leader in `GET /cluster`.
    view: usize,
    health: Option<i32>,
    redirects: Option<i32>,
}

impl Said {
    /// Of a node that has no quorum for `groups` groups.
    fn without_quorum(groups: usize) -> Self {
        Self {
            ready: 200,
            writable: false,
            leaderless: groups,
            metric: groups as u64,
            leads: false,
            view: groups,
            health: Some(3),
            redirects: Some(0),
        }
    }
}

fn health(cluster: &Cluster, node: usize, more: &[&str]) -> Option<i32> {
    let server = format!("http://{}", cluster.node(node).address());
    let asked = Command::new(PROGRAM).args(["health", "--server", &server]).args(more).output().unwrap();
    asked.status.code()
}

/// The value of a gauge without labels.
pub(super) async fn gauge(cluster: &Cluster, node: usize, name: &str) -> u64 {
    let answer = Client::new(cluster.node(node).admin()).get("/metrics").await.unwrap();
    let text = String::from_utf8(answer.body).unwrap();
    let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap_or_else(|| panic!("no {name}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

async fn said(cluster: &Cluster, node: usize) -> Said {
    let answer = cluster.client(node).get("/health/ready").await.unwrap();
    let view = cluster.view(node).await.unwrap();
    Said {
        ready: answer.status,
        writable: answer.json()["writable"] == true,
        leaderless: answer.json()["leaderless"].as_array().map_or(0, Vec::len),
        metric: gauge(cluster, node, "waypost_groups_leaderless").await,
        leads: gauge(cluster, node, "waypost_groups_led").await > 0,
        view: view["leaderless"].as_array().map_or(0, Vec::len),
        health: health(cluster, node, &[]),
        redirects: health(cluster, node, &["--redirects"]),
    }
}

async fn comes_to_say(cluster: &Cluster, node: usize, expected: impl Fn(&Said) -> bool) {
    let since = Instant::now();
    loop {
        let said = said(cluster, node).await;
        if expected(&said) {
            return;
        }
        assert!(since.elapsed() < SOON, "{said:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until no replica is behind.
async fn all_have_applied_the_same(cluster: &Cluster) {
    let even = |view: &Value| {
        let mut applied: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
        for node in view["nodes"].as_array().unwrap() {
            for group in node["status"]["groups"].as_array().into_iter().flatten() {
                let reached = group["applied"].as_u64().unwrap();
                applied.entry(group["group"].as_u64().unwrap()).or_default().insert(reached);
            }
        }
        applied.len() == 17 && applied.values().all(|reached| reached.len() == 1)
    };
    cluster.wait(0, "all replicas have the same", even).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_a_quorum_says_that_its_groups_have_no_leader_until_it_has_one_again() {
    let (_dir, mut cluster) = cluster_of(3).await;
    let whole = |said: &Said| {
        (said.ready, said.writable, said.leaderless, said.metric, said.view) == (200, true, 0, 0, 0)
            && (said.health, said.redirects) == (Some(0), Some(0))
    };
    super::evened_out(&cluster).await;
    comes_to_say(&cluster, 2, whole).await;
    let code = cluster.client(2).create("https://example.com/").await.unwrap();
    all_have_applied_the_same(&cluster).await;
    cluster.kill(0).unwrap();
    cluster.kill(1).unwrap();
    // The groups that it led, and those of which it followed a leader that is gone.
    comes_to_say(&cluster, 2, |said| *said == Said::without_quorum(17)).await;
    assert!(cluster.client(2).follow(&code).await.unwrap().is_some(), "redirects go on");
    cluster.start(&[0]).unwrap();
    comes_to_say(&cluster, 2, whole).await;
    cluster.client(2).create("https://example.com/again").await.unwrap();
}
