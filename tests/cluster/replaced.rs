//! Nodes that come back with empty directories: their disks are not mounted, or were lost.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use waypost_testkit::{Cluster, Node};

use super::cluster_of;

/// How long a node may take to join, or to say why it cannot.
const SOON: Duration = Duration::from_secs(120);

/// Kills a node and starts it with an empty directory. Where its disk is now, and the process.
fn emptied(cluster: &mut Cluster, node: usize) -> (PathBuf, Node) {
    cluster.kill(node).unwrap();
    let away = cluster.dir().join(format!("unmounted{node}"));
    std::fs::rename(cluster.data_dir(node), &away).unwrap();
    (away, cluster.builder(node).spawn().unwrap())
}

/// Mounts the disk again.
fn mounted(cluster: &mut Cluster, node: usize, (away, mut running): (PathBuf, Node)) {
    running.kill().unwrap();
    std::fs::remove_dir_all(cluster.data_dir(node)).unwrap();
    std::fs::rename(away, cluster.data_dir(node)).unwrap();
    cluster.start(&[node]).unwrap();
}

/// How often a node was taken in, in all its lives.
fn taken_in(node: &Node) -> usize {
    node.errors().matches("this node is now a member of the cluster").count()
}

/// Whether a node that was a member before is taken in again, or else refused for what it held.
async fn is_taken_in_at_once(node: &Node) -> bool {
    let since = Instant::now();
    loop {
        if taken_in(node) > 1 {
            return true;
        }
        if node.errors().contains("Is its disk mounted") {
            return false;
        }
        assert!(since.elapsed() < SOON, "{}", node.errors());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn five_with_links() -> (tempfile::TempDir, Cluster, Vec<(String, String)>) {
    let (dir, cluster) = cluster_of(5).await;
    let mut links = Vec::new();
    for i in 0..40 {
        let url = format!("https://example.com/before/{i}");
        links.push((cluster.client(i % 5).create(&url).await.unwrap(), url));
    }
    (dir, cluster, links)
}

/// Every group takes changes, and nothing was lost.
async fn is_whole(cluster: &Cluster, links: &[(String, String)]) {
    cluster.settled(0, 3).await.unwrap();
    for i in 0..64 {
        cluster.client(i % 5).create(&format!("https://example.com/after/{i}")).await.unwrap();
    }
    for (number, (code, url)) in links.iter().enumerate() {
        assert_eq!(cluster.client(number % 5).follow(code).await.unwrap().as_ref(), Some(url));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_of_five_with_empty_directories_are_not_taken_in_for_those_that_groups_need() {
    let (_dir, mut cluster, links) = five_with_links().await;
    cluster.kill(3).unwrap();
    let mut five = emptied(&mut cluster, 4);
    let mut four = emptied(&mut cluster, 3);
    assert!(!is_taken_in_at_once(&five.1).await, "{}", five.1.errors());
    assert!(!is_taken_in_at_once(&four.1).await, "{}", four.1.errors());
    // Both before either: with one of the disks back, the other node may be replaced.
    four.1.kill().unwrap();
    five.1.kill().unwrap();
    mounted(&mut cluster, 3, four);
    mounted(&mut cluster, 4, five);
    is_whole(&cluster, &links).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_node_with_an_empty_directory_waits_until_the_first_has_what_it_should_hold() {
    let (_dir, mut cluster, links) = five_with_links().await;
    let (_lost, mut four) = emptied(&mut cluster, 3);
    // The others have all that it held, as soon as they have elected leaders for what it led.
    four.ready().unwrap();
    assert_eq!(taken_in(&four), 2);
    // Too early: the groups that both held have one voter left that is up.
    let five = emptied(&mut cluster, 4);
    if is_taken_in_at_once(&five.1).await {
        cluster.take_over(4, five.1).unwrap();
    } else {
        mounted(&mut cluster, 4, five);
    }
    cluster.take_over_ready(3, four);
    is_whole(&cluster, &links).await;
}
