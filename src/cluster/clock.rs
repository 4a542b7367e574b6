//! The wall clock for irreversible actions: it is read together with the time since boot, and not used while it is in
//! doubt (`clock_trust.rs`).

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::time::Instant;
use waypost_consensus::{Groups, last_seen, note_seen};
use waypost_protocol::peer::Peers;
use waypost_protocol::{NodeId, UnixMs};
use waypost_store::{Db, StoreError};
use waypost_telemetry::{Counter, Gauge, Metrics};

use super::clock_trust::{AGREE_MAX, Asked, Doubt, Reading, Trust};
use super::requests::{ClockReport, GetClock};
use crate::limits::CLOCK_ANSWER_MAX;
use crate::wall_clock::wall_clock;

/// How often the clocks are checked.
const LOOK: Duration = Duration::from_secs(1);

/// How often the time is recorded: much more often than the day after which a start is not sure of its clock.
const NOTE_EVERY_MS: u64 = 3_600_000;

/// Reading both clocks must be faster than this, or is repeated.
const READ_MAX_MS: u64 = 500;

/// This node's wall clock.
pub struct Clock {
    db: Db,
    groups: Arc<Groups>,
    peers: Arc<dyn Peers>,
    trust: Mutex<Trust>,
    /// The time since boot at which the time was last recorded.
    noted: Mutex<Option<u64>>,
    trusted: Gauge,
    jumps: Counter,
}

/// Reads both clocks of this machine.
pub fn read_clocks() -> Reading {
    let mut boot = boot_ms();
    loop {
        let reading = Reading { wall: wall_clock(), boot_ms: boot };
        let after = boot_ms();
        // If the process is suspended between the two, that would look like a jump.
        if after.saturating_sub(boot) <= READ_MAX_MS {
            return reading;
        }
        boot = after;
    }
}

fn boot_ms() -> u64 {
    // This cannot fail: every supported Linux has this clock.
    let since = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from);
    since.as_millis() as u64
}

impl Clock {
    /// Creates the clock at the start of a node.
    ///
    /// # Errors
    /// If the store fails.
    pub fn new(db: &Db, groups: Arc<Groups>, peers: Arc<dyn Peers>, metrics: &Metrics) -> Result<Self, StoreError> {
        let links: usize = groups.shards().iter().map(|group| group.read(|machine| machine.links())).sum();
        let alone = others(&groups).is_empty();
        let trust = Trust::begin(read_clocks(), last_seen(db)?, alone && links == 0);
        let clock = Self {
            db: db.clone(),
            groups,
            peers,
            trust: Mutex::new(trust),
            noted: Mutex::default(),
            trusted: metrics
                .gauge("waypost_clock_trusted", "0 while nothing is removed for its age, since the clock is in doubt"),
            jumps: metrics.counter("waypost_clock_jumps_total", "Jumps of the wall clock"),
        };
        if let Some((doubt, _)) = clock.report().doubt {
            tracing::info!(%doubt, "nothing is removed for its age until the clock is confirmed");
        }
        clock.show();
        Ok(clock)
    }

    /// The time, unless the clock is in doubt. For irreversible actions.
    pub fn trusted_now(&self) -> Option<UnixMs> {
        let now = self.look();
        self.trust.lock().doubt().is_none().then_some(now.wall)
    }

    /// The report for other nodes.
    pub fn report(&self) -> ClockReport {
        ClockReport { now: read_clocks().wall, doubt: self.trust.lock().doubt() }
    }

