//! What a group answers to the other members.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use openraft::Instant as _;
use openraft::Raft;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::raft::AppendEntriesResponse;
use openraft::storage::{Snapshot, SnapshotMeta};
use waypost_protocol::command::Command;
use waypost_protocol::peer::{BoxFuture, PeerError, kinds};
use waypost_protocol::{Kind, Level};
use waypost_store::SpaceWatch;
use waypost_store::machine::{Machine, snapshot};
use waypost_tasks::Task;

use crate::age::Committed;
use crate::export::ExportPiece;
use crate::format::{VoteRecord, bytes, parse, vote, vote_record};
use crate::group::Group;
use crate::lease::Instant;
use crate::proposer::ProposeError;
use crate::state_machine::{GroupMachine, SnapshotData, SnapshotFiles, blocking};
use crate::types::{LogId, TypeConfig, Vote};
use crate::wire::{self, Proposed, SnapshotPiece, SnapshotTaken};

/// No snapshot of one shard is longer: what a peer can make this node store before it looks at it.
const SNAPSHOT_BYTES_MAX: u64 = 64 << 30;

/// A snapshot on its way in. Who holds its lock takes a piece, or installs what came.
#[derive(Default)]
pub(crate) struct Receiving {
    id: u64,
    have: u64,
    /// The last that was installed in this life: it may be sent again, if the answer was lost.
    installed: Option<u64>,
}

/// What a piece makes of a transfer.
enum Taken {
    /// So many bytes are there now.
    Part(u64),
    /// All are; the file.
    Whole(PathBuf),
}

impl Receiving {
    /// Stores a piece, if it is the next one. On a thread that may block.
    fn take(&mut self, piece: &SnapshotPiece, files: &SnapshotFiles) -> io::Result<Taken> {
        if self.id != piece.id || piece.offset == 0 && self.have == 0 {
            *self = Self { id: piece.id, ..Self::default() };
            files.incoming.clear().map_err(io::Error::other)?;
        }
        if piece.offset != self.have {
            return Ok(Taken::Part(self.have));
        }
        let free = SpaceWatch::new(&files.dir).check()?.free_bytes;
        check_room(free, files.free_min, piece.total, self.have)?;
        files.incoming.write(piece.offset, &piece.bytes).map_err(io::Error::other)?;
        self.have += piece.bytes.len() as u64;
        if self.have < piece.total {
            return Ok(Taken::Part(self.have));
        }
        files.incoming.complete().map(Taken::Whole).map_err(io::Error::other)
    }
}

/// A snapshot needs room for the rest of its file, and for as much again when it is imported. The database does not survive a
/// full disk, so one that does not fit above the watermark is refused before its first byte.
fn check_room(free: u64, free_min: u64, total: u64, have: u64) -> io::Result<()> {
    let needed = free_min.saturating_add(total.saturating_sub(have)).saturating_add(total);
    if free >= needed {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::StorageFull,
        format!("the disk has too little free space for a snapshot: {free} bytes are free and {needed} are needed"),
    ))
}

/// A group, as other nodes see it.
pub trait Member: Send + Sync {
    /// Answers a request of another member.
    fn answer(&self, kind: Kind, body: Vec<u8>, within: Duration) -> BoxFuture<'_, Result<Vec<u8>, PeerError>>;

    /// How far the group is, if this node leads it and is sure of that.
    fn committed(&self) -> BoxFuture<'_, Option<Committed>>;
}

fn refused(error: impl ToString) -> PeerError {
    PeerError::Refused(error.to_string())
}

