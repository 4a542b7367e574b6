//! The services of a node that has joined its cluster: the link cache, the clock, the actors, and the tasks that maintain the cluster.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use waypost_click_counter::{Journals, Recorder};
use waypost_consensus::{Freshness, Groups, Members};
use waypost_link_store::{CatalogSeed, NodeCatalog};
use waypost_redirector::ReadView;
use waypost_runtime::Remote;
use waypost_store::SpaceWatch;
use waypost_tasks::Task;
use waypost_transport::Transport;

use super::actors::{self, Actors};
use super::base::Base;
use super::data_dir::CATALOG;
use super::error::NodeError;
use super::peers::Joined;
use super::{admin_key, clicks, leave, memory, observe};
use crate::app::Authenticator;
use crate::cluster::{
    Clock, ClusterRouter, DesiredPlacement, LocalNode, MembershipReconciler, PlacementController, RunningNode,
    position_query,
};
use crate::limits::BOUND_MIN;

/// The parts that the servers use, and that a stop has to end.
pub(super) struct Services {
    pub(super) groups: Arc<Groups>,
    pub(super) members: Arc<Members>,
    pub(super) transport: Transport,
    pub(super) view: Arc<ReadView>,
    pub(super) fresh: Arc<Freshness>,
    pub(super) clock: Arc<Clock>,
    pub(super) catalog: Arc<NodeCatalog>,
    pub(super) journals: Journals,
    /// One for each HTTP worker.
    pub(super) recorders: Arc<Mutex<Vec<Recorder>>>,
    pub(super) actors: Actors,
    pub(super) controller: Arc<PlacementController>,
    /// Notified when the cluster has removed this node.
    pub(super) removed: Arc<Notify>,
}

impl Services {
    /// Starts everything between the groups and the servers, each part after those that it needs. Also returns who is known to this node;
    /// `is_local` says whether only processes of this machine can reach the node.
    ///
    /// # Errors
    /// If the cluster does not record the admin key, or the click journals or the store cannot be used.
    pub(super) async fn start(base: &Base, joined: Joined, is_local: bool) -> Result<(Self, Authenticator), NodeError> {
        let Joined { identity, groups, members, transport, service, record } = joined;
        let Base { config, metrics, tasks, lifecycle, read_only, .. } = base;
        let engine_tasks = base.engine_tasks();
        let peers = Arc::new(transport.clone());

        let clock = Arc::new(Clock::new(&base.db, groups.clone(), peers.clone(), metrics)?);
        let watching = clock.clone();
        engine_tasks.spawn(Task::ClockWatch, move || watching.clone().run());
        let view = cache(base, &groups, &clock);
        memory::watch_memory(config, base.memory.clone(), view.clone(), tasks, metrics)?;
        let fresh = freshness(base, &groups, &transport, &view);
        let catalog = catalog(base, &groups, &fresh, &view)?;

        let authenticator = admin_key::authenticator(config, is_local, &groups).await?;
        let journals = clicks::open_journals(config, groups.bootstrap(), metrics)?;
        let recorders = (0..config.workers).map(|_| journals.recorder()).collect::<Result<Vec<_>, _>>()?;
        clicks::keep_synced(journals.clone(), config.journal_sync, tasks, base.on_storage_failure)?;

        let services = config.node.services.iter().map(|service| service.as_str().to_owned()).collect();
        let router = Arc::new(ClusterRouter::new(groups.clone(), services));
        let ending = lifecycle.clone();
        let stopping = Arc::new(move || ending.state().closes_connections());
        let remote = Remote { router, peers: peers.clone(), stopping };
        let actors = actors::start(base, &fresh, &remote, &journals, &clock).await;
        service.set_running(RunningNode {
            groups: groups.clone(),
            handlers: actors.remote_handlers(),
            read_only: read_only.clone(),
            lifecycle: lifecycle.clone(),
            clock: clock.clone(),
            catalog: catalog.clone(),
            disk: SpaceWatch::new(&config.node.data_dir),
            memory: base.memory.clone(),
        });

        let desired = DesiredPlacement::of(config);
        let (peers, moves_max) = (peers, config.moves_max);
        let controller = PlacementController::new(groups.clone(), peers, service.clone(), desired.clone(), moves_max);
        let controller = Arc::new(controller);
        service.set_controller(controller.clone());
        let running = controller.clone();
        engine_tasks.spawn(Task::Controller, move || running.clone().run());

        let removed = Arc::new(Notify::new());
        let local = LocalNode { record, created: identity.cluster.is_some_and(|binding| binding.created) };
        let reconciler = Arc::new(MembershipReconciler::new(
            groups.clone(),
            transport.clone(),
            local,
            desired.clone(),
            view.clone(),
            removed.clone(),
            engine_tasks.clone(),
        ));
        engine_tasks.spawn(Task::MembershipReconciler, move || reconciler.clone().run());

        service.set_leave(Box::new(leave::Leaving {
            groups: groups.clone(),
            controller: controller.clone(),
            lifecycle: lifecycle.clone(),
            clicks: actors.clicks.clone(),
            one_at_a_time: tokio::sync::Mutex::default(),
        }));
        observe::observe(metrics, &base.db, view.clone(), &groups, &fresh, desired);
        observe::certificate(metrics, config.tls.as_ref());
        let recorders = Arc::new(Mutex::new(recorders));
        let services = Self {
            groups,
            members,
            transport,
            view,
            fresh,
            clock,
            catalog,
            journals,
            recorders,
            actors,
            controller,
            removed,
        };
        Ok((services, authenticator))
    }
}

