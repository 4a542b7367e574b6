//! The state of group 0.

use std::collections::BTreeMap;

use waypost_protocol::command::{Bootstrap, NodeRecord};
use waypost_protocol::digest::KeyDigest;
use waypost_protocol::domain::DomainRecord;
use waypost_protocol::session::{SessionId, SessionRecord};
use waypost_protocol::{Domain, Level, NodeId, UnixMs};

/// What the cluster has agreed on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterState {
    /// How the cluster was created; `None` = not yet.
    pub bootstrap: Option<Bootstrap>,
    /// The level that all members understand.
    pub level: Level,
    /// The first number of the counter that nobody has leased. Never goes back.
    pub next_key: u64,
    /// blake3 of the admin key; `None` = there is none.
    pub admin_key: Option<KeyDigest>,
    /// The time of the last batch applied; before level 1 the largest one seen.
    pub applied_at: UnixMs,
    /// The members of the cluster, at most [`NODES_MAX`](waypost_protocol::command::NODES_MAX).
    pub nodes: BTreeMap<NodeId, NodeRecord>,
    /// Which nodes are to hold each group. A group that is not in it belongs to the node that created the cluster.
    pub placement: BTreeMap<u32, Vec<NodeId>>,
    /// Nodes that were removed or replaced.
    pub gone: Gone,
    /// The domains, also those that were removed, at most [`DOMAINS_MAX`](waypost_protocol::domain::DOMAINS_MAX) with a host. The default domain
    /// is here if it has settings.
    pub domains: BTreeMap<Domain, DomainRecord>,
    /// The sessions of the dashboard, also those that are over, at most [`SESSIONS_MAX`](waypost_protocol::session::SESSIONS_MAX).
    pub sessions: BTreeMap<SessionId, SessionRecord>,
}

/// How many removed nodes are remembered: the ones removed last. Since level 1 a node that is forgotten here cannot come back
/// either: only `AdmitNode` takes a node in, and a node asks for that before it belongs to any cluster.
const GONE_MAX: usize = 1024;

/// Ids of nodes that were removed or replaced, with the log index at which that was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gone(pub(super) BTreeMap<NodeId, u64>);

impl Gone {
    /// Whether a node was removed.
    pub fn contains(&self, node: &NodeId) -> bool {
        self.0.contains_key(node)
    }

    pub(super) fn insert(&mut self, node: NodeId, index: u64) {
        self.0.insert(node, index);
    }

    pub(super) fn forget_oldest(&mut self) {
        while self.0.len() > GONE_MAX {
            let oldest = self.0.iter().min_by_key(|(node, index)| (**index, **node)).map(|(node, _)| *node);
            let Some(oldest) = oldest else { return };
            self.0.remove(&oldest);
        }
    }
}

impl<'a> IntoIterator for &'a Gone {
    type Item = &'a NodeId;
    type IntoIter = std::collections::btree_map::Keys<'a, NodeId, u64>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.keys()
    }
}
