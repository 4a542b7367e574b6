//! Visits on their way to the shards: pure bookkeeping, no actor.
//!
//! Visits that are read from the journals are gathered into batches by shard. A batch states its range of positions in each journal, and is
//! sent until it is answered. If an earlier process of this node had reached other positions, the shard answers them, and the rest is
//! gathered again. A journal may be released up to the position that every shard has counted or has in its spill.
//!
//! Each shard has room for some batches. A shard that accepts none for long (it is *stalled*) does not block the others: reading the
//! journals goes on, and its visits are skipped, to be read again when it has room. A shard that is merely slow is waited for.

use std::collections::BTreeSet;
use std::sync::Arc;

use waypost_protocol::clicks::ClickBatch;
use waypost_protocol::digest::fingerprint;
use waypost_protocol::{KeyHash, NodeId, ShardId};

use crate::gather::{ByHash, Open};
use crate::shard_queue::{Batch, ShardQueue};
use crate::visit::Visit;

/// The most batches, of about 15 KB, that may wait for all shards together: it bounds their memory.
const BATCHES_MAX: usize = 640;

/// The least number of batches that may wait for one shard: as many as one call carries.
const OF_SHARD_MIN: usize = 16;

/// The most batches that may wait for one shard; more would not be sent faster.
const OF_SHARD_MAX: usize = 80;

/// The visits that wait for each shard.
pub struct Outbox {
    node: NodeId,
    shards: Vec<ShardQueue>,
    of_shard_max: usize,
}

impl Outbox {
    /// An outbox without visits.
    pub fn new(node: NodeId, shards: u32) -> Self {
        let shards: Vec<ShardQueue> = (0..shards.max(1)).map(|_| ShardQueue::default()).collect();
        let of_shard_max = (BATCHES_MAX / shards.len()).clamp(OF_SHARD_MIN, OF_SHARD_MAX);
        Self { node, shards, of_shard_max }
    }

    /// The shard of a visit.
    pub(crate) fn shard_of(&self, visit: &Visit, text: &[u8]) -> ShardId {
        // A path without a link always belongs to the same shard, so that it is counted once.
        let hash = visit.link.unwrap_or_else(|| KeyHash(fingerprint(&[text])));
        hash.shard(self.shards.len() as u32)
    }

    /// Adds a journal that was released up to `released` at the start.
    pub fn begin(&mut self, journal: u64, released: u64) {
        for shard in &mut self.shards {
            // The visits in the spill come first.
            if !shard.spilled.contains_key(&journal) {
                shard.start_at(journal, released);
            }
        }
    }

    /// At the start: a shard has visits of these journals, up to these positions, in its spill.
    pub(crate) fn begin_spilled(&mut self, shard: ShardId, visits: u64, journals: impl Iterator<Item = (u64, u64)>) {
        let shard = &mut self.shards[shard.index()];
        shard.skipped += visits;
        for (journal, upto) in journals {
            // The shard answers its position when it is asked.
            shard.start_at(journal, 0);
            shard.spilled.insert(journal, upto);
            shard.behind.insert(journal, 0);
        }
    }

    /// Keeps only these journals; others are needed at most for visits in a spill.
    pub(crate) fn keep(&mut self, journals: &BTreeSet<u64>) {
        for ShardQueue { next, added, counted, behind, spilled, .. } in &mut self.shards {
            let kept = |journal: &u64| journals.contains(journal) || spilled.contains_key(journal);
            [next, added, counted, behind].into_iter().for_each(|of| of.retain(|journal, _| kept(journal)));
        }
    }

    /// Adds a visit that lies between two positions of its journal, unless it was added before. It is skipped if the shard has no room
    /// or, with `only`, if it is for another shard. Returns whether it was added now.
    pub fn add(
        &mut self,
        journal: u64,
        (start, position): (u64, u64),
        visit: &Visit,
        text: &[u8],
        only: Option<ShardId>,
    ) -> bool {
        let index = self.shard_of(visit, text);
        if only.is_some_and(|only| only != index) {
            return false;
        }
        let room = self.of_shard_max;
        let shard = &mut self.shards[index.index()];
        if position <= shard.added.get(&journal).copied().unwrap_or(0) {
            return false;
        }
        if shard.behind.contains_key(&journal) || shard.closed.len() >= room {
            shard.behind.entry(journal).or_insert(start);
            shard.skipped += u64::from(only.is_none());
            return false;
        }
        let next = || shard.next.get(&journal).copied().unwrap_or(0);
        shard.open.span(journal, next, position);
        shard.open.add(visit, text);
        shard.added.insert(journal, position);
        if shard.open.is_full() {
            shard.close(self.node);
        }
        true
    }

