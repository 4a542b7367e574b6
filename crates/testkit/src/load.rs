//! Clients that write continuously and remember the answers, and the checks of that history.
//!
//! They look for lost links that were acknowledged, aliases with two owners, stale answers beyond the bound, links that outlive
//! their end, and visits that are not counted or are counted twice.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::task::JoinHandle;

use crate::history::{Clocks, Does, History, Tally};
use crate::life::BOUND;
use crate::worker::Worker;
use crate::{Answer, Client};

/// Running clients of a cluster.
pub struct Load {
    targets: Arc<Mutex<Vec<SocketAddr>>>,
    stop: Arc<AtomicBool>,
    history: Arc<Mutex<History>>,
    tally: Arc<Mutex<Tally>>,
    clocks: Arc<Clocks>,
    clients: Vec<JoinHandle<()>>,
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

    /// Checks what was answered so far.
    ///
    /// # Errors
    /// What was duplicated, stale or wrong.
    pub fn check(&self) -> Result<()> {
        let history = self.history.lock().expect("invariant: no client panics");
        if history.broken.is_empty() { Ok(()) } else { bail!("{}", history.broken.join("; ")) }
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
        self.check()?;
        let history = std::mem::take(&mut *self.history.lock().expect("invariant: no client panics"));
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
