//! The state machine of a group, as openraft asks for it, around a `Machine` of the store.
//!
//! A checkpoint is what openraft calls building a snapshot: the state becomes durable at its position, so the log before
//! it can be purged. The file that another replica would need is written only when somebody asks for its bytes.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::{Stream, TryStreamExt};
use openraft::alias::{SnapshotMetaOf, SnapshotOf};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot, SnapshotMeta};
use openraft::{EntryPayload, OptionalSend};
use parking_lot::{RwLock, RwLockWriteGuard};
use tokio::sync::Notify;
use waypost_store::machine::incoming::Incoming;
use waypost_store::machine::{Machine, snapshot};
use waypost_store::{CommitHandle, StoreError};

use crate::position::Positioned;
use crate::proposer::size_of;
use crate::types::{LogId, Outcomes, StoredMembership, TypeConfig};

/// When a checkpoint is due, and who waits for that.
pub(crate) struct CheckpointDue {
    pub(crate) notify: Notify,
    /// Bytes that the next checkpoint would write at which it is due.
    pub(crate) bytes: u64,
    /// Bytes of log to replay after a crash at which it is due.
    pub(crate) log_bytes: u64,
    pub(crate) log_bytes_since: AtomicU64,
}

pub(crate) struct GroupMachine<M> {
    group: u32,
    state: Arc<RwLock<Positioned<M>>>,
    commit: CommitHandle,
    due: Arc<CheckpointDue>,
    files: SnapshotFiles,
    /// Set while a snapshot replaces the state.
    installing: Arc<AtomicBool>,
}

/// Where the snapshots of a group are written.
#[derive(Clone)]
pub(crate) struct SnapshotFiles {
    /// The directory.
    pub(crate) dir: PathBuf,
    /// Those that come in.
    pub(crate) incoming: Incoming,
    /// Snapshots are written as long as more bytes than these are free.
    pub(crate) free_min: u64,
}

impl<M: Machine> GroupMachine<M> {
    pub(crate) fn new(
        group: u32,
        state: Arc<RwLock<Positioned<M>>>,
        commit: CommitHandle,
        due: Arc<CheckpointDue>,
        files: SnapshotFiles,
        installing: Arc<AtomicBool>,
    ) -> Self {
        Self { group, state, commit, due, files, installing }
    }

    fn snapshot(&self) -> AnySnapshot {
        let state = self.state.read();
        let meta = SnapshotMeta { last_log_id: state.applied, last_membership: state.members.clone() };
        let (group, shared) = (self.group, self.state.clone());
        let SnapshotFiles { dir, free_min, .. } = self.files.clone();
        let write = move || {
            // One for each transfer: several members may be behind.
            static SENT: AtomicU64 = AtomicU64::new(0);
            let number = SENT.fetch_add(1, Ordering::Relaxed);
            let path = dir.join(format!("send-{group}-{number}.snap"));
            let file = std::fs::File::create(&path)?;
            let position = write_snapshot(&shared, group, &file, free_min).inspect_err(|_| {
                let _ = std::fs::remove_file(&path);
            })?;
            Ok((path, crate::format::decode_position(&position)?.0))
        };
        Snapshot { meta, snapshot: SnapshotData(Content::Later(Box::new(write))) }
    }
}

/// Locks the state for a change. While a snapshot of it is written that takes long: other tasks then go on on other threads.
fn write_or_wait<M: Machine>(state: &RwLock<Positioned<M>>) -> RwLockWriteGuard<'_, Positioned<M>> {
    match state.try_write() {
        Some(locked) => locked,
        None => tokio::task::block_in_place(|| state.write()),
    }
}

/// Writes the state of a group to a file; answers its position. On a thread that may wait.
pub(crate) fn write_snapshot<M: Machine>(
    state: &RwLock<Positioned<M>>,
    group: u32,
    file: &std::fs::File,
    free_min: u64,
) -> io::Result<Vec<u8>> {
    let mut state = state.write();
    let position = state.checkpoint().inspect_err(|error| state.machine.tree().fail(error))?;
    // Nothing is applied until it is written, but reading goes on (`Positioned` is read past whoever waits to write).
    let state = RwLockWriteGuard::downgrade(state);
    snapshot::export(state.machine.tree(), group, &position, file, free_min).map_err(io::Error::other)?;
    Ok(position)
}

fn failed<M: Machine>(machine: &M, error: StoreError) -> io::Error {
    machine.tree().fail(&error);
    io::Error::other(error)
}

