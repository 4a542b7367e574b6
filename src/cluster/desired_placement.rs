//! The nodes that should hold a group, according to group 0's members and the file, and the progress of a new cluster's bootstrap.
//!
//! The bootstrap of a cluster is complete when group 0 records the members of each group. Its leader records them only when the group has all
//! its voters. Until then no node is ready and no change is accepted, so everything that is acknowledged has all its replicas. After a crash
//! at any point the bootstrap is incomplete, and the nodes continue with it when they are back.

use waypost_consensus::choose_voters;
use waypost_protocol::NodeId;
use waypost_protocol::command::NodeRecord;
use waypost_store::machine::ClusterState;

use crate::config::{Config, ServiceName};
use crate::limits::CLUSTER_VOTERS_MAX;

/// The placement that this node's file asks for.
#[derive(Debug, Clone)]
pub struct DesiredPlacement {
    /// The number of replicas of each shard.
    replicas: usize,
    /// The names of the nodes that store links: the bootstrap needs all of them.
    required: Vec<String>,
}

impl DesiredPlacement {
    /// The placement of a configuration.
    pub fn of(config: &Config) -> Self {
        let stores = config.nodes.iter().filter(|node| node.services.contains(&ServiceName::LinkStore));
        Self { replicas: config.replicas as usize, required: stores.map(|node| node.name.clone()).collect() }
    }

    /// The nodes that should hold a group, in the order of their ids.
    pub fn voters(&self, state: &ClusterState, group: u32) -> Vec<NodeId> {
        let storing: Vec<&NodeRecord> = state.nodes.values().filter(|node| node.stores() && !node.drain).collect();
        // Every node learns all of group 0, so more voters than needed are useless there.
        let deciding = |count: usize| if count > 2 && count.is_multiple_of(2) { count - 1 } else { count };
        let replicas = if group == 0 { deciding(storing.len()).min(CLUSTER_VOTERS_MAX) } else { self.replicas };
        choose_voters(group, &storing, replicas)
    }

    /// The nodes of the file that the bootstrap needs and the cluster does not know yet.
    pub fn missing(&self, state: &ClusterState) -> Vec<&str> {
        let known = |name: &str| state.nodes.values().any(|node| node.name == name);
        self.required.iter().map(String::as_str).filter(|name| !known(name)).collect()
    }

    /// Why the bootstrap is not complete, as text; `None` once it is.
    pub fn pending_bootstrap(&self, state: &ClusterState, shards: u32) -> Option<String> {
        let unsettled = (0..=shards).filter(|group| !state.placement.contains_key(group)).count();
        if unsettled == 0 {
            return None;
        }
        let missing = self.missing(state);
        Some(match missing.is_empty() {
            true => format!("{unsettled} groups do not have all their copies yet"),
            false => format!("waiting for {} to join", missing.join(", ")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(names: &[&str], placed: u32) -> ClusterState {
        let record = |(id, name): (usize, &&str)| NodeRecord {
            id: NodeId(id as u64 + 1),
            name: (*name).to_owned(),
            peer: String::new(),
            http: String::new(),
            zone: String::new(),
            services: vec!["link_store".to_owned()],
            drain: false,
        };
        let nodes = names.iter().enumerate().map(record).map(|node| (node.id, node)).collect();
        let placement = (0..placed).map(|group| (group, vec![NodeId(1)])).collect();
        ClusterState { nodes, placement, ..ClusterState::default() }
    }

    #[test]
    fn a_cluster_is_bootstrapped_when_it_is_settled_who_holds_each_group() {
        let desired = DesiredPlacement { replicas: 3, required: vec!["a".to_owned(), "b".to_owned()] };
        assert_eq!(desired.pending_bootstrap(&state(&["a"], 0), 4).unwrap(), "waiting for b to join");
        assert_eq!(
            desired.pending_bootstrap(&state(&["a", "b"], 3), 4).unwrap(),
            "2 groups do not have all their copies yet"
        );
        assert_eq!(desired.pending_bootstrap(&state(&["a", "b"], 5), 4), None);
        // A node that was removed later, or was never in this node's file, is not waited for.
        assert_eq!(desired.pending_bootstrap(&state(&["c"], 5), 4), None);
    }
}
