//! The days whose statistics the last checkpoints have changed.

use std::collections::{BTreeSet, VecDeque};

/// The number of checkpoints whose changed days are known. A query that is slower than all of these reads its days again.
const CHECKPOINTS_KNOWN: usize = 64;

/// The days whose records the last checkpoints have changed.
#[derive(Default)]
pub(super) struct ChangedDays {
    /// Increases with each checkpoint, and when a snapshot replaces the state.
    pub(super) generation: u64,
    last: VecDeque<BTreeSet<u32>>,
}

impl ChangedDays {
    pub(super) fn add(&mut self, days: BTreeSet<u32>) {
        self.generation += 1;
        self.last.push_back(days);
        if self.last.len() > CHECKPOINTS_KNOWN {
            self.last.pop_front();
        }
    }

    /// For a state that replaces this one: everything that was read is in doubt.
    pub(super) fn replaced(&self) -> Self {
        Self { generation: self.generation + 1, last: VecDeque::new() }
    }

    /// Those of the given days that have changed since a generation; `None` if that is not known any more.
    pub(super) fn since(&self, generation: u64, days: impl Iterator<Item = u32>) -> Option<Vec<u32>> {
        let new = (self.generation - generation) as usize;
        let changed = |day: &u32| self.last.iter().rev().take(new).any(|days| days.contains(day));
        (new <= self.last.len()).then(|| days.filter(changed).collect())
    }
}
