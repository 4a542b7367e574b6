//! What members of a group say to each other, in encodings of our own. The frame around each carries the version.

use std::io;

use openraft::EntryPayload;
use openraft::raft::TransferLeaderRequest;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest, VoteResponse};
use serde::{Deserialize, Serialize};
use waypost_protocol::Level;
use waypost_protocol::command::GroupCommand;

use crate::format::{
    StoredLogId, VoteRecord, bytes, decode_entry, encode_entry, log_id, parse, stored_log_id, vote, vote_record,
};
use crate::types::{LogId, TypeConfig};

#[derive(Serialize, Deserialize)]
struct Append {
    vote: VoteRecord,
    prev: Option<StoredLogId>,
    commit: Option<StoredLogId>,
    entries: Vec<(u64, Vec<u8>)>,
}

#[derive(Serialize, Deserialize)]
enum Appended {
    Success,
    Partial(Option<StoredLogId>),
    Conflict,
    HigherVote(VoteRecord),
}

#[derive(Serialize, Deserialize)]
struct VoteWanted {
    vote: VoteRecord,
    last: Option<StoredLogId>,
    leadership_transfer: bool,
}

#[derive(Serialize, Deserialize)]
struct VoteGiven {
    vote: VoteRecord,
    granted: bool,
    last: Option<StoredLogId>,
}

#[derive(Serialize, Deserialize)]
struct Transfer {
    from: VoteRecord,
    to: u64,
    last: Option<StoredLogId>,
}

/// A piece of a snapshot file. A file is known by `id`; the receiver answers with how many bytes of it it has.
#[derive(Serialize, Deserialize)]
pub(crate) struct SnapshotPiece {
    pub(crate) vote: VoteRecord,
    pub(crate) id: u64,
    pub(crate) total: u64,
    pub(crate) offset: u64,
    pub(crate) bytes: Vec<u8>,
}

/// The answer to a piece.
#[derive(Serialize, Deserialize)]
pub(crate) enum SnapshotTaken {
    /// So many bytes are there; go on from here.
    Have(u64),
    /// All came, and it is being installed; ask again.
    Installing,
    /// It is installed.
    Installed(VoteRecord),
}

/// What came of a command that was sent to a leader.
#[derive(Serialize, Deserialize)]
pub(crate) enum Proposed<O> {
    /// Applied at an index.
    Applied(u64, O),
    /// Not the leader; perhaps this node is.
    NotLeader(Option<u64>),
    /// Too much to do; nothing was done.
    Overloaded,
    /// Larger than a command may be; nothing was done. Bytes, and the most that are possible.
    TooLarge(u64, u64),
    /// The leader knows a lower level than the command needs; nothing was done. The level needed, and that of the cluster.
    NotYet(Level, Level),
}

fn ids(id: &Option<LogId>) -> Option<StoredLogId> {
    id.as_ref().map(stored_log_id)
}

pub(crate) fn encode_append(request: &AppendEntriesRequest<TypeConfig>) -> Vec<u8> {
    bytes(&Append {
        vote: vote_record(&request.vote),
        prev: ids(&request.prev_log_id),
        commit: ids(&request.leader_commit),
        entries: request.entries.iter().map(|entry| (entry.log_id.index, encode_entry(entry))).collect(),
    })
}

/// Reads a request whose entries have commands `C`. Others are refused before they are in the log.
pub(crate) fn decode_append<C: GroupCommand>(received: &[u8]) -> io::Result<AppendEntriesRequest<TypeConfig>> {
    let append: Append = parse("log entries", received)?;
    let decode = |(index, bytes): &(u64, Vec<u8>)| {
        let mut entry = decode_entry(*index, bytes)?;
        if let EntryPayload::Normal(proposal) = &mut entry.payload {
            let refused = |error| io::Error::new(io::ErrorKind::InvalidData, format!("log entry {index}: {error}"));
            proposal.decode::<C>().map_err(refused)?;
        }
        Ok::<_, io::Error>(entry)
    };
    Ok(AppendEntriesRequest {
        vote: vote(append.vote),
        prev_log_id: append.prev.map(log_id),
        leader_commit: append.commit.map(log_id),
        entries: append.entries.iter().map(decode).collect::<Result<_, _>>()?,
    })
}

pub(crate) fn encode_appended(response: &AppendEntriesResponse<TypeConfig>) -> Vec<u8> {
    bytes(&match response {
        AppendEntriesResponse::Success => Appended::Success,
        AppendEntriesResponse::PartialSuccess(id) => Appended::Partial(ids(id)),
        AppendEntriesResponse::Conflict => Appended::Conflict,
        AppendEntriesResponse::HigherVote(vote) => Appended::HigherVote(vote_record(vote)),
    })
}

pub(crate) fn decode_appended(received: &[u8]) -> io::Result<AppendEntriesResponse<TypeConfig>> {
    Ok(match parse("an answer to log entries", received)? {
        Appended::Success => AppendEntriesResponse::Success,
        Appended::Partial(id) => AppendEntriesResponse::PartialSuccess(id.map(log_id)),
        Appended::Conflict => AppendEntriesResponse::Conflict,
        Appended::HigherVote(higher) => AppendEntriesResponse::HigherVote(vote(higher)),
    })
}

pub(crate) fn encode_vote_request(request: &VoteRequest<TypeConfig>) -> Vec<u8> {
    bytes(&VoteWanted {
        vote: vote_record(&request.vote),
        last: ids(&request.last_log_id),
        leadership_transfer: request.leadership_transfer,
    })
}

pub(crate) fn decode_vote_request(received: &[u8]) -> io::Result<VoteRequest<TypeConfig>> {
    let wanted: VoteWanted = parse("a vote request", received)?;
    let mut request = VoteRequest::new(vote(wanted.vote), wanted.last.map(log_id));
    request.leadership_transfer = wanted.leadership_transfer;
    Ok(request)
}

pub(crate) fn encode_vote_response(response: &VoteResponse<TypeConfig>) -> Vec<u8> {
    bytes(&VoteGiven {
        vote: vote_record(&response.vote),
        granted: response.vote_granted,
        last: ids(&response.last_log_id),
    })
}

pub(crate) fn decode_vote_response(received: &[u8]) -> io::Result<VoteResponse<TypeConfig>> {
    let given: VoteGiven = parse("a vote", received)?;
    Ok(VoteResponse::new(vote(given.vote), given.last.map(log_id), given.granted))
}

pub(crate) fn encode_transfer(request: &TransferLeaderRequest<TypeConfig>) -> Vec<u8> {
    bytes(&Transfer {
        from: vote_record(request.from_leader()),
        to: *request.to_node_id(),
        last: request.last_log_id().map(stored_log_id),
    })
}

pub(crate) fn decode_transfer(received: &[u8]) -> io::Result<TransferLeaderRequest<TypeConfig>> {
    let transfer: Transfer = parse("a transfer of leadership", received)?;
    Ok(TransferLeaderRequest::new(vote(transfer.from), transfer.to, transfer.last.map(log_id)))
}
