//! The visits that wait for one shard: open and closed batches, and how far each journal was read for it.

use std::collections::VecDeque;
use std::sync::Arc;

use waypost_protocol::NodeId;
use waypost_protocol::clicks::ClickBatch;

use crate::gather::{ByHash, Open};

/// A batch that is sent until it is answered.
pub(crate) struct Batch {
    pub(crate) batch: Arc<ClickBatch>,
    pub(crate) visits: u64,
}

/// The visits that wait for one shard.
#[derive(Default)]
pub(crate) struct ShardQueue {
    pub(crate) open: Open,
    pub(crate) closed: VecDeque<Batch>,
    /// The position at which the next batch begins, by journal.
    pub(crate) next: ByHash<u64, u64>,
    /// The position up to which visits were added, or are counted, by journal.
    pub(crate) added: ByHash<u64, u64>,
    /// The position up to which the shard has counted, by journal.
    pub(crate) counted: ByHash<u64, u64>,
    /// The position from which visits for this shard were skipped and have to be read again, by journal.
    pub(crate) behind: ByHash<u64, u64>,
    /// The approximate number of skipped visits.
    pub(crate) skipped: u64,
    /// The position up to which this shard's visits are in its spill, by journal.
    pub(crate) spilled: ByHash<u64, u64>,
    pub(crate) stalled: bool,
}

impl ShardQueue {
    /// Begins a journal at a position.
    pub(crate) fn start_at(&mut self, journal: u64, position: u64) {
        self.next.insert(journal, position);
        self.added.insert(journal, position);
        self.counted.insert(journal, position);
    }

    /// The number of visits in batches.
    pub(crate) fn waiting(&self) -> u64 {
        self.open.visits + self.closed.iter().map(|batch| batch.visits).sum::<u64>()
    }

    /// The position up to which this shard does not need a journal that was read up to `read`.
    pub(crate) fn released(&self, journal: u64, read: u64) -> u64 {
        let position = |of: &ByHash<u64, u64>| of.get(&journal).copied().unwrap_or(0);
        let waits = self.open.has(journal)
            || self.closed.iter().any(|batch| batch.batch.spans.iter().any(|span| span.journal == journal));
        let own = match self.behind.get(&journal) {
            _ if waits => position(&self.counted),
            Some(from) => position(&self.counted).max(*from),
            None => read,
        };
        own.max(position(&self.spilled))
    }

    /// Closes the open batch, if it has visits.
    pub(crate) fn close(&mut self, node: NodeId) {
        if self.open.visits == 0 {
            return;
        }
        let visits = self.open.visits;
        let batch = self.open.close(node);
        for span in &batch.spans {
            self.next.insert(span.journal, span.upto);
        }
        self.closed.push_back(Batch { batch: Arc::new(batch), visits });
    }
}
