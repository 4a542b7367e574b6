//! The bounds and the restart policy of an actor.

use std::time::Duration;

/// What holds for an actor, stated by its own crate.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Its name in logs and metrics.
    pub name: &'static str,
    /// Messages that it may hold, queued or in work. The next interactive one is answered `Overloaded`.
    pub inflight_max: usize,
    /// Messages of [`Class::SlowRead`](waypost_protocol::Class) that it may hold besides; the next one is answered `Overloaded`.
    pub slow_reads_max: usize,
    /// Restarts within `restart_window` after which it is given up.
    pub restarts_max: u32,
    /// The window in which restarts are counted.
    pub restart_window: Duration,
    /// The pause before the first restart of a window; doubled with each further one.
    pub backoff_first: Duration,
    /// The longest pause.
    pub backoff_max: Duration,
    /// What follows when the restarts are spent.
    pub on_exhausted: OnExhausted,
    /// Whether requests need it: while it is given up, the node is not ready.
    pub needed: bool,
}

/// What follows when an actor has been restarted too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExhausted {
    /// It stays down; every call answers `Unavailable`, and [`Supervision::given_up`](crate::Supervision::given_up) names it.
    Stop,
    /// The process exits with this code.
    ExitProcess(i32),
}
