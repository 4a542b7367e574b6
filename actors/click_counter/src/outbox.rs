//! Visits on their way to the shards: pure bookkeeping, no actor.
//!
//! Each shard has at most one batch under way. It keeps its name and content until the shard has answered, however often
//! it is sent, so the shard can tell a repetition from a new batch.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use waypost_protocol::command::{ClickBatch, ClickDelta};
use waypost_protocol::{KeyHash, NodeId, ShardId, UnixMs};

use crate::journal::Visit;

/// Deltas of a batch: at most 24 bytes each, so a batch fits one log entry.
const BATCH_DELTAS: usize = 448;

/// The keys are hashes already.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

type Gathered = HashMap<KeyHash, (u64, UnixMs), BuildHasherDefault<AsItIs>>;

#[derive(Default)]
struct Shard {
    /// Visits since the last batches were packed, added up by link.
    gathered: Gathered,
    /// What was gathered, waiting to be packed into the next batches.
    queue: VecDeque<ClickDelta>,
    under_way: Option<ClickBatch>,
    sequence: u64,
}

/// What is waiting for each shard.
pub struct Outbox {
    node: NodeId,
    incarnation: u64,
    shards: Vec<Shard>,
    waiting: u64,
}

impl Outbox {
    /// Nothing waiting. `incarnation` tells this life of the journal from earlier ones.
    pub fn new(node: NodeId, incarnation: u64, shards: u32) -> Self {
        Self { node, incarnation, shards: (0..shards.max(1)).map(|_| Shard::default()).collect(), waiting: 0 }
    }

    /// Adds a visit.
    pub fn add(&mut self, visit: Visit) {
        let shard = visit.link.shard(self.shards.len() as u32).index();
        let (visits, last) = self.shards[shard].gathered.entry(visit.link).or_insert((0, visit.at));
        *visits += 1;
        self.waiting += 1;
        *last = (*last).max(visit.at);
    }

    /// The batch to send to a shard now: the one under way, sent again, or a new one.
    pub fn next(&mut self, shard: ShardId) -> Option<ClickBatch> {
        let waiting = &mut self.shards[shard.index()];
        if let Some(batch) = &waiting.under_way {
            return Some(batch.clone());
        }
        if waiting.queue.is_empty() {
            let gathered = std::mem::take(&mut waiting.gathered);
            waiting.queue.extend(gathered.into_iter().map(|(link, (visits, last))| ClickDelta { link, visits, last }));
        }
        let count = waiting.queue.len().min(BATCH_DELTAS);
        let deltas: Vec<ClickDelta> = waiting.queue.drain(..count).collect();
        if deltas.is_empty() {
            return None;
        }
        waiting.sequence += 1;
        let batch = ClickBatch { node: self.node, incarnation: self.incarnation, sequence: waiting.sequence, deltas };
        waiting.under_way = Some(batch.clone());
        Some(batch)
    }

    /// The shard has answered the batch: it is in the log for good. Answers how many visits it carried.
    pub fn delivered(&mut self, shard: ShardId, sequence: u64) -> u64 {
        let waiting = &mut self.shards[shard.index()];
        if waiting.under_way.as_ref().is_none_or(|batch| batch.sequence != sequence) {
            return 0;
        }
        let delivered = waiting.under_way.take().map_or(0, |batch| batch.deltas.iter().map(|delta| delta.visits).sum());
        self.waiting -= delivered;
        delivered
    }

    /// Visits that no shard has answered yet.
    pub fn waiting(&self) -> u64 {
        self.waiting
    }

    /// The shards that have something waiting.
    pub fn busy(&self) -> Vec<ShardId> {
        (0..self.shards.len() as u32).map(ShardId).filter(|shard| self.is_busy(*shard)).collect()
    }

    /// Whether a shard has something waiting.
    pub fn is_busy(&self, shard: ShardId) -> bool {
        let shard = &self.shards[shard.index()];
        shard.under_way.is_some() || !shard.queue.is_empty() || !shard.gathered.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visit(link: u64, at: u64) -> Visit {
        Visit { link: KeyHash(link), at: UnixMs(at) }
    }

    fn outbox() -> Outbox {
        Outbox::new(NodeId(1), 3, 1)
    }

    #[test]
    fn visits_of_a_link_are_added_up_with_the_time_of_the_last() {
        let mut outbox = outbox();
        for at in [5, 9, 7] {
            outbox.add(visit(7, at));
        }
        let batch = outbox.next(ShardId(0)).unwrap();
        assert_eq!((batch.incarnation, batch.sequence), (3, 1));
        assert_eq!(batch.deltas, [ClickDelta { link: KeyHash(7), visits: 3, last: UnixMs(9) }]);
    }

    #[test]
    fn a_batch_keeps_its_name_and_content_until_it_is_delivered() {
        let mut outbox = outbox();
        outbox.add(visit(1, 1));
        let first = outbox.next(ShardId(0)).unwrap();
        outbox.add(visit(2, 2));
        assert_eq!(outbox.next(ShardId(0)).unwrap(), first);
        assert_eq!(outbox.delivered(ShardId(0), first.sequence), 1);
        let second = outbox.next(ShardId(0)).unwrap();
        assert_eq!((second.sequence, second.deltas.len()), (2, 1));
    }

    #[test]
    fn everything_comes_out_in_batches_that_fit_a_log_entry() {
        let mut outbox = outbox();
        for i in 0..5000 {
            outbox.add(visit(i, i));
        }
        assert_eq!(outbox.waiting(), 5000);
        let mut delivered = 0;
        while let Some(batch) = outbox.next(ShardId(0)) {
            assert!(batch.deltas.len() <= BATCH_DELTAS);
            delivered += outbox.delivered(ShardId(0), batch.sequence);
        }
        assert_eq!((delivered, outbox.waiting()), (5000, 0));
        assert!(outbox.busy().is_empty());
    }
}
