//! Machines of a cluster whose disk or clock is not as it should be.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use waypost_testkit::{Cluster, Load};

use super::partitions::terms;
use super::{BREATH, addresses, bring_back, others, serves, started, writes_go_on};

/// Breaks the disk of a node, which has to stop by itself; then mends it, and looks for what was acknowledged.
async fn with_a_broken_disk(whose: impl AsyncFn(&Cluster) -> usize, break_it: impl Fn(&Cluster, usize, bool)) {
    let (_dir, mut cluster) = started(3, Cluster::with_faults).await;
    let load = Load::start(6, &addresses(&cluster, &[0, 1, 2]));
    tokio::time::sleep(BREATH).await;
    let victim = whose(&cluster).await;
    load.aim(&addresses(&cluster, &others(victim)));
    break_it(&cluster, victim, true);
    let status = cluster.node_mut(victim).wait_exit().unwrap();
    assert_eq!(status.code(), Some(74), "{}", cluster.node(victim).errors());
    writes_go_on(&load).await;
    break_it(&cluster, victim, false);
    bring_back(&mut cluster, victim).await;
    load.aim(&addresses(&cluster, &[0, 1, 2]));
    writes_go_on(&load).await;
    load.finish(&addresses(&cluster, &[0, 1, 2])).await.unwrap();
}

async fn leader(cluster: &Cluster) -> usize {
    cluster.leader(0, 1).await.unwrap()
}

async fn follower(cluster: &Cluster) -> usize {
    (leader(cluster).await + 1) % 3
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_cannot_sync_stops_and_the_others_go_on() {
    with_a_broken_disk(leader, |cluster, node, on| cluster.faults(node).sync_fails(on).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_whose_disk_is_full_stops_and_the_others_go_on() {
    with_a_broken_disk(follower, |cluster, node, on| cluster.faults(node).disk_full(on).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_disks_cost_no_election() {
    with_slow_disks("50000").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn very_slow_disks_cost_no_election() {
    with_slow_disks("200000").await;
}

async fn with_slow_disks(delay_us: &str) {
    let (_dir, cluster) = started(3, |cluster| cluster.env("WAYPOST_STORAGE_COMMIT_DELAY_US", delay_us)).await;
    let mut seen = Vec::new();
    // The disks are slow all the time. A machine that has no time for a node now and then costs elections, too, but not every time.
    while seen.len() < 4 {
        let before = terms(&cluster).await;
        let load = Load::start(6, &addresses(&cluster, &[0, 1, 2]));
        tokio::time::sleep(BREATH * 5).await;
        writes_go_on(&load).await;
        load.finish(&addresses(&cluster, &[0, 1, 2])).await.unwrap();
        let after = terms(&cluster).await;
        if after == before {
            return;
        }
        seen.push((before, after));
    }
    panic!("there was an election every time: {seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_clock_is_an_hour_off_serves_and_leads_as_well() {
    let (_dir, cluster) = started(3, Cluster::with_faults).await;
    let load = Load::start(6, &addresses(&cluster, &[0, 1, 2]));
    tokio::time::sleep(BREATH).await;
    let wrong = leader(&cluster).await;
    let before = terms(&cluster).await;
    let hour = 3_600_000;
    for offset in [hour, -hour, 0] {
        cluster.faults(wrong).clock_off_by_ms(offset).unwrap();
        tokio::time::sleep(BREATH).await;
        writes_go_on(&load).await;
        // An edit after a create, on whichever side of the hour, is the later one.
        let client = cluster.client(wrong);
        let code = client.create("https://example.com/first").await.unwrap();
        let edit = client.request(Method::PATCH, &format!("/api/v1/links/{code}"));
        assert_eq!(
            client.send(edit.json(&json!({ "longUrl": "https://example.com/second" }))).await.unwrap().status,
            200
        );
        let read =
            cluster.client((wrong + 1) % 3).get(&format!("/api/v1/links/{code}?consistency=strong")).await.unwrap();
        assert_eq!(read.text("longUrl"), "https://example.com/second");
    }
    load.finish(&addresses(&cluster, &[0, 1, 2])).await.unwrap();
    assert_eq!(terms(&cluster).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_of_all_nodes_at_once_loses_no_acknowledged_link() {
    let (_dir, mut cluster) = started(3, Cluster::with_faults).await;
    for node in 0..3 {
        cluster.faults(node).watch_writes().unwrap();
    }
    let load = Load::start(6, &addresses(&cluster, &[0, 1, 2]));
    tokio::time::sleep(BREATH * 2).await;
    writes_go_on(&load).await;
    load.aim(&[]);
    for node in 0..3 {
        cluster.kill(node).unwrap();
    }
    let mut taken = 0;
    for node in 0..3 {
        taken += cluster.faults(node).cut_power(&cluster.data_dir(node), 0.0).unwrap();
    }
    println!("{taken} writes were taken back");
    cluster.start(&[0, 1, 2]).unwrap();
    cluster.settled(0, 3).await.unwrap();
    load.aim(&addresses(&cluster, &[0, 1, 2]));
    writes_go_on(&load).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    load.finish(&addresses(&cluster, &[0, 1, 2])).await.unwrap();
}

/// Spoils the end of the store, which is read at the start, and the records in it that hold links.
fn damage(cluster: &Cluster, node: usize) {
    let path = cluster.data_dir(node).join("store/db");
    let mut bytes = std::fs::read(&path).unwrap();
    let needle = b"https://example.com/kept/";
    let places: Vec<usize> =
        bytes.windows(needle.len()).enumerate().filter(|(_, window)| window == needle).map(|(at, _)| at).collect();
    assert!(!places.is_empty());
    places.into_iter().for_each(|place| bytes[place + 3] ^= 0x20);
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_a_damaged_store_says_how_it_is_mended_and_fetches_everything_from_the_others() {
    let (_dir, mut cluster) = started(3, |cluster| cluster).await;
    let mut links = Vec::new();
    for i in 0..40 {
        let url = format!("https://example.com/kept/{i}");
        links.push((cluster.client(0).create(&url).await.unwrap(), url));
    }
    cluster.node_mut(2).terminate().unwrap();
    damage(&cluster, 2);
    let mut refused = cluster.builder(2).spawn().unwrap();
    assert_eq!(refused.wait_exit().unwrap().code(), Some(74), "{}", refused.errors());
    assert!(refused.errors().contains("move") && refused.errors().contains("away"), "{}", refused.errors());
    std::fs::rename(cluster.data_dir(2), cluster.dir().join("damaged")).unwrap();
    bring_back(&mut cluster, 2).await;
    // Its own copies, with both others away.
    cluster.kill(0).unwrap();
    cluster.kill(1).unwrap();
    for link in &links {
        serves(&cluster.client(2), link).await;
    }
}
