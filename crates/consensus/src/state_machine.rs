//! The state machine of a group, as openraft asks for it, around a `Machine` of the store.
//!
//! A checkpoint is what openraft calls building a snapshot: the state becomes durable at its position, so the log before
//! it can be purged. The file that another replica would need is written only when somebody asks for its bytes, on a thread that
//! may block. Meanwhile commands are applied, and no checkpoint is written: what changes the tree waits (`SnapshotFiles::tree`).

use std::fs::File;
use std::io::{self, Seek};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::{Stream, TryStreamExt};
use openraft::alias::{SnapshotMetaOf, SnapshotOf};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot, SnapshotMeta};
use openraft::{EntryPayload, OptionalSend};
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::Semaphore;
use waypost_protocol::peer::BoxFuture;
use waypost_store::machine::incoming::Incoming;
use waypost_store::machine::{Machine, snapshot};
use waypost_store::{CommitHandle, StoreError};
use waypost_tasks::{Task, fault};

use crate::due::CheckpointDue;
use crate::position::{Checkpoint, Positioned, checkpoint};
use crate::retention::Retention;
use crate::types::{LogId, Outcomes, StoredMembership, TypeConfig};

/// A group's state, as openraft asks for it.
pub(crate) struct GroupMachine<M> {
    group: u32,
    state: Arc<RwLock<Positioned<M>>>,
    commit: CommitHandle,
    due: Arc<CheckpointDue>,
    retention: Arc<Retention>,
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
    /// Snapshots are written and taken as long as more bytes than these are free.
    pub(crate) free_min: u64,
    /// Held by whoever reads the tree as one state, or changes it: exports, checkpoints, imports. Taken before the lock of the
    /// state, never after it.
    pub(crate) tree: Arc<tokio::sync::Mutex<()>>,
    /// Waited for before `tree`: an export that waits behind another one holds up no checkpoint.
    pub(crate) turn: Arc<SnapshotTurn>,
}

impl SnapshotFiles {
    pub(crate) fn new(dir: PathBuf, incoming: Incoming, free_min: u64, turn: Arc<SnapshotTurn>) -> Self {
        Self { dir, incoming, free_min, tree: Arc::default(), turn }
    }
}

/// Shared by all groups of a node: one snapshot or backup is written at a time, since each takes a thread and the disk's bandwidth.
pub struct SnapshotTurn {
    pub(crate) turn: Arc<Semaphore>,
    /// Numbers the files.
    written: AtomicU64,
}

impl Default for SnapshotTurn {
    fn default() -> Self {
        Self { turn: Arc::new(Semaphore::new(1)), written: AtomicU64::new(0) }
    }
}

/// Does work that waits for the disk on a thread for such work, so that the engine's threads go on with other groups.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

impl<M: Machine> GroupMachine<M> {
    pub(crate) fn new(
        group: u32,
        state: Arc<RwLock<Positioned<M>>>,
        commit: CommitHandle,
        due: Arc<CheckpointDue>,
        retention: Arc<Retention>,
        files: SnapshotFiles,
        installing: Arc<AtomicBool>,
    ) -> Self {
        Self { group, state, commit, due, retention, files, installing }
    }

    fn snapshot(&self) -> AnySnapshot {
        let state = read_or_wait(&self.state);
        let meta = SnapshotMeta { last_log_id: state.applied, last_membership: state.members.clone() };
        let (group, shared, files) = (self.group, self.state.clone(), self.files.clone());
        let write = move || -> BoxFuture<'static, io::Result<(File, Option<LogId>)>> {
            Box::pin(async move {
                let (file, position) = write_snapshot(shared, files, group, "send").await?;
                Ok((file, crate::format::decode_position(&position)?.0))
            })
        };
        Snapshot { meta, snapshot: SnapshotData(Content::Later(Box::new(write))) }
    }
}

/// Locks the state for reading; see `write_or_wait`.
fn read_or_wait<M: Machine>(state: &RwLock<Positioned<M>>) -> RwLockReadGuard<'_, Positioned<M>> {
    match state.try_read() {
        Some(locked) => locked,
        None => tokio::task::block_in_place(|| state.read()),
    }
}

/// Locks the state for a change. While a checkpoint of it is written that takes a moment: other tasks then go on on other threads.
fn write_or_wait<M: Machine>(state: &RwLock<Positioned<M>>) -> RwLockWriteGuard<'_, Positioned<M>> {
    match state.try_write() {
        Some(locked) => locked,
        None => tokio::task::block_in_place(|| state.write()),
    }
}

/// Writes the state of a group to a file that has no name any more (its bytes go when it is closed, also by a crash); answers it
/// with its position. While it is written, commands are applied and checkpoints wait.
pub(crate) async fn write_snapshot<M: Machine>(
    state: Arc<RwLock<Positioned<M>>>,
    files: SnapshotFiles,
    group: u32,
    purpose: &'static str,
) -> io::Result<(File, Vec<u8>)> {
    let turn = files.turn.turn.clone().acquire_owned().await.map_err(io::Error::other)?;
    let kept = files.tree.clone().lock_owned().await;
    blocking(move || {
        // Held by the thread: whoever asked may give up waiting, and the thread goes on writing.
        let _held = (turn, kept);
        let number = files.turn.written.fetch_add(1, Ordering::Relaxed);
        let path = files.dir.join(format!("{purpose}-{group}-{number}.snap"));
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        std::fs::remove_file(&path)?;
        let Checkpoint { position, tree, .. } = checkpoint(&state)?;
        snapshot::export(&tree, group, &position, &file, files.free_min).map_err(io::Error::other)?;
        Ok((file, position))
    })
    .await
}

