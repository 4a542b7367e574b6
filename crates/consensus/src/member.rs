//! What a group answers to the other members.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use openraft::Instant as _;
use openraft::Raft;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::raft::{AppendEntriesResponse, VoteRequest};
use openraft::storage::{Snapshot, SnapshotMeta};
use tokio::time::sleep;
use waypost_protocol::command::GroupCommand;
use waypost_protocol::peer::{BoxFuture, PeerError};
use waypost_protocol::peer_request::{AnsweredByPeer, AnswersPeers};
use waypost_protocol::{Kind, Level};
use waypost_store::machine::{Machine, snapshot};
use waypost_tasks::Task;

use crate::age::Committed;
use crate::exports::{Begun, ExportPiece};
use crate::format::{VoteRecord, vote, vote_record};
use crate::group::Group;
use crate::lease::Instant;
use crate::limits::{EXPORT_IDLE_MAX, SNAPSHOT_BYTES_MAX};
use crate::members::Member;
use crate::proposer::ProposeError;
use crate::receiving::{Receiving, Taken};
use crate::state_machine::{GroupMachine, SnapshotData, blocking, write_snapshot};
use crate::types::TypeConfig;
use crate::votes::{is_older, vouches_for};
use crate::wire::{
    Append, Appended, BeginExport, Bytes, GroupRequests, Propose, ProposeAt, Proposed, SnapshotPiece, SnapshotTaken,
    Transfer, VoteGiven, WantPreVote, WantVote,
};

fn refused(error: impl ToString) -> PeerError {
    PeerError::Refused(error.to_string())
}

impl<M: Machine> Member for Group<M> {
    fn committed(&self) -> BoxFuture<'_, Option<Committed>> {
        Box::pin(Group::committed(self))
    }

    fn applied(&self) -> u64 {
        Group::applied(self)
    }

    fn answer(&self, kind: Kind, body: Vec<u8>, within: Duration) -> BoxFuture<'_, Result<Vec<u8>, PeerError>> {
        GroupRequests::<M::Command>::dispatch(self, kind, body, within)
    }
}

impl<M: Machine> AnswersPeers<Append, Duration> for Group<M> {
    async fn answer(&self, append: Append, _: Duration) -> Result<Appended, PeerError> {
        let request = append.open::<M::Command>().map_err(refused)?;
        // Heartbeats are answered, so this replica stays a follower that lags, and takes the entries when there is room.
        if !request.entries.is_empty() && self.is_out_of_space() {
            return Err(refused(ProposeError::NoSpace));
        }
        let leader = request.vote.leader_id().node_id;
        // Before the entries are written, which may take long: meanwhile this leader is not silent.
        if !is_older(&request.vote, &self.raft().server_metrics().borrow_watched().vote) {
            self.heard().note(leader, Instant::now());
        }
        let response = self.raft().append_entries(request).await.map_err(refused)?;
        if !matches!(response, AppendEntriesResponse::HigherVote(_)) {
            self.heard().note(leader, Instant::now());
        }
        Ok((&response).into())
    }
}

impl<M: Machine> AnswersPeers<WantVote, Duration> for Group<M> {
    async fn answer(&self, want: WantVote, _: Duration) -> Result<VoteGiven, PeerError> {
        let request: VoteRequest<TypeConfig> = want.into();
        self.may_vote(request.leadership_transfer)?;
        Ok((&self.raft().vote(request).await.map_err(refused)?).into())
    }
}

impl<M: Machine> AnswersPeers<WantPreVote, Duration> for Group<M> {
    async fn answer(&self, WantPreVote(want): WantPreVote, _: Duration) -> Result<VoteGiven, PeerError> {
        self.may_vote(false)?;
        Ok((&self.raft().pre_vote(want.into()).await.map_err(refused)?).into())
    }
}

