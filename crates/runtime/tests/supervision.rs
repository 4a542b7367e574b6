//! What an actor may rely on: restart after a panic, true bounds, deadlines, metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use actix::prelude::*;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use waypost_protocol::message::{Class, Kind, Retry};
use waypost_protocol::{AnsweredBy, CallError, Request, Service, ServiceError, ShardId, list};
use waypost_runtime::{ActorRef, Answer, Ask, GivenUp, OnExhausted, Spec, Supervision, supervise};
use waypost_telemetry::Metrics;

const SECOND: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(20);

struct Probe;

impl Service for Probe {
    const NAME: &'static str = "probe";
    type Messages = list![Count, Boom, BoomInSpawned, BoomLater, Wait, WaitInBulk, WaitToRead, WaitToReadForLong];
}

macro_rules! message {
    ($name:ident, $reply:ty, $kind:literal, $class:ident) => {
        #[derive(Clone, Serialize, Deserialize)]
        struct $name {
            shard: Option<u32>,
        }

        impl Request for $name {
            type Service = Probe;
            type Reply = $reply;
            const KIND: Kind = Kind($kind);
            const NAME: &'static str = stringify!($name);
            const CLASS: Class = Class::$class;
            const RETRY: Retry = Retry::Never;
            const ANSWERED_BY: AnsweredBy = AnsweredBy::ThisNode;

            fn shard(&self) -> Option<ShardId> {
                self.shard.map(ShardId)
            }
        }

        impl $name {
            fn new() -> Self {
                Self { shard: None }
            }
        }
    };
}

message!(Count, (u32, u32), 1, Interactive);
message!(Boom, (), 2, Interactive);
message!(BoomInSpawned, (), 3, Interactive);
message!(BoomLater, (), 4, Interactive);
message!(Wait, (), 5, Interactive);
message!(WaitInBulk, (), 6, Bulk);
message!(WaitToRead, (), 7, Read);
message!(WaitToReadForLong, (), 8, SlowRead);

/// What the test and all generations of the actor share.
#[derive(Clone, Default)]
struct World {
    generations: Arc<AtomicU32>,
    ticks: Arc<AtomicU32>,
    panics_in_started: Arc<AtomicU32>,
    panics_in_stopped: bool,
    handled_waits: Arc<AtomicU32>,
    gate: Arc<Notify>,
}

struct Worker {
    world: World,
    generation: u32,
    counted: u32,
}

impl Worker {
    fn new(world: World) -> Self {
        let generation = world.generations.fetch_add(1, Ordering::SeqCst) + 1;
        Self { world, generation, counted: 0 }
    }
}

impl Actor for Worker {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let left = &self.world.panics_in_started;
        if left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            panic!("in started");
        }
        ctx.run_interval(Duration::from_millis(1), |worker, _| {
            worker.world.ticks.fetch_add(1, Ordering::SeqCst);
        });
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        assert!(!self.world.panics_in_stopped, "in stopped");
    }
}

waypost_runtime::rebuilt!(Worker);

impl Handler<Ask<Count>> for Worker {
    type Result = Answer<Count>;

    fn handle(&mut self, ask: Ask<Count>, _: &mut Self::Context) -> Answer<Count> {
        self.counted += 1;
        ask.open().1.now(Ok((self.generation, self.counted)))
    }
}

impl Handler<Ask<Boom>> for Worker {
    type Result = Answer<Boom>;

    fn handle(&mut self, ask: Ask<Boom>, _: &mut Self::Context) -> Answer<Boom> {
        let _held = ask.open();
        panic!("in a handler")
    }
}

impl Handler<Ask<BoomInSpawned>> for Worker {
    type Result = Answer<BoomInSpawned>;

    fn handle(&mut self, ask: Ask<BoomInSpawned>, ctx: &mut Self::Context) -> Answer<BoomInSpawned> {
        ctx.spawn(async { panic!("in a future of the actor") }.into_actor(self));
        ask.open().1.now(Ok(()))
    }
}

impl Handler<Ask<BoomLater>> for Worker {
    type Result = ResponseFuture<Answer<BoomLater>>;

    fn handle(&mut self, ask: Ask<BoomLater>, _: &mut Self::Context) -> Self::Result {
        ask.open().1.later(async { panic!("in the future of an answer") })
    }
}

