//! Which node answers what, as far as this one knows.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use waypost_consensus::Groups;
use waypost_protocol::{NodeId, ShardId, Want};
use waypost_runtime::{Place, Router};

/// Knows the placement from group 0, and leaders from the groups of which this node is a member.
pub struct ClusterRouter {
    groups: Arc<Groups>,
    /// The services of this node.
    services: Vec<String>,
    /// Leaders of shards in which this node has no part, as last heard.
    heard: RwLock<HashMap<ShardId, NodeId>>,
}

impl ClusterRouter {
    /// For a node with these services.
    pub fn new(groups: Arc<Groups>, services: Vec<String>) -> Self {
        Self { groups, services, heard: RwLock::default() }
    }

    /// A node that runs a service, other than this one.
    fn any(&self, service: &str, avoid: &[NodeId]) -> Place {
        let own = self.groups.node();
        let fits = |services: &[String]| services.iter().any(|name| name == service);
        let found = self.groups.cluster().read(|machine| {
            let mut nodes = machine.state().nodes.values();
            nodes.find(|node| node.id != own && fits(&node.services) && !avoid.contains(&node.id)).map(|node| node.id)
        });
        found.map_or(Place::Nowhere, Place::At)
    }

    /// A node that holds a shard, the one that was last heard to lead it first.
    fn holder(&self, shard: ShardId, avoid: &[NodeId]) -> Place {
        let heard = self.heard.read().get(&shard).copied();
        match heard {
            Some(leader) if !avoid.contains(&leader) => return Place::At(leader),
            // Who does not answer leads no longer, or not for long.
            Some(_) => drop(self.heard.write().remove(&shard)),
            None => {}
        }
        let own = self.groups.node();
        let holders = self.groups.cluster().read(|machine| machine.state().placement.get(&(shard.0 + 1)).cloned());
        let mut holders = holders.unwrap_or_default().into_iter().filter(|node| *node != own && !avoid.contains(node));
        holders.next().map_or(Place::Nowhere, Place::At)
    }
}

impl Router for ClusterRouter {
    fn place(
        &self,
        service: &'static str,
        shard: Option<ShardId>,
        want: Want,
        named: Option<NodeId>,
        avoid: &[NodeId],
    ) -> Place {
        let own = self.groups.node();
        let Some(shard) = shard.filter(|_| matches!(want, Want::Leader | Want::Replica)) else {
            let here = want == Want::Own || self.services.iter().any(|name| name == service);
            return if here { Place::Here } else { self.any(service, avoid) };
        };
        if let Some(named) = named {
            self.heard.write().insert(shard, named);
            return if named == own { Place::Here } else { Place::At(named) };
        }
        let group = self.groups.shard(shard).filter(|_| self.groups.holds(shard));
        match (group, want) {
            (Some(_), Want::Replica) => Place::Here,
            (Some(group), _) if group.is_leader() => Place::Here,
            // It may have gone meanwhile; asking it costs less than waiting for what is certain.
            (Some(group), _) => match group.presumed_leader() {
                Some(leader) if leader != own && !avoid.contains(&leader) => Place::At(leader),
                _ => Place::Nowhere,
            },
            (None, _) => self.holder(shard, avoid),
        }
    }
}
