//! Which answers a worker caches, depending on who gave them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Arbiter, System};
use serde::Serialize;
use waypost_protocol::link::{Link, LinkCounts};
use waypost_protocol::messages::{GetLink, LinkStore, LinkView, Resolution, Resolve};
use waypost_protocol::peer::{BoxFuture, Lane, PeerError, Peers};
use waypost_protocol::{
    AnsweredBy, Code, Domain, Kind, LinkKey, LinkSpec, NodeId, ServiceError, ShardId, Target, UnixMs,
};
use waypost_runtime::{ActorRef, Destination, Origin, Remote, Router, Supervision, supervise};
use waypost_telemetry::Metrics;

use crate::{Lookup, ReadView, RedirectorActor, Seed, spec};

const SHARDS: u32 = 16;
const KEEP: Duration = Duration::from_millis(250);

/// Another node, which answers with a former state of the link.
struct Old {
    /// Whether the last question was for the leader only.
    leader: parking_lot::Mutex<Option<bool>>,
}

impl Router for Old {
    fn destination(
        &self,
        _: &'static str,
        _: Option<ShardId>,
        _: AnsweredBy,
        _: Option<NodeId>,
        _: &[NodeId],
    ) -> Destination {
        Destination::Node(NodeId(2))
    }
}

#[derive(Serialize)]
enum Never {
    #[expect(dead_code, reason = "the order of the variants is the wire format")]
    Service(ServiceError),
}

impl Peers for Old {
    fn call(
        &self,
        _: NodeId,
        _: Lane,
        _: Kind,
        _: u32,
        body: Vec<u8>,
        _: Duration,
    ) -> BoxFuture<'_, Result<Vec<u8>, PeerError>> {
        let (_, get): (Origin, GetLink) = postcard::from_bytes(&body).unwrap();
        *self.leader.lock() = Some(get.leader);
        let link = Link {
            key: get.key,
            spec: LinkSpec::to(Target::parse("https://example.com/old", &[], 8192).unwrap()),
            created_at: UnixMs(1),
            version: 1,
            written_at: 1,
            created_by: 0,
            generated: false,
        };
        let view = LinkView { link, counts: LinkCounts::default() };
        let answer: Result<Option<LinkView>, Never> = Ok(Some(view));
        Box::pin(async move { Ok(postcard::to_stdvec(&answer).unwrap()) })
    }
}

#[test]
fn what_another_node_says_is_asked_for_again_although_a_replica_is_here() {
    System::new().block_on(async {
        let metrics = Metrics::new();
        let view = Arc::new(ReadView::new(1 << 20, SHARDS, Duration::from_secs(1), &metrics));
        // This node has a replica of every shard, which counts as fresh, but it does not have the link, or lags.
        (0..SHARDS).for_each(|shard| view.believe(ShardId(shard), Instant::now() + Duration::from_secs(3600)));
        let old = Arc::new(Old { leader: parking_lot::Mutex::new(None) });
        let links: ActorRef<LinkStore> =
            ActorRef::elsewhere(Remote { router: old.clone(), peers: old.clone(), stopping: Arc::new(|| false) });
        let seed = Seed { view: view.clone(), links, shards: SHARDS, keep: KEEP };
        let make = move || RedirectorActor::new(seed.clone());
        let worker = supervise(spec(), &Supervision::new(&metrics), &Arbiter::current(), make).await;
        let key = LinkKey::new(Code::parse_slug("abc").unwrap());
        let resolve = || worker.call(Resolve { key: key.clone() }, Duration::from_secs(10));
        assert!(matches!(resolve().await, Ok(Resolution::Found { .. })));
        let after = Instant::now();
        let lookup = |at| view.lookup(Domain::default(), "abc", UnixMs(1000), at);
        assert!(
            matches!(lookup(after + KEEP), Lookup::Miss),
            "nobody tells this node of changes that the other had not seen"
        );
        assert_eq!(*old.leader.lock(), Some(false));
        // After a change through this node, only the leader that made it may answer.
        view.changed_here(&key, after);
        assert!(resolve().await.is_ok());
        assert_eq!(*old.leader.lock(), Some(true));
    });
}
