//! What each command of group 0 carries.

use serde::{Deserialize, Serialize};

use super::cluster_record::{Bootstrap, NodeRecord};
use crate::digest::KeyDigest;
use crate::domain::HostName;
use crate::{Domain, FieldChanges, Level, NodeId};

/// Creates the cluster: once, by its first node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateCluster(pub Bootstrap);

/// Leases the next `count` numbers of the counter to a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseKeys {
    /// The node that asks.
    pub node: NodeId,
    /// How many numbers.
    pub count: u64,
}

/// Sets the admin key, unless there is one and `replace` is false. The sessions of a key that is replaced end with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAdminKey {
    /// blake3 of the key.
    pub digest: KeyDigest,
    /// Whether an existing key is replaced.
    pub replace: bool,
}

/// Makes a node a member of the cluster, or changes what is known of it. A node of the same name with another id is
/// replaced by it: its data directory was emptied. Unless a group could not go on without what the old one held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutNode(pub NodeRecord);

/// Takes a node out of the cluster, unless a group could not go on without it. Its id is never used again. Refused since level 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveNode {
    /// Which.
    pub node: NodeId,
}

/// Says whether a node is to be emptied of its replicas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainNode {
    /// Which.
    pub node: NodeId,
    /// Whether it is.
    pub drain: bool,
}

/// Settles which nodes are to hold a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Which group.
    pub group: u32,
    /// Its voters to be.
    pub voters: Vec<NodeId>,
}

/// Makes a new node a member of the cluster, unless it understands less than the cluster uses, or a member has its name; otherwise
/// as [`PutNode`], which since level 1 only changes a member. Since level 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdmitNode {
    /// The node.
    pub record: NodeRecord,
    /// The highest level that it understands.
    pub level: Level,
}

/// Raises the level of the cluster, unless it has other members than those that were asked. Since the level it names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaiseLevel {
    /// The new level.
    pub level: Level,
    /// The nodes that said that they understand it.
    pub members: Vec<NodeId>,
}

/// Takes a node out of the cluster, unless a group could not go on without it, or the cluster has other members than those for
/// which that was decided: so of two that leave at once, the second is decided upon without the first. Its id is never used
/// again. Since level 1, in the place of [`RemoveNode`], and of a replacement by [`PutNode`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetireNode {
    /// Which.
    pub node: NodeId,
    /// All members of the cluster, in the order of their ids.
    pub members: Vec<NodeId>,
}

/// Makes a domain, or makes one again that was removed: it has its number, its links and what was fixed then. The same command again does
/// nothing. Since level 3.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddDomain {
    /// Its host.
    pub host: HostName,
    /// Its settings: it has no others afterwards.
    pub settings: FieldChanges,
}

/// Changes settings of a domain. Since level 3.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetDomain {
    /// Which.
    pub domain: Domain,
    /// The changes.
    pub changes: FieldChanges,
}

/// Removes a domain: it answers nothing from then on. Its links stay, and so does its number. Since level 3.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveDomain {
    /// Which. The default domain cannot be removed.
    pub domain: Domain,
}
