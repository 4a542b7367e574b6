//! When a checkpoint of a group is due.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

use crate::limits::{LOG_PER_CHECKPOINT, WAITING_PER_CHECKPOINT_MAX};
use crate::position::Counts;

/// The changed bytes at which a checkpoint of a group is due, of the configured ones: from three quarters of them to all. The shards of a node change at the
/// same pace. If all were due at the same, each would write its checkpoint behind the other, and redirects would lack the core for a second; so they take turns.
pub(crate) fn share_of(group: u32, bytes: u64) -> u64 {
    bytes - bytes / 4 * u64::from(group % 16) / 16
}

/// Decides when a checkpoint of a group is due, and wakes the task that writes it.
pub(crate) struct CheckpointDue {
    notify: Notify,
    /// The number of changed bytes at which a checkpoint is due.
    bytes: u64,
    log_bytes_since: AtomicU64,
    counts: Arc<Counts>,
    /// Set when a checkpoint was requested, due or not.
    asked: AtomicBool,
}

impl CheckpointDue {
    /// Due at so many changed bytes (see [`share_of`]); `counts` are those of the state.
    pub(crate) fn new(bytes: u64, counts: Arc<Counts>) -> Self {
        Self { notify: Notify::new(), bytes, log_bytes_since: AtomicU64::new(0), counts, asked: AtomicBool::new(false) }
    }

    /// Requests a checkpoint, due or not.
    pub(crate) fn ask(&self) {
        self.asked.store(true, Ordering::Relaxed);
        self.notify.notify_one();
    }

    /// Entries of so many bytes were applied. Returns whether the next entries have to wait for the running export, if one runs.
    pub(crate) fn applied(&self, log_bytes: u64) -> bool {
        self.log_bytes_since.fetch_add(log_bytes, Ordering::Relaxed);
        if self.is_times(1) {
            self.notify.notify_one();
        }
        self.is_times(WAITING_PER_CHECKPOINT_MAX)
    }

    /// A checkpoint was written.
    pub(crate) fn written(&self) {
        self.log_bytes_since.store(0, Ordering::Relaxed);
    }

    /// Waits until a checkpoint may be due.
    pub(crate) async fn notified(&self) {
        self.notify.notified().await;
    }

    /// Whether a checkpoint is due, or was requested since the last call.
    pub(crate) fn take(&self) -> bool {
        self.asked.swap(false, Ordering::Relaxed) || self.is_times(1)
    }

    fn is_times(&self, times: u64) -> bool {
        self.log_bytes_since.load(Ordering::Relaxed) >= times * LOG_PER_CHECKPOINT * self.bytes
            || self.counts.pending_bytes.load(Ordering::Relaxed) >= times * self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_groups_are_not_due_at_the_same_bytes_and_none_later_than_is_configured() {
        let shares: Vec<u64> = (0..16).map(|group| share_of(group, 1 << 20)).collect();
        assert!(shares.is_sorted_by(|one, other| one > other), "{shares:?}");
        assert_eq!((shares[0], share_of(16, 1 << 20)), (1 << 20, 1 << 20));
        assert!((0..300).all(|group| (3 << 18..=1 << 20).contains(&share_of(group, 1 << 20))));
        assert_eq!([0, 1, 16].map(|bytes| share_of(7, bytes)), [0, 1, 15]);
    }
}
