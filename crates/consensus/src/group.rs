//! One replicated group: propose commands, read the state.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::{BasicNode, Config, Raft, ServerState, SnapshotPolicy};
use parking_lot::RwLock;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use waypost_protocol::command::Command;
use waypost_protocol::{NodeId, UnixMs};
use waypost_store::machine::{Machine, snapshot};
use waypost_store::{Db, LogStore};

use crate::groups::OpenError;
use crate::log_store::RaftLog;
use crate::network::NoPeers;
use crate::position::Positioned;
use crate::proposer::{self, Applied, COMMAND_BYTES_MAX, ProposeError, QUEUE_MAX, Waiting};
use crate::state_machine::{CheckpointDue, GroupMachine, install_path};
use crate::types::TypeConfig;

/// What is settled for all groups of a node.
#[derive(Debug, Clone, Copy)]
pub struct GroupOptions {
    /// A group writes a checkpoint when about this many bytes have changed.
    pub checkpoint_bytes: u64,
    /// The clock that stamps commands.
    pub clock: fn() -> UnixMs,
}

/// A checkpoint is due when the log since the last one is this many times as long as a checkpoint may be: bounds the
/// replay after a crash when commands change the same things again and again, as clicks do.
const LOG_PER_CHECKPOINT: u64 = 4;

/// How long a start may take to bring a group back to its acknowledged state.
const RECOVERY_MAX: Duration = Duration::from_secs(300);

/// A group that runs on this node.
pub struct Group<M: Machine> {
    id: u32,
    raft: Raft<TypeConfig, GroupMachine<M>>,
    state: Arc<RwLock<Positioned<M>>>,
    queue: mpsc::Sender<Waiting>,
    tasks: Vec<JoinHandle<()>>,
}

/// What can be told of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupStatus {
    /// Group 0 holds the cluster; group `n` is shard `n - 1`.
    pub group: u32,
    /// Whether this node leads it.
    pub leader: bool,
    /// The last index applied.
    pub applied: u64,
    /// The last index in the log.
    pub last: u64,
    /// Bytes that the next checkpoint would write.
    pub pending_bytes: u64,
}

impl<M: Machine> Group<M> {
    /// Opens the group from its tree and log, making it with this node as its only member if `create` and it is new, and
    /// returns when its state is what had been acknowledged.
    ///
    /// Runs on the tokio runtime that it is called on, for as long as it lives.
    ///
    /// # Errors
    /// When the store is damaged or fails, or the group does not come back in time.
    pub(crate) async fn open(
        db: &Db,
        id: u32,
        node: NodeId,
        create: bool,
        data_dir: &Path,
        options: GroupOptions,
    ) -> Result<Self, OpenError> {
        let snapshots = data_dir.join("snapshots");
        let tree = db.tree(&format!("sm/{id}"))?;
        let unfinished = install_path(&snapshots, id);
        if unfinished.exists() {
            tracing::warn!(group = id, "importing again a snapshot whose import was interrupted");
            snapshot::import(&tree, id, &unfinished)?;
            db.commit().wait().await?;
            snapshot::discard(&unfinished)?;
        }
        let (machine, position) = tokio::task::block_in_place(|| M::open(tree))?;
        let state = Arc::new(RwLock::new(Positioned::new(machine, position.as_deref())?));
        let due = Arc::new(CheckpointDue {
            notify: Notify::new(),
            bytes: options.checkpoint_bytes,
            log_bytes: options.checkpoint_bytes * LOG_PER_CHECKPOINT,
            log_bytes_since: AtomicU64::new(0),
        });
        let log = RaftLog::new(LogStore::open(db, id)?, db.commit().clone());
        let machine = GroupMachine::new(id, state.clone(), db.commit().clone(), due.clone(), snapshots);
        let failed = |detail: String| OpenError::Group { group: id, detail };
        let raft = Raft::new(node.0, config(), NoPeers, log, machine).await.map_err(|e| failed(e.to_string()))?;
        if !raft.is_initialized().await.map_err(|e| failed(e.to_string()))? {
            if !create {
                return Err(failed("it was never created".to_owned()));
            }
            let members = BTreeMap::from([(node.0, BasicNode::new(""))]);
            raft.initialize(members).await.map_err(|e| failed(e.to_string()))?;
        }
        raft.wait(Some(RECOVERY_MAX))
            .state(ServerState::Leader, "the only member leads")
            .await
            .map_err(|e| failed(e.to_string()))?;
        raft.wait_for_recovery(Some(RECOVERY_MAX)).await.map_err(|e| failed(e.to_string()))?;
        // A group of one needs no heartbeats and no elections; without ticks it costs nothing while idle.
        raft.runtime_config().tick(false);

        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let tasks = vec![
            tokio::spawn(proposer::run(raft.clone(), options.clock, waiting)),
            tokio::spawn(checkpoint_when_due(raft.clone(), due)),
        ];
        Ok(Self { id, raft, state, queue, tasks })
    }

