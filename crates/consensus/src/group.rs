//! One replicated group: propose commands, read the state.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use openraft::Instant as _;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::raft::ReadPolicy;
use openraft::{BasicNode, Raft, RaftMetrics, ServerState};
use parking_lot::RwLock;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use waypost_protocol::command::{Command, GroupCommand};
use waypost_protocol::level::ClusterLevel;
use waypost_protocol::peer::Peers;
use waypost_protocol::{Level, NodeId, UnixMs};
use waypost_store::machine::Machine;
use waypost_store::machine::incoming::Incoming;
use waypost_store::{Db, LogStore};
use waypost_tasks::{Task, Tasks};

use crate::age::Committed;
use crate::checkpoint::checkpoint_when_due;
use crate::due::{self, CheckpointDue};
use crate::engine::{config, elect_after, fail_with_the_engine};
use crate::error::OpenError;
use crate::exports::Exports;
use crate::lease::{Heard, Instant, Promise};
use crate::limits::{CLOSE_MAX, COMMAND_BYTES_MAX, ELECT_SPREAD_MS, QUEUE_MAX, RECOVERY_MAX, TURN_MAX};
use crate::log_store::RaftLog;
use crate::network::Network;
use crate::position::{Counts, Positioned, checkpoint};
use crate::proposer::{self, Applied, Encoded, ProposeError, Waiting};
use crate::receiving::Receiving;
use crate::retention::{Retention, Sending};
use crate::state_machine::{GroupMachine, SnapshotFiles, SnapshotTurn};
use crate::types::TypeConfig;

/// What is settled for all groups of a node.
#[derive(Debug, Clone, Copy)]
pub struct GroupOptions {
    /// A group writes a checkpoint when about this many bytes have changed.
    pub checkpoint_bytes: u64,
    /// About how many bytes of the log behind a checkpoint a group with other members keeps: a replica that was away is brought up to date
    /// from them, without a snapshot.
    pub log_kept_bytes: u64,
    /// Copies of a state are written to the disk as long as so many bytes are free.
    pub free_min: u64,
    /// The clock that stamps commands.
    pub clock: fn() -> UnixMs,
}

/// A group that runs on this node.
pub struct Group<M: Machine> {
    id: u32,
    raft: Raft<TypeConfig, GroupMachine<M>>,
    state: Arc<RwLock<Positioned<M>>>,
    counts: Arc<Counts>,
    due: Arc<CheckpointDue>,
    retention: Arc<Retention>,
    log: RaftLog,
    queue: mpsc::Sender<Waiting<M::Command>>,
    running: Vec<JoinHandle<()>>,
    tasks: Tasks,
    node: NodeId,
    peers: Arc<dyn Peers>,
    files: SnapshotFiles,
    receiving: Arc<tokio::sync::Mutex<Receiving>>,
    exports: Arc<Exports>,
    closing: Arc<AtomicBool>,
    installing: Arc<AtomicBool>,
    heard: Heard,
    promise: Promise,
    /// Set while a snapshot is refused for want of space.
    waits_for_space: Arc<AtomicBool>,
    /// Set while the log must not grow any more.
    exhausted: Arc<AtomicBool>,
    level: Arc<ClusterLevel>,
    /// Whether the state shows what had been acknowledged before the process started, or before this node became a member.
    caught_up: AtomicBool,
    /// See [`Group::opened_at`].
    opened_at: u64,
}

/// What a group is opened with.
#[derive(Clone)]
pub struct GroupPlace {
    /// The database.
    pub db: Db,
    /// This node.
    pub node: NodeId,
    /// Where other members find it.
    pub address: String,
    /// The data directory.
    pub data_dir: PathBuf,
    /// What holds for all groups.
    pub options: GroupOptions,
    /// The way to other nodes.
    pub peers: Arc<dyn Peers>,
    /// The level of the cluster.
    pub level: Arc<ClusterLevel>,
    /// Who may write a snapshot.
    pub snapshot_turn: Arc<SnapshotTurn>,
    /// Runs the tasks of groups.
    pub tasks: Tasks,
}

/// How a group that is not in the database yet comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IfNew {
    /// This node is its first and only member.
    Create,
    /// Its leader will make this node a member, if at all.
    Wait,
}

