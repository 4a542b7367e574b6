//! Nodes that die, stop for a while, or lose their disk, under load.

use std::time::Duration;

use waypost_testkit::{Cluster, Load};

use super::{BREATH, addresses, bring_back, cluster_of, others, writes_go_on};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_node_costs_no_link_and_no_redirect() {
    let (_dir, mut cluster) = cluster_of(3).await;
    let load = Load::start(6, &addresses(&cluster, &[0, 1, 2]));
    // More for a long run: see `make soak-cluster`.
    let kills: usize = std::env::var("TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(4);
    for round in 0..kills {
        tokio::time::sleep(BREATH).await;
        // First whoever leads the first shard, then anybody.
        let seen_by = round % 3;
        let victim = match round % 2 {
            0 => cluster.leader(seen_by, 1).await.unwrap(),
            _ => waypost_testkit::pick(0..3) as usize,
        };
        load.aim(&addresses(&cluster, &others(victim)));
        cluster.kill(victim).unwrap();
        writes_go_on(&load).await;
        bring_back(&mut cluster, victim).await;
        load.aim(&addresses(&cluster, &[0, 1, 2]));
    }
    writes_go_on(&load).await;
    let tally = load.finish(&addresses(&cluster, &[0, 1, 2])).await.unwrap();
    println!("{kills} kills: {tally:?}");
    assert_eq!(tally.missed, 0, "a redirect on a live node failed: {tally:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_sleeps_through_an_election_does_not_speak_for_its_shards() {
    let (_dir, cluster) = cluster_of(3).await;
    let load = Load::start(6, &addresses(&cluster, &[0, 1, 2]));
    tokio::time::sleep(BREATH).await;
    let leader = cluster.leader(0, 1).await.unwrap();
    load.aim(&addresses(&cluster, &others(leader)));
    cluster.node(leader).pause().unwrap();
    writes_go_on(&load).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    cluster.node(leader).resume().unwrap();
    load.aim(&addresses(&cluster, &[0, 1, 2]));
    cluster.settled(leader, 3).await.unwrap();
    writes_go_on(&load).await;
    load.finish(&addresses(&cluster, &[0, 1, 2])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_two_of_three_down_redirects_go_on_and_writes_are_refused() {
    let (_dir, mut cluster) = cluster_of(3).await;
    let client = cluster.client(0);
    let mut links = Vec::new();
    for i in 0..40 {
        let url = format!("https://example.com/{i}");
        links.push((client.create(&url).await.unwrap(), url));
    }
    cluster.settled(2, 3).await.unwrap();
    let last = cluster.client(2);
    for (code, url) in &links {
        assert_eq!(last.follow(code).await.unwrap().as_ref(), Some(url));
    }
    cluster.kill(0).unwrap();
    cluster.kill(1).unwrap();
    for (code, url) in &links {
        assert_eq!(last.follow(code).await.unwrap().as_ref(), Some(url), "redirects need no leader");
    }
    let refused = last.shorten(serde_json::json!({ "longUrl": "https://example.com/x" })).await.unwrap();
    assert!(matches!(refused.status, 503 | 504), "{}", refused.status);
    // Whether there is such a link, nobody can say now: not a 404, which might be wrong.
    assert_eq!(last.get("/neverwas").await.unwrap().status, 503);
    cluster.start(&[0, 1]).unwrap();
    cluster.settled(2, 3).await.unwrap();
    assert_eq!(last.get("/neverwas").await.unwrap().status, 404);
    for (code, url) in &links {
        assert_eq!(cluster.client(1).follow(code).await.unwrap().as_ref(), Some(url));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_fails_no_redirect_and_loses_nothing() {
    let (_dir, mut cluster) = cluster_of(3).await;
    let load = Load::start(6, &addresses(&cluster, &[0, 1, 2]));
    for node in 0..3 {
        tokio::time::sleep(BREATH).await;
        load.aim(&addresses(&cluster, &others(node)));
        // A load balancer needs a moment to hear of it, too.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let stopped = cluster.node_mut(node).terminate().unwrap();
        assert_eq!(stopped.code(), Some(0), "{}", cluster.node(node).errors());
        bring_back(&mut cluster, node).await;
        load.aim(&addresses(&cluster, &[0, 1, 2]));
    }
    let tally = load.finish(&addresses(&cluster, &[0, 1, 2])).await.unwrap();
    println!("rolling restart: {tally:?}");
    assert_eq!((tally.missed, tally.refused), (0, 0), "{tally:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_directory_was_emptied_comes_back_as_a_new_one() {
    let (_dir, mut cluster) = cluster_of(3).await;
    let load = Load::start(4, &addresses(&cluster, &[0, 1, 2]));
    tokio::time::sleep(BREATH).await;
    let id = |view: &serde_json::Value| {
        view["nodes"].as_array().unwrap().iter().find(|node| node["name"] == "n1").unwrap()["id"].clone()
    };
    let old = id(&cluster.view(1).await.unwrap());
    // The first node of the file is the one that would found a cluster.
    load.aim(&addresses(&cluster, &[1, 2]));
    cluster.kill(0).unwrap();
    std::fs::remove_dir_all(cluster.data_dir(0)).unwrap();
    cluster.start(&[0]).unwrap();
    // The others may hear of it a moment after it was taken in.
    let replaced = |view: &serde_json::Value| id(view) != old && view["nodes"].as_array().unwrap().len() == 3;
    cluster.wait(1, "the old id is replaced", replaced).await.unwrap();
    cluster.settled(1, 3).await.unwrap();
    load.aim(&addresses(&cluster, &[0, 1, 2]));
    writes_go_on(&load).await;
    load.finish(&addresses(&cluster, &[0, 1, 2])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_missed_more_than_the_log_keeps_gets_a_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    // Checkpoints so often, and no log kept behind them, so that what the node lacks is purged while it is away.
    let mut cluster = Cluster::new(crate::PROGRAM, dir.path())
        .env("WAYPOST_STORAGE_CHECKPOINT_BYTES", "64KiB")
        .env("WAYPOST_STORAGE_LOG_KEPT_BYTES", "0")
        .env("WAYPOST_CLUSTER_SHARDS", "2");
    for _ in 0..3 {
        cluster.add(None).unwrap();
    }
    cluster.start(&[0, 1, 2]).unwrap();
    cluster.settled(0, 3).await.unwrap();
    let load = Load::start(16, &addresses(&cluster, &[0, 1]));
    cluster.kill(2).unwrap();
    while load.tally().acknowledged < 4000 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bring_back(&mut cluster, 2).await;
    let caught_up = |view: &serde_json::Value| {
        let links: Vec<u64> =
            view["nodes"].as_array().unwrap().iter().filter_map(|node| node["status"]["links"].as_u64()).collect();
        links.len() == 3 && links.iter().min() > Some(&4000)
    };
    cluster.wait(0, "the node has caught up", caught_up).await.unwrap();
    load.aim(&addresses(&cluster, &[0, 1, 2]));
    writes_go_on(&load).await;
    // Its own replica answers, and what it was given survives its next restart.
    cluster.node_mut(2).terminate().unwrap();
    bring_back(&mut cluster, 2).await;
    load.finish(&addresses(&cluster, &[0, 1, 2])).await.unwrap();
    let received = cluster.node(2).errors();
    assert!(received.contains("a snapshot was installed"), "the node caught up in another way");
}