    /// The batches to send to a shard now, at most `max`: the same ones until they are answered, and perhaps more.
    pub fn next(&mut self, shard: ShardId, max: usize) -> Vec<Arc<ClickBatch>> {
        let waiting = &mut self.shards[shard.index()];
        if waiting.closed.len() < max {
            waiting.close(self.node);
        }
        waiting.closed.iter().take(max).map(|batch| batch.batch.clone()).collect()
    }

    /// The shard has counted the first batch. Returns the number of its visits.
    pub fn delivered(&mut self, shard: ShardId) -> u64 {
        let waiting = &mut self.shards[shard.index()];
        waiting.stalled = false;
        let Some(Batch { batch, visits }) = waiting.closed.pop_front() else { return 0 };
        for span in &batch.spans {
            waiting.counted.insert(span.journal, span.upto);
        }
        visits
    }

    /// The shard has counted these journals up to other positions: nothing waits for it any more, and its other visits
    /// have to be read again. See `Outbox::read_again`.
    pub fn start_again(&mut self, shard: ShardId, reached: &[(u64, u64)]) {
        let waiting = &mut self.shards[shard.index()];
        waiting.skipped += waiting.waiting();
        waiting.closed.clear();
        waiting.open = Open::default();
        waiting.counted.extend(reached.iter().copied());
        waiting.next = waiting.counted.clone();
        waiting.added = waiting.counted.clone();
        waiting.behind = waiting.counted.clone();
    }

    /// For a shard with skipped visits that has room: the position from which each journal has to be read again. Visits that do not fit are
    /// skipped again.
    pub(crate) fn read_again(&mut self, shard: ShardId) -> Option<ByHash<u64, u64>> {
        let room = self.of_shard_max / 2;
        let waiting = &mut self.shards[shard.index()];
        (!waiting.behind.is_empty() && waiting.closed.len() <= room).then(|| std::mem::take(&mut waiting.behind))
    }

    /// Counts what reading again has added.
    pub(crate) fn has_read_again(&mut self, shard: ShardId, added: u64) {
        let waiting = &mut self.shards[shard.index()];
        waiting.skipped = if waiting.behind.is_empty() { 0 } else { waiting.skipped.saturating_sub(added) };
    }

    /// Whether visits in a shard's spill were skipped, so that they have to be read before others.
    pub(crate) fn is_behind(&self, shard: ShardId, journal: u64) -> bool {
        self.shards[shard.index()].behind.contains_key(&journal)
    }

    /// Postpones reading the rest of the spill, because there is no room.
    pub(crate) fn stay_behind(&mut self, shard: ShardId, journals: impl Iterator<Item = u64>) {
        let behind = &mut self.shards[shard.index()].behind;
        for journal in journals {
            behind.entry(journal).or_insert(0);
        }
    }

    /// Sets whether a shard is stalled. Reading does not wait for a stalled shard.
    pub(crate) fn set_stalled(&mut self, shard: ShardId, stalled: bool) {
        self.shards[shard.index()].stalled = stalled;
    }

    /// The position up to which a journal, which was read up to `read`, can be released.
    pub fn released(&self, journal: u64, read: u64) -> u64 {
        self.shards.iter().map(|shard| shard.released(journal, read)).min().unwrap_or(read)
    }

    /// The stalled shards that block the release of a journal, each with the position up to which it needs nothing.
    pub(crate) fn holding_back(&self, journal: u64, read: u64) -> Vec<(ShardId, u64)> {
        let of = |(index, shard): (usize, &ShardQueue)| {
            let released = shard.released(journal, read);
            (shard.stalled && released < read).then_some((ShardId(index as u32), released))
        };
        self.shards.iter().enumerate().filter_map(of).collect()
    }

    /// The visits of a shard up to a position of a journal are in its spill now.
    pub(crate) fn spilled(&mut self, shard: ShardId, journal: u64, upto: u64) {
        self.shards[shard.index()].spilled.insert(journal, upto);
    }

    /// The position up to which visits of a journal were added for a shard.
    pub(crate) fn added(&self, shard: ShardId, journal: u64) -> u64 {
        self.shards[shard.index()].added.get(&journal).copied().unwrap_or(0)
    }

    /// Gives up the visits of a shard up to a position of a journal; so many of them are not in memory either.
    pub(crate) fn give_up(&mut self, shard: ShardId, journal: u64, upto: u64, visits: u64) {
        let shard = &mut self.shards[shard.index()];
        shard.spilled.insert(journal, upto);
        shard.skipped = shard.skipped.saturating_sub(visits);
        if let Some(from) = shard.behind.get_mut(&journal) {
            *from = upto.max(*from);
        }
    }

