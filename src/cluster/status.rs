//! How a node tells of itself, to other nodes and to people.

use serde::{Deserialize, Serialize};
use waypost_consensus::{GroupStatus, Groups};
use waypost_protocol::command::NodeRecord;
use waypost_protocol::{Level, NodeId, ShardId};

/// What a node says of one group of which it is a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupReport {
    /// 0 = the cluster's own; `n` = shard `n - 1`.
    pub group: u32,
    /// Whether the node leads it.
    pub leader: bool,
    /// Its voters, as the node knows them.
    pub voters: Vec<NodeId>,
    /// Whether a change of voters has begun and is not finished.
    pub changing: bool,
    /// Grows with each election that the node has heard of.
    pub term: u64,
    /// The last index that the node has applied.
    pub applied: u64,
    /// The last index in its log.
    pub last: u64,
}

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Its id.
    pub node: NodeId,
    /// The version of the program.
    pub version: String,
    /// Whether it is about to stop: it wants to lead nothing any more.
    pub stopping: bool,
    /// Whether it refuses changes for want of space.
    pub read_only: bool,
    /// Links in its replicas.
    pub links: u64,
    /// A digest of the parts of its `cluster.toml` that have to be the same everywhere.
    pub config: u64,
    /// Its groups.
    pub groups: Vec<GroupReport>,
    /// The highest level that it understands (`waypost_protocol::level`).
    pub level: Level,
}

impl From<GroupStatus> for GroupReport {
    fn from(status: GroupStatus) -> Self {
        Self {
            group: status.group,
            leader: status.leader,
            voters: status.voters.into_iter().collect(),
            changing: status.changing,
            term: status.term,
            applied: status.applied,
            last: status.last,
        }
    }
}

/// The groups in which a node has a part.
pub(super) fn reports(groups: &Groups) -> Vec<GroupReport> {
    let has_part = |status: &GroupStatus| match status.group.checked_sub(1) {
        None => true,
        Some(shard) => groups.takes_part(ShardId(shard)),
    };
    groups.status().into_iter().filter(has_part).map(GroupReport::from).collect()
}

/// A node as one of its peers sees it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeView {
    /// What group 0 knows of it.
    #[serde(flatten)]
    pub record: NodeRecord,
    /// What it says; `None` = it does not answer.
    pub status: Option<NodeStatus>,
}

/// The cluster as one node sees it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterView {
    /// The cluster's name.
    pub name: String,
    /// Its id, in hexadecimal.
    pub cluster: String,
    /// The number of shards.
    pub shards: u32,
    /// The node that was asked.
    pub asked: NodeId,
    /// All nodes.
    pub nodes: Vec<NodeView>,
    /// Groups without a leader that any node knows of.
    pub leaderless: Vec<u32>,
    /// Groups whose members are being changed.
    pub moving: Vec<u32>,
    /// The level of the cluster: what all of its nodes understand.
    pub level: Level,
    /// Shards (by their groups) that have fewer copies on nodes that are up than are wished.
    pub underreplicated: Vec<u32>,
    /// What somebody should look at.
    pub warnings: Vec<String>,
}
