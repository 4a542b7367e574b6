//! What members of a group say to each other: the requests that a group answers, in encodings of our own. The frame around each carries
//! the version.

use std::io;
use std::marker::PhantomData;

use openraft::EntryPayload;
use openraft::raft::TransferLeaderRequest;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest, VoteResponse};
use serde::{Deserialize, Serialize};
use waypost_protocol::codec::{DecodeError, decode_exact};
use waypost_protocol::command::{ClusterCommand, GroupCommand};
use waypost_protocol::kinds::{Kind, Kinds};
use waypost_protocol::peer::Lane;
use waypost_protocol::peer_request::{PeerRequest, PeerRequestList};
use waypost_protocol::{Level, list};

use crate::exports::{Begun, ExportPiece};
use crate::format::{StoredLogId, VoteRecord, decode_entry, encode_entry, log_id, stored_log_id, vote, vote_record};
use crate::types::{LogId, TypeConfig};

/// All of them, for a group with commands `C`.
pub(crate) type GroupRequests<C> =
    list![Append, WantVote, WantPreVote, Transfer, SnapshotPiece, BeginExport, ExportPiece, Propose<C>, ProposeAt<C>];

/// Their numbers and names, which are the same for all groups.
pub const GROUP_REQUESTS: &Kinds = GroupRequests::<ClusterCommand>::KINDS;

// Requests and replies have had all their fields since the first version, so a missing field is an error and is not read as zero: a truncated reply
// would otherwise mean "the entries are written".
macro_rules! request {
    ($request:ty, $reply:ty, $kind:literal, $name:literal, $lane:ident) => {
        request!($request, $reply, $kind, $name, $lane {
            fn decode_reply(body: &[u8]) -> Result<$reply, DecodeError> {
                decode_exact(body)
            }
        });
    };
    ($request:ty, $reply:ty, $kind:literal, $name:literal, $lane:ident { $($own:item)* }) => {
        impl PeerRequest for $request {
            type Reply = $reply;
            type List = GroupRequests<ClusterCommand>;
            const KIND: Kind = Kind($kind);
            const NAME: &'static str = $name;
            const LANE: Lane = Lane::$lane;

            fn decode(body: &[u8]) -> Result<Self, DecodeError> {
                decode_exact(body)
            }

            $($own)*
        }
    };
}

/// Log entries of a group, or a heartbeat.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Append {
    vote: VoteRecord,
    prev: Option<StoredLogId>,
    commit: Option<StoredLogId>,
    entries: Vec<(u64, Vec<u8>)>,
}

request!(Append, Appended, 0xF001, "append", Consensus);

/// The answer to log entries.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Appended {
    Success,
    Partial(Option<StoredLogId>),
    Conflict,
    HigherVote(VoteRecord),
}

/// A candidate asks for a vote.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct WantVote {
    vote: VoteRecord,
    last: Option<StoredLogId>,
    leadership_transfer: bool,
}

request!(WantVote, VoteGiven, 0xF002, "vote", Consensus);

/// A node asks whether it would get a vote.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct WantPreVote(pub(crate) WantVote);

request!(WantPreVote, VoteGiven, 0xF003, "pre_vote", Consensus);

/// The answer to a candidate.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct VoteGiven {
    vote: VoteRecord,
    granted: bool,
    last: Option<StoredLogId>,
}

/// A leader transfers its leadership.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Transfer {
    from: VoteRecord,
    to: u64,
    last: Option<StoredLogId>,
}

request!(Transfer, (), 0xF004, "transfer_leader", Consensus);

/// A piece of a snapshot file. A file is known by `id`; the receiver answers with how many bytes of it it has.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SnapshotPiece {
    pub(crate) vote: VoteRecord,
    pub(crate) id: u64,
    pub(crate) total: u64,
    pub(crate) offset: u64,
    pub(crate) bytes: Vec<u8>,
}

request!(SnapshotPiece, SnapshotTaken, 0xF005, "snapshot", Calls);

/// The answer to a piece.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum SnapshotTaken {
    /// So many bytes are there; go on from here.
    Have(u64),
    /// All came, and it is being installed; ask again.
    Installing,
    /// It is installed.
    Installed(VoteRecord),
}

/// Makes the leader of a group write its state to a file, for a backup.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct BeginExport;

request!(BeginExport, Begun, 0xF007, "export", Calls);

/// Bytes, and nothing around them.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

request!(ExportPiece, Bytes, 0xF008, "export_read", Calls {
    fn encode_reply(reply: &Bytes) -> Vec<u8> {
        reply.0.clone()
    }

    fn decode_reply(body: &[u8]) -> Result<Bytes, DecodeError> {
        Ok(Bytes(body.to_vec()))
    }
});

/// A command of level 0 for the leader of a group: its bytes.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Propose<C> {
    pub(crate) command: Vec<u8>,
    of: PhantomData<fn() -> C>,
}

