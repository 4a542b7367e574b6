//! ClickCounter: moves visits from the workers' journals to the shards.
//!
//! Guarantee: a visit in a journal is counted by its shard exactly once, whatever dies in between. A journal is released only when every
//! shard has counted its visits or has them in its spill. A shard counts a batch only if it begins where the last one of the same journals
//! ended. A shard that accepts no clicks does not block the others.

mod agent;
mod classes;
mod drain;
mod gather;
mod geo;
mod lives;
mod outbox;
mod recorder;
mod room;
mod shard_queue;
mod spill;
mod spill_entries;
#[cfg(test)]
mod tests;
mod visit;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use actix::prelude::*;
use futures_util::future::join_all;
use tokio::time::Instant;
use waypost_protocol::messages::{Flush, Flushed, LinkStore, RecordClicks, Recorded};
use waypost_protocol::{NodeId, ServiceError, ShardId};
use waypost_runtime::{ActorRef, Answer, Ask, OnExhausted, Spec};
use waypost_tasks::{Task, fault};
use waypost_telemetry::Metrics;

use drain::Drain;

pub use agent::Agent;
pub use classes::Visitor;
pub use geo::{Geo, GeoError, Location};
pub use outbox::Outbox;
pub use recorder::{JournalOptions, Journals, Recorder, clicks_left};
pub use visit::Visit;

/// How often in a row a shard may answer another position before it is left alone until its next turn.
const MISSTEPS_MAX: u32 = 4;

/// The number of parts of an interval. In each part some of the shards have their turn.
const TURNS: u32 = 4;

/// The pause after a piece of the journals was read: the shortest that a timer measures.
const PIECE_PAUSE: Duration = Duration::from_millis(1);

/// With more slots than these to read, there are no pauses. It is an eighth of a journal of the default size.
const BEHIND: u64 = 128 * 1024;

/// How long a shard may take to answer a batch before it is sent again.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A shard that has not answered a batch for this long is no longer waited for. This is longer than an election, and short enough that the
/// journals of a busy node, which hold some ten seconds, do not fill meanwhile.
const STALLED_AFTER: Duration = Duration::from_secs(2);

/// How often in a round room is made in the journals, some megabytes each time.
const MOVES_MAX: u32 = 64;

/// The pause before a flush sends a failed batch again.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// How often the geographic database is checked for changes.
const GEO_LOOK: Duration = Duration::from_secs(10);

/// What the actor is built from, and rebuilt after a panic.
#[derive(Clone)]
pub struct Seed {
    /// The source of visits.
    pub journals: Journals,
    /// The LinkStore service, which counts them.
    pub links: ActorRef<LinkStore>,
    /// The id of this node.
    pub node: NodeId,
    /// The number of shards.
    pub shards: u32,
    /// How often each shard is sent its waiting visits.
    pub interval: Duration,
    /// The most disk space of all spills, in bytes.
    pub spill_bytes: u64,
    /// Whether the cluster is at level 1. Before, shards do not understand that journals have ended, and nothing is spilled: a
    /// release that does not know spills may come back, and would lose them.
    pub is_level_one: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Set while the disk has too little free space: nothing is spilled then.
    pub read_only: Arc<AtomicBool>,
    /// The registry for its metrics.
    pub metrics: Metrics,
}

/// The actor. It starts at the released positions of the journals, so it can be rebuilt at any time.
pub struct ClickCounterActor {
    drain: Rc<Drain>,
    working: Rc<Cell<bool>>,
    /// The part of the interval whose shards are next.
    turn: u32,
}

impl ClickCounterActor {
    /// A ClickCounter that has read nothing yet.
    pub fn new(seed: Seed) -> Self {
        Self { drain: Rc::new(Drain::new(&seed)), working: Rc::default(), turn: 0 }
    }

    /// Sends some of the shards their waiting visits. Shards take turns, so that the work of an interval does not delay redirects in
    /// one burst; several have the same turn, because commands that arrive together share a sync.
    fn tick(&mut self, ctx: &mut Context<Self>) {
        let turn = self.turn;
        self.turn = (turn + 1) % TURNS;
        let (drain, working) = (self.drain.clone(), self.working.clone());
        let round = async move {
            // If a round takes longer than a turn, the next one is skipped.
            if !working.replace(true) {
                work(&drain).await;
                working.set(false);
            }
            let busy = drain.outbox.borrow().busy();
            join_all(busy.into_iter().filter(|shard| shard.0 % TURNS == turn).map(|shard| send(&drain, shard))).await;
        };
        // This future is part of the actor: a panic in it rebuilds the actor, which reads the journals again.
        ctx.spawn(round.into_actor(self));
        ctx.run_later(self.drain.seed.interval / TURNS, Self::tick);
    }
}

