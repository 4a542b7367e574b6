//! The way of a call from node to node: whom it asks next, and when it gives up. Decisions only; `actor_ref.rs` asks.

use std::time::Duration;

use tokio::time::Instant;
use waypost_protocol::{AnsweredBy, CallError, NodeId, Retry, ServiceError};

use crate::remote::Destination;

/// The pause before a call looks again for a node that can answer it.
const HOP_PAUSE: Duration = Duration::from_millis(30);

/// The pause before a call that broke off is made again: a shard may be changing its leader.
const BREAK_PAUSE: Duration = Duration::from_millis(100);

/// Hops without a pause: the own node, the leader that it names, and the leader that this one names.
const HOPS_AT_ONCE: u32 = 3;

/// What a call does after a hop without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// It asks again after this pause.
    Ask(Duration),
    /// It ends with the error.
    GiveUp,
}

/// Where a call is on its way.
pub(crate) struct Hops {
    first: AnsweredBy,
    retry: Retry,
    deadline: Instant,
    /// Until when it looks for a node that could answer.
    nobody_until: Instant,
    hops: u32,
    answered_by: AnsweredBy,
    named: Option<NodeId>,
    avoid: Vec<NodeId>,
}

impl Hops {
    pub(crate) fn new(answered_by: AnsweredBy, retry: Retry, deadline: Instant, nobody_until: Instant) -> Self {
        let (hops, named, avoid) = (0, None, Vec::new());
        Self { first: answered_by, retry, deadline, nobody_until, hops, answered_by, named, avoid }
    }

    /// Which node may answer.
    pub(crate) fn answered_by(&self) -> AnsweredBy {
        self.answered_by
    }

    /// The node that the last one has named.
    pub(crate) fn take_named(&mut self) -> Option<NodeId> {
        self.named.take()
    }

    /// Nodes that did not answer.
    pub(crate) fn avoid(&self) -> &[NodeId] {
        &self.avoid
    }

    /// How long the next hop may take.
    pub(crate) fn patience(&self, destination: Destination, now: Instant) -> Duration {
        let left = self.deadline.saturating_duration_since(now);
        // If another node can answer as well, a node that hangs must not use up all of the time.
        let other = self.retry == Retry::Always && matches!(destination, Destination::Node(_));
        if other { left / 2 } else { left }
    }

    /// What follows an error. `stopping`: the node stops, and nothing that may have been done is done again.
    pub(crate) fn after(
        &mut self,
        error: &CallError,
        destination: Destination,
        now: Instant,
        stopping: impl FnOnce() -> bool,
    ) -> Next {
        self.hops += 1;
        if self.retry == Retry::AfterBreak && broke_off(error) {
            return match now + BREAK_PAUSE < self.deadline && !stopping() {
                true => {
                    *self = Self::new(self.first, self.retry, self.deadline, self.nobody_until);
                    Next::Ask(BREAK_PAUSE)
                }
                false => Next::GiveUp,
            };
        }
        // For every other error: was it done, or may it be done again?
        let (another, nobody) = match (error, destination) {
            (CallError::Service(ServiceError::NotHere { leader }), _) if self.first != AnsweredBy::ThisNode => {
                self.named = *leader;
                // A replica that does not know leaves the answer to the leader.
                if self.answered_by == AnsweredBy::AnyReplica {
                    self.answered_by = AnsweredBy::Leader;
                }
                (leader.is_some(), true)
            }
            (CallError::Unreachable { .. }, Destination::Node(node)) => {
                self.avoid.push(node);
                (true, true)
            }
            (CallError::Unavailable { .. } | CallError::Deadline { .. }, Destination::Node(node))
                if self.retry == Retry::Always =>
            {
                self.avoid.push(node);
                (true, false)
            }
            _ => return Next::GiveUp,
        };
        let end = if nobody { self.deadline.min(self.nobody_until) } else { self.deadline };
        if now + HOP_PAUSE >= end {
            return Next::GiveUp;
        }
        if destination == Destination::Unknown {
            // All nodes that could answer were asked; perhaps one of them can be reached again.
            self.avoid.clear();
        }
        // The first hints are followed at once. After that an election may be in progress.
        Next::Ask(if self.hops >= HOPS_AT_ONCE || !another { HOP_PAUSE } else { Duration::ZERO })
    }
}

