//! Links that were changed through this node a moment ago, when the change was first applied on another node.
//!
//! Until this node's own replica, or the node that it asks, has surely applied the change, only the leader, which has
//! applied it, may answer for such a link.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use waypost_protocol::KeyHash;

/// The most links that are remembered at once. With more, every link that is not cached is asked of its leader for a while: slower, but
/// correct. Changes come by hundreds a second at most.
const LINKS_MAX: usize = 4096;

#[derive(Debug, Default)]
pub(crate) struct Fences {
    until: HashMap<KeyHash, Instant>,
    /// Set when there was no space for some link: until then only leaders may answer, for every link.
    all_until: Option<Instant>,
}

impl Fences {
    /// For the duration `lasting` from now on, only its leader may answer for the link.
    pub(crate) fn add(&mut self, link: KeyHash, now: Instant, lasting: Duration) {
        if self.until.len() >= LINKS_MAX {
            self.until.retain(|_, until| *until > now);
        }
        if self.until.len() < LINKS_MAX || self.until.contains_key(&link) {
            self.until.insert(link, now + lasting);
        } else {
            self.all_until = Some(now + lasting);
        }
    }

    /// Whether only its leader may answer for the link.
    pub(crate) fn stands(&mut self, link: KeyHash, now: Instant) -> bool {
        if self.all_until.is_some_and(|until| until > now) {
            return true;
        }
        match self.until.get(&link) {
            None => false,
            Some(until) if *until > now => true,
            Some(_) => {
                self.until.remove(&link);
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LASTING: Duration = Duration::from_secs(1);

    #[test]
    fn a_changed_link_is_asked_of_its_leader_until_the_bound_is_over() {
        let (mut fences, now) = (Fences::default(), Instant::now());
        fences.add(KeyHash(7), now, LASTING);
        assert!(fences.stands(KeyHash(7), now + LASTING / 2));
        assert!(!fences.stands(KeyHash(8), now + LASTING / 2));
        assert!(!fences.stands(KeyHash(7), now + LASTING));
        assert!(fences.until.is_empty());
    }

    #[test]
    fn with_more_changes_than_are_remembered_no_link_is_answered_from_old_state() {
        let (mut fences, now) = (Fences::default(), Instant::now());
        for link in 0..=LINKS_MAX as u64 {
            fences.add(KeyHash(link), now, LASTING);
        }
        assert!(fences.until.len() <= LINKS_MAX);
        assert!((0..=LINKS_MAX as u64).all(|link| fences.stands(KeyHash(link), now)));
        // Fences that have ended make space.
        let later = now + LASTING;
        fences.add(KeyHash(1 << 40), later, LASTING);
        assert_eq!(fences.until.len(), 1);
        assert!(fences.stands(KeyHash(1 << 40), later) && !fences.stands(KeyHash(1), later));
    }
}
