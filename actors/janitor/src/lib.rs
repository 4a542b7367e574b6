//! Janitor: removes expired links, and looks for damage.
//!
//! It holds no data. A round asks each shard for a bounded piece of maintenance: it removes expired links after their
//! retention, and verifies the checksums of some records, so that the whole store is read again and again in small steps.
//! Every round can be repeated. While the clock is in doubt nothing is removed. (Checkpoints reclaim log space; the groups write them by themselves.)

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use waypost_protocol::messages::{LinkStore, Upkeep};
use waypost_protocol::{ShardId, UnixMs};
use waypost_runtime::{ActorRef, OnExhausted, Spec};
use waypost_tasks::{Task, fault};
use waypost_telemetry::{Counter, Metrics};

/// The most expired links removed from one shard in one round: one log entry.
const EXPIRED_MAX: u32 = 128;

/// The number of records of one shard that are verified in one round. At a round a second this is at most 4 MB/s over 16 shards, and less
/// than a hundredth of a core.
const SCRUB_MAX: u32 = 16;

/// How long a shard may take for a round.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What the actor is built from, and rebuilt after a panic.
#[derive(Clone)]
pub struct Seed {
    /// The LinkStore service.
    pub links: ActorRef<LinkStore>,
    /// The number of shards.
    pub shards: u32,
    /// How long an expired link answers `410` before it is removed, in milliseconds.
    pub expired_retention_ms: u64,
    /// The time between two rounds.
    pub interval: Duration,
    /// The time; `None` while the clock is in doubt, and nothing may be removed for its age.
    pub trusted_now: Arc<dyn Fn() -> Option<UnixMs> + Send + Sync>,
    /// The registry for its metrics.
    pub metrics: Metrics,
}

/// The actor.
pub struct JanitorActor {
    shared: Rc<Shared>,
}

struct Shared {
    seed: Seed,
    /// The position at which each shard's scrub continues.
    cursors: RefCell<Vec<Vec<u8>>>,
    running: Cell<bool>,
    expired: Counter,
    scrubbed: Counter,
}

impl JanitorActor {
    /// A Janitor that begins its scrub at the start of each shard.
    pub fn new(seed: Seed) -> Self {
        let metrics = seed.metrics.clone();
        let shared = Shared {
            cursors: RefCell::new(vec![Vec::new(); seed.shards as usize]),
            running: Cell::new(false),
            expired: metrics.counter("waypost_expired_removed_total", "Expired links removed"),
            scrubbed: metrics.counter("waypost_scrubbed_records_total", "Stored records whose checksum was verified"),
            seed,
        };
        Self { shared: Rc::new(shared) }
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        let shared = self.shared.clone();
        // If a round takes longer than the interval, the next one is skipped.
        if !shared.running.replace(true) {
            let round = async move {
                round(&shared).await;
                shared.running.set(false);
            };
            // This future is part of the actor: a panic in it rebuilds the actor, so the next round is not blocked forever.
            ctx.spawn(round.into_actor(self));
        }
        ctx.run_later(self.shared.seed.interval, Self::tick);
    }
}

async fn round(shared: &Shared) {
    fault(Task::UpkeepRound);
    for shard in (0..shared.seed.shards).map(ShardId) {
        // The clock is asked for each shard, because it can jump between two of them. At time 0 no link has expired.
        let now = (shared.seed.trusted_now)().unwrap_or_default();
        let request = Upkeep {
            shard,
            expired_before: UnixMs(now.0.saturating_sub(shared.seed.expired_retention_ms)),
            expired_max: EXPIRED_MAX,
            scrub_from: shared.cursors.borrow()[shard.index()].clone(),
            scrub_max: SCRUB_MAX,
        };
        let done = match shared.seed.links.call(request, TIMEOUT).await {
            Ok(done) => done,
            // A failing shard must not keep the others from their maintenance.
            Err(error) => {
                tracing::warn!(shard = shard.0, %error, "the maintenance of a shard failed");
                continue;
            }
        };
        for damage in &done.damaged {
            // The store has failed because of this, and the process stops (docs/adr/0015).
            tracing::error!(shard = shard.0, damage, "the scrub found a damaged record");
        }
        shared.expired.inc_by(u64::from(done.expired));
        shared.scrubbed.inc_by(u64::from(done.scrubbed));
        shared.cursors.borrow_mut()[shard.index()] = done.scrub_next;
    }
}

impl Actor for JanitorActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_later(self.shared.seed.interval, Self::tick);
    }
}

waypost_runtime::rebuilt!(JanitorActor);

/// Bounds and restart policy. Every round is idempotent, so the actor is restarted with growing pauses. Requests do not need it, so
/// a node whose Janitor stays down is still ready.
pub fn spec() -> Spec {
    Spec {
        name: "janitor",
        inflight_max: 4,
        slow_reads_max: 0,
        restarts_max: 10,
        restart_window: Duration::from_secs(600),
        backoff_first: Duration::from_millis(100),
        backoff_max: Duration::from_secs(30),
        on_exhausted: OnExhausted::Stop,
        needed: false,
    }
}