/// Whether the message was lost on its way, or its answer: it may have been done, and nobody will say so any more.
fn broke_off(error: &CallError) -> bool {
    matches!(error, CallError::Unavailable { .. } | CallError::Service(ServiceError::OutcomeUnknown(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LOST: CallError = CallError::Unavailable { service: "store" };
    const LATE: CallError = CallError::Deadline { service: "store" };
    const NODE: Destination = Destination::Node(NodeId(1));

    fn hops(retry: Retry) -> (Hops, Instant) {
        let now = Instant::now();
        (Hops::new(AnsweredBy::Leader, retry, now + SECOND, now + SECOND), now)
    }

    fn unknown() -> CallError {
        CallError::Service(ServiceError::OutcomeUnknown("the leader has changed".to_owned()))
    }

    #[test]
    fn what_broke_off_is_done_again_after_a_pause_only_if_the_message_allows_it() {
        for error in [LOST, unknown()] {
            for destination in [Destination::Local, NODE] {
                let (mut hops, now) = hops(Retry::AfterBreak);
                assert_eq!(hops.after(&error, destination, now, || false), Next::Ask(BREAK_PAUSE));
                let (mut hops, now) = self::hops(Retry::Never);
                assert_eq!(hops.after(&error, destination, now, || false), Next::GiveUp);
            }
        }
    }

    #[test]
    fn what_broke_off_is_not_done_again_while_the_node_stops_or_when_no_time_is_left() {
        let (mut hops, now) = hops(Retry::AfterBreak);
        assert_eq!(hops.after(&LOST, NODE, now, || true), Next::GiveUp);
        assert_eq!(hops.after(&LOST, NODE, now + SECOND - BREAK_PAUSE, || false), Next::GiveUp);
    }

    #[test]
    fn a_deadline_or_a_refusal_is_no_break() {
        for error in [LATE, CallError::Overloaded { service: "store" }] {
            let (mut hops, now) = hops(Retry::AfterBreak);
            assert_eq!(hops.after(&error, NODE, now, || false), Next::GiveUp, "{error}");
        }
    }

    #[test]
    fn after_a_break_nothing_is_left_of_what_was_heard_before() {
        let now = Instant::now();
        let mut hops = Hops::new(AnsweredBy::AnyReplica, Retry::AfterBreak, now + SECOND, now + SECOND);
        let not_here = CallError::Service(ServiceError::NotHere { leader: Some(NodeId(2)) });
        assert_eq!(
            hops.after(&CallError::Unreachable { service: "store" }, NODE, now, || false),
            Next::Ask(Duration::ZERO)
        );
        assert_eq!(hops.after(&not_here, NODE, now, || false), Next::Ask(Duration::ZERO));
        assert_eq!(
            (hops.answered_by(), hops.avoid(), hops.named),
            (AnsweredBy::Leader, &[NodeId(1)][..], Some(NodeId(2)))
        );
        assert_eq!(hops.after(&LOST, NODE, now, || false), Next::Ask(BREAK_PAUSE));
        assert_eq!((hops.answered_by(), hops.avoid(), hops.named), (AnsweredBy::AnyReplica, &[][..], None));
        assert_eq!(
            hops.after(&not_here, NODE, now, || false),
            Next::Ask(Duration::ZERO),
            "its hints are followed at once"
        );
    }

    #[test]
    fn what_may_always_be_repeated_waits_for_one_node_for_half_of_its_time() {
        let (hops, now) = hops(Retry::Always);
        assert_eq!((hops.patience(NODE, now), hops.patience(Destination::Local, now)), (SECOND / 2, SECOND));
        for retry in [Retry::Never, Retry::AfterBreak] {
            let (hops, now) = self::hops(retry);
            assert_eq!(hops.patience(NODE, now), SECOND);
        }
    }
}
