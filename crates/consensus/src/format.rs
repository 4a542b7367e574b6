//! What replication stores, in encodings of our own: openraft does not promise that its own stay the same.
//!
//! Each of these is a payload inside the sealed record (`waypost_protocol::envelope`) whose version byte names them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use openraft::{BasicNode, EntryPayload, Membership};
use serde::{Deserialize, Serialize};
use waypost_protocol::Level;

use crate::types::{Entry, LeaderId, LogId, Proposal, StoredMembership, Vote};

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoredLogId {
    pub(crate) term: u64,
    pub(crate) node: u64,
    pub(crate) index: u64,
}

#[derive(Serialize, Deserialize)]
struct MembershipRecord {
    configs: Vec<BTreeSet<u64>>,
    nodes: BTreeMap<u64, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct VoteRecord {
    pub(crate) term: u64,
    pub(crate) node: u64,
    pub(crate) committed: bool,
}

/// What a log entry carries, by the byte after its term and node.
///
/// ```text
/// entry      = term (varint) · node (varint) · payload
/// blank      = 0
/// base       = 1 · batch of level 0
/// membership = 2 · membership
/// batch      = 3 · level u8 · batch of that level
/// ```
mod payload {
    pub(super) const BLANK: u8 = 0;
    pub(super) const BASE: u8 = 1;
    pub(super) const MEMBERSHIP: u8 = 2;
    pub(super) const BATCH: u8 = 3;
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
    let mut stored = bytes(&(entry.log_id.leader_id.term, entry.log_id.leader_id.node_id));
    match &entry.payload {
        EntryPayload::Blank => stored.push(payload::BLANK),
        EntryPayload::Normal(proposal) => {
            match proposal.level() {
                Level::BASE => stored.push(payload::BASE),
                Level(level) => stored.extend([payload::BATCH, level]),
            }
            stored.extend_from_slice(proposal.bytes());
        }
        EntryPayload::Membership(membership) => {
            stored.push(payload::MEMBERSHIP);
            stored.extend(bytes(&membership_record(membership)));
        }
    }
    stored
}

/// Reads an entry. Its commands are not decoded: which ones they may be, the group's machine says.
pub(crate) fn decode_entry(index: u64, stored: &[u8]) -> io::Result<Entry> {
    let invalid =
        |why: String| io::Error::new(io::ErrorKind::InvalidData, format!("log entry {index} cannot be decoded: {why}"));
    let ((term, node), rest): ((u64, u64), &[u8]) =
        postcard::take_from_bytes(stored).map_err(|error| invalid(error.to_string()))?;
    let proposal = |level, body| Proposal::stored(level, body).map_err(|error| invalid(error.to_string()));
    let payload = match rest {
        [payload::BLANK, ..] => EntryPayload::Blank,
        [payload::BASE, body @ ..] => EntryPayload::Normal(proposal(Level::BASE, body)?),
        [payload::MEMBERSHIP, body @ ..] => EntryPayload::Membership(membership(parse("log entry", body)?)?),
        [payload::BATCH, level, body @ ..] => EntryPayload::Normal(proposal(Level(*level), body)?),
        _ => return Err(invalid("it is of a kind that this version does not know".to_owned())),
    };
    Ok(Entry { log_id: log_id(StoredLogId { term, node, index }), payload })
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
    use waypost_protocol::command::{Batch, BatchError, ClusterCommand, RemoveNode, SetAdminKey, ShardCommand};
    use waypost_protocol::digest::KeyDigest;
    use waypost_protocol::{NodeId, UnixMs};

    fn id(term: u64, node: u64, index: u64) -> LogId {
        LogId { leader_id: LeaderId { term, node_id: node }, index }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn proposal(batch: Batch<ClusterCommand>) -> Proposal {
        let bytes = batch.encode();
        Proposal::new(batch, bytes)
    }

    #[test]
    fn commands_of_another_kind_of_group_are_not_read() {
        let commands = vec![ClusterCommand::from(RemoveNode { node: NodeId(300) })];
        let batch = Batch { level: Level::ONE, at: UnixMs(1), commands };
        let mut stored = Proposal::stored(Level::ONE, &batch.encode()).unwrap();
        let of_shard = |proposal: &Proposal| proposal.batch::<ShardCommand>().unwrap_err();
        let refused = BatchError::NotOfGroup { number: 4, group: "a shard" };
        assert_eq!(of_shard(&stored), refused);
        stored.decode::<ClusterCommand>().unwrap();
        assert_eq!(*stored.batch::<ClusterCommand>().unwrap(), batch);
        assert_eq!(of_shard(&stored), refused, "also once they are decoded");
    }

    #[test]
    fn every_kind_of_entry_comes_back_as_it_was() {
        let batch = |level| {
            let set = SetAdminKey { digest: KeyDigest([7; 32]), replace: false };
            proposal(Batch { level, at: UnixMs(1_700_000_000_000), commands: vec![ClusterCommand::from(set)] })
        };
        let members = Membership::new(
            vec![BTreeSet::from([1, 2]), BTreeSet::from([2, 3])],
            (1..=4).map(|id| (id, BasicNode::new(format!("127.0.0.1:740{id}")))).collect::<BTreeMap<_, _>>(),
        )
        .unwrap();
        for payload in [
            EntryPayload::Blank,
            EntryPayload::Normal(batch(Level::BASE)),
            EntryPayload::Normal(batch(Level::ONE)),
            EntryPayload::Membership(members),
        ] {
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
        let remove = |level| {
            let commands = vec![ClusterCommand::from(RemoveNode { node: NodeId(300) })];
            let batch = Batch { level, at: UnixMs(1_700_000_000_000), commands };
            hex(&encode_entry(&Entry { log_id: id(1, 2, 3), payload: EntryPayload::Normal(proposal(batch)) }))
        };
        assert_eq!(remove(Level::BASE), "010201".to_owned() + "80d095ffbc310104ac02");
        assert_eq!(remove(Level::ONE), "01020301".to_owned() + "80d095ffbc310104ac02");
        let members = Membership::new(vec![BTreeSet::from([1])], BTreeMap::from([(1, BasicNode::new("a:1"))])).unwrap();
        let position = encode_position(Some(&id(1, 2, 300)), &StoredMembership::new(Some(id(1, 2, 3)), members));
        assert_eq!(hex(&position), "010102ac02".to_owned() + "01010203" + "0101010101" + "03613a31");
    }

    #[test]
    fn an_entry_of_a_later_version_is_refused_by_its_level() {
        let later = Level::CURRENT.0 + 1;
        let error = decode_entry(7, &[1, 2, payload::BATCH, later, 0, 0]).unwrap_err().to_string();
        assert!(error.contains("entry 7") && error.contains(&format!("level {later}")), "{error}");
    }

    #[test]
    fn damaged_bytes_are_an_error_and_not_a_panic() {
        assert!(decode_entry(1, &[1, 2, 9]).is_err());
        assert!(decode_vote(&[]).is_err());
        assert!(decode_position(&[1]).is_err());
    }
}
