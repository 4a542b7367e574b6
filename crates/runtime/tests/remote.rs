//! Where a call goes that another node has to answer.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use waypost_protocol::message::{Class, Kind, Retry};
use waypost_protocol::peer::{BoxFuture, Lane, PeerError, Peers};
use waypost_protocol::{AnsweredBy, CallError, NodeId, Request, Service, ServiceError, ShardId, list};
use waypost_runtime::{ActorRef, Destination, Remote, Router};

const PATIENCE: Duration = Duration::from_secs(2);

struct Store;

impl Service for Store {
    const NAME: &'static str = "store";
    type Messages = list![Look, Put, Find, Make];
}

macro_rules! message {
    ($name:ident, $kind:literal, $retry:ident, $by:ident) => {
        #[derive(Clone, Serialize, Deserialize)]
        struct $name;

        impl Request for $name {
            type Service = Store;
            type Reply = u64;
            const KIND: Kind = Kind($kind);
            const NAME: &'static str = stringify!($name);
            const CLASS: Class = Class::Read;
            const RETRY: Retry = Retry::$retry;
            const ANSWERED_BY: AnsweredBy = AnsweredBy::$by;

            fn shard(&self) -> Option<ShardId> {
                Some(ShardId(3))
            }
        }
    };
}

message!(Look, 1, Always, AnyReplica);

/// Says whether it was left to the leader.
#[derive(Clone, Serialize, Deserialize)]
struct Find {
    leader: bool,
}

impl Request for Find {
    type Service = Store;
    type Reply = u64;
    const KIND: Kind = Kind(3);
    const NAME: &'static str = "Find";
    const CLASS: Class = Class::Read;
    const RETRY: Retry = Retry::Always;
    const ANSWERED_BY: AnsweredBy = AnsweredBy::AnyReplica;

    fn ask_leader(&mut self) {
        self.leader = true;
    }
}
message!(Put, 2, Never, Leader);
message!(Make, 4, AfterBreak, Leader);

/// What a node does with a message.
#[derive(Clone, Copy)]
enum Does {
    Answers,
    Names(u64),
    Down,
    Hangs,
    Loses,
}

/// Nodes 1.., in the order in which the router would ask them; each with what it does.
struct World {
    nodes: Vec<Does>,
    asked: Mutex<Vec<u64>>,
    /// The last byte of each message.
    told: Mutex<Vec<Option<u8>>>,
}

#[derive(Serialize)]
enum Wire {
    #[expect(dead_code, reason = "the order of the variants is the wire format")]
    Overloaded,
    #[expect(dead_code, reason = "the order of the variants is the wire format")]
    Deadline,
    #[expect(dead_code, reason = "the order of the variants is the wire format")]
    Unavailable,
    Service(ServiceError),
}

impl Peers for World {
    fn call(
        &self,
        to: NodeId,
        _: Lane,
        _: Kind,
        _: u32,
        body: Vec<u8>,
        within: Duration,
    ) -> BoxFuture<'_, Result<Vec<u8>, PeerError>> {
        Box::pin(async move {
            self.told.lock().unwrap().push(body.last().copied());
            self.asked.lock().unwrap().push(to.0);
            let encode = |answer: Result<u64, Wire>| Ok(postcard::to_stdvec(&answer).unwrap());
            match self.nodes[to.0 as usize - 1] {
                Does::Answers => encode(Ok(to.0)),
                Does::Names(leader) => {
                    encode(Err(Wire::Service(ServiceError::NotHere { leader: Some(NodeId(leader)) })))
                }
                Does::Down => Err(PeerError::Unreachable("it is down".to_owned())),
                Does::Loses => Err(PeerError::Lost),
                Does::Hangs => {
                    tokio::time::sleep(within).await;
                    Err(PeerError::Timeout)
                }
            }
        })
    }
}

