//! What the indexer and those who read the catalog share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, RwLock};
use tokio::sync::watch;
use waypost_catalog::{Catalog, Sizes};
use waypost_consensus::Groups;
use waypost_protocol::ShardId;

/// How far the catalog is with a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reached {
    /// Whether it has the whole shard.
    pub(super) complete: bool,
    /// It has every change up to this index of the shard's log.
    pub(super) index: u64,
    /// It has every change that was applied before this moment, when the replica was up to date. `None`: the replica was not, so that the time
    /// says nothing.
    pub(super) shows: Option<Instant>,
}

impl Reached {
    /// Whether the catalog shows what a replica shows now that has applied its log up to an index, or what an up-to-date one showed at most so
    /// long ago.
    pub(super) fn shows(&self, applied: u64, now: Instant, max: Duration) -> bool {
        self.index >= applied || self.shows.is_some_and(|shows| now.saturating_duration_since(shows) <= max)
    }
}

/// What is known of a shard, and how often the catalog has lost it: an answer that began before a loss and ends after the catalog has the shard
/// again is made of two states.
#[derive(Debug, Clone, Copy)]
struct Progress {
    reached: Reached,
    losses: u64,
}

impl Progress {
    fn lose(&mut self) {
        self.reached.complete = false;
        self.losses += 1;
    }
}

/// How often the catalog had lost each shard at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Losses(Vec<u64>);

/// A shard that is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scan {
    /// Which one.
    pub shard: ShardId,
    /// Its links that were read.
    pub done: u64,
    /// The links that it has.
    pub links: u64,
}

/// The state of a catalog.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CatalogStatus {
    /// The shards of which this node has a replica.
    pub held: u32,
    /// Those of them that the catalog has.
    pub complete: u32,
    /// The one that is being read.
    pub scan: Option<Scan>,
    /// Why it cannot be used.
    pub failure: Option<String>,
}

#[derive(Default)]
struct Signals {
    /// Somebody waits for the next round.
    hurry: bool,
    stop: bool,
    stopped: bool,
}

/// What is shared. The parts that readers see are those of the last round.
pub(super) struct Shared {
    /// Whether this node keeps a catalog.
    pub(super) is_kept: bool,
    /// Set by the first change after a round.
    changed: AtomicBool,
    signals: Mutex<Signals>,
    told: Condvar,
    /// The catalog, while it is open.
    pub(super) catalog: RwLock<Option<Catalog>>,
    progress: Mutex<Vec<Progress>>,
    pub(super) scan: Mutex<Option<Scan>>,
    pub(super) failure: Mutex<Option<String>>,
    /// How large the catalog was some seconds ago.
    pub(super) sizes: Mutex<Sizes>,
    /// What a reader has found to be damaged.
    damage: Mutex<Option<String>>,
    rounds: watch::Sender<u64>,
}

impl Shared {
    pub(super) fn new(shards: usize, is_kept: bool) -> Self {
        let nothing = Progress { reached: Reached { complete: false, index: 0, shows: None }, losses: 0 };
        Self {
            is_kept,
            changed: AtomicBool::new(false),
            // The first round is due at once: somebody may list links as soon as the node is ready.
            signals: Mutex::new(Signals { hurry: true, ..Signals::default() }),
            told: Condvar::new(),
            catalog: RwLock::new(None),
            progress: Mutex::new(vec![nothing; shards]),
            scan: Mutex::new(None),
            failure: Mutex::new(None),
            sizes: Mutex::default(),
            damage: Mutex::new(None),
            rounds: watch::Sender::default(),
        }
    }

    /// A link has changed.
    pub(super) fn changed(&self) {
        // Only the first change after a round takes the lock, which nobody holds for long.
        if !self.changed.swap(true, Ordering::AcqRel) {
            let _signals = self.signals.lock();
            self.told.notify_one();
        }
    }

    /// Asks for a round at once.
    pub(super) fn hurry(&self) {
        self.signals.lock().hurry = true;
        self.told.notify_one();
    }

