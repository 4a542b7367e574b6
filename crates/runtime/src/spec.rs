//! The bounds and the restart policy of an actor.

use std::time::Duration;

/// The bounds and the restart policy of an actor, stated by its own crate.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Its name in logs and metrics.
    pub name: &'static str,
    /// The number of messages that it may hold, queued or being handled. The next interactive one is answered `Overloaded`.
    pub inflight_max: usize,
    /// The number of further messages of [`Class::SlowRead`](waypost_protocol::Class); the next one is answered `Overloaded`.
    pub slow_reads_max: usize,
    /// The number of restarts within `restart_window` after which it stays down.
    pub restarts_max: u32,
    /// The window in which restarts are counted.
    pub restart_window: Duration,
    /// The pause before the first restart of a window; it doubles with each further one.
    pub backoff_first: Duration,
    /// The longest pause.
    pub backoff_max: Duration,
    /// What happens when no restarts are left.
    pub on_exhausted: OnExhausted,
    /// Whether requests need it: while it stays down, the node is not ready.
    pub needed: bool,
}

/// What happens to an actor that has been restarted too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExhausted {
    /// It stays down; every call answers `Unavailable`, and [`Supervision::given_up`](crate::Supervision::given_up) names it.
    Stop,
    /// The process exits with [`EXIT_SOFTWARE`](waypost_tasks::EXIT_SOFTWARE).
    ExitProcess,
}
