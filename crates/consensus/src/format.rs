//! What replication stores, in encodings of our own: openraft does not promise that its own stay the same.
//!
//! Each of these is a payload inside the sealed record (`waypost_protocol::envelope`) whose version byte names them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use openraft::{BasicNode, EntryPayload, Membership};
use serde::{Deserialize, Serialize};
use waypost_protocol::command::Batch;

use crate::types::{Entry, LeaderId, LogId, Proposal, StoredMembership, Vote};

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct StoredLogId {
    term: u64,
    node: u64,
    index: u64,
}

#[derive(Serialize, Deserialize)]
struct MembershipRecord {
    configs: Vec<BTreeSet<u64>>,
    nodes: BTreeMap<u64, String>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct VoteRecord {
    pub(crate) term: u64,
    pub(crate) node: u64,
    pub(crate) committed: bool,
}

/// Borrowing twin of [`EntryRecord`]: the same bytes without a copy of the commands.
#[derive(Serialize)]
struct EntryRef<'a> {
    term: u64,
    node: u64,
    payload: PayloadRef<'a>,
}

#[derive(Serialize)]
enum PayloadRef<'a> {
    Blank,
    Batch(&'a Batch),
    Membership(MembershipRecord),
}

#[derive(Deserialize)]
struct EntryRecord {
    term: u64,
    node: u64,
    payload: PayloadRecord,
}

#[derive(Deserialize)]
enum PayloadRecord {
    Blank,
    Batch(Batch),
    Membership(MembershipRecord),
}

/// The position of a state in its log, as it is stored beside the state.
#[derive(Serialize, Deserialize)]
pub(crate) struct PositionRecord {
    applied: Option<StoredLogId>,
    membership_at: Option<StoredLogId>,
    membership: MembershipRecord,
}

pub(crate) fn bytes<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("invariant: our own structs have no shape that postcard refuses")
}

pub(crate) fn parse<'a, T: Deserialize<'a>>(what: &str, bytes: &'a [u8]) -> io::Result<T> {
    postcard::from_bytes(bytes)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("{what} cannot be decoded: {error}")))
}

pub(crate) fn log_id(stored: StoredLogId) -> LogId {
    LogId { leader_id: LeaderId { term: stored.term, node_id: stored.node }, index: stored.index }
}

pub(crate) fn stored_log_id(id: &LogId) -> StoredLogId {
    StoredLogId { term: id.leader_id.term, node: id.leader_id.node_id, index: id.index }
}

fn membership_record(membership: &Membership<u64, BasicNode>) -> MembershipRecord {
    MembershipRecord {
        configs: membership.get_joint_config().clone(),
        nodes: membership.nodes().map(|(id, node)| (*id, node.addr.clone())).collect(),
    }
}

fn membership(record: MembershipRecord) -> io::Result<Membership<u64, BasicNode>> {
    if record.configs.is_empty() && record.nodes.is_empty() {
        return Ok(Membership::default());
    }
    let nodes: BTreeMap<u64, BasicNode> =
        record.nodes.into_iter().map(|(id, address)| (id, BasicNode::new(address))).collect();
    Membership::new(record.configs, nodes)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("stored members do not fit: {error}")))
}

pub(crate) fn encode_entry(entry: &Entry) -> Vec<u8> {
    let payload = match &entry.payload {
        EntryPayload::Blank => PayloadRef::Blank,
        EntryPayload::Normal(proposal) => PayloadRef::Batch(&proposal.0),
        EntryPayload::Membership(membership) => PayloadRef::Membership(membership_record(membership)),
    };
    bytes(&EntryRef { term: entry.log_id.leader_id.term, node: entry.log_id.leader_id.node_id, payload })
}

pub(crate) fn decode_entry(index: u64, stored: &[u8]) -> io::Result<Entry> {
    let record: EntryRecord = parse("log entry", stored)?;
    Ok(Entry {
        log_id: log_id(StoredLogId { term: record.term, node: record.node, index }),
        payload: match record.payload {
            PayloadRecord::Blank => EntryPayload::Blank,
            PayloadRecord::Batch(batch) => EntryPayload::Normal(Proposal(Arc::new(batch))),
            PayloadRecord::Membership(record) => EntryPayload::Membership(membership(record)?),
        },
    })
}