impl<M: Machine> AnswersPeers<Transfer, Duration> for Group<M> {
    async fn answer(&self, transfer: Transfer, _: Duration) -> Result<(), PeerError> {
        self.raft().handle_transfer_leader(transfer.into()).await.map_err(refused)?.map_err(refused)
    }
}

impl<M: Machine> AnswersPeers<SnapshotPiece, Duration> for Group<M> {
    async fn answer(&self, piece: SnapshotPiece, _: Duration) -> Result<SnapshotTaken, PeerError> {
        self.take_piece(piece).await.map_err(refused)
    }
}

impl<M: Machine> AnswersPeers<BeginExport, Duration> for Group<M> {
    async fn answer(&self, _: BeginExport, _: Duration) -> Result<Begun, PeerError> {
        self.begin_export().await.map_err(refused)
    }
}

impl<M: Machine> AnswersPeers<ExportPiece, Duration> for Group<M> {
    async fn answer(&self, piece: ExportPiece, _: Duration) -> Result<Bytes, PeerError> {
        self.exports().read(&piece).map(Bytes).map_err(refused)
    }
}

impl<M: Machine> AnswersPeers<Propose<M::Command>, Duration> for Group<M> {
    async fn answer(&self, request: Propose<M::Command>, within: Duration) -> Result<Proposed<M::Outcome>, PeerError> {
        match self.proposed(Level::BASE, &request.command, within).await? {
            // Nodes of level 0 do not know these answers.
            Proposed::TooLarge(bytes, max) => {
                Err(refused(ProposeError::TooLarge { bytes: bytes as usize, max: max as usize }))
            }
            Proposed::NotYet(needed, level) => Err(refused(ProposeError::NotYet { needed, level })),
            proposed => Ok(proposed),
        }
    }
}

impl<M: Machine> AnswersPeers<ProposeAt<M::Command>, Duration> for Group<M> {
    async fn answer(
        &self,
        request: ProposeAt<M::Command>,
        within: Duration,
    ) -> Result<Proposed<M::Outcome>, PeerError> {
        self.proposed(request.level, &request.command, within).await
    }
}

impl<M: Machine> Group<M> {
    /// Proposes a command of another node.
    async fn proposed(
        &self,
        level: Level,
        command: &[u8],
        within: Duration,
    ) -> Result<Proposed<M::Outcome>, PeerError> {
        let command = M::Command::decode(level, command).map_err(refused)?;
        let proposed = tokio::time::timeout(within, self.propose_any(command)).await;
        match proposed.map_err(|_| PeerError::Timeout)? {
            Ok(applied) => Ok(Proposed::Applied(applied.index, applied.outcome)),
            Err(ProposeError::NotLeader { leader }) => Ok(Proposed::NotLeader(leader)),
            Err(ProposeError::Overloaded) => Ok(Proposed::Overloaded),
            Err(ProposeError::TooLarge { bytes, max }) => Ok(Proposed::TooLarge(bytes as u64, max as u64)),
            Err(ProposeError::NotYet { needed, level }) => Ok(Proposed::NotYet(needed, level)),
            Err(error @ ProposeError::NoSpace) => Err(refused(error)),
            // Whether it was applied is not known: no answer says so.
            Err(ProposeError::Stopped(_)) => Err(PeerError::Lost),
        }
    }

    /// Refuses to vote while a leader may count on it that this replica, in an earlier life, has promised not to; unless that leader wants
    /// another one itself.
    fn may_vote(&self, wanted_by_leader: bool) -> Result<(), PeerError> {
        match self.promise().left(Instant::now()) {
            Some(_) if !wanted_by_leader => {
                Err(refused("it has just started, and may have promised a leader not to vote"))
            }
            _ => Ok(()),
        }
    }

