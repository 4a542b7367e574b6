//! A visit whose redirect was sent is counted once, whatever dies.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use waypost_testkit::{Client, Cluster, Faults};

use super::{settled_sum, sum};
use crate::node_in_temp;

/// Clients that follow links as fast as they can, on whatever nodes are up, and count.
struct Visitors {
    targets: Arc<Mutex<Vec<SocketAddr>>>,
    stop: Arc<AtomicBool>,
    /// Answers `302` that were read.
    received: Arc<AtomicU64>,
    /// Requests whose answer was not read.
    unknown: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Visitors {
    fn start(count: usize, codes: &[String], targets: &[SocketAddr]) -> Self {
        let mut visitors = Self {
            targets: Arc::new(Mutex::new(targets.to_vec())),
            stop: Arc::default(),
            received: Arc::default(),
            unknown: Arc::default(),
            tasks: Vec::new(),
        };
        for number in 0..count {
            let (targets, stop) = (visitors.targets.clone(), visitors.stop.clone());
            let (received, unknown, codes) = (visitors.received.clone(), visitors.unknown.clone(), codes.to_vec());
            visitors.tasks.push(tokio::spawn(async move {
                let mut client: Option<(SocketAddr, Client)> = None;
                for i in number.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let targets = targets.lock().unwrap().clone();
                    let Some(target) = targets.get(i % targets.len().max(1)).copied() else {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                        continue;
                    };
                    if client.as_ref().is_none_or(|(known, _)| *known != target) {
                        client = Some((target, Client::new(target)));
                    }
                    let (_, visitor) = client.as_ref().unwrap();
                    match visitor.get(&format!("/{}", codes[i % codes.len()])).await {
                        Ok(answer) if answer.status == 302 => drop(received.fetch_add(1, Ordering::Relaxed)),
                        Ok(_) => {}
                        Err(_) => {
                            unknown.fetch_add(1, Ordering::Relaxed);
                            tokio::time::sleep(Duration::from_millis(2)).await;
                        }
                    }
                }
            }));
        }
        visitors
    }

    fn aim(&self, targets: &[SocketAddr]) {
        *self.targets.lock().unwrap() = targets.to_vec();
    }

    async fn finish(self) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        (self.received.load(Ordering::Relaxed), self.unknown.load(Ordering::Relaxed))
    }
}

fn kills(default: usize) -> usize {
    // More for a long run: see `make soak-clicks`.
    std::env::var("TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

async fn links(client: &Client, count: usize) -> Vec<String> {
    let mut codes = Vec::new();
    for i in 0..count {
        codes.push(client.create(&format!("https://example.com/{i}")).await.unwrap());
    }
    codes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_killed_again_and_again_counts_each_visit_once() {
    let (_dir, builder) = node_in_temp();
    let mut node = builder.start().unwrap();
    let codes = links(&node.client(), 30).await;
    let visitors = Visitors::start(6, &codes, &[node.address()]);
    let kills = kills(5);
    for _ in 0..kills {
        let pause = Duration::from_millis(waypost_testkit::pick(200..900));
        tokio::time::sleep(pause).await;
        node.kill().unwrap();
        visitors.aim(&[]);
        node.restart().unwrap();
        visitors.aim(&[node.address()]);
    }
    let (received, unknown) = visitors.finish().await;
    let counted = settled_sum(&node.client(), received).await;
    println!("{kills} kills: {received} redirects received, {unknown} in doubt, {counted} counted");
    assert!((received..=received + unknown).contains(&counted), "{received} + {unknown}, but {counted}");
    assert!(received > 200);
    // A clean stop leaves nothing behind to be counted again.
    assert_eq!(node.terminate().unwrap().code(), Some(0));
    assert_eq!(std::fs::read_dir(node.data_dir().join("journal")).unwrap().count(), 0);
    node.restart().unwrap();
    assert_eq!(sum(&node.client()).await, counted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_whose_leaders_and_serving_nodes_are_killed_counts_each_visit_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::new(crate::PROGRAM, dir.path());
    for _ in 0..3 {
        cluster.add(None).unwrap();
    }
    let edge = cluster.add(Some(r#"["redirector", "click_counter"]"#)).unwrap();
    let all = [0, 1, 2, edge];
    cluster.start(&all).unwrap();
    cluster.settled(0, 3).await.unwrap();
    let codes = links(&cluster.client(0), 30).await;
    let addresses = |cluster: &Cluster, but: Option<usize>| -> Vec<SocketAddr> {
        all.iter().filter(|node| Some(**node) != but).map(|node| cluster.node(*node).address()).collect()
    };
    let visitors = Visitors::start(6, &codes, &addresses(&cluster, None));
    let kills = kills(4);
    for round in 0..kills {
        tokio::time::sleep(Duration::from_millis(waypost_testkit::pick(300..900))).await;
        // Whoever leads the first shard, then any, then the one without links. All of them serve while they are killed.
        let victim = match round % 3 {
            0 => cluster.leader(edge, 1).await.unwrap_or(0),
            1 => waypost_testkit::pick(0..3) as usize,
            _ => edge,
        };
        cluster.kill(victim).unwrap();
        visitors.aim(&addresses_up(&cluster, &all, victim));
        tokio::time::sleep(Duration::from_millis(500)).await;
        cluster.start(&[victim]).unwrap();
        cluster.settled(victim, 3).await.unwrap();
        visitors.aim(&addresses(&cluster, None));
    }
    let (received, unknown) = visitors.finish().await;
    let counted = settled_sum(&cluster.client(1), received).await;
    println!("{kills} kills: {received} redirects received, {unknown} in doubt, {counted} counted");
    assert!((received..=received + unknown).contains(&counted), "{received} + {unknown}, but {counted}");
    assert!(received > 200);
}

fn addresses_up(cluster: &Cluster, all: &[usize], but: usize) -> Vec<SocketAddr> {
    all.iter().filter(|node| **node != but).map(|node| cluster.node(*node).address()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_costs_no_more_clicks_than_the_last_moment_and_doubles_none() {
    let (dir, builder) = node_in_temp();
    let faults = Faults::new(dir.path().join("faults")).unwrap();
    let builder = faults.load_into(builder);
    let (mut sure, mut possible) = (0, 0);
    let mut codes = Vec::new();
    for life in 0..4 {
        faults.watch_writes().unwrap();
        let mut node = builder.start().unwrap();
        if codes.is_empty() {
            codes = links(&node.client(), 10).await;
        }
        let visitors = Visitors::start(4, &codes, &[node.address()]);
        let end = Instant::now() + Duration::from_millis(1500);
        let mut noted = Vec::new();
        while Instant::now() < end {
            noted.push((Instant::now(), visitors.received.load(Ordering::Relaxed)));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        node.kill().unwrap();
        let cut = Instant::now();
        faults.cut_power(node.data_dir(), 0.0).unwrap();
        visitors.aim(&[]);
        let (received, unknown) = visitors.finish().await;
        possible += received + unknown;
        // Journals are synced every 100 ms; the machine is busy, and a sync takes its time.
        let bound = Duration::from_millis(700);
        sure += noted.iter().rev().find(|(at, _)| cut - *at > bound).map_or(0, |(_, count)| *count);
        println!("life {life}: {received} received, {unknown} in doubt");
    }
    let node = builder.start().unwrap();
    let counted = settled_sum(&node.client(), sure).await;
    println!("at least {sure}, at most {possible}, counted {counted}");
    assert!((sure..=possible).contains(&counted), "{sure}..={possible}, but {counted}");
    assert!(sure > 100);
}
