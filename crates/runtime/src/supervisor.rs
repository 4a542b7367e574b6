//! The supervisor: it polls an actor inside `catch_unwind`, and after a panic rebuilds it behind the same mailbox.
//!
//! actix itself neither catches panics nor rebuilds actors: its `Supervisor` reacts only to an actor that stops itself, and
//! then continues with the same state. Here addresses and queued messages survive a restart. The message being handled is lost,
//! and its caller gets `Unavailable`. A panic leaves the state half changed, so the state is thrown away.

use std::any::Any;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use actix::dev::ContextFut;
use actix::{Actor, ArbiterHandle, AsyncContext, Context, Supervised};
use futures_util::future::poll_fn;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use waypost_protocol::Service;
use waypost_tasks::{EXIT_SOFTWARE, Task, panic_text};

use crate::actor_ref::ActorRef;
use crate::child::Child;
use crate::metrics::ActorMetrics;
use crate::panics::Panics;
use crate::routes::{self, HandledBy};
use crate::spec::{OnExhausted, Spec};
use crate::supervision::Supervision;

thread_local! {
    /// The new actor, between its factory and `restarting`.
    static NEXT: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
}

/// An actor whose `Supervised::restarting` replaces it with [`next_generation`]. Implement it with [`rebuilt!`](crate::rebuilt).
pub trait Rebuilt: Supervised {}

/// Makes an actor replace itself with a new one from its factory when it is restarted.
#[macro_export]
macro_rules! rebuilt {
    ($actor:ty) => {
        impl ::actix::Supervised for $actor {
            fn restarting(&mut self, _: &mut Self::Context) {
                *self = $crate::next_generation();
            }
        }
        impl $crate::Rebuilt for $actor {}
    };
}

/// The actor that replaces the one that panicked. For [`rebuilt!`](crate::rebuilt) only.
pub fn next_generation<A: 'static>() -> A {
    let next = NEXT.with_borrow_mut(Option::take).and_then(|next| next.downcast::<A>().ok());
    *next.expect("invariant: the supervisor builds the next actor before it restarts one")
}

/// Starts the actor of a service on an arbiter, and keeps it running according to its spec.
///
/// # Panics
/// If the arbiter has stopped.
pub async fn supervise<S, A>(
    spec: Spec,
    supervision: &Supervision,
    arbiter: &ArbiterHandle,
    factory: impl Fn() -> A + Send + 'static,
) -> ActorRef<S>
where
    S: Service,
    S::Messages: HandledBy<A>,
    A: Actor<Context = Context<A>> + Rebuilt,
{
    supervise_some::<S::Messages, S, A>(spec, supervision, arbiter, factory).await
}

/// Like [`supervise`], for an actor that answers only the messages of a list. The other messages of the service are answered `NotHere`.
///
/// # Panics
/// If the arbiter has stopped.
pub async fn supervise_some<L, S, A>(
    spec: Spec,
    supervision: &Supervision,
    arbiter: &ArbiterHandle,
    factory: impl Fn() -> A + Send + 'static,
) -> ActorRef<S>
where
    L: HandledBy<A>,
    S: Service,
    A: Actor<Context = Context<A>> + Rebuilt,
{
    let metrics = Arc::new(ActorMetrics::new(&supervision.metrics, spec.name));
    let supervision = supervision.clone();
    let (started, answer) = oneshot::channel();
    arbiter.spawn_fn(move || {
        let mut context = Context::<A>::new();
        // Admission bounds the queue; the mailbox is larger, so its bound never applies.
        context.set_mailbox_capacity(2 * spec.inflight_max + spec.slow_reads_max + 16);
        let table = routes::table::<A, L>(context.address(), metrics.clone());
        let (stop, panics) = (Arc::new(Notify::new()), Arc::new(Panics::default()));
        let child = Child::new(&spec, table, stop.clone(), metrics.clone(), panics.clone());
        let future = context.into_future(factory());
        let tasks = supervision.tasks.clone();
        tasks.spawn_once_local(Task::Supervisor, async move {
            let gave_up = run(&spec, &metrics, future, factory, &stop, &panics).await;
            if gave_up {
                give_up(&spec, &metrics, &supervision);
            }
        });
        let _ = started.send(child);
    });
    ActorRef::one(answer.await.expect("invariant: the arbiter runs as long as the node"))
}

/// Handles an actor that cannot be kept running.
fn give_up(spec: &Spec, metrics: &ActorMetrics, supervision: &Supervision) {
    match spec.on_exhausted {
        OnExhausted::ExitProcess => std::process::exit(EXIT_SOFTWARE),
        OnExhausted::Stop => {
            metrics.given_up.inc();
            supervision.give_up(spec);
        }
    }
}

/// Returns whether the actor stays down after too many panics, and was not stopped on purpose.
async fn run<A>(
    spec: &Spec,
    metrics: &ActorMetrics,
    mut future: ContextFut<A, Context<A>>,
    factory: impl Fn() -> A,
    stop: &Notify,
    panics: &Panics,
) -> bool
where
    A: Actor<Context = Context<A>> + Rebuilt,
{
    metrics.up.inc();
    let mut restarts = VecDeque::new();
    let gave_up = loop {
        let polled = poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| Pin::new(&mut future).poll(cx))) {
            Ok(poll) => poll.map(|()| None),
            Err(panic) => Poll::Ready(Some(panic_text(&*panic).to_owned())),
        });
        let panic = tokio::select! {
            biased;
            () = stop.notified() => None,
            panic = panics.next() => Some(panic),
            ended = polled => ended,
        };
        let Some(text) = panic else { break false };
        if !pause(spec, &mut restarts).await {
            tracing::error!(actor = spec.name, panic = text, "the actor panicked too often and stays down");
            break true;
        }
        tracing::error!(
            actor = spec.name,
            panic = text,
            restarts = restarts.len(),
            "the actor panicked and is restarted"
        );
        metrics.restarts.inc();
        panics.rebuilt();
        let restarted = catch_unwind(AssertUnwindSafe(|| {
            NEXT.set(Some(Box::new(factory())));
            future.restart()
        }));
        match restarted {
            Ok(true) => {}
            Ok(false) => break false, // nobody holds an address any more
            Err(panic) => {
                let text = panic_text(&*panic);
                tracing::error!(actor = spec.name, panic = text, "the actor cannot be rebuilt and stays down");
                break true;
            }
        }
    };
    metrics.up.dec();
    // `stopped` runs here, perhaps on state that a panic left behind: a panic in it must not end the thread.
    if catch_unwind(AssertUnwindSafe(|| drop(future))).is_err() {
        tracing::error!(actor = spec.name, "the actor panicked while it stopped");
    }
    gave_up
}

/// Counts a restart and waits before it; `false` if no restarts are left.
async fn pause(spec: &Spec, restarts: &mut VecDeque<Instant>) -> bool {
    let now = Instant::now();
    while restarts.front().is_some_and(|at| now - *at > spec.restart_window) {
        restarts.pop_front();
    }
    if restarts.len() >= spec.restarts_max as usize {
        return false;
    }
    let pause = backoff(spec, restarts.len() as u32);
    restarts.push_back(now);
    tokio::time::sleep(pause).await;
    true
}

fn backoff(spec: &Spec, earlier: u32) -> Duration {
    spec.backoff_first.saturating_mul(2u32.saturating_pow(earlier.min(16))).min(spec.backoff_max)
}
