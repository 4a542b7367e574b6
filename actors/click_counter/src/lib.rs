//! ClickCounter: takes visits out of the workers' journals and brings them to the shards.
//!
//! Promise: what is in a journal reaches its shard exactly once, whatever dies in between. A journal is released only when every
//! shard has what is its own; a batch counts only where the last one of the same journals ended.

mod agent;
mod gather;
mod geo;
mod outbox;
mod recorder;
mod visit;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use futures_util::future::join_all;
use waypost_journal::Journal;
use waypost_protocol::messages::{ClickCounter, Flush, Flushed, LinkStore, RecordClicks, Recorded};
use waypost_protocol::{NodeId, ShardId};
use waypost_runtime::{ActorRef, Answer, Ask, Routes, Spec, WhenSpent};
use waypost_tasks::{Task, fault};
use waypost_telemetry::{Counter, Gauge, Metrics};

pub use agent::Agent;
pub use geo::{Geo, GeoError, Location};
pub use outbox::Outbox;
pub use recorder::{JournalOptions, Journals, Recorder, Visitor};
pub use visit::Visit;

/// How often in a row a shard may say that it is elsewhere before it is left alone until its next turn.
const MISSTEPS_MAX: u32 = 4;

/// Parts of an interval, in each of which some of the shards have their turn.
const TURNS: u32 = 4;

/// How long a shard may take to answer a batch before it is sent again.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long a flush waits before it tries again a batch that failed.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// How often it is looked whether the database of places has changed.
const GEO_LOOK: Duration = Duration::from_secs(10);

/// What the actor is built from, and rebuilt after a panic.
#[derive(Clone)]
pub struct Seed {
    /// Where visits come from.
    pub journals: Journals,
    /// Where they go.
    pub links: ActorRef<LinkStore>,
    /// Who counts.
    pub node: NodeId,
    /// The number of shards.
    pub shards: u32,
    /// How often each shard is sent what waits for it.
    pub interval: Duration,
    /// For the metrics of the way.
    pub metrics: Metrics,
}

/// The actor. It begins at what is not released yet, so it may be rebuilt at any time.
pub struct ClickCollector {
    seed: Seed,
    shared: Rc<Shared>,
    /// Whose turn it is.
    turn: u32,
}

struct Shared {
    outbox: RefCell<Outbox>,
    /// Up to where each journal was read.
    read: RefCell<HashMap<u64, u64>>,
    /// Shards with a batch being sent right now.
    sending: RefCell<Vec<bool>>,
    recorded: Counter,
    delivered: Counter,
    waiting: Gauge,
}

impl ClickCollector {
    /// A collector that has read nothing yet.
    pub fn new(seed: Seed) -> Self {
        let shared = Rc::new(Shared::new(&seed));
        Self { seed, shared, turn: 0 }
    }

    /// Sends some of the shards what waits for them. They take turns, so that the work of an interval does not hold up redirects in
    /// one burst; several at a time, since what comes together is brought to disk together.
    fn tick(&mut self, ctx: &mut Context<Self>) {
        self.shared.drain(&self.seed.journals);
        self.shared.release(&self.seed.journals);
        let turn = self.turn;
        self.turn = (turn + 1) % TURNS;
        for shard in self.shared.outbox.borrow().busy().into_iter().filter(|shard| shard.0 % TURNS == turn) {
            let (seed, shared) = (self.seed.clone(), self.shared.clone());
            // A part of the actor: a panic in it rebuilds the actor, which reads the journals again.
            ctx.spawn(async move { send(&seed, &shared, shard).await }.into_actor(self));
        }
        ctx.run_later(self.seed.interval / TURNS, Self::tick);
    }
}

impl Shared {
    fn new(seed: &Seed) -> Self {
        Self {
            outbox: RefCell::new(Outbox::new(seed.node, seed.shards)),
            read: RefCell::default(),
            sending: RefCell::new(vec![false; seed.shards.max(1) as usize]),
            recorded: seed.metrics.counter("waypost_clicks_recorded_total", "Visits taken over by the click counter"),
            delivered: seed.metrics.counter("waypost_clicks_delivered_total", "Visits that the shards have"),
            waiting: seed.metrics.gauge("waypost_clicks_waiting", "Visits read and not yet answered by a shard"),
        }
    }