pub(crate) fn encode_log_id(id: &LogId) -> Vec<u8> {
    bytes(&stored_log_id(id))
}

pub(crate) fn decode_log_id(stored: &[u8]) -> io::Result<LogId> {
    parse("log id", stored).map(log_id)
}

pub(crate) fn vote_record(vote: &Vote) -> VoteRecord {
    VoteRecord { term: vote.leader_id.term, node: vote.leader_id.node_id, committed: vote.committed }
}

pub(crate) fn vote(record: VoteRecord) -> Vote {
    Vote { leader_id: LeaderId { term: record.term, node_id: record.node }, committed: record.committed }
}

pub(crate) fn encode_vote(vote: &Vote) -> Vec<u8> {
    bytes(&vote_record(vote))
}

pub(crate) fn decode_vote(stored: &[u8]) -> io::Result<Vote> {
    parse("vote", stored).map(vote)
}

pub(crate) fn encode_position(applied: Option<&LogId>, members: &StoredMembership) -> Vec<u8> {
    bytes(&PositionRecord {
        applied: applied.map(stored_log_id),
        membership_at: members.log_id().as_ref().map(stored_log_id),
        membership: membership_record(members.membership()),
    })
}

pub(crate) fn decode_position(stored: &[u8]) -> io::Result<(Option<LogId>, StoredMembership)> {
    let record: PositionRecord = parse("position", stored)?;
    let members = StoredMembership::new(record.membership_at.map(log_id), membership(record.membership)?);
    Ok((record.applied.map(log_id), members))
}

#[cfg(test)]
mod tests {
    use super::*;
    use waypost_protocol::UnixMs;
    use waypost_protocol::command::Command;
    use waypost_protocol::digest::KeyDigest;

    fn id(term: u64, node: u64, index: u64) -> LogId {
        LogId { leader_id: LeaderId { term, node_id: node }, index }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn every_kind_of_entry_comes_back_as_it_was() {
        let batch = Batch {
            at: UnixMs(1_700_000_000_000),
            commands: vec![Command::SetAdminKey { digest: KeyDigest([7; 32]), replace: false }],
        };
        let members = Membership::new(
            vec![BTreeSet::from([1, 2]), BTreeSet::from([2, 3])],
            (1..=4).map(|id| (id, BasicNode::new(format!("127.0.0.1:740{id}")))).collect::<BTreeMap<_, _>>(),
        )
        .unwrap();
        for payload in
            [EntryPayload::Blank, EntryPayload::Normal(Proposal(Arc::new(batch))), EntryPayload::Membership(members)]
        {
            let entry = Entry { log_id: id(3, 9, 41), payload };
            let back = decode_entry(41, &encode_entry(&entry)).unwrap();
            assert_eq!(back, entry);
        }
    }

    #[test]
    fn the_stored_formats_keep_their_golden_bytes() {
        assert_eq!(hex(&encode_log_id(&id(1, 2, 300))), "0102ac02");
        let vote = Vote { leader_id: LeaderId { term: 5, node_id: 6 }, committed: true };
        assert_eq!(hex(&encode_vote(&vote)), "050601");
        let entry = Entry { log_id: id(1, 2, 3), payload: EntryPayload::Blank };
        assert_eq!(hex(&encode_entry(&entry)), "010200");
        let members = Membership::new(vec![BTreeSet::from([1])], BTreeMap::from([(1, BasicNode::new("a:1"))])).unwrap();
        let entry = Entry { log_id: id(1, 2, 3), payload: EntryPayload::Membership(members) };
        assert_eq!(hex(&encode_entry(&entry)), "0102020101010101".to_owned() + "03613a31");
    }

    #[test]
    fn damaged_bytes_are_an_error_and_not_a_panic() {
        assert!(decode_entry(1, &[1, 2, 9]).is_err());
        assert!(decode_vote(&[]).is_err());
        assert!(decode_position(&[1]).is_err());
    }
}