macro_rules! waits {
    ($message:ty) => {
        impl Handler<Ask<$message>> for Worker {
            type Result = ResponseFuture<Answer<$message>>;

            fn handle(&mut self, ask: Ask<$message>, _: &mut Self::Context) -> Self::Result {
                self.world.handled_waits.fetch_add(1, Ordering::SeqCst);
                let gate = self.world.gate.clone();
                ask.open().1.later(async move {
                    gate.notified().await;
                    Ok(())
                })
            }
        }
    };
}

waits!(Wait);
waits!(WaitToRead);
waits!(WaitToReadForLong);

impl Handler<Ask<WaitInBulk>> for Worker {
    type Result = Answer<WaitInBulk>;

    fn handle(&mut self, ask: Ask<WaitInBulk>, _: &mut Self::Context) -> Answer<WaitInBulk> {
        ask.open().1.now(Ok(()))
    }
}

fn spec() -> Spec {
    Spec {
        name: "probe",
        inflight_max: 8,
        slow_reads_max: 2,
        restarts_max: 3,
        restart_window: Duration::from_secs(60),
        backoff_first: Duration::from_millis(1),
        backoff_max: Duration::from_millis(5),
        on_exhausted: OnExhausted::Stop,
        needed: true,
    }
}

async fn start(spec: Spec, world: &World, metrics: &Metrics) -> ActorRef<Probe> {
    let world = world.clone();
    supervise(spec, &Supervision::new(metrics), &Arbiter::current(), move || Worker::new(world.clone())).await
}

async fn started() -> (ActorRef<Probe>, World, Metrics) {
    let (world, metrics) = (World::default(), Metrics::new());
    (start(spec(), &world, &metrics).await, world, metrics)
}

/// Waits until something holds.
async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "it never comes to hold");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

const UNAVAILABLE: CallError = CallError::Unavailable { service: "probe" };

#[actix::test]
async fn a_panic_in_a_handler_rebuilds_the_actor_and_keeps_the_queued_messages() {
    let (probe, _, metrics) = started().await;
    assert_eq!(probe.call(Count::new(), SECOND).await, Ok((1, 1)));
    let (boom, one, two) = futures_util::join!(
        probe.call(Boom::new(), PATIENCE),
        probe.call(Count::new(), PATIENCE),
        probe.call(Count::new(), PATIENCE),
    );
    assert_eq!(boom, Err(UNAVAILABLE));
    assert_eq!((one, two), (Ok((2, 1)), Ok((2, 2))), "a new generation that remembers nothing");
    let text = metrics.render();
    assert!(text.contains("waypost_actor_restarts_total{actor=\"probe\",cause=\"panic\"} 1"), "{text}");
    assert!(
        text.contains("waypost_actor_handled_total{actor=\"probe\",message=\"Boom\",outcome=\"lost\"} 1"),
        "{text}"
    );
    assert!(text.contains("waypost_actor_inflight{actor=\"probe\"} 0"), "{text}");
    assert!(probe.drain(PATIENCE).await, "the permit of the lost message is not free");
}

#[actix::test]
async fn a_panic_in_started_is_tried_again() {
    let world = World::default();
    world.panics_in_started.store(2, Ordering::SeqCst);
    let probe = start(spec(), &world, &Metrics::new()).await;
    assert_eq!(probe.call(Count::new(), PATIENCE).await, Ok((3, 1)));
}

#[actix::test]
async fn a_panic_in_a_future_of_the_actor_rebuilds_it() {
    let (probe, _, _) = started().await;
    assert_eq!(probe.call(BoomInSpawned::new(), SECOND).await, Ok(()));
    until(async || probe.call(Count::new(), PATIENCE).await.unwrap().0 == 2).await;
}

#[actix::test]
async fn a_panic_in_the_future_of_an_answer_rebuilds_the_actor() {
    let (probe, _, metrics) = started().await;
    let answer = probe.call(BoomLater::new(), SECOND).await;
    assert!(matches!(answer, Err(CallError::Service(ServiceError::OutcomeUnknown(_)))), "{answer:?}");
    until(async || probe.call(Count::new(), PATIENCE).await.unwrap().0 == 2).await;
    let text = metrics.render();
    assert!(text.contains("waypost_actor_restarts_total{actor=\"probe\",cause=\"panic\"} 1"), "{text}");
}

