//! A shard that accepts no clicks for long, and processes that end at any moment.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix::prelude::*;
use waypost_click_counter::{ClickCounterActor, Geo, JournalOptions, Journals, Recorder, Seed, Visitor};
use waypost_protocol::clicks::ClickBatch;
use waypost_protocol::messages::{ClickCounter, EndJournals, Flush, LinkStore, RecordClicks, Recorded};
use waypost_protocol::{KeyHash, NodeId, ServiceError, ShardId, UnixMs, list};
use waypost_runtime::{ActorRef, Answer, Ask, OnExhausted, Spec, Supervision, supervise, supervise_some};
use waypost_telemetry::Metrics;

const SHARDS: u32 = 4;
const SLOTS: u64 = 8192;

/// The number of visited links; all are visited equally often.
const LINKS: u64 = 20_000;

/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(60);

/// The state of a shard, as `ShardMachine` has it.
#[derive(Default)]
struct Known {
    positions: HashMap<u64, u64>,
    counted: u64,
    /// Journals that have ended, according to messages.
    ended: HashSet<u64>,
    down: bool,
    /// Whether it counts, but its answer is lost.
    mute: bool,
}

impl Known {
    fn record(&mut self, batch: &ClickBatch) -> Result<(), Vec<(u64, u64)>> {
        assert!(
            batch.spans.iter().all(|span| !self.ended.contains(&span.journal)),
            "a journal that has ended comes again"
        );
        let reached = |journal: u64| self.positions.get(&journal).copied().unwrap_or(0);
        if batch.spans.iter().all(|span| reached(span.journal) == span.upto) {
            return Ok(());
        }
        if batch.spans.iter().any(|span| reached(span.journal) != span.from) {
            return Err(batch.spans.iter().map(|span| (span.journal, reached(span.journal))).collect());
        }
        self.positions.extend(batch.spans.iter().map(|span| (span.journal, span.upto)));
        self.counted +=
            batch.deltas.iter().flat_map(|delta| &delta.tallies).map(|tally| u64::from(tally.count)).sum::<u64>();
        Ok(())
    }
}

struct Shard {
    number: ShardId,
    known: Arc<Mutex<Known>>,
}

impl Actor for Shard {
    type Context = Context<Self>;
}

waypost_runtime::rebuilt!(Shard);

impl Handler<Ask<RecordClicks>> for Shard {
    type Result = Answer<RecordClicks>;

    fn handle(&mut self, ask: Ask<RecordClicks>, _: &mut Self::Context) -> Self::Result {
        let (request, responder) = ask.open();
        let mut known = self.known.lock().unwrap();
        if known.down {
            return responder.now(Err(ServiceError::Unavailable("there is no leader".to_owned())));
        }
        let mut counted = 0;
        for batch in &request.batches {
            assert!(batch.deltas.iter().all(|delta| delta.link.shard(SHARDS) == self.number));
            match known.record(batch) {
                Ok(()) => counted += 1,
                Err(_) if counted > 0 => break,
                Err(reached) => return responder.now(Ok(Recorded::OutOfStep(reached))),
            }
        }
        match known.mute {
            true => responder.now(Err(ServiceError::OutcomeUnknown("the answer is lost".to_owned()))),
            false => responder.now(Ok(Recorded::Counted(counted))),
        }
    }
}

impl Handler<Ask<EndJournals>> for Shard {
    type Result = Answer<EndJournals>;

    fn handle(&mut self, ask: Ask<EndJournals>, _: &mut Self::Context) -> Self::Result {
        let (request, responder) = ask.open();
        let mut known = self.known.lock().unwrap();
        if known.down {
            return responder.now(Err(ServiceError::Unavailable("there is no leader".to_owned())));
        }
        known.positions.retain(|journal, _| !request.journals.contains(journal));
        known.ended.extend(request.journals);
        responder.now(if known.mute {
            Err(ServiceError::OutcomeUnknown("the answer is lost".to_owned()))
        } else {
            Ok(())
        })
    }
}

/// What outlives a process: the shards, and the number of recorded visits.
#[derive(Default)]
struct World {
    shards: Vec<Arc<Mutex<Known>>>,
    visits: u64,
    of_shard: [u64; SHARDS as usize],
    read_only: Arc<AtomicBool>,
}

impl World {
    fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Arc::default()).collect(), ..Self::default() }
    }

    fn set(&self, shard: usize, change: impl FnOnce(&mut Known)) {
        change(&mut self.shards[shard].lock().unwrap());
    }

    fn counted(&self, shard: usize) -> u64 {
        self.shards[shard].lock().unwrap().counted
    }
}

