//! The checkpoints of a group, and the purge that follows each: the covered log is removed, except for what `retention.rs` keeps.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use openraft::async_runtime::watch::WatchReceiver;
use openraft::metrics::WaitError;
use openraft::{Raft, RaftMetrics};
use waypost_store::machine::Machine;

use crate::due::CheckpointDue;
use crate::log_store::RaftLog;
use crate::retention::Retention;
use crate::state_machine::GroupMachine;
use crate::types::TypeConfig;

/// How often a checkpoint is requested again, until openraft has one that covers what was applied when it became due.
const NOTED_LOOK: Duration = Duration::from_secs(1);

/// How often to check whether the log that a snapshot holds back can be purged, while no checkpoint is due.
const HELD_LOOK: Duration = Duration::from_secs(2);

/// Writes a checkpoint whenever one is due, and purges the log behind it. `tree` is locked while an export runs.
pub(crate) async fn checkpoint_when_due<M: Machine>(
    raft: Raft<TypeConfig, GroupMachine<M>>,
    due: Arc<CheckpointDue>,
    retention: Arc<Retention>,
    log: RaftLog,
    tree: Arc<tokio::sync::Mutex<()>>,
) {
    // Whether a part of the log is kept for a replica that is being sent a snapshot.
    let mut held = retention.is_held(Instant::now());
    loop {
        let notified = due.notified();
        if !held {
            notified.await;
        } else if tokio::time::timeout(HELD_LOOK, notified).await.is_err() {
            let Some(still) = purge(&raft, &retention, &log).await else { return };
            held = still;
            continue;
        }
        // Entries applied during the last checkpoint may have sent a second notification.
        if !due.take() {
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
