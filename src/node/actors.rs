//! The actors of a node: their threads, their dependencies, and the order in which they stop.

use std::sync::Arc;

use actix::{Arbiter, ArbiterHandle};
use waypost_click_counter::Journals;
use waypost_consensus::Freshness;
use waypost_protocol::messages::{ClickCounter, Flush, Janitor, KeyAllocator, LinkStore};
use waypost_protocol::{Level, ShardId};
use waypost_runtime::{ActorRef, Remote, RemoteHandlers, supervise};

use super::base::Base;
use crate::cluster::Clock;
use crate::config::ServiceName;
use crate::limits::FLUSH_MAX;
use crate::threads::{self, name_current};
use crate::wall_clock::wall_clock;

/// References to the actors of the node.
pub(super) struct Actors {
    pub(super) links: ActorRef<LinkStore>,
    pub(super) keys: ActorRef<KeyAllocator>,
    pub(super) clicks: ActorRef<ClickCounter>,
    janitor: Option<ActorRef<Janitor>>,
}

/// A thread for actors.
fn arbiter(name: &'static str) -> ArbiterHandle {
    let handle = Arbiter::new().handle();
    handle.spawn_fn(move || name_current(name));
    handle
}

/// Starts the five services, each after the services that it calls.
pub(super) async fn start(
    base: &Base,
    fresh: &Arc<Freshness>,
    remote: &Remote,
    journals: &Journals,
    clock_watch: &Arc<Clock>,
) -> Actors {
    let Base { config, supervision, read_only, memory, .. } = base;
    let groups = fresh.groups();
    let shards = groups.bootstrap().shards;
    // Separate threads: work that waits for the log or reads the disk must not delay an HTTP worker.
    let store_arbiters: Vec<_> =
        (0..threads::for_shards(config.workers, groups.shards().len())).map(|_| arbiter("link-store")).collect();
    let background = arbiter("background");

    let runs = |service| config.node.services.contains(&service);
    let keys = if runs(ServiceName::KeyAllocator) {
        let seed = waypost_key_allocator::Seed {
            cluster: groups.cluster().clone(),
            domains: groups.domains().clone(),
            node: groups.node(),
        };
        supervise(waypost_key_allocator::spec(), supervision, &background, move || {
            waypost_key_allocator::KeyAllocatorActor::new(seed.clone())
        })
        .await
        .with_remote(remote.clone())
    } else {
        ActorRef::elsewhere(remote.clone())
    };

    let leader_budget = Arc::new(waypost_link_store::LeaderBudget::new(supervision.metrics()));
    let readers = Arc::new(waypost_link_store::Readers::default());
    let mut children = Vec::with_capacity(shards as usize);
    for (index, group) in groups.shards().iter().enumerate() {
        let seed = waypost_link_store::Seed {
            shard: ShardId(index as u32),
            group: group.clone(),
            holds: {
                let groups = groups.clone();
                Arc::new(move |shard| groups.holds(shard))
            },
            gone: {
                let groups = groups.clone();
                Arc::new(move |node| groups.cluster().read(|machine| machine.state().gone.contains(&node)))
            },
            fresh: fresh.clone(),
            leader_budget: leader_budget.clone(),
            readers: readers.clone(),
            keys: keys.clone(),
            domains: groups.domains().clone(),
            read_only: read_only.clone(),
            memory_short: memory.short.clone(),
            clock: wall_clock,
        };
        let child = supervise(
            waypost_link_store::spec(config.shard_inflight_max, config.shard_statistics_max),
            supervision,
            &store_arbiters[index % store_arbiters.len()],
            move || waypost_link_store::LinkStoreActor::new(seed.clone()),
        );
        children.push(child.await);
    }
    let links = ActorRef::sharded(children).with_remote(remote.clone());

    let seed = waypost_click_counter::Seed {
        journals: journals.clone(),
        links: links.clone(),
        node: groups.node(),
        shards,
        interval: config.clicks_interval,
        spill_bytes: config.clicks_spill_bytes,
        is_level_one: {
            let groups = groups.clone();
            Arc::new(move || groups.level() >= Level::ONE)
        },
        read_only: read_only.clone(),
        metrics: supervision.metrics().clone(),
    };
    let clicks = supervise(waypost_click_counter::spec(), supervision, &background, move || {
        waypost_click_counter::ClickCounterActor::new(seed.clone())
    })
    .await;

    let seed = waypost_janitor::Seed {
        links: links.clone(),
        shards,
        expired_retention_ms: config.expired_retention.as_millis() as u64,
        interval: config.janitor_interval,
        trusted_now: {
            let clock = clock_watch.clone();
            Arc::new(move || clock.trusted_now())
        },
        metrics: supervision.metrics().clone(),
    };
    let janitor = match runs(ServiceName::Janitor) && runs(ServiceName::LinkStore) {
        true => Some(
            supervise(waypost_janitor::spec(), supervision, &background, move || {
                waypost_janitor::JanitorActor::new(seed.clone())
            })
            .await,
        ),
        false => None,
    };
    Actors { links, keys, clicks, janitor }
}

impl Actors {
    /// The messages that other nodes may send to them.
    pub(super) fn remote_handlers(&self) -> RemoteHandlers {
        RemoteHandlers::default().serve(&self.keys).serve(&self.links)
    }

    /// Stops the actors in the order of their dependencies; the last clicks are delivered first.
    pub(super) async fn stop(&self) {
        if let Some(janitor) = &self.janitor {
            janitor.stop();
        }
        match self.clicks.call(Flush { last: true }, FLUSH_MAX).await {
            Ok(flushed) if flushed.waiting == 0 => {}
            Ok(flushed) => {
                tracing::warn!(
                    waiting = flushed.waiting,
                    "some clicks were not delivered; they are kept for the next start"
                );
            }
            Err(error) => {
                tracing::warn!(%error, "the last clicks were not delivered; they are kept for the next start")
            }
        }
        self.clicks.stop();
        if !self.links.drain(FLUSH_MAX).await {
            tracing::warn!("some requests were still under way");
        }
        self.links.stop();
        self.keys.stop();
    }
}
