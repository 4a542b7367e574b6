//! One node: what is created, edited and deleted is listed, and after any end of the process the list is what the shards have.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use waypost_testkit::{Client, Node};

use super::{lists_exactly, metric, report, try_walk, walk_until};
use crate::{fresh_node, node_in_temp};

/// Clients that change links at once.
const CLIENTS: usize = 6;

async fn edit(client: &Client, code: &str, change: Value) -> u16 {
    let request = client.request(Method::PATCH, &format!("/api/v1/links/{code}")).json(&change);
    client.send(request).await.unwrap().status
}

async fn delete(client: &Client, code: &str) -> u16 {
    client.send(client.request(Method::DELETE, &format!("/api/v1/links/{code}"))).await.unwrap().status
}

#[tokio::test]
async fn what_is_created_edited_visited_and_deleted_is_listed_as_it_is() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let mut expected = BTreeMap::new();
    for i in 0..120 {
        let url = format!("https://example.com/{i}");
        expected.insert(client.create(&url).await.unwrap(), url);
    }
    lists_exactly(&client, &expected).await;
    let codes: Vec<String> = expected.keys().cloned().collect();
    assert_eq!(edit(&client, &codes[0], json!({ "longUrl": "https://example.org/edited", "tags": ["t"] })).await, 200);
    expected.insert(codes[0].clone(), "https://example.org/edited".to_owned());
    assert_eq!(delete(&client, &codes[1]).await, 204);
    expected.remove(&codes[1]);
    lists_exactly(&client, &expected).await;
    walk_until(&client, "&tags=T", "the tag is found", |walked| walked.links.keys().eq([&codes[0]])).await;
    // Its last visit changes the state of a link with a limit, and time that of one with an end.
    assert_eq!(edit(&client, &codes[2], json!({ "maxVisits": 1 })).await, 200);
    client.follow(&codes[2]).await.unwrap().unwrap();
    walk_until(&client, "&state=exhausted", "it is exhausted", |walked| walked.links.keys().eq([&codes[2]])).await;
    assert_eq!(edit(&client, &codes[3], json!({ "disabled": true })).await, 200);
    walk_until(&client, "&state=disabled", "it is off", |walked| walked.links.keys().eq([&codes[3]])).await;
    let rest = expected.len() as u64;
    assert_eq!(try_walk(&client, "&state=active", 1000).await.unwrap().total, rest - 2);
}

#[tokio::test]
async fn whoever_asks_with_the_version_of_a_new_link_sees_it_at_once() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    // A new catalog is made first.
    lists_exactly(&client, &BTreeMap::new()).await;
    for i in 0..50 {
        let new = json!({ "longUrl": format!("https://example.com/{i}") });
        let created = client.send(client.request(Method::POST, "/api/v1/links").json(&new)).await.unwrap();
        let (code, version) = (created.text("shortCode"), created.header("etag").unwrap().trim_matches('"').to_owned());
        let page = client.get(&format!("/api/v1/links?limit=1&seen=0-{code}:{version}")).await.unwrap();
        assert_eq!(page.status, 200, "{:?}", page.json());
        assert_eq!(page.json()["items"][0]["shortCode"], json!(code), "{:?}", page.json());
    }
}

/// One change by a client. What is not known of its outcome is asked for later.
async fn change(client: &Client, number: usize, step: usize, own: &mut Vec<String>, known: &Known) -> bool {
    let url = format!("https://example.com/{number}/{step}");
    let code = if own.is_empty() { None } else { Some(own[step * 7 % own.len()].clone()) };
    match (step % 5, code) {
        (3, Some(code)) => {
            known.doubt(&code);
            let request = client.request(Method::PATCH, &format!("/api/v1/links/{code}"));
            let Ok(answer) = client.send(request.json(&json!({ "longUrl": url }))).await else { return false };
            assert_eq!(answer.status, 200);
            known.set(code, Some(url));
        }
        (4, Some(code)) => {
            known.doubt(&code);
            let request = client.request(Method::DELETE, &format!("/api/v1/links/{code}"));
            let Ok(answer) = client.send(request).await else { return false };
            assert_eq!(answer.status, 204);
            own.retain(|other| *other != code);
            known.set(code, None);
        }
        _ => {
            let Ok(answer) = client.shorten(json!({ "longUrl": url })).await else { return false };
            assert_eq!(answer.status, 201);
            own.push(answer.text("shortCode"));
            known.set(answer.text("shortCode"), Some(url));
        }
    }
    true
}

/// What was acknowledged.
#[derive(Default)]
struct Known(Mutex<BTreeMap<String, String>>, Mutex<Vec<String>>);

