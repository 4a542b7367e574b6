//! A wall clock that is wrong: nothing that cannot be undone follows from it.

use std::time::{Duration, Instant};

use serde_json::json;
use waypost_testkit::{Answer, Client, Cluster, Faults, Node};

use crate::cluster::started;
use crate::node_in_temp;

const PATIENCE: Duration = Duration::from_secs(120);
const DAY_MS: i64 = 24 * 3600 * 1000;
const MINUTE_MS: i64 = 60_000;

/// A node with the machine that it runs on.
fn node_with_faults() -> (tempfile::TempDir, Faults, Node) {
    let (dir, builder) = node_in_temp();
    let faults = Faults::new(dir.path().join("faults")).unwrap();
    let node = faults.load_into(builder).start().unwrap();
    (dir, faults, node)
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let since = Instant::now();
    while !holds().await {
        assert!(since.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn metric(node: &Node, line: &str) -> f64 {
    let text = Client::new(node.admin()).get("/metrics").await.unwrap();
    let text = String::from_utf8(text.body).unwrap();
    let value = text.lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok());
    value.unwrap_or_default()
}

async fn trusted(node: &Node) -> bool {
    metric(node, "waypost_clock_trusted").await == 1.0
}

/// Waits until the janitor has been at every shard twice.
async fn upkeep(node: &Node) {
    const DONE: &str = "waypost_actor_handled_total{actor=\"link_store\",message=\"upkeep\",outcome=\"ok\"}";
    let before = metric(node, DONE).await;
    until("upkeep", async || metric(node, DONE).await >= before + 32.0).await;
}

async fn warnings(node: &Node) -> String {
    Client::new(node.admin()).get("/cluster").await.unwrap().json()["warnings"].to_string()
}

async fn create(client: &Client, until: &str) -> Answer {
    let created = client.shorten(json!({ "longUrl": "https://example.com/", "validUntil": until })).await.unwrap();
    assert_eq!(created.status, 201, "{:?}", created.json());
    created
}

fn in_days(days: i64) -> String {
    (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * days)).to_string()
}

async fn follows(client: &Client, code: &str) -> u16 {
    client.get(&format!("/{code}")).await.unwrap().status
}

#[tokio::test]
async fn a_clock_that_jumps_removes_no_link_and_leaves_no_trace() {
    let (_dir, faults, node) = node_with_faults();
    let client = node.client();
    assert!(trusted(&node).await, "a new node holds nothing that could be removed");
    let code = create(&client, &in_days(5)).await.text("shortCode");

    // Forty days ahead: the link has expired, and was kept for thirty days more.
    faults.clock_off_by_ms(40 * DAY_MS).unwrap();
    until("the jump is noticed", async || metric(&node, "waypost_clock_jumps_total").await >= 1.0).await;
    upkeep(&node).await;
    let later = create(&client, &in_days(100)).await;
    assert!(!trusted(&node).await);
    assert!(warnings(&node).await.contains("it went ahead by 40 days"), "{}", warnings(&node).await);
    faults.clock_off_by_ms(0).unwrap();
    until("the way back is noticed", async || metric(&node, "waypost_clock_jumps_total").await >= 2.0).await;
    assert_eq!(follows(&client, &code).await, 302, "the link is gone for ever");

    // Times are right again at once.
    let now = create(&client, &in_days(100)).await;
    assert!(now.text("createdAt") < later.text("createdAt"), "{} {}", now.text("createdAt"), later.text("createdAt"));
    assert!(now.text("createdAt") < in_days(1));

    // Alone, the node trusts its clock after ten steady minutes: no sooner, and also if the machine sleeps meanwhile.
    faults.clocks_off_by_ms(9 * MINUTE_MS, 9 * MINUTE_MS).unwrap();
    upkeep(&node).await;
    assert!(!trusted(&node).await);
    faults.clocks_off_by_ms(11 * MINUTE_MS, 11 * MINUTE_MS).unwrap();
    until("the clock is trusted", async || trusted(&node).await).await;

    // A machine that slept for forty days has not jumped: the link is removed in its time.
    faults.clocks_off_by_ms(40 * DAY_MS, 40 * DAY_MS).unwrap();
    until("the link is removed", async || follows(&client, &code).await == 404).await;
    assert_eq!(metric(&node, "waypost_clock_jumps_total").await, 2.0);
}

#[tokio::test]
async fn a_start_after_days_waits_before_it_removes_anything() {
    let (_dir, faults, mut node) = node_with_faults();
    let code = create(&node.client(), &in_days(5)).await.text("shortCode");
    node.terminate().unwrap();
    faults.clock_off_by_ms(40 * DAY_MS).unwrap();
    node.restart().unwrap();
    upkeep(&node).await;
    assert!(!trusted(&node).await);
    assert!(node.errors().contains("the node was away for 40 days"), "{}", node.errors());
    // What a start is not sure of must not become what the next one compares with.
    node.kill().unwrap();
    node.restart().unwrap();
    upkeep(&node).await;
    assert!(!trusted(&node).await);
    node.kill().unwrap();
    faults.clock_off_by_ms(0).unwrap();
    node.restart().unwrap();
    assert!(trusted(&node).await, "{}", node.errors());
    assert_eq!(follows(&node.client(), &code).await, 302);
}

#[tokio::test]
async fn a_majority_of_the_others_confirms_a_clock_and_not_a_wrong_one() {
    let (_dir, cluster) = started(3, Cluster::with_faults).await;
    let client = cluster.client(0);
    for node in 0..3 {
        until("clocks are confirmed", async || trusted(cluster.node(node)).await).await;
    }
    // Of all shards, so that the node that is wrong leads some of them.
    let mut codes = Vec::new();
    for _ in 0..64 {
        codes.push(create(&client, &in_days(5)).await.text("shortCode"));
    }
    let wrong = cluster.node(0);
    cluster.faults(0).clock_off_by_ms(40 * DAY_MS).unwrap();
    until("the jump is noticed", async || metric(wrong, "waypost_clock_jumps_total").await >= 1.0).await;
    upkeep(wrong).await;
    assert!(!trusted(wrong).await, "the others do not have its time");
    let seen_elsewhere = warnings(cluster.node(1)).await;
    assert!(seen_elsewhere.contains("n1 removes nothing for its age"), "{seen_elsewhere}");
    assert!(seen_elsewhere.contains("the clock of n1 is 345"), "{seen_elsewhere}");
    assert!(trusted(cluster.node(1)).await && trusted(cluster.node(2)).await);
    cluster.faults(0).clock_off_by_ms(0).unwrap();
    until("the clock is confirmed", async || trusted(wrong).await).await;
    for code in &codes {
        assert_eq!(follows(&client, code).await, 302, "the link is gone for ever");
    }
}
