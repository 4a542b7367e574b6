//! Changes of a group's members by its leader, and transfer of leadership.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::{BasicNode, ChangeMembers};
use tokio::time::{Instant, sleep, timeout};
use waypost_protocol::NodeId;
use waypost_store::machine::Machine;

use crate::group::Group;
use crate::limits::{CATCH_UP_MAX, CHANGE_MAX, HAND_OVER_MAX};

/// Why a group's members were not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// It took too long: perhaps a node is down.
    #[error("{0} took too long")]
    Late(&'static str),
    /// openraft refused.
    #[error("{0}")]
    Refused(String),
}

fn refused(error: impl ToString) -> MembershipError {
    MembershipError::Refused(error.to_string())
}

impl<M: Machine> Group<M> {
    /// Makes `voters` the group's voters and `learners` its learners: new members learn first, and members that are in
    /// neither set leave. Only the leader can do this; repeating it is harmless.
    ///
    /// # Errors
    /// See [`MembershipError`]. Finished steps remain, and every intermediate state is a working group.
    pub async fn set_members(
        &self,
        voters: &BTreeMap<NodeId, String>,
        learners: &BTreeMap<NodeId, String>,
    ) -> Result<(), MembershipError> {
        let raft = self.raft();
        // A future member has to receive heartbeats.
        raft.runtime_config().tick(true);
        if !voters.contains_key(&self.node()) {
            // A leader that is to leave lets a member that stays do the rest.
            let stays = self.most_advanced(|node| voters.contains_key(&node));
            if let Some(stays) = stays
                && self.hand_over(Some(stays), HAND_OVER_MAX).await
            {
                return Ok(());
            }
        }
        let known = || -> BTreeSet<NodeId> { self.voters().union(&self.learners()).copied().collect() };
        for (node, address) in voters.iter().chain(learners) {
            if !known().contains(node) {
                let waits = voters.contains_key(node);
                let adding = raft.add_learner(node.0, BasicNode::new(address.clone()), waits);
                timeout(CATCH_UP_MAX, adding)
                    .await
                    .map_err(|_| MembershipError::Late("bringing a node up"))?
                    .map_err(refused)?;
            }
        }
        let wanted: BTreeSet<u64> = voters.keys().map(|node| node.0).collect();
        if self.is_changing() || self.voters() != voters.keys().copied().collect() {
            for node in voters.keys().filter(|node| !self.voters().contains(node)) {
                self.caught_up(*node).await?;
            }
            // A former voter remains a learner until it is removed below.
            let changing = raft.change_membership(wanted, true);
            timeout(CHANGE_MAX, changing)
                .await
                .map_err(|_| MembershipError::Late("changing the voters"))?
                .map_err(refused)?;
        }
        let leaving: BTreeSet<u64> = self
            .learners()
            .iter()
            .filter(|node| !learners.contains_key(node) && !voters.contains_key(node))
            .map(|node| node.0)
            .collect();
        if !leaving.is_empty() {
            let changing = raft.change_membership(ChangeMembers::RemoveNodes(leaving), false);
            timeout(CHANGE_MAX, changing)
                .await
                .map_err(|_| MembershipError::Late("removing a node"))?
                .map_err(refused)?;
        }
        self.tick_if_needed();
        Ok(())
    }

    /// Waits until a learner has nearly all of the log.
    async fn caught_up(&self, node: NodeId) -> Result<(), MembershipError> {
        let metrics = self.raft().metrics();
        let deadline = Instant::now() + CATCH_UP_MAX;
        loop {
            let near = {
                let metrics = metrics.borrow_watched();
                let matched = metrics.replication.as_ref().and_then(|all| all.get(&node.0).cloned().flatten());
                let last = metrics.last_log_index.unwrap_or(0);
                matched.is_some_and(|id| id.index + 64 >= last)
            };
            if near {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(MembershipError::Late("bringing a node up"));
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// The number of entries that the slowest voter lacks; 0 on a node that does not lead.
    pub(crate) fn lag(&self) -> u64 {
        let voters = self.voters();
        let metrics = self.raft().metrics();
        let metrics = metrics.borrow_watched();
        let Some(replication) = metrics.replication.as_ref() else { return 0 };
        let last = metrics.last_log_index.unwrap_or(0);
        let behind = replication.iter().filter(|(node, _)| voters.contains(&NodeId(**node)));
        // A voter that was never heard since this node leads is down; other metrics report that.
        behind.filter_map(|(_, has)| has.as_ref()).map(|has| last.saturating_sub(has.index)).max().unwrap_or(0)
    }

    /// The other voter with the most of the log, among those for which `fits` returns `true`.
    fn most_advanced(&self, fits: impl Fn(NodeId) -> bool) -> Option<NodeId> {
        let voters = self.voters();
        let metrics = self.raft().metrics();
        let metrics = metrics.borrow_watched();
        let replication = metrics.replication.as_ref()?;
        let possible = |id: NodeId| id != self.node() && voters.contains(&id) && fits(id);
        let others = replication.iter().filter(|(node, _)| possible(NodeId(**node)));
        others.max_by_key(|(_, matched)| matched.as_ref().map(|id| id.index)).map(|(node, _)| NodeId(*node))
    }

    /// Asks `to`, or the voter with the most of the log, to lead. Returns when another node leads; `false` if none does
    /// within `patience`, or `to` is not a voter.
    pub async fn hand_over(&self, to: Option<NodeId>, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while self.raft().is_leader() && Instant::now() < deadline {
            let target = to.or_else(|| self.most_advanced(|_| true));
            // openraft does not check whether the target can lead, and would wait forever.
            let Some(target) = target.filter(|target| self.voters().contains(target)) else { return false };
            if self.raft().trigger().transfer_leader(target.0).await.is_err() {
                return false;
            }
            let asked = Instant::now();
            while self.raft().is_leader() && asked.elapsed() < Duration::from_millis(500) {
                sleep(Duration::from_millis(10)).await;
            }
        }
        !self.raft().is_leader()
    }
}
