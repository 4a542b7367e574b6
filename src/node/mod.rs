//! A node: from its configuration to its servers, and back when it stops.

mod actors;

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::signal::unix::{SignalKind, signal};
use waypost_click_counter::Journals;
use waypost_consensus::{GroupOptions, Groups, NodeIdentity, OpenError};
use waypost_protocol::command::{Command, Founding, Outcome};
use waypost_protocol::digest::KeyDigest;
use waypost_protocol::{NodeId, UnixMs};
use waypost_redirector::ReadView;
use waypost_store::{Db, DbOptions, SpaceState, SpaceWatch, StoreError};
use waypost_telemetry::Metrics;

use crate::config::{Config, ServiceName};
use crate::http::{Access, KEY_PREFIX, NodeState, PublicAddress, PublicServer, admin_server, public_server};

/// How often free space is looked at. A disk that fills by a gigabyte a second is caught before the watermark is used up.
const SPACE_INTERVAL: Duration = Duration::from_millis(200);

/// How often a stopping node looks whether requests are still open.
const DRAIN_LOOK: Duration = Duration::from_millis(50);

/// Why a node could not be started, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The file asks for something that this version does not do.
    #[error("{0}")]
    Unsupported(String),
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
    /// A write that the start needs failed.
    #[error("the start could not write to the cluster's state: {0}")]
    Start(String),
}

impl NodeError {
    /// Whether it is the disk that failed.
    pub fn is_storage(&self) -> bool {
        matches!(self, Self::Store(_) | Self::Groups(OpenError::Store(_) | OpenError::Io(_)) | Self::Io(_))
    }
}

/// The wall clock. The one place where the product reads it for what it stores.
pub fn clock() -> UnixMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMs(since.as_millis() as u64)
}

/// Opens the database of a node as the configuration says.
///
/// # Errors
/// When it is damaged, in use, or the disk fails.
pub fn open_store(config: &Config, metrics: &Metrics) -> Result<Db, NodeError> {
    let options = DbOptions { cache_bytes: config.store_cache_bytes, commit_delay: config.commit_delay };
    Ok(Db::open(&config.node.data_dir, &options, metrics)?)
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
    supported(&config)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let public = listen(config.node.http, "[[node]] http")?;
    let admin = listen(config.node.admin, "[[node]] admin")?;
    let (public_address, admin_address) = (public.local_addr()?, admin.local_addr()?);

    let metrics = Metrics::new();
    let started = std::time::Instant::now();
    let db = open_store(&config, &metrics)?;
    db.on_failure(on_storage_failure);
    let identity = NodeIdentity::load(&db, rand::random())?;
    let groups = Arc::new(open_groups(&config, &db, identity.id, &engine).await?);
    tracing::info!(
        node = config.node.name,
        shards = groups.founding().shards,
        links = groups.shards().iter().map(|group| group.read(|machine| machine.links())).sum::<usize>(),
        took_ms = started.elapsed().as_millis() as u64,
        "the store is open"
    );
    if groups.founding().shards != config.shards {
        tracing::warn!(
            configured = config.shards,
            actual = groups.founding().shards,
            "the number of shards was fixed when the cluster was created; [cluster] shards is ignored"
        );
    }

    let read_only = Arc::new(AtomicBool::new(false));
    watch_space(&config, read_only.clone(), &metrics)?;
    let view = Arc::new(ReadView::new(config.cache_bytes, &metrics));
    for group in groups.shards() {
        let view = view.clone();
        group.configure(|machine| machine.on_change(Arc::new(move |key| view.invalidate(key))));
    }
    // A public URL elsewhere says that something passes requests on to a listener on loopback.
    let local = public_address.ip().is_loopback() && config.public_url.as_ref().is_none_or(crate::http::is_loopback);
    let access = access(&config, local, &groups).await?;
    let journals = Journals::new(config.journal_records, &metrics);
    let actors = actors::start(&config, &groups, identity, read_only.clone(), &journals, &metrics).await;
    let node = Arc::new(NodeState {
        links: actors.links.clone(),
        keys: actors.keys.clone(),
        view: view.clone(),
        groups: groups.clone(),
        shards: groups.founding().shards,
        access,
        address: PublicAddress::new(config.public_url.clone(), public_address),
        timeout: config.request_timeout,
        url_max_bytes: config.url_max_bytes,
        body_max_bytes: config.body_max_bytes,
        read_only,
        draining: AtomicBool::new(false),
        closed: AtomicBool::new(false),
        open_requests: AtomicUsize::new(0),
        clock,
    });
    observe(&metrics, &db, view, &groups);

    let admin_server = admin_server(admin, node.clone(), metrics.clone())?;
    let server = public_server(
        public,
        PublicServer {
            node: node.clone(),
            journals,
            metrics: metrics.clone(),
            workers: config.workers,
            connections_max: config.connections_max,
            keep_alive: config.keep_alive,
            client_timeout: config.client_timeout,
        },
    )?;
    let (admin_handle, handle) = (admin_server.handle(), server.handle());
    let mut admin_server = tokio::task::spawn_local(admin_server);
    let mut server = tokio::task::spawn_local(server);
    announce(public_address, admin_address);

    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
        _ = interrupt.recv() => tracing::info!("interrupted: stopping"),
        ended = &mut server => tracing::error!(?ended, "the public server has ended by itself"),
        ended = &mut admin_server => tracing::error!(?ended, "the admin server has ended by itself"),
    }
    node.draining.store(true, Ordering::Relaxed);
    tokio::task::spawn_local(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        tracing::warn!("told to stop again: leaving at once; what was acknowledged is on disk");
        std::process::exit(1);
    });
    handle.pause().await;
    end_requests(&node, config.shutdown_grace).await;
    // Whoever still sends on a kept connection is turned away from here on, so that no visit comes after the last count.
    node.closed.store(true, Ordering::SeqCst);
    handle.stop(false).await;
    end_requests(&node, DRAIN_LOOK * 4).await;
    actors.stop().await;
    admin_handle.stop(false).await;
    let closing = groups.clone();
    engine.spawn(async move { closing.close().await }).await.map_err(|error| NodeError::Start(error.to_string()))??;
    tokio::task::spawn_blocking(move || db.close()).await.map_err(|error| NodeError::Start(error.to_string()))??;
    tracing::info!("stopped");
    Ok(())
}

