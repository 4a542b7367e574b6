//! What group 0 holds of the cluster itself: what was settled when it was created, and its nodes.

use serde::{Deserialize, Serialize};

use crate::{NodeId, UnixMs};

/// The largest number of nodes: what group 0 keeps in memory of them, and asks once a look.
pub const NODES_MAX: usize = 256;

/// A node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Its id.
    pub id: NodeId,
    /// Its name in `cluster.toml`.
    pub name: String,
    /// Where other nodes reach it.
    pub peer: String,
    /// Where it serves redirects and the API.
    pub http: String,
    /// Where it fails together with others.
    pub zone: String,
    /// The services that it runs, by name.
    pub services: Vec<String>,
    /// Whether it is being emptied of its replicas.
    pub drain: bool,
}

impl NodeRecord {
    /// Whether it can hold replicas.
    pub fn stores(&self) -> bool {
        self.services.iter().any(|service| service == "link_store")
    }
}

/// What is settled when the cluster is created, and never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// Random id of the cluster.
    pub cluster_id: [u8; 16],
    /// Its name, from `cluster.toml`.
    pub name: String,
    /// The number of shards.
    pub shards: u32,
    /// The key of the permutation that turns counters into codes. Secret: who has it can guess codes.
    pub permutation_key: [u8; 32],
    /// When.
    pub created_at: UnixMs,
}
