//! Taking a node out: whether the cluster can do without it, as its groups are now, and not as they are wished to be.
//!
//! What the groups are is no part of group 0's state, so it is asked for before the command is proposed. The command names the members
//! for which that was decided, and group 0 refuses it if they are others by then: of two nodes that leave at once, the second is decided upon
//! again, without the first.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use waypost_protocol::command::{RemoveNode, RetireNode, RetireNodeOutcome};
use waypost_protocol::peer::BoxFuture;
use waypost_protocol::{Level, NodeId};
use waypost_store::machine::ClusterState;

use super::placement_controller::PlacementController;
use super::status::{GroupReport, NodeStatus};
use crate::limits::{ENTRIES_BEHIND_MAX, LEAVE_TRIES_MAX, SETTLE_MAX};

/// The pause before a decision is tried again. This node hears meanwhile of what has changed.
const PAUSE: Duration = Duration::from_millis(200);

/// A running node that can take itself out of the cluster.
pub trait Leave: Send + Sync {
    /// Stops answering redirects, brings all clicks to their shards, and takes the node out. It goes on as before if that fails, or
    /// if the future is dropped.
    ///
    /// # Errors
    /// Why not, in words.
    fn leave(&self) -> BoxFuture<'_, Result<(), String>>;
}

/// Why a node is not taken out.
#[derive(Debug, thiserror::Error)]
pub enum RetireError {
    /// There is no such node.
    #[error("it is no member of the cluster")]
    NotAMember,
    /// Groups need it.
    #[error(
        "without it, groups {} have no leader, or not enough members that are up and have caught up; it may hold what nobody else has",
        .0.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
    )]
    Needed(Vec<u32>),
    /// Groups were to have so few copies that they need it.
    #[error("{0} groups could not go on without it")]
    Placed(u32),
    /// It runs, and has a reason to stay.
    #[error("it runs, and stays: {0}")]
    Stays(String),
    /// It has not come to a decision.
    #[error("the cluster cannot decide now: {0}")]
    Undecided(String),
}

impl PlacementController {
    /// Takes a node out of the cluster, for good, if the others can go on without it, or can within `patience`: groups that have just
    /// been moved may be electing.
    ///
    /// # Errors
    /// See [`RetireError`]. After `Undecided` it may be out all the same.
    pub async fn retire(&self, node: NodeId, patience: Duration) -> Result<(), RetireError> {
        for _ in 0..LEAVE_TRIES_MAX {
            let state = self.may_leave(node, patience).await?;
            let decided = match state.level {
                Level::BASE => self.change(RemoveNode { node }).await.map(RetireNodeOutcome::from),
                _ => self.change(RetireNode { node, members: state.nodes.keys().copied().collect() }).await,
            };
            match decided.map_err(RetireError::Undecided)? {
                RetireNodeOutcome::Done => return Ok(()),
                RetireNodeOutcome::NotFound => return Err(RetireError::NotAMember),
                RetireNodeOutcome::NodeNeeded { groups } => return Err(RetireError::Placed(groups)),
                // This node hears of the other members in a moment.
                RetireNodeOutcome::MembersChanged => tokio::time::sleep(PAUSE).await,
            }
        }
        Err(RetireError::Undecided("its members change all the time".to_owned()))
    }

