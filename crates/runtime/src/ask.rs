//! A queued message, and a message that a handler has taken.

use std::marker::PhantomData;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use actix::ResponseFuture;
use futures_util::FutureExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use waypost_protocol::{Request, Service, ServiceError};
use waypost_tasks::{Task, fault, panic_text};
use waypost_telemetry::{Span, SpanKind};

use crate::metrics::{ActorMetrics, MessageMetrics};
use crate::origin::Origin;
use crate::panics::Panics;

/// The answer of a handler.
pub type Answer<M> = Result<<M as Request>::Reply, ServiceError>;

/// A message with its permit, its deadline and its timing. Actors handle `Ask<M>`.
pub struct Ask<M: Request> {
    message: M,
    responder: Responder<M>,
}

impl<M: Request> actix::Message for Ask<M> {
    type Result = Answer<M>;
}

impl<M: Request> Ask<M> {
    pub(crate) fn new(
        message: M,
        permit: OwnedSemaphorePermit,
        deadline: Instant,
        actor: Arc<ActorMetrics>,
        metrics: Arc<MessageMetrics>,
        panics: Arc<Panics>,
    ) -> Self {
        actor.inflight.inc();
        let origin = Origin::current();
        let (span, origin) =
            origin.part(SpanKind::Internal, || format!("{} {}", <M::Service as Service>::NAME, M::NAME));
        let since = Instant::now();
        let responder = Responder {
            _permit: permit,
            deadline,
            since,
            open: false,
            done: false,
            origin,
            span,
            actor,
            metrics,
            panics,
            generation: 0,
            message: PhantomData,
        };
        Self { message, responder }
    }

    /// Takes the message out for handling.
    pub fn open(self) -> (M, Responder<M>) {
        let Self { message, mut responder } = self;
        let now = Instant::now();
        responder.actor.queue_seconds.observe((now - responder.since).as_secs_f64());
        responder.since = now;
        responder.open = true;
        responder.generation = responder.panics.generation();
        responder.span.event("taken out of the mailbox");
        (message, responder)
    }
}

/// The obligation to answer a message: its permit is held until this is finished or dropped.
pub struct Responder<M> {
    _permit: OwnedSemaphorePermit,
    deadline: Instant,
    since: Instant,
    open: bool,
    done: bool,
    origin: Origin,
    /// Begins when the message was sent.
    span: Span,
    actor: Arc<ActorMetrics>,
    metrics: Arc<MessageMetrics>,
    panics: Arc<Panics>,
    /// The generation of the actor that took the message.
    generation: u64,
    message: PhantomData<fn(M)>,
}

impl<M: Request> Responder<M> {
    /// The time at which the caller stops waiting.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Answers at once.
    pub fn now(mut self, answer: Answer<M>) -> Answer<M> {
        self.finish(&answer);
        answer
    }

    /// Answers when the future is ready. The future runs apart from the actor, and goes on if the caller stops waiting. A panic in it is answered
    /// `OutcomeUnknown` and counts as a panic of the actor, which is rebuilt, because they share state.
    pub fn later(mut self, future: impl Future<Output = Answer<M>> + 'static) -> ResponseFuture<Answer<M>> {
        let origin = std::mem::take(&mut self.origin);
        // In the heap before the futures around it are made: they would be as large as this one, and be moved as a whole.
        let future = Box::pin(future);
        Box::pin(origin.scope(async move {
            let future = async {
                fault(Task::Handler);
                future.await
            };
            let answer = AssertUnwindSafe(future).catch_unwind().await.unwrap_or_else(|panic| {
                let text = panic_text(&*panic);
                tracing::error!(asked = M::NAME, panic = text, "a handler's future panicked");
                self.panics.report(self.generation, text);
                Err(ServiceError::OutcomeUnknown("the handler failed".to_owned()))
            });
            self.finish(&answer);
            answer
        }))
    }

    fn finish(&mut self, answer: &Answer<M>) {
        self.done = true;
        match answer {
            Ok(_) => self.metrics.ok.inc(),
            Err(error) => {
                self.metrics.error.inc();
                self.span.fail(error.to_string());
            }
        }
        self.metrics.seconds.observe(self.since.elapsed().as_secs_f64());
    }
}

impl<M> Drop for Responder<M> {
    fn drop(&mut self) {
        self.actor.inflight.dec();
        // A message whose caller has gone is never opened; one that was opened and not answered was lost in a panic.
        if self.open && !self.done {
            self.metrics.lost.inc();
        }
    }
}
