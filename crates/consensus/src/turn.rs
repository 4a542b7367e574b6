//! Lets other threads of the core have their turn while a long row of entries is applied.
//!
//! A thread that computes keeps its core until the kernel's next tick, some milliseconds, although a worker has requests to answer. That made the slowest
//! redirects.

use std::time::Instant;

use crate::limits::{APPLY_TURN, APPLY_TURNS_MAX};

/// The turn of a row of entries.
pub(crate) struct Turn {
    since: Instant,
    /// How often it has given way.
    given: u32,
}

impl Turn {
    /// It begins now.
    pub(crate) fn begin() -> Self {
        Self { since: Instant::now(), given: 0 }
    }

    /// Gives way to other threads if the turn is over, and returns whether it was. To be called while no lock is held.
    pub(crate) fn end_if_over(&mut self) -> bool {
        let is_over = self.given < APPLY_TURNS_MAX && self.since.elapsed() >= APPLY_TURN;
        if is_over {
            std::thread::yield_now();
            (self.since, self.given) = (Instant::now(), self.given + 1);
        }
        is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_given_up_when_it_is_over_and_a_long_row_goes_on_in_the_end() {
        let mut turn = Turn::begin();
        turn.since += APPLY_TURN * 1_000_000;
        assert!(!turn.end_if_over());
        for _ in 0..APPLY_TURNS_MAX {
            turn.since = Instant::now() - APPLY_TURN;
            assert!(turn.end_if_over());
        }
        turn.since = Instant::now() - APPLY_TURN;
        assert!(!turn.end_if_over());
    }
}
