//! The thread that keeps the catalog like the shards: it writes what has changed, reads shards anew where that is not known, and opens
//! the catalog again after a failure.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use waypost_catalog::{Catalog, Opened, Options, Reason, ShardBatch, Sizes};
use waypost_consensus::{Freshness, Group, Groups};
use waypost_protocol::{NodeId, ShardId};
use waypost_store::machine::{Changed, ShardMachine};

use super::log_writer::LogWriter;
use super::metrics::CatalogMetrics;
use super::pace::Pace;
use super::part::{LogOf, Part};
use super::place::{Files, Place};
use super::shared::{Reached, Scan, Shared};
use super::write::{Step, Trouble, clear_step, scan_step, write_changes};

/// How long the indexer waits if no link changes. Then it checks what it gets no notice of: whether its directory was deleted, and the positions of shards.
const IDLE: Duration = Duration::from_secs(1);

/// How long it waits for more changes after the first one: a transaction of many costs little more than one of one.
const GATHER: Duration = Duration::from_millis(100);

/// How long a shard is read before the changes of the others get their turn.
const SCAN_STEP: Duration = Duration::from_millis(100);

/// How often counts are written.
const COUNTS_EVERY: Duration = Duration::from_secs(60);

/// Counts of one round: some milliseconds.
const COUNTS_AT_ONCE: usize = 250;

/// How often a position is noted of a shard whose links have not changed, although its log has grown, such as by visits. One that was noted
/// before the last checkpoint of a process that is killed costs a scan.
const NOTE_EVERY: Duration = Duration::from_secs(5);

/// How often the progress of the scans is logged.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// The pause after a failure; it doubles with each further one, up to [`PAUSE_MAX`].
const PAUSE_FIRST: Duration = Duration::from_secs(1);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// How long the last round may go on.
const LAST_ROUND_MAX: Duration = Duration::from_secs(4);

/// When it is tried again after failures.
#[derive(Default)]
struct Retry {
    failures: u32,
    next: Option<Instant>,
}

/// The scans that are under way.
struct Progress {
    began: Instant,
    told: Instant,
    links: u64,
}

/// What the thread works with.
pub(super) struct Indexer<'a> {
    place: &'a Place,
    groups: &'a Arc<Groups>,
    fresh: &'a Freshness,
    shared: &'a Shared,
    read_only: &'a AtomicBool,
    metrics: &'a CatalogMetrics,
    parts: Vec<Part>,
    files: Files,
    retry: Retry,
    progress: Option<Progress>,
    /// Whether the catalog has work left that was deferred.
    maintains: bool,
    /// Whether counts are being written, and when they were last.
    counting: bool,
    counted: Instant,
    pace: Pace,
    noted: Instant,
    log_writer: LogWriter<'a>,
}

impl<'a> Indexer<'a> {
    /// Creates it. `is_first` = it is the first one of this process. If it takes the place of one that panicked, changes that the other had taken are
    /// lost, so all shards are read anew.
    pub(super) fn new(
        place: &'a Place,
        fresh: &'a Freshness,
        shared: &'a Shared,
        read_only: &'a AtomicBool,
        metrics: &'a CatalogMetrics,
        engine: &'a Handle,
        is_first: bool,
    ) -> Self {
        let part = if is_first { Part::Unknown } else { Part::Unknown.lost() };
        shared.set_all_incomplete();
        *shared.catalog.write() = None;
        let (now, groups) = (Instant::now(), fresh.groups());
        Self {
            place,
            groups,
            fresh,
            shared,
            read_only,
            metrics,
            parts: vec![part; groups.shards().len()],
            files: Files::default(),
            retry: Retry::default(),
            progress: None,
            maintains: false,
            counting: false,
            counted: now,
            pace: Pace::default(),
            noted: now,
            log_writer: LogWriter::new(engine),
        }
    }

    /// Works until it is told to end.
    pub(super) fn run(mut self) {
        // Redirects and changes come first.
        waypost_tasks::lower_priority(waypost_tasks::LOWEST);
        loop {
            let busy = self.is_busy();
            let (idle, gather) = if busy { (Duration::ZERO, Duration::ZERO) } else { (IDLE, GATHER) };
            if self.shared.wait(idle, gather) {
                break;
            }
            match self.round() {
                Ok(()) => self.succeeded(),
                Err(trouble) => self.failed(trouble),
            }
            self.shared.end_round();
        }
        self.last_round();
        self.shared.stopped();
    }

