//! The requests that a node answers by itself: what it is, how it is, and what it is asked to do. (Those of a group are in
//! `crates/consensus`, messages to actors in `crates/protocol`.)

use serde::{Deserialize, Serialize};
use waypost_consensus::GROUP_REQUESTS;
use waypost_protocol::codec::{DecodeError, decode_exact};
use waypost_protocol::command::NodeRecord;
use waypost_protocol::kinds::{Kind, distinct};
use waypost_protocol::listing::{NodePage, NodeTags, PageRequest};
use waypost_protocol::peer::Lane;
use waypost_protocol::peer_request::{PeerRequest, PeerRequestList};
use waypost_protocol::{Domain, Level, NodeId, ShardId, UnixMs, list, messages};

use super::clock_trust::Doubt;
use super::status::NodeStatus;

/// All of them.
pub(super) type NodeRequests =
    list![Probe, Join, GetStatus, MoveLeader, GetClock, GetCommitted, LeaveCluster, ListLinks, ListTags];

const _: () = {
    let [one, two, three, four, five] = messages::ALL;
    let all = [NodeRequests::KINDS, GROUP_REQUESTS, one, two, three, four, five];
    assert!(distinct(&all), "two requests share a number or a name, or a number is retired");
};

macro_rules! request {
    ($request:ty, $reply:ty, $kind:literal, $name:literal, $lane:ident $({ $($own:item)* })?) => {
        impl PeerRequest for $request {
            type Reply = $reply;
            type List = NodeRequests;
            const KIND: Kind = Kind($kind);
            const NAME: &'static str = $name;
            const LANE: Lane = Lane::$lane;

            $($($own)*)?
        }
    };
}

/// Asks a node what it is: a member, or new.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Probe;

/// The answer of a node about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Probed {
    pub(super) name: String,
    pub(super) cluster: Option<[u8; 16]>,
    /// Whether the asking node was removed from the cluster.
    pub(super) gone: bool,
    /// The digest of its `cluster.toml`.
    pub(super) config: u64,
    /// The highest level that it understands.
    pub(super) level: Level,
}

request!(Probe, Probed, 0xF010, "probe", Calls {
    const MEMBERS_ONLY: bool = false;
});

/// A new node asks to become a member. The reply is the id of the cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Join {
    pub(super) record: NodeRecord,
    /// The highest level that it understands.
    pub(super) level: Level,
}

request!(Join, [u8; 16], 0xF011, "join", Calls {
    const MEMBERS_ONLY: bool = false;

    // No part of an id may be missing.
    fn decode_reply(body: &[u8]) -> Result<[u8; 16], DecodeError> {
        decode_exact(body)
    }
});

/// Asks for the status of the node and its groups.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct GetStatus;

request!(GetStatus, NodeStatus, 0xF012, "get_status", Calls);

/// Asks the leader of a group, the scope, to transfer its leadership to another node.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct MoveLeader {
    pub(super) to: NodeId,
}

request!(MoveLeader, (), 0xF013, "move_leader", Calls {
    fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        decode_exact(body)
    }
});

/// Asks for the node's time, and whether it is sure of it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct GetClock;

/// The report of a node about its clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockReport {
    /// Its wall clock.
    pub now: UnixMs,
    /// Why the node does not trust it, and for how many milliseconds.
    pub doubt: Option<(Doubt, u64)>,
}

request!(GetClock, ClockReport, 0xF014, "get_clock", Calls);

/// Asks for the positions of groups: the committed one if the node leads, the applied one otherwise.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct GetCommitted {
    pub(super) groups: Vec<u32>,
}

/// The positions of a node in the requested groups.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CommittedAt {
    /// The groups that it leads: number, committed index, term.
    pub(super) groups: Vec<(u32, u64, u64)>,
    /// The others: number, applied index. A node of version 0.1 does not send them.
    pub(super) applied: Vec<(u32, u64)>,
}

request!(GetCommitted, CommittedAt, 0xF015, "get_committed", Consensus);

/// Asks the node to send its clicks to the shards and to remove itself from the cluster.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LeaveCluster;

request!(LeaveCluster, (), 0xF016, "leave_cluster", Calls);

/// Asks for a page of the links in the node's replicas. An earlier version refuses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ListLinks {
    /// Which page, of which shards.
    pub(super) page: PageRequest,
    /// An index of a shard's log: the page has to have the changes up to it.
    pub(super) seen: Option<(ShardId, u64)>,
}

