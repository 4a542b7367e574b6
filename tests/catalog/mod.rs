//! Lists and the catalogs that they come from: they say what the shards have, whatever happens to nodes, disks and networks, or what is missing.

mod cluster;
mod damage;
mod lives;
mod walks;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use waypost_testkit::{Client, Node};

/// How long a catalog may take to have what it should have.
const PATIENCE: Duration = Duration::from_secs(120);

/// A complete walk over a list: the links by their short codes, and the shards that are missing.
#[derive(Debug, Clone, PartialEq)]
struct Walked {
    links: BTreeMap<String, Value>,
    partial: Vec<u64>,
    total: u64,
}

impl Walked {
    /// The URLs of the links.
    fn urls(&self) -> BTreeMap<String, String> {
        let url = |link: &Value| link["longUrl"].as_str().unwrap().to_owned();
        self.links.iter().map(|(code, link)| (code.clone(), url(link))).collect()
    }
}

/// Walks over the pages of a list; `None` if it was not answered.
async fn try_walk(client: &Client, query: &str, limit: usize) -> Option<Walked> {
    let mut walked = Walked { links: BTreeMap::new(), partial: Vec::new(), total: 0 };
    let mut cursor = String::new();
    loop {
        let answer = client.get(&format!("/api/v1/links?limit={limit}{query}{cursor}")).await.ok()?;
        if answer.status != 200 {
            return None;
        }
        let page = answer.json();
        for link in page["items"].as_array().unwrap() {
            let twice = walked.links.insert(link["shortCode"].as_str().unwrap().to_owned(), link.clone());
            assert_eq!(twice, None, "it is on two pages");
        }
        if cursor.is_empty() {
            walked.total = page["total"].as_u64().unwrap();
        }
        walked.partial.extend(page["partial"].as_array().into_iter().flatten().filter_map(Value::as_u64));
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    walked.partial.sort_unstable();
    walked.partial.dedup();
    Some(walked)
}

/// Walks over a list until it is as it should be.
async fn walk_until(client: &Client, query: &str, what: &str, is_right: impl Fn(&Walked) -> bool) -> Walked {
    walk_pages_until(client, query, 1000, what, is_right).await
}

/// The same with pages of so many links.
async fn walk_pages_until(
    client: &Client,
    query: &str,
    limit: usize,
    what: &str,
    is_right: impl Fn(&Walked) -> bool,
) -> Walked {
    let since = Instant::now();
    let mut seen = None;
    while since.elapsed() < PATIENCE {
        if let Some(walked) = try_walk(client, query, limit).await {
            if is_right(&walked) {
                return walked;
            }
            seen = Some((walked.links.len(), walked.total, walked.partial));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{what}: links, total and missing shards were last {seen:?}");
}

/// Waits until a list has exactly these links, and misses no shard; then walks it again in small pages.
async fn lists_exactly(client: &Client, expected: &BTreeMap<String, String>) {
    walk_until(client, "", "the list has what the shards have", |walked| {
        walked.partial.is_empty() && walked.urls() == *expected && walked.total == expected.len() as u64
    })
    .await;
    // On a busy machine a page may miss a shard for a moment, and says so. And another catalog may answer for a shard than before, which
    // has the links of the last second or not.
    walk_pages_until(client, "&sort=slug", 37, "small pages have what the shards have", |walked| {
        walked.partial.is_empty() && walked.urls() == *expected
    })
    .await;
}

/// A metric without labels.
async fn metric(node: &Node, name: &str) -> f64 {
    let text = Client::new(node.admin()).get("/metrics").await.unwrap();
    let text = String::from_utf8(text.body).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_else(|| panic!("there is no metric {name}"))
}

/// The report of a node about its catalog.
async fn report(node: &Node) -> Value {
    let view = Client::new(node.admin()).get("/cluster").await.unwrap().json();
    let own = view["nodes"].as_array().unwrap().iter().find(|seen| seen["id"] == view["asked"]).unwrap().clone();
    own["status"]["catalog"].clone()
}