    /// Proposes a command and waits until it is durable on a quorum and applied here.
    ///
    /// # Errors
    /// See [`ProposeError`]: some say that nothing was done, `Stopped` says that the outcome is not known. When the
    /// future is dropped the command may still be applied.
    pub async fn propose(&self, command: Command) -> Result<Applied, ProposeError> {
        let bytes = proposer::size_of(&command);
        if bytes > COMMAND_BYTES_MAX {
            return Err(ProposeError::TooLarge { bytes, max: COMMAND_BYTES_MAX });
        }
        let (reply, answer) = oneshot::channel();
        self.queue.try_send(Waiting { command, bytes, reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ProposeError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => ProposeError::Stopped("it is shut down".to_owned()),
        })?;
        answer.await.unwrap_or_else(|_| Err(ProposeError::Stopped("the proposer has ended".to_owned())))
    }

    /// Reads the state. Short: while it is read, nothing is applied to this group.
    pub fn read<T>(&self, read: impl FnOnce(&M) -> T) -> T {
        read(&self.state.read().machine)
    }

    /// Changes how the state tells of itself (its listeners), never the state.
    pub fn configure(&self, configure: impl FnOnce(&mut M)) {
        configure(&mut self.state.write().machine);
    }

    /// Asks for a checkpoint soon, whether or not one is due. Does not wait for it.
    pub async fn checkpoint(&self) -> Result<(), ProposeError> {
        self.raft.trigger().snapshot().await.map_err(|error| ProposeError::Stopped(error.to_string()))
    }

    /// What can be told of the group.
    pub fn status(&self) -> GroupStatus {
        let applied = self.state.read().applied.map_or(0, |id| id.index);
        GroupStatus {
            group: self.id,
            leader: self.raft.is_leader(),
            applied,
            last: self.raft.data_metrics().borrow_watched().last_log.map_or(applied, |id| id.index),
            pending_bytes: self.state.read().machine.pending_bytes(),
        }
    }

    /// Writes a checkpoint, so that the next start has nothing to replay, and stops the group.
    ///
    /// # Errors
    /// When the checkpoint could not be written; the log still has everything.
    pub(crate) async fn close(&self) -> Result<(), OpenError> {
        let failed = |detail: String| OpenError::Group { group: self.id, detail };
        self.raft.shutdown().await.map_err(|error| failed(error.to_string()))?;
        for task in &self.tasks {
            task.abort();
        }
        tokio::task::block_in_place(|| {
            let mut state = self.state.write();
            if state.machine.pending_bytes() > 0 { state.checkpoint().map(|_| ()) } else { Ok(()) }
        })?;
        Ok(())
    }
}

async fn checkpoint_when_due<M: Machine>(raft: Raft<TypeConfig, GroupMachine<M>>, due: Arc<CheckpointDue>) {
    loop {
        due.notify.notified().await;
        if raft.trigger().snapshot().await.is_err() {
            return;
        }
    }
}

fn config() -> Arc<Config> {
    let config = Config {
        cluster_name: "waypost".to_owned(),
        // Well above the time of an fsync on a small machine, or a slow disk would cost elections.
        heartbeat_interval: 500,
        election_timeout_min: 1500,
        election_timeout_max: 3000,
        install_snapshot_timeout: 30_000,
        // Checkpoints are due by bytes (`CheckpointDue`), not by a number of entries.
        snapshot_policy: SnapshotPolicy::Never,
        // All that a checkpoint covers goes at once; checkpoints are far apart, and the store removes in batches.
        max_in_snapshot_log_to_keep: 0,
        purge_batch_size: 1,
        ..Config::default()
    };
    Arc::new(config.validate().expect("invariant: the timeouts above are in order"))
}
