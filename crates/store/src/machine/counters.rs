//! The counters of a shard: visits and statistics of its links, and how far the clicks of journals were counted.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use waypost_protocol::clicks::{ClickBatch, Counts, HOUR_MS, Orphan};
use waypost_protocol::command::RecordClicksOutcome;
use waypost_protocol::link::Visits;
use waypost_protocol::{Level, NodeId, UnixMs};

use super::changed_days::ChangedDays;
use super::number_set::NumberSet;
use super::orphans::Orphans;
use super::positions::Positions;
use super::record::{decode, encode, number_of, numbered, open_record, seal_record};
use super::shard_records::{JournalPosition, ShardMeta};
use super::stats::{self, HOURS_KEPT_DAYS, Recents};
use super::stats_page;
use super::turns::Turns;
use super::visits::{SlotVisits, SlotsVisits};
use crate::{Batch, StoreError, Tree};

const VISITS_PREFIX: u8 = b'v';

/// The number of slots that share a record of visits: 256 of at most 35 bytes stay near the size of a block.
const VISITS_PER_PAGE: u32 = 256;

/// The number of days from which one checkpoint removes remains of deleted links.
const SWEEP_DAYS: usize = 8;

/// The weight of a changed page of visits, which takes no memory until a checkpoint writes it: so that a checkpoint of the usual 1 MiB writes eight thousand
/// at most, of two million links. They make a batch of tens of megabytes, and nobody reads the database for a tenth of a second or more while it is written. But with more
/// weight each checkpoint of so many links would write a page for nearly each visit.
const VISITS_PAGE_WEIGHT: u64 = 128;

/// Journals whose positions are kept at level 0. Each start of a node makes one for each worker; those that were not heard of longest go
/// first, and what is left of them is counted again. Since level 1 none goes that may be heard of again.
const JOURNALS_MAX: usize = 512;

/// The visits of a slot, as they are stored.
#[derive(Serialize, Deserialize)]
struct StoredVisits {
    total: u64,
    bots: u64,
    last: UnixMs,
    epoch: u32,
}

/// What [`Counters::prepare`] has prepared.
pub struct CountersPrepared {
    /// Records of visits and statistics.
    pub(super) batch: Batch,
    /// What else is true once they are written.
    pub(super) then: CountersThen,
}

/// What changes with the records that [`Counters::prepare`] has made.
pub(super) struct CountersThen {
    /// The days whose statistics they change.
    days: BTreeSet<u32>,
    folded: u32,
    sweep: u32,
}

/// The counters of a shard.
pub(super) struct Counters {
    tree: Tree,
    /// By slot; as long as the index of links has slots.
    pub(super) visits: SlotsVisits,
    /// Pages of visits that have changed.
    dirty: NumberSet,
    /// Statistics of visits since the last checkpoint.
    pub(super) recents: Recents,
    /// Days of which a checkpoint has written the statistics.
    pub(super) changed_days: ChangedDays,
    orphans: Orphans,
    /// How far the clicks of journals were counted, since level 1.
    positions: Positions,
    /// See [`ShardMeta::journals`].
    journals: BTreeMap<u64, JournalPosition>,
    /// See [`ShardMeta::folded`].
    folded: u32,
    /// See [`ShardMeta::first_day`].
    pub(super) first_day: u32,
    /// See [`ShardMeta::sweep`].
    sweep: u32,
    /// See [`ShardMeta::total`].
    pub(super) total: Counts,
}

impl Counters {
    /// Reads the counters of `slots` slots from a tree.
    ///
    /// # Errors
    /// When a record is damaged.
    pub(super) fn read(tree: Tree, slots: usize, meta: ShardMeta) -> Result<Self, StoreError> {
        let ShardMeta { applied_at: _, journals, folded, first_day, sweep, total } = meta;
        Ok(Self {
            visits: read_visits(&tree, slots)?,
            dirty: NumberSet::default(),
            recents: Recents::default(),
            changed_days: ChangedDays::default(),
            orphans: Orphans::open(&tree)?,
            positions: Positions::open(&tree)?,
            tree,
            journals,
            folded,
            first_day,
            sweep,
            total,
        })
    }

