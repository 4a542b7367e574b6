//! A node: from its configuration to its servers, and back when it stops.

mod actors;
mod admin_key;
mod clicks;
mod data_dir;
mod descriptors;
mod leave;
mod observe;
mod peers;
mod private;
mod space;
mod start;
mod stop;

use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

pub use private::{CLI_KEY_FILE, keep_to_oneself};
use tokio::signal::unix::{SignalKind, signal};
use waypost_click_counter::GeoError;
use waypost_consensus::{FRESH, Freshness, OpenError};
use waypost_journal::JournalError;
use waypost_redirector::ReadView;
use waypost_runtime::{Remote, Supervision};
use waypost_store::{Db, DbOptions, StoreError};
use waypost_tasks::{Task, Tasks};
use waypost_telemetry::Metrics;

use crate::cluster::{
    Backups, Clock, ClusterRouter, DesiredPlacement, LocalNode, MembershipReconciler, PlacementController, RunningNode,
    committed_query,
};
use crate::config::{Config, ServiceName};
use crate::http::{
    Addresses, ConnectionLimits, NodeState, PublicAddress, PublicServer, UnknownCodes, admin_server, public_server,
};
use crate::lifecycle::{Event, Lifecycle};
use crate::wall_clock::wall_clock;

/// The shortest bound on how old an answer may be: what a replica needs to be told of, and a quarter of a second for who has none.
const BOUND_LEAST: Duration = Duration::from_secs(1);

