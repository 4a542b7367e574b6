//! When a checkpoint is due, and when it waits although it is.
//!
//! The log that a checkpoint covers is removed. A replica that is being sent a snapshot needs the log from there on; if that is gone when it has
//! installed the snapshot, it needs another one, and under load it would never catch up. So checkpoints wait while a snapshot is on
//! its way, within a bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use openraft::Raft;
use parking_lot::Mutex;
use tokio::sync::Notify;
use waypost_store::machine::Machine;

use crate::position::Counts;
use crate::state_machine::GroupMachine;
use crate::types::TypeConfig;

/// A checkpoint is due when the log since the last one is this many times as long as a checkpoint may be: bounds the
/// replay after a crash when commands change the same things again and again, as clicks do.
const LOG_PER_CHECKPOINT: u64 = 4;

/// While an export runs, changes wait in memory for their checkpoint. At this many times what makes one due, applying waits for
/// the export too: it bounds the memory, and the log to replay after a crash.
const EXPORT_MAX: u64 = 16;

/// While a snapshot is on its way, a checkpoint waits until so many times what makes one due have come together. Less than
/// `EXPORT_MAX`, so that no change ever waits for another replica.
const SENDING_MAX: u64 = 8;

/// After a snapshot was installed, the replica takes so long, or less, to get what has come to the log meanwhile.
const CATCH_UP: Duration = Duration::from_secs(5);

/// How often a checkpoint that waits looks again.
const LOOK: Duration = Duration::from_millis(100);

/// When a checkpoint of a group is due, and who waits for that.
pub(crate) struct CheckpointDue {
    notify: Notify,
    /// Bytes that the next checkpoint would write at which it is due.
    bytes: u64,
    log_bytes_since: AtomicU64,
    counts: Arc<Counts>,
    sending: Arc<Sending>,
}

impl CheckpointDue {
    /// Due at so many bytes; `counts` are those of the state.
    pub(crate) fn new(bytes: u64, counts: Arc<Counts>, sending: Arc<Sending>) -> Self {
        Self { notify: Notify::new(), bytes, log_bytes_since: AtomicU64::new(0), counts, sending }
    }

    /// Entries of so many bytes were applied. Answers whether what comes next has to wait until the running export is done, if one runs.
    pub(crate) fn applied(&self, log_bytes: u64) -> bool {
        self.log_bytes_since.fetch_add(log_bytes, Ordering::Relaxed);
        if self.is_times(1) {
            self.notify.notify_one();
        }
        self.is_times(EXPORT_MAX)
    }

    /// A checkpoint was written.
    pub(crate) fn written(&self) {
        self.log_bytes_since.store(0, Ordering::Relaxed);
    }

    fn is_times(&self, times: u64) -> bool {
        self.log_bytes_since.load(Ordering::Relaxed) >= times * LOG_PER_CHECKPOINT * self.bytes
            || self.counts.pending_bytes.load(Ordering::Relaxed) >= times * self.bytes
    }

    fn waits(&self, now: Instant) -> bool {
        self.sending.is_under_way(now) && !self.is_times(SENDING_MAX)
    }
}

/// Whether this replica is sending a snapshot of the group to another one.
#[derive(Debug, Default)]
pub(crate) struct Sending(Mutex<Sends>);

#[derive(Debug, Default)]
struct Sends {
    now: usize,
    last_ended: Option<Instant>,
}

/// A snapshot is on its way, until this is dropped.
pub(crate) struct OnItsWay(Arc<Sending>);

impl Sending {
    pub(crate) fn begin(self: &Arc<Self>) -> OnItsWay {
        self.0.lock().now += 1;
        OnItsWay(self.clone())
    }

    fn is_under_way(&self, now: Instant) -> bool {
        let sends = self.0.lock();
        sends.now > 0 || sends.last_ended.is_some_and(|ended| now < ended + CATCH_UP)
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        let mut sends = self.0.0.lock();
        sends.now -= 1;
        sends.last_ended = Some(Instant::now());
    }
}

/// Writes a checkpoint whenever one is due. `tree` is held while an export runs.
pub(crate) async fn checkpoint_when_due<M: Machine>(
    raft: Raft<TypeConfig, GroupMachine<M>>,
    due: Arc<CheckpointDue>,
    tree: Arc<tokio::sync::Mutex<()>>,
) {
    loop {
        due.notify.notified().await;
        // What was applied while the last one waited may have told of it once more.
        if !due.is_times(1) {
            continue;
        }
        while due.waits(Instant::now()) {
            tokio::time::sleep(LOOK).await;
        }
        // A checkpoint would wait for an export, and applying for the checkpoint.
        drop(tree.lock().await);
        if raft.trigger().snapshot().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_waits_while_a_snapshot_is_on_its_way_and_a_while_after_but_within_a_bound() {
        let (counts, sending) = (Arc::<Counts>::default(), Arc::<Sending>::default());
        let due = CheckpointDue::new(100, counts.clone(), sending.clone());
        let pending = |bytes: u64| counts.pending_bytes.store(bytes, Ordering::Relaxed);
        pending(200);
        assert!(!due.waits(Instant::now()));
        let (first, second) = (sending.begin(), sending.begin());
        assert!(due.waits(Instant::now()));
        drop(first);
        assert!(due.waits(Instant::now() + 2 * CATCH_UP), "the other one is still on its way");
        drop(second);
        let now = Instant::now();
        assert!(due.waits(now) && !due.waits(now + CATCH_UP));
        pending(100 * SENDING_MAX);
        assert!(!due.waits(now), "the memory is bounded");
        pending(0);
        assert!(!due.applied(LOG_PER_CHECKPOINT * 100 * SENDING_MAX), "no change waits for another replica");
        assert!(!due.waits(now), "the log is bounded");
        assert!(due.applied(LOG_PER_CHECKPOINT * 100 * (EXPORT_MAX - SENDING_MAX)));
        due.written();
        assert!(!due.applied(0));
    }
}
