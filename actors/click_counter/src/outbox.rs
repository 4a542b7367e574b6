//! Visits on their way to the shards: pure bookkeeping, no actor.
//!
//! Each shard has at most one batch under way. It keeps its name and content until the shard has answered, however often
//! it is sent, so the shard can tell a repetition from a new batch.

use std::collections::HashMap;

use waypost_protocol::command::{ClickBatch, ClickDelta};
use waypost_protocol::{LinkKey, NodeId, ShardId, UnixMs};

use crate::journal::Visit;

/// About how many bytes of deltas a batch carries: fits one log entry.
const BATCH_BYTES: usize = 10 * 1024;

/// What a delta takes beside its code.
const DELTA_BYTES: usize = 24;

#[derive(Default)]
struct Shard {
    gathered: HashMap<LinkKey, (u64, UnixMs)>,
    under_way: Option<ClickBatch>,
    sequence: u64,
}

/// What is waiting for each shard.
pub struct Outbox {
    node: NodeId,
    incarnation: u64,
    shards: Vec<Shard>,
}

impl Outbox {
    /// Nothing waiting. `incarnation` tells this life of the journal from earlier ones.
    pub fn new(node: NodeId, incarnation: u64, shards: u32) -> Self {
        Self { node, incarnation, shards: (0..shards.max(1)).map(|_| Shard::default()).collect() }
    }

    /// Adds a visit.
    pub fn add(&mut self, visit: Visit) {
        let shard = visit.key.shard(self.shards.len() as u32).index();
        let (visits, last) = self.shards[shard].gathered.entry(visit.key).or_insert((0, visit.at));
        *visits += 1;
        *last = (*last).max(visit.at);
    }

    /// The batch to send to a shard now: the one under way, sent again, or a new one.
    pub fn next(&mut self, shard: ShardId) -> Option<ClickBatch> {
        let waiting = &mut self.shards[shard.index()];
        if let Some(batch) = &waiting.under_way {
            return Some(batch.clone());
        }
        let mut bytes = 0;
        let mut deltas = Vec::new();
        while bytes < BATCH_BYTES {
            // Any order will do; taking the first of the map is cheap because the map shrinks from its front.
            let Some(key) = waiting.gathered.keys().next().cloned() else { break };
            let (visits, last) = waiting.gathered.remove(&key).unwrap_or_default();
            bytes += DELTA_BYTES + key.code.as_bytes().len();
            deltas.push(ClickDelta { key, visits, last });
        }
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
        match waiting.under_way.take() {
            Some(batch) if batch.sequence == sequence => batch.deltas.iter().map(|delta| delta.visits).sum(),
            other => {
                waiting.under_way = other;
                0
            }
        }
    }

    /// Visits that no shard has answered yet.
    pub fn waiting(&self) -> u64 {
        self.shards
            .iter()
            .map(|shard| {
                let under_way = shard.under_way.iter().flat_map(|batch| &batch.deltas).map(|delta| delta.visits);
                under_way.sum::<u64>() + shard.gathered.values().map(|(visits, _)| visits).sum::<u64>()
            })
            .sum()
    }

    /// The shards that have something waiting.
    pub fn busy(&self) -> Vec<ShardId> {
        let busy = |shard: &Shard| shard.under_way.is_some() || !shard.gathered.is_empty();
        (0..self.shards.len()).filter(|index| busy(&self.shards[*index])).map(|index| ShardId(index as u32)).collect()
    }
}

#[cfg(test)]
mod tests {
    use waypost_protocol::Code;

    use super::*;

    fn visit(code: &str, at: u64) -> Visit {
        Visit { key: LinkKey::new(Code::parse_slug(code).unwrap()), at: UnixMs(at) }
    }

    fn outbox() -> Outbox {
        Outbox::new(NodeId(1), 3, 1)
    }

    #[test]
    fn visits_of_a_link_are_added_up_with_the_time_of_the_last() {
        let mut outbox = outbox();
        for at in [5, 9, 7] {
            outbox.add(visit("abc", at));
        }
        let batch = outbox.next(ShardId(0)).unwrap();
        assert_eq!((batch.incarnation, batch.sequence), (3, 1));
        assert_eq!(batch.deltas, [ClickDelta { key: visit("abc", 0).key, visits: 3, last: UnixMs(9) }]);
    }

    #[test]
    fn a_batch_keeps_its_name_and_content_until_it_is_delivered() {
        let mut outbox = outbox();
        outbox.add(visit("a", 1));
        let first = outbox.next(ShardId(0)).unwrap();
        outbox.add(visit("b", 2));
        assert_eq!(outbox.next(ShardId(0)).unwrap(), first);
        assert_eq!(outbox.delivered(ShardId(0), first.sequence), 1);
        let second = outbox.next(ShardId(0)).unwrap();
        assert_eq!((second.sequence, second.deltas.len()), (2, 1));
    }

    #[test]
    fn everything_comes_out_in_batches_that_fit_a_log_entry() {
        let mut outbox = outbox();
        for i in 0..5000 {
            outbox.add(visit(&format!("code{i}"), i));
        }
        assert_eq!(outbox.waiting(), 5000);
        let mut delivered = 0;
        while let Some(batch) = outbox.next(ShardId(0)) {
            let bytes: usize = batch.deltas.iter().map(|d| DELTA_BYTES + d.key.code.as_bytes().len()).sum();
            assert!(bytes < BATCH_BYTES + 128);
            delivered += outbox.delivered(ShardId(0), batch.sequence);
        }
        assert_eq!((delivered, outbox.waiting()), (5000, 0));
        assert!(outbox.busy().is_empty());
    }
}