    /// Whether a shard has counted everything up to these positions, so that its spill is not needed any more.
    pub(crate) fn has_counted(&self, shard: ShardId, mut upto: impl Iterator<Item = (u64, u64)>) -> bool {
        let shard = &self.shards[shard.index()];
        upto.all(|(journal, position)| shard.counted.get(&journal).is_some_and(|counted| *counted >= position))
    }

    /// Whether visits of a journal are in a spill.
    pub(crate) fn is_spilled(&self, journal: u64) -> bool {
        self.shards.iter().any(|shard| shard.spilled.contains_key(&journal))
    }

    /// The spill of a shard was deleted.
    pub(crate) fn end_spill(&mut self, shard: ShardId) {
        self.shards[shard.index()].spilled.clear();
    }

    /// Whether more should be read from the journals: a shard that is full and not stalled is waited for.
    pub fn has_room(&self) -> bool {
        let full = |shard: &ShardQueue| shard.closed.len() >= self.of_shard_max;
        self.shards.iter().all(|shard| !full(shard) || shard.stalled) && !self.shards.iter().all(full)
    }

    /// Whether all shards are stalled.
    pub(crate) fn all_stalled(&self) -> bool {
        self.shards.iter().all(|shard| shard.stalled)
    }

    /// The number of visits that no shard has acknowledged yet.
    pub fn waiting(&self) -> u64 {
        self.shards.iter().map(|shard| shard.waiting() + shard.skipped).sum()
    }

    /// The shards with waiting visits.
    pub fn busy(&self) -> Vec<ShardId> {
        (0..self.shards.len() as u32).map(ShardId).filter(|shard| self.is_busy(*shard)).collect()
    }

