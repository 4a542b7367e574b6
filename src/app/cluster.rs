//! The administration of the cluster: its view, and changes of its nodes and leaders.

use waypost_protocol::command::{DrainNode, DrainNodeOutcome, NodeRecord};

use super::{App, Denied, Permission, Principal};
use crate::cluster::{ClusterView, NodeView, RetireError};

/// Why the cluster was not changed, or not shown.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The principal may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// No node has this name or id.
    #[error("the cluster has no node \"{0}\"")]
    UnknownNode(String),
    /// The node is not drained: no other one could hold its links.
    #[error(
        "no other node could hold its links: it is the only one that stores any, or all others are drained; add or undrain one first"
    )]
    LastToStore,
    /// The node is not removed: no other one stores links.
    #[error("it is the only node that stores links; add another one first")]
    OnlyStore,
    /// The node is not removed while it is up and holds links.
    #[error("it is up and holds links; drain it first, and wait until it is empty (`waypost cluster remove` does)")]
    HoldsLinks,
    /// The node is not removed: groups need it.
    #[error("{0}. Start it again, or wait until the others have caught up")]
    Needed(RetireError),
    /// The node is not removed: it has a reason to stay.
    #[error("{0}; or stop it, and remove it then")]
    Stays(RetireError),
    /// The node that is to lead is no voter.
    #[error("{node} is no voter of group {group}")]
    NotAVoter {
        /// The node, as the caller named it.
        node: String,
        /// The group.
        group: u32,
    },
    /// Nobody leads the group, so nobody can hand over.
    #[error("group {0} has no leader now")]
    NoLeader(u32),
    /// The cluster cannot decide now, or did not in time. The change may happen all the same.
    #[error("{0}")]
    Undecided(String),
}

impl ClusterError {
    fn of_removal(error: RetireError, name: &str) -> Self {
        match error {
            RetireError::NotAMember => Self::UnknownNode(name.to_owned()),
            RetireError::Needed(_) | RetireError::Placed(_) => Self::Needed(error),
            RetireError::Stays(_) => Self::Stays(error),
            RetireError::Undecided(_) => Self::Undecided(error.to_string()),
        }
    }
}

impl App {
    /// The cluster as this node sees it.
    ///
    /// # Errors
    /// Only `Denied`.
    pub async fn cluster(&self, principal: &Principal) -> Result<ClusterView, ClusterError> {
        principal.require(Permission::ReadCluster)?;
        Ok(self.parts.controller.view().await)
    }

    /// Drains a node, so that its groups move to others, or ends that. A node is named by its name or its id.
    ///
    /// # Errors
    /// See [`ClusterError`].
    pub async fn drain_node(&self, principal: &Principal, name: &str, drain: bool) -> Result<(), ClusterError> {
        principal.require(Permission::AdministerCluster)?;
        let record = self.node_named(name)?;
        let can_take = |other: &NodeRecord| other.stores() && !other.drain && other.id != record.id;
        if drain && record.stores() && !self.parts.controller.nodes().iter().any(can_take) {
            return Err(ClusterError::LastToStore);
        }
        match self.parts.controller.change(DrainNode { node: record.id, drain }).await {
            Ok(DrainNodeOutcome::Done) => Ok(()),
            Ok(DrainNodeOutcome::NodeNeeded { .. }) => Err(ClusterError::LastToStore),
            Ok(DrainNodeOutcome::NotFound) => Err(ClusterError::UnknownNode(name.to_owned())),
            Err(why) => Err(ClusterError::Undecided(why)),
        }
    }

    /// Removes a node for good.
    ///
    /// # Errors
    /// See [`ClusterError`].
    pub async fn remove_node(&self, principal: &Principal, name: &str) -> Result<(), ClusterError> {
        principal.require(Permission::AdministerCluster)?;
        let record = self.node_named(name)?;
        let controller = &self.parts.controller;
        if record.stores() && !controller.nodes().iter().any(|node| node.stores() && node.id != record.id) {
            return Err(ClusterError::OnlyStore);
        }
        let view = controller.view().await;
        let holds = |seen: &NodeView| {
            let groups = seen.status.iter().flat_map(|status| &status.groups);
            seen.record.id == record.id && groups.into_iter().any(|group| group.group != 0)
        };
        if view.nodes.iter().any(holds) {
            return Err(ClusterError::HoldsLinks);
        }
        controller.remove(record.id).await.map_err(|error| ClusterError::of_removal(error, name))
    }

    /// Moves the leadership of a group to a node (0 = the cluster's own group; `n` = shard `n - 1`).
    ///
    /// # Errors
    /// See [`ClusterError`].
    pub async fn move_leader(&self, principal: &Principal, group: u32, to: &str) -> Result<(), ClusterError> {
        principal.require(Permission::AdministerCluster)?;
        let node = self.node_named(to)?.id;
        let view = self.parts.controller.view().await;
        let leaders = view.nodes.iter().flat_map(|seen| {
            let groups = seen.status.iter().flat_map(|status| &status.groups);
            groups.filter(|report| report.group == group && report.leader).map(|report| (seen.record.id, report))
        });
        let leaders: Vec<_> = leaders.collect();
        let (from, _) = *leaders.first().ok_or(ClusterError::NoLeader(group))?;
        if from == node {
            return Ok(());
        }
        if !leaders.iter().any(|(_, report)| report.voters.contains(&node)) {
            return Err(ClusterError::NotAVoter { node: to.to_owned(), group });
        }
        self.parts.controller.move_leader(from, group, node).await.map_err(ClusterError::Undecided)
    }

    fn node_named(&self, name: &str) -> Result<NodeRecord, ClusterError> {
        let fits = |record: &NodeRecord| record.name == name || record.id.0.to_string() == name;
        let found = self.parts.controller.nodes().into_iter().find(fits);
        found.ok_or_else(|| ClusterError::UnknownNode(name.to_owned()))
    }
}