impl Router for World {
    fn destination(
        &self,
        _: &str,
        _: Option<ShardId>,
        _: AnsweredBy,
        named: Option<NodeId>,
        avoid: &[NodeId],
    ) -> Destination {
        let order = (1..=self.nodes.len() as u64).map(NodeId);
        named
            .or_else(|| order.into_iter().find(|node| !avoid.contains(node)))
            .map_or(Destination::Unknown, Destination::Node)
    }
}

/// The store, as a node sees it that does not run it.
fn elsewhere(world: &Arc<World>) -> ActorRef<Store> {
    ActorRef::elsewhere(Remote { router: world.clone(), peers: world.clone(), stopping: Arc::new(|| false) })
}

async fn ask<M: Request<Service = Store, Reply = u64>>(
    message: M,
    nodes: &[Does],
) -> (Result<u64, CallError>, Vec<u64>) {
    let world = Arc::new(World { nodes: nodes.to_vec(), asked: Mutex::default(), told: Mutex::default() });
    let store = elsewhere(&world);
    let answer = store.call(message, PATIENCE).await;
    let asked = world.asked.lock().unwrap().clone();
    (answer, asked)
}

#[tokio::test]
async fn a_node_that_cannot_be_reached_is_passed_over() {
    let (answer, asked) = ask(Put, &[Does::Down, Does::Down, Does::Answers]).await;
    assert_eq!((answer, asked), (Ok(3), vec![1, 2, 3]));
}

#[tokio::test]
async fn a_leader_that_is_named_is_asked_and_passed_over_if_it_is_down() {
    let (answer, asked) = ask(Put, &[Does::Names(3), Does::Answers, Does::Down]).await;
    assert_eq!(asked[..2], [1, 3]);
    assert!(answer.is_err(), "who names a dead leader is asked again, until time is up: {answer:?}");
    let (answer, asked) = ask(Put, &[Does::Names(2), Does::Answers]).await;
    assert_eq!((answer, asked), (Ok(2), vec![1, 2]));
}

#[tokio::test]
async fn what_a_replica_does_not_know_only_the_leader_may_answer() {
    // A replica that knows of a newer state than the one that is asked next must not get its older answer.
    let nodes = vec![Does::Names(2), Does::Answers];
    let world = Arc::new(World { nodes, asked: Mutex::default(), told: Mutex::default() });
    let store = elsewhere(&world);
    assert_eq!(store.call(Find { leader: false }, PATIENCE).await, Ok(2));
    assert_eq!(*world.told.lock().unwrap(), [Some(0), Some(1)]);
}

#[tokio::test]
async fn nodes_are_asked_again_when_all_were_down_until_time_is_up() {
    let (answer, asked) = ask(Put, &[Does::Down, Does::Down]).await;
    let error = answer.unwrap_err();
    assert!(!error.outcome_unknown(), "nobody has seen it: {error}");
    assert!(asked.len() > 4, "{asked:?}");
}

#[tokio::test]
async fn what_may_be_repeated_is_asked_of_another_node_when_one_hangs_or_breaks_off() {
    let (answer, asked) = ask(Look, &[Does::Hangs, Does::Loses, Does::Answers]).await;
    assert_eq!((answer, asked), (Ok(3), vec![1, 2, 3]));
}

#[tokio::test]
async fn what_may_have_been_done_is_not_asked_of_another_node() {
    for (does, error) in [
        (Does::Loses, CallError::Unavailable { service: "store" }),
        (Does::Hangs, CallError::Deadline { service: "store" }),
    ] {
        let (answer, asked) = ask(Put, &[does, Does::Answers]).await;
        assert_eq!((answer, asked), (Err(error.clone()), vec![1]));
        assert!(error.outcome_unknown());
    }
}

#[tokio::test]
async fn what_may_be_done_again_after_a_break_is_asked_of_the_leader_again_until_time_is_up() {
    let (answer, asked) = ask(Make, &[Does::Loses, Does::Answers]).await;
    let error = answer.unwrap_err();
    assert!(error.outcome_unknown(), "it may have been done: {error}");
    assert!(asked.len() > 4 && asked.iter().all(|node| *node == 1), "{asked:?}");
}
