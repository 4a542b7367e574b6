//! The budget of a node for questions to other leaders about codes that its own replicas do not know.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use waypost_telemetry::{Counter, Metrics};

/// Questions a second. Beyond that somebody is guessing codes, and other nodes should not suffer: a fresh replica then answers by
/// itself that the link does not exist. For links younger than the age of its state, below a second, that may be wrong.
const PER_SECOND: u32 = 500;

/// The largest burst of questions.
const BURST: u32 = 500;

/// The budget of a node.
pub struct LeaderBudget {
    left: Mutex<Left>,
    spared: Counter,
}

struct Left {
    questions: f64,
    at: Instant,
}

impl Left {
    /// Takes one question from the budget, if one is left.
    fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).min(Duration::from_secs(60));
        self.at = self.at.max(now);
        self.questions = (self.questions + passed.as_secs_f64() * f64::from(PER_SECOND)).min(f64::from(BURST));
        let is_left = self.questions >= 1.0;
        if is_left {
            self.questions -= 1.0;
        }
        is_left
    }
}

impl LeaderBudget {
    /// A full budget.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            left: Mutex::new(Left { questions: f64::from(BURST), at: Instant::now() }),
            spared: metrics.counter(
                "waypost_unknown_not_asked_total",
                "Unknown codes that the leader of their shard was not asked about, because there were too many of them",
            ),
        }
    }

    /// Whether the leader of a shard may be asked about a code that the own replica does not know.
    pub(crate) fn may_ask(&self) -> bool {
        let may = self.left.lock().take(Instant::now());
        if !may {
            self.spared.inc();
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_so_many_questions_a_second_and_no_more() {
        let now = Instant::now();
        let mut left = Left { questions: f64::from(BURST), at: now };
        let asked = |left: &mut Left, now| (0..5000).filter(|_| left.take(now)).count() as u32;
        assert_eq!(asked(&mut left, now), BURST);
        assert_eq!(asked(&mut left, now + Duration::from_millis(100)), PER_SECOND / 10);
        assert_eq!(asked(&mut left, now + Duration::from_secs(3600)), BURST);
        assert_eq!(asked(&mut left, now), 0, "a moment that is over gives nothing");
    }
}
