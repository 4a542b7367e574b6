//! Clients that write all the time and remember what they were told, and the questions to ask of that afterwards.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::Client;

/// What was acknowledged, and what was not.
#[derive(Default)]
struct History {
    /// Code to target, of every `201`.
    links: HashMap<String, String>,
    /// Alias to the targets of claims whose outcome is not known.
    unknown: HashMap<String, Vec<String>>,
    /// What must never happen.
    broken: Vec<String>,
}

/// Counts of a run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    /// Creates answered `201`.
    pub acknowledged: u64,
    /// Creates refused without a doubt (`503`, `507`, no connection).
    pub refused: u64,
    /// Creates whose outcome is not known.
    pub unknown: u64,
    /// Redirects that were right.
    pub redirects: u64,
    /// Redirects of acknowledged links that were answered otherwise than by their target, by nodes that were up.
    pub missed: u64,
    /// The longest time without an acknowledged create.
    pub longest_pause: Duration,
}

/// Clients at work on a cluster.
pub struct Load {
    targets: Arc<Mutex<Vec<SocketAddr>>>,
    stop: Arc<AtomicBool>,
    history: Arc<Mutex<History>>,
    tally: Arc<Mutex<Tally>>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts `clients` that create links on nodes at random, one in five an alias that others claim too, and follow links
    /// that were acknowledged.
    pub fn start(clients: usize, targets: &[SocketAddr]) -> Self {
        let load = Self {
            targets: Arc::new(Mutex::new(targets.to_vec())),
            stop: Arc::default(),
            history: Arc::default(),
            tally: Arc::default(),
            clients: Vec::new(),
        };
        let last = Arc::new(Mutex::new(Instant::now()));
        let aliases = Arc::new(AtomicU64::new(0));
        let clients = (0..clients)
            .map(|number| {
                let worker = Worker {
                    number,
                    targets: load.targets.clone(),
                    stop: load.stop.clone(),
                    history: load.history.clone(),
                    tally: load.tally.clone(),
                    last: last.clone(),
                    aliases: aliases.clone(),
                };
                tokio::spawn(worker.run())
            })
            .collect();
        Self { clients, ..load }
    }

    /// Sets the nodes that are up: only these are asked from now on.
    pub fn aim(&self, targets: &[SocketAddr]) {
        *self.targets.lock().expect("invariant: no client panics") = targets.to_vec();
    }

    /// What happened so far.
    pub fn tally(&self) -> Tally {
        *self.tally.lock().expect("invariant: no client panics")
    }

    /// Ends the clients, and follows every acknowledged link on every one of `nodes`.
    ///
    /// # Errors
    /// What was lost, doubled or wrong.
    pub async fn finish(self, nodes: &[SocketAddr]) -> Result<Tally> {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await?;
        }
        let history = std::mem::take(&mut *self.history.lock().expect("invariant: no client panics"));
        if !history.broken.is_empty() {
            bail!("{}", history.broken.join("; "));
        }
        for address in nodes {
            let client = Client::new(*address);
            for (code, url) in &history.links {
                let mut answer = client.get(&format!("/{code}")).await?;
                // A busy node may say that it is; the link has to be there all the same.
                for _ in 0..TRIES {
                    if !matches!(answer.status, 503 | 504) {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    answer = client.get(&format!("/{code}")).await?;
                }
                if answer.status != 302 || answer.header("location") != Some(url) {
                    let said = String::from_utf8_lossy(&answer.body).into_owned();
                    bail!("{code} was answered {} {said} on {address}, and was acknowledged for {url}", answer.status);
                }
            }
            // A claim in doubt may have won, but then nobody else has, and it leads where it was to lead.
            for (alias, urls) in history.unknown.iter().filter(|(alias, _)| !history.links.contains_key(*alias)) {
                if let Some(found) = client.follow(alias).await?
                    && !urls.contains(&found)
                {
                    bail!("{alias} leads to {found}, which nobody claimed it for");
                }
            }
        }
        Ok(*self.tally.lock().expect("invariant: no client panics"))
    }
}

