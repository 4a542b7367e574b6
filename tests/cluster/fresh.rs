//! What a node may answer from its own replica, and what it must know before.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use waypost_testkit::{Client, Cluster};

use super::cluster_of;

/// How old an answer may be on a node through which the link was not changed.
const BOUND: Duration = Duration::from_secs(1);

async fn edit(client: &Client, code: &str, url: &str) {
    let edit = client.request(Method::PATCH, &format!("/api/v1/links/{code}")).json(&json!({ "longUrl": url }));
    let answer = client.send(edit).await.unwrap();
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
}

async fn delete(client: &Client, code: &str) {
    let answer = client.send(client.request(Method::DELETE, &format!("/api/v1/links/{code}"))).await.unwrap();
    assert_eq!(answer.status, 204, "{}", String::from_utf8_lossy(&answer.body));
}

/// Creates links through a node and follows them on others until they are in their caches.
async fn links(client: &Client, count: usize, warm: &[&Client]) -> Vec<String> {
    let mut codes = Vec::new();
    for i in 0..count {
        codes.push(client.create(&format!("https://example.com/{i}")).await.unwrap());
    }
    for round in 0..2 {
        for (client, code) in warm.iter().flat_map(|client| codes.iter().map(move |code| (client, code))) {
            assert!(client.follow(code).await.unwrap().is_some(), "{code} in round {round}");
        }
    }
    codes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statistics_of_a_link_that_was_just_created_are_there_on_every_node() {
    let (_dir, cluster) = cluster_of(3).await;
    let clients = [0, 1, 2].map(|node| cluster.client(node));
    for i in 0..150 {
        let code = clients[i % 3].create(&format!("https://example.com/{i}")).await.unwrap();
        let asked = &clients[(i + 1 + i / 3 % 2) % 3];
        let stats = asked.get(&format!("/api/v1/links/{code}/stats")).await.unwrap();
        assert_eq!(stats.status, 200, "{i}: {}", String::from_utf8_lossy(&stats.body));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_node_that_answered_a_change_shows_it_at_once_and_the_others_within_the_bound() {
    let (_dir, cluster) = cluster_of(3).await;
    let clients = [0, 1, 2].map(|node| cluster.client(node));
    let codes = links(&clients[0], 30, &clients.each_ref()).await;
    for i in 0..240 {
        let (code, client) = (&codes[i % codes.len()], &clients[i % 3]);
        // Every node has it in its cache.
        for other in &clients {
            assert!(other.follow(code).await.unwrap().is_some());
        }
        let url = format!("https://example.com/edit/{i}");
        edit(client, code, &url).await;
        assert_eq!(client.follow(code).await.unwrap(), Some(url.clone()), "try {i} on the node that answered");
        let read = client.get(&format!("/api/v1/links/{code}")).await.unwrap();
        assert_eq!(read.text("longUrl"), url, "try {i}: what the API says of it");
    }
    for (i, code) in codes.iter().enumerate() {
        delete(&clients[i % 3], code).await;
        assert_eq!(clients[i % 3].get(&format!("/{code}")).await.unwrap().status, 404, "{code}");
    }
    tokio::time::sleep(BOUND).await;
    for (client, code) in clients.iter().flat_map(|client| codes.iter().map(move |code| (client, code))) {
        assert_eq!(
            client.get(&format!("/{code}")).await.unwrap().status,
            404,
            "{code} was deleted longer than the bound ago"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alias_that_is_claimed_again_leads_to_its_new_target_on_the_node_that_answered() {
    let (_dir, cluster) = cluster_of(3).await;
    let clients = [0, 1, 2].map(|node| cluster.client(node));
    for i in 0..60 {
        let alias = format!("alias{}", i % 10);
        // Whoever answers the claim is not the one through which the last link of that name was deleted.
        let (through, deleted) = (&clients[i % 3], &clients[(i + 2) % 3]);
        let url = format!("https://example.com/{i}");
        let made = through.shorten(json!({ "longUrl": url, "customSlug": alias })).await.unwrap();
        assert_eq!(made.status, 201, "{}", String::from_utf8_lossy(&made.body));
        assert_eq!(through.follow(&alias).await.unwrap(), Some(url), "try {i}");
        for client in &clients {
            client.follow(&alias).await.unwrap();
        }
        delete(deleted, &alias).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_away_shows_nothing_that_was_deleted_meanwhile() {
    let (_dir, mut cluster) = cluster_of(3).await;
    let client = cluster.client(0);
    let codes = links(&client, 150, &[]).await;
    let back = Client::new(cluster.node(2).address());
    for _ in 0..2 {
        cluster.kill(2).unwrap();
        for code in &codes {
            // The second time there is nothing to delete: the node has to know all the same.
            // Shards that were led by the one that was killed elect first, and until then may refuse.
            let since = Instant::now();
            loop {
                let delete = client.request(Method::DELETE, &format!("/api/v1/links/{code}"));
                if client.send(delete).await.is_ok_and(|answer| matches!(answer.status, 204 | 404)) {
                    break;
                }
                assert!(since.elapsed() < Duration::from_secs(60), "{code} is never deleted");
            }
        }
        let mut node = cluster.builder(2).spawn().unwrap();
        let began = Instant::now();
        // From the first moment at which it answers at all.
        loop {
            let ready = back.get("/health/ready").await.is_ok_and(|answer| answer.status == 200);
            for code in codes.iter().step_by(if ready { 1 } else { 37 }) {
                let Ok(answer) = back.get(&format!("/{code}")).await else { break };
                assert!(matches!(answer.status, 404 | 503 | 504), "{} for {code}, ready: {ready}", answer.status);
                assert!(!ready || answer.status == 404, "{} for {code} on a node that is ready", answer.status);
            }
            if ready {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(150), "not ready");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        node.kill().unwrap();
        cluster.start(&[2]).unwrap();
        cluster.settled(2, 3).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stood_still_shows_nothing_that_was_changed_longer_ago_than_the_bound() {
    let (_dir, cluster) = cluster_of(3).await;
    let clients = [0, 1, 2].map(|node| cluster.client(node));
    let codes = links(&clients[0], 50, &[&clients[2]]).await;
    for round in 0..2 {
        cluster.node(2).pause().unwrap();
        let edited = format!("https://example.com/edited/{round}");
        // Shards that were led by the one that stands still have to elect first.
        for code in &codes {
            let path = format!("/api/v1/links/{code}");
            let since = Instant::now();
            loop {
                let edit = clients[0].request(Method::PATCH, &path).json(&json!({ "longUrl": edited }));
                if clients[0].send(edit).await.is_ok_and(|answer| answer.status == 200) {
                    break;
                }
                assert!(since.elapsed() < Duration::from_secs(60), "no edit any more");
            }
        }
        tokio::time::sleep(BOUND).await;
        cluster.node(2).resume().unwrap();
        let mut busy = 0;
        for code in &codes {
            let answer = clients[2].get(&format!("/{code}")).await.unwrap();
            if matches!(answer.status, 503 | 504) {
                busy += 1;
                continue;
            }
            assert_eq!(answer.header("location"), Some(edited.as_str()), "{code} in round {round}");
        }
        println!("round {round}: {busy} of {} were not answered", codes.len());
        cluster.settled(2, 3).await.unwrap();
        for code in &codes {
            assert_eq!(clients[2].follow(code).await.unwrap(), Some(edited.clone()));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wall_clock_that_steps_back_makes_no_answer_older() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::new(crate::PROGRAM, dir.path()).with_faults();
    for _ in 0..3 {
        cluster.add(None).unwrap();
    }
    let edge = cluster.add(Some(r#"["redirector", "click_counter"]"#)).unwrap();
    cluster.start(&[0, 1, 2]).unwrap();
    cluster.settled(0, 3).await.unwrap();
    cluster.start(&[edge]).unwrap();
    let (store, client) = (cluster.client(0), cluster.client(edge));
    let codes = links(&store, 20, &[&client]).await;
    cluster.faults(edge).clock_off_by_ms(-3_600_000).unwrap();
    for code in &codes {
        edit(&store, code, "https://example.com/edited").await;
    }
    tokio::time::sleep(BOUND).await;
    for code in &codes {
        assert_eq!(client.follow(code).await.unwrap().as_deref(), Some("https://example.com/edited"), "{code}");
    }
}