impl<M: Machine> Group<M> {
    /// Opens the group from its tree and log, and returns when its state is what this node had acknowledged alone. A group
    /// with other members goes on to catch up by itself.
    ///
    /// Runs on the tokio runtime that it is called on, for as long as it lives.
    ///
    /// # Errors
    /// When the store is damaged or fails, or the group does not come back in time.
    pub(crate) async fn open(place: &GroupPlace, id: u32, if_new: IfNew) -> Result<Self, OpenError> {
        let GroupPlace { db, node, address, data_dir, options, peers, level, snapshot_turn, tasks } = place.clone();
        let snapshots = data_dir.join("snapshots");
        let tree = db.tree(&format!("sm/{id}"))?;
        let incoming = Incoming::new(tree.clone(), id, snapshots.clone());
        finish_install(&db, &incoming, id).await?;
        let files = SnapshotFiles::new(snapshots, incoming, options.free_min, snapshot_turn);
        let (machine, position) = tokio::task::block_in_place(|| M::open(tree))?;
        let state = Arc::new(RwLock::new(Positioned::new(machine, position.as_deref())?));
        let (counts, sending) = (state.read().counts.clone(), Arc::<Sending>::default());
        let due = Arc::new(CheckpointDue::new(due::share_of(id, options.checkpoint_bytes), counts.clone()));
        let log = LogStore::open(&db, id)?;
        // A replica that was killed before it got its first entry or snapshot has a vote at most, and waits for its leader.
        let mut has_members = state.read().applied.is_some() || log.last_index()?.is_some();
        let log = RaftLog::new(log, db.commit().clone());
        let applied = state.read().applied;
        log.recover(applied)?;
        let applied = applied.map(|id| id.index);
        let retention = Arc::new(Retention::new(options.log_kept_bytes, log.marks()?, applied, sending.clone()));
        let installing = Arc::new(AtomicBool::new(false));
        let machine = GroupMachine::new(
            id,
            state.clone(),
            db.commit().clone(),
            due.clone(),
            retention.clone(),
            files.clone(),
            installing.clone(),
        );
        let failed = |detail: String| OpenError::Group { group: id, detail };
        let network = Network { group: id, node: node.0, peers: peers.clone(), sending };
        let opened = Instant::now();
        let raft =
            Raft::new(node.0, config(), network, log.clone(), machine).await.map_err(|e| failed(e.to_string()))?;
        let initialized = raft.is_initialized().await.map_err(|e| failed(e.to_string()))?;
        let promise = Promise::before(opened, initialized);
        // Not all at once after a power cut: each node begins elsewhere, for each group.
        let turn =
            Duration::from_millis((node.0 ^ u64::from(id).wrapping_mul(0x9e37_79b9_7f4a_7c15)) % ELECT_SPREAD_MS);
        if promise.left(opened).is_some() {
            raft.runtime_config().elect(false);
        }
        if !initialized && if_new == IfNew::Create {
            let members = BTreeMap::from([(node.0, BasicNode::new(address))]);
            raft.initialize(members).await.map_err(|e| failed(e.to_string()))?;
            has_members = true;
        }
        if has_members {
            // What openraft shows follows what it knows.
            let known = |metrics: &RaftMetrics<TypeConfig>| metrics.membership_config.voter_ids().next().is_some();
            let waiting = raft.wait(Some(RECOVERY_MAX));
            waiting.metrics(known, "the members are known").await.map_err(|e| failed(e.to_string()))?;
        }
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let closing = Arc::new(AtomicBool::new(false));
        let running = vec![
            tasks.spawn(Task::Proposer, {
                let (raft, level) = (raft.clone(), level.clone());
                let waiting = Arc::new(tokio::sync::Mutex::new(waiting));
                move || proposer::run(raft.clone(), options.clock, level.clone(), waiting.clone())
            }),
            tasks.spawn(Task::Checkpoint, {
                let (raft, due, tree) = (raft.clone(), due.clone(), files.tree.clone());
                let (retention, log) = (retention.clone(), log.clone());
                move || checkpoint_when_due(raft.clone(), due.clone(), retention.clone(), log.clone(), tree.clone())
            }),
            tasks.spawn(Task::EngineWatch, {
                let (raft, state, closing) = (raft.clone(), state.clone(), closing.clone());
                move || {
                    let electing = elect_after(raft.clone(), promise, turn);
                    let watching = fail_with_the_engine(raft.clone(), state.clone(), closing.clone());
                    async move {
                        tokio::join!(electing, watching);
                    }
                }
            }),
        ];
        let (receiving, exports) = (Arc::default(), Arc::default());
        let group = Self {
            id,
            raft,
            state,
            counts,
            due,
            retention,
            log,
            queue,
            running,
            tasks,
            node,
            peers,
            files,
            receiving,
            exports,
            closing,
            installing,
            heard: Heard::default(),
            promise,
            waits_for_space: Arc::default(),
            exhausted: db.exhausted().clone(),
            level,
            caught_up: AtomicBool::new(false),
            opened_at: applied.unwrap_or(0),
        };
        if group.voters() == BTreeSet::from([node]) {
            group.lead_alone().await.map_err(failed)?;
        }
        group.tick_if_needed();
        Ok(group)
    }

