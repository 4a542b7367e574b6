//! Who counts as a leader: a node that a quorum has answered, or that was heard, within the lease.
//!
//! openraft keeps the state of a leader that has lost its quorum, and a follower keeps the name of a dead leader, until another
//! one is elected. Without a quorum that never happens. So the reported leaders are decided here.

use std::time::Duration;

use openraft::alias::InstantOf;
use openraft::{Instant as _, RaftMetrics};
use parking_lot::Mutex;

use crate::limits::LEASE;
use crate::types::TypeConfig;

pub(crate) type Instant = InstantOf<TypeConfig>;

/// When this node has last heard from the leader of a group.
#[derive(Default)]
pub(crate) struct Heard(Mutex<Option<(u64, Instant)>>);

impl Heard {
    /// Notes that an append request of `leader` was accepted at `now`.
    pub(crate) fn note(&self, leader: u64, now: Instant) {
        *self.0.lock() = Some((leader, now));
    }

    /// Whether `leader` was heard within the lease before `now`.
    pub(crate) fn is_recent(&self, leader: u64, now: Instant) -> bool {
        self.0.lock().is_some_and(|(heard, at)| heard == leader && now < at + LEASE)
    }
}

/// What a replica that has just been opened may have promised a leader in an earlier life of its process: to elect nobody else for the lease.
/// openraft keeps that in memory only, while the leader goes on to read by its lease.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Promise {
    until: Option<Instant>,
}

impl Promise {
    /// `opened` is when the replica was opened; `possible`, whether it has ever voted.
    pub(crate) fn before(opened: Instant, possible: bool) -> Self {
        Self { until: possible.then_some(opened + LEASE) }
    }

    /// What is left of the promise at `now`.
    pub(crate) fn left(&self, now: Instant) -> Option<Duration> {
        let left = self.until?.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }
}

/// Whether a node with these metrics leads at `now`: it is the only voter, or a quorum has answered it within the lease.
pub(crate) fn leads(metrics: &RaftMetrics<TypeConfig>, now: Instant) -> bool {
    metrics.state.is_leader()
        && (metrics.membership_config.voter_ids().all(|voter| voter == metrics.id)
            || metrics.last_quorum_acked.is_some_and(|acked| now < *acked + LEASE))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    use openraft::Instant as _;
    use openraft::{BasicNode, Membership, ServerState};

    use super::*;
    use crate::types::StoredMembership;

    fn metrics(voters: &[u64], state: ServerState, acked: Option<Instant>) -> RaftMetrics<TypeConfig> {
        let ids: BTreeSet<u64> = voters.iter().copied().collect();
        let nodes: BTreeMap<u64, BasicNode> = ids.iter().map(|id| (*id, BasicNode::new("127.0.0.1:1"))).collect();
        let membership = Membership::new(vec![ids], nodes).unwrap();
        let mut metrics = RaftMetrics::new_initial(1);
        metrics.state = state;
        metrics.membership_config = Arc::new(StoredMembership::new(None, membership));
        metrics.last_quorum_acked = acked.map(Into::into);
        metrics
    }

    #[test]
    fn a_leader_leads_as_long_as_a_quorum_has_answered_within_the_lease() {
        let acked = Instant::now();
        let of_three = |acked| metrics(&[1, 2, 3], ServerState::Leader, acked);
        assert!(leads(&of_three(Some(acked)), acked + LEASE / 2));
        assert!(!leads(&of_three(Some(acked)), acked + LEASE));
        assert!(!leads(&of_three(None), acked), "nobody has answered it yet");
        assert!(!leads(&metrics(&[1, 2, 3], ServerState::Follower, Some(acked)), acked));
    }

    #[test]
    fn a_promise_of_an_earlier_life_is_kept_for_the_lease() {
        let opened = Instant::now();
        let promise = Promise::before(opened, true);
        assert_eq!(promise.left(opened), Some(LEASE));
        assert!(promise.left(opened + LEASE / 2).is_some());
        assert_eq!(promise.left(opened + LEASE), None);
        assert_eq!(Promise::before(opened, false).left(opened), None, "a new replica has promised nothing");
    }

    #[test]
    fn the_only_voter_needs_nobody_to_answer() {
        let now = Instant::now();
        assert!(leads(&metrics(&[1], ServerState::Leader, None), now));
        assert!(!leads(&metrics(&[2], ServerState::Leader, None), now), "it has been taken out");
    }

    #[test]
    fn a_leader_that_is_silent_for_the_lease_is_believed_no_longer() {
        let (heard, now) = (Heard::default(), Instant::now());
        assert!(!heard.is_recent(2, now));
        heard.note(2, now);
        assert!(heard.is_recent(2, now + LEASE / 2) && !heard.is_recent(3, now));
        assert!(!heard.is_recent(2, now + LEASE));
    }
}
