//! How fast the counts of visited links are written.
//!
//! Each count changes a row of the catalog and two places of its orders, which costs more than counting the visits. If many links are visited, nearly all
//! of their counts change within a minute. So counts have a share of the time, and the orders by visits are older then.

use std::time::{Duration, Instant};

/// After some work, counts wait for this many times as long as it took: they have two percent of the time of a core, some thousand links a minute.
const REST: u32 = 49;

/// When the next counts may be written.
#[derive(Debug, Default)]
pub(super) struct Pace {
    next: Option<Instant>,
}

impl Pace {
    /// Whether counts may be written now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next.is_none_or(|next| next <= now)
    }

    /// Some counts were written, which took so long.
    pub(super) fn worked(&mut self, took: Duration, now: Instant) {
        self.next = Some(now + took * REST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_a_fiftieth_of_the_time() {
        let (mut pace, begin) = (Pace::default(), Instant::now());
        let (mut now, mut worked) = (begin, Duration::ZERO);
        let end = begin + Duration::from_secs(100);
        while now < end {
            if pace.is_due(now) {
                let took = Duration::from_millis(10);
                now += took;
                worked += took;
                pace.worked(took, now);
            } else {
                now += Duration::from_millis(1);
            }
        }
        assert_eq!(worked, Duration::from_secs(2));
    }
}