    /// A group of one elects itself and has its state back before it is used.
    async fn lead_alone(&self) -> Result<(), String> {
        if !self.raft.is_leader() {
            self.raft.trigger().elect(false).await.map_err(|error| error.to_string())?;
        }
        self.raft
            .wait(Some(RECOVERY_MAX))
            .state(ServerState::Leader, "the only member leads")
            .await
            .map_err(|error| error.to_string())?;
        self.raft.wait_for_recovery(Some(RECOVERY_MAX)).await.map_err(|error| error.to_string())?;
        Ok(())
    }

    /// A group of one needs no heartbeats and no elections; without ticks it costs nothing while idle.
    pub(crate) fn tick_if_needed(&self) {
        let alone = BTreeSet::from([self.node]);
        self.raft.runtime_config().tick(self.voters() != alone || !self.learners().is_empty());
    }

    pub(crate) fn raft(&self) -> &Raft<TypeConfig, GroupMachine<M>> {
        &self.raft
    }

    /// This node.
    pub fn node(&self) -> NodeId {
        self.node
    }

    pub(crate) fn files(&self) -> &SnapshotFiles {
        &self.files
    }

    pub(crate) fn receiving(&self) -> &Arc<tokio::sync::Mutex<Receiving>> {
        &self.receiving
    }

    /// What this replica may have promised a leader before its process was restarted.
    pub(crate) fn promise(&self) -> &Promise {
        &self.promise
    }

    pub(crate) fn heard(&self) -> &Heard {
        &self.heard
    }

    /// Whether there is too little free space for a longer log.
    pub(crate) fn is_out_of_space(&self) -> bool {
        self.exhausted.load(Ordering::Relaxed)
    }

    pub(crate) fn waits_for_space(&self) -> &Arc<AtomicBool> {
        &self.waits_for_space
    }

    pub(crate) fn exports(&self) -> &Arc<Exports> {
        &self.exports
    }

    pub(crate) fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    pub(crate) fn level(&self) -> &ClusterLevel {
        &self.level
    }

