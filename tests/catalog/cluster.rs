//! Several nodes: each answers the same list, from whichever catalogs can be reached, and says which shards none of these has.

use std::collections::BTreeMap;

use serde_json::json;
use tempfile::TempDir;
use waypost_testkit::{Client, Cluster, Rule};

use super::{lists_exactly, metric, try_walk, walk_until};
use crate::PROGRAM;

/// Three nodes with links, and one without; proxies between them.
async fn started() -> (TempDir, Cluster) {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::new(PROGRAM, dir.path()).behind_proxies();
    for _ in 0..3 {
        cluster.add(None).unwrap();
    }
    cluster.add(Some("[\"redirector\", \"click_counter\"]")).unwrap();
    cluster.start(&[0, 1, 2, 3]).unwrap();
    cluster.settled(0, 3).await.unwrap();
    (dir, cluster)
}

async fn create(client: &Client, links: &mut BTreeMap<String, String>, count: usize) {
    for _ in 0..count {
        let url = format!("https://example.com/{}", links.len());
        let since = std::time::Instant::now();
        // A shard may be without a leader for a moment.
        let (code, mut tried) = (format!("link-{}", links.len()), false);
        loop {
            let answer = client.shorten(json!({ "longUrl": url, "customSlug": code })).await.unwrap();
            // One that was not answered in time may have been made.
            if answer.status == 201 || tried && answer.status == 409 {
                break;
            }
            tried = true;
            assert!(since.elapsed() < super::PATIENCE, "{}", answer.status);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        links.insert(code, url);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_answers_the_same_list_also_one_without_links_and_with_one_dead() {
    let (_dir, mut cluster) = started().await;
    let mut links = BTreeMap::new();
    create(&cluster.client(0), &mut links, 150).await;
    for node in 0..4 {
        lists_exactly(&cluster.client(node), &links).await;
    }
    let tags = cluster.client(3).get("/api/v1/tags").await.unwrap();
    assert_eq!(tags.status, 200, "{}", tags.status);
    cluster.kill(2).unwrap();
    create(&cluster.client(0), &mut links, 30).await;
    for node in [0, 1, 3] {
        lists_exactly(&cluster.client(node), &links).await;
    }
    // It comes back with what it missed.
    cluster.start(&[2]).unwrap();
    lists_exactly(&cluster.client(2), &links).await;
    // A catalog that is lost is no reason for an incomplete list: the other nodes have the same.
    cluster.node_mut(1).terminate().unwrap();
    std::fs::remove_dir_all(cluster.data_dir(1).join("catalog")).unwrap();
    std::fs::write(cluster.data_dir(1).join("catalog"), b"in the way").unwrap();
    cluster.start(&[1]).unwrap();
    lists_exactly(&cluster.client(1), &links).await;
    assert!(metric(cluster.node(1), "waypost_catalog_shards_missing").await > 0.0);
}

/// Through nodes that lead the shard, follow, and have none of it. Waiting for each would take minutes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_no_link_has_had_yet_is_waited_for_by_no_node() {
    let (_dir, cluster) = started().await;
    let mut links = BTreeMap::new();
    create(&cluster.client(0), &mut links, 20).await;
    for node in 0..4 {
        lists_exactly(&cluster.client(node), &links).await;
    }
    let since = std::time::Instant::now();
    for n in 0..60 {
        let made_up = format!("/api/v1/links?limit=1&seen=0-nobody{n}:1-{:x}", 1_000_000 + n);
        let answer = cluster.client(n % 4).get(&made_up).await.unwrap();
        assert_eq!(answer.status, 200, "{:?}", answer.json());
        assert!(answer.json()["partial"].as_array().is_some_and(|partial| !partial.is_empty()), "{:?}", answer.json());
        assert!(since.elapsed() < std::time::Duration::from_secs(90), "{n} were answered");
    }
    for node in 0..4 {
        lists_exactly(&cluster.client(node), &links).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_cut_off_says_which_shards_it_cannot_answer_for() {
    let (_dir, cluster) = started().await;
    let mut links = BTreeMap::new();
    create(&cluster.client(0), &mut links, 60).await;
    lists_exactly(&cluster.client(3), &links).await;
    cluster.proxies().part(&[3], &[0, 1, 2], Rule::Cut);
    cluster.proxies().part(&[2], &[0, 1], Rule::Cut);
    let all: Vec<u64> = (0..16).collect();
    for alone in [2, 3] {
        let list = walk_until(&cluster.client(alone), "", "all shards are missing", |list| list.partial == all).await;
        assert_eq!(list.links.len(), 0);
    }
    // The majority goes on, and has everything.
    create(&cluster.client(0), &mut links, 10).await;
    for node in [0, 1] {
        lists_exactly(&cluster.client(node), &links).await;
    }
    cluster.proxies().heal();
    for node in [2, 3] {
        lists_exactly(&cluster.client(node), &links).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_arrives_as_a_snapshot_is_listed_and_one_that_leaves_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::new(PROGRAM, dir.path())
        .env("WAYPOST_STORAGE_CHECKPOINT_BYTES", "64KiB")
        .env("WAYPOST_STORAGE_LOG_KEPT_BYTES", "0B");
    let first = cluster.add(None).unwrap();
    cluster.start(&[first]).unwrap();
    let client = cluster.client(first);
    let mut links = BTreeMap::new();
    for i in 0..1500 {
        // So long that the logs do not reach back to the first any more.
        let url = format!("https://example.com/{i}/{}", "x".repeat(800));
        links.insert(client.create(&url).await.unwrap(), url);
    }
    let others = [cluster.add(None).unwrap(), cluster.add(None).unwrap()];
    cluster.start(&others).unwrap();
    cluster.settled(first, 3).await.unwrap();
    lists_exactly(&cluster.client(1), &links).await;
    let has_all = async |cluster: &Cluster, node: usize| {
        metric(cluster.node(node), "waypost_catalog_links").await == links.len() as f64
    };
    let since = std::time::Instant::now();
    while !has_all(&cluster, 1).await {
        assert!(since.elapsed() < super::PATIENCE, "{}", cluster.node(1).errors());
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    // A fourth takes over from the third, which is drained.
    let fourth = cluster.add(None).unwrap();
    cluster.start(&[fourth]).unwrap();
    let admin = cluster.node(first).admin_client().unwrap();
    let drained = admin.send(admin.request(reqwest::Method::POST, "/cluster/nodes/n3/drain")).await.unwrap();
    assert!((200..300).contains(&drained.status), "{}", drained.status);
    let since = std::time::Instant::now();
    while metric(cluster.node(2), "waypost_catalog_links").await > 0.0 {
        assert!(since.elapsed() < super::PATIENCE, "{}", cluster.node(2).errors());
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    // It has none, and answers for all the same, as the others.
    for node in 0..4 {
        lists_exactly(&cluster.client(node), &links).await;
    }
    assert!(try_walk(&cluster.client(2), "", 100).await.is_some());
}
