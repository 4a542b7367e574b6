//! Decides what a node does when memory is short. It has no clock and no I/O: its caller reports the memory at regular intervals.
//!
//! ```text
//!  budget ──────────────────────────────────────────────
//!  97 %   no log entries are taken                      (until 93 %)
//!  90 %   no links are created, and the cache is minimal (until 85 %)
//!  80 %   the cache shrinks by half, again and again
//!  70 %   below this it grows again
//! ```

/// How often the cache shrinks while memory is short: the allocator gives freed memory back to the system within some ten seconds.
const SHRINK_EVERY: u32 = 20;

/// The cache keeps one part in so many of its configured size, whatever happens.
const CACHE_PARTS: u64 = 16;

/// What the node refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Refusing {
    /// Nothing.
    #[default]
    Nothing,
    /// New links.
    Links,
    /// New links, and log entries.
    Entries,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Measure {
    /// What the node refuses from now on.
    pub(super) refusing: Refusing,
    /// The new limit of the cache, in bytes; `None` = as before.
    pub(super) cache_max: Option<u64>,
}

/// The guard of a budget of memory.
pub(super) struct Guard {
    budget: u64,
    /// The configured limit of the cache.
    cache_bytes: u64,
    /// The present one.
    cache_max: u64,
    refusing: Refusing,
    /// The number of looks until the cache may shrink again.
    wait: u32,
}

impl Guard {
    /// Guards `budget` bytes, of which the cache may take `cache_bytes`.
    pub(super) fn new(budget: u64, cache_bytes: u64) -> Self {
        Self { budget, cache_bytes, cache_max: cache_bytes, refusing: Refusing::Nothing, wait: 0 }
    }

    /// Decides by the memory that is taken, and how much of it the cache holds.
    pub(super) fn look(&mut self, taken: u64, cached: u64) -> Measure {
        self.refusing = self.refuse(taken);
        let before = self.cache_max;
        self.wait = self.wait.saturating_sub(1);
        let least = self.cache_bytes / CACHE_PARTS;
        if self.refusing > Refusing::Nothing {
            self.cache_max = least;
        } else if taken >= self.percent(80) && self.wait == 0 {
            self.cache_max = (self.cache_max.min(cached) / 2).max(least);
            self.wait = SHRINK_EVERY;
        } else if taken < self.percent(70) {
            self.cache_max = (self.cache_max + least).min(self.cache_bytes);
        }
        Measure { refusing: self.refusing, cache_max: Some(self.cache_max).filter(|max| *max != before) }
    }

    fn refuse(&self, taken: u64) -> Refusing {
        let reached = |percent| taken >= self.percent(percent);
        match self.refusing {
            _ if reached(97) => Refusing::Entries,
            Refusing::Entries if reached(93) => Refusing::Entries,
            _ if reached(90) => Refusing::Links,
            Refusing::Links | Refusing::Entries if reached(85) => Refusing::Links,
            _ => Refusing::Nothing,
        }
    }

    fn percent(&self, percent: u64) -> u64 {
        self.budget / 100 * percent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CACHE: u64 = 1600;

    #[test]
    fn links_are_refused_above_the_mark_and_accepted_again_well_below_it() {
        let mut guard = Guard::new(1000, CACHE);
        for (taken, expected) in [
            (890, Refusing::Nothing),
            (900, Refusing::Links),
            (850, Refusing::Links),
            (849, Refusing::Nothing),
            (899, Refusing::Nothing),
            (970, Refusing::Entries),
            (930, Refusing::Entries),
            (929, Refusing::Links),
            (960, Refusing::Links),
            (970, Refusing::Entries),
            (100, Refusing::Nothing),
        ] {
            assert_eq!(guard.look(taken, 0).refusing, expected, "at {taken}");
        }
    }

    #[test]
    fn the_cache_shrinks_by_half_of_what_it_holds_and_again_only_when_that_had_time_to_help() {
        let mut guard = Guard::new(1000, CACHE);
        assert_eq!(guard.look(799, CACHE).cache_max, None);
        assert_eq!(guard.look(800, 1000), Measure { refusing: Refusing::Nothing, cache_max: Some(500) });
        for _ in 1..SHRINK_EVERY {
            assert_eq!(guard.look(820, 500).cache_max, None);
        }
        assert_eq!(guard.look(820, 500).cache_max, Some(250));
        assert_eq!(guard.look(750, 250).cache_max, None, "between the marks it stays as it is");
    }

    #[test]
    fn the_cache_is_minimal_while_links_are_refused_and_grows_again_when_there_is_memory() {
        let mut guard = Guard::new(1000, CACHE);
        assert_eq!(guard.look(900, CACHE).cache_max, Some(100));
        assert_eq!(guard.look(900, 100).cache_max, None, "it never becomes smaller");
        let mut grown = Vec::new();
        while let Some(max) = guard.look(699, 0).cache_max {
            grown.push(max);
        }
        assert_eq!((grown.len(), grown.first(), grown.last()), (15, Some(&200), Some(&CACHE)));
    }
}
