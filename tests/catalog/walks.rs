//! Walks by cursor while many clients create and delete links at full speed: each link that was there throughout is on the pages exactly once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use waypost_testkit::Client;

use super::{PATIENCE, walk_until};
use crate::fresh_node;

/// The links that stay.
const STAY: usize = 500;
/// Clients that create and delete others.
const WRITERS: usize = 32;
/// So many links of each client are there at a time.
const PASSING: usize = 20;
/// The walks that go on meanwhile: an order and a filter each.
const WALKS: [&str; 6] = [
    "sort=-createdAt",
    "sort=createdAt",
    "sort=slug",
    "sort=-slug&tags=stays",
    "sort=title&q=example.com/stays",
    "sort=-editedAt",
];

/// What was done.
#[derive(Default)]
struct Done {
    changes: AtomicUsize,
    walks: AtomicUsize,
    pages: AtomicUsize,
    stop: AtomicBool,
}

/// Creates links, and deletes the oldest of its own, until it is told to stop.
async fn write(client: Client, number: usize, done: Arc<Done>) {
    let mut own = VecDeque::new();
    for step in 0.. {
        if done.stop.load(Ordering::Relaxed) {
            break;
        }
        if own.len() < PASSING {
            let created = client.shorten(json!({ "longUrl": format!("https://example.com/passes/{number}/{step}") }));
            let created = created.await.unwrap();
            assert_eq!(created.status, 201, "{:?}", created.json());
            own.push_back(created.text("shortCode"));
        } else {
            let oldest = own.pop_front().unwrap();
            let deleted =
                client.send(client.request(Method::DELETE, &format!("/api/v1/links/{oldest}"))).await.unwrap();
            assert_eq!(deleted.status, 204);
        }
        done.changes.fetch_add(1, Ordering::Relaxed);
    }
}

/// A page. One that lacks a shard says so, and is asked for again.
async fn page(client: &Client, query: &str) -> Value {
    let since = Instant::now();
    loop {
        let answer = client.get(&format!("/api/v1/links?limit=37&{query}")).await.unwrap();
        if answer.status == 200 && answer.json().get("partial").is_none() {
            return answer.json();
        }
        assert!(since.elapsed() < PATIENCE, "{}: {:?}", answer.status, answer.json());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Walks again and again, until it is told to stop.
async fn walk(client: Client, query: &str, stay: &BTreeSet<String>, done: &Done) {
    while !done.stop.load(Ordering::Relaxed) {
        let (mut times, mut cursor) = (BTreeMap::<String, usize>::new(), String::new());
        loop {
            let page = page(&client, &format!("{query}{cursor}")).await;
            for link in page["items"].as_array().unwrap() {
                *times.entry(link["shortCode"].as_str().unwrap().to_owned()).or_default() += 1;
            }
            done.pages.fetch_add(1, Ordering::Relaxed);
            match page["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        let twice: Vec<_> = times.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "{query}: on two pages are {twice:?}");
        let missed: Vec<_> = stay.iter().filter(|code| !times.contains_key(*code)).collect();
        assert!(missed.is_empty(), "{query}: on no page are {missed:?}");
        done.walks.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn walks_have_each_link_that_stays_once_while_many_clients_create_and_delete_others() {
    let wanted: usize = std::env::var("TEST_CHANGES").ok().and_then(|text| text.parse().ok()).unwrap_or(3_000);
    let (_dir, node) = fresh_node();
    let mut stay = BTreeSet::new();
    for n in 0..STAY {
        let new = json!({ "longUrl": format!("https://example.com/stays/{n}"), "tags": ["stays"] });
        stay.insert(node.client().shorten(new).await.unwrap().text("shortCode"));
    }
    walk_until(&node.client(), "", "all are listed", |walked| walked.links.len() == STAY && walked.partial.is_empty())
        .await;
    let done = Arc::new(Done::default());
    let writers: Vec<_> = (0..WRITERS).map(|number| tokio::spawn(write(node.client(), number, done.clone()))).collect();
    let walkers: Vec<_> = WALKS
        .into_iter()
        .map(|query| {
            let (client, stay, done) = (node.client(), stay.clone(), done.clone());
            tokio::spawn(async move { walk(client, query, &stay, &done).await })
        })
        .collect();
    // The first of them have to be whole before the changes end.
    let since = Instant::now();
    let max = PATIENCE + Duration::from_millis(10 * wanted as u64);
    while done.changes.load(Ordering::Relaxed) < wanted || done.walks.load(Ordering::Relaxed) < 2 * WALKS.len() {
        assert!(
            since.elapsed() < max && writers.iter().chain(&walkers).all(|task| !task.is_finished()),
            "{:?}",
            done.changes
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (changes, took) = (done.changes.load(Ordering::Relaxed), since.elapsed());
    done.stop.store(true, Ordering::Relaxed);
    for task in writers.into_iter().chain(walkers) {
        task.await.unwrap();
    }
    println!(
        "{changes} changes, {:.0} a second, during {} walks of {} pages",
        changes as f64 / took.as_secs_f64(),
        done.walks.load(Ordering::Relaxed),
        done.pages.load(Ordering::Relaxed)
    );
}