    /// A reader has found damage.
    pub(super) fn is_damaged(&self, what: String) {
        *self.damage.lock() = Some(what);
        self.hurry();
    }

    /// Damage that a reader has found since the last call.
    pub(super) fn take_damage(&self) -> Option<String> {
        self.damage.lock().take()
    }

    /// Tells the indexer to end, and waits until it has. Returns whether it has.
    pub(super) fn stop(&self, max: Duration) -> bool {
        let deadline = Instant::now() + max;
        let mut signals = self.signals.lock();
        signals.stop = true;
        self.told.notify_one();
        while !signals.stopped && self.is_kept {
            if self.told.wait_until(&mut signals, deadline).timed_out() {
                return false;
            }
        }
        true
    }

    /// Whether the indexer has to end.
    pub(super) fn stops(&self) -> bool {
        self.signals.lock().stop
    }

    /// The indexer has ended.
    pub(super) fn stopped(&self) {
        self.signals.lock().stopped = true;
        self.told.notify_all();
    }

    /// Waits until a link has changed, somebody hurries, the indexer has to end, or `idle` has passed. After a change it waits for
    /// more of them, for as long as `gather`. Returns whether the indexer has to end.
    pub(super) fn wait(&self, idle: Duration, gather: Duration) -> bool {
        let begun = Instant::now();
        let mut signals = self.signals.lock();
        let mut gathering = None;
        while !signals.hurry && !signals.stop {
            if gathering.is_none() && self.changed.load(Ordering::Acquire) {
                gathering = Some(Instant::now() + gather);
            }
            let until = gathering.unwrap_or(begun + idle);
            if Instant::now() >= until {
                break;
            }
            self.told.wait_until(&mut signals, until);
        }
        signals.hurry = false;
        // Before the changes are taken: one that comes meanwhile makes another round.
        self.changed.store(false, Ordering::Release);
        signals.stop
    }

    /// How far the catalog is with a shard.
    pub(super) fn reached(&self, shard: ShardId) -> Option<Reached> {
        self.progress.lock().get(shard.index()).map(|progress| progress.reached).filter(|reached| reached.complete)
    }

    /// How often the catalog has lost each shard.
    pub(super) fn losses(&self) -> Losses {
        Losses(self.progress.lock().iter().map(|progress| progress.losses).collect())
    }

    /// Whether the catalog has a shard, and has had it since `before`.
    pub(super) fn has_kept(&self, shard: ShardId, before: &Losses) -> bool {
        let progress = self.progress.lock();
        let (now, before) = (progress.get(shard.index()), before.0.get(shard.index()));
        now.zip(before).is_some_and(|(now, before)| now.reached.complete && now.losses == *before)
    }

    /// The state, as far as this node has replicas.
    pub(super) fn status(&self, groups: &Groups) -> CatalogStatus {
        let held: Vec<ShardId> =
            (0..groups.shards().len() as u32).map(ShardId).filter(|shard| groups.takes_part(*shard)).collect();
        CatalogStatus {
            held: held.len() as u32,
            complete: held.iter().filter(|shard| self.reached(**shard).is_some()).count() as u32,
            scan: *self.scan.lock(),
            failure: self.failure.lock().clone(),
        }
    }

    /// Notes how far the catalog is with a shard.
    pub(super) fn set_reached(&self, shard: ShardId, reached: Reached) {
        let progress = &mut self.progress.lock()[shard.index()];
        if progress.reached.complete && !reached.complete {
            progress.losses += 1;
        }
        progress.reached = reached;
    }

    /// A shard has to be read again: what the catalog has of it is in doubt.
    pub(super) fn set_incomplete(&self, shard: ShardId) {
        self.progress.lock()[shard.index()].lose();
    }

    /// No shard can be answered for.
    pub(super) fn set_all_incomplete(&self) {
        self.progress.lock().iter_mut().for_each(Progress::lose);
    }

