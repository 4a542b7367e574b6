//! The visits of a shard's links: counting batches of them once, and what is asked about them.

use waypost_protocol::clicks::{ClickBatch, HOUR_MS, Orphan};
use waypost_protocol::command::{RecordClicksOutcome, ResetStatsOutcome};
use waypost_protocol::link::Visits;
use waypost_protocol::{Level, LinkKey, NodeId, UnixMs};

use super::shard::ShardMachine;
use super::stats;
use crate::StoreError;

/// The visits of a slot.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SlotVisits {
    pub(super) visits: Visits,
    /// Grows when the link is removed or its statistics are reset: what was stored before belongs to another life.
    pub(super) epoch: u32,
}

/// Pages of visits that have changed: a bit each, since every click sets one.
#[derive(Default)]
pub(super) struct DirtyPages {
    bits: Vec<u64>,
    pub(super) count: usize,
}

impl DirtyPages {
    pub(super) fn insert(&mut self, page: u32) {
        let (word, bit) = (page as usize / 64, 1 << (page % 64));
        if self.bits.len() <= word {
            self.bits.resize(word + 1, 0);
        }
        self.count += usize::from(self.bits[word] & bit == 0);
        self.bits[word] |= bit;
    }

    /// All of them, in order; none are left.
    pub(super) fn take(&mut self) -> Vec<u32> {
        let Self { bits, .. } = std::mem::take(self);
        let of = |(word, bits): (usize, u64)| {
            (0..64).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| word as u32 * 64 + bit)
        };
        bits.into_iter().enumerate().flat_map(of).collect()
    }
}

/// Journals whose positions are kept at level 0. Each start of a node makes one for each worker; those that were not heard of longest go
/// first, and what is left of them is counted again. Since level 1 none goes that may be heard of again.
const JOURNALS_MAX: usize = 512;

impl ShardMachine {
    pub(super) fn record_clicks(&mut self, clicks: &ClickBatch) -> RecordClicksOutcome {
        let reached = |journal: u64| {
            let position = self.positions.get(clicks.node, journal);
            position.or_else(|| self.meta.journals.get(&journal).map(|(position, _)| *position)).unwrap_or(0)
        };
        if clicks.spans.iter().all(|span| reached(span.journal) == span.upto) {
            return RecordClicksOutcome::Done;
        }
        if clicks.spans.iter().any(|span| reached(span.journal) != span.from) {
            return RecordClicksOutcome::ClicksOutOfStep(
                clicks.spans.iter().map(|span| (span.journal, reached(span.journal))).collect(),
            );
        }
        let now = self.meta.applied_at;
        if self.level >= Level::ONE {
            // They wait in their journals until the node says of others that they have ended.
            if !self.positions.has_room(clicks.node, clicks.spans.iter().map(|span| span.journal)) {
                return RecordClicksOutcome::ClicksOutOfStep(
                    clicks.spans.iter().map(|span| (span.journal, span.from)).collect(),
                );
            }
            for span in &clicks.spans {
                self.meta.journals.remove(&span.journal);
                self.positions.set(clicks.node, span.journal, span.upto, now);
            }
        } else {
            self.note_positions(clicks, now);
        }
        let strings = self.recents.strings(&clicks.strings, &clicks.deltas);
        for delta in &clicks.deltas {
            // An hour that is not near the leader's own cannot be right: a clock has jumped. It counts, under the hour that is now.
            let present = hour_of(now);
            let near = delta.hour.abs_diff(present) <= 24 * stats::HOURS_KEPT_DAYS && delta.hour <= present + 24;
            let hour = if near { delta.hour } else { present };
            let counts = stats::counts(delta);
            self.meta.total.merge(counts);
            if self.meta.first_day == 0 || hour / 24 < self.meta.first_day {
                self.meta.first_day = hour / 24;
            }
            let slot = self.index.by_key(delta.link.0).next();
            let place = slot.map(|slot| (slot, self.visits[slot as usize].epoch));
            self.recents.add(place, hour, delta, &strings);
            let Some(slot) = slot else { continue };
            let visits = &mut self.visits[slot as usize].visits;
            visits.total = visits.total.saturating_add(counts.people);
            visits.bots = visits.bots.saturating_add(counts.bots);
            // Also of a clock that has jumped ahead. Since level 1 a time that one has left is corrected by the next visit.
            let latest = now.saturating_add_ms(HOUR_MS);
            let before = if self.level >= Level::ONE { visits.last.min(latest) } else { visits.last };
            visits.last = before.max(delta.last.min(latest));
            self.dirty_visits.insert(super::checkpoint::visits_page(slot));
        }
        for orphan in &clicks.orphans {
            self.orphans.add(orphan, &clicks.strings, now, self.level);
        }
        RecordClicksOutcome::Done
    }

    /// Notes how far the clicks of journals were counted, as level 0 does.
    fn note_positions(&mut self, clicks: &ClickBatch, now: UnixMs) {
        for span in &clicks.spans {
            self.meta.journals.insert(span.journal, (span.upto, now));
        }
        while self.meta.journals.len() > JOURNALS_MAX {
            let oldest = self.meta.journals.iter().min_by_key(|(journal, (_, heard))| (*heard, **journal));
            let oldest = oldest.map(|(journal, _)| *journal).expect("invariant: there are more than JOURNALS_MAX");
            self.meta.journals.remove(&oldest);
        }
    }

    /// Journals of nodes that are gone for good and of which nothing was heard since `before`, at most `max`: their positions can be
    /// forgotten.
    pub fn journals_left_behind(&self, gone: impl Fn(NodeId) -> bool, before: UnixMs, max: usize) -> Vec<u64> {
        self.positions.left_behind(gone, before, max)
    }

    pub(super) fn forget_visits(&mut self, slot: u32) {
        let visits = &mut self.visits[slot as usize];
        *visits = SlotVisits { visits: Visits::default(), epoch: visits.epoch.wrapping_add(1) };
        // What is stored of it goes with the next checkpoints.
        self.meta.sweep = self.meta.first_day;
        self.dirty_visits.insert(super::checkpoint::visits_page(slot));
    }

    pub(super) fn reset_stats(&mut self, key: &LinkKey) -> Result<ResetStatsOutcome, StoreError> {
        let Some((slot, link)) = self.find(key)? else { return Ok(ResetStatsOutcome::NotFound) };
        self.forget_visits(slot);
        Ok(ResetStatsOutcome::Edited(Box::new((*link).clone())))
    }

    /// Visits to what is no link.
    pub fn orphans(&self) -> Vec<Orphan> {
        self.orphans.list(self.meta.applied_at)
    }
}

fn hour_of(at: UnixMs) -> u32 {
    (at.0 / HOUR_MS) as u32
}