/// One process.
struct Life {
    journals: Journals,
    recorder: Recorder,
    clicks: ActorRef<ClickCounter>,
    metrics: Metrics,
}

/// Runs a process to its end, which comes without warning: everything in progress is dropped.
fn life(dir: &Path, world: &mut World, spill_bytes: u64, live: impl AsyncFnOnce(&Life, &mut World)) {
    actix::System::new().block_on(async {
        let metrics = Metrics::new();
        let supervision = Supervision::new(&metrics);
        let mut children = Vec::new();
        for (number, known) in world.shards.iter().enumerate() {
            let (number, known) = (ShardId(number as u32), known.clone());
            let spec = Spec {
                name: "link_store",
                inflight_max: 64,
                slow_reads_max: 0,
                restarts_max: 1,
                restart_window: Duration::from_secs(1),
                backoff_first: Duration::from_millis(1),
                backoff_max: Duration::from_millis(1),
                on_exhausted: OnExhausted::Stop,
                needed: true,
            };
            let shard = move || Shard { number, known: known.clone() };
            let handle = Arbiter::current();
            children.push(
                supervise_some::<list![RecordClicks, EndJournals], LinkStore, Shard>(
                    spec,
                    &supervision,
                    &handle,
                    shard,
                )
                .await,
            );
        }
        let options = JournalOptions { directory: dir.to_owned(), slots: SLOTS, visitor_secret: [7; 32], record: true };
        let journals = Journals::open(options, Arc::new(Geo::open(None).unwrap()), &metrics).unwrap();
        let recorder = journals.recorder().unwrap();
        let seed = Seed {
            journals: journals.clone(),
            links: ActorRef::sharded(children),
            node: NodeId(1),
            shards: SHARDS,
            interval: Duration::from_millis(20),
            spill_bytes,
            is_level_one: Arc::new(|| true),
            read_only: world.read_only.clone(),
            metrics: metrics.clone(),
        };
        let clicks = supervise(waypost_click_counter::spec(), &supervision, &Arbiter::current(), move || {
            ClickCounterActor::new(seed.clone())
        })
        .await;
        live(&Life { journals, recorder, clicks, metrics }, world).await;
    });
}

impl Life {
    /// Records visits, at most as many at a time as a healthy journal holds. After each wave, waits until the shards that are up
    /// have theirs. One whose answers are lost may lack some: it is sent the same batches again, and no more than one call carries.
    async fn visit(&self, world: &mut World, count: u64) {
        let wave = SLOTS / 4;
        for done in (0..count).step_by(wave as usize) {
            for _ in 0..wave.min(count - done) {
                let link = KeyHash((world.visits % LINKS).wrapping_mul(0x9E37_79B9_7F4A_7C15));
                self.recorder.visit(link, UnixMs(1_790_000_000_000), &Visitor::default());
                world.visits += 1;
                world.of_shard[link.shard(SHARDS).index()] += 1;
            }
            self.until(world, |world, shard| {
                let known = world.shards[shard].lock().unwrap();
                known.down || known.mute || known.counted >= world.of_shard[shard]
            })
            .await;
            // As the thread does that syncs the journals; after that, released slots can be overwritten.
            self.journals.sync().unwrap();
        }
    }

    async fn until(&self, world: &World, of_each_shard: impl Fn(&World, usize) -> bool) {
        let since = Instant::now();
        while !(0..SHARDS as usize).all(|shard| of_each_shard(world, shard)) {
            let counted: Vec<_> = (0..SHARDS as usize).map(|shard| world.counted(shard)).collect();
            assert!(since.elapsed() < PATIENCE, "counted {counted:?} of {:?}, lost {}", world.of_shard, self.lost());
            tokio::time::sleep(Duration::from_millis(5)).await;
            self.journals.sync().unwrap();
        }
    }

    fn metric(&self, name: &str) -> u64 {
        let text = self.metrics.render();
        let line = text.lines().find(|line| line.starts_with(name) && line.as_bytes()[name.len()] == b' ').unwrap();
        line[name.len() + 1..].parse::<f64>().unwrap() as u64
    }

    fn lost(&self) -> u64 {
        self.metric("waypost_clicks_lost_total")
    }
}

fn files(dir: &Path, extension: &str) -> usize {
    let of = |path: std::path::PathBuf| path.extension().is_some_and(|found| found == extension);
    std::fs::read_dir(dir).unwrap().filter(|entry| of(entry.as_ref().unwrap().path())).count()
}

