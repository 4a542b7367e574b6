//! Networks that come apart between nodes that all run.

use std::time::Duration;

use waypost_testkit::{Cluster, Load, Rule};

use super::{BREATH, addresses, others, started, writes_go_on};

/// Runs load on all nodes while `break_it` is so, until the nodes of `majority` acknowledge creates alone; then heals.
async fn with_a_broken_network(break_it: impl FnOnce(&Cluster, usize)) {
    let (_dir, cluster) = started(3, Cluster::behind_proxies).await;
    let load = Load::start(6, &addresses(&cluster, &[0, 1, 2]));
    tokio::time::sleep(BREATH).await;
    let leader = cluster.leader(0, 1).await.unwrap();
    break_it(&cluster, leader);
    // Clients are on both sides: what the minority acknowledges would be found out below.
    tokio::time::sleep(BREATH * 4).await;
    load.aim(&addresses(&cluster, &others(leader)));
    writes_go_on(&load).await;
    cluster.proxies().heal();
    load.aim(&addresses(&cluster, &[0, 1, 2]));
    cluster.settled(leader, 3).await.unwrap();
    writes_go_on(&load).await;
    let tally = load.finish(&addresses(&cluster, &[0, 1, 2])).await.unwrap();
    println!("{tally:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_with_a_minority_acknowledges_nothing_that_is_lost() {
    with_a_broken_network(|cluster, leader| cluster.proxies().part(&[leader], &others(leader), Rule::Cut)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_not_heard_any_more_is_replaced() {
    with_a_broken_network(|cluster, leader| {
        others(leader).into_iter().for_each(|other| cluster.proxies().set(leader, other, Rule::Cut));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_hears_nobody_any_more_is_replaced() {
    with_a_broken_network(|cluster, leader| {
        others(leader).into_iter().for_each(|other| cluster.proxies().set(other, leader, Rule::Cut));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_reset_again_and_again_lose_nothing() {
    let (_dir, cluster) = started(3, Cluster::behind_proxies).await;
    let load = Load::start(6, &addresses(&cluster, &[0, 1, 2]));
    for _ in 0..12 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        cluster.proxies().reset();
    }
    cluster.settled(0, 3).await.unwrap();
    writes_go_on(&load).await;
    load.finish(&addresses(&cluster, &[0, 1, 2])).await.unwrap();
}

/// Group and term of every shard, by its leader, once leaders are evened out: moving one begins a term, too.
pub(super) async fn terms(cluster: &Cluster) -> Vec<(u64, u64)> {
    let even = |view: &serde_json::Value| {
        let led = |node: &serde_json::Value| {
            let groups = node["status"]["groups"].as_array().cloned().unwrap_or_default();
            groups.iter().filter(|group| group["leader"] == true && group["group"] != 0).count()
        };
        let counts: Vec<usize> = view["nodes"].as_array().unwrap().iter().map(led).collect();
        counts.iter().sum::<usize>() == 16 && counts.iter().max() <= counts.iter().min().map(|least| least + 1).as_ref()
    };
    let view = cluster.wait(0, "leaders are evened out", even).await.unwrap();
    let mut terms = Vec::new();
    for node in view["nodes"].as_array().unwrap() {
        for group in node["status"]["groups"].as_array().unwrap().iter().filter(|group| group["leader"] == true) {
            terms.push((group["group"].as_u64().unwrap(), group["term"].as_u64().unwrap()));
        }
    }
    terms.sort_unstable();
    terms
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_network_costs_no_election() {
    let (_dir, cluster) = started(3, Cluster::behind_proxies).await;
    let before = terms(&cluster).await;
    cluster.proxies().part(&[0, 1, 2], &[0, 1, 2], Rule::Delay(Duration::from_millis(40)));
    let load = Load::start(6, &addresses(&cluster, &[0, 1, 2]));
    tokio::time::sleep(BREATH * 5).await;
    writes_go_on(&load).await;
    load.finish(&addresses(&cluster, &[0, 1, 2])).await.unwrap();
    assert_eq!(terms(&cluster).await, before);
}
