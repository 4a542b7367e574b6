//! The table of messages that an actor answers; the compiler checks that it handles each.

use std::any::Any;
use std::marker::PhantomData;
use std::sync::Arc;

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, Recipient};
use waypost_protocol::{Kind, Request, Service};

use crate::ask::Ask;
use crate::metrics::{ActorMetrics, MessageMetrics};

/// Where messages of one kind go.
pub(crate) struct Route<M: Request> {
    pub(crate) recipient: Recipient<Ask<M>>,
    pub(crate) metrics: Arc<MessageMetrics>,
}

pub(crate) type Table = Vec<(Kind, Box<dyn Any + Send + Sync>)>;

/// Collects what an actor serves.
pub struct Routes<S, A: Actor> {
    addr: Addr<A>,
    metrics: Arc<ActorMetrics>,
    table: Table,
    service: PhantomData<fn(S)>,
}

impl<S: Service, A: Actor> Routes<S, A> {
    pub(crate) fn new(addr: Addr<A>, metrics: Arc<ActorMetrics>) -> Self {
        Self { addr, metrics, table: Vec::new(), service: PhantomData }
    }

    /// The actor answers messages of this type.
    pub fn serves<M>(mut self) -> Self
    where
        M: Request<Service = S>,
        A: Handler<Ask<M>>,
        A::Context: ToEnvelope<A, Ask<M>>,
    {
        let route =
            Route::<M> { recipient: self.addr.clone().recipient(), metrics: Arc::new(self.metrics.message(M::NAME)) };
        self.table.push((M::KIND, Box::new(route)));
        self
    }

    pub(crate) fn into_table(self) -> Table {
        self.table
    }
}