    /// What a checkpoint stores of them in the record `m`.
    pub(super) fn meta(&self, applied_at: UnixMs) -> ShardMeta {
        let Self { journals, folded, first_day, sweep, total, .. } = self;
        ShardMeta {
            applied_at,
            journals: journals.clone(),
            folded: *folded,
            first_day: *first_day,
            sweep: *sweep,
            total: *total,
        }
    }

    /// The visits of a slot.
    pub(super) fn of(&self, slot: u32) -> SlotVisits {
        self.visits.at(slot)
    }

    /// The slots that were ever visited; perhaps also such whose link is gone.
    pub(super) fn visited(&self) -> impl Iterator<Item = u32> + '_ {
        let visited = |of: &SlotVisits| of.visits.total > 0 || of.visits.bots > 0;
        self.visits.iter().zip(0..).filter(move |(of, _)| visited(of)).map(|(_, slot)| slot)
    }

    /// The epoch of a slot, if there is such a slot.
    pub(super) fn epoch(&self, slot: u32) -> Option<u32> {
        self.visits.epoch(slot)
    }

    /// Makes room for so many slots.
    pub(super) fn cover(&mut self, slots: usize) {
        self.visits.cover(slots);
    }

    /// Counts a batch of visits. Calls `counted` with each slot whose visits have changed.
    pub(super) fn record_clicks(
        &mut self,
        clicks: &ClickBatch,
        now: UnixMs,
        level: Level,
        slots_of: impl FnOnce() -> Vec<Option<u32>>,
        mut counted: impl FnMut(u32),
    ) -> RecordClicksOutcome {
        let reached = |journal: u64| {
            let position = self.positions.get(clicks.node, journal);
            position.or_else(|| self.journals.get(&journal).map(|at| at.position)).unwrap_or(0)
        };
        if clicks.spans.iter().all(|span| reached(span.journal) == span.upto) {
            return RecordClicksOutcome::Done;
        }
        if clicks.spans.iter().any(|span| reached(span.journal) != span.from) {
            return RecordClicksOutcome::ClicksOutOfStep(
                clicks.spans.iter().map(|span| (span.journal, reached(span.journal))).collect(),
            );
        }
        if level >= Level::ONE {
            // They wait in their journals until the node says of others that they have ended.
            if !self.positions.has_room(clicks.node, clicks.spans.iter().map(|span| span.journal)) {
                return RecordClicksOutcome::ClicksOutOfStep(
                    clicks.spans.iter().map(|span| (span.journal, span.from)).collect(),
                );
            }
            for span in &clicks.spans {
                self.journals.remove(&span.journal);
                self.positions.set(clicks.node, span.journal, span.upto, now);
            }
        } else {
            self.note_positions(clicks, now);
        }
        let strings = self.recents.strings(&clicks.strings, &clicks.deltas);
        // First all look-ups, then the visits of all slots: each waits for memory, and in short loops many wait at the same time.
        let place = |slot: u32| (slot, self.visits.epoch(slot).unwrap_or_default());
        let places: Vec<Option<(u32, u32)>> = slots_of().into_iter().map(|slot| slot.map(place)).collect();
        let present = hour_of(now);
        for (delta, place) in clicks.deltas.iter().zip(places) {
            // An hour that is not near the leader's own cannot be right: a clock has jumped. It counts, under the hour that is now.
            let near = delta.hour.abs_diff(present) <= 24 * stats::HOURS_KEPT_DAYS && delta.hour <= present + 24;
            let hour = if near { delta.hour } else { present };
            let counts = stats::counts(delta);
            self.total.merge(counts);
            if self.first_day == 0 || hour / 24 < self.first_day {
                self.first_day = hour / 24;
            }
            self.recents.add(place, hour, delta, &strings);
            let Some((slot, _)) = place else { continue };
            let mut of = self.visits.at(slot);
            let visits = &mut of.visits;
            visits.total = visits.total.saturating_add(counts.people);
            visits.bots = visits.bots.saturating_add(counts.bots);
            // Also of a clock that has jumped ahead. Since level 1 a time that one has left is corrected by the next visit.
            let latest = now.saturating_add_ms(HOUR_MS);
            let before = if level >= Level::ONE { visits.last.min(latest) } else { visits.last };
            visits.last = before.max(delta.last.min(latest));
            self.visits.set(slot, of);
            self.dirty.insert(visits_page(slot));
            counted(slot);
        }
        for orphan in &clicks.orphans {
            self.orphans.add(orphan, &clicks.strings, now, level);
        }
        RecordClicksOutcome::Done
    }

    /// Notes how far the clicks of journals were counted, as level 0 does.
    fn note_positions(&mut self, clicks: &ClickBatch, now: UnixMs) {
        for span in &clicks.spans {
            self.journals.insert(span.journal, JournalPosition { position: span.upto, heard: now });
        }
        while self.journals.len() > JOURNALS_MAX {
            let oldest = self.journals.iter().min_by_key(|(journal, at)| (at.heard, **journal));
            let oldest = oldest.map(|(journal, _)| *journal).expect("invariant: there are more than JOURNALS_MAX");
            self.journals.remove(&oldest);
        }
    }

    /// Forgets the positions of journals that have ended.
    pub(super) fn end_journals(&mut self, ended: &[u64]) {
        self.positions.end(ended);
        self.journals.retain(|journal, _| !ended.contains(journal));
    }

    /// See `ShardMachine::journals_left_behind`.
    pub(super) fn left_behind(&self, gone: impl Fn(NodeId) -> bool, before: UnixMs, max: usize) -> Vec<u64> {
        self.positions.left_behind(gone, before, max)
    }

    /// Forgets the visits of a slot.
    pub(super) fn forget(&mut self, slot: u32) {
        let epoch = self.visits.at(slot).epoch.wrapping_add(1);
        self.visits.set(slot, SlotVisits { visits: Visits::default(), epoch });
        // What is stored of it goes with the next checkpoints.
        self.sweep = self.first_day;
        self.dirty.insert(visits_page(slot));
    }

    /// Orphan visits.
    pub(super) fn orphans(&self, now: UnixMs) -> Vec<Orphan> {
        self.orphans.list(now)
    }

    /// About how many bytes of memory the visits take: all of them, and those since the last checkpoint.
    pub(super) fn memory(&self) -> u64 {
        self.visits.bytes() as u64 + self.recents.bytes()
    }

    /// About how many bytes [`Counters::prepare`] and [`Counters::write`] have to write.
    pub(super) fn pending_bytes(&self) -> u64 {
        self.dirty.count as u64 * VISITS_PAGE_WEIGHT + self.recents.pending_bytes() + self.positions.pending_bytes()
    }

    /// Prepares a checkpoint: makes the records of visits that have changed since the last one, merges their statistics, makes days of old hours, and removes
    /// the remains of deleted links. Where links are visited that is nearly all of the work. `now` is the time by which hours become days; `None` = it is in doubt.
    ///
    /// # Errors
    /// When a record cannot be read or is damaged.
    pub(super) fn prepare(&self, applied_at: UnixMs, now: Option<UnixMs>) -> Result<CountersPrepared, StoreError> {
        let (mut batch, mut turns) = (Batch::default(), Turns::default());
        for page in self.dirty.iter() {
            turns.give_way();
            let slots = page * VISITS_PER_PAGE..=page * VISITS_PER_PAGE + (VISITS_PER_PAGE - 1);
            let stored = |of: SlotVisits| {
                let Visits { total, bots, last } = of.visits;
                StoredVisits { total, bots, last, epoch: of.epoch }
            };
            let visits: Vec<StoredVisits> = slots.map_while(|slot| self.visits.get(slot)).map(stored).collect();
            let key = numbered(VISITS_PREFIX, page);
            batch.insert(&key, seal_record(&self.tree, &key, &encode(&visits)));
        }
        let written = self.recents.merge(&self.tree, &mut batch, &|slot| self.epoch(slot))?;
        let then = self.clean(written, &mut batch, applied_at, now)?;
        Ok(CountersPrepared { batch, then })
    }

    /// Makes days of old hours, and removes the remains of deleted links. The batch has records of the days `written`.
    fn clean(
        &self,
        written: BTreeSet<u32>,
        batch: &mut Batch,
        applied_at: UnixMs,
        now: Option<UnixMs>,
    ) -> Result<CountersThen, StoreError> {
        let epochs = |slot: u32| self.epoch(slot);
        // A record must not be written twice in one batch: the days that it has already are left for the next checkpoint.
        let mut then = CountersThen { days: written, folded: self.folded, sweep: self.sweep };
        let today = (applied_at.0 / HOUR_MS / 24) as u32;
        // Hours are kept for a limited time. One checkpoint folds one day; a node that was away for long folds several, one in each
        // checkpoint.
        // While the time is in doubt nothing is folded.
        let oldest = now.map_or(0, |now| (now.0 / HOUR_MS / 24) as u32).saturating_sub(HOURS_KEPT_DAYS);
        let fold = self.folded.max(self.first_day).max(oldest.saturating_sub(2 * HOURS_KEPT_DAYS));
        if fold < oldest && self.first_day > 0 && !then.days.contains(&fold) {
            stats_page::clean(&self.tree, batch, fold, &epochs, true)?;
            then.folded = fold + 1;
            then.days.insert(fold);
        }
        // Removes the remains of deleted links, some days at a time.
        for _ in 0..SWEEP_DAYS {
            let day = then.sweep;
            if day > today || day == 0 {
                then.sweep = u32::MAX;
                break;
            }
            if then.days.contains(&day) {
                // Merging and folding remove dead fragments, but not separate sketches.
                if day < today {
                    break;
                }
                then.sweep = u32::MAX;
                break;
            }
            stats_page::clean(&self.tree, batch, day, &epochs, false)?;
            then.sweep = day + 1;
            then.days.insert(day);
        }
        Ok(then)
    }

    /// Adds to the records that were prepared all else that has changed since the last checkpoint.
    pub(super) fn write(&mut self, then: CountersThen, batch: &mut Batch) {
        let CountersThen { days, folded, sweep } = then;
        (self.folded, self.sweep) = (folded, sweep);
        self.changed_days.add(days);
        self.dirty = NumberSet::default();
        self.recents = Recents::default();
        self.positions.write(&self.tree, batch);
        self.orphans.write(&self.tree, batch);
    }
}

fn read_visits(tree: &Tree, slots: usize) -> Result<SlotsVisits, StoreError> {
    let mut visits = SlotsVisits::of(slots);
    for entry in tree.scan_prefix(&[VISITS_PREFIX]) {
        let (key, value) = entry?;
        let page: Vec<StoredVisits> = decode("visits", open_record(tree, &key, &value)?)?;
        let first = number_of(&key).saturating_mul(VISITS_PER_PAGE);
        for (slot, StoredVisits { total, bots, last, epoch }) in (first..).zip(page) {
            // Also for free slots at the end of the index: the next link in such a slot must not get another link's statistics.
            if epoch > 0 {
                visits.cover(slot as usize + 1);
            }
            visits.set(slot, SlotVisits { visits: Visits { total, bots, last }, epoch });
        }
    }
    Ok(visits)
}

/// The page of a slot.
fn visits_page(slot: u32) -> u32 {
    slot / VISITS_PER_PAGE
}

fn hour_of(at: UnixMs) -> u32 {
    (at.0 / HOUR_MS) as u32
}