/// How often a link is asked for that a node is too busy to answer for.
const TRIES: usize = 50;

struct Worker {
    number: usize,
    targets: Arc<Mutex<Vec<SocketAddr>>>,
    stop: Arc<AtomicBool>,
    history: Arc<Mutex<History>>,
    tally: Arc<Mutex<Tally>>,
    last: Arc<Mutex<Instant>>,
    aliases: Arc<AtomicU64>,
}

impl Worker {
    async fn run(self) {
        let mut clients: HashMap<SocketAddr, Client> = HashMap::new();
        let mut own: Vec<(String, String)> = Vec::new();
        for i in 0usize.. {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let targets = self.targets.lock().expect("invariant: no client panics").clone();
            if targets.is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
            let address = targets[rand::random_range(0..targets.len())];
            let client = clients.entry(address).or_insert_with(|| Client::new(address)).clone();
            if i % 3 == 2 && !own.is_empty() {
                let (code, url) = &own[rand::random_range(0..own.len())];
                self.follow(&client, address, code, url).await;
            } else {
                self.create(&client, i, &mut own).await;
            }
        }
    }

    async fn create(&self, client: &Client, i: usize, own: &mut Vec<(String, String)>) {
        let url = format!("https://example.com/{}/{i}", self.number);
        // Clients go through the same aliases at about the same time.
        let slug = i.is_multiple_of(5).then(|| format!("alias{}", self.aliases.fetch_add(1, Ordering::Relaxed) / 3));
        let answer = client.shorten(json!({ "longUrl": url, "customSlug": slug })).await;
        if answer.is_err() {
            // The node is down: no need to ask it as fast as the machine can.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut history = self.history.lock().expect("invariant: no client panics");
        let mut tally = self.tally.lock().expect("invariant: no client panics");
        match answer {
            Ok(answer) if answer.status == 201 => {
                let code = answer.text("shortCode");
                if let Some(other) = history.links.insert(code.clone(), url.clone()) {
                    history.broken.push(format!("{code} was given to {other} and to {url}"));
                }
                own.push((code, url));
                tally.acknowledged += 1;
                let mut last = self.last.lock().expect("invariant: no client panics");
                tally.longest_pause = tally.longest_pause.max(last.elapsed());
                *last = Instant::now();
            }
            Ok(answer) if answer.status == 409 => {}
            Ok(answer) if answer.status == 507 || answer.status == 503 && answer.problem() != "outcome-unknown" => {
                tally.refused += 1;
            }
            Ok(answer) if matches!(answer.status, 503 | 504) => {
                tally.unknown += 1;
                history.unknown.entry(slug.unwrap_or_default()).or_default().push(url);
            }
            Ok(answer) => history.broken.push(format!("a create was answered {}", answer.status)),
            // The node went down before or after it had done it.
            Err(_) => {
                tally.unknown += 1;
                history.unknown.entry(slug.unwrap_or_default()).or_default().push(url);
            }
        }
    }

    async fn follow(&self, client: &Client, address: SocketAddr, code: &str, url: &str) {
        let answer = client.get(&format!("/{code}")).await;
        let up = self.targets.lock().expect("invariant: no client panics").contains(&address);
        let mut tally = self.tally.lock().expect("invariant: no client panics");
        match answer {
            Ok(answer) if answer.status == 302 && answer.header("location") == Some(url) => tally.redirects += 1,
            Ok(answer) if answer.status == 302 || answer.status == 404 => {
                let said =
                    format!("{code} was answered {} {:?} on {address}", answer.status, answer.header("location"));
                self.history.lock().expect("invariant: no client panics").broken.push(said);
            }
            Ok(_) => tally.missed += 1,
            Err(_) if up => tally.missed += 1,
            Err(_) => {}
        }
    }
}
