//! Several nodes: forming, growing and shrinking, and what goes wrong between them.

mod api;
mod domains;
mod faults;
mod fields;
mod five;
mod form;
mod founding;
mod fresh;
mod history;
mod leaving;
mod limits;
mod logs;
mod machines;
mod partitions;
mod passwords;
mod quorum;
mod replaced;
mod rules;
mod secret;
mod soak;
mod traces;
mod whole_lists;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use reqwest::Method;
use tempfile::TempDir;
use waypost_testkit::{Client, Cluster, Load, leaders};

use crate::PROGRAM;

/// A running cluster of `count` nodes with all services, settled.
pub(crate) async fn cluster_of(count: usize) -> (TempDir, Cluster) {
    started(count, |cluster| cluster).await
}

/// The same, of a kind of its own.
pub(crate) async fn started(count: usize, kind: impl FnOnce(Cluster) -> Cluster) -> (TempDir, Cluster) {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = kind(Cluster::new(PROGRAM, dir.path()));
    let all: Vec<usize> = (0..count).map(|_| cluster.add(None).unwrap()).collect();
    cluster.start(&all).unwrap();
    cluster.settled(0, count.min(3)).await.unwrap();
    (dir, cluster)
}

/// Three nodes with all services, settled, and a fourth that keeps no links; its number.
pub(crate) async fn with_edge() -> (TempDir, Cluster, usize) {
    with_edge_of(|cluster| cluster).await
}

/// The same, of a kind of its own.
pub(crate) async fn with_edge_of(kind: impl FnOnce(Cluster) -> Cluster) -> (TempDir, Cluster, usize) {
    let (dir, mut cluster) = started(3, kind).await;
    let edge = cluster.add(Some(r#"["redirector", "click_counter"]"#)).unwrap();
    cluster.start(&[edge]).unwrap();
    (dir, cluster, edge)
}

/// Waits until each of three nodes leads its part of the shards.
pub(crate) async fn evened_out(cluster: &Cluster) {
    let even = |view: &serde_json::Value| {
        let mut led: BTreeMap<String, usize> = BTreeMap::new();
        leaders(view).into_iter().for_each(|(name, ..)| *led.entry(name).or_default() += 1);
        led.len() == 3 && led.values().max() <= led.values().min().map(|fewest| fewest + 1).as_ref()
    };
    cluster.wait(0, "all nodes lead as many", even).await.unwrap();
}

/// Waits until a node leads nothing and holds no links.
async fn emptied(cluster: &Cluster, seen_by: usize, name: &str) {
    cluster
        .wait(seen_by, "the node is emptied", |view| {
            let node = view["nodes"].as_array().unwrap().iter().find(|node| node["name"] == name).unwrap();
            let groups = node["status"]["groups"].as_array().cloned().unwrap_or_default();
            let moving = view["moving"].as_array().is_some_and(|moving| !moving.is_empty());
            !moving && groups.iter().all(|group| group["group"] == 0 && group["leader"] == false)
        })
        .await
        .unwrap();
}

/// How long the load runs before and after each fault.
const BREATH: Duration = Duration::from_millis(700);

/// Waits until creates are acknowledged again.
async fn writes_go_on(load: &Load) {
    let before = load.tally().acknowledged;
    let since = std::time::Instant::now();
    while load.tally().acknowledged < before + 10 {
        assert!(since.elapsed() < Duration::from_secs(60), "no create is acknowledged any more: {:?}", load.tally());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Takes a node out, as soon as the others can do without it.
async fn remove(admin: &Client, node: &str) {
    let since = std::time::Instant::now();
    loop {
        let removed = admin.send(admin.request(Method::DELETE, &format!("/cluster/nodes/{node}"))).await.unwrap();
        if removed.status == 204 {
            return;
        }
        let said = String::from_utf8_lossy(&removed.body).into_owned();
        // 409 asks to wait, for the one or other group that is just electing.
        assert!(
            matches!(removed.status, 409 | 503) && since.elapsed() < Duration::from_secs(60),
            "{} {said}",
            removed.status
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The nodes of three other than this one.
fn others(of: usize) -> Vec<usize> {
    (0..3).filter(|node| *node != of).collect()
}

async fn bring_back(cluster: &mut Cluster, node: usize) {
    cluster.start(&[node]).unwrap();
    cluster.settled(node, 3).await.unwrap();
    // The leaders know that it is a member as soon as most do. It has to know as well before it can answer without them.
    let name = format!("n{}", node + 1);
    let knows = |view: &serde_json::Value| {
        let own = view["nodes"].as_array().unwrap().iter().find(|node| node["name"] == name).unwrap();
        let groups = own["status"]["groups"].as_array().cloned().unwrap_or_default();
        groups.len() > 1
            && groups.iter().all(|group| group["voters"].as_array().is_some_and(|voters| voters.len() == 3))
    };
    cluster.wait(node, "the node knows that it is a member", knows).await.unwrap();
}

fn addresses(cluster: &Cluster, nodes: &[usize]) -> Vec<SocketAddr> {
    nodes.iter().map(|node| cluster.node(*node).address()).collect()
}

/// A link that was answered `201`: its code and its URL.
type Link = (String, String);

/// Waits until a node redirects to a link. A node whose leaders were just killed may answer `503`: until another one is elected, or
/// while it cannot tell whether it has what they had acknowledged. It must not answer that there is no such link.
async fn serves(client: &Client, (code, url): &Link) {
    let since = Instant::now();
    loop {
        let answer = client.get(&format!("/{code}")).await.unwrap();
        match answer.status {
            302 => return assert_eq!(answer.header("location"), Some(url.as_str())),
            status => assert!(status == 503 && since.elapsed() < Duration::from_secs(120), "{code}: {status}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
