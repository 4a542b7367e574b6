//! When requests are sent. Closed loop: the next one as soon as the last one is answered. Open loop: at fixed times that
//! do not depend on the answers, so that a slow server cannot slow down the clock that judges it.

/// The fixed times of an open loop, in nanoseconds from the start of the run.
///
/// Invariant: `taken <= total`. No queue is needed: requests that are due and not yet sent are those between the index
/// that was taken last and the index of now.
#[derive(Debug, Clone)]
pub struct Schedule {
    rate: f64,
    total: u64,
    taken: u64,
}

impl Schedule {
    /// A schedule of `rate` requests per second for `seconds`.
    #[must_use]
    pub fn new(rate: f64, seconds: f64) -> Self {
        Self { rate, total: (rate * seconds).floor() as u64, taken: 0 }
    }

    /// The intended time of the next request, if it is due at `now_ns`.
    pub fn take_due(&mut self, now_ns: u64) -> Option<u64> {
        let intended_ns = self.next_ns()?;
        if intended_ns > now_ns {
            return None;
        }
        self.taken += 1;
        Some(intended_ns)
    }

    /// The intended time of the next request; `None` when the schedule is used up.
    #[must_use]
    pub fn next_ns(&self) -> Option<u64> {
        // Computed from the index, not by adding up intervals, so that rounding does not drift.
        (self.taken < self.total).then(|| (self.taken as f64 * 1e9 / self.rate) as u64)
    }

    #[cfg(test)]
    fn total(&self) -> u64 {
        self.total
    }
}

/// The manner of a run.
#[derive(Debug, Clone)]
pub enum Pace {
    /// Saturation: every connection always has a request in flight.
    Closed,
    /// Fixed times; latency counts from them.
    Open(Schedule),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_at_their_fixed_times() {
        let mut schedule = Schedule::new(1_000.0, 1.0);
        assert_eq!(schedule.total(), 1_000);
        assert_eq!(schedule.take_due(0), Some(0));
        assert_eq!(schedule.take_due(999_999), None);
        assert_eq!(schedule.take_due(1_000_000), Some(1_000_000));
    }

    #[test]
    fn a_stall_does_not_move_the_intended_times() {
        let mut schedule = Schedule::new(1_000.0, 1.0);
        // Nothing could be sent for half a second: the requests of that time keep the times they should have had, so
        // that their latency counts the wait.
        let now_ns = 500_000_000;
        let waits: Vec<u64> = std::iter::from_fn(|| schedule.take_due(now_ns)).map(|at| now_ns - at).collect();
        assert_eq!(waits.len(), 501);
        assert_eq!(waits[0], 500_000_000);
        assert_eq!(waits[250], 250_000_000);
        assert_eq!(waits[500], 0);
    }

    #[test]
    fn an_odd_rate_does_not_drift() {
        let mut schedule = Schedule::new(30_000.7, 10.0);
        let mut last = 0;
        while let Some(at) = schedule.take_due(u64::MAX) {
            last = at;
        }
        assert_eq!(schedule.total(), 300_007);
        assert!((9_999_000_000..10_000_000_000).contains(&last), "{last}");
        assert_eq!(schedule.next_ns(), None);
    }
}
