//! Makes the groups that this node leads have the members that group 0 wants, and keeps the addresses of the others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use waypost_consensus::{Group, Groups};
use waypost_protocol::command::{AdmitNode, AdmitNodeOutcome, NodeRecord, PutNode};
use waypost_protocol::{Level, NodeId, ShardId};
use waypost_redirector::ReadView;
use waypost_store::machine::{ClusterState, Machine};
use waypost_tasks::{Task, Tasks};
use waypost_transport::Transport;

use super::desired_placement::DesiredPlacement;
use super::start::is_gone;
use crate::limits::NOTE_NODE_MAX;

/// How often it looks. A change of members is then noticed before anybody waits for it.
const LOOK: Duration = Duration::from_millis(200);

/// How often it looks while the cluster is being created, and everybody waits for that.
const LOOK_BOOTSTRAP: Duration = Duration::from_millis(25);

/// How often one of the others is asked whether this node was removed.
const ASK: Duration = Duration::from_secs(1);

type Members = BTreeMap<NodeId, String>;

/// The task.
pub struct MembershipReconciler {
    groups: Arc<Groups>,
    transport: Transport,
    local: LocalNode,
    desired: DesiredPlacement,
    view: Arc<ReadView>,
    changing: Arc<Mutex<BTreeSet<u32>>>,
    /// Shards that this node held when it last looked.
    held: Mutex<BTreeSet<u32>>,
    taken_out: Arc<Notify>,
    tasks: Tasks,
}

/// What a reconciler tells the cluster of its node.
pub struct LocalNode {
    /// What group 0 should know of it.
    pub record: NodeRecord,
    /// Whether it created the cluster: then it admits itself.
    pub created: bool,
}

/// The group whose members are being changed, until it is dropped, also by a panic.
struct Changing {
    groups: Arc<Mutex<BTreeSet<u32>>>,
    group: u32,
}

impl Drop for Changing {
    fn drop(&mut self) {
        self.groups.lock().remove(&self.group);
    }
}

impl MembershipReconciler {
    /// A reconciler for a node. `taken_out` is told when the cluster has removed it.
    pub fn new(
        groups: Arc<Groups>,
        transport: Transport,
        local: LocalNode,
        desired: DesiredPlacement,
        view: Arc<ReadView>,
        taken_out: Arc<Notify>,
        tasks: Tasks,
    ) -> Self {
        let (changing, held) = (Arc::default(), Mutex::default());
        Self { groups, transport, local, desired, view, changing, held, taken_out, tasks }
    }

    /// Works until the node stops.
    pub async fn run(self: Arc<Self>) {
        let mut noted = std::pin::pin!(self.note_self());
        let mut noting = true;
        let mut leaving = std::pin::pin!(self.notice_removal());
        let mut bootstrapped = false;
        loop {
            tokio::select! {
                member = &mut noted, if noting => match member {
                    true => noting = false,
                    false => return self.taken_out.notify_one(),
                },
                () = &mut leaving => return self.taken_out.notify_one(),
                () = tokio::time::sleep(if bootstrapped { LOOK } else { LOOK_BOOTSTRAP }) => {}
            }
            let state = self.groups.cluster().read(|machine| machine.state().clone());
            bootstrapped = self.desired.pending_bootstrap(&state, self.groups.bootstrap().shards).is_none();
            self.keep_addresses(&state);
            self.keep_members(&state);
            self.forget_lost_shards();
        }
    }

    /// Returns when the cluster has removed this node. It may never hear of that from group 0, of which it is no member then.
    async fn notice_removal(&self) {
        let own = self.groups.node();
        for turn in 0usize.. {
            tokio::time::sleep(ASK).await;
            let (gone, others) = self.groups.cluster().read(|machine| {
                let others: Vec<NodeId> = machine.state().nodes.keys().filter(|node| **node != own).copied().collect();
                (machine.state().gone.contains(&own), others)
            });
            let asked = others.get(turn % others.len().max(1)).copied();
            if gone || is_gone(&self.transport, asked.into_iter()).await {
                return;
            }
        }
    }

