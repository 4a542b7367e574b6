//! The caller's view of an actor: by its service, never by its type.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use waypost_protocol::message::MessageList;
use waypost_protocol::{AnsweredBy, CallError, Request, Retry, Service, ServiceError};

use crate::child::Child;
use crate::hops::{Hops, Next};
use crate::remote::{Destination, Remote};

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

    /// A service of several actors: a message goes to the actor with the number of its shard.
    pub fn sharded(children: Vec<Self>) -> Self {
        let children = children.iter().flat_map(|child| child.children.iter().cloned()).collect();
        Self { children, remote: None, service: PhantomData }
    }

    /// A service that does not run on this node.
    pub fn elsewhere(remote: Remote) -> Self {
        Self { children: Arc::from([]), remote: Some(remote), service: PhantomData }
    }

    /// The same service, which sends messages to the other nodes that have to answer them.
    #[must_use]
    pub fn with_remote(self, remote: Remote) -> Self {
        Self { remote: Some(remote), ..self }
    }

    /// Sends a message and waits for its answer, at most `timeout`, wherever it is answered. A message that allows it is sent again when
    /// it broke off ([`Request::retry`]), unless the node stops.
    ///
    /// If the future is dropped, a message that no handler has taken is skipped; one that a handler has taken is completed.
    ///
    /// # Errors
    /// See [`CallError`]; `outcome_unknown` says which errors leave a write in doubt.
    pub async fn call<M: Request<Service = S>>(&self, message: M, timeout: Duration) -> Result<M::Reply, CallError> {
        self.call_with_destination(message, timeout).await.map(|(reply, _)| reply)
    }

    /// Like [`ActorRef::call`], and returns where it was answered.
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

    /// Like [`ActorRef::call`], but waits at most `nobody_max` while no node that could answer is known or reachable: for
    /// callers that can go on without a leader.
    ///
    /// # Errors
    /// As for `call`; `NotHere` or `Unreachable` if no node was found in time.
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
        mut message: M,
        timeout: Duration,
        nobody_max: Duration,
    ) -> Result<(M::Reply, Destination), CallError> {
        let answered_by = self.remote.as_ref().map_or(AnsweredBy::ThisNode, |_| message.answered_by());
        if answered_by == AnsweredBy::ThisNode && message.retry() != Retry::AfterBreak {
            return self.call_here(message, timeout).await.map(|reply| (reply, Destination::Local));
        }
        let now = Instant::now();
        let mut hops = Hops::new(answered_by, message.retry(), now + timeout, now + nobody_max);
        loop {
            let answered_by = hops.answered_by();
            let remote = self.remote.as_ref().filter(|_| answered_by != AnsweredBy::ThisNode);
            let destination = remote.map_or(Destination::Local, |remote| {
                let named = hops.take_named();
                remote.router.destination(S::NAME, message.shard(), answered_by, named, hops.avoid())
            });
            let patience = hops.patience(destination, Instant::now());
            let answer = match (destination, remote) {
                // In the heap: most calls are answered here, and the future of a call is moved with all its parts.
                (Destination::Node(node), Some(remote)) => {
                    Box::pin(remote.call(node, S::NAME, &message, patience)).await
                }
                (Destination::Local, _) => self.call_here(message.clone(), patience).await,
                _ => Err(CallError::Service(ServiceError::NotHere { leader: None })),
            };
            let error = match answer {
                Err(error) => error,
                Ok(reply) => return Ok((reply, destination)),
            };
            match hops.after(&error, destination, Instant::now(), || self.is_stopping()) {
                Next::GiveUp => return Err(error),
                Next::Ask(Duration::ZERO) => {}
                Next::Ask(pause) => tokio::time::sleep(pause).await,
            }
            if answered_by == AnsweredBy::AnyReplica && hops.answered_by() == AnsweredBy::Leader {
                message.ask_leader();
            }
        }
    }

    /// Whether the node stops, or this service does.
    fn is_stopping(&self) -> bool {
        self.remote.as_ref().is_some_and(|remote| (remote.stopping)())
            || self.children.iter().any(|child| child.is_closed())
    }

    /// Like [`ActorRef::call`], answered by this node or not at all.
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

    /// Admits no more messages and waits until the present ones are done. Returns whether they were, within `timeout`.
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

    /// Stops the actor on purpose: it is not restarted, and every later call answers `Unavailable`.
    pub fn stop(&self) {
        self.children.iter().for_each(|child| child.stop());
    }
}
