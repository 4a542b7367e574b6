//! What is done again when it broke off: the messages that say so, until their deadline, and not while the service stops.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use actix::prelude::*;
use serde::{Deserialize, Serialize};
use waypost_protocol::message::{Class, Kind, Retry};
use waypost_protocol::{AnsweredBy, Request, Service, ServiceError, list};
use waypost_runtime::{ActorRef, Answer, Ask, OnExhausted, Spec, Supervision, supervise};
use waypost_telemetry::Metrics;

const PATIENCE: Duration = Duration::from_secs(20);

struct Maker;

impl Service for Maker {
    const NAME: &'static str = "maker";
    type Messages = list![Make];
}

/// Breaks off until it was sent `breaks` times.
#[derive(Clone, Serialize, Deserialize)]
struct Make {
    breaks: u32,
    panics: bool,
    again: bool,
}

impl Request for Make {
    type Service = Maker;
    type Reply = u32;
    const KIND: Kind = Kind(1);
    const NAME: &'static str = "make";
    const CLASS: Class = Class::Interactive;
    const RETRY: Retry = Retry::AfterBreak;
    const ANSWERED_BY: AnsweredBy = AnsweredBy::ThisNode;

    fn retry(&self) -> Retry {
        if self.again { Retry::AfterBreak } else { Retry::Never }
    }
}

struct MakerActor {
    sent: Arc<AtomicU32>,
}

impl Actor for MakerActor {
    type Context = Context<Self>;
}

waypost_runtime::rebuilt!(MakerActor);

impl Handler<Ask<Make>> for MakerActor {
    type Result = Answer<Make>;

    fn handle(&mut self, ask: Ask<Make>, _: &mut Self::Context) -> Answer<Make> {
        let (make, responder) = ask.open();
        let sent = self.sent.fetch_add(1, Ordering::SeqCst) + 1;
        assert!(sent > make.breaks || !make.panics, "breaks off");
        responder.now(match sent > make.breaks {
            true => Ok(sent),
            false => Err(ServiceError::OutcomeUnknown("the leader has changed".to_owned())),
        })
    }
}

async fn maker() -> (ActorRef<Maker>, Arc<AtomicU32>) {
    let spec = Spec {
        name: "maker",
        inflight_max: 8,
        slow_reads_max: 0,
        restarts_max: 100,
        restart_window: Duration::from_secs(60),
        backoff_first: Duration::from_millis(1),
        backoff_max: Duration::from_millis(1),
        on_exhausted: OnExhausted::Stop,
        needed: true,
    };
    let sent = Arc::new(AtomicU32::new(0));
    let seed = sent.clone();
    let supervision = Supervision::new(&Metrics::new());
    let factory = move || MakerActor { sent: seed.clone() };
    (supervise(spec, &supervision, &Arbiter::current(), factory).await, sent)
}

#[actix::test]
async fn what_broke_off_is_done_again() {
    for panics in [false, true] {
        let (maker, _) = maker().await;
        let made = maker.call(Make { breaks: 2, panics, again: true }, PATIENCE).await;
        assert_eq!(made, Ok(3), "panics: {panics}");
    }
}

#[actix::test]
async fn what_must_not_be_done_twice_is_sent_once_and_its_outcome_is_unknown() {
    for panics in [false, true] {
        let (maker, sent) = maker().await;
        let error = maker.call(Make { breaks: 1, panics, again: false }, PATIENCE).await.unwrap_err();
        assert!(error.outcome_unknown(), "{error}");
        assert_eq!(sent.load(Ordering::SeqCst), 1, "panics: {panics}");
    }
}

#[actix::test]
async fn it_is_done_again_until_its_deadline_and_not_longer() {
    let (maker, sent) = maker().await;
    let make = Make { breaks: u32::MAX, panics: false, again: true };
    let error = maker.call(make, Duration::from_millis(700)).await.unwrap_err();
    assert!(error.outcome_unknown(), "{error}");
    let sent = sent.load(Ordering::SeqCst);
    assert!(sent <= 8, "it was sent {sent} times: there is a pause of a tenth of a second before each");
}

#[actix::test]
async fn a_service_that_stops_does_nothing_again() {
    let (maker, sent) = maker().await;
    let make = Make { breaks: u32::MAX, panics: false, again: true };
    let calling = maker.call(make, PATIENCE);
    let stopping = async {
        while sent.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(maker.drain(PATIENCE).await);
        sent.load(Ordering::SeqCst)
    };
    let (answer, before) = futures_util::join!(calling, stopping);
    assert!(answer.unwrap_err().outcome_unknown());
    assert_eq!(sent.load(Ordering::SeqCst), before, "nothing reached the actor any more");
}
