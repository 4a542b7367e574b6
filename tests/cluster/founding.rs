//! What a cluster promises while it comes about, and how many copies it says that there are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use waypost_testkit::{Client, Cluster, pick};

use super::quorum::gauge;
use super::{Link, cluster_of, others, serves};
use crate::PROGRAM;

/// Nodes that are killed while they found a cluster come within so much of the start.
const FOUNDING: Duration = Duration::from_secs(5);

/// How long something may take that has to come about by itself.
const SOON: Duration = Duration::from_secs(120);

fn three() -> (tempfile::TempDir, Cluster) {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::new(PROGRAM, dir.path());
    for _ in 0..3 {
        cluster.add(None).unwrap();
    }
    (dir, cluster)
}

/// What the clients of a new cluster share.
#[derive(Default)]
struct Creating {
    acknowledged: AtomicU64,
    stop: AtomicBool,
}

/// Asks for links through one node, which may be killed; answers those that were acknowledged.
async fn create_from_the_first_moment(client: Client, name: String, shared: Arc<Creating>) -> Vec<Link> {
    let mut links = Vec::new();
    while !shared.stop.load(Ordering::Relaxed) {
        let url = format!("https://example.com/{name}/{}", links.len());
        match client.shorten(json!({ "longUrl": url })).await {
            Ok(answer) if answer.status == 201 => {
                links.push((answer.text("shortCode"), url));
                shared.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            // Not there yet, not ready yet, or not any more.
            Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
        }
    }
    links
}

/// When a node is killed.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// So long after the start, whatever there is then.
    After(Duration),
    /// So long after the first acknowledged link.
    AfterTheFirstLink(Duration),
}

/// Kills one of three new nodes, while links are asked for; answers how many were acknowledged.
async fn kill_one_while_founding(moment: Moment) -> usize {
    let (_dir, mut cluster) = three();
    let victim = pick(0..3) as usize;
    let started = Instant::now();
    let mut nodes: Vec<_> = (0..3).map(|node| Some(cluster.builder(node).spawn().unwrap())).collect();
    let clients: Vec<Client> = (0..3).map(|node| Client::new(cluster.address(node))).collect();
    let shared: Arc<Creating> = Arc::default();
    let creating: Vec<_> = clients
        .iter()
        .enumerate()
        .map(|(node, client)| create_from_the_first_moment(client.clone(), format!("n{node}"), shared.clone()))
        .map(tokio::spawn)
        .collect();
    let end = match moment {
        Moment::After(after) => {
            tokio::time::sleep(after).await;
            started + FOUNDING
        }
        Moment::AfterTheFirstLink(after) => {
            while shared.acknowledged.load(Ordering::Relaxed) == 0 {
                assert!(started.elapsed() < SOON, "no link is acknowledged");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            tokio::time::sleep(after).await;
            Instant::now() + Duration::from_secs(1)
        }
    };
    drop(nodes[victim].take());
    tokio::time::sleep_until(end.into()).await;
    shared.stop.store(true, Ordering::Relaxed);
    let mut links = Vec::new();
    for created in creating {
        links.extend(created.await.unwrap());
    }
    for node in others(victim) {
        for link in &links {
            serves(&clients[node], link).await;
        }
    }
    // What had begun is finished when the node is back, wherever it was left.
    nodes[victim] = Some(cluster.builder(victim).spawn().unwrap());
    for (node, running) in nodes.into_iter().enumerate() {
        cluster.take_over(node, running.unwrap()).unwrap();
    }
    cluster.settled(victim, 3).await.unwrap();
    cluster.client(victim).create("https://example.com/founded").await.unwrap();
    for node in 0..3 {
        for link in &links {
            serves(&cluster.client(node), link).await;
        }
    }
    println!("node {victim} killed, {moment:?}: {} links", links.len());
    links.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_killed_while_a_cluster_is_founded_costs_no_acknowledged_link() {
    // More for a long run: see `make soak-founding`.
    let kills: usize = std::env::var("TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let within = |time: Duration| Duration::from_millis(pick(0..time.as_millis() as u64));
    let mut links = 0;
    for _ in 1..kills {
        links += kill_one_while_founding(Moment::After(within(FOUNDING))).await;
    }
    // Once there are links for certain: a run in which every node died before them would show nothing.
    let last = kill_one_while_founding(Moment::AfterTheFirstLink(within(Duration::from_secs(1)))).await;
    links += last;
    assert!(last > 0);
    println!("{kills} kills, {links} links");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_node_is_ready_and_no_link_is_made_before_every_group_has_all_its_copies() {
    let (_dir, mut cluster) = three();
    // The third is a member at once, and takes long for everything that it stores.
    let (one, two) = (cluster.builder(0).spawn().unwrap(), cluster.builder(1).spawn().unwrap());
    let three = cluster.builder(2).env("WAYPOST_STORAGE_COMMIT_DELAY_US", "1000000").spawn().unwrap();
    let (client, since) = (Client::new(cluster.address(0)), Instant::now());
    let refused = loop {
        match client.shorten(json!({ "longUrl": "https://example.com/" })).await {
            Ok(answer) => break answer,
            Err(_) => assert!(since.elapsed() < SOON, "{}", one.errors()),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(refused.status, 503, "{}", String::from_utf8_lossy(&refused.body));
    assert!(refused.text("detail").contains("being created"), "{}", refused.text("detail"));
    let ready = client.get("/health/ready").await.unwrap();
    assert_eq!(ready.status, 503, "{}", String::from_utf8_lossy(&ready.body));
    assert!(one.printed().is_empty() && two.printed().is_empty());
    for (node, running) in [one, two, three].into_iter().enumerate() {
        cluster.take_over(node, running).unwrap();
    }
    // From the first moment on, each has the copies that it should have.
    for node in 0..3 {
        let view = cluster.view(node).await.unwrap();
        let voters = waypost_testkit::leaders(&view).into_iter().map(|(_, _, voters)| voters);
        assert!(voters.into_iter().all(|voters| voters == 3), "{view}");
        cluster.client(node).create("https://example.com/").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_with_fewer_copies_than_wished_are_counted_until_they_have_them() {
    let (_dir, mut cluster) = cluster_of(1).await;
    let short = |view: &Value| view["underreplicated"].as_array().map_or(0, Vec::len);
    assert_eq!((short(&cluster.view(0).await.unwrap()), metric(&cluster, 1).await), (0, 0), "one node, one copy");
    for more in 1..3 {
        cluster.add(None).unwrap();
        cluster.start(&[more]).unwrap();
    }
    cluster.settled(0, 3).await.unwrap();
    cluster.wait(0, "all copies are there", |view| short(view) == 0).await.unwrap();
    cluster.kill(2).unwrap();
    cluster.wait(0, "a node takes its copies away", |view| short(view) == 16).await.unwrap();
    let since = Instant::now();
    while metric(&cluster, 2).await != 16 {
        assert!(since.elapsed() < SOON, "{}", metric(&cluster, 2).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    cluster.start(&[2]).unwrap();
    cluster.wait(0, "all copies are there again", |view| short(view) == 0).await.unwrap();
    while metric(&cluster, 3).await != 0 {
        assert!(since.elapsed() < SOON, "{}", metric(&cluster, 3).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The sum over the first `nodes` nodes.
async fn metric(cluster: &Cluster, nodes: usize) -> u64 {
    let mut sum = 0;
    for node in 0..nodes {
        sum += gauge(cluster, node, "waypost_shards_underreplicated").await;
    }
    sum
}
