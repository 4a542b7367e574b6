//! ClickCounter: takes visits out of the workers' journals and brings them to the shards.
//!
//! Promise: what it has drained reaches the shard exactly once. A batch is sent until it is answered, under one name. What
//! it has drained and not delivered lives as long as the process: a restart of the actor keeps it.

mod journal;
mod outbox;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use futures_util::future::join_all;
use waypost_protocol::messages::{ClickCounter, Flush, Flushed, LinkStore, RecordClicks};
use waypost_protocol::{NodeId, ShardId};
use waypost_runtime::{ActorRef, Answer, Ask, Routes, Spec, WhenSpent};
use waypost_telemetry::{Counter, Gauge, Metrics};

pub use journal::{Journal, Journals, Visit};
pub use outbox::Outbox;

/// How long a shard may take to answer a batch before it is sent again.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long a flush waits before it tries again a batch that failed.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// What the actor is built from, and rebuilt after a panic.
#[derive(Clone)]
pub struct Seed {
    /// Where visits come from.
    pub journals: Journals,
    /// Where they go.
    pub links: ActorRef<LinkStore>,
    /// Who counts.
    pub node: NodeId,
    /// The life of the journal.
    pub incarnation: u64,
    /// The number of shards.
    pub shards: u32,
    /// How often each shard is sent what waits for it.
    pub interval: Duration,
    /// For the metrics of the way.
    pub metrics: Metrics,
}

/// The actor.
pub struct ClickCollector {
    seed: Seed,
    shared: Rc<Shared>,
    /// Whose turn it is.
    turn: ShardId,
}

struct Shared {
    outbox: RefCell<Outbox>,
    /// Shards with a batch being sent right now.
    sending: RefCell<Vec<bool>>,
    delivered: Counter,
    waiting: Gauge,
}

thread_local! {
    /// What was drained outlives a restart of the actor, which stays on its thread: nothing else has it any more.
    static SHARED: RefCell<Option<Rc<Shared>>> = const { RefCell::new(None) };
}

impl ClickCollector {
    /// The collector of this thread.
    pub fn new(seed: Seed) -> Self {
        let shared = SHARED.with_borrow_mut(|shared| shared.get_or_insert_with(|| Rc::new(Shared::new(&seed))).clone());
        Self { seed, shared, turn: ShardId(0) }
    }

    fn drain(&self) {
        let mut outbox = self.shared.outbox.borrow_mut();
        self.seed.journals.drain(|visit| outbox.add(visit));
        self.shared.waiting.set(outbox.waiting() as i64);
    }

    /// Drains the journals, and sends one shard what waits for it. The shards take turns, so that the work of an interval
    /// is spread over it instead of holding up redirects in one burst.
    fn tick(&mut self, ctx: &mut Context<Self>) {
        self.drain();
        let shard = self.turn;
        self.turn = ShardId((shard.0 + 1) % self.seed.shards.max(1));
        if self.shared.outbox.borrow().is_busy(shard) {
            let (seed, shared) = (self.seed.clone(), self.shared.clone());
            actix::spawn(async move { send(&seed, &shared, shard).await });
        }
        ctx.run_later(self.pause(), Self::tick);
    }

    fn pause(&self) -> Duration {
        self.seed.interval / self.seed.shards.max(1)
    }
}

impl Shared {
    fn new(seed: &Seed) -> Self {
        Self {
            outbox: RefCell::new(Outbox::new(seed.node, seed.incarnation, seed.shards)),
            sending: RefCell::new(vec![false; seed.shards.max(1) as usize]),
            delivered: seed.metrics.counter("waypost_clicks_delivered_total", "Visits that the shards have"),
            waiting: seed.metrics.gauge("waypost_clicks_waiting", "Visits drained and not yet answered by a shard"),
        }
    }
}

/// Sends a shard everything that waits for it, batch after batch; stops at the first that is not answered.
async fn send(seed: &Seed, shared: &Shared, shard: ShardId) {
    if std::mem::replace(&mut shared.sending.borrow_mut()[shard.index()], true) {
        return;
    }
    loop {
        let Some(batch) = shared.outbox.borrow_mut().next(shard) else { break };
        let sequence = batch.sequence;
        match seed.links.call(RecordClicks { shard, batch }, TIMEOUT).await {
            Ok(()) => shared.delivered.inc_by(shared.outbox.borrow_mut().delivered(shard, sequence)),
            Err(error) => {
                tracing::warn!(shard = shard.0, %error, "visits not delivered; they are sent again");
                break;
            }
        }
    }
    shared.sending.borrow_mut()[shard.index()] = false;
}

impl Actor for ClickCollector {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_later(self.pause(), Self::tick);
    }
}

waypost_runtime::rebuilt!(ClickCollector);

impl Handler<Ask<Flush>> for ClickCollector {
    type Result = ResponseFuture<Answer<Flush>>;

    fn handle(&mut self, ask: Ask<Flush>, _: &mut Self::Context) -> Self::Result {
        let (_, held) = ask.open();
        self.drain();
        let (seed, shared) = (self.seed.clone(), self.shared.clone());
        let deadline = held.deadline();
        held.later(async move {
            let before = shared.outbox.borrow().waiting();
            loop {
                let busy = shared.outbox.borrow().busy();
                if busy.is_empty() || tokio::time::Instant::now() + RETRY_PAUSE >= deadline {
                    break;
                }
                join_all(busy.into_iter().map(|shard| send(&seed, &shared, shard))).await;
                if shared.outbox.borrow().waiting() > 0 {
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
            let waiting = shared.outbox.borrow().waiting();
            Ok(Flushed { delivered: before.saturating_sub(waiting), waiting })
        })
    }
}

/// The messages it answers.
pub fn routes(routes: Routes<ClickCounter, ClickCollector>) -> Routes<ClickCounter, ClickCollector> {
    routes.serves::<Flush>()
}

/// Bounds and restart policy: batches are idempotent, so it is restarted.
pub fn spec() -> Spec {
    Spec {
        name: "click_counter",
        inflight_max: 16,
        restarts_max: 10,
        restart_window: Duration::from_secs(60),
        backoff_first: Duration::from_millis(10),
        backoff_max: Duration::from_secs(1),
        when_spent: WhenSpent::ExitProcess(70),
    }
}
