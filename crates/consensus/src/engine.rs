//! The openraft engine of a group: its configuration, when it may stand for election, and what follows if it stops.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use openraft::Instant as _;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::{Config, Raft, SnapshotPolicy};
use parking_lot::RwLock;
use waypost_store::machine::Machine;

use crate::lease::{Instant, Promise};
use crate::limits::LEASE;
use crate::position::Positioned;
use crate::state_machine::GroupMachine;
use crate::types::TypeConfig;

/// Lets a replica stand for election when nobody counts on its promise any more, and a `turn` later.
pub(crate) async fn elect_after<M: Machine>(raft: Raft<TypeConfig, GroupMachine<M>>, promise: Promise, turn: Duration) {
    if let Some(left) = promise.left(Instant::now()) {
        tokio::time::sleep(left + turn).await;
    }
    raft.runtime_config().elect(true);
}

/// A group whose engine has ended by itself can keep no promise any more: the store is made to fail, which stops the node.
pub(crate) async fn fail_with_the_engine<M: Machine>(
    raft: Raft<TypeConfig, GroupMachine<M>>,
    state: Arc<RwLock<Positioned<M>>>,
    closing: Arc<AtomicBool>,
) {
    let mut metrics = raft.metrics();
    loop {
        let running = metrics.borrow_watched().running_state.clone();
        let changed = match running {
            Ok(()) => metrics.changed().await.map_err(|_| "it has ended".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(why) = changed {
            if !closing.load(Ordering::Acquire) {
                state.read().machine.tree().fail(&format!("replication has stopped: {why}"));
            }
            return;
        }
    }
}

/// What openraft is configured with.
pub(crate) fn config() -> Arc<Config> {
    let config = Config {
        cluster_name: "waypost".to_owned(),
        // A follower waits for the leader's lease to end and then for its own time, so writes stop for at most about twice the
        // longest of these. Heartbeats do not wait for the disk, so a slow one costs no election.
        heartbeat_interval: 150,
        election_timeout_min: 500,
        election_timeout_max: LEASE.as_millis() as u64,
        // For a whole snapshot; each of its pieces has a limit of its own.
        install_snapshot_timeout: 600_000,
        // Checkpoints are due by bytes (`CheckpointDue`), not by a number of entries.
        snapshot_policy: SnapshotPolicy::Never,
        // What goes is decided by `retention.rs`.
        max_in_snapshot_log_to_keep: u64::MAX,
        // A follower is sent so much at a time, of entries of up to 24 KiB.
        max_payload_entries: 32,
        enable_pre_vote: Some(true),
        // A leader that comes back asks for votes like others: its committed entries may have gone on without it.
        enable_leader_restore: Some(false),
        ..Config::default()
    };
    Arc::new(config.validate().expect("invariant: the timeouts above are in order"))
}