type AnySnapshot = SnapshotOf<TypeConfig, SnapshotData>;

/// The bytes of a snapshot: written to a file when they are asked for, or received in one.
pub struct SnapshotData(Content);

enum Content {
    Later(Box<dyn FnOnce() -> io::Result<(PathBuf, Option<LogId>)> + Send + Sync>),
    File(PathBuf),
}

impl SnapshotData {
    /// A snapshot that was received whole.
    pub(crate) fn file(path: PathBuf) -> Self {
        Self(Content::File(path))
    }

    /// The file with the snapshot, and where it reaches, if it was written just now: that may be later than announced.
    pub(crate) fn into_file(self) -> io::Result<(PathBuf, Option<LogId>)> {
        match self.0 {
            Content::Later(write) => write(),
            Content::File(path) => Ok((path, None)),
        }
    }
}

/// Waits until a checkpoint is durable.
pub(crate) struct CheckpointBuilder {
    commit: CommitHandle,
    snapshot: io::Result<AnySnapshot>,
}

impl RaftSnapshotBuilder<TypeConfig> for CheckpointBuilder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<AnySnapshot> {
        let taken = Err(io::Error::other("the snapshot was taken already"));
        let snapshot = std::mem::replace(&mut self.snapshot, taken)?;
        self.commit.wait().await?;
        Ok(snapshot)
    }
}

impl<M: Machine> RaftStateMachine<TypeConfig> for GroupMachine<M> {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = CheckpointBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let state = self.state.read();
        Ok((state.applied, state.members.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        let mut log_bytes = 0;
        while let Some((entry, responder)) = entries.try_next().await? {
            let outcomes = {
                let mut state = write_or_wait(&self.state);
                let outcomes = match &entry.payload {
                    EntryPayload::Blank => Vec::new(),
                    EntryPayload::Normal(proposal) => {
                        log_bytes += proposal.0.commands.iter().map(size_of).sum::<usize>() as u64;
                        let applied = state.machine.apply(entry.log_id.index, &proposal.0);
                        // Half applied: nothing of this machine may be written any more.
                        applied.map_err(|error| failed(&state.machine, error))?
                    }
                    EntryPayload::Membership(members) => {
                        state.members = StoredMembership::new(Some(entry.log_id), members.clone());
                        Vec::new()
                    }
                };
                state.applied = Some(entry.log_id);
                outcomes
            };
            if let Some(responder) = responder {
                responder.send(Outcomes(outcomes));
            }
        }
        let since = self.due.log_bytes_since.fetch_add(log_bytes, Ordering::Relaxed) + log_bytes;
        if since >= self.due.log_bytes || self.state.read().machine.pending_bytes() >= self.due.bytes {
            self.due.notify.notify_one();
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> CheckpointBuilder {
        // Nothing is applied meanwhile: openraft calls this from the task that applies.
        let started = std::time::Instant::now();
        let written = tokio::task::block_in_place(|| {
            let mut state = self.state.write();
            state.checkpoint().inspect_err(|error| state.machine.tree().fail(error))
        });
        self.due.log_bytes_since.store(0, Ordering::Relaxed);
        tracing::debug!(group = self.group, took_ms = started.elapsed().as_millis() as u64, "checkpoint written");
        CheckpointBuilder { commit: self.commit.clone(), snapshot: written.map(|_| self.snapshot()) }
    }

    async fn install_snapshot(&mut self, _meta: &SnapshotMetaOf<TypeConfig>, data: SnapshotData) -> io::Result<()> {
        let (received, _) = data.into_file()?;
        self.files.incoming.stage(&received).map_err(io::Error::other)?;
        // Whoever asks meanwhile asks another replica, and does not wait for this one.
        self.installing.store(true, Ordering::Release);
        tokio::task::block_in_place(|| {
            let mut state = self.state.write();
            let imported = self.files.incoming.import();
            let position = imported.and_then(|()| state.machine.reopen()).map_err(|e| failed(&state.machine, e))?;
            let (applied, members) = crate::format::decode_position(&position.unwrap_or_default())?;
            state.applied = applied;
            state.members = members;
            state.checkpointed = true;
            io::Result::Ok(())
        })?;
        self.commit.wait().await?;
        self.installing.store(false, Ordering::Release);
        tracing::info!(group = self.group, "a snapshot was installed");
        self.files.incoming.discard().map_err(io::Error::other)
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<AnySnapshot>> {
        Ok(self.state.read().checkpointed.then(|| self.snapshot()))
    }
}