impl Known {
    fn set(&self, code: String, url: Option<String>) {
        self.1.lock().unwrap().retain(|doubted| *doubted != code);
        match url {
            Some(url) => drop(self.0.lock().unwrap().insert(code, url)),
            None => drop(self.0.lock().unwrap().remove(&code)),
        }
    }

    /// Whether a change of it happens is not known until it is answered.
    fn doubt(&self, code: &str) {
        self.1.lock().unwrap().push(code.to_owned());
    }
}

/// Clients change links at full speed until the node is killed.
async fn change_until_killed(node: &mut Node, pause: Duration, known: &Arc<Known>, life: usize) {
    let stopped = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (client, stopped, known) = (node.client(), stopped.clone(), known.clone());
            tokio::spawn(async move {
                let mut own = Vec::new();
                for step in 0.. {
                    let number = life * CLIENTS + number;
                    if stopped.load(Ordering::Relaxed) || !change(&client, number, step, &mut own, &known).await {
                        break;
                    }
                }
            })
        })
        .collect();
    tokio::time::sleep(pause).await;
    node.kill().unwrap();
    stopped.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_each_kill_the_list_is_what_the_shards_have() {
    let lives: usize = std::env::var("TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let (_dir, builder) = node_in_temp();
    // Many checkpoints: what is behind one is told again by nobody.
    let mut node = builder.env("WAYPOST_STORAGE_CHECKPOINT_BYTES", "64KiB").start().unwrap();
    let known = Arc::new(Known::default());
    for life in 0..lives {
        let pause = Duration::from_millis(waypost_testkit::pick(50..900));
        change_until_killed(&mut node, pause, &known, life).await;
        node.restart().unwrap();
        let client = node.client();
        // Creates that were not answered may have happened: the shards say what there is, link by link.
        let listed = walk_until(&client, "", "no shard is missing", |walked| walked.partial.is_empty()).await;
        let doubted = std::mem::take(&mut *known.1.lock().unwrap());
        for doubted in doubted {
            let link = client.get(&format!("/api/v1/links/{doubted}")).await.unwrap();
            known.set(doubted, (link.status == 200).then(|| link.text("longUrl")));
        }
        for code in listed.links.keys() {
            let is_new = !known.0.lock().unwrap().contains_key(code);
            if is_new {
                let link = client.get(&format!("/api/v1/links/{code}")).await.unwrap();
                assert_eq!(link.status, 200, "{code} is listed and does not exist");
                known.set(code.clone(), Some(link.text("longUrl")));
            }
        }
        let expected = known.0.lock().unwrap().clone();
        lists_exactly(&client, &expected).await;
        assert_eq!(metric(&node, "waypost_links").await, expected.len() as f64);
    }
    println!("{} links after {lives} kills, all listed", known.0.lock().unwrap().len());
}

#[tokio::test]
async fn a_clean_stop_leaves_nothing_to_read_again_and_a_new_catalog_is_made_of_what_is_there() {
    let (_dir, mut node) = fresh_node();
    let mut expected = BTreeMap::new();
    for i in 0..200 {
        let url = format!("https://example.com/{i}");
        expected.insert(node.client().create(&url).await.unwrap(), url);
    }
    for code in expected.keys().take(20) {
        node.client().follow(code).await.unwrap().unwrap();
    }
    assert_eq!(node.terminate().unwrap().code(), Some(0));
    node.restart().unwrap();
    lists_exactly(&node.client(), &expected).await;
    assert_eq!(metric(&node, "waypost_catalog_scans_total").await, 0.0, "{}", node.errors());
    // Counts that were not written while the node ran were written at the stop.
    let visited: Vec<String> = expected.keys().take(20).cloned().collect();
    let by_visits = node.client().get("/api/v1/links?sort=-visits&limit=20").await.unwrap().json();
    let mut first: Vec<&str> =
        by_visits["items"].as_array().unwrap().iter().filter_map(|link| link["shortCode"].as_str()).collect();
    first.sort_unstable();
    assert_eq!(first, visited);
    // As after an upgrade from a version without catalogs.
    assert_eq!(node.terminate().unwrap().code(), Some(0));
    std::fs::remove_dir_all(node.data_dir().join("catalog")).unwrap();
    node.restart().unwrap();
    lists_exactly(&node.client(), &expected).await;
    assert_eq!(metric(&node, "waypost_catalog_scans_total").await, 16.0);
    assert!(node.errors().contains("the catalog has the links of all shards"), "{}", node.errors());
    let told = report(&node).await;
    assert_eq!((&told["held"], &told["complete"], &told["failure"]), (&json!(16), &json!(16), &json!("")), "{told}");
}
