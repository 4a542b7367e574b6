//! Long work on a thread that others share a core with.

use std::time::{Duration, Instant};

/// How long the work goes on before others have their turn. A slice of the scheduler takes three times as long, and a redirect that waits for it that much
/// longer. Shorter turns would not be better: under full load each one costs the work a slice of the others, and some wait for its end.
const TURN: Duration = Duration::from_millis(1);

/// The turns of work that takes longer than one.
pub(super) struct Turns {
    began: Instant,
}

impl Default for Turns {
    fn default() -> Self {
        Self { began: Instant::now() }
    }
}

impl Turns {
    /// Lets others who wait for this core have it, if the turn is over.
    pub(super) fn give_way(&mut self) {
        if self.began.elapsed() >= TURN {
            std::thread::yield_now();
            self.began = Instant::now();
        }
    }
}
