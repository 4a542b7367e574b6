//! A backup of the whole cluster, made by the node that is asked: it reads the states of all groups from their leaders, one after the
//! other, into one stream of bytes (`waypost_store::archive`).

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use waypost_consensus::{Export, ExportError, Groups, Members};
use waypost_protocol::UnixMs;
use waypost_protocol::peer::Peers;
use waypost_store::archive::{ArchiveHead, ArchiveSum};
use waypost_tasks::{Task, Tasks};

use crate::limits::{BACKUP_CHUNKS_WAITING, BACKUP_READER_MAX};

/// Why a backup was not completed.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A group cannot be read.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The reader has gone, or takes too long.
    #[error("its reader has gone, or is too slow")]
    NobodyReads,
}

/// Makes backups.
pub struct Backups {
    groups: Arc<Groups>,
    members: Arc<Members>,
    peers: Arc<dyn Peers>,
    tasks: Tasks,
    /// One at a time: each writes the states of groups into files on their leaders.
    turn: Arc<Semaphore>,
}

/// The chunks of a backup. After an error there are no more, and the received ones are useless.
pub type Pieces = mpsc::Receiver<Result<Vec<u8>, BackupError>>;

impl Backups {
    /// Creates it for the groups of this node, and those on other nodes.
    pub fn new(groups: Arc<Groups>, members: Arc<Members>, peers: Arc<dyn Peers>, tasks: Tasks) -> Self {
        Self { groups, members, peers, tasks, turn: Arc::new(Semaphore::new(1)) }
    }

    /// Begins a backup; `None` while another one is in progress. Dropping the receiver ends it.
    pub fn begin(&self, now: UnixMs) -> Option<Pieces> {
        let turn = self.turn.clone().try_acquire_owned().ok()?;
        let (groups, members, peers) = (self.groups.clone(), self.members.clone(), self.peers.clone());
        let (send, pieces) = mpsc::channel(BACKUP_CHUNKS_WAITING);
        self.tasks.spawn_once(Task::Backup, async move {
            let written = tokio::select! {
                written = write(&groups, &members, peers.as_ref(), now, &send) => written,
                () = send.closed() => Err(BackupError::NobodyReads),
            };
            drop(turn);
            if let Err(error) = written {
                tracing::warn!(%error, "a backup was not finished");
                let _ = tokio::time::timeout(BACKUP_READER_MAX, send.send(Err(error))).await;
            }
        });
        Some(pieces)
    }
}

async fn write(
    groups: &Groups,
    members: &Members,
    peers: &dyn Peers,
    now: UnixMs,
    send: &mpsc::Sender<Result<Vec<u8>, BackupError>>,
) -> Result<(), BackupError> {
    let bootstrap = groups.bootstrap();
    let head = ArchiveHead {
        created_at: now,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        cluster: bootstrap.cluster_id,
        name: bootstrap.name.clone(),
        groups: bootstrap.shards + 1,
    };
    let mut sum = ArchiveSum::default();
    // Sent with the first chunk, so that its arrival shows that the groups can be read.
    let mut head = Some(head.encode());
    let give = async |piece: Vec<u8>| match tokio::time::timeout(BACKUP_READER_MAX, send.send(Ok(piece))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(BackupError::NobodyReads),
    };
    for group in 0..=bootstrap.shards {
        let placed = groups.cluster().read(|machine| machine.state().placement.get(&group).cloned());
        let holders = placed.unwrap_or_default();
        let mut export = Export::begin(group, groups.node(), members, peers, &holders).await?;
        while let Some(piece) = export.next().await? {
            let piece = match head.take() {
                Some(head) => [head, piece].concat(),
                None => piece,
            };
            sum.add(&piece);
            give(piece).await?;
        }
    }
    give(sum.end()).await
}
