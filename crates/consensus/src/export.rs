//! The state of a group for a backup: its leader writes it to a file (`exports.rs`), which is read from there piece by piece.
//!
//! The requests are the same whether the leader is this node or another one (`Member::answer`).

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use waypost_protocol::NodeId;
use waypost_protocol::peer::{PeerError, Peers};
use waypost_protocol::peer_request::{PeerRequest, read_reply};

use crate::exports::{Begun, ExportPiece};
use crate::limits::{EXPORT_BEGIN_MAX, EXPORT_LEADER_MAX, EXPORT_PIECE_MAX, EXPORT_PIECE_TRIES};
use crate::members::Members;
use crate::wire::{BeginExport, Bytes};

const PAUSE: Duration = Duration::from_millis(200);

/// Why a group could not be exported: it has no leader, or its leader cannot be reached.
#[derive(Debug, thiserror::Error)]
#[error("group {group} cannot be read now: {why}")]
pub struct ExportError {
    /// Which.
    pub group: u32,
    /// The error of the last node that was asked.
    pub why: String,
}

/// An export of a group that is being read: its snapshot, in chunks.
pub struct Export<'a> {
    group: u32,
    own: NodeId,
    members: &'a Members,
    peers: &'a dyn Peers,
    from: NodeId,
    id: u64,
    total: u64,
    offset: u64,
}

impl<'a> Export<'a> {
    /// Asks the leader of a group to write its state, including everything that was acknowledged before the call. `holders` are nodes
    /// that hold the group.
    ///
    /// # Errors
    /// If no leader is found in time.
    pub async fn begin(
        group: u32,
        own: NodeId,
        members: &'a Members,
        peers: &'a dyn Peers,
        holders: &[NodeId],
    ) -> Result<Self, ExportError> {
        let deadline = Instant::now() + EXPORT_LEADER_MAX;
        let mut candidates: Vec<NodeId> = if holders.is_empty() { vec![own] } else { holders.to_vec() };
        let mut export = Self { group, own, members, peers, from: candidates[0], id: 0, total: 0, offset: 0 };
        loop {
            export.from = candidates[0];
            let answer = export.ask(&BeginExport, EXPORT_BEGIN_MAX).await;
            // The named leader comes first, the node that was just asked last.
            candidates.rotate_left(1);
            let why = match answer {
                Ok(Begun::Ready { id, total }) => return Ok(Self { id, total, ..export }),
                Ok(Begun::Failed(why)) => return Err(ExportError { group, why }),
                Ok(Begun::NotLeader(leader)) => {
                    if let Some(leader) = leader.map(NodeId) {
                        candidates.retain(|known| *known != leader);
                        candidates.insert(0, leader);
                    }
                    "no node that was asked leads it".to_owned()
                }
                Err(error) => error.to_string(),
            };
            if Instant::now() >= deadline {
                return Err(ExportError { group, why });
            }
            sleep(PAUSE).await;
        }
    }

    /// The next chunk; `None` at the end.
    ///
    /// # Errors
    /// If the leader cannot be reached any more, or was restarted.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, ExportError> {
        if self.offset == self.total {
            // Closes the file. If the request is lost, the idle time closes it.
            let _ = self.ask(&self.piece(), EXPORT_PIECE_MAX).await;
            return Ok(None);
        }
        let failed = |why: String| ExportError { group: self.group, why };
        for _ in 0..EXPORT_PIECE_TRIES {
            match self.ask(&self.piece(), EXPORT_PIECE_MAX).await {
                Ok(Bytes(piece)) if piece.is_empty() => return Err(failed("its file ends early".to_owned())),
                Ok(Bytes(piece)) => {
                    self.offset += piece.len() as u64;
                    return Ok(Some(piece));
                }
                Err(error @ PeerError::Refused(_)) => return Err(failed(error.to_string())),
                Err(_) => sleep(PAUSE).await,
            }
        }
        Err(failed("its leader does not answer any more".to_owned()))
    }

    fn piece(&self) -> ExportPiece {
        ExportPiece { id: self.id, offset: self.offset }
    }

    async fn ask<R: PeerRequest>(&self, request: &R, within: Duration) -> Result<R::Reply, PeerError> {
        if self.from != self.own {
            return self.peers.ask(self.from, self.group, request, within).await;
        }
        let own = self.members.get(self.group);
        let own = own.ok_or_else(|| PeerError::Refused("this node does not hold it".to_owned()))?;
        let answer = timeout(within, own.answer(R::KIND, request.encode(), within)).await;
        read_reply::<R>(&answer.map_err(|_| PeerError::Timeout)??)
    }
}
