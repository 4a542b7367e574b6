//! The status of a group: its members, its leader, its positions.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use openraft::Instant as _;
use openraft::async_runtime::watch::WatchReceiver;
use waypost_protocol::NodeId;
use waypost_store::machine::Machine;

use crate::group::Group;
use crate::lease::{Instant, leads};
use crate::limits::SILENCE_MAX;

/// The status of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupStatus {
    /// The number of the group: 0 is the cluster's own; `n` is shard `n - 1`.
    pub group: u32,
    /// Whether this node leads it, with a quorum.
    pub leader: bool,
    /// The leader, if this node leads or has heard from the leader recently.
    pub led_by: Option<NodeId>,
    /// Its voters.
    pub voters: BTreeSet<NodeId>,
    /// Members that only learn.
    pub learners: BTreeSet<NodeId>,
    /// Whether a change of voters has begun and is not finished.
    pub changing: bool,
    /// The term of the last election that this node knows.
    pub term: u64,
    /// The last index applied.
    pub applied: u64,
    /// The last index in the log.
    pub last: u64,
    /// On the leader: the number of entries that the slowest voter lacks.
    pub lag: u64,
    /// The number of links in the state.
    pub links: u64,
    /// The number of bytes that the next checkpoint would write.
    pub pending_bytes: u64,
    /// Whether this node refuses the snapshot that it needs, because space is short.
    pub waits_for_space: bool,
}

impl<M: Machine> Group<M> {
    /// The group's voters, as of the last membership in this node's log.
    pub fn voters(&self) -> BTreeSet<NodeId> {
        self.raft().server_metrics().borrow_watched().membership_config.voter_ids().map(NodeId).collect()
    }

    /// Whether a change of voters has begun and is not finished.
    pub fn is_changing(&self) -> bool {
        self.raft().server_metrics().borrow_watched().membership_config.membership().get_joint_config().len() > 1
    }

    /// The members that only learn.
    pub fn learners(&self) -> BTreeSet<NodeId> {
        self.raft().server_metrics().borrow_watched().membership_config.membership().learner_ids().map(NodeId).collect()
    }

    /// The members' addresses.
    pub fn addresses(&self) -> Vec<(NodeId, String)> {
        let metrics = self.raft().server_metrics();
        let members = metrics.borrow_watched().membership_config.clone();
        members.membership().nodes().map(|(id, node)| (NodeId(*id), node.addr.clone())).collect()
    }

    /// Whether this node holds an active replica.
    pub fn is_member(&self) -> bool {
        self.voters().contains(&self.node()) || self.learners().contains(&self.node())
    }

    /// Whether this node is the only member.
    pub fn is_alone(&self) -> bool {
        let metrics = self.raft().server_metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let mut voters = membership.voter_ids();
        voters.next() == Some(self.node().0) && voters.next().is_none() && membership.learner_ids().next().is_none()
    }

    /// Whether this node leads: it was elected, and a quorum has answered it within its lease.
    pub fn is_leader(&self) -> bool {
        leads(&self.raft().metrics().borrow_watched(), Instant::now())
    }

    /// The leader, if this node leads or has heard from it within the lease.
    pub fn leader(&self) -> Option<NodeId> {
        let leader = self.presumed_leader()?;
        let alive =
            if leader == self.node() { self.is_leader() } else { self.heard().is_recent(leader.0, Instant::now()) };
        alive.then_some(leader)
    }

    /// The last elected node, as far as this node knows. It may be gone: use it as a hint.
    pub fn presumed_leader(&self) -> Option<NodeId> {
        self.raft().server_metrics().borrow_watched().current_leader.map(NodeId)
    }

    /// On the leader: the number of voters that are present, itself included. A voter that has not answered for ten seconds is not.
    pub fn copies(&self) -> usize {
        let now = Instant::now();
        let metrics = self.raft().metrics();
        let metrics = metrics.borrow_watched();
        let answered = |voter: &u64| {
            let last = metrics.heartbeat.as_ref().and_then(|all| all.get(voter).copied().flatten());
            *voter == metrics.id || last.is_some_and(|at| now < *at + SILENCE_MAX)
        };
        metrics.membership_config.voter_ids().filter(answered).count()
    }

    /// The status of the group, without waiting for its state.
    pub fn status(&self) -> GroupStatus {
        let applied = self.applied();
        let server = self.raft().server_metrics().borrow_watched().clone();
        let last = self.raft().data_metrics().borrow_watched().last_log.map_or(applied, |id| id.index);
        GroupStatus {
            group: self.id(),
            leader: self.is_leader(),
            led_by: self.leader(),
            voters: self.voters(),
            learners: self.learners(),
            // The voters of an uncommitted change may still turn out to be others.
            changing: self.is_changing()
                || server.membership_config.log_id() != server.committed_membership_config.log_id(),
            term: server.vote.leader_id.term,
            applied,
            lag: self.lag(),
            last,
            pending_bytes: self.counts().pending_bytes.load(Ordering::Relaxed),
            links: self.counts().links.load(Ordering::Relaxed),
            waits_for_space: self.waits_for_space().load(Ordering::Relaxed),
        }
    }
}
