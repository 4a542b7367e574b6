//! Clients that write continuously and remember the answers, and the checks of that history.
//!
//! They look for lost links that were acknowledged, aliases with two owners, stale answers beyond the bound, links that outlive
//! their end, and visits that are not counted or are counted twice.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::task::JoinHandle;

use crate::life::{BOUND, Life};
use crate::worker::Worker;
use crate::{Answer, Client};

/// What was acknowledged, and what is in doubt.
#[derive(Default)]
pub(crate) struct History {
    /// Code to target, of every `201` for a link that is never changed.
    pub(crate) links: HashMap<String, String>,
    /// Links that are edited and deleted.
    pub(crate) lives: Vec<Life>,
    /// Alias to the targets of claims with an unknown outcome.
    pub(crate) unknown: HashMap<String, Vec<String>>,
    /// Violations that were found.
    pub(crate) broken: Vec<String>,
}

/// Counts of a run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    /// Creates answered `201`.
    pub acknowledged: u64,
    /// Creates that were definitely refused (`503`, `507`, no connection).
    pub refused: u64,
    /// Creates with an unknown outcome.
    pub unknown: u64,
    /// Correct redirects.
    pub redirects: u64,
    /// Wrong answers for acknowledged links from nodes that were up.
    pub missed: u64,
    /// The longest time without an acknowledged create.
    pub longest_pause: Duration,
    /// Edits and deletes that were acknowledged.
    pub changed: u64,
    /// Answers `410` for links after their end.
    pub ended: u64,
    /// Answers `302`; each is a visit that has to be counted.
    pub visits: u64,
    /// Requests for links whose answer was not read: they may or may not have been visits.
    pub visits_in_doubt: u64,
}

/// What clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Does {
    /// They create links and follow them.
    Creates,
    /// They also edit, delete and claim again, and create links that end. Only for nodes that can reach the leaders.
    Changes,
}

/// Running clients of a cluster.
pub struct Load {
    targets: Arc<Mutex<Vec<SocketAddr>>>,
    stop: Arc<AtomicBool>,
    history: Arc<Mutex<History>>,
    tally: Arc<Mutex<Tally>>,
    clocks: Arc<Clocks>,
    clients: Vec<JoinHandle<()>>,
}

/// Counts how often clocks were set. While a clock is wrong, answers near a link's end are not checked.
#[derive(Default)]
pub(crate) struct Clocks {
    pub(crate) wrong: AtomicBool,
    pub(crate) set: AtomicU64,
}

impl Load {
    /// Starts `clients` that create links on random nodes, one in five with an alias that others claim too, and follow links
    /// that were acknowledged.
    pub fn start(clients: usize, targets: &[SocketAddr]) -> Self {
        Self::begin(clients, targets, Does::Creates)
    }

    /// Like [`Load::start`]. The clients also edit and delete links, claim aliases again, and create links that end soon. [`Load::finish`]
    /// reports stale answers beyond the bound, so do not aim at nodes that cannot reach the leaders.
    pub fn start_with_changes(clients: usize, targets: &[SocketAddr]) -> Self {
        Self::begin(clients, targets, Does::Changes)
    }

    fn begin(clients: usize, targets: &[SocketAddr], does: Does) -> Self {
        let load = Self {
            targets: Arc::new(Mutex::new(targets.to_vec())),
            stop: Arc::default(),
            history: Arc::default(),
            tally: Arc::default(),
            clocks: Arc::default(),
            clients: Vec::new(),
        };
        let last = Arc::new(Mutex::new(Instant::now()));
        let aliases = Arc::new(AtomicU64::new(0));
        let clients = (0..clients)
            .map(|number| {
                let worker = Worker {
                    number,
                    does,
                    clocks: load.clocks.clone(),
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

    /// Sets the nodes that are up: only these get requests from now on.
    pub fn aim(&self, targets: &[SocketAddr]) {
        *self.targets.lock().expect("invariant: no client panics") = targets.to_vec();
    }

    /// Sets whether the wall clocks of all nodes are right. Links end by wall clocks, so ends are checked only while all are right.
    pub fn clocks_are_right(&self, right: bool) {
        self.clocks.wrong.store(!right, Ordering::SeqCst);
        self.clocks.set.fetch_add(1, Ordering::SeqCst);
    }

    /// The counts so far.
    pub fn tally(&self) -> Tally {
        *self.tally.lock().expect("invariant: no client panics")
    }

    /// Stops the clients, and follows every acknowledged link on each of `nodes`.
    ///
    /// # Errors
    /// What was lost, duplicated or wrong.
    pub async fn finish(mut self, nodes: &[SocketAddr]) -> Result<Tally> {
        self.stop.store(true, Ordering::Relaxed);
        for client in std::mem::take(&mut self.clients) {
            client.await?;
        }
        let history = std::mem::take(&mut *self.history.lock().expect("invariant: no client panics"));
        if !history.broken.is_empty() {
            bail!("{}", history.broken.join("; "));
        }
        tokio::time::sleep(BOUND).await;
        for address in nodes {
            let client = Client::new(*address);
            for life in &history.lives {
                let asked = Instant::now();
                let answer = self.ask(&client, &life.code).await?;
                let target = answer.header("location").map(str::to_owned);
                let known = matches!(answer.status, 302 | 404);
                if !known || !life.allows(&target, asked, *address) {
                    bail!(
                        "{} was answered {} {target:?} on {address}, and is {}",
                        life.code,
                        answer.status,
                        life.told(asked)
                    );
                }
            }
            for (code, url) in &history.links {
                let answer = self.ask(&client, code).await?;
                if answer.status != 302 || answer.header("location") != Some(url) {
                    let said = String::from_utf8_lossy(&answer.body).into_owned();
                    bail!("{code} was answered {} {said} on {address}, and was acknowledged for {url}", answer.status);
                }
            }
            // A claim in doubt may have won, but then no other claim has, and the link has the target of that claim.
            for (alias, urls) in history.unknown.iter().filter(|(alias, _)| !history.links.contains_key(*alias)) {
                let answer = self.ask(&client, alias).await?;
                if answer.status == 302
                    && let Some(found) = answer.header("location").map(str::to_owned)
                    && !urls.contains(&found)
                {
                    bail!("{alias} leads to {found}, which nobody claimed it for");
                }
            }
        }
        Ok(*self.tally.lock().expect("invariant: no client panics"))
    }

    /// Follows a link. A busy node may refuse; then the request is repeated.
    async fn ask(&self, client: &Client, code: &str) -> Result<Answer> {
        for attempt in 0.. {
            let answer = client.get(&format!("/{code}")).await?;
            if answer.status == 302 {
                self.tally.lock().expect("invariant: no client panics").visits += 1;
            }
            if !matches!(answer.status, 503 | 504) || attempt >= TRIES {
                return Ok(answer);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        unreachable!("the loop ends by itself")
    }
}

/// How often a link is requested from a node that is too busy.
const TRIES: usize = 50;
