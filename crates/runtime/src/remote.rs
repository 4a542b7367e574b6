//! Calls that another node answers; `remote_handlers.rs` is the other end.
//!
//! A call looks the same to its caller wherever it is answered. Which node that is, a [`Router`] says; a node that is asked
//! answers itself or names another, so a call makes a few hops at most and never runs in circles.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use waypost_protocol::peer::{Lane, PeerError, Peers};
use waypost_protocol::{AnsweredBy, CallError, NodeId, Request, ServiceError, ShardId, codec};
use waypost_telemetry::SpanKind;

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

/// How an [`ActorRef`](crate::ActorRef) reaches other nodes.
#[derive(Clone)]
pub struct Remote {
    /// Which node answers what.
    pub router: Arc<dyn Router>,
    /// The way there.
    pub peers: Arc<dyn Peers>,
    /// Whether the node is stopping: then nothing that broke off is done again.
    pub stopping: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// An error of a call, on the wire.
#[derive(Serialize, Deserialize)]
pub(crate) enum RemoteError {
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
            PeerError::Unreadable(_) => CallError::Service(ServiceError::OutcomeUnknown(error.to_string())),
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