    /// The level of the cluster, by which commands are proposed.
    pub fn cluster_level(&self) -> Level {
        self.level.get()
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    pub(crate) fn state(&self) -> &Arc<RwLock<Positioned<M>>> {
        &self.state
    }

    pub(crate) fn peers(&self) -> &Arc<dyn Peers> {
        &self.peers
    }

    /// Group 0 holds the cluster; group `n` is shard `n - 1`.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Whether a snapshot is about to replace the state: reading it would have to wait.
    pub fn is_installing(&self) -> bool {
        self.installing.load(Ordering::Acquire)
    }

    /// Whether the state shows what had been acknowledged before the process started, or before this node became a member, as far as
    /// anybody could tell.
    pub fn is_caught_up(&self) -> bool {
        self.caught_up.load(Ordering::Acquire)
    }

    pub(crate) fn set_caught_up(&self, caught_up: bool) {
        self.caught_up.store(caught_up, Ordering::Release);
    }

    /// The last index of the log that is applied, perhaps some microseconds late.
    pub fn applied(&self) -> u64 {
        self.raft.data_metrics().borrow_watched().last_applied.map_or(0, |id| id.index)
    }

    /// How far the group is, if this node leads it and is sure of that: everything that was acknowledged before is up to that index.
    pub(crate) async fn committed(&self) -> Option<Committed> {
        if !self.raft.is_leader() {
            return None;
        }
        let (read, _) = self.raft.get_read_log_id(ReadPolicy::LeaseRead).await.ok()?;
        let id = read.log_id();
        Some(Committed { index: id.index, term: id.leader_id.term })
    }

    /// Waits until the state shows every write that was acknowledged anywhere before this call; only a leader that is sure
    /// of itself can say so. `strict` asks a quorum; without it a lease, which trusts the rate of clocks, is enough.
    ///
    /// # Errors
    /// `NotLeader`, with the leader if it is known.
    pub async fn linearize(&self, strict: bool) -> Result<(), ProposeError> {
        let elsewhere = || self.presumed_leader().filter(|leader| *leader != self.node);
        let not_leader = || ProposeError::NotLeader { leader: elsewhere().map(|id| id.0) };
        if !self.raft.is_leader() {
            return Err(not_leader());
        }
        let policy = if strict { ReadPolicy::ReadIndex } else { ReadPolicy::LeaseRead };
        // In the heap: whoever waits for this may not have to, and is moved with all its parts.
        Box::pin(self.raft.ensure_linearizable(policy)).await.map(|_| ()).map_err(|_| not_leader())
    }

    /// Proposes a command and waits until it is durable on a quorum and applied here.
    ///
    /// # Errors
    /// See [`ProposeError`]: some say that nothing was done, `Stopped` says that the outcome is not known. When the
    /// future is dropped the command may still be applied.
    pub async fn propose<C>(&self, command: C) -> Result<Applied<C::Outcome>, ProposeError>
    where
        C: Command<Group = M::Command>,
    {
        let applied = self.propose_any(command.into()).await?.of_command::<C>();
        Ok(applied.expect("invariant: a machine answers each command through `Command::answered`"))
    }

    /// As [`Group::propose`], for a command of which only the kind of group is known.
    pub(crate) async fn propose_any(&self, command: M::Command) -> Result<Applied<M::Outcome>, ProposeError> {
        let (needed, level) = (command.level(), self.level.get());
        if needed > level && !(command.raises_level() && needed <= Level::CURRENT) {
            return Err(ProposeError::NotYet { needed, level });
        }
        let encoded = Encoded::new(command, level.max(needed));
        let bytes = encoded.bytes.len();
        if bytes > COMMAND_BYTES_MAX {
            return Err(ProposeError::TooLarge { bytes, max: COMMAND_BYTES_MAX });
        }
        if self.is_out_of_space() {
            return Err(ProposeError::NoSpace);
        }
        let (reply, answer) = oneshot::channel();
        self.queue.try_send(Waiting { encoded, reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ProposeError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => ProposeError::Stopped("it is shut down".to_owned()),
        })?;
        answer.await.unwrap_or_else(|_| Err(ProposeError::Stopped("the proposer has ended".to_owned())))
    }

    /// Reads the state. Short: while it is read, nothing is applied to this group.
    pub fn read<T>(&self, read: impl FnOnce(&M) -> T) -> T {
        // Not behind whoever waits to write: that may wait for a snapshot, and reading must not.
        read(&self.state.read_recursive().machine)
    }

    /// Reads the state if that is possible at once; `None` = it is being changed, or somebody waits to change it: whoever reads again and again must not
    /// hold up what is applied.
    pub fn read_at_once<T>(&self, read: impl FnOnce(&M) -> T) -> Option<T> {
        self.state.try_read().map(|state| read(&state.machine))
    }

    /// Reads the state without holding up what is applied: behind whoever waits to change it, unless that takes longer than
    /// `TURN_MAX`, since a snapshot of the state is written. Many that read in turn, one after the other, leave room between them.
    pub fn read_in_turn<T>(&self, read: impl FnOnce(&M) -> T) -> T {
        let state = self.state.try_read_for(TURN_MAX).unwrap_or_else(|| self.state.read_recursive());
        read(&state.machine)
    }

    /// As [`Group::read_in_turn`], with the index up to which the log is applied to the state.
    pub fn read_with_index<T>(&self, read: impl FnOnce(&M, u64) -> T) -> T {
        let state = self.state.try_read_for(TURN_MAX).unwrap_or_else(|| self.state.read_recursive());
        read(&state.machine, state.applied.map_or(0, |id| id.index))
    }

    /// The index of the checkpoint from which the state was read when the group was opened; 0 without one. What follows was applied again.
    pub fn opened_at(&self) -> u64 {
        self.opened_at
    }

    /// Changes how the state tells of itself (its listeners), never the state.
    pub fn configure(&self, configure: impl FnOnce(&mut M)) {
        configure(&mut self.state.write().machine);
    }

    /// Asks for a checkpoint soon, whether or not one is due. Does not wait for it.
    pub fn checkpoint(&self) {
        self.due.ask();
    }

    /// Writes a checkpoint, so that the next start has nothing to replay, and stops the group.
    ///
    /// # Errors
    /// When the checkpoint could not be written; the log still has everything.
    pub(crate) async fn close(&self) -> Result<(), OpenError> {
        let failed = |detail: String| OpenError::Group { group: self.id, detail };
        self.closing.store(true, Ordering::Release);
        self.raft.shutdown().await.map_err(|error| failed(error.to_string()))?;
        for task in &self.running {
            task.abort();
        }
        // An export that runs is waited for, but not for ever: without a checkpoint the next start has more to replay.
        let Ok(kept) = tokio::time::timeout(CLOSE_MAX, self.files.tree.lock()).await else { return Ok(()) };
        tokio::task::block_in_place(|| {
            if self.state.read().machine.pending_bytes() > 0 {
                let written = checkpoint(&self.state)?;
                written.applied.into_iter().for_each(|applied| self.retention.checkpoint(applied.index));
            }
            self.log.note_marks(&self.retention.marks())
        })?;
        drop(kept);
        Ok(())
    }
}

/// Goes on with the import of a snapshot that the last life of the process did not finish.
async fn finish_install(db: &Db, incoming: &Incoming, id: u32) -> Result<(), OpenError> {
    if incoming.is_staged() {
        tracing::warn!(group = id, "importing again a snapshot whose import was interrupted");
        tokio::task::block_in_place(|| incoming.import())?;
        db.commit().wait().await?;
        tokio::task::block_in_place(|| incoming.discard())?;
    }
    Ok(())
}
