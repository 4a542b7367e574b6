//! Limits of visits in a cluster: exact whatever happens to the leader, and the same through every node.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use waypost_protocol::{Code, LinkKey};
use waypost_testkit::{Client, Cluster};

use super::{bring_back, cluster_of, others, with_edge};

/// How long a busy machine may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// The number of shards of a new cluster.
const SHARDS: u32 = 16;

/// Creates a link for so many visits, as soon as the new cluster has its level.
async fn limited(client: &Client, slug: &str, limit: u64) {
    let body = json!({ "longUrl": "https://example.com/", "customSlug": slug, "maxVisits": limit });
    let since = Instant::now();
    loop {
        let answer = client.shorten(body.clone()).await.unwrap();
        if answer.status == 201 {
            return;
        }
        let waits = answer.status == 503 || answer.problem() == "not-yet-supported";
        assert!(waits && since.elapsed() < PATIENCE, "{}", String::from_utf8_lossy(&answer.body));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The node that leads the shard of a slug.
async fn leader_of(cluster: &Cluster, slug: &str) -> usize {
    let shard = LinkKey::new(Code::parse_slug(slug).unwrap()).shard(SHARDS);
    cluster.leader(0, u64::from(shard.0) + 1).await.unwrap()
}

async fn shown(client: &Client, slug: &str) -> Value {
    let since = Instant::now();
    loop {
        let answer = client.get(&format!("/api/v1/links/{slug}?consistency=strong")).await.unwrap();
        if answer.status == 200 {
            return answer.json();
        }
        assert!(since.elapsed() < PATIENCE, "{}", String::from_utf8_lossy(&answer.body));
    }
}

#[derive(Default)]
struct Tally {
    /// Visitors who were sent to the target.
    redirected: AtomicU64,
    /// Visits that were sent, and of which nobody knows whether they were used.
    lost: AtomicU64,
    /// Visitors who heard that the link is exhausted.
    refused: AtomicU64,
}

/// Visits a link until it is exhausted.
async fn visit(clients: Vec<Client>, first: usize, path: String, tally: Arc<Tally>) {
    let since = Instant::now();
    let mut next = first;
    loop {
        assert!(since.elapsed() < PATIENCE, "the link is never exhausted");
        next += 1;
        let client = &clients[next % clients.len()];
        match client.get(&path).await {
            Ok(answer) if answer.status == 302 => {
                assert_eq!(answer.header("location"), Some("https://example.com/"));
                tally.redirected.fetch_add(1, Ordering::Relaxed);
            }
            Ok(answer) if answer.status == 410 => {
                tally.refused.fetch_add(1, Ordering::Relaxed);
                return;
            }
            Ok(answer) => {
                assert_eq!(answer.status, 503, "{}", String::from_utf8_lossy(&answer.body));
                assert!(answer.header("retry-after").is_some());
                if answer.problem() == "outcome-unknown" {
                    tally.lost.fetch_add(1, Ordering::Relaxed);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => {
                let sent = error.downcast_ref::<reqwest::Error>().is_none_or(|error| !error.is_connect());
                tally.lost.fetch_add(u64::from(sent), Ordering::Relaxed);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_visitors_than_the_limit_are_redirected_while_the_leader_is_killed_under_64_clients() {
    const LIMIT: u64 = 1000;
    const CLIENTS: usize = 64;
    let (_dir, mut cluster) = cluster_of(3).await;
    limited(&cluster.client(0), "limited", LIMIT).await;
    let leader = leader_of(&cluster, "limited").await;
    let clients: Vec<Client> = (0..3).map(|node| cluster.client(node)).collect();
    let tally = Arc::new(Tally::default());
    let visitors: Vec<_> = (0..CLIENTS)
        .map(|first| tokio::spawn(visit(clients.clone(), first, "/limited".to_owned(), tally.clone())))
        .collect();
    let since = Instant::now();
    while tally.redirected.load(Ordering::Relaxed) < LIMIT / 3 {
        assert!(since.elapsed() < PATIENCE, "nobody is redirected");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    cluster.kill(leader).unwrap();
    let before = tally.redirected.load(Ordering::Relaxed);
    assert!(before < LIMIT, "the link was exhausted before the leader was killed");
    for visitor in visitors {
        visitor.await.unwrap();
    }
    let [redirected, lost, refused] =
        [&tally.redirected, &tally.lost, &tally.refused].map(|count| count.load(Ordering::Relaxed));
    println!("{redirected} of {LIMIT} redirected ({before} before the kill), {lost} answers lost, {refused} refused");
    assert!(redirected <= LIMIT, "{redirected} redirected");
    assert!(redirected + lost >= LIMIT, "visits were used by nobody: {redirected} redirected, {lost} lost");
    assert_eq!(refused, CLIENTS as u64);
    let link = shown(&cluster.client(others(leader)[0]), "limited").await;
    assert_eq!((&link["state"], &link["visitsLeft"]), (&json!("exhausted"), &json!(0)));
    // The one that was killed knows it too.
    bring_back(&mut cluster, leader).await;
    for node in 0..3 {
        assert_eq!(cluster.client(node).get("/limited").await.unwrap().status, 410, "node {node}");
    }
    assert_eq!(shown(&cluster.client(leader), "limited").await["visitsLeft"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_lets_pass_what_is_left_also_one_without_replicas_and_none_without_a_leader() {
    let (_dir, mut cluster, edge) = with_edge().await;
    let nodes = [0, 1, 2, edge];
    // Their shards are led by different nodes.
    for round in 0..4 {
        let slug = format!("limit-{round}");
        let path = format!("/{slug}");
        limited(&cluster.client(nodes[round]), &slug, nodes.len() as u64 + 1).await;
        for node in nodes {
            assert_eq!(cluster.client(node).get(&path).await.unwrap().status, 302, "{slug} through node {node}");
        }
        assert_eq!(shown(&cluster.client(edge), &slug).await["visitsLeft"], 1);
        assert_eq!(cluster.client(edge).get(&path).await.unwrap().status, 302);
        for node in nodes {
            let answer = cluster.client(node).get(&path).await.unwrap();
            assert_eq!((answer.status, answer.problem().as_str()), (410, "link-exhausted"), "{slug}, node {node}");
        }
    }
    limited(&cluster.client(0), "left", 5).await;
    let plain = cluster.client(0).create("https://example.com/plain").await.unwrap();
    let stays = cluster.client(0);
    assert_eq!(stays.get("/left").await.unwrap().status, 302);
    cluster.kill(1).unwrap();
    cluster.kill(2).unwrap();
    let answer = stays.get("/left").await.unwrap();
    assert_eq!(answer.status, 503, "{}", String::from_utf8_lossy(&answer.body));
    assert!(answer.header("retry-after").is_some());
    assert_eq!(stays.get(&format!("/{plain}")).await.unwrap().status, 302);
}