#[test]
fn a_shard_that_takes_no_clicks_holds_up_no_other_and_has_all_of_its_own_later() {
    let (dir, mut world) = (tempfile::tempdir().unwrap(), World::new());
    world.set(0, |shard| shard.down = true);
    life(dir.path(), &mut world, 64 << 20, async |life, world| {
        // Twelve times the capacity of the journal.
        life.visit(world, 12 * SLOTS).await;
        assert_eq!((life.lost(), world.counted(0)), (0, 0));
        assert!(life.metric("waypost_clicks_spilled") > 0);
        world.set(0, |shard| shard.down = false);
        life.until(world, |world, shard| world.counted(shard) >= world.of_shard[shard]).await;
        life.visit(world, 100).await;
        let flushed = life.clicks.call(Flush { last: true }, PATIENCE).await.unwrap();
        assert_eq!(flushed.waiting, 0);
    });
    for shard in 0..SHARDS as usize {
        assert_eq!(world.counted(shard), world.of_shard[shard]);
    }
    assert_eq!((files(dir.path(), "spill"), files(dir.path(), "clicks")), (0, 0));
    assert!(world.shards.iter().all(|shard| shard.lock().unwrap().positions.is_empty()), "positions are left for ever");
}

#[test]
fn clicks_are_counted_once_through_lives_that_end_while_a_shard_is_down() {
    let (dir, mut world) = (tempfile::tempdir().unwrap(), World::new());
    for round in 0..10u64 {
        // One shard is away for some processes, then another; before and after, answers are lost.
        let (away, mute) = ((round / 4) as usize, (round / 2 % 4) as usize);
        for shard in 0..SHARDS as usize {
            world.set(shard, |known| (known.down, known.mute) = (shard == away && round % 4 != 3, shard == mute));
        }
        life(dir.path(), &mut world, 64 << 20, async |life, world| {
            let up = |world: &World, shard: usize| {
                let known = world.shards[shard].lock().unwrap();
                known.down || known.mute || known.counted >= world.of_shard[shard]
            };
            if round % 2 == 0 {
                life.until(world, up).await;
            }
            world.set(mute, |shard| shard.mute = round % 3 == 0);
            life.visit(world, SLOTS * (1 + round % 3)).await;
            assert_eq!(life.lost(), 0);
            // This process ends while the journal is nearly half full of clicks that no shard has counted.
            for _ in 0..SLOTS / 3 {
                let link = KeyHash((world.visits % LINKS).wrapping_mul(0x9E37_79B9_7F4A_7C15));
                life.recorder.visit(link, UnixMs(1_790_000_000_000), &Visitor::default());
                world.visits += 1;
                world.of_shard[link.shard(SHARDS).index()] += 1;
            }
            tokio::time::sleep(Duration::from_millis(7 * round)).await;
            assert_eq!(life.lost(), 0);
        });
        for shard in 0..SHARDS as usize {
            assert!(world.counted(shard) <= world.of_shard[shard], "shard {shard} in round {round}");
        }
    }
    for shard in 0..SHARDS as usize {
        world.set(shard, |known| (known.down, known.mute) = (false, false));
    }
    life(dir.path(), &mut world, 64 << 20, async |life, world| {
        life.until(world, |world, shard| world.counted(shard) >= world.of_shard[shard]).await;
        assert_eq!(life.clicks.call(Flush { last: true }, PATIENCE).await.unwrap().waiting, 0);
    });
    for shard in 0..SHARDS as usize {
        assert_eq!(world.counted(shard), world.of_shard[shard], "shard {shard}");
    }
    assert_eq!((files(dir.path(), "spill"), files(dir.path(), "clicks")), (0, 0));
    assert!(world.shards.iter().all(|shard| shard.lock().unwrap().positions.is_empty()), "positions are left for ever");
}

#[test]
fn only_the_clicks_of_the_shard_that_takes_none_are_lost_when_its_spill_is_full() {
    for read_only in [false, true] {
        let (dir, mut world) = (tempfile::tempdir().unwrap(), World::new());
        world.set(0, |shard| shard.down = true);
        world.read_only.store(read_only, Ordering::Relaxed);
        life(dir.path(), &mut world, 100 << 10, async |life, world| {
            life.visit(world, 30 * SLOTS).await;
            let lost = life.lost();
            assert!(lost > 0 && lost < world.of_shard[0], "{lost}");
            world.set(0, |shard| shard.down = false);
            life.until(world, |world, shard| shard > 0 || world.counted(0) + life.lost() >= world.of_shard[0]).await;
            assert_eq!(life.clicks.call(Flush { last: true }, PATIENCE).await.unwrap().waiting, 0);
            assert_eq!(world.counted(0) + life.lost(), world.of_shard[0]);
        });
        for shard in 1..SHARDS as usize {
            assert_eq!(world.counted(shard), world.of_shard[shard]);
        }
    }
}
