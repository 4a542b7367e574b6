//! Answers to the calls of other nodes.

use std::collections::HashMap;
use std::time::Duration;

use waypost_protocol::message::MessageList;
use waypost_protocol::peer::{BoxFuture, PeerError};
use waypost_protocol::{AnsweredBy, CallError, Kind, Request, Service, codec};

use crate::actor_ref::ActorRef;
use crate::origin::Origin;
use crate::remote::RemoteError;

type Handle = Box<dyn Fn(Vec<u8>, Duration) -> BoxFuture<'static, Result<Vec<u8>, PeerError>> + Send + Sync>;

/// The messages of this node's actors that other nodes may send.
#[derive(Default)]
pub struct RemoteHandlers {
    table: HashMap<Kind, Handle>,
}

impl RemoteHandlers {
    /// Allows other nodes to send every message of the service that is not for the own node only ([`Request::ANSWERED_BY`]).
    #[must_use]
    pub fn serve<S>(mut self, actor: &ActorRef<S>) -> Self
    where
        S: Service,
        S::Messages: OfService<S>,
    {
        S::Messages::add_handlers(actor, &mut self);
        self
    }

    /// Answers a message of another node; `None` if there is no such message.
    pub fn handle(
        &self,
        kind: Kind,
        body: Vec<u8>,
        within: Duration,
    ) -> Option<BoxFuture<'static, Result<Vec<u8>, PeerError>>> {
        self.table.get(&kind).map(|handle| handle(body, within))
    }
}

/// A list of messages of one service.
pub trait OfService<S>: MessageList {
    /// Adds a handler for each message that other nodes may send.
    fn add_handlers(actor: &ActorRef<S>, handlers: &mut RemoteHandlers);
}

impl<S> OfService<S> for () {
    fn add_handlers(_: &ActorRef<S>, _: &mut RemoteHandlers) {}
}

impl<S: Service, M: Request<Service = S>, Rest: OfService<S>> OfService<S> for (M, Rest) {
    fn add_handlers(actor: &ActorRef<S>, handlers: &mut RemoteHandlers) {
        if M::ANSWERED_BY != AnsweredBy::ThisNode {
            let actor = actor.clone();
            handlers
                .table
                .insert(M::KIND, Box::new(move |body, within| Box::pin(answer::<M>(actor.clone(), body, within))));
        }
        Rest::add_handlers(actor, handlers);
    }
}

/// The message is answered here, and never passed on.
async fn answer<M: Request>(
    actor: ActorRef<M::Service>,
    body: Vec<u8>,
    within: Duration,
) -> Result<Vec<u8>, PeerError> {
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
}
