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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_changed_is_known_of_the_last_sixty_four_checkpoints() {
        let mut changed = ChangedDays::default();
        assert_eq!(changed.since(0, 0..100), Some(vec![]));
        (0..64).for_each(|day| changed.add(BTreeSet::from([day, 500])));
        assert_eq!(changed.generation, 64);
        let days = |days: std::ops::Range<u32>| Some(days.collect::<Vec<_>>());
        assert_eq!(changed.since(0, 0..100), days(0..64));
        assert_eq!(changed.since(60, 0..100), days(60..64));
        assert_eq!(changed.since(62, [1, 63, 99, 500].into_iter()), Some(vec![63, 500]));
        assert_eq!(changed.since(64, 0..1000), Some(vec![]));
        // One more, and the first is not known any more.
        changed.add(BTreeSet::from([64]));
        assert_eq!((changed.since(0, 0..100), changed.since(1, 0..100)), (None, days(1..65)));
    }

    #[test]
    fn of_a_state_that_was_replaced_everything_may_have_changed() {
        let mut changed = ChangedDays::default();
        (0..3).for_each(|day| changed.add(BTreeSet::from([day])));
        let replaced = changed.replaced();
        assert_eq!((replaced.since(3, 0..10), replaced.since(0, 0..10)), (None, None));
        assert_eq!(replaced.since(replaced.generation, 0..10), Some(vec![]));
    }
}