    /// Whether there is work that nobody tells of.
    fn is_busy(&self) -> bool {
        let open = self.shared.catalog.read().is_some();
        let scans = self.parts.iter().any(|part| part.is_incomplete());
        let leaves = self.parts.contains(&Part::Leaves);
        let counts = self.counting && self.pace.is_due(Instant::now());
        open && (counts || self.maintains || leaves || scans && !self.read_only.load(Ordering::Relaxed))
    }

    fn round(&mut self) -> Result<(), Trouble> {
        if self.retry.next.is_some_and(|next| Instant::now() < next) {
            return Ok(());
        }
        let catalog = self.opened()?;
        if let Some(what) = self.shared.take_damage() {
            return Err(Trouble::Damage(what));
        }
        if !self.files.are_there() {
            return Err(Trouble::Moved);
        }
        let notes = self.noted.elapsed() >= NOTE_EVERY;
        self.follow_all(&catalog, notes)?;
        self.forget(&catalog)?;
        if !self.read_only.load(Ordering::Relaxed) {
            self.scan(&catalog)?;
        }
        if self.counted.elapsed() >= COUNTS_EVERY {
            self.counting = true;
            self.counted = Instant::now();
        }
        let began = Instant::now();
        if self.counting && self.pace.is_due(began) {
            self.counting = self.write_counts(&catalog)?;
            self.pace.worked(began.elapsed(), Instant::now());
        }
        self.maintains = catalog.maintain()?;
        self.log_writer.step(&catalog)?;
        if notes {
            *self.shared.sizes.lock() = catalog.sizes()?;
        }
        Ok(())
    }

    /// The catalog. It is opened if it is not.
    fn opened(&mut self) -> Result<Catalog, Trouble> {
        if let Some(catalog) = &*self.shared.catalog.read() {
            return Ok(catalog.clone());
        }
        let was_closed = self.place.prepare()?;
        let Opened { catalog, began_anew } = Catalog::open(&self.place.dir, Options::default())?;
        match began_anew {
            None => {}
            Some(Reason::Missing) => tracing::info!("a new catalog is made of the links of this node"),
            Some(reason) => tracing::warn!(%reason, "the catalog is made anew"),
        }
        let positions = catalog.positions()?;
        for (index, group) in self.groups.shards().iter().enumerate() {
            let shard = ShardId(index as u32);
            let log = LogOf { opened_at: group.opened_at(), last: group.status().last };
            let (before, position) = (self.parts[index], positions.get(&shard).copied());
            self.parts[index] = before.opened(position, log);
            // The counts that the last process had not written yet are not told again.
            if before == Part::Unknown && self.parts[index].is_complete() && !was_closed {
                group.read_in_turn(ShardMachine::tell_all_counts);
                self.counting = true;
            }
        }
        self.files = Files::of(&self.place.dir)?;
        *self.shared.catalog.write() = Some(catalog.clone());
        Ok(catalog)
    }

    /// Whether another node has the replica of each shard that this one may have had.
    fn gone(&self) -> Vec<bool> {
        let own = self.groups.node();
        let placed_elsewhere = |group: &Arc<Group<ShardMachine>>| {
            let placement = |placed: &Vec<NodeId>| !placed.contains(&own);
            let elsewhere =
                self.groups.cluster().read(|machine| machine.state().placement.get(&group.id()).is_some_and(placement));
            elsewhere && !group.is_leader()
        };
        self.groups.shards().iter().map(placed_elsewhere).collect()
    }

    /// Writes what has changed of the shards that the catalog has. `notes`: positions of shards without changes are written, too.
    fn follow_all(&mut self, catalog: &Catalog, notes: bool) -> Result<(), Trouble> {
        for (index, gone) in self.gone().into_iter().enumerate() {
            let shard = ShardId(index as u32);
            match (gone, self.parts[index]) {
                (true, Part::Gone | Part::Leaves) => {}
                (true, _) => {
                    self.shared.set_incomplete(shard);
                    self.parts[index] = Part::Leaves;
                }
                (false, Part::Gone | Part::Leaves) => self.parts[index] = Part::Waits,
                // Its state cannot be read until the snapshot is there, and is another one then.
                (false, Part::Follows { .. }) if self.groups.shards()[index].is_installing() => {
                    self.shared.set_incomplete(shard);
                }
                (false, Part::Follows { noted }) => self.follow(catalog, shard, noted, notes)?,
                (false, Part::Unknown | Part::Waits | Part::Scanned { .. } | Part::Cleared { .. }) => {}
            }
        }
        if notes {
            self.noted = Instant::now();
        }
        Ok(())
    }

