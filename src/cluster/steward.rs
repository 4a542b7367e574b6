//! Makes the groups that this node leads have the members that group 0 wants, and keeps the addresses of the others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use waypost_consensus::{Group, Groups};
use waypost_protocol::NodeId;
use waypost_protocol::command::{Command, NodeRecord};
use waypost_redirector::ReadView;
use waypost_store::machine::{ClusterState, Machine};
use waypost_transport::Transport;

/// How often it looks. A change of members is then noticed before anybody waits for it.
const LOOK: Duration = Duration::from_millis(200);

/// How long the cluster may take to note what changed of this node.
const NOTE_MAX: Duration = Duration::from_secs(5);

type Members = BTreeMap<NodeId, String>;

/// The task.
pub struct Steward {
    groups: Arc<Groups>,
    transport: Transport,
    record: NodeRecord,
    view: Arc<ReadView>,
    changing: Mutex<BTreeSet<u32>>,
}

impl Steward {
    /// A steward for a node that is described by `record`.
    pub fn new(groups: Arc<Groups>, transport: Transport, record: NodeRecord, view: Arc<ReadView>) -> Self {
        Self { groups, transport, record, view, changing: Mutex::default() }
    }

    /// Works until the node stops.
    pub async fn run(self: Arc<Self>) {
        let mut noted = std::pin::pin!(self.note_self());
        let mut noting = true;
        let mut held = BTreeSet::new();
        loop {
            tokio::select! {
                () = &mut noted, if noting => noting = false,
                () = tokio::time::sleep(LOOK) => {}
            }
            let state = self.groups.cluster().read(|machine| machine.state().clone());
            self.keep_addresses(&state);
            self.keep_members(&state);
            self.forget_lost_shards(&mut held);
        }
    }

    /// Tells the cluster of this node, until it knows.
    async fn note_self(&self) {
        let own = self.record.id;
        loop {
            let known = self.groups.cluster().read(|machine| machine.state().nodes.get(&own).cloned());
            let current = known.is_some_and(|known| NodeRecord { drain: known.drain, ..self.record.clone() } == known);
            if current {
                return;
            }
            let command = Command::PutNode(Box::new(self.record.clone()));
            if let Err(error) = self.groups.cluster().propose_anywhere(command, NOTE_MAX).await {
                tracing::debug!(%error, "the cluster does not know of this node's change yet");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn keep_addresses(&self, state: &ClusterState) {
        let own = self.groups.node();
        for node in state.nodes.values().filter(|node| node.id != own) {
            if let Ok(address) = node.peer.parse() {
                self.transport.set_address(node.id, address);
            }
        }
        for gone in &state.gone {
            self.transport.forget(*gone);
        }
    }

    fn keep_members(self: &Arc<Self>, state: &ClusterState) {
        let address = |node: &NodeId| state.nodes.get(node).map(|record| (*node, record.peer.clone()));
        let voters = |group: u32| -> Option<Members> {
            let placed = state.placement.get(&group)?;
            let known: Members = placed.iter().filter_map(address).collect();
            // A node that has left since is replaced by the next decision of group 0's leader.
            (known.len() == placed.len() && !known.is_empty()).then_some(known)
        };
        if let Some(wanted) = voters(0) {
            // All nodes learn what the cluster agrees on.
            let learners = state.nodes.keys().filter(|node| !wanted.contains_key(node)).filter_map(address).collect();
            self.steer(self.groups.cluster(), wanted, learners);
        }
        for group in self.groups.shards() {
            if let Some(wanted) = voters(group.id()) {
                self.steer(group, wanted, Members::new());
            }
        }
    }

    /// Brings a group that this node leads nearer to what is wanted, unless that is under way.
    fn steer<M: Machine>(self: &Arc<Self>, group: &Arc<Group<M>>, voters: Members, learners: Members) {
        let fits = group.voters() == voters.keys().copied().collect()
            && group.learners() == learners.keys().copied().collect();
        if fits || !group.is_leader() || !self.changing.lock().insert(group.id()) {
            return;
        }
        let (steward, group) = (self.clone(), group.clone());
        tokio::spawn(async move {
            let id = group.id();
            let changed = tokio::select! {
                changed = group.set_members(&voters, &learners) => changed.map_err(|error| error.to_string()),
                () = steward.wanted_else(id, &voters, &learners) => Err("something else is wanted now".to_owned()),
            };
            match changed {
                Ok(()) => tracing::info!(group = id, voters = voters.len(), "the members of a group were changed"),
                Err(why) => tracing::info!(group = id, why, "the members of a group were not changed yet"),
            }
            steward.changing.lock().remove(&id);
        });
    }

    /// Returns when group 0 wants other members than these.
    async fn wanted_else(&self, group: u32, voters: &Members, learners: &Members) {
        loop {
            tokio::time::sleep(LOOK).await;
            let same = self.groups.cluster().read(|machine| {
                let state = machine.state();
                let placed = state
                    .placement
                    .get(&group)
                    .is_some_and(|placed| placed.iter().all(|node| voters.contains_key(node)));
                let known = voters.keys().chain(learners.keys()).all(|node| state.nodes.contains_key(node));
                let all = group != 0 || state.nodes.len() == voters.len() + learners.len();
                placed && known && all
            });
            if !same {
                return;
            }
        }
    }

    /// Links of a shard that has left this node would not be told of changes: they are forgotten, with all others.
    fn forget_lost_shards(&self, held: &mut BTreeSet<u32>) {
        let now: BTreeSet<u32> =
            self.groups.shards().iter().filter(|group| group.is_member()).map(|group| group.id()).collect();
        if !held.is_subset(&now) {
            self.view.invalidate(None);
        }
        *held = now;
    }
}