    /// A round is over.
    pub(super) fn end_round(&self) {
        self.rounds.send_modify(|round| *round += 1);
    }

    /// Changes with each round.
    pub(super) fn rounds(&self) -> watch::Receiver<u64> {
        self.rounds.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    /// After the first round.
    fn begun() -> Shared {
        let shared = Shared::new(1, true);
        assert!(!shared.wait(LONG, LONG));
        shared
    }

    #[test]
    fn the_first_round_waits_for_nothing_and_the_next_one_for_a_change() {
        let shared = begun();
        assert!(!shared.wait(Duration::ZERO, LONG) && !shared.signals.lock().hurry);
    }

    #[test]
    fn a_change_ends_the_wait_of_the_indexer_also_one_from_before() {
        let shared = begun();
        shared.changed();
        assert!(!shared.wait(LONG, Duration::ZERO));
        let waiting = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| shared.wait(LONG, Duration::ZERO));
            shared.changed();
            waiting.join().unwrap()
        });
        assert!(!waiting);
        assert!(!shared.wait(Duration::ZERO, LONG), "without changes it waits no longer than it may be idle");
    }

    #[test]
    fn whoever_hurries_does_not_wait_for_more_changes() {
        let shared = begun();
        shared.changed();
        shared.hurry();
        assert!(!shared.wait(LONG, LONG));
    }

    #[test]
    fn a_stop_waits_until_the_indexer_has_ended() {
        let shared = begun();
        assert!(!shared.stop(Duration::ZERO), "it has not ended");
        assert!(shared.wait(LONG, LONG), "it is told to");
        shared.stopped();
        assert!(shared.stop(LONG));
        assert!(Shared::new(0, false).stop(LONG), "there is none");
    }

    #[test]
    fn a_shard_is_reached_only_while_it_is_complete() {
        let shared = Shared::new(2, true);
        let shard = ShardId(1);
        assert_eq!(shared.reached(shard), None);
        shared.set_reached(shard, Reached { complete: true, index: 7, shows: None });
        assert_eq!(shared.reached(shard).map(|reached| reached.index), Some(7));
        assert_eq!((shared.reached(ShardId(0)), shared.reached(ShardId(9))), (None, None));
        shared.set_all_incomplete();
        assert_eq!(shared.reached(shard), None);
    }

    #[test]
    fn a_shard_that_was_lost_and_regained_is_not_the_one_from_before() {
        let (shared, shard) = (Shared::new(2, true), ShardId(1));
        let whole = Reached { complete: true, index: 7, shows: None };
        shared.set_reached(shard, whole);
        let before = shared.losses();
        shared.set_reached(shard, Reached { index: 8, ..whole });
        assert!(shared.has_kept(shard, &before));
        assert!(!shared.has_kept(ShardId(0), &before) && !shared.has_kept(ShardId(9), &before));
        for lose in [
            (|shared| shared.set_all_incomplete()) as fn(&Shared),
            |shared| shared.set_incomplete(ShardId(1)),
            |shared| shared.set_reached(ShardId(1), Reached { complete: false, index: 8, shows: None }),
        ] {
            let before = shared.losses();
            lose(&shared);
            shared.set_reached(shard, whole);
            assert!(!shared.has_kept(shard, &before) && shared.has_kept(shard, &shared.losses()));
        }
    }

    #[test]
    fn a_catalog_of_a_replica_that_was_behind_shows_what_the_replica_has_only_by_its_index() {
        let (now, max) = (Instant::now(), Duration::from_millis(300));
        let behind = Reached { complete: true, index: 7, shows: None };
        // The replica has caught up since: what the catalog took a moment ago may be hours old.
        assert!(!behind.shows(8, now, max) && behind.shows(7, now, max));
        let fresh = Reached { shows: Some(now), ..behind };
        assert!(fresh.shows(8, now, max) && fresh.shows(8, now + max, max));
        assert!(!fresh.shows(8, now + max * 2, max) && fresh.shows(7, now + max * 2, max));
    }
}
