//! Which links of a shard have changed since somebody last asked: what an index beside the shard has to read again.

use waypost_protocol::KeyHash;

use super::number_set::NumberSet;

/// The changed links that are known one by one: 512 KiB. With more, somebody who wants to know has to read the whole shard again. A shard
/// that takes 1,000 changes a second fills it in a minute.
const LINKS_MAX: usize = 1 << 16;

/// The links that have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// These were created, edited or removed; perhaps one several times.
    Links(Vec<KeyHash>),
    /// Any of them may have changed.
    Anything,
}

/// What has changed of a shard. A change adds to it in constant time.
#[derive(Default)]
pub(super) struct Changes {
    links: Vec<KeyHash>,
    anything: bool,
    /// Slots whose counts have changed.
    counted: NumberSet,
}

impl Changes {
    /// For a state that replaces another one.
    pub(super) fn anything() -> Self {
        Self { anything: true, ..Self::default() }
    }

    /// A link was created, edited or removed.
    pub(super) fn link(&mut self, key: KeyHash) {
        if self.anything || self.links.last() == Some(&key) {
            return;
        }
        if self.links.len() >= LINKS_MAX {
            self.links = Vec::new();
            self.anything = true;
            return;
        }
        self.links.push(key);
    }

    /// The visits of a link were counted.
    pub(super) fn counted(&mut self, slot: u32) {
        self.counted.insert(slot);
    }

    /// What has changed since the last call.
    pub(super) fn take(&mut self) -> Changed {
        let links = std::mem::take(&mut self.links);
        if std::mem::take(&mut self.anything) { Changed::Anything } else { Changed::Links(links) }
    }

    /// Takes back what was taken, since nobody could use it.
    pub(super) fn put_back(&mut self, changed: Changed) {
        match changed {
            Changed::Links(links) if self.links.len() + links.len() <= LINKS_MAX => self.links.extend(links),
            Changed::Links(_) | Changed::Anything => {
                self.links = Vec::new();
                self.anything = true;
            }
        }
    }

    /// Whether no link has changed since the last call of [`Changes::take`].
    pub(super) fn is_empty(&self) -> bool {
        self.links.is_empty() && !self.anything
    }

    /// Slots whose counts have changed, about `max` at most.
    pub(super) fn take_counted(&mut self, max: usize) -> Vec<u32> {
        self.counted.take(max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(numbers: std::ops::Range<usize>) -> Vec<KeyHash> {
        numbers.map(|number| KeyHash(number as u64)).collect()
    }

    #[test]
    fn what_has_changed_is_told_once() {
        let mut changes = Changes::default();
        assert!(changes.is_empty());
        keys(1..4).into_iter().for_each(|key| changes.link(key));
        changes.link(KeyHash(3));
        assert!(!changes.is_empty());
        assert_eq!(changes.take(), Changed::Links(keys(1..4)));
        assert_eq!(changes.take(), Changed::Links(vec![]));
    }

    #[test]
    fn more_changes_than_there_is_room_for_mean_that_anything_may_have_changed() {
        let mut changes = Changes::default();
        keys(0..LINKS_MAX).into_iter().for_each(|key| changes.link(key));
        assert!(!changes.anything);
        changes.link(KeyHash(u64::MAX));
        assert!(changes.links.capacity() == 0 && !changes.is_empty());
        changes.link(KeyHash(1));
        assert_eq!(changes.take(), Changed::Anything);
        // And from then on one by one again.
        changes.link(KeyHash(2));
        assert_eq!(changes.take(), Changed::Links(vec![KeyHash(2)]));
    }

    #[test]
    fn what_could_not_be_used_comes_again() {
        let mut changes = Changes::default();
        keys(0..3).into_iter().for_each(|key| changes.link(key));
        let taken = changes.take();
        changes.link(KeyHash(9));
        changes.put_back(taken);
        assert_eq!(changes.take(), Changed::Links([9, 0, 1, 2].map(KeyHash).to_vec()));
        changes.put_back(Changed::Anything);
        assert_eq!(changes.take(), Changed::Anything);
        changes.link(KeyHash(9));
        changes.put_back(Changed::Links(keys(0..LINKS_MAX)));
        assert_eq!(changes.take(), Changed::Anything, "together they are too many");
    }

    #[test]
    fn a_state_that_replaces_another_one_may_differ_anywhere() {
        assert_eq!(Changes::anything().take(), Changed::Anything);
    }
}