    /// Writes the state with everything that was acknowledged so far, if this node leads.
    async fn begin_export(&self) -> io::Result<Begun> {
        match self.linearize(true).await {
            Ok(()) => {}
            Err(ProposeError::NotLeader { leader }) => return Ok(Begun::NotLeader(leader)),
            Err(error) => return Err(io::Error::other(error)),
        }
        let written = write_snapshot(self.state().clone(), self.files().clone(), self.id(), "export");
        let file = match written.await {
            Ok((file, _)) => file,
            Err(error) => return Ok(Begun::Failed(error.to_string())),
        };
        let total = file.metadata()?.len();
        let id = self.exports().add(file);
        let exports = Arc::downgrade(self.exports());
        self.tasks().spawn_once(Task::ExportFile, async move {
            while exports.upgrade().is_some_and(|exports| exports.keep(id)) {
                sleep(EXPORT_IDLE_MAX).await;
            }
        });
        Ok(Begun::Ready { id, total })
    }

    async fn take_piece(&self, piece: SnapshotPiece) -> io::Result<SnapshotTaken> {
        if piece.total > SNAPSHOT_BYTES_MAX {
            return Err(io::Error::other("the snapshot is too long"));
        }
        let own = self.raft().server_metrics().borrow_watched().vote;
        if is_older(&vote(piece.vote), &own) {
            // Its leader was replaced, and learns that from the vote.
            return Ok(SnapshotTaken::Installed(vote_record(&own)));
        }
        // One after the other: what is being written or installed must not be touched.
        let Ok(mut receiving) = self.receiving().clone().try_lock_owned() else {
            return Ok(SnapshotTaken::Installing);
        };
        if receiving.has_installed(piece.id) {
            return Ok(SnapshotTaken::Installed(vote_record(&own)));
        }
        let (files, group, id, leader) = (self.files().clone(), self.id(), piece.id, piece.vote);
        let waits = self.waits_for_space().clone();
        let taken = blocking(move || {
            let taken = receiving.take(&piece, &files);
            let full = matches!(&taken, Err(error) if error.kind() == io::ErrorKind::StorageFull);
            if waits.swap(full, Ordering::Relaxed) != full && full {
                tracing::error!(group, total = piece.total, "a snapshot is refused until there is more free space");
            }
            taken.map(|taken| (receiving, taken))
        });
        let (mut receiving, whole) = match taken.await? {
            (_, Taken::Part(have)) => return Ok(SnapshotTaken::Have(have)),
            (receiving, Taken::Whole(path)) => (receiving, path),
        };
        let raft = self.raft().clone();
        // In a task of its own: the leader may give up waiting, and then it has to be finished all the same.
        let installing = self.tasks().spawn_once(Task::Install, async move {
            let installed = install(&raft, group, whole, leader).await;
            *receiving = Receiving::ended(installed.is_ok().then_some(id));
            installed
        });
        let installed = installing.await.map_err(io::Error::other)?;
        installed.unwrap_or_else(|| Err(io::Error::other("the installation has ended by itself")))
    }
}

async fn install<M: Machine>(
    raft: &Raft<TypeConfig, GroupMachine<M>>,
    group: u32,
    path: PathBuf,
    leader: VoteRecord,
) -> io::Result<SnapshotTaken> {
    let data = SnapshotData::received(path.clone());
    let position = blocking(move || snapshot::verify(&path, group).map_err(io::Error::other)).await?;
    let (last_log_id, last_membership) = crate::format::decode_position(&position)?;
    let leader = vote(leader);
    // The engine takes this for a broken cluster, and ends.
    if !vouches_for(&leader, last_log_id.as_ref()) {
        return Err(io::Error::other("the snapshot has entries of a leader after the one that sent it"));
    }
    // What the file stands for, which may be later than what the leader announced.
    let meta = SnapshotMeta { last_log_id, last_membership };
    let installed = raft.install_full_snapshot(leader, Snapshot { meta, snapshot: data }).await;
    Ok(SnapshotTaken::Installed(vote_record(&installed.map_err(io::Error::other)?.vote)))
}
