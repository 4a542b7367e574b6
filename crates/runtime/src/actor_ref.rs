//! How everybody else sees an actor: by its service, never by its type.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use waypost_protocol::message::MessageList;
use waypost_protocol::{AnsweredBy, CallError, Request, Retry, Service, ServiceError};

use crate::child::Child;
use crate::remote::{Destination, Remote};

/// The pause before a call looks again for who can answer it.
const HOP_PAUSE: Duration = Duration::from_millis(30);

/// Hops without a pause: own node, the leader that it names, the one that this one names.
const HOPS_AT_ONCE: u32 = 3;

/// A service that can be called: one actor, or one for each shard. Cheap to clone.
pub struct ActorRef<S> {
    children: Arc<[Arc<Child>]>,
    remote: Option<Remote>,
    service: PhantomData<fn(S)>,
}

impl<S> Clone for ActorRef<S> {
    fn clone(&self) -> Self {
        Self { children: self.children.clone(), remote: self.remote.clone(), service: PhantomData }
    }
}

impl<S: Service> ActorRef<S> {
    pub(crate) fn one(child: Child) -> Self {
        Self { children: Arc::from([Arc::new(child)]), remote: None, service: PhantomData }
    }

    /// One service of many actors: a message goes to the child with the number of its shard.
    pub fn sharded(children: Vec<Self>) -> Self {
        let children = children.iter().flat_map(|child| child.children.iter().cloned()).collect();
        Self { children, remote: None, service: PhantomData }
    }

    /// A service that does not run on this node.
    pub fn elsewhere(remote: Remote) -> Self {
        Self { children: Arc::from([]), remote: Some(remote), service: PhantomData }
    }

    /// The same service, with messages that another node has to answer sent there.
    #[must_use]
    pub fn with_remote(self, remote: Remote) -> Self {
        Self { remote: Some(remote), ..self }
    }

    /// Sends a message and waits for its answer, at most `timeout`, wherever it is answered.
    ///
    /// When the future is dropped, a message that was not yet taken in hand is skipped; one that was is worked to its end.
    ///
    /// # Errors
    /// See [`CallError`]; `outcome_unknown` tells which of them leave a write in doubt.
    pub async fn call<M: Request<Service = S>>(&self, message: M, timeout: Duration) -> Result<M::Reply, CallError> {
        self.call_with_destination(message, timeout).await.map(|(reply, _)| reply)
    }

    /// As [`ActorRef::call`], and tells where it was answered.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call_with_destination<M: Request<Service = S>>(
        &self,
        message: M,
        timeout: Duration,
    ) -> Result<(M::Reply, Destination), CallError> {
        self.call_bounded(message, timeout, timeout).await
    }

    /// As [`ActorRef::call`], but waits for `nobody_max` at most while nobody is known who could answer, or can be reached: for
    /// callers who know what to do without a leader.
    ///
    /// # Errors
    /// As for `call`; `NotHere` or `Unreachable` when nobody was found in time.
    pub async fn call_while_nobody<M: Request<Service = S>>(
        &self,
        message: M,
        timeout: Duration,
        nobody_max: Duration,
    ) -> Result<M::Reply, CallError> {
        self.call_bounded(message, timeout, nobody_max).await.map(|(reply, _)| reply)
    }

    async fn call_bounded<M: Request<Service = S>>(
        &self,
        message: M,
        timeout: Duration,
        nobody_max: Duration,
    ) -> Result<(M::Reply, Destination), CallError> {
        let answered_by = message.answered_by();
        match &self.remote {
            Some(remote) if answered_by != AnsweredBy::ThisNode => {
                self.call_anywhere(remote, message, answered_by, timeout, nobody_max).await
            }
            _ => self.call_here(message, timeout).await.map(|reply| (reply, Destination::Local)),
        }
    }

    async fn call_anywhere<M: Request<Service = S>>(
        &self,
        remote: &Remote,
        mut message: M,
        answered_by: AnsweredBy,
        timeout: Duration,
        nobody_max: Duration,
    ) -> Result<(M::Reply, Destination), CallError> {
        let deadline = Instant::now() + timeout;
        let nobody_until = Instant::now() + nobody_max;
        let (mut named, mut avoid) = (None, Vec::new());
        let mut answered_by = answered_by;
        for hop in 1u32.. {
            let left = deadline.saturating_duration_since(Instant::now());
            let destination = remote.router.destination(S::NAME, message.shard(), answered_by, named.take(), &avoid);
            // What may be asked of another node as well does not wait for one that hangs until nothing is left.
            let patience = if M::RETRY == Retry::Always { left / 2 } else { left };
            let answer = match destination {
                Destination::Local => self.call_here(message.clone(), left).await,
                Destination::Node(node) => remote.call(node, S::NAME, &message, patience).await,
                Destination::Unknown => Err(CallError::Service(ServiceError::NotHere { leader: None })),
            };
            let error = match answer {
                Err(error) => error,
                Ok(reply) => return Ok((reply, destination)),
            };
            // Whatever else it was: has it been done, or may it be done again?
            let another = match (&error, destination) {
                (CallError::Service(ServiceError::NotHere { leader }), _) => {
                    named = *leader;
                    // A replica that does not know leaves the answer to the leader.
                    if answered_by == AnsweredBy::AnyReplica {
                        answered_by = AnsweredBy::Leader;
                        message.ask_leader();
                    }
                    named.is_some()
                }
                (CallError::Unreachable { .. }, Destination::Node(node)) => {
                    avoid.push(node);
                    true
                }
                (CallError::Unavailable { .. } | CallError::Deadline { .. }, Destination::Node(node))
                    if M::RETRY == Retry::Always =>
                {
                    avoid.push(node);
                    true
                }
                _ => return Err(error),
            };
            let nobody =
                matches!(error, CallError::Service(ServiceError::NotHere { .. }) | CallError::Unreachable { .. });
            let end = if nobody { deadline.min(nobody_until) } else { deadline };
            if Instant::now() + HOP_PAUSE >= end {
                return Err(error);
            }
            if destination == Destination::Unknown {
                // All who could answer were asked: perhaps one of them can be reached again.
                avoid.clear();
            }
            // The first hints are followed at once. After that an election may be under way.
            if hop >= HOPS_AT_ONCE || !another {
                tokio::time::sleep(HOP_PAUSE).await;
            }
        }
        unreachable!("the loop ends by its deadline")
    }

    /// As [`ActorRef::call`], answered by this node or not at all.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call_here<M: Request<Service = S>>(
        &self,
        message: M,
        timeout: Duration,
    ) -> Result<M::Reply, CallError> {
        const { assert!(S::Messages::KINDS.contains(M::KIND), "the message is not in the list of its service") };
        let index = match (message.shard(), self.children.len()) {
            (_, 1) | (None, _) => 0,
            (Some(shard), _) => shard.index(),
        };
        let Some(child) = self.children.get(index) else {
            return Err(CallError::Service(ServiceError::NotHere { leader: None }));
        };
        child.ask(message, Instant::now() + timeout).await
    }

    /// Takes no more messages and waits until those in hand are done. Answers whether they were, within `timeout`.
    pub async fn drain(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        self.children.iter().for_each(|child| child.close());
        for child in &*self.children {
            if !child.drained(deadline).await {
                return false;
            }
        }
        true
    }

    /// Stops the actor on purpose: it is not started again, and every later call answers `Unavailable`.
    pub fn stop(&self) {
        self.children.iter().for_each(|child| child.stop());
    }
}
