//! Times as they are stored and sent.

use serde::{Deserialize, Serialize};

/// Milliseconds since the beginning of 1970 UTC. This crate never reads a clock: the proposer of a change stamps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMs(pub u64);

impl UnixMs {
    /// The last millisecond that RFC 3339 can write: 9999-12-31T23:59:59.999Z.
    pub const LAST: Self = Self(253_402_300_799_999);

    /// The time `ms` milliseconds later, or the largest time.
    pub fn saturating_add_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Whether this time is at or before `now`.
    pub fn is_past(self, now: Self) -> bool {
        self <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_added_up_to_the_end_of_time_and_past_once_they_are_reached() {
        assert_eq!(UnixMs(5).saturating_add_ms(7), UnixMs(12));
        assert_eq!(UnixMs(5).saturating_add_ms(u64::MAX), UnixMs(u64::MAX));
        assert_eq!([4, 5, 6].map(|now| UnixMs(5).is_past(UnixMs(now))), [false, true, true]);
    }
}