/// Waits until no request is being answered, for two looks in a row. Idle connections are not waited for: the client of one
/// would keep a node from stopping for as long as it likes.
async fn end_requests(node: &NodeState, grace: Duration) {
    let deadline = tokio::time::Instant::now() + grace;
    let mut quiet = 0;
    while quiet < 2 {
        if tokio::time::Instant::now() >= deadline {
            tracing::warn!(open = node.open_requests.load(Ordering::Relaxed), "requests did not end in time");
            return;
        }
        tokio::time::sleep(DRAIN_LOOK).await;
        quiet = if node.open_requests.load(Ordering::Relaxed) == 0 { quiet + 1 } else { 0 };
    }
}

fn supported(config: &Config) -> Result<(), NodeError> {
    if config.nodes.len() > 1 {
        return Err(NodeError::Unsupported(format!(
            "{} lists {} nodes; this version runs one node. Leave one [[node]] entry in the file",
            config.source,
            config.nodes.len()
        )));
    }
    if let Some(missing) = ServiceName::ALL.into_iter().find(|service| !config.node.services.contains(service)) {
        return Err(NodeError::Unsupported(format!(
            "a node that is alone has to run all services, and {} is not in its list",
            missing.as_str()
        )));
    }
    Ok(())
}

fn listen(address: std::net::SocketAddr, key: &'static str) -> Result<TcpListener, NodeError> {
    TcpListener::bind(address).map_err(|error| NodeError::Listen { address, key, reason: error.to_string() })
}

async fn open_groups(
    config: &Config,
    db: &Db,
    node: NodeId,
    engine: &tokio::runtime::Handle,
) -> Result<Groups, NodeError> {
    let founding = Founding {
        cluster_id: rand::random(),
        name: config.cluster_name.clone(),
        shards: config.shards,
        permutation_key: rand::random(),
        created_at: clock(),
    };
    let options = GroupOptions { checkpoint_bytes: config.checkpoint_bytes, clock };
    let (db, data_dir) = (db.clone(), config.node.data_dir.clone());
    let opening = engine.spawn(async move { Groups::open(&db, node, &data_dir, founding, options).await });
    Ok(opening.await.map_err(|error| NodeError::Start(error.to_string()))??)
}

