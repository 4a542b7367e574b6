//! Whether this node's wall clock may be used for irreversible actions. Decisions only: clocks and peers are read elsewhere.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use waypost_protocol::UnixMs;

/// A wall clock that moves by more than this against the time since boot has jumped. Ordinary corrections are smaller, and everything
/// that is removed for its age is much older than this.
const JUMP_MIN_MS: i64 = 10_000;

/// The rate of gradual corrections: one part in so many of the elapsed time (1,000 ppm, twice what NTP slews).
const SLEW: u64 = 1_000;

/// After a longer gap a start is not sure of its clock: a machine that was off for long may have lost the time.
const GAP_MAX: Duration = Duration::from_secs(24 * 3600);

/// A clock that nobody can confirm is trusted again after this time without a jump.
pub(super) const STEADY: Duration = Duration::from_secs(600);

/// Nodes whose clocks differ by at most this much agree.
pub(super) const AGREE_MAX: Duration = Duration::from_secs(60);

/// Both clocks of a machine at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The wall clock.
    pub wall: UnixMs,
    /// Milliseconds since the machine was started, with those that it was suspended.
    pub boot_ms: u64,
}

impl Reading {
    fn offset(self) -> i64 {
        self.wall.0 as i64 - self.boot_ms as i64
    }
}

/// Why a clock is not trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Doubt {
    /// It moved by so many milliseconds against the machine's time since boot; negative = back.
    Jumped {
        /// How far.
        by_ms: i64,
    },
    /// The node starts so many milliseconds after the last time that it was sure of; negative = before it.
    LongAway {
        /// How long.
        ms: i64,
    },
    /// There is no record of the last run.
    NoRecord,
}

impl std::fmt::Display for Doubt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let span = |ms: i64| {
            let seconds = ms.unsigned_abs() / 1000;
            match seconds {
                0..300 => format!("{seconds} seconds"),
                300..18_000 => format!("{} minutes", seconds / 60),
                18_000..259_200 => format!("{} hours", seconds / 3600),
                _ => format!("{} days", seconds / 86_400),
            }
        };
        match self {
            Self::Jumped { by_ms } if *by_ms < 0 => write!(f, "it went back by {}", span(*by_ms)),
            Self::Jumped { by_ms } => write!(f, "it went ahead by {}", span(*by_ms)),
            Self::LongAway { ms } if *ms < 0 => write!(f, "it is {} before the node's last stop", span(*ms)),
            Self::LongAway { ms } => write!(f, "the node was away for {}", span(*ms)),
            Self::NoRecord => f.write_str("when the node last ran is not known"),
        }
    }
}

/// The answers of the other nodes about the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Asked {
    /// The number of other nodes, including those that have not answered.
    pub nodes: usize,
    /// The number of nodes with the same time.
    pub agree: usize,
    /// The number of nodes with another time.
    pub differ: usize,
}

/// The trust in this node's clock.
#[derive(Debug)]
pub struct Trust {
    /// The difference of both clocks that counts as right.
    offset: i64,
    last_boot_ms: u64,
    doubt: Option<(Doubt, u64)>,
}

impl Trust {
    /// The trust at the start of a node. `last_seen` is the last time that it was sure of; `fresh` says that the node is alone and has no links.
    pub fn begin(now: Reading, last_seen: Option<UnixMs>, fresh: bool) -> Self {
        let gap = last_seen.map(|seen| now.wall.0 as i64 - seen.0 as i64);
        let doubt = match gap {
            None if fresh => None,
            None => Some(Doubt::NoRecord),
            // A few seconds back are a correction.
            Some(ms) if ms > GAP_MAX.as_millis() as i64 || ms < -JUMP_MIN_MS => Some(Doubt::LongAway { ms }),
            Some(_) => None,
        };
        Self { offset: now.offset(), last_boot_ms: now.boot_ms, doubt: doubt.map(|doubt| (doubt, now.boot_ms)) }
    }

    /// Checks the clocks. Returns the jump of the wall clock since the last check, if any.
    pub fn look(&mut self, now: Reading) -> Option<i64> {
        let passed = now.boot_ms.saturating_sub(self.last_boot_ms);
        self.last_boot_ms = now.boot_ms;
        let moved = now.offset() - self.offset;
        let slew = (passed / SLEW) as i64;
        if moved.abs() <= JUMP_MIN_MS + slew {
            self.offset += moved.clamp(-slew, slew);
            return None;
        }
        self.offset = now.offset();
        self.doubt = Some((Doubt::Jumped { by_ms: moved }, now.boot_ms));
        Some(moved)
    }

    /// Decides again with the answers of the `others`. Returns whether the clock has become trusted.
    ///
    /// A majority of the others confirms it at once. After [`STEADY`] without a jump, a majority of all nodes, this one included, is enough,
    /// if no node has another time: a lone node, or two of three while the third is away.
    pub fn judge(&mut self, now: Reading, others: Asked) -> bool {
        let Some((_, since)) = self.doubt else { return false };
        let Asked { nodes, agree, differ } = others;
        let steady = now.boot_ms.saturating_sub(since) >= STEADY.as_millis() as u64;
        let sure = agree * 2 > nodes || steady && differ == 0 && (agree + 1) * 2 > nodes + 1;
        if sure {
            self.doubt = None;
        }
        sure
    }

