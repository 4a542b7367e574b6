//! When a checkpoint of a group is due, and the purge that follows it: the covered log is removed, except for what `retention.rs` keeps.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use openraft::async_runtime::watch::WatchReceiver;
use openraft::metrics::WaitError;
use openraft::{Raft, RaftMetrics};
use tokio::sync::Notify;
use waypost_store::machine::Machine;

use crate::log_store::RaftLog;
use crate::position::Counts;
use crate::retention::Retention;
use crate::state_machine::GroupMachine;
use crate::types::TypeConfig;

/// A checkpoint is due when the log since the last one has this many times the bytes at which changes make it due. This bounds the
/// replay after a crash when commands change the same records again and again, as clicks do.
const LOG_PER_CHECKPOINT: u64 = 4;

/// While an export runs, changes wait in memory for their checkpoint. At this multiple of the usual amount, `apply` waits for
/// the export too: it bounds the memory, and the log to replay after a crash.
const EXPORT_MAX: u64 = 16;

/// How often a checkpoint is requested again, until openraft has one that covers what was applied when it became due.
const NOTED_LOOK: Duration = Duration::from_secs(1);

/// How often to check whether the log that a snapshot holds back can be purged, while no checkpoint is due.
const HELD_LOOK: Duration = Duration::from_secs(2);

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
    /// Due at so many bytes; `counts` are those of the state.
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
}

/// Writes a checkpoint whenever one is due, and purges the log behind it. `tree` is locked while an export runs.
pub(crate) async fn checkpoint_when_due<M: Machine>(
    raft: Raft<TypeConfig, GroupMachine<M>>,
    due: Arc<CheckpointDue>,
    retention: Arc<Retention>,
    log: RaftLog,
    tree: Arc<tokio::sync::Mutex<()>>,
) {
    // Whether a part of the log is kept for a replica that is being sent a snapshot.
    let mut held = false;
    loop {
        let notified = due.notify.notified();
        if !held {
            notified.await;
        } else if tokio::time::timeout(HELD_LOOK, notified).await.is_err() {
            let Some(still) = purge(&raft, &retention, &log).await else { return };
            held = still;
            continue;
        }
        // Entries applied during the last checkpoint may have sent a second notification.
        if !due.asked.swap(false, Ordering::Relaxed) && !due.is_times(1) {
            continue;
        }
        // Otherwise the checkpoint would wait for an export, and `apply` for the checkpoint.
        drop(tree.lock().await);
        // openraft purges only behind a checkpoint that it knows.
        let reached = retention.applied_index();
        let noted = move |metrics: &RaftMetrics<TypeConfig>| metrics.snapshot.map_or(0, |id| id.index) >= reached;
        loop {
            // openraft ignores this while it writes one already.
            if raft.trigger().snapshot().await.is_err() {
                return;
            }
            match raft.wait(Some(NOTED_LOOK)).metrics(noted, "the checkpoint is durable").await {
                Ok(_) => break,
                Err(WaitError::Timeout(..)) => {}
                Err(WaitError::ShuttingDown) => return,
            }
        }
        let Some(now_held) = purge(&raft, &retention, &log).await else { return };
        held = now_held;
    }
}

/// Purges the log that nobody needs. Returns whether a part of it waits for a snapshot that is being sent; `None` = the group ends.
async fn purge<M: Machine>(
    raft: &Raft<TypeConfig, GroupMachine<M>>,
    retention: &Retention,
    log: &RaftLog,
) -> Option<bool> {
    let alone = {
        let metrics = raft.metrics();
        let metrics = metrics.borrow_watched();
        let members = metrics.membership_config.nodes().map(|(id, _)| *id).collect::<BTreeSet<_>>();
        members == BTreeSet::from([metrics.id])
    };
    let now = Instant::now();
    let upto = retention.purge_to(alone, now);
    // A store that fails stops the node.
    log.note_marks(&retention.marks()).ok()?;
    if let Some(upto) = upto {
        raft.trigger().purge_log(upto).await.ok()?;
    }
    Some(retention.is_held(now))
}