    /// Reads on in all journals, as far as there is room for what is found.
    fn drain(&self, journals: &Journals) {
        let mut outbox = self.outbox.borrow_mut();
        let mut read = self.read.borrow_mut();
        for journal in journals.left().into_iter().chain(journals.current()) {
            if !outbox.has_room() {
                break;
            }
            let id = journal.id();
            let from = *read.entry(id).or_insert_with(|| {
                outbox.begin(id, journal.released());
                journal.released()
            });
            let mut count = 0;
            let upto = journal.read(from, journal.head(), |position, words, text| {
                count += 1;
                outbox.add(id, position, &Visit::of(words), text, None);
            });
            self.recorded.inc_by(count);
            read.insert(id, upto);
        }
        self.waiting.set(outbox.waiting() as i64);
    }

    /// Lets go of what every shard has.
    fn release(&self, journals: &Journals) {
        let mut outbox = self.outbox.borrow_mut();
        let mut read = self.read.borrow_mut();
        for journal in journals.current() {
            let Some(upto) = read.get(&journal.id()) else { continue };
            journal.release(outbox.released(journal.id(), *upto));
        }
        for journal in journals.left() {
            let id = journal.id();
            let Some(upto) = read.get(&id) else { continue };
            journal.release(outbox.released(id, *upto));
            if journal.released() >= journal.head() {
                journals.finish(id);
                outbox.end(id);
                read.remove(&id);
                if let Err(error) = journal.remove() {
                    tracing::warn!(%error, "a click journal that was counted is not deleted");
                }
            }
        }
    }

    /// A shard has counted up to other positions than was thought: what it has not is read again.
    fn start_again(&self, journals: &Journals, shard: ShardId, reached: &[(u64, u64)]) {
        let mut outbox = self.outbox.borrow_mut();
        outbox.start_again(shard, reached);
        let again = |journal: Journal| {
            let Some(upto) = self.read.borrow().get(&journal.id()).copied() else { return };
            journal.read(journal.released(), upto, |position, words, text| {
                outbox.add(journal.id(), position, &Visit::of(words), text, Some(shard));
            });
        };
        journals.left().into_iter().chain(journals.current()).for_each(again);
    }
}

/// Sends a shard everything that waits for it, batch after batch; stops at the first that is not answered.
async fn send(seed: &Seed, shared: &Shared, shard: ShardId) {
    if std::mem::replace(&mut shared.sending.borrow_mut()[shard.index()], true) {
        return;
    }
    fault(Task::ClickSend);
    let mut missteps = 0;
    while missteps < MISSTEPS_MAX {
        let batches = shared.outbox.borrow_mut().next(shard, RecordClicks::BATCHES_MAX);
        if batches.is_empty() {
            break;
        }
        let sent = batches.len();
        match seed.links.call(RecordClicks { shard, batches }, TIMEOUT).await {
            Ok(Recorded::Counted(0)) => break,
            Ok(Recorded::Counted(counted)) => {
                missteps = 0;
                let mut outbox = shared.outbox.borrow_mut();
                (0..counted.min(sent)).for_each(|_| shared.delivered.inc_by(outbox.delivered(shard)));
            }
            Ok(Recorded::OutOfStep(reached)) => {
                tracing::debug!(shard = shard.0, "a shard has counted clicks up to elsewhere; going on from there");
                missteps += 1;
                shared.start_again(&seed.journals, shard, &reached);
            }
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
        ctx.run_later(self.seed.interval / TURNS, Self::tick);
        ctx.run_interval(GEO_LOOK, |collector, _| collector.seed.journals.geo().refresh());
    }
}

waypost_runtime::rebuilt!(ClickCollector);

impl Handler<Ask<Flush>> for ClickCollector {
    type Result = ResponseFuture<Answer<Flush>>;

    fn handle(&mut self, ask: Ask<Flush>, _: &mut Self::Context) -> Self::Result {
        let (_, held) = ask.open();
        let (seed, shared) = (self.seed.clone(), self.shared.clone());
        let deadline = held.deadline();
        held.later(async move {
            let mut before = 0;
            loop {
                shared.drain(&seed.journals);
                before = shared.outbox.borrow().waiting().max(before);
                let busy = shared.outbox.borrow().busy();
                if busy.is_empty() || tokio::time::Instant::now() + RETRY_PAUSE >= deadline {
                    break;
                }
                join_all(busy.into_iter().map(|shard| send(&seed, &shared, shard))).await;
                if shared.outbox.borrow().waiting() > 0 {
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
            shared.release(&seed.journals);
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
        slow_reads_max: 0,
        restarts_max: 10,
        restart_window: Duration::from_secs(60),
        backoff_first: Duration::from_millis(10),
        backoff_max: Duration::from_secs(1),
        when_spent: WhenSpent::ExitProcess(70),
        needed: true,
    }
}