/// The link cache, which every applied change invalidates.
fn cache(base: &Base, groups: &Arc<Groups>, clock: &Arc<Clock>) -> Arc<ReadView> {
    let bound = base.config.stale_after.max(BOUND_MIN);
    let view = ReadView::new(base.config.cache_bytes, groups.bootstrap().shards, bound, &base.metrics);
    let view = Arc::new(view);
    for group in groups.shards() {
        let (view, clock) = (view.clone(), clock.clone());
        group.configure(|machine| {
            machine.on_change(Arc::new(move |key| view.invalidate(key)));
            machine.fold_by(Arc::new(move || clock.trusted_now()));
        });
    }
    view
}

/// The catalog of this node's replicas, which hears of every applied change, as the cache does.
fn catalog(
    base: &Base,
    groups: &Arc<Groups>,
    fresh: &Arc<Freshness>,
    view: &Arc<ReadView>,
) -> Result<Arc<NodeCatalog>, NodeError> {
    let Base { config, metrics, tasks, engine, read_only, .. } = base;
    let seed = CatalogSeed {
        dir: config.catalog.then(|| config.node.data_dir.join(CATALOG)),
        groups: groups.clone(),
        fresh: fresh.clone(),
        read_only: read_only.clone(),
        engine: engine.clone(),
    };
    let catalog = Arc::new(NodeCatalog::start(seed, tasks, metrics)?);
    for group in groups.shards() {
        let (view, catalog) = (view.clone(), catalog.clone());
        group.configure(|machine| {
            machine.on_change(Arc::new(move |key| {
                view.invalidate(key);
                catalog.changed();
            }));
        });
    }
    Ok(catalog)
}

/// The age of this node's replicas: it asks their leaders, and informs the cache.
fn freshness(base: &Base, groups: &Arc<Groups>, transport: &Transport, view: &Arc<ReadView>) -> Arc<Freshness> {
    let view = view.clone();
    let believe = Arc::new(move |shard, until| view.believe(shard, until));
    let query = position_query(Arc::new(transport.clone()));
    let fresh = Arc::new(Freshness::new(groups.clone(), query, believe));
    let running = fresh.clone();
    base.engine_tasks().spawn(Task::Freshness, move || running.clone().run());
    fresh
}