    /// Removes some rows of a shard whose replica has left.
    fn forget(&mut self, catalog: &Catalog) -> Result<(), Trouble> {
        if let Some(index) = self.parts.iter().position(|part| *part == Part::Leaves)
            && catalog.forget(ShardId(index as u32))?
        {
            self.parts[index] = Part::Gone;
        }
        Ok(())
    }

    /// The present, if a replica is up to date: what is taken of it from now on shows what was acknowledged a moment ago. One that catches up does
    /// not, and may be up to date by the time at which somebody asks.
    fn shows(&self, shard: ShardId) -> Option<Instant> {
        let now = Instant::now();
        self.fresh.is_fresh(shard).then_some(now)
    }

    /// Writes what has changed of a shard.
    fn follow(&mut self, catalog: &Catalog, shard: ShardId, noted: u64, notes: bool) -> Result<(), Trouble> {
        let group = &self.groups.shards()[shard.index()];
        let shows = self.shows(shard);
        let (changed, index) = group.read_with_index(|machine, index| (machine.take_changes(), index));
        let Changed::Links(keys) = changed else {
            self.parts[shard.index()] = Part::Waits;
            self.shared.set_incomplete(shard);
            return Ok(());
        };
        let position = (!keys.is_empty() || notes && index != noted).then_some(index);
        write_changes(catalog, group, shard, keys, position)?;
        self.parts[shard.index()] = Part::Follows { noted: position.unwrap_or(noted) };
        self.shared.set_reached(shard, Reached { complete: true, index, shows });
        Ok(())
    }

    /// Reads the next part of a shard that has to be read from its beginning.
    fn scan(&mut self, catalog: &Catalog) -> Result<(), Trouble> {
        let is_open = |index: &usize| !self.groups.shards()[*index].is_installing();
        let is_under_way = |part: &Part| matches!(part, Part::Scanned { .. } | Part::Cleared { .. });
        let under_way = self.parts.iter().position(is_under_way).filter(is_open);
        let next = under_way.or_else(|| {
            let waits = |index: &usize| self.parts[*index] == Part::Waits && is_open(index);
            (0..self.parts.len()).find(waits)
        });
        let Some(index) = next else { return Ok(()) };
        let (shard, group) = (ShardId(index as u32), self.groups.shards()[index].clone());
        let links = || group.read_in_turn(ShardMachine::links) as u64;
        if self.parts[index] == Part::Waits {
            self.begins_scan();
            // All that has changed before is read by the scan.
            group.read_in_turn(ShardMachine::take_changes);
            catalog.begin_scan(shard)?;
            self.metrics.scans.inc();
            self.parts[index] = Part::Scanned { next: 0, done: 0 };
            *self.shared.scan.lock() = Some(Scan { shard, done: 0, links: links() });
        }
        let until = Instant::now() + SCAN_STEP;
        loop {
            let shows = self.shows(shard);
            let (done, (step, read)) = match self.parts[index] {
                Part::Scanned { next, done } => (done, scan_step(catalog, &group, shard, next)?),
                Part::Cleared { done } => (done, (clear_step(catalog, &group, shard)?, 0)),
                _ => break,
            };
            self.metrics.scanned.inc_by(read);
            let done = done + read;
            self.parts[index] = match step {
                Step::GoesOn(next) => Part::Scanned { next, done },
                Step::Clears => Part::Cleared { done },
                Step::Again => Part::Waits,
                Step::Done(noted) => {
                    self.shared.set_reached(shard, Reached { complete: true, index: noted, shows });
                    Part::Follows { noted }
                }
            };
            *self.shared.scan.lock() = is_under_way(&self.parts[index]).then(|| Scan { shard, done, links: links() });
            self.tell_progress(read);
            if Instant::now() >= until || self.shared.stops() {
                break;
            }
        }
        Ok(())
    }

