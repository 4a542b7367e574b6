//! The status report of a node, for other nodes and for people.

use serde::{Deserialize, Serialize};
use waypost_consensus::{GroupStatus, Groups};
use waypost_link_store::{CatalogStatus, Scan};
use waypost_protocol::command::NodeRecord;
use waypost_protocol::{Level, NodeId, ShardId};
use waypost_store::Space;

use crate::memory::NodeMemory;

/// The report of a node about one of its groups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupReport {
    /// 0 = the cluster's own; `n` = shard `n - 1`.
    pub group: u32,
    /// Whether the node leads it.
    pub leader: bool,
    /// Its voters, as far as the node knows.
    pub voters: Vec<NodeId>,
    /// Whether a change of voters has begun and is not finished.
    pub changing: bool,
    /// Increases with each election that the node knows of.
    pub term: u64,
    /// The last index that the node has applied.
    pub applied: u64,
    /// The last index in its log.
    pub last: u64,
}

/// The report of a node about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Its id.
    pub node: NodeId,
    /// The version of the program.
    pub version: String,
    /// Whether it is about to stop: it should lead nothing any more.
    pub stopping: bool,
    /// Whether it refuses changes because space is short.
    pub read_only: bool,
    /// Links in its replicas.
    pub links: u64,
    /// A digest of the parts of its `cluster.toml` that have to be the same everywhere.
    pub config: u64,
    /// Its groups.
    pub groups: Vec<GroupReport>,
    /// The highest level that it understands (`waypost_protocol::level`).
    pub level: Level,
    /// Its catalog; `None` = it keeps none, or runs an earlier version.
    pub catalog: Option<CatalogReport>,
    /// The disk of its data directory; `None` = it cannot be read, or the node runs an earlier version.
    pub disk: Option<DiskReport>,
    /// Its memory; `None` = it is not guarded, or the node runs an earlier version.
    pub memory: Option<MemoryReport>,
}

/// The memory of a node, in bytes. It cannot get another field: the next one of the message follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemoryReport {
    /// What the node has taken.
    pub taken_bytes: u64,
    /// What it may take.
    pub budget_bytes: u64,
    /// Whether it creates no links because memory is short.
    pub short: bool,
}

impl MemoryReport {
    /// The report of a node, if its memory is guarded.
    pub(super) fn of(memory: &NodeMemory) -> Option<Self> {
        let (taken_bytes, budget_bytes) = memory.report()?;
        Some(Self { taken_bytes, budget_bytes, short: memory.is_short() })
    }
}

/// The space of the file system of a node's data directory, in bytes. It cannot get another field: the next one of the message
/// follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DiskReport {
    /// What the node can still write.
    pub free_bytes: u64,
    /// The size.
    pub total_bytes: u64,
}

impl NodeStatus {
    /// Whether links can be created in the shards that it leads.
    pub fn creates_links(&self) -> bool {
        !self.read_only && !self.is_short_of_memory()
    }

    /// Whether it creates no links because memory is short.
    pub fn is_short_of_memory(&self) -> bool {
        self.memory.is_some_and(|memory| memory.short)
    }
}

impl From<Space> for DiskReport {
    fn from(space: Space) -> Self {
        Self { free_bytes: space.free_bytes, total_bytes: space.total_bytes }
    }
}

/// The report of a node about its catalog, from which lists and searches are answered. A message ended with it once, and the next field of the message
/// follows it: it cannot get another field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CatalogReport {
    /// The shards of which the node has a replica.
    pub held: u32,
    /// Those of them that the catalog has completely.
    pub complete: u32,
    /// The shard whose links are being read.
    pub reading: Option<u32>,
    /// Its links that were read.
    pub read: u64,
    /// The links that it has.
    pub links: u64,
    /// Why the catalog cannot be used; empty = it can.
    pub failure: String,
}

impl From<CatalogStatus> for CatalogReport {
    fn from(status: CatalogStatus) -> Self {
        let CatalogStatus { held, complete, scan, failure } = status;
        let (read, links) = scan.map_or((0, 0), |Scan { done, links, .. }| (done, links));
        let reading = scan.map(|scan| scan.shard.0);
        Self { held, complete, reading, read, links, failure: failure.unwrap_or_default() }
    }
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

/// The reports about all groups of the node.
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
    /// Its record in group 0.
    #[serde(flatten)]
    pub record: NodeRecord,
    /// Its report; `None` = it does not answer.
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
    /// Groups without a leader, according to any node.
    pub leaderless: Vec<u32>,
    /// Groups whose members are being changed.
    pub moving: Vec<u32>,
    /// The level of the cluster: what all of its nodes understand.
    pub level: Level,
    /// Shards (by their groups) that have fewer replicas on nodes that are up than configured.
    pub underreplicated: Vec<u32>,
    /// What needs attention.
    pub warnings: Vec<String>,
}