    /// Why the clock is not trusted, and for how long in milliseconds; `None` if it is.
    pub fn doubt(&self) -> Option<(Doubt, u64)> {
        self.doubt.map(|(doubt, since)| (doubt, self.last_boot_ms.saturating_sub(since)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: u64 = 24 * 3600 * 1000;
    const START: Reading = Reading { wall: UnixMs(1_800_000_000_000), boot_ms: 5_000_000 };

    fn later(ms: u64) -> Reading {
        Reading { wall: UnixMs(START.wall.0 + ms), boot_ms: START.boot_ms + ms }
    }

    fn ahead(reading: Reading, ms: i64) -> Reading {
        Reading { wall: UnixMs((reading.wall.0 as i64 + ms) as u64), ..reading }
    }

    fn trusted() -> Trust {
        Trust::begin(START, Some(START.wall), false)
    }

    #[test]
    fn a_jump_in_either_direction_is_noticed_and_the_way_back_as_well() {
        for by_ms in [40 * DAY_MS as i64, -(40 * DAY_MS as i64), 11_000, -11_000] {
            let mut trust = trusted();
            assert_eq!(trust.look(later(1000)), None);
            assert_eq!(trust.look(ahead(later(2000), by_ms)), Some(by_ms));
            assert_eq!(trust.doubt(), Some((Doubt::Jumped { by_ms }, 0)));
            assert_eq!(trust.look(later(6000)), Some(-by_ms));
            assert!(trust.doubt().is_some(), "it was wrong just now");
        }
    }

    #[test]
    fn a_machine_that_was_suspended_has_not_jumped() {
        let mut trust = trusted();
        assert_eq!(trust.look(later(40 * DAY_MS)), None);
        assert_eq!(trust.doubt(), None);
    }

    #[test]
    fn corrections_are_no_jumps_and_a_clock_that_creeps_is_one() {
        let mut trust = trusted();
        // A year of checks, in which the clock runs 500 ppm fast.
        for hour in 1..24 * 365 {
            let ms = hour * 3_600_000;
            assert_eq!(trust.look(ahead(later(ms), (ms / 2000) as i64)), None);
        }
        let mut trust = trusted();
        // A second too much in each second.
        assert!((1..60).any(|second| trust.look(ahead(later(second * 1000), second as i64 * 1000)).is_some()));
    }

    #[test]
    fn a_start_is_unsure_after_more_than_a_day_or_in_the_past_or_without_a_record() {
        let begin = |ms: i64| Trust::begin(ahead(START, ms), Some(START.wall), false).doubt().map(|(doubt, _)| doubt);
        let day = DAY_MS as i64;
        assert_eq!((begin(0), begin(day), begin(-5_000)), (None, None, None));
        assert_eq!(begin(day + 1), Some(Doubt::LongAway { ms: day + 1 }));
        assert_eq!(begin(-20_000), Some(Doubt::LongAway { ms: -20_000 }));
        assert_eq!(Trust::begin(START, None, false).doubt(), Some((Doubt::NoRecord, 0)));
        assert_eq!(Trust::begin(START, None, true).doubt(), None, "it holds nothing that could be removed");
    }

    #[test]
    fn a_majority_of_the_others_confirms_a_clock() {
        for (nodes, needed) in [(1, 1), (2, 2), (3, 2), (4, 3)] {
            let mut trust = Trust::begin(START, None, false);
            let asked = |agree| Asked { nodes, agree, differ: 0 };
            assert!(!trust.judge(later(1000), asked(needed - 1)), "{nodes}");
            assert!(trust.judge(later(1000), Asked { differ: nodes - needed, ..asked(needed) }), "{nodes}");
            assert_eq!(trust.doubt(), None);
            assert!(!trust.judge(later(2000), asked(needed)), "it was trusted already");
        }
    }

    #[test]
    fn a_lone_node_waits_for_ten_steady_minutes() {
        let steady = STEADY.as_millis() as u64;
        let mut trust = trusted();
        trust.look(ahead(later(1000), 90_000));
        trust.look(later(5000));
        assert!(!trust.judge(later(1000 + steady), Asked::default()), "counted from the last jump");
        assert!(trust.judge(later(5000 + steady), Asked::default()));
    }

    #[test]
    fn after_ten_steady_minutes_a_majority_with_this_node_is_enough_unless_one_disagrees() {
        let steady = STEADY.as_millis() as u64;
        let judge = |ms: u64, nodes: usize, agree: usize, differ: usize| {
            Trust::begin(START, None, false).judge(later(ms), Asked { nodes, agree, differ })
        };
        assert!(judge(steady, 2, 1, 0), "two of three have the same time, and the third is away");
        assert!(!judge(steady - 1, 2, 1, 0));
        assert!(!judge(steady, 2, 1, 1), "the third has another time");
        assert!(!judge(100 * DAY_MS, 2, 0, 0), "one of three is no majority");
        assert!(!judge(100 * DAY_MS, 1, 0, 0), "one of two is none");
        assert!(judge(steady, 4, 2, 0) && !judge(steady, 4, 1, 0));
    }

    #[test]
    fn doubts_are_told_in_words() {
        let words = |doubt: Doubt| doubt.to_string();
        assert_eq!(words(Doubt::Jumped { by_ms: 40 * DAY_MS as i64 }), "it went ahead by 40 days");
        assert_eq!(words(Doubt::Jumped { by_ms: -20_000 }), "it went back by 20 seconds");
        assert_eq!(words(Doubt::LongAway { ms: 26 * 3_600_000 }), "the node was away for 26 hours");
        assert_eq!(words(Doubt::LongAway { ms: -600_000 }), "it is 10 minutes before the node's last stop");
    }
}