    /// Watches the clocks until the node stops.
    pub async fn run(self: Arc<Self>) {
        loop {
            self.look();
            if self.trust.lock().doubt().is_some() {
                let (others, jumps) = (others(&self.groups), self.jumps.get());
                let asked = self.ask_others(&others).await;
                let now = self.look();
                // Reports about the time before a jump say nothing about the time after it.
                let sure = self.jumps.get() == jumps && self.trust.lock().judge(now, asked);
                if sure {
                    tracing::info!(others = asked.nodes, agreeing = asked.agree, "the clock is trusted again");
                }
                self.show();
            }
            if let Err(error) = self.note() {
                tracing::warn!(%error, "that the node runs could not be noted");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Records the time, if the last record is old and the clock is not in doubt.
    fn note(&self) -> Result<(), StoreError> {
        let boot_ms = boot_ms();
        let due = self.noted.lock().is_none_or(|noted| boot_ms.saturating_sub(noted) >= NOTE_EVERY_MS);
        if due && self.note_now()? {
            *self.noted.lock() = Some(boot_ms);
        }
        Ok(())
    }

    /// Records the time. Returns whether the clock was trusted.
    ///
    /// # Errors
    /// If the store fails.
    pub fn note_now(&self) -> Result<bool, StoreError> {
        let Some(now) = self.trusted_now() else { return Ok(false) };
        note_seen(&self.db, now)?;
        Ok(true)
    }

    fn look(&self) -> Reading {
        let mut trust = self.trust.lock();
        // Read under the lock: a reading older than the last one would look like a jump.
        let now = read_clocks();
        if let Some(by_ms) = trust.look(now) {
            tracing::warn!(by_ms, "the wall clock has jumped; nothing is removed for its age until it is confirmed");
            self.jumps.inc();
            drop(trust);
            self.show();
        }
        now
    }

    fn show(&self) {
        self.trusted.set(self.trust.lock().doubt().is_none().into());
    }

    /// Asks the other nodes for their time.
    async fn ask_others(&self, others: &[NodeId]) -> Asked {
        let asking = others.iter().map(|node| async move {
            let asked = Instant::now();
            let report = ask(&*self.peers, *node).await?;
            // The other clock was read at some moment between the request and the answer: take the middle.
            let own = read_clocks().wall.0 as i64 - asked.elapsed().as_millis() as i64 / 2;
            Some((report.now.0 as i64 - own).unsigned_abs() <= AGREE_MAX.as_millis() as u64)
        });
        let told: Vec<bool> = join_all(asking).await.into_iter().flatten().collect();
        let agree = told.iter().filter(|agrees| **agrees).count();
        Asked { nodes: others.len(), agree, differ: told.len() - agree }
    }
}

/// Asks another node for its clock report; `None` if it does not answer, or runs a version without this request.
pub(super) async fn ask(peers: &dyn Peers, node: NodeId) -> Option<ClockReport> {
    peers.ask(node, 0, &GetClock, CLOCK_ANSWER_MAX).await.ok()
}

fn others(groups: &Groups) -> Vec<NodeId> {
    let own = groups.node();
    groups.cluster().read(|machine| machine.state().nodes.keys().copied().filter(|node| *node != own).collect())
}

/// Warnings for an operator about the nodes' clocks. `own` is that of this node.
pub(super) fn warnings(own: UnixMs, told: &[(String, ClockReport)]) -> Vec<String> {
    /// A doubt from a start has ended by then, if the others answer.
    const SETTLING_MS: u64 = 10_000;
    let mut warnings = Vec::new();
    for (name, report) in told {
        let ahead_ms = report.now.0 as i64 - own.0 as i64;
        if ahead_ms.unsigned_abs() > AGREE_MAX.as_millis() as u64 {
            let (way, seconds) = (if ahead_ms > 0 { "ahead of" } else { "behind" }, ahead_ms.unsigned_abs() / 1000);
            warnings.push(format!("the clock of {name} is {seconds} seconds {way} that of the node that was asked"));
        }
        match report.doubt {
            Some((doubt, for_ms)) if matches!(doubt, Doubt::Jumped { .. }) || for_ms > SETTLING_MS => warnings.push(
                format!("{name} removes nothing for its age until its clock is confirmed by most of the others, or was steady for ten minutes: {doubt}"),
            ),
            _ => {}
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_is_told_of_clocks_that_differ_or_are_in_doubt() {
        let own = UnixMs(1_800_000_000_000);
        let report = |ms: i64, doubt| ClockReport { now: UnixMs((own.0 as i64 + ms) as u64), doubt };
        let told = [
            ("a".to_owned(), report(0, None)),
            ("b".to_owned(), report(-61_000, None)),
            ("c".to_owned(), report(500, Some((Doubt::Jumped { by_ms: 86_400_000 * 4 }, 0)))),
            ("d".to_owned(), report(0, Some((Doubt::NoRecord, 2_000)))),
            ("e".to_owned(), report(0, Some((Doubt::NoRecord, 20_000)))),
        ];
        let said = warnings(own, &told);
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(said[0].contains("clock of b is 61 seconds behind"), "{said:?}");
        assert!(said[1].starts_with("c removes nothing") && said[1].ends_with("it went ahead by 4 days"), "{said:?}");
        assert!(said[2].starts_with("e removes nothing"), "{said:?}");
    }
}