    /// Whether visits wait for a shard.
    pub fn is_busy(&self, shard: ShardId) -> bool {
        let shard = &self.shards[shard.index()];
        shard.open.visits > 0 || !shard.closed.is_empty() || !shard.behind.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use waypost_protocol::UnixMs;
    use waypost_protocol::clicks::JournalSpan;
    use waypost_protocol::sketch::Register;

    use super::*;
    use crate::agent::Agent;

    fn visit(link: u64, at: u64) -> Visit {
        Visit {
            link: Some(KeyHash(link)),
            at: UnixMs(at),
            agent: Agent::default(),
            country: [0; 2],
            language: [0; 2],
            visitor: Some(Register::of(link)),
        }
    }

    fn outbox() -> Outbox {
        let mut outbox = Outbox::new(NodeId(1), 1);
        outbox.begin(7, 0);
        outbox
    }

    const SHARD: ShardId = ShardId(0);

    fn next(outbox: &mut Outbox) -> Arc<ClickBatch> {
        outbox.next(SHARD, 1).pop().unwrap()
    }

    fn visits(batch: &ClickBatch) -> u32 {
        batch.deltas.iter().flat_map(|delta| &delta.tallies).map(|tally| tally.count).sum()
    }

    #[test]
    fn visits_of_a_link_are_added_up_with_the_time_of_the_last() {
        let mut outbox = outbox();
        for (position, at) in [(1, 5), (2, 9), (3, 7)] {
            outbox.add(7, (position - 1, position), &visit(7, at), b"", None);
        }
        let batch = next(&mut outbox);
        assert_eq!(batch.spans, [JournalSpan { journal: 7, from: 0, upto: 3 }]);
        assert_eq!((batch.deltas.len(), visits(&batch), batch.deltas[0].last), (1, 3, UnixMs(9)));
        assert_eq!(batch.deltas[0].visitors.len(), 1);
    }

    #[test]
    fn links_that_share_a_place_are_counted_once_each_and_a_third_one_in_several_parts() {
        let mut outbox = outbox();
        // The lowest bits are the same, and in the first two also those by which links are told apart.
        let links = [5, 5 + (1 << 40), 5 + (1 << 20)];
        for (position, link) in (1..).zip([0, 1, 0, 1, 0, 1].map(|at| links[at])) {
            outbox.add(7, (position - 1, position), &visit(link, position), b"", None);
        }
        let batch = next(&mut outbox);
        let found: Vec<(u64, u32)> = batch.deltas.iter().map(|of| (of.link.0, of.tallies[0].count)).collect();
        assert_eq!(found, [(links[0], 3), (links[1], 3)]);
        outbox.delivered(SHARD);
        for (position, link) in (7..).zip([0, 1, 2, 0, 1, 2].map(|at| links[at])) {
            outbox.add(7, (position - 1, position), &visit(link, position), b"", None);
        }
        let batch = next(&mut outbox);
        assert_eq!(visits(&batch), 6);
        for link in links {
            let of: Vec<u32> =
                batch.deltas.iter().filter(|of| of.link.0 == link).map(|of| of.tallies[0].count).collect();
            assert_eq!(of, [1, 1]);
        }
    }

    #[test]
    fn a_batch_keeps_its_content_until_it_is_delivered_and_the_next_begins_where_it_ends() {
        let mut outbox = outbox();
        outbox.add(7, (0, 1), &visit(1, 1), b"", None);
        let first = next(&mut outbox);
        outbox.add(7, (1, 4), &visit(2, 2), b"", None);
        assert_eq!(next(&mut outbox), first);
        assert_eq!(outbox.released(7, 4), 0, "nothing was counted yet");
        assert_eq!(outbox.delivered(SHARD), 1);
        assert_eq!(outbox.released(7, 4), 1);
        let second = next(&mut outbox);
        assert_eq!(second.spans, [JournalSpan { journal: 7, from: 1, upto: 4 }]);
        assert_eq!(outbox.delivered(SHARD), 1);
        assert_eq!((outbox.released(7, 9), outbox.waiting()), (9, 0));
    }

    #[test]
    fn a_shard_that_was_reached_before_gets_only_the_rest() {
        let mut outbox = outbox();
        for position in 1..=10 {
            outbox.add(7, (position - 1, position), &visit(position, 1), b"", None);
        }
        next(&mut outbox);
        outbox.start_again(SHARD, &[(7, 6)]);
        assert_eq!(outbox.waiting(), 10, "as far as is known");
        assert_eq!(outbox.read_again(SHARD).unwrap()[&7], 6);
        let mut added = 0;
        for position in 1..=10 {
            added += u64::from(outbox.add(7, (position - 1, position), &visit(position, 1), b"", Some(SHARD)));
        }
        outbox.has_read_again(SHARD, added);
        assert_eq!(outbox.waiting(), 4);
        let batch = next(&mut outbox);
        assert_eq!((batch.spans[0].from, batch.spans[0].upto, visits(&batch)), (6, 10, 4));
    }

    #[test]
    fn a_shard_that_is_full_is_waited_for_unless_it_is_stalled() {
        let mut outbox = Outbox::new(NodeId(1), 2);
        outbox.begin(7, 0);
        let link = |shard: u32| {
            (1u64..)
                .map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15))
                .find(|n| KeyHash(*n).shard(2) == ShardId(shard))
                .unwrap()
        };
        let (stuck, other) = (visit(link(0), 1), visit(link(1), 1));
        let mut position = 0;
        while outbox.has_room() {
            position += 1;
            let text = format!("host{position}.example");
            outbox.add(7, (position - 1, position), &stuck, text.as_bytes(), None);
        }
        let first_skipped = position;
        outbox.set_stalled(ShardId(0), true);
        assert!(outbox.has_room(), "the other shard goes on");
        for _ in 0..10 {
            for visit in [&stuck, &other] {
                position += 1;
                outbox.add(7, (position - 1, position), visit, b"", None);
            }
        }
        let in_memory = first_skipped;
        assert_eq!(outbox.waiting(), in_memory + 20, "skipped visits are waiting too");
        while outbox.next(ShardId(1), 1).pop().is_some() {
            outbox.delivered(ShardId(1));
        }
        // The journal is needed from its start, until the shard has counted its visits or they are in a spill.
        assert_eq!(outbox.holding_back(7, position), [(ShardId(0), 0)]);
        outbox.spilled(ShardId(0), 7, first_skipped + 5);
        assert_eq!(outbox.released(7, position), first_skipped + 5);
        assert_eq!(outbox.read_again(ShardId(0)), None, "there is no room yet");
        while outbox.next(ShardId(0), 1).pop().is_some() {
            outbox.delivered(ShardId(0));
        }
        let behind = outbox.read_again(ShardId(0)).unwrap();
        assert_eq!(behind[&7], first_skipped);
        assert!(outbox.add(7, (first_skipped, first_skipped + 1), &stuck, b"", Some(ShardId(0))));
        assert!(!outbox.add(7, (first_skipped, first_skipped + 1), &stuck, b"", Some(ShardId(0))), "added already");
    }

    #[test]
    fn everything_comes_out_in_batches_that_fit_a_command() {
        let mut outbox = outbox();
        for i in 0..5000 {
            outbox.add(7, (i, i + 1), &visit(i, i), format!("host{i}.example\nBerlin").as_bytes(), None);
        }
        let mut reached = 0;
        while let Some(batch) = outbox.next(SHARD, 1).pop() {
            assert!(postcard::to_stdvec(&*batch).unwrap().len() < 20 * 1024);
            assert_eq!(batch.spans[0].from, reached);
            reached = batch.spans[0].upto;
            outbox.delivered(SHARD);
        }
        assert_eq!((reached, outbox.waiting()), (5000, 0));
    }
}