    fn begins_scan(&mut self) {
        if self.progress.is_none() {
            let now = Instant::now();
            let shards = self.parts.iter().filter(|part| **part == Part::Waits).count();
            tracing::info!(shards, "the catalog reads the links of shards that it does not have, or not completely");
            self.progress = Some(Progress { began: now, told: now, links: 0 });
        }
    }

    fn tell_progress(&mut self, read: u64) {
        let Some(progress) = &mut self.progress else { return };
        progress.links += read;
        let left = self.parts.iter().filter(|part| part.is_incomplete()).count();
        let (links, took_ms) = (progress.links, progress.began.elapsed().as_millis() as u64);
        if left == 0 {
            tracing::info!(links, took_ms, "the catalog has the links of all shards");
            self.progress = None;
        } else if progress.told.elapsed() >= PROGRESS_EVERY {
            progress.told = Instant::now();
            tracing::info!(links, took_ms, shards_left = left, "the catalog reads links");
        }
    }

    /// Writes some of the counts that have changed. Returns whether there may be more.
    fn write_counts(&self, catalog: &Catalog) -> Result<bool, Trouble> {
        let mut left = COUNTS_AT_ONCE;
        for (index, group) in self.groups.shards().iter().enumerate() {
            if !self.parts[index].is_complete() || group.is_installing() {
                continue;
            }
            let counts = group.read_in_turn(|machine| machine.take_counted(left));
            if counts.is_empty() {
                continue;
            }
            left = left.saturating_sub(counts.len());
            let batch = ShardBatch { counts, ..ShardBatch::of(ShardId(index as u32)) };
            if let Err(error) = catalog.write(&batch) {
                let keys = batch.counts.iter().map(|(key, _)| *key);
                group.read_in_turn(|machine| machine.put_back_counted(keys));
                return Err(error.into());
            }
            if left == 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn succeeded(&mut self) {
        if self.shared.catalog.read().is_none() {
            return;
        }
        if self.shared.failure.lock().take().is_some() {
            tracing::info!("the catalog works again");
        }
        self.retry.next = None;
        if self.progress.is_none() {
            self.retry.failures = 0;
        }
    }

    /// Closes the catalog, so that the next round opens it again.
    fn failed(&mut self, trouble: Trouble) {
        self.shared.set_all_incomplete();
        *self.shared.scan.lock() = None;
        *self.shared.sizes.lock() = Sizes::default();
        *self.shared.catalog.write() = None;
        self.progress = None;
        self.log_writer.forget();
        self.metrics.failures.inc();
        let (why, anew) = match trouble {
            Trouble::Catalog(error) => (error.to_string(), error.is_damage()),
            Trouble::Moved => ("its files were deleted or replaced while it was open".to_owned(), true),
            Trouble::Damage(what) => (what, true),
            Trouble::Store => ("the store has failed".to_owned(), false),
        };
        if anew && let Err(error) = self.place.remove() {
            tracing::debug!(%error, "the damaged catalog cannot be removed yet");
        }
        let pause = PAUSE_FIRST.saturating_mul(1 << self.retry.failures.min(10)).min(PAUSE_MAX);
        self.retry.failures = self.retry.failures.saturating_add(1);
        // The first time it is made anew at once.
        let pause = if anew && self.retry.failures == 1 { Duration::ZERO } else { pause };
        self.retry.next = Some(Instant::now() + pause);
        let mut failure = self.shared.failure.lock();
        if failure.as_ref() != Some(&why) {
            tracing::warn!(
                why,
                "the catalog of this node cannot be used; other nodes answer lists and searches, or these say what is missing. It is tried again"
            );
            *failure = Some(why);
        }
    }

    /// Writes what the shards have when nothing changes any more, and closes the catalog.
    fn last_round(&mut self) {
        let Some(catalog) = self.shared.catalog.read().clone() else { return };
        let until = Instant::now() + LAST_ROUND_MAX;
        let mut all = || -> Result<bool, Trouble> {
            self.follow_all(&catalog, true)?;
            while self.write_counts(&catalog)? {
                if Instant::now() >= until {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        let has_all = all();
        *self.shared.catalog.write() = None;
        drop(catalog);
        match has_all {
            Ok(true) => self.place.note_closed(),
            Ok(false) => {}
            Err(trouble) => self.failed(trouble),
        }
    }
}