request!(ListLinks, NodePage, 0xF017, "list_links", Calls);

/// Asks for the tags of the links in the node's replicas. An earlier version refuses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ListTags {
    /// The shards whose links count.
    pub(super) shards: Vec<ShardId>,
    /// The only domain whose links count.
    pub(super) domain: Option<Domain>,
    /// Domains whose links do not count.
    pub(super) exclude_domains: Vec<Domain>,
}

request!(ListTags, NodeTags, 0xF018, "list_tags", Calls);

#[cfg(test)]
mod tests {
    use waypost_protocol::KeyHash;
    use waypost_protocol::listing::{LinkFilter, ListPosition, Matches, Sort, SortValue, StateFilter, TagCount};

    use super::super::status::{CatalogReport, DiskReport, GroupReport, MemoryReport};
    use super::*;

    #[test]
    fn requests_and_replies_have_golden_bytes() {
        for empty in [Probe.encode(), GetStatus.encode(), GetClock.encode(), LeaveCluster.encode()] {
            assert!(empty.is_empty(), "{empty:?}");
        }
        assert_eq!(MoveLeader { to: NodeId(300) }.encode(), [0xac, 2]);
        assert!(MoveLeader::encode_reply(&()).is_empty());
        assert!(LeaveCluster::encode_reply(&()).is_empty());
        let cluster: [u8; 16] = std::array::from_fn(|at| at as u8 + 200);
        assert_eq!(Join::encode_reply(&cluster), cluster);
        assert_eq!(Join::decode_reply(&cluster), Ok(cluster));
        assert_eq!(GetCommitted { groups: vec![1, 300] }.encode(), [2, 1, 0xac, 2]);
        let at = CommittedAt { groups: vec![(1, 300, 2)], applied: vec![(3, 301)] };
        assert_eq!(GetCommitted::encode_reply(&at), [1, 1, 0xac, 2, 2, 1, 3, 0xad, 2]);
        // A node of version 0.1 names only what it leads.
        let leads = CommittedAt { applied: Vec::new(), ..at };
        assert_eq!(GetCommitted::decode_reply(&[1, 1, 0xac, 2, 2]), Ok(leads));
    }

    #[test]
    fn an_id_or_a_node_that_is_cut_off_is_no_answer() {
        assert!(Join::decode_reply(&[7; 15]).is_err() && Join::decode_reply(&[]).is_err());
        assert!(MoveLeader::decode(&[]).is_err());
    }

    #[test]
    fn a_report_has_golden_bytes() {
        let report = ClockReport { now: UnixMs(1_800_000_000_000), doubt: Some((Doubt::Jumped { by_ms: -5 }, 300)) };
        let bytes = GetClock::encode_reply(&report);
        assert_eq!(bytes, [0x80, 0xa0, 0xf1, 0xc2, 0xb1, 0x34, 1, 0, 9, 0xac, 2]);
        assert_eq!(GetClock::decode_reply(&bytes), Ok(report));
    }

    #[test]
    fn a_status_has_golden_bytes_and_those_of_earlier_versions_are_read() {
        let group = GroupReport {
            group: 1,
            leader: true,
            voters: vec![NodeId(300)],
            changing: false,
            term: 2,
            applied: 301,
            last: 302,
        };
        let catalog =
            CatalogReport { held: 16, complete: 3, reading: Some(7), read: 1, links: 4, failure: "f".to_owned() };
        let status = NodeStatus {
            node: NodeId(300),
            version: "0.1".to_owned(),
            stopping: false,
            read_only: true,
            links: 5,
            config: 6,
            groups: vec![group],
            level: Level::THREE,
            catalog: Some(catalog),
            disk: Some(DiskReport { free_bytes: 300, total_bytes: 301 }),
            memory: Some(MemoryReport { taken_bytes: 302, budget_bytes: 303, short: true }),
        };
        let bytes = GetStatus::encode_reply(&status);
        let (without_both, without_disk, without_memory) = (bytes.len() - 20, bytes.len() - 11, bytes.len() - 6);
        assert_eq!(bytes[without_both..without_disk], [1, 16, 3, 1, 7, 1, 4, 1, b'f'], "{bytes:?}");
        assert_eq!(bytes[without_disk..without_memory], [1, 0xac, 2, 0xad, 2]);
        assert_eq!(bytes[without_memory..], [1, 0xae, 2, 0xaf, 2, 1]);
        assert_eq!(GetStatus::decode_reply(&bytes), Ok(status.clone()));
        let status = NodeStatus { memory: None, ..status };
        assert_eq!(GetStatus::decode_reply(&bytes[..without_memory]), Ok(status.clone()));
        let status = NodeStatus { disk: None, ..status };
        assert_eq!(GetStatus::decode_reply(&bytes[..without_disk]), Ok(status.clone()));
        let status = NodeStatus { catalog: None, ..status };
        assert_eq!(GetStatus::decode_reply(&bytes[..without_both]), Ok(status));
    }