#[actix::test]
async fn futures_of_one_life_that_panic_together_cost_one_restart() {
    let (probe, world, metrics) = started().await;
    // More than there are restarts.
    let booms = (0..8).map(|_| probe.call(BoomLater::new(), PATIENCE));
    assert!(futures_util::future::join_all(booms).await.iter().all(Result::is_err));
    until(async || probe.call(Count::new(), PATIENCE).await.unwrap().0 == 2).await;
    assert_eq!(world.generations.load(Ordering::SeqCst), 2);
    assert!(metrics.render().contains("waypost_actor_restarts_total{actor=\"probe\",cause=\"panic\"} 1"));
}

#[actix::test]
async fn futures_of_answers_that_panic_again_and_again_spend_the_restarts() {
    let metrics = Metrics::new();
    let supervision = Supervision::new(&metrics);
    let world = World::default();
    let probe = supervise(spec(), &supervision, &Arbiter::current(), move || Worker::new(world.clone())).await;
    assert_eq!(supervision.given_up(), []);
    for generation in 1..=4 {
        until(async || probe.call(Count::new(), PATIENCE).await.is_ok_and(|(seen, _)| seen == generation)).await;
        assert!(probe.call(BoomLater::new(), PATIENCE).await.is_err());
    }
    until(async || probe.call(Count::new(), PATIENCE).await == Err(UNAVAILABLE)).await;
    assert_eq!(supervision.given_up(), [GivenUp { actor: "probe", needed: true }]);
    assert!(metrics.render().contains("waypost_actor_given_up{actor=\"probe\"} 1"));
}

#[actix::test]
async fn timers_that_started_armed_run_again_after_a_restart() {
    let (probe, world, _) = started().await;
    until(async || world.ticks.load(Ordering::SeqCst) > 2).await;
    assert_eq!(probe.call(Boom::new(), PATIENCE).await, Err(UNAVAILABLE));
    assert_eq!(probe.call(Count::new(), PATIENCE).await.unwrap().0, 2);
    let seen = world.ticks.load(Ordering::SeqCst);
    until(async || world.ticks.load(Ordering::SeqCst) > seen + 2).await;
}

#[actix::test]
async fn an_actor_whose_restarts_are_spent_stays_down() {
    let (probe, _, metrics) = started().await;
    for _ in 0..4 {
        assert_eq!(probe.call(Boom::new(), PATIENCE).await, Err(UNAVAILABLE));
    }
    assert_eq!(probe.call(Count::new(), PATIENCE).await, Err(UNAVAILABLE));
    assert!(metrics.render().contains("waypost_actor_up{actor=\"probe\"} 0"));
}

#[test]
fn a_process_exits_when_the_policy_says_so() {
    const CHILD: &str = "WAYPOST_TEST_EXIT_CHILD";
    if std::env::var_os(CHILD).is_some() {
        actix::System::new().block_on(async {
            let spec = Spec { restarts_max: 1, on_exhausted: OnExhausted::ExitProcess, ..spec() };
            let probe = start(spec, &World::default(), &Metrics::new()).await;
            for _ in 0..2 {
                let _ = probe.call(Boom::new(), PATIENCE).await;
            }
            let _ = probe.call(Count::new(), PATIENCE).await;
        });
        std::process::exit(1);
    }
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_process_exits_when_the_policy_says_so"])
        .env(CHILD, "1")
        .output()
        .unwrap()
        .status;
    assert_eq!(status.code(), Some(70));
}

#[actix::test]
async fn an_actor_that_is_stopped_on_purpose_is_not_started_again() {
    let (probe, world, metrics) = started().await;
    assert_eq!(probe.call(Count::new(), SECOND).await, Ok((1, 1)));
    probe.stop();
    until(async || metrics.render().contains("waypost_actor_up{actor=\"probe\"} 0")).await;
    assert_eq!(probe.call(Count::new(), SECOND).await, Err(UNAVAILABLE));
    assert_eq!(world.generations.load(Ordering::SeqCst), 1);
}

#[actix::test]
async fn a_panic_in_stopped_takes_nothing_else_with_it() {
    let world = World { panics_in_stopped: true, ..World::default() };
    let metrics = Metrics::new();
    let probe = start(spec(), &world, &metrics).await;
    assert_eq!(probe.call(Count::new(), SECOND).await, Ok((1, 1)));
    probe.stop();
    until(async || metrics.render().contains("waypost_actor_up{actor=\"probe\"} 0")).await;
    let other = start(spec(), &World::default(), &metrics).await;
    assert_eq!(other.call(Count::new(), SECOND).await, Ok((1, 1)));
}

