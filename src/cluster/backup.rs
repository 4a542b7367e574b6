//! A backup of the whole cluster, from whichever node is asked: the states of all groups, read from their leaders one after the
//! other, as one stream of bytes (`waypost_store::archive`).

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use waypost_consensus::{Export, ExportError, Groups, Members};
use waypost_protocol::UnixMs;
use waypost_protocol::peer::Peers;
use waypost_store::archive::ArchiveHead;

/// Pieces that wait for a slow reader.
const PIECES_WAITING: usize = 4;

/// What a backup is made with.
pub struct Backups {
    groups: Arc<Groups>,
    members: Arc<Members>,
    peers: Arc<dyn Peers>,
    engine: tokio::runtime::Handle,
    /// One at a time: each writes the states of groups into files on their leaders.
    turn: Arc<Semaphore>,
}

/// The bytes of a backup, as they come. After an error there are no more, and what came is of no use.
pub type Pieces = mpsc::Receiver<Result<Vec<u8>, ExportError>>;

impl Backups {
    /// For the groups of this node, and those that others hold.
    pub fn new(
        groups: Arc<Groups>,
        members: Arc<Members>,
        peers: Arc<dyn Peers>,
        engine: tokio::runtime::Handle,
    ) -> Self {
        Self { groups, members, peers, engine, turn: Arc::new(Semaphore::new(1)) }
    }

    /// Begins a backup; `None` while another one is being made. It ends when the receiver is dropped.
    pub fn begin(&self, now: UnixMs) -> Option<Pieces> {
        let turn = self.turn.clone().try_acquire_owned().ok()?;
        let (groups, members, peers) = (self.groups.clone(), self.members.clone(), self.peers.clone());
        let (send, pieces) = mpsc::channel(PIECES_WAITING);
        self.engine.spawn(async move {
            if let Err(error) = write(&groups, &members, peers.as_ref(), now, &send).await {
                tracing::warn!(%error, "a backup was not finished");
                let _ = send.send(Err(error)).await;
            }
            drop(turn);
        });
        Some(pieces)
    }
}

async fn write(
    groups: &Groups,
    members: &Members,
    peers: &dyn Peers,
    now: UnixMs,
    send: &mpsc::Sender<Result<Vec<u8>, ExportError>>,
) -> Result<(), ExportError> {
    let founding = groups.founding();
    let head = ArchiveHead {
        created_at: now,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        cluster: founding.cluster_id,
        name: founding.name.clone(),
        groups: founding.shards + 1,
    };
    // Sent with the first piece, so that whoever waits for a first byte learns whether anything can be read.
    let mut head = Some(head.encode());
    for group in 0..=founding.shards {
        let placed = groups.cluster().read(|machine| machine.state().placement.get(&group).cloned());
        let holders = placed.unwrap_or_default();
        let mut export = Export::begin(group, groups.node(), members, peers, &holders).await?;
        while let Some(piece) = export.next().await? {
            let piece = match head.take() {
                Some(head) => [head, piece].concat(),
                None => piece,
            };
            if send.send(Ok(piece)).await.is_err() {
                tracing::info!("a backup was not finished: nobody reads it any more");
                return Ok(());
            }
        }
    }
    Ok(())
}
