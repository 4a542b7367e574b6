//! Redirector: where does this code lead now?
//!
//! It owns the link cache and publishes a concurrent view of it ([`ReadView`]). An HTTP worker reads the view itself, on
//! its own thread, and the node's own replicas ([`Here`]); only a code that is in neither becomes a message. All state is derived from the shards, so a
//! restart loses only cached entries.

mod behavior;
mod choose;
mod entry;
mod fences;
mod forward;
mod here;
mod table;
#[cfg(test)]
mod tests;
mod view;

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use waypost_protocol::messages::{GetLink, LinkStore, Resolution, Resolve};
use waypost_protocol::{CallError, LinkSpec, ServiceError};
use waypost_runtime::{ActorRef, Answer, Ask, Destination, OnExhausted, Spec};

pub use behavior::{Asked, Behavior, Decision, Limit, decide};
pub use choose::{Visitor, choose, explain};
pub use here::{Here, ReadHere};
pub use view::{Expected, Lookup, Plain, ReadView, Source, Special};

/// How long the link store may take to answer a look-up: as long as a shard may take to elect a leader after the last one died, since only a leader can
/// say where a link leads that was just created. A longer wait would gain nothing: three seconds after a replica has heard of a later state than its own
/// (`AHEAD_COUNTS_FOR` of `crates/consensus`), it answers without it.
const TIMEOUT: Duration = Duration::from_millis(2_900);

/// What a worker's Redirector is built from, and rebuilt after a panic.
#[derive(Clone)]
pub struct Seed {
    /// The shared view that it fills.
    pub view: Arc<ReadView>,
    /// The LinkStore service.
    pub links: ActorRef<LinkStore>,
    /// The number of shards.
    pub shards: u32,
    /// How long an answer of another node may be cached, counted from the question.
    pub keep: Duration,
}

/// The actor: one for each HTTP worker, on the worker's own thread.
pub struct RedirectorActor {
    seed: Seed,
}

impl RedirectorActor {
    /// A Redirector for one worker.
    pub fn new(seed: Seed) -> Self {
        Self { seed }
    }
}

impl Actor for RedirectorActor {
    type Context = Context<Self>;
}

waypost_runtime::rebuilt!(RedirectorActor);

impl Handler<Ask<Resolve>> for RedirectorActor {
    type Result = ResponseFuture<Answer<Resolve>>;

    fn handle(&mut self, ask: Ask<Resolve>, _: &mut Self::Context) -> Self::Result {
        let (request, responder) = ask.open();
        let seed = self.seed.clone();
        responder.later(async move {
            let key = request.key;
            let (fill, asked) = (seed.view.begin_fill(&key), Instant::now());
            let shard = key.shard(seed.shards);
            let leader = seed.view.only_leader(&key, asked);
            let get = GetLink { shard, key: key.clone(), strong: false, leader };
            let (found, destination) =
                seed.links.call_with_destination(get, TIMEOUT).await.map_err(|error| match error {
                    CallError::Service(error) => error,
                    other => ServiceError::Unavailable(other.to_string()),
                })?;
            // Only the node's own replica reports all changes. Another node may have an older state.
            let source = match destination {
                Destination::Local => Source::Replica(shard),
                Destination::Node(_) | Destination::Unknown => Source::Elsewhere(asked + seed.keep),
            };
            Ok(match found {
                None => Resolution::Unknown,
                Some(found) => {
                    let LinkSpec { target, valid_until, fields } = found.link.spec;
                    seed.view.finish_fill(fill, &key, &target, valid_until, Behavior::of(&fields), source);
                    Resolution::Found { target, valid_until, fields }
                }
            })
        })
    }
}

/// Bounds and restart policy: it is only a cache, so it is always restarted.
pub fn spec() -> Spec {
    Spec {
        name: "redirector",
        inflight_max: 1024,
        slow_reads_max: 0,
        restarts_max: 100,
        restart_window: Duration::from_secs(60),
        backoff_first: Duration::from_millis(1),
        backoff_max: Duration::from_millis(500),
        on_exhausted: OnExhausted::Stop,
        needed: true,
    }
}
