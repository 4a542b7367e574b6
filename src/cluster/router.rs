//! Decides which node answers a message, as far as this node knows.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use waypost_consensus::Groups;
use waypost_protocol::{AnsweredBy, NodeId, ShardId};
use waypost_runtime::{Destination, Router};

/// Knows the placement from group 0, and the leaders of the groups of which this node is a member.
pub struct ClusterRouter {
    groups: Arc<Groups>,
    /// The services of this node.
    services: Vec<String>,
    /// The last known leaders of shards without a replica on this node.
    heard: RwLock<HashMap<ShardId, NodeId>>,
}

impl ClusterRouter {
    /// A router for a node with these services.
    pub fn new(groups: Arc<Groups>, services: Vec<String>) -> Self {
        Self { groups, services, heard: RwLock::default() }
    }

    /// Another node that runs a service.
    fn any(&self, service: &str, avoid: &[NodeId]) -> Destination {
        let own = self.groups.node();
        let fits = |services: &[String]| services.iter().any(|name| name == service);
        let found = self.groups.cluster().read(|machine| {
            let mut nodes = machine.state().nodes.values();
            nodes.find(|node| node.id != own && fits(&node.services) && !avoid.contains(&node.id)).map(|node| node.id)
        });
        found.map_or(Destination::Unknown, Destination::Node)
    }

    /// A node that holds a shard; its last known leader first.
    fn holder(&self, shard: ShardId, avoid: &[NodeId]) -> Destination {
        let heard = self.heard.read().get(&shard).copied();
        match heard {
            Some(leader) if !avoid.contains(&leader) => return Destination::Node(leader),
            // A node that does not answer leads no longer, or not for long.
            Some(_) => drop(self.heard.write().remove(&shard)),
            None => {}
        }
        let own = self.groups.node();
        let holders = self.groups.cluster().read(|machine| machine.state().placement.get(&(shard.0 + 1)).cloned());
        let mut holders = holders.unwrap_or_default().into_iter().filter(|node| *node != own && !avoid.contains(node));
        holders.next().map_or(Destination::Unknown, Destination::Node)
    }
}

impl Router for ClusterRouter {
    fn destination(
        &self,
        service: &'static str,
        shard: Option<ShardId>,
        answered_by: AnsweredBy,
        named: Option<NodeId>,
        avoid: &[NodeId],
    ) -> Destination {
        let own = self.groups.node();
        let Some(shard) = shard.filter(|_| matches!(answered_by, AnsweredBy::Leader | AnsweredBy::AnyReplica)) else {
            let here = answered_by == AnsweredBy::ThisNode || self.services.iter().any(|name| name == service);
            return if here { Destination::Local } else { self.any(service, avoid) };
        };
        if let Some(named) = named {
            self.heard.write().insert(shard, named);
            return if named == own { Destination::Local } else { Destination::Node(named) };
        }
        let group = self.groups.shard(shard).filter(|_| self.groups.holds(shard));
        match (group, answered_by) {
            (Some(_), AnsweredBy::AnyReplica) => Destination::Local,
            (Some(group), _) if group.is_leader() => Destination::Local,
            // It may have gone meanwhile, but asking it costs less than waiting for certainty.
            (Some(group), _) => match group.presumed_leader() {
                Some(leader) if leader != own && !avoid.contains(&leader) => Destination::Node(leader),
                _ => Destination::Unknown,
            },
            (None, _) => self.holder(shard, avoid),
        }
    }
}