/// As [`Propose`], for commands of level 1 and later: the level, then the command.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ProposeAt<C> {
    pub(crate) level: Level,
    pub(crate) command: Vec<u8>,
    of: PhantomData<fn() -> C>,
}

impl<C> Propose<C> {
    pub(crate) fn new(command: Vec<u8>) -> Self {
        Self { command, of: PhantomData }
    }
}

impl<C> ProposeAt<C> {
    pub(crate) fn new(level: Level, command: Vec<u8>) -> Self {
        Self { level, command, of: PhantomData }
    }
}

impl<C: GroupCommand> PeerRequest for Propose<C> {
    type Reply = Proposed<C::Outcome>;
    type List = GroupRequests<C>;
    const KIND: Kind = Kind(0xF006);
    const NAME: &'static str = "propose";
    const LANE: Lane = Lane::Calls;

    fn decode_reply(body: &[u8]) -> Result<Self::Reply, DecodeError> {
        decode_exact(body)
    }

    fn encode(&self) -> Vec<u8> {
        self.command.clone()
    }

    fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self::new(body.to_vec()))
    }
}

impl<C: GroupCommand> PeerRequest for ProposeAt<C> {
    type Reply = Proposed<C::Outcome>;
    type List = GroupRequests<C>;
    const KIND: Kind = Kind(0xF009);
    const NAME: &'static str = "propose_at";
    const LANE: Lane = Lane::Calls;

    fn decode_reply(body: &[u8]) -> Result<Self::Reply, DecodeError> {
        decode_exact(body)
    }

    fn encode(&self) -> Vec<u8> {
        [[self.level.0].as_slice(), &self.command].concat()
    }

    fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        // Without a byte it is no command of any level, which is said when it is decoded.
        let (level, command) = body.split_first().map_or((0, body), |(level, command)| (*level, command));
        Ok(Self::new(Level(level), command.to_vec()))
    }
}

/// What came of a command that was sent to a leader.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
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

impl From<&AppendEntriesRequest<TypeConfig>> for Append {
    fn from(request: &AppendEntriesRequest<TypeConfig>) -> Self {
        Self {
            vote: vote_record(&request.vote),
            prev: ids(&request.prev_log_id),
            commit: ids(&request.leader_commit),
            entries: request.entries.iter().map(|entry| (entry.log_id.index, encode_entry(entry))).collect(),
        }
    }
}

impl Append {
    /// The request, whose entries have commands `C`. Others are refused before they are in the log.
    pub(crate) fn open<C: GroupCommand>(self) -> io::Result<AppendEntriesRequest<TypeConfig>> {
        let decode = |(index, bytes): &(u64, Vec<u8>)| {
            let mut entry = decode_entry(*index, bytes)?;
            if let EntryPayload::Normal(proposal) = &mut entry.payload {
                let refused = |error| io::Error::new(io::ErrorKind::InvalidData, format!("log entry {index}: {error}"));
                proposal.decode::<C>().map_err(refused)?;
            }
            Ok::<_, io::Error>(entry)
        };
        Ok(AppendEntriesRequest {
            vote: vote(self.vote),
            prev_log_id: self.prev.map(log_id),
            leader_commit: self.commit.map(log_id),
            entries: self.entries.iter().map(decode).collect::<Result<_, _>>()?,
        })
    }
}

impl From<&AppendEntriesResponse<TypeConfig>> for Appended {
    fn from(response: &AppendEntriesResponse<TypeConfig>) -> Self {
        match response {
            AppendEntriesResponse::Success => Self::Success,
            AppendEntriesResponse::PartialSuccess(id) => Self::Partial(ids(id)),
            AppendEntriesResponse::Conflict => Self::Conflict,
            AppendEntriesResponse::HigherVote(vote) => Self::HigherVote(vote_record(vote)),
        }
    }
}

impl From<Appended> for AppendEntriesResponse<TypeConfig> {
    fn from(answer: Appended) -> Self {
        match answer {
            Appended::Success => Self::Success,
            Appended::Partial(id) => Self::PartialSuccess(id.map(log_id)),
            Appended::Conflict => Self::Conflict,
            Appended::HigherVote(higher) => Self::HigherVote(vote(higher)),
        }
    }
}

impl From<&VoteRequest<TypeConfig>> for WantVote {
    fn from(request: &VoteRequest<TypeConfig>) -> Self {
        Self {
            vote: vote_record(&request.vote),
            last: ids(&request.last_log_id),
            leadership_transfer: request.leadership_transfer,
        }
    }
}

impl From<WantVote> for VoteRequest<TypeConfig> {
    fn from(wanted: WantVote) -> Self {
        let mut request = Self::new(vote(wanted.vote), wanted.last.map(log_id));
        request.leadership_transfer = wanted.leadership_transfer;
        request
    }
}