    /// Tells the cluster of this node, until it knows; `false` if this node is no member any more.
    async fn note_self(&self) -> bool {
        let own = self.local.record.id;
        loop {
            let (known, first) = self.groups.cluster().read(|machine| {
                let nodes = &machine.state().nodes;
                (nodes.get(&own).cloned(), nodes.is_empty())
            });
            let current =
                known.is_some_and(|known| NodeRecord { drain: known.drain, ..self.local.record.clone() } == known);
            if current {
                return true;
            }
            // Others were admitted before they had a cluster. The node that created it admits itself, as its first.
            let (record, cluster) = (self.local.record.clone(), self.groups.cluster());
            let noted = match first && self.local.created && self.groups.level() >= Level::ONE {
                true => {
                    let admitted =
                        cluster.propose_anywhere(AdmitNode { record, level: Level::CURRENT }, NOTE_NODE_MAX).await;
                    admitted.map(|applied| applied.outcome)
                }
                false => {
                    let put = cluster.propose_anywhere(PutNode(record), NOTE_NODE_MAX).await;
                    put.map(|applied| applied.outcome.into())
                }
            };
            match noted {
                Ok(AdmitNodeOutcome::NotFound) => return false,
                // If it is not noted, the next look finds that.
                Ok(
                    AdmitNodeOutcome::Done
                    | AdmitNodeOutcome::NodeNeeded { .. }
                    | AdmitNodeOutcome::TooManyNodes { .. }
                    | AdmitNodeOutcome::LevelTooLow { .. }
                    | AdmitNodeOutcome::MembersChanged,
                ) => {}
                Err(error) => tracing::debug!(%error, "the cluster does not know of this node's change yet"),
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn keep_addresses(&self, state: &ClusterState) {
        let own = self.groups.node();
        for node in state.nodes.values().filter(|node| node.id != own) {
            self.transport.set_address(node.id, &node.peer);
            self.transport.set_name(node.id, &node.name);
        }
        for gone in &state.gone {
            self.transport.forget(*gone);
        }
    }

    fn keep_members(self: &Arc<Self>, state: &ClusterState) {
        if let Some((voters, learners)) = self.wanted(state, 0) {
            self.steer(self.groups.cluster(), voters, learners);
        }
        for group in self.groups.shards() {
            if let Some((voters, learners)) = self.wanted(state, group.id()) {
                self.steer(group, voters, learners);
            }
        }
    }

    /// The voters and learners that a group should have; `None` while that is not settled.
    fn wanted(&self, state: &ClusterState, group: u32) -> Option<(Members, Members)> {
        let address = |node: &NodeId| state.nodes.get(node).map(|record| (*node, record.peer.clone()));
        // While the cluster is being created, each group gets all its voters as soon as all who could be one are known.
        let settled = match state.placement.get(&group) {
            Some(placed) => Some(placed.clone()),
            None => self.desired.missing(state).is_empty().then(|| self.desired.voters(state, group)),
        };
        let placed: Option<Members> = settled.and_then(|placed| placed.iter().map(address).collect());
        if group != 0 {
            return placed.map(|voters| (voters, Members::new()));
        }
        // All nodes learn what the cluster agrees on; also while it is being created, or a voter has gone and nobody was chosen for
        // its place yet, since a new node has to learn before it can be.
        let as_it_is = || {
            let voters = self.groups.cluster().voters();
            self.groups.cluster().addresses().into_iter().filter(|(node, _)| voters.contains(node)).collect()
        };
        let voters = placed.unwrap_or_else(as_it_is);
        let learners = state.nodes.keys().filter(|node| !voters.contains_key(node)).filter_map(address).collect();
        Some((voters, learners))
    }

    /// Brings a group that this node leads nearer to what is wanted, unless that is under way.
    fn steer<M: Machine>(self: &Arc<Self>, group: &Arc<Group<M>>, voters: Members, learners: Members) {
        let fits = !group.is_changing()
            && group.voters() == voters.keys().copied().collect()
            && group.learners() == learners.keys().copied().collect();
        if fits || !group.is_leader() || !self.changing.lock().insert(group.id()) {
            return;
        }
        let (reconciler, group) = (self.clone(), group.clone());
        let changing = Changing { groups: self.changing.clone(), group: group.id() };
        self.tasks.spawn_once(Task::MemberChange, async move {
            let _changing = changing;
            let id = group.id();
            let changed = tokio::select! {
                changed = group.set_members(&voters, &learners) => changed.map_err(|error| error.to_string()),
                () = reconciler.wanted_else(id, &voters, &learners) => Err("something else is wanted now".to_owned()),
            };
            match changed {
                Ok(()) => tracing::info!(group = id, voters = voters.len(), "the members of a group were changed"),
                Err(why) => {
                    let why = reconciler.with_names(why);
                    tracing::info!(group = id, why, "the members of a group were not changed yet");
                }
            }
        });
    }

    /// The text of an error with the names of nodes instead of their ids.
    fn with_names(&self, text: String) -> String {
        self.groups.cluster().read(|machine| {
            machine.state().nodes.values().fold(text, |text, node| text.replace(&node.id.0.to_string(), &node.name))
        })
    }

    /// Returns when group 0 wants other members than these.
    async fn wanted_else(&self, group: u32, voters: &Members, learners: &Members) {
        loop {
            tokio::time::sleep(LOOK).await;
            let state = self.groups.cluster().read(|machine| machine.state().clone());
            let same = self.wanted(&state, group).is_some_and(|now| now == (voters.clone(), learners.clone()));
            if !same {
                return;
            }
        }
    }

    /// Links of a shard that has left this node would not be told of changes: they are forgotten, with all others.
    fn forget_lost_shards(&self) {
        let now: BTreeSet<u32> =
            (0..self.groups.bootstrap().shards).filter(|shard| self.groups.takes_part(ShardId(*shard))).collect();
        let mut held = self.held.lock();
        if !held.is_subset(&now) {
            self.view.invalidate(None);
        }
        *held = now;
    }
}