/// One round: reads new visits, releases what was counted, and makes room where a shard blocks a journal.
async fn work(drain: &Drain) {
    drain.note_stalled(STALLED_AFTER);
    read_new(drain).await;
    drain.release();
    for _ in 0..MOVES_MAX {
        if !drain.make_room().await {
            break;
        }
        drain.release();
        // The clicks of other shards go on meanwhile.
        read_new(drain).await;
    }
    drain.end_journals(false).await;
}

/// Reads the visits that were recorded until now, in pieces with pauses: on a processor that it shares with a worker, requests do not wait for more
/// than a piece.
async fn read_new(drain: &Drain) {
    let mut left = drain.unread_slots();
    loop {
        let read = drain.read_on();
        left = left.saturating_sub(read);
        if read == 0 || left == 0 {
            break;
        }
        if left > BEHIND {
            // Pauses would let it fall further behind.
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(PIECE_PAUSE).await;
        }
    }
}

/// Sends a shard all its waiting batches, one after the other; stops at the first that is not answered.
async fn send(drain: &Drain, shard: ShardId) {
    let idle = drain.sending.borrow()[shard.index()].is_none();
    if !idle {
        return;
    }
    fault(Task::ClickSend);
    let mut missteps = 0;
    while missteps < MISSTEPS_MAX {
        drain.read_again(shard);
        let batches = drain.outbox.borrow_mut().next(shard, RecordClicks::BATCHES_MAX);
        if batches.is_empty() {
            break;
        }
        let sent = batches.len();
        drain.sending.borrow_mut()[shard.index()] = Some(Instant::now());
        match drain.seed.links.call(RecordClicks { shard, batches }, TIMEOUT).await {
            Ok(Recorded::Counted(0)) => break,
            Ok(Recorded::Counted(counted)) => {
                missteps = 0;
                let mut outbox = drain.outbox.borrow_mut();
                (0..counted.min(sent)).for_each(|_| drain.delivered.inc_by(outbox.delivered(shard)));
            }
            Ok(Recorded::OutOfStep(reached)) => {
                tracing::debug!(shard = shard.0, "a shard has counted clicks up to elsewhere; going on from there");
                missteps += 1;
                drain.start_again(shard, &reached);
            }
            Err(error) => {
                tracing::warn!(shard = shard.0, %error, "visits not delivered; they are sent again");
                drain.outbox.borrow_mut().set_stalled(shard, true);
                break;
            }
        }
    }
    drain.sending.borrow_mut()[shard.index()] = None;
}

impl Actor for ClickCounterActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_later(self.drain.seed.interval / TURNS, Self::tick);
        ctx.run_interval(GEO_LOOK, |collector, _| collector.drain.seed.journals.geo().refresh());
    }
}

waypost_runtime::rebuilt!(ClickCounterActor);

impl Handler<Ask<Flush>> for ClickCounterActor {
    type Result = ResponseFuture<Answer<Flush>>;

    fn handle(&mut self, ask: Ask<Flush>, _: &mut Self::Context) -> Self::Result {
        let (Flush { last }, responder) = ask.open();
        let drain = self.drain.clone();
        let deadline = responder.deadline();
        responder.later(async move {
            if !drain.has_found_spills() {
                return Err(ServiceError::Unavailable("spilled clicks cannot be read".to_owned()));
            }
            let mut before = 0;
            loop {
                if !drain.is_latest() {
                    return Err(ServiceError::Unavailable("the click counter was rebuilt meanwhile".to_owned()));
                }
                while drain.read_on() > 0 {
                    tokio::task::yield_now().await;
                }
                before = drain.outbox.borrow().waiting().max(before);
                let busy = drain.outbox.borrow().busy();
                if busy.is_empty() || Instant::now() + RETRY_PAUSE >= deadline {
                    break;
                }
                join_all(busy.into_iter().map(|shard| send(&drain, shard))).await;
                if drain.outbox.borrow().waiting() > 0 {
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
            drain.release();
            drain.end_journals(last).await;
            if !drain.is_latest() {
                return Err(ServiceError::Unavailable("the click counter was rebuilt meanwhile".to_owned()));
            }
            let waiting = drain.outbox.borrow().waiting();
            Ok(Flushed { delivered: before.saturating_sub(waiting), waiting })
        })
    }
}

/// Bounds and restart policy: batches are idempotent, so the actor is restarted.
pub fn spec() -> Spec {
    Spec {
        name: "click_counter",
        inflight_max: 16,
        slow_reads_max: 0,
        restarts_max: 10,
        restart_window: Duration::from_secs(60),
        backoff_first: Duration::from_millis(10),
        backoff_max: Duration::from_secs(1),
        on_exhausted: OnExhausted::ExitProcess,
        needed: true,
    }
}