/// Decides who may change links, making an admin key where one is needed and there is none.
async fn access(config: &Config, local: bool, groups: &Groups) -> Result<Access, NodeError> {
    let set = async |digest: KeyDigest, replace: bool| {
        let applied = groups.cluster().propose(Command::SetAdminKey { digest, replace }).await;
        applied.map(|applied| applied.outcome).map_err(|error| NodeError::Start(error.to_string()))
    };
    let stored = groups.cluster().read(|machine| machine.state().admin_key);
    if let Some(key) = &config.admin_key {
        let digest = KeyDigest::of(key);
        if stored.is_none_or(|stored| !stored.matches(&digest)) {
            set(digest, true).await?;
        }
        return Ok(Access::Key(digest));
    }
    if let Some(digest) = stored {
        return Ok(Access::Key(digest));
    }
    if local {
        return Ok(Access::Open);
    }
    let key = format!("{KEY_PREFIX}{}", random_base62());
    let digest = KeyDigest::of(&key);
    match set(digest, false).await? {
        Outcome::Done => {
            show_key(&key);
            Ok(Access::Key(digest))
        }
        other => Err(NodeError::Start(format!("the admin key was not accepted: {other:?}"))),
    }
}

/// 43 characters of base62: 256 random bits.
fn random_base62() -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    (0..43).map(|_| char::from(DIGITS[rand::random_range(0..DIGITS.len())])).collect()
}

#[expect(clippy::print_stdout, reason = "the key is shown once, to the person who starts the server, and never logged")]
fn show_key(key: &str) {
    println!(
        "This server can be reached from other machines, so changes need a key. This is the admin key; it is shown only \
         once:\n\n    {key}\n\nSend it as `X-Api-Key: {KEY_PREFIX}…`, or set WAYPOST_API_KEY for the waypost commands.\n"
    );
}

#[expect(clippy::print_stdout, reason = "the one line that scripts wait for and read the ports from")]
fn announce(public: std::net::SocketAddr, admin: std::net::SocketAddr) {
    println!("waypost is ready: http://{public} (admin http://{admin})");
}

fn watch_space(config: &Config, read_only: Arc<AtomicBool>, metrics: &Metrics) -> Result<(), NodeError> {
    let watch = SpaceWatch::new(&config.node.data_dir);
    let (low, high) = (config.free_space_low, config.free_space_high);
    let free_gauge = metrics.gauge("waypost_disk_free_bytes", "Free space of the file system of the data directory");
    let read_only_gauge = metrics.gauge("waypost_read_only", "1 while changes are refused for want of space");
    let mut state = SpaceState::Writable;
    let mut look = move || -> std::io::Result<()> {
        let space = watch.check()?;
        free_gauge.set(space.free_bytes as i64);
        let next = state.next(space.free_bytes, low, high);
        if next != state {
            match next {
                SpaceState::ReadOnly => tracing::error!(
                    free = space.free_bytes,
                    low,
                    "the disk has too little free space: changes are refused, redirects go on"
                ),
                SpaceState::Writable => tracing::info!(free = space.free_bytes, "changes are accepted again"),
            }
        }
        state = next;
        read_only_gauge.set((next == SpaceState::ReadOnly).into());
        read_only.store(next == SpaceState::ReadOnly, Ordering::Relaxed);
        Ok(())
    };
    look()?;
    std::thread::Builder::new().name("space-watch".to_owned()).spawn(move || {
        loop {
            std::thread::sleep(SPACE_INTERVAL);
            if let Err(error) = look() {
                tracing::error!(%error, "free space cannot be read");
            }
        }
    })?;
    Ok(())
}

fn observe(metrics: &Metrics, db: &Db, view: Arc<ReadView>, groups: &Arc<Groups>) {
    let (db, groups) = (db.clone(), groups.clone());
    let links = metrics.gauge("waypost_links", "Links stored on this node");
    let pending = metrics.gauge("waypost_checkpoint_pending_bytes", "Changes not yet in a checkpoint");
    metrics.on_scrape(move || {
        db.size_on_disk();
        view.observe();
        links.set(groups.shards().iter().map(|group| group.read(|machine| machine.links())).sum::<usize>() as i64);
        pending.set(groups.status().iter().map(|status| status.pending_bytes).sum::<u64>() as i64);
    });
}
