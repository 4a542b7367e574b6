//! Calls that another node answers, and answers to calls of other nodes.
//!
//! A call looks the same to its caller wherever it is answered. Which node that is, a [`Router`] says; a node that is asked
//! answers itself or names another, so a call makes a few hops at most and never runs in circles.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use waypost_protocol::peer::{BoxFuture, Lane, PeerError, Peers};
use waypost_protocol::{AnsweredBy, CallError, Kind, NodeId, Request, ServiceError, ShardId, codec};

use waypost_telemetry::SpanKind;

use crate::actor_ref::ActorRef;
use crate::origin::Origin;

/// Where a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// This node.
    Local,
    /// Another node.
    Node(NodeId),
    /// No node is known that could answer it; perhaps soon.
    Unknown,
}

/// Knows which node answers what.
pub trait Router: Send + Sync {
    /// Where a message goes. `named` is what the last node that was asked said; the nodes in `avoid` did not answer.
    fn destination(
        &self,
        service: &'static str,
        shard: Option<ShardId>,
        answered_by: AnsweredBy,
        named: Option<NodeId>,
        avoid: &[NodeId],
    ) -> Destination;
}

/// How an [`ActorRef`] reaches other nodes.
#[derive(Clone)]
pub struct Remote {
    /// Which node answers what.
    pub router: Arc<dyn Router>,
    /// The way there.
    pub peers: Arc<dyn Peers>,
}

/// An error of a call, on the wire.
#[derive(Serialize, Deserialize)]
enum RemoteError {
    Overloaded,
    Deadline,
    Unavailable,
    Service(ServiceError),
}

impl Remote {
    /// Asks one node.
    pub(crate) async fn call<M: Request>(
        &self,
        node: NodeId,
        service: &'static str,
        message: &M,
        within: Duration,
    ) -> Result<M::Reply, CallError> {
        let scope = message.shard().map_or(0, |shard| shard.0);
        let (mut span, origin) = Origin::current().part(SpanKind::Client, || format!("ask {} {}", service, M::NAME));
        span.note("waypost.node.id", node.0.to_string());
        let answer =
            self.peers.call(node, Lane::Calls, M::KIND, scope, codec::encode(&(origin, message)), within).await;
        let answer = answer.inspect_err(|error| span.fail(error.to_string()));
        let answer = answer.map_err(|error| match error {
            PeerError::Overloaded => CallError::Overloaded { service },
            PeerError::Timeout => CallError::Deadline { service },
            PeerError::Lost => CallError::Unavailable { service },
            PeerError::Unreachable(_) | PeerError::Refused(_) => CallError::Unreachable { service },
        })?;
        let answer: Result<M::Reply, RemoteError> = codec::decode(&answer)
            .map_err(|error| ServiceError::OutcomeUnknown(format!("the node's answer cannot be read: {error}")))?;
        answer.map_err(|error| match error {
            RemoteError::Overloaded => CallError::Overloaded { service },
            RemoteError::Deadline => CallError::Deadline { service },
            RemoteError::Unavailable => CallError::Unavailable { service },
            RemoteError::Service(error) => CallError::Service(error),
        })
    }
}

type Serve = Box<dyn Fn(Vec<u8>, Duration) -> BoxFuture<'static, Result<Vec<u8>, PeerError>> + Send + Sync>;

/// The messages of this node's actors that other nodes may send.
#[derive(Default)]
pub struct RemoteHandlers {
    table: HashMap<Kind, Serve>,
}

impl RemoteHandlers {
    /// Other nodes may send this message; it is answered here, and never handed on.
    #[must_use]
    pub fn add<M: Request>(mut self, actor: &ActorRef<M::Service>) -> Self {
        let actor = actor.clone();
        let serve: Serve = Box::new(move |body, within| {
            let actor = actor.clone();
            Box::pin(async move {
                let (origin, message): (Origin, M) = codec::decode(&body)
                    .map_err(|error| PeerError::Refused(format!("the message {} cannot be read: {error}", M::NAME)))?;
                let asked = async {
                    tracing::debug!(asked = M::NAME, "asked by another node");
                    actor.call_here(message, within).await
                };
                let answer = origin.sound().scope(asked).await.map_err(|error| match error {
                    CallError::Overloaded { .. } => RemoteError::Overloaded,
                    CallError::Deadline { .. } => RemoteError::Deadline,
                    CallError::Unavailable { .. } | CallError::Unreachable { .. } => RemoteError::Unavailable,
                    CallError::Service(error) => RemoteError::Service(error),
                });
                Ok(codec::encode(&answer))
            })
        });
        self.table.insert(M::KIND, serve);
        self
    }

    /// Answers a message of another node; `None` if there is no such message.
    pub fn handle(
        &self,
        kind: Kind,
        body: Vec<u8>,
        within: Duration,
    ) -> Option<BoxFuture<'static, Result<Vec<u8>, PeerError>>> {
        self.table.get(&kind).map(|serve| serve(body, within))
    }
}