    /// `Lists` asks the next node then, and names the shard if there is none. Nobody may answer for a filter that it does not know.
    #[test]
    fn a_list_by_a_state_of_a_later_version_is_refused_and_not_taken_for_another_list() {
        let filter = LinkFilter { state: Some(StateFilter::EndsSoon), ..LinkFilter::default() };
        let page = PageRequest {
            shards: vec![ShardId(0)],
            filter,
            sort: Sort::default(),
            after: None,
            limit: 100,
            now: UnixMs(0),
            count: true,
        };
        let mut bytes = ListLinks { page, seen: None }.encode();
        let known = [1, StateFilter::EndsSoon as u8];
        let at = bytes.windows(2).position(|pair| pair == known).unwrap() + 1;
        assert!(ListLinks::decode(&bytes).is_ok());
        bytes[at] += 1;
        assert!(ListLinks::decode(&bytes).is_err(), "the last state is one behind the last that is known here");
    }

    #[test]
    fn requests_for_lists_have_golden_bytes() {
        let filter = LinkFilter {
            text: "ab".to_owned(),
            tags: vec!["t".to_owned()],
            all_tags: true,
            domain: Some(Domain(3)),
            state: Some(StateFilter::Expired),
            created_from: Some(UnixMs(300)),
            ..LinkFilter::default()
        };
        let after = ListPosition { value: SortValue::Text("m".to_owned()), hash: KeyHash(300) };
        let page = PageRequest {
            shards: vec![ShardId(0), ShardId(300)],
            filter,
            sort: Sort::default(),
            after: Some(after.clone()),
            limit: 100,
            now: UnixMs(301),
            count: true,
        };
        let asked = ListLinks { page, seen: Some((ShardId(1), 302)) };
        assert_eq!(ListLinks::decode(&asked.encode()), Ok(asked.clone()));
        let golden = [
            2, 0, 0xac, 2, 2, b'a', b'b', 0, 1, 1, b't', 1, 0, 1, 3, 0, 1, 2, 1, 0xac, 2, 0, 0, 1, 1, 1, 1, b'm', 0xac,
            2, 100, 0xad, 2, 1, 1, 1, 0xae, 2,
        ];
        assert_eq!(asked.encode(), golden);
        let page = NodePage {
            rows: Vec::new(),
            more_behind: Some(after),
            matches: Some(Matches { total: 300, is_minimum: true }),
            missing: vec![ShardId(2)],
            unseen: true,
        };
        let bytes = ListLinks::encode_reply(&page);
        assert_eq!(bytes, [0, 1, 1, 1, b'm', 0xac, 2, 1, 0xac, 2, 1, 1, 2, 1]);
        // The first nodes with lists do not say that.
        let without = NodePage { unseen: false, ..page.clone() };
        assert_eq!(ListLinks::decode_reply(&bytes[..bytes.len() - 1]), Ok(without));
        assert_eq!(ListLinks::decode_reply(&bytes), Ok(page));
        let asked = ListTags { shards: vec![ShardId(1)], domain: None, exclude_domains: vec![Domain(2)] };
        assert_eq!(asked.encode(), [1, 1, 0, 1, 2]);
        let tags = NodeTags {
            tags: vec![TagCount { tag: "A".to_owned(), folded: "a".to_owned(), links: 300 }],
            missing: vec![ShardId(1)],
            more: true,
        };
        let bytes = ListTags::encode_reply(&tags);
        assert_eq!(bytes, [1, 1, b'A', 1, b'a', 0xac, 2, 1, 1, 1]);
        assert_eq!(ListTags::decode_reply(&bytes), Ok(tags));
    }
}
