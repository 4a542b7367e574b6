//! Visits on their way to the shards: pure bookkeeping, no actor.
//!
//! What is read of the journals is gathered by shard into batches. A batch says from where to where it goes in each journal, and is
//! sent until it is answered; a shard that was reached by an earlier life of this node says how far, and then the rest is gathered
//! anew. A journal may be released up to where every shard has what is its own.

use std::collections::VecDeque;
use std::sync::Arc;

use waypost_protocol::clicks::ClickBatch;
use waypost_protocol::digest::fingerprint;
use waypost_protocol::{KeyHash, NodeId, ShardId};

use crate::gather::{ByHash, Open};
use crate::visit::Visit;

/// Batches that may wait for one shard. Beyond that the journals are not read on: they hold more than memory should.
const BATCHES_MAX: usize = 128;

struct Batch {
    batch: Arc<ClickBatch>,
    visits: u64,
}

#[derive(Default)]
struct Shard {
    open: Open,
    closed: VecDeque<Batch>,
    /// Where the next batch begins in each journal.
    next: ByHash<u64, u64>,
    /// Up to where the shard has counted each journal.
    counted: ByHash<u64, u64>,
}

/// What is waiting for each shard.
pub struct Outbox {
    node: NodeId,
    shards: Vec<Shard>,
}

impl Outbox {
    /// Nothing waiting.
    pub fn new(node: NodeId, shards: u32) -> Self {
        Self { node, shards: (0..shards.max(1)).map(|_| Shard::default()).collect() }
    }

    fn shard_of(&self, visit: &Visit, text: &[u8]) -> usize {
        // A path that is no link always goes to the same shard, so that it is counted once.
        let hash = visit.link.unwrap_or_else(|| KeyHash(fingerprint(&[text])));
        hash.shard(self.shards.len() as u32).index()
    }

    /// A journal that was released up to `released` when this life began.
    pub fn begin(&mut self, journal: u64, released: u64) {
        for shard in &mut self.shards {
            shard.next.insert(journal, released);
            shard.counted.insert(journal, released);
        }
    }

    /// A journal that is gone.
    pub fn end(&mut self, journal: u64) {
        for shard in &mut self.shards {
            shard.next.remove(&journal);
            shard.counted.remove(&journal);
        }
    }

    /// Adds a visit, which ends at `position` in its journal. With `only`, if it is for that shard, and was not counted there.
    pub fn add(&mut self, journal: u64, position: u64, visit: &Visit, text: &[u8], only: Option<ShardId>) {
        let index = self.shard_of(visit, text);
        if only.is_some_and(|only| only.index() != index) {
            return;
        }
        let shard = &mut self.shards[index];
        let next = shard.next.get(&journal).copied().unwrap_or(0);
        if position <= next {
            return;
        }
        shard.open.span(journal, next, position);
        shard.open.add(visit, text);
        if shard.open.is_full() {
            shard.close(self.node);
        }
    }

    /// The batches to send to a shard now, at most `max`: the same as long as they were not answered, and perhaps more.
    pub fn next(&mut self, shard: ShardId, max: usize) -> Vec<Arc<ClickBatch>> {
        let waiting = &mut self.shards[shard.index()];
        if waiting.closed.len() < max {
            waiting.close(self.node);
        }
        waiting.closed.iter().take(max).map(|batch| batch.batch.clone()).collect()
    }

    /// The shard has counted the first batch. Answers how many visits it carried.
    pub fn delivered(&mut self, shard: ShardId) -> u64 {
        let waiting = &mut self.shards[shard.index()];
        let Some(Batch { batch, visits }) = waiting.closed.pop_front() else { return 0 };
        for span in &batch.spans {
            waiting.counted.insert(span.journal, span.upto);
        }
        visits
    }

    /// The shard has counted these journals up to other positions: nothing is waiting for it any more, and what it has not
    /// counted has to be added again.
    pub fn start_again(&mut self, shard: ShardId, reached: &[(u64, u64)]) {
        let waiting = &mut self.shards[shard.index()];
        waiting.closed.clear();
        waiting.open = Open::default();
        for (journal, position) in reached {
            waiting.counted.insert(*journal, *position);
        }
        waiting.next = waiting.counted.clone();
    }

    /// Up to where a journal, which was read up to `read`, is needed no more.
    pub fn released(&self, journal: u64, read: u64) -> u64 {
        let of = |shard: &Shard| {
            let waits = shard.open.has(journal)
                || shard.closed.iter().any(|batch| batch.batch.spans.iter().any(|span| span.journal == journal));
            if waits { shard.counted.get(&journal).copied().unwrap_or(0) } else { read }
        };
        self.shards.iter().map(of).min().unwrap_or(read)
    }

    /// Whether more should be read of the journals.
    pub fn has_room(&self) -> bool {
        self.shards.iter().all(|shard| shard.closed.len() < BATCHES_MAX)
    }

    /// Visits that no shard has answered yet.
    pub fn waiting(&self) -> u64 {
        let of = |shard: &Shard| shard.open.visits + shard.closed.iter().map(|batch| batch.visits).sum::<u64>();
        self.shards.iter().map(of).sum()
    }

    /// The shards that have something waiting.
    pub fn busy(&self) -> Vec<ShardId> {
        (0..self.shards.len() as u32).map(ShardId).filter(|shard| self.is_busy(*shard)).collect()
    }

    /// Whether a shard has something waiting.
    pub fn is_busy(&self, shard: ShardId) -> bool {
        let shard = &self.shards[shard.index()];
        shard.open.visits > 0 || !shard.closed.is_empty()
    }
}

impl Shard {
    fn close(&mut self, node: NodeId) {
        if self.open.visits == 0 {
            return;
        }
        let open = std::mem::take(&mut self.open);
        let visits = open.visits;
        let batch = open.close(node);
        for span in &batch.spans {
            self.next.insert(span.journal, span.upto);
        }
        self.closed.push_back(Batch { batch: Arc::new(batch), visits });
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
            outbox.add(7, position, &visit(7, at), b"", None);
        }
        let batch = next(&mut outbox);
        assert_eq!(batch.spans, [JournalSpan { journal: 7, from: 0, upto: 3 }]);
        assert_eq!((batch.deltas.len(), visits(&batch), batch.deltas[0].last), (1, 3, UnixMs(9)));
        assert_eq!(batch.deltas[0].visitors.len(), 1);
    }

    #[test]
    fn a_batch_keeps_its_content_until_it_is_delivered_and_the_next_begins_where_it_ends() {
        let mut outbox = outbox();
        outbox.add(7, 1, &visit(1, 1), b"", None);
        let first = next(&mut outbox);
        outbox.add(7, 4, &visit(2, 2), b"", None);
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
            outbox.add(7, position, &visit(position, 1), b"", None);
        }
        next(&mut outbox);
        outbox.start_again(SHARD, &[(7, 6)]);
        assert_eq!(outbox.waiting(), 0);
        for position in 1..=10 {
            outbox.add(7, position, &visit(position, 1), b"", Some(SHARD));
        }
        let batch = next(&mut outbox);
        assert_eq!((batch.spans[0].from, batch.spans[0].upto, visits(&batch)), (6, 10, 4));
    }

    #[test]
    fn everything_comes_out_in_batches_that_fit_a_command() {
        let mut outbox = outbox();
        for i in 0..5000 {
            outbox.add(7, i + 1, &visit(i, i), format!("host{i}.example\nBerlin").as_bytes(), None);
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
