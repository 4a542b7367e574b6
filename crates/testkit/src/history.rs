//! What clients have seen of a cluster, and what they count.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use crate::life::Life;

/// What was acknowledged, and what is in doubt.
#[derive(Default)]
pub(crate) struct History {
    /// Code to target, of every `201` for a link that is never changed.
    pub(crate) links: HashMap<String, String>,
    /// Links that are edited and deleted.
    pub(crate) lives: Vec<Life>,
    /// Alias to the targets of claims with an unknown outcome.
    pub(crate) unknown: HashMap<String, Vec<String>>,
    /// Violations that were found.
    pub(crate) broken: Vec<String>,
}

/// Counts of a run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    /// Creates answered `201`.
    pub acknowledged: u64,
    /// Creates that were definitely refused (`503`, `507`, no connection).
    pub refused: u64,
    /// Creates with an unknown outcome.
    pub unknown: u64,
    /// Correct redirects.
    pub redirects: u64,
    /// Wrong answers for acknowledged links from nodes that were up.
    pub missed: u64,
    /// The longest time without an acknowledged create.
    pub longest_pause: Duration,
    /// Edits that were acknowledged.
    pub edited: u64,
    /// Deletes that were acknowledged.
    pub deleted: u64,
    /// Aliases of deleted links that were claimed again.
    pub claimed_again: u64,
    /// Answers `410` for links after their end.
    pub ended: u64,
    /// Answers `302`; each is a visit that has to be counted.
    pub visits: u64,
    /// Requests for links whose answer was not read: they may or may not have been visits.
    pub visits_in_doubt: u64,
}

/// What clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Does {
    /// They create links and follow them.
    Creates,
    /// They also edit, delete and claim again, and create links that end. Only for nodes that can reach the leaders.
    Changes,
}

/// Counts how often clocks were set. While a clock is wrong, answers near a link's end are not checked.
#[derive(Default)]
pub(crate) struct Clocks {
    pub(crate) wrong: AtomicBool,
    pub(crate) set: AtomicU64,
}
