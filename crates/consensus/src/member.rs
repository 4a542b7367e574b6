//! What a group answers to the other members.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use openraft::Instant as _;
use openraft::Raft;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::raft::AppendEntriesResponse;
use openraft::storage::{Snapshot, SnapshotMeta};
use waypost_protocol::Kind;
use waypost_protocol::command::Command;
use waypost_protocol::peer::{BoxFuture, PeerError, kinds};
use waypost_store::machine::{Machine, snapshot};

use crate::export::ExportPiece;
use crate::format::{VoteRecord, bytes, parse, vote, vote_record};
use crate::group::Group;
use crate::lease::Instant;
use crate::proposer::ProposeError;
use crate::state_machine::{GroupMachine, SnapshotData};
use crate::types::TypeConfig;
use crate::wire::{self, Proposed, SnapshotPiece, SnapshotTaken};

/// No snapshot of one shard is longer: what a peer can make this node store before it looks at it.
const SNAPSHOT_BYTES_MAX: u64 = 64 << 30;

/// A snapshot on its way in.
#[derive(Default)]
pub(crate) struct Receiving {
    id: u64,
    have: u64,
    installing: bool,
    /// The last that was installed in this life: it may be sent again, if the answer was lost.
    installed: Option<u64>,
}

/// A group, as other nodes see it.
pub trait Member: Send + Sync {
    /// Answers a request of another member.
    fn answer(&self, kind: Kind, body: Vec<u8>, within: Duration) -> BoxFuture<'_, Result<Vec<u8>, PeerError>>;
}

fn refused(error: impl ToString) -> PeerError {
    PeerError::Refused(error.to_string())
}

impl<M: Machine> Member for Group<M> {
    fn answer(&self, kind: Kind, body: Vec<u8>, within: Duration) -> BoxFuture<'_, Result<Vec<u8>, PeerError>> {
        Box::pin(async move {
            match kind {
                kinds::APPEND => {
                    let request = wire::decode_append(&body).map_err(refused)?;
                    let leader = request.vote.leader_id().node_id;
                    let response = self.raft().append_entries(request).await.map_err(refused)?;
                    if !matches!(response, AppendEntriesResponse::HigherVote(_)) {
                        self.heard().note(leader, Instant::now());
                    }
                    Ok(wire::encode_appended(&response))
                }
                kinds::VOTE => {
                    let request = wire::decode_vote_request(&body).map_err(refused)?;
                    let response = self.raft().vote(request).await.map_err(refused)?;
                    Ok(wire::encode_vote_response(&response))
                }
                kinds::PRE_VOTE => {
                    let request = wire::decode_vote_request(&body).map_err(refused)?;
                    let response = self.raft().pre_vote(request).await.map_err(refused)?;
                    Ok(wire::encode_vote_response(&response))
                }
                kinds::TRANSFER_LEADER => {
                    let request = wire::decode_transfer(&body).map_err(refused)?;
                    self.raft().handle_transfer_leader(request).await.map_err(refused)?.map_err(refused)?;
                    Ok(Vec::new())
                }
                kinds::SNAPSHOT => {
                    let piece: SnapshotPiece = parse("a piece of a snapshot", &body).map_err(refused)?;
                    Ok(bytes(&self.take_piece(piece).await.map_err(refused)?))
                }
                kinds::EXPORT => Ok(bytes(&self.begin_export().await.map_err(refused)?)),
                kinds::EXPORT_READ => {
                    let piece: ExportPiece = parse("a wish for a piece of an export", &body).map_err(refused)?;
                    self.exports().read(&piece).map_err(refused)
                }
                kinds::PROPOSE => {
                    let command: Command = parse("a command", &body).map_err(refused)?;
                    if command.is_for_cluster() != (self.id() == 0) {
                        return Err(refused("the command is for another group"));
                    }
                    let proposed = tokio::time::timeout(within, self.propose(command)).await;
                    let proposed = match proposed.map_err(|_| PeerError::Timeout)? {
                        Ok(applied) => Proposed::Applied(applied.index, applied.outcome),
                        Err(ProposeError::NotLeader { leader }) => Proposed::NotLeader(leader),
                        Err(ProposeError::Overloaded) => Proposed::Overloaded,
                        Err(error @ ProposeError::TooLarge { .. }) => return Err(refused(error)),
                        // Whether it was applied is not known: no answer says so.
                        Err(ProposeError::Stopped(_)) => return Err(PeerError::Lost),
                    };
                    Ok(bytes(&proposed))
                }
                other => Err(refused(format!("a group does not answer requests of kind {:#06x}", other.0))),
            }
        })
    }
}

impl<M: Machine> Group<M> {
    async fn take_piece(&self, piece: SnapshotPiece) -> io::Result<SnapshotTaken> {
        let incoming = &self.files().incoming;
        if piece.total > SNAPSHOT_BYTES_MAX {
            return Err(io::Error::other("the snapshot is too long"));
        }
        let whole = {
            let mut state = self.receiving().lock();
            if state.installed == Some(piece.id) {
                let vote = self.raft().server_metrics().borrow_watched().vote;
                return Ok(SnapshotTaken::Installed(vote_record(&vote)));
            }
            // One after the other: what is being installed must not be touched.
            if state.installing {
                return Ok(SnapshotTaken::Installing);
            }
            if state.id != piece.id || piece.offset == 0 && state.have == 0 {
                *state = Receiving { id: piece.id, ..Receiving::default() };
                incoming.clear().map_err(io::Error::other)?;
            }
            if piece.offset != state.have {
                return Ok(SnapshotTaken::Have(state.have));
            }
            incoming.write(piece.offset, &piece.bytes).map_err(io::Error::other)?;
            state.have += piece.bytes.len() as u64;
            if state.have < piece.total {
                return Ok(SnapshotTaken::Have(state.have));
            }
            let whole = incoming.complete().map_err(io::Error::other)?;
            *state = Receiving { installing: true, ..Receiving::default() };
            whole
        };
        let receiving = self.receiving().clone();
        let (raft, group) = (self.raft().clone(), self.id());
        // In a task of its own: the leader may give up waiting, and then it has to be finished all the same.
        let installing = tokio::spawn(async move {
            let installed = install(&raft, group, whole, piece.vote).await;
            *receiving.lock() =
                Receiving { installed: installed.as_ref().ok().map(|_| piece.id), ..Receiving::default() };
            installed
        });
        installing.await.map_err(io::Error::other)?
    }
}

async fn install<M: Machine>(
    raft: &Raft<TypeConfig, GroupMachine<M>>,
    group: u32,
    path: PathBuf,
    leader: VoteRecord,
) -> io::Result<SnapshotTaken> {
    let position = tokio::task::block_in_place(|| snapshot::verify(&path, group)).map_err(io::Error::other)?;
    let (last_log_id, last_membership) = crate::format::decode_position(&position)?;
    // What the file stands for, which may be later than what the leader announced.
    let meta = SnapshotMeta { last_log_id, last_membership };
    let snapshot = Snapshot { meta, snapshot: SnapshotData::file(path) };
    let installed = raft.install_full_snapshot(vote(leader), snapshot).await.map_err(io::Error::other)?;
    Ok(SnapshotTaken::Installed(vote_record(&installed.vote)))
}