impl<M: Machine> Member for Group<M> {
    fn committed(&self) -> BoxFuture<'_, Option<Committed>> {
        Box::pin(Group::committed(self))
    }

    fn answer(&self, kind: Kind, body: Vec<u8>, within: Duration) -> BoxFuture<'_, Result<Vec<u8>, PeerError>> {
        Box::pin(async move {
            match kind {
                kinds::APPEND => {
                    let request = wire::decode_append(&body).map_err(refused)?;
                    // Heartbeats are answered, so this replica stays a follower that lags, and takes the entries when there is room.
                    if !request.entries.is_empty() && self.is_out_of_space() {
                        return Err(refused(ProposeError::NoSpace));
                    }
                    let leader = request.vote.leader_id().node_id;
                    let response = self.raft().append_entries(request).await.map_err(refused)?;
                    if !matches!(response, AppendEntriesResponse::HigherVote(_)) {
                        self.heard().note(leader, Instant::now());
                    }
                    Ok(wire::encode_appended(&response))
                }
                kinds::VOTE => {
                    let request = wire::decode_vote_request(&body).map_err(refused)?;
                    self.may_vote(request.leadership_transfer)?;
                    let response = self.raft().vote(request).await.map_err(refused)?;
                    Ok(wire::encode_vote_response(&response))
                }
                kinds::PRE_VOTE => {
                    let request = wire::decode_vote_request(&body).map_err(refused)?;
                    self.may_vote(false)?;
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
                kinds::PROPOSE | kinds::PROPOSE_AT => {
                    let (level, command) = match (kind, body.split_first()) {
                        (kinds::PROPOSE_AT, Some((level, command))) => (Level(*level), command),
                        _ => (Level::BASE, body.as_slice()),
                    };
                    let command = Command::decode(level, command).map_err(refused)?;
                    if command.is_for_cluster() != (self.id() == 0) {
                        return Err(refused("the command is for another group"));
                    }
                    let proposed = tokio::time::timeout(within, self.propose(command)).await;
                    let proposed = match proposed.map_err(|_| PeerError::Timeout)? {
                        Ok(applied) => Proposed::Applied(applied.index, applied.outcome),
                        Err(ProposeError::NotLeader { leader }) => Proposed::NotLeader(leader),
                        Err(ProposeError::Overloaded) => Proposed::Overloaded,
                        Err(ProposeError::TooLarge { bytes, max }) if kind == kinds::PROPOSE_AT => {
                            Proposed::TooLarge(bytes as u64, max as u64)
                        }
                        Err(ProposeError::NotYet { needed, level }) if kind == kinds::PROPOSE_AT => {
                            Proposed::NotYet(needed, level)
                        }
                        Err(
                            error @ (ProposeError::TooLarge { .. }
                            | ProposeError::NotYet { .. }
                            | ProposeError::NoSpace),
                        ) => {
                            return Err(refused(error));
                        }
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
        if receiving.installed == Some(piece.id) {
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
            *receiving = Receiving { installed: installed.as_ref().ok().map(|_| id), ..Receiving::default() };
            installed
        });
        let installed = installing.await.map_err(io::Error::other)?;
        installed.unwrap_or_else(|| Err(io::Error::other("the installation has ended by itself")))
    }
}

/// Whether a vote is for an earlier leader than another one.
fn is_older(vote: &Vote, other: &Vote) -> bool {
    vote.partial_cmp(other) == Some(std::cmp::Ordering::Less)
}

/// Whether the leader of a vote may speak for a state that reaches to an entry. Several nodes may lead in one term, one after the
/// other, so the term alone does not say.
pub(crate) fn vouches_for(leader: &Vote, reaches: Option<&LogId>) -> bool {
    reaches.is_none_or(|id| id.leader_id <= leader.leader_id)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::LeaderId;

    fn leads(term: u64, node_id: u64) -> Vote {
        Vote { leader_id: LeaderId { term, node_id }, committed: true }
    }

    #[test]
    fn a_leader_speaks_for_its_own_entries_and_earlier_ones_also_within_a_term() {
        let reaches = |term, node_id| LogId { leader_id: LeaderId { term, node_id }, index: 9 };
        for (term, node, vouched) in [(4, 9, true), (5, 2, true), (5, 3, true), (5, 4, false), (6, 1, false)] {
            assert_eq!(vouches_for(&leads(5, 3), Some(&reaches(term, node))), vouched, "{term} {node}");
        }
        assert!(vouches_for(&leads(5, 3), None));
    }

    #[test]
    fn a_leader_is_older_also_within_a_term() {
        assert!(is_older(&leads(5, 2), &leads(5, 3)) && is_older(&leads(4, 9), &leads(5, 1)));
        assert!(!is_older(&leads(5, 3), &leads(5, 3)) && !is_older(&leads(5, 4), &leads(5, 3)));
    }

    #[test]
    fn a_snapshot_is_taken_only_when_it_fits_twice_above_the_watermark() {
        assert!(check_room(300, 100, 100, 0).is_ok());
        assert!(check_room(299, 100, 100, 0).is_err());
        // What came already takes no more room.
        assert!(check_room(260, 100, 100, 40).is_ok());
        assert!(check_room(259, 100, 100, 40).is_err());
        assert!(check_room(u64::MAX - 1, 100, u64::MAX, 0).is_err());
    }
}