impl From<&VoteResponse<TypeConfig>> for VoteGiven {
    fn from(response: &VoteResponse<TypeConfig>) -> Self {
        Self { vote: vote_record(&response.vote), granted: response.vote_granted, last: ids(&response.last_log_id) }
    }
}

impl From<VoteGiven> for VoteResponse<TypeConfig> {
    fn from(given: VoteGiven) -> Self {
        Self::new(vote(given.vote), given.last.map(log_id), given.granted)
    }
}

impl From<&TransferLeaderRequest<TypeConfig>> for Transfer {
    fn from(request: &TransferLeaderRequest<TypeConfig>) -> Self {
        Self {
            from: vote_record(request.from_leader()),
            to: *request.to_node_id(),
            last: request.last_log_id().map(stored_log_id),
        }
    }
}

impl From<Transfer> for TransferLeaderRequest<TypeConfig> {
    fn from(transfer: Transfer) -> Self {
        Self::new(vote(transfer.from), transfer.to, transfer.last.map(log_id))
    }
}

#[cfg(test)]
mod tests {
    use waypost_protocol::command::ClusterOutcome;

    use super::*;

    /// The bytes of a request and of a reply, and whether they are read as what they are.
    fn golden<R: PeerRequest + PartialEq + std::fmt::Debug>(
        request: &R,
        bytes: &[u8],
        reply: &R::Reply,
        reply_bytes: &[u8],
    ) where
        R::Reply: PartialEq + std::fmt::Debug,
    {
        assert_eq!(request.encode(), bytes);
        assert_eq!(R::decode(bytes).as_ref(), Ok(request));
        assert_eq!(R::encode_reply(reply), reply_bytes);
        assert_eq!(R::decode_reply(reply_bytes).as_ref(), Ok(reply));
    }

    #[test]
    fn requests_and_replies_have_golden_bytes() {
        let vote = || VoteRecord { term: 3, node: 300, committed: true };
        let id = || StoredLogId { term: 3, node: 1, index: 9 };
        let append = Append { vote: vote(), prev: Some(id()), commit: None, entries: vec![(10, vec![7, 8])] };
        golden(
            &append,
            &[3, 0xac, 2, 1, 1, 3, 1, 9, 0, 1, 10, 2, 7, 8],
            &Appended::Partial(Some(id())),
            &[1, 1, 3, 1, 9],
        );
        let want = || WantVote { vote: vote(), last: Some(id()), leadership_transfer: true };
        let given = || VoteGiven { vote: vote(), granted: true, last: None };
        golden(&want(), &[3, 0xac, 2, 1, 1, 3, 1, 9, 1], &given(), &[3, 0xac, 2, 1, 1, 0]);
        golden(&WantPreVote(want()), &[3, 0xac, 2, 1, 1, 3, 1, 9, 1], &given(), &[3, 0xac, 2, 1, 1, 0]);
        golden(&Transfer { from: vote(), to: 2, last: None }, &[3, 0xac, 2, 1, 2, 0], &(), &[]);
        let piece = SnapshotPiece { vote: vote(), id: 5, total: 300, offset: 1, bytes: vec![9] };
        golden(&piece, &[3, 0xac, 2, 1, 5, 0xac, 2, 1, 1, 9], &SnapshotTaken::Have(2), &[0, 2]);
        golden(&BeginExport, &[], &Begun::Ready { id: 1, total: 300 }, &[0, 1, 0xac, 2]);
        golden(&ExportPiece { id: 1, offset: 300 }, &[1, 0xac, 2], &Bytes(vec![4, 5]), &[4, 5]);
        let outcome = || Proposed::Applied(300, ClusterOutcome::Done);
        golden(&Propose::<ClusterCommand>::new(vec![1, 2]), &[1, 2], &outcome(), &[0, 0xac, 2, 0]);
        golden(&ProposeAt::<ClusterCommand>::new(Level(2), vec![1, 2]), &[2, 1, 2], &outcome(), &[0, 0xac, 2, 0]);
    }

    #[test]
    fn nothing_is_made_up_for_a_request_or_a_reply_that_was_cut_off() {
        assert!(Append::decode(&[3, 1]).is_err() && Append::decode_reply(&[]).is_err());
        assert!(SnapshotPiece::decode(&[]).is_err() && SnapshotPiece::decode_reply(&[]).is_err());
        assert!(WantVote::decode(&[3, 1, 1]).is_err() && WantPreVote::decode_reply(&[3, 1, 1]).is_err());
        assert!(BeginExport::decode_reply(&[0]).is_err());
        assert!(Propose::<ClusterCommand>::decode_reply(&[0, 5]).is_err());
        assert!(ProposeAt::<ClusterCommand>::decode_reply(&[]).is_err());
    }
}