fn failed<M: Machine>(machine: &M, error: StoreError) -> io::Error {
    machine.tree().fail(&error);
    io::Error::other(error)
}

type AnySnapshot = SnapshotOf<TypeConfig, SnapshotData>;

/// The bytes of a snapshot: written to a file when they are asked for, or received in one.
pub struct SnapshotData(Content);

type Written = BoxFuture<'static, io::Result<(File, Option<LogId>)>>;

enum Content {
    Later(Box<dyn FnOnce() -> Written + Send + Sync>),
    Received(Received),
}

/// A file with a snapshot that came from elsewhere. One that is not installed is removed.
struct Received(PathBuf);

impl Drop for Received {
    fn drop(&mut self) {
        // It has another name by now if it was installed.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl SnapshotData {
    /// A snapshot that was received whole.
    pub(crate) fn received(path: PathBuf) -> Self {
        Self(Content::Received(Received(path)))
    }

    /// The file with the snapshot, and where it reaches, if it was written just now: that may be later than announced.
    pub(crate) async fn into_file(self) -> io::Result<(File, Option<LogId>)> {
        match self.0 {
            Content::Later(write) => write().await,
            Content::Received(received) => Ok((File::open(&received.0)?, None)),
        }
    }

    /// The file to install; one that was not received is written to `path`.
    async fn into_received(self, path: PathBuf) -> io::Result<Received> {
        match self.0 {
            Content::Received(received) => Ok(received),
            Content::Later(write) => {
                let (mut file, _) = write().await?;
                blocking(move || {
                    let received = Received(path);
                    file.rewind()?;
                    io::copy(&mut file, &mut File::create(&received.0)?)?;
                    Ok(received)
                })
                .await
            }
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
        let state = read_or_wait(&self.state);
        Ok((state.applied, state.members.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        let mut log_bytes = 0;
        let mut index = self.retention.applied_index();
        while let Some((entry, responder)) = entries.try_next().await? {
            let outcomes = {
                let mut state = write_or_wait(&self.state);
                let outcomes = match &entry.payload {
                    EntryPayload::Blank => Outcomes::default(),
                    EntryPayload::Normal(proposal) => {
                        log_bytes += proposal.bytes().len() as u64;
                        let index = entry.log_id.index;
                        state.change(|state| {
                            fault(Task::Apply);
                            let batch = proposal.batch::<M::Command>().map_err(|error| StoreError::Corrupt {
                                what: format!("log of {}, entry {index}", state.machine.tree().name()),
                                detail: error.to_string(),
                            });
                            let applied = batch.and_then(|batch| state.machine.apply(index, &batch));
                            // Half applied: nothing of this machine may be written any more.
                            applied.map(Outcomes::new).map_err(|error| failed(&state.machine, error))
                        })?
                    }
                    EntryPayload::Membership(members) => {
                        state.members = StoredMembership::new(Some(entry.log_id), members.clone());
                        Outcomes::default()
                    }
                };
                state.applied = Some(entry.log_id);
                index = entry.log_id.index;
                outcomes
            };
            if let Some(responder) = responder {
                responder.send(outcomes);
            }
        }
        self.retention.applied(log_bytes, index);
        if self.due.applied(log_bytes) {
            drop(self.files.tree.lock().await);
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> CheckpointBuilder {
        // Nothing is applied meanwhile: openraft calls this from the task that applies.
        let kept = self.files.tree.clone().lock_owned().await;
        let started = std::time::Instant::now();
        let state = self.state.clone();
        let written = blocking(move || {
            let _kept = kept;
            checkpoint(&state)
        });
        let written = written.await;
        self.due.written();
        if let Ok(Checkpoint { applied: Some(reaches), .. }) = &written {
            self.retention.checkpoint(reaches.index);
        }
        tracing::debug!(group = self.group, took_ms = started.elapsed().as_millis() as u64, "checkpoint written");
        CheckpointBuilder { commit: self.commit.clone(), snapshot: written.map(|_| self.snapshot()) }
    }

    async fn install_snapshot(&mut self, _meta: &SnapshotMetaOf<TypeConfig>, data: SnapshotData) -> io::Result<()> {
        let received = data.into_received(self.files.dir.join(format!("own-{}.snap", self.group))).await?;
        let incoming = self.files.incoming.clone();
        blocking(move || incoming.stage(&received.0).map_err(io::Error::other)).await?;
        let kept = self.files.tree.clone().lock_owned().await;
        // Whoever asks meanwhile asks another replica, and does not wait for this one.
        self.installing.store(true, Ordering::Release);
        let (incoming, state) = (self.files.incoming.clone(), self.state.clone());
        blocking(move || {
            let _kept = kept;
            state.write().change(|state| {
                let imported = incoming.import();
                let position = imported.and_then(|()| state.machine.reopen()).map_err(|e| failed(&state.machine, e))?;
                let (applied, members) = crate::format::decode_position(&position.unwrap_or_default())?;
                state.applied = applied;
                state.members = members;
                state.checkpointed = true;
                Ok(())
            })
        })
        .await?;
        self.commit.wait().await?;
        self.installing.store(false, Ordering::Release);
        tracing::info!(group = self.group, "a snapshot was installed");
        let incoming = self.files.incoming.clone();
        blocking(move || incoming.discard().map_err(io::Error::other)).await
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<AnySnapshot>> {
        Ok(read_or_wait(&self.state).checkpointed.then(|| self.snapshot()))
    }
}