#[actix::test]
async fn reads_that_take_long_fill_places_of_their_own_only() {
    let (probe, world, _) = started().await;
    let long = |_| {
        let probe = probe.clone();
        actix::spawn(async move { probe.call(WaitToReadForLong::new(), PATIENCE).await })
    };
    let calls: Vec<_> = (0..2).map(long).collect();
    until(async || world.handled_waits.load(Ordering::SeqCst) == 2).await;
    let refused = probe.call(WaitToReadForLong::new(), PATIENCE).await;
    assert_eq!(refused, Err(CallError::Overloaded { service: "probe" }));
    // Neither a write nor a short read is refused because of them.
    assert_eq!(probe.call(Count::new(), PATIENCE).await, Ok((1, 1)));
    let short = {
        let probe = probe.clone();
        actix::spawn(async move { probe.call(WaitToRead::new(), PATIENCE).await })
    };
    until(async || world.handled_waits.load(Ordering::SeqCst) == 3).await;
    // A stop waits for them as for others.
    let drained = {
        let probe = probe.clone();
        actix::spawn(async move { probe.drain(PATIENCE).await })
    };
    until(async || probe.call(Count::new(), SECOND).await == Err(UNAVAILABLE)).await;
    world.gate.notify_waiters();
    for call in calls.into_iter().chain([short]) {
        assert_eq!(call.await.unwrap(), Ok(()));
    }
    assert!(drained.await.unwrap());
}

#[actix::test]
async fn an_actor_that_is_full_refuses_at_once_and_takes_again_when_there_is_a_place() {
    let (probe, world, metrics) = started().await;
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let probe = probe.clone();
            actix::spawn(async move { probe.call(Wait::new(), PATIENCE).await })
        })
        .collect();
    until(async || world.handled_waits.load(Ordering::SeqCst) == 8).await;
    let refused = probe.call(Count::new(), PATIENCE).await;
    assert_eq!(refused, Err(CallError::Overloaded { service: "probe" }));
    // What may wait for a permit does, until its deadline.
    let late = probe.call(WaitInBulk::new(), Duration::from_millis(20)).await;
    assert_eq!(late, Err(CallError::Deadline { service: "probe" }));
    let bulk = {
        let probe = probe.clone();
        actix::spawn(async move { probe.call(WaitInBulk::new(), PATIENCE).await })
    };
    world.gate.notify_waiters();
    for call in calls {
        assert_eq!(call.await.unwrap(), Ok(()));
    }
    assert_eq!(bulk.await.unwrap(), Ok(()));
    assert_eq!(probe.call(Count::new(), SECOND).await, Ok((1, 1)));
    let text = metrics.render();
    assert!(text.contains("waypost_actor_rejected_total{actor=\"probe\",reason=\"overloaded\"} 1"), "{text}");
    assert!(text.contains("waypost_actor_rejected_total{actor=\"probe\",reason=\"deadline\"} 1"), "{text}");
}

#[actix::test]
async fn a_call_ends_at_its_deadline_and_its_work_goes_on() {
    let (probe, world, _) = started().await;
    let late = probe.call(Wait::new(), Duration::from_millis(20)).await;
    assert_eq!(late, Err(CallError::Deadline { service: "probe" }));
    assert!(late.unwrap_err().outcome_unknown());
    assert!(!probe.drain(Duration::from_millis(20)).await, "the work still holds its permit");
    world.gate.notify_waiters();
    assert!(probe.drain(PATIENCE).await);
}

#[actix::test]
async fn a_drained_actor_takes_nothing_more() {
    let (probe, _, _) = started().await;
    assert!(probe.drain(PATIENCE).await);
    assert_eq!(probe.call(Count::new(), SECOND).await, Err(UNAVAILABLE));
}

#[actix::test]
async fn a_message_goes_to_the_child_of_its_shard() {
    let metrics = Metrics::new();
    let worlds = [World::default(), World::default()];
    worlds[1].generations.store(10, Ordering::SeqCst);
    let mut children = Vec::new();
    for world in &worlds {
        children.push(start(spec(), world, &metrics).await);
    }
    let probe = ActorRef::sharded(children);
    let ask = async |shard| probe.call(Count { shard: Some(shard) }, SECOND).await;
    assert_eq!((ask(0).await, ask(1).await), (Ok((1, 1)), Ok((11, 1))));
    assert_eq!(ask(2).await, Err(CallError::Service(ServiceError::NotHere { leader: None })));
}
