//! The routes from the messages of a service to the handlers of its actor; the compiler checks that there is one for each.

use std::any::Any;
use std::sync::Arc;

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, Recipient};
use waypost_protocol::message::MessageList;
use waypost_protocol::{Kind, Request};

use crate::ask::Ask;
use crate::metrics::{ActorMetrics, MessageMetrics};

/// The mailbox for messages of one kind.
pub(crate) struct Route<M: Request> {
    pub(crate) recipient: Recipient<Ask<M>>,
    pub(crate) metrics: Arc<MessageMetrics>,
}

pub(crate) type Table = Vec<(Kind, Box<dyn Any + Send + Sync>)>;

/// The routes to one actor.
pub struct Routes<A: Actor> {
    addr: Addr<A>,
    metrics: Arc<ActorMetrics>,
    table: Table,
}

/// A list of messages of which an actor handles each. Implemented by every list whose messages it has a `Handler<Ask<M>>` for.
pub trait HandledBy<A: Actor>: MessageList {
    /// Adds a route for each message.
    fn add_routes(routes: &mut Routes<A>);
}

impl<A: Actor> HandledBy<A> for () {
    fn add_routes(_: &mut Routes<A>) {}
}

impl<A, M, Rest> HandledBy<A> for (M, Rest)
where
    M: Request,
    Rest: HandledBy<A>,
    A: Handler<Ask<M>>,
    A::Context: ToEnvelope<A, Ask<M>>,
{
    fn add_routes(routes: &mut Routes<A>) {
        let metrics = Arc::new(routes.metrics.message(M::NAME));
        let route = Route::<M> { recipient: routes.addr.clone().recipient(), metrics };
        routes.table.push((M::KIND, Box::new(route)));
        Rest::add_routes(routes);
    }
}

/// The routes to an actor for all messages of a list.
pub(crate) fn table<A: Actor, L: HandledBy<A>>(addr: Addr<A>, metrics: Arc<ActorMetrics>) -> Table {
    let mut routes = Routes { addr, metrics, table: Vec::new() };
    L::add_routes(&mut routes);
    routes.table
}