    /// Takes out a node, which does that itself if it is up, after it has brought its clicks to the shards.
    ///
    /// # Errors
    /// See [`RetireError`].
    pub async fn remove(&self, node: NodeId) -> Result<(), RetireError> {
        let (state, told) = self.survey().await;
        if !state.nodes.contains_key(&node) {
            return Err(RetireError::NotAMember);
        }
        if !told.contains_key(&node) {
            return self.retire(node, SETTLE_MAX).await;
        }
        self.may_leave(node, SETTLE_MAX).await?;
        let left = self.ask_to_leave(node).await;
        // The connection to a node that has left is closed, perhaps before its answer.
        for _ in 0..LEAVE_TRIES_MAX {
            if left.is_ok() || !self.nodes().iter().any(|record| record.id == node) {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
        left.map_err(RetireError::Stays)
    }

    /// Whether the others can go on without a node, now or within `patience`; the state for which that holds.
    ///
    /// # Errors
    /// `NotAMember` and `Needed`.
    pub async fn may_leave(&self, node: NodeId, patience: Duration) -> Result<ClusterState, RetireError> {
        let deadline = Instant::now() + patience;
        loop {
            let (state, told) = self.survey().await;
            if !state.nodes.contains_key(&node) {
                return Err(RetireError::NotAMember);
            }
            let stuck = stuck_without(&state, &told, node, self.shards());
            if stuck.is_empty() {
                return Ok(state);
            }
            if Instant::now() + PAUSE >= deadline {
                return Err(RetireError::Needed(stuck));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Makes room for a node that comes with an empty directory under the name of these: they are taken out, since they will not come
    /// back. At level 0 its own command does that, so it is only looked whether they may leave.
    ///
    /// # Errors
    /// See [`RetireError`]; also if one of them is up.
    pub(super) async fn replace(&self, namesakes: &[NodeId]) -> Result<(), RetireError> {
        let (state, told) = self.survey().await;
        if namesakes.iter().any(|node| told.contains_key(node)) {
            return Err(RetireError::Undecided("a node of this name is up".to_owned()));
        }
        for node in namesakes {
            let left = match state.level {
                Level::BASE => self.may_leave(*node, Duration::ZERO).await.map(|_| ()),
                _ => self.retire(*node, Duration::ZERO).await,
            };
            match left {
                // Somebody else was quicker.
                Ok(()) | Err(RetireError::NotAMember) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The groups that could not go on without `node`, or that would be without what only it and others that are away have: those of
/// which no other member is known to lead, whose voters are being changed, or that would have no majority of voters left that are
/// members of the cluster, are up, and have nearly everything. `told` is what the members that are up say of themselves.
fn stuck_without(state: &ClusterState, told: &BTreeMap<NodeId, NodeStatus>, node: NodeId, shards: u32) -> Vec<u32> {
    let stays = |id: &NodeId| *id != node && state.nodes.contains_key(id);
    let report = |id: &NodeId, group: u32| -> Option<&GroupReport> {
        told.get(id)?.groups.iter().find(|report| report.group == group)
    };
    let goes_on = |group: &u32| {
        let leads = |id: &NodeId| report(id, *group).filter(|report| report.leader);
        let Some(leader) = told.keys().filter(|id| stays(id)).find_map(leads) else { return false };
        if leader.changing {
            return false;
        }
        let has_nearly_all = |id: &&NodeId| {
            stays(id)
                && report(id, *group).is_some_and(|own| own.last.saturating_add(ENTRIES_BEHIND_MAX) >= leader.last)
        };
        let left = leader.voters.iter().filter(has_nearly_all).count();
        !leader.voters.contains(&node) || left > leader.voters.len() / 2
    };
    // A node that stores no links has no part in the shards.
    let groups = match state.nodes.get(&node) {
        Some(record) if !record.stores() => 0..=0,
        _ => 0..=shards,
    };
    groups.filter(|group| !goes_on(group)).collect()
}

#[cfg(test)]
mod tests {
    use waypost_protocol::Level;
    use waypost_protocol::command::NodeRecord;

    use super::*;

    fn record(id: u64, services: &[&str]) -> NodeRecord {
        NodeRecord {
            id: NodeId(id),
            name: format!("n{id}"),
            peer: String::new(),
            http: String::new(),
            zone: String::new(),
            services: services.iter().map(|service| (*service).to_owned()).collect(),
            drain: false,
        }
    }

    fn state(members: &[u64]) -> ClusterState {
        let nodes = members.iter().map(|id| (NodeId(*id), record(*id, &["link_store"]))).collect();
        ClusterState { nodes, ..ClusterState::default() }
    }

    /// A cluster of one group: of each node that is up, the last index in its log. The first leads.
    fn told(voters: &[u64], up: &[(u64, u64)]) -> BTreeMap<NodeId, NodeStatus> {
        let status = |(id, last): (u64, u64)| {
            let report = GroupReport {
                group: 0,
                leader: id == up[0].0,
                voters: voters.iter().map(|id| NodeId(*id)).collect(),
                changing: false,
                term: 1,
                applied: last,
                last,
            };
            let status = NodeStatus {
                node: NodeId(id),
                version: String::new(),
                stopping: false,
                read_only: false,
                links: 0,
                config: 0,
                groups: vec![report],
                level: Level::CURRENT,
                catalog: None,
                disk: None,
                memory: None,
            };
            (NodeId(id), status)
        };
        up.iter().copied().map(status).collect()
    }

    fn stuck(members: &[u64], told: &BTreeMap<NodeId, NodeStatus>, node: u64) -> bool {
        !stuck_without(&state(members), told, NodeId(node), 0).is_empty()
    }

    #[test]
    fn a_node_may_leave_while_a_majority_of_the_others_is_up() {
        assert!(!stuck(&[1, 2, 3], &told(&[1, 2, 3], &[(1, 50), (2, 50)]), 3));
        assert!(stuck(&[1, 2, 3], &told(&[1, 2, 3], &[(1, 50), (3, 50)]), 3), "only one would be left");
        assert!(stuck(&[1, 2], &told(&[1, 2], &[(1, 50)]), 2), "of two copies both are needed");
    }

    #[test]
    fn a_voter_that_was_taken_out_or_has_not_caught_up_does_not_count() {
        // The third is still a voter, although it has been replaced: the first alone would be left of three.
        assert!(stuck(&[1, 2, 4], &told(&[1, 2, 3], &[(1, 50), (2, 50), (3, 50)]), 2));
        assert!(stuck(&[1, 2, 3], &told(&[1, 2, 3], &[(1, 5000), (2, 3999)]), 3));
        assert!(!stuck(&[1, 2, 3], &told(&[1, 2, 3], &[(1, 5000), (2, 4000)]), 3));
    }

    #[test]
    fn a_group_without_a_known_leader_or_with_changing_voters_needs_every_node_that_stores_links() {
        let of_two = |change: fn(&mut GroupReport)| {
            let mut told = told(&[1, 2, 3], &[(1, 50), (2, 50)]);
            told.values_mut().flat_map(|status| &mut status.groups).for_each(change);
            told
        };
        assert!(stuck(&[1, 2, 3], &of_two(|report| report.leader = false), 3));
        assert!(stuck(&[1, 2, 3], &of_two(|report| report.changing = true), 3));
        let mut with_edge = state(&[1, 2, 3]);
        with_edge.nodes.insert(NodeId(9), record(9, &["redirector"]));
        let whole = told(&[1, 2, 3], &[(1, 50), (2, 50)]);
        assert!(stuck_without(&with_edge, &whole, NodeId(9), 4).is_empty(), "it has no part in the shards");
    }

    #[test]
    fn a_node_that_is_no_voter_is_not_needed() {
        assert!(!stuck(&[1, 2, 3, 4], &told(&[1, 2, 3], &[(1, 50)]), 4));
    }
}