/// Why a node could not be started, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The file asks for something that this version does not do.
    #[error("{0}")]
    Unsupported(String),
    /// The node was removed: what it has may be out of date.
    #[error(
        "\"{name}\" was taken out of the cluster, so it serves none of what it has. To let it join as a new node, empty {}; \
         else take it out of cluster.toml{}",
        data_dir.display(), leave::clicks_hint(*clicks, data_dir)
    )]
    TakenOut {
        /// Its name.
        name: String,
        /// Where its data is.
        data_dir: std::path::PathBuf,
        /// Slots of its click journals that were not counted.
        clicks: u64,
    },
    /// The click journals cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The database of places cannot be used.
    #[error(transparent)]
    Geo(#[from] GeoError),
    /// The certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] waypost_transport::TlsError),
    /// The data directory cannot be used, for a reason that is no failure of the disk.
    #[error(transparent)]
    DataDir(#[from] Unusable),
    /// A file that the command line names cannot be used.
    #[error("{}: {}", path.display(), crate::account::told(error))]
    File {
        /// Which.
        path: std::path::PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// A port cannot be listened on.
    #[error("cannot listen on {address} ({key}): {reason}")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// The key of the configuration.
        key: &'static str,
        /// Why not.
        reason: String,
    },
    /// The store is damaged or fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The groups do not come up, or do not stop in order.
    #[error(transparent)]
    Groups(#[from] OpenError),
    /// The operating system refuses something else.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A server has ended, and nobody told it to.
    #[error("the {0} server has ended by itself: {1}")]
    ServerEnded(&'static str, String),
    /// A write that the start needs failed.
    #[error("the start could not write to the cluster's state: {0}")]
    Start(String),
}

impl NodeError {
    /// Whether it is the disk that failed.
    pub fn is_storage(&self) -> bool {
        matches!(
            self,
            Self::Store(_) | Self::Journal(_) | Self::Groups(OpenError::Store(_) | OpenError::Io(_)) | Self::Io(_)
        )
    }
}

pub use data_dir::Unusable;
pub(crate) use data_dir::{explained, not_made, prepare as prepare_data_dir};

/// Opens the database of a node as the configuration says.
///
/// # Errors
/// When its place cannot be used, it is damaged, in use, or the disk fails.
pub fn open_store(config: &Config, metrics: &Metrics) -> Result<Db, NodeError> {
    let options = DbOptions { cache_bytes: config.store_cache_bytes, commit_delay: config.commit_delay };
    prepare_data_dir(&config.node.data_dir)?;
    Db::open(&config.node.data_dir, &options, metrics).map_err(|error| explained(&config.node.data_dir, error.into()))
}

/// Runs a node until it is told to stop. `on_storage_failure` is called when the store fails while it runs; it must not return to
/// normal work.
///
/// # Errors
/// When the node cannot start, or does not stop in order.
pub async fn run(
    config: Config,
    engine: tokio::runtime::Handle,
    on_storage_failure: fn(&str),
) -> Result<(), NodeError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let serves = |service| config.node.services.contains(&service);
    let connections_max = descriptors::connections(&config)?;
    let public = listen(config.node.http, "[[node]] http, or --listen")?;
    let admin = listen(config.node.admin, "[[node]] admin, or --admin-listen")?;
    let (public_address, admin_address) = (public.local_addr()?, admin.local_addr()?);

    let metrics = Metrics::new();
    let (tasks, supervision) = (Tasks::new(&metrics), Supervision::new(&metrics));
    let started = std::time::Instant::now();
    // What the system refuses while the node starts is told in terms of the data directory.
    let data_dir = config.node.data_dir.clone();
    let refused = |error: NodeError| explained(&data_dir, error);
    crate::restore::refuse_half(&data_dir).map_err(refused)?;
    let db = open_store(&config, &metrics)?;
    private::close(&config.node.data_dir);
    db.on_failure(on_storage_failure);
    // Before the groups: they may be sent more than there is room for as soon as they are open.
    let read_only = Arc::new(AtomicBool::new(false));
    space::watch_space(&config, read_only.clone(), db.exhausted().clone(), &tasks, &metrics).map_err(refused)?;
    let joining = async {
        tokio::select! {
            joined = peers::join(&config, &db, &engine, &tasks, &metrics) => Some(joined),
            _ = terminate.recv() => None,
            _ = interrupt.recv() => None,
        }
    };
    // A node that waits for others can be stopped like any other.
    let Some(joined) = joining.await else { return Ok(()) };
    let peers::Joined { identity, groups, members, transport, service, record } = joined.map_err(refused)?;
    tracing::info!(
        node = config.node.name,
        shards = groups.bootstrap().shards,
        links = groups.shards().iter().map(|group| group.read(|machine| machine.links())).sum::<usize>(),
        took_ms = started.elapsed().as_millis() as u64,
        "the store is open"
    );
    if groups.bootstrap().shards != config.shards {
        tracing::warn!(
            configured = config.shards,
            actual = groups.bootstrap().shards,
            "the number of shards was fixed when the cluster was created; [cluster] shards is ignored"
        );
    }

    let bound = config.stale_after.max(BOUND_LEAST);
    let view = Arc::new(ReadView::new(config.cache_bytes, groups.bootstrap().shards, bound, &metrics));
    let clock_watch = Arc::new(Clock::new(&db, groups.clone(), Arc::new(transport.clone()), &metrics)?);
    for group in groups.shards() {
        let (view, clock) = (view.clone(), clock_watch.clone());
        group.configure(|machine| {
            machine.on_change(Arc::new(move |key| view.invalidate(key)));
            machine.fold_by(Arc::new(move || clock.trusted_now()));
        });
    }
    let watching = clock_watch.clone();
    tasks.on(&engine).spawn(Task::ClockWatch, move || watching.clone().run());
    let believing = view.clone();
    let believe = Arc::new(move |shard, until| believing.believe(shard, until));
    let fresh = Arc::new(Freshness::new(groups.clone(), committed_query(Arc::new(transport.clone())), believe));
    let running = fresh.clone();
    tasks.on(&engine).spawn(Task::Freshness, move || running.clone().run());
    // A public URL elsewhere says that something passes requests on to a listener on loopback.
    let local = public_address.ip().to_canonical().is_loopback()
        && admin_address.ip().to_canonical().is_loopback()
        && config.public_url.as_ref().is_none_or(crate::http::is_loopback);
    let access = admin_key::access(&config, local, &groups).await.map_err(refused)?;
    let journals = clicks::open_journals(&config, groups.bootstrap(), &metrics).map_err(refused)?;
    let recorders = (0..config.workers).map(|_| journals.recorder());
    let recorders = recorders.collect::<Result<Vec<_>, _>>().map_err(|error| refused(error.into()))?;
    clicks::keep_synced(journals.clone(), config.journal_sync, &tasks, on_storage_failure)?;
    let services: Vec<String> = config.node.services.iter().map(|service| service.as_str().to_owned()).collect();
    let remote =
        Remote { router: Arc::new(ClusterRouter::new(groups.clone(), services)), peers: Arc::new(transport.clone()) };
    let actors =
        actors::start(&config, &fresh, &remote, read_only.clone(), &journals, &clock_watch, &supervision).await;
    let lifecycle = Arc::new(Lifecycle::default());
    service.set_running(RunningNode {
        groups: groups.clone(),
        handlers: actors.remote_handlers(),
        read_only: read_only.clone(),
        lifecycle: lifecycle.clone(),
        clock: clock_watch.clone(),
    });
    let desired = DesiredPlacement::of(&config);
    let controller = Arc::new(PlacementController::new(
        groups.clone(),
        Arc::new(transport.clone()),
        service.clone(),
        desired.clone(),
        config.moves_max,
    ));
    service.set_controller(controller.clone());
    let running = controller.clone();
    tasks.on(&engine).spawn(Task::Controller, move || running.clone().run());
    let taken_out = Arc::new(tokio::sync::Notify::new());
    let reconciler = MembershipReconciler::new(
        groups.clone(),
        transport.clone(),
        LocalNode { record, created: identity.cluster.is_some_and(|binding| binding.created) },
        desired.clone(),
        view.clone(),
        taken_out.clone(),
        tasks.on(&engine),
    );
    let reconciler = Arc::new(reconciler);
    tasks.on(&engine).spawn(Task::MembershipReconciler, move || reconciler.clone().run());
    let node = Arc::new(NodeState {
        links: actors.links.clone(),
        keys: actors.keys.clone(),
        view: view.clone(),
        groups: groups.clone(),
        fresh: fresh.clone(),
        unknown: UnknownCodes::new(config.unknown_codes_per_s, &metrics),
        backups: Backups::new(groups.clone(), members, Arc::new(transport.clone()), tasks.on(&engine)),
        controller,
        supervision: supervision.clone(),
        shards: groups.bootstrap().shards,
        access,
        analytics: config.analytics,
        address: PublicAddress::new(config.public_url.clone(), public_address, config.visitors.trusted_proxies.clone()),
        admin: admin_address,
        timeout: config.request_timeout,
        url_max_bytes: config.url_max_bytes,
        body_max_bytes: config.body_max_bytes,
        read_only,
        lifecycle: lifecycle.clone(),
        live_streams: AtomicUsize::new(0),
        clock: wall_clock,
    });
    service.set_leave(Box::new(leave::Leaving {
        groups: groups.clone(),
        controller: node.controller.clone(),
        lifecycle: lifecycle.clone(),
        clicks: actors.clicks.clone(),
        one_at_a_time: tokio::sync::Mutex::default(),
    }));
    observe::observe(&metrics, &db, view, &groups, &fresh, desired);
    observe::certificate(&metrics, config.tls.as_ref());

    let admin_server = admin_server(admin, node.clone(), metrics.clone())?;
    let server = public_server(
        public,
        PublicServer {
            redirects: serves(ServiceName::Redirector),
            keep: config.stale_after.saturating_sub(FRESH).max(config.stale_after / 4),
            node: node.clone(),
            journals: journals.clone(),
            access_every: config.log_access_every,
            trace_every: config.trace_every,
            recorders: Arc::new(parking_lot::Mutex::new(recorders)),
            visitors: config.visitors.clone(),
            metrics: metrics.clone(),
            supervision,
            workers: config.workers,
            limits: ConnectionLimits {
                connections_max,
                addresses: Addresses::new(config.connections_per_address_max, config.visitors.trusted_proxies.clone()),
                keep_alive: config.keep_alive,
                request: config.client_timeout,
                write: config.write_timeout,
            },
        },
    )?;
    let (admin_handle, handle) = (admin_server.handle(), server.handle());
    // Awaited below.
    let mut admin_server = tokio::task::spawn_local(admin_server);
    // Awaited below.
    let mut server = tokio::task::spawn_local(server);
    lifecycle.follow(Event::Started);
    let ready = async {
        start::bootstrapped(&node.controller).await;
        start::known_to_cluster(&groups).await;
        start::caught_up(&fresh).await;
        announce(public_address, admin_address);
        std::future::pending::<Infallible>().await
    };
    let mut why = Ok(());
    let mut was_taken_out = false;
    tokio::select! {
        never = ready => match never {},
        () = taken_out.notified() => {
            // From here on the shards take no clicks of this node, so it must not answer another redirect.
            lifecycle.follow(Event::Removed);
            was_taken_out = true;
        }
        _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
        _ = interrupt.recv() => tracing::info!("interrupted: stopping"),
        ended = &mut server => why = Err(NodeError::ServerEnded("public", format!("{ended:?}"))),
        ended = &mut admin_server => why = Err(NodeError::ServerEnded("admin", format!("{ended:?}"))),
    }
    lifecycle.follow(Event::Stop);
    stop::hand_over(&groups, &engine).await;
    lifecycle.follow(Event::HandedOver);
    tasks.spawn_once_local(Task::SecondSignal, async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        tracing::warn!("told to stop again: leaving at once; what was acknowledged is on disk");
        std::process::exit(1);
    });
    handle.pause().await;
    stop::end_requests(&lifecycle, config.shutdown_grace).await;
    // Whoever still sends on a kept connection is turned away from here on, so that no visit comes after the last count.
    lifecycle.follow(Event::RequestsEnded);
    handle.stop(false).await;
    stop::end_requests(&lifecycle, stop::DRAIN_LOOK * 4).await;
    actors.stop().await;
    admin_handle.stop(false).await;
    clock_watch.note_now()?;
    let closing = groups.clone();
    engine.spawn(async move { closing.close().await }).await.map_err(|error| NodeError::Start(error.to_string()))??;
    tokio::task::spawn_blocking(move || db.close()).await.map_err(|error| NodeError::Start(error.to_string()))??;
    tracing::info!("stopped");
    match was_taken_out {
        // Only now it is known how many clicks are left.
        true => Err(peers::taken_out(&config)),
        false => why,
    }
}

fn listen(address: std::net::SocketAddr, key: &'static str) -> Result<TcpListener, NodeError> {
    TcpListener::bind(address).map_err(|error| NodeError::Listen { address, key, reason: not_listened(&error) })
}

/// Why a port cannot be listened on, and what helps.
fn not_listened(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => "another process listens there; stop it, or give another address".to_owned(),
        ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        ErrorKind::PermissionDenied => format!(
            "{} may not; a port below 1024 needs root or the capability CAP_NET_BIND_SERVICE",
            crate::account::Account::own()
        ),
        _ => error.to_string(),
    }
}

/// The one line that scripts wait for and read the ports from. A node that nobody listens to serves all the same.
fn announce(public: std::net::SocketAddr, admin: std::net::SocketAddr) {
    crate::say!("waypost is ready: http://{public} (admin http://{admin})");
}
