//! The HTTP servers of a node: the public one and the admin one.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::sync::Arc;

use actix_server::{Server, ServerHandle};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use waypost_consensus::{FRESH, Freshness};
use waypost_protocol::domain::HostName;
use waypost_redirector::{ReadHere, Seed};

use super::base::Base;
use super::error::NodeError;
use super::listen::Listeners;
use super::services::Services;
use crate::app::{App, AppParts, Authenticator, Passwords, SessionTimes, Sessions};
use crate::cluster::{Backups, Lists};
use crate::config::{Config, ServiceName};
use crate::http::{
    Addresses, BULK_REQUESTS_MAX, ConnectionLimits, Dashboard, LIST_STREAMS_MAX, LIVE_STREAMS_MAX, LimitedVisits,
    NodeAddresses, NodeState, PasswordAttempts, PublicAddress, PublicServer, Robots, SplitKey, UnknownCodes,
    admin_server, public_server,
};
use crate::pages::Pages;
use crate::wall_clock::wall_clock;

/// Both servers, running.
pub(super) struct Servers {
    pub(super) node: Arc<NodeState>,
    pub(super) public: Running,
    pub(super) admin: Running,
}

/// A server that runs until it is stopped.
pub(super) struct Running {
    handle: ServerHandle,
    task: JoinHandle<std::io::Result<()>>,
}

impl Running {
    fn start(server: Server) -> Self {
        // Awaited below, in `Servers::ended`.
        Self { handle: server.handle(), task: tokio::task::spawn_local(server) }
    }

    /// Accepts no further connections.
    pub(super) async fn pause(&self) {
        self.handle.pause().await;
    }

    /// Closes its connections at once.
    pub(super) async fn stop(&self) {
        self.handle.stop(false).await;
    }
}

impl Servers {
    /// Starts both servers, with at most `connections_max` connections on each worker of the public one.
    ///
    /// # Errors
    /// If a listener cannot be used.
    pub(super) fn start(
        base: &Base,
        services: &Services,
        authenticator: Authenticator,
        listeners: Listeners,
        connections_max: usize,
    ) -> Result<Self, NodeError> {
        let config = &base.config;
        let pages = Pages::load(config.pages_dir.as_deref())?;
        let addresses = &listeners.addresses;
        let node = Arc::new(node_state(base, services, authenticator, pages, &addresses.public, addresses.admin));
        let admin = admin_server(listeners.admin, node.clone(), base.metrics.clone())?;
        let public = public_server(
            listeners.public,
            PublicServer {
                redirects: config.node.services.contains(&ServiceName::Redirector),
                redirector: Seed {
                    view: services.view.clone(),
                    links: services.actors.links.clone(),
                    shards: node.shards,
                    keep: config.stale_after.saturating_sub(FRESH).max(config.stale_after / 4),
                },
                read_here: read_here(services.fresh.clone()),
                node: node.clone(),
                journals: services.journals.clone(),
                access_every: config.log_access_every,
                trace_every: config.trace_every,
                recorders: services.recorders.clone(),
                visitors: config.visitors.clone(),
                metrics: base.metrics.clone(),
                supervision: base.supervision.clone(),
                workers: config.workers,
                limits: ConnectionLimits {
                    connections_max,
                    addresses: Addresses::new(
                        config.connections_per_address_max,
                        config.visitors.trusted_proxies.clone(),
                    ),
                    keep_alive: config.keep_alive,
                    request: config.client_timeout,
                    write: config.write_timeout,
                },
            },
        )?;
        Ok(Self { node, public: Running::start(public), admin: Running::start(admin) })
    }

    /// Waits until a server ends by itself.
    pub(super) async fn ended(&mut self) -> NodeError {
        tokio::select! {
            ended = &mut self.public.task => NodeError::ServerEnded("public", format!("{ended:?}")),
            ended = &mut self.admin.task => NodeError::ServerEnded("admin", format!("{ended:?}")),
        }
    }
}

/// Prints where the dashboard is: with a one-time link for the person in front of a terminal, else the address alone.
pub(super) fn announce_dashboard(node: &NodeState) {
    if let Some(dashboard) = &node.dashboard {
        let make = || node.app.make_first_link();
        crate::say!("waypost dashboard: {}", dashboard.announcement(std::io::stdout().is_terminal(), make));
    }
}

/// Reads links of this node's replicas, under the conditions under which LinkStore answers from one: it is held here, and fresh.
fn read_here(fresh: Arc<Freshness>) -> ReadHere {
    Arc::new(move |shard, key| {
        let groups = fresh.groups();
        let group = groups.shard(shard).filter(|_| groups.holds(shard) && fresh.is_fresh(shard))?;
        // That it cannot be read, LinkStore tells.
        group.read_at_once(|machine| machine.link(key))?.ok()?
    })
}

/// How long sessions of the dashboard last. Nobody signs in on a node that serves none.
fn session_times(config: &Config) -> SessionTimes {
    let times = config.dashboard.as_ref().map(|dashboard| (dashboard.session_idle, dashboard.session_max));
    let (idle, max) = times.unwrap_or_default();
    SessionTimes { idle, max }
}

/// The state for the handlers.
fn node_state(
    base: &Base,
    services: &Services,
    authenticator: Authenticator,
    pages: Pages,
    public: &SocketAddr,
    admin: SocketAddr,
) -> NodeState {
    let Services { groups, members, transport, .. } = services;
    let config = &base.config;
    let dashboard = config.dashboard.clone().map(|dashboard| {
        let addresses = NodeAddresses { public: *public, admin, public_url: config.public_url.clone() };
        Dashboard::new(dashboard, addresses, config.visitors.clone(), &base.metrics)
    });
    NodeState {
        app: App::new(AppParts {
            links: services.actors.links.clone(),
            keys: services.actors.keys.clone(),
            passwords: Passwords::new(&groups.bootstrap().permutation_key),
            view: services.view.clone(),
            groups: groups.clone(),
            controller: services.controller.clone(),
            lists: Lists::new(groups.clone(), services.catalog.clone(), Arc::new(transport.clone())),
            backups: Backups::new(groups.clone(), members.clone(), Arc::new(transport.clone()), base.engine_tasks()),
            public_host: config.public_url.as_ref().and_then(|url| HostName::parse(url.host_str()?).ok()),
            authenticator,
            sessions: Sessions::new(session_times(config), &groups.bootstrap().permutation_key),
            analytics: config.analytics,
            timeout: config.request_timeout,
            url_max_bytes: config.url_max_bytes,
            read_only: base.read_only.clone(),
            clock: wall_clock,
        }),
        view: services.view.clone(),
        groups: groups.clone(),
        fresh: services.fresh.clone(),
        memory: base.memory.clone(),
        unknown: UnknownCodes::new(config.unknown_codes_per_s, &base.metrics),
        attempts: PasswordAttempts::new(&base.metrics),
        limited: LimitedVisits::new(&base.metrics),
        supervision: base.supervision.clone(),
        shards: groups.bootstrap().shards,
        live_streams: Arc::new(Semaphore::new(LIVE_STREAMS_MAX)),
        list_streams: Arc::new(Semaphore::new(LIST_STREAMS_MAX)),
        bulk_requests: Arc::new(Semaphore::new(BULK_REQUESTS_MAX)),
        pages,
        dashboard,
        robots: Robots::default(),
        split_key: SplitKey::of(&groups.bootstrap().permutation_key),
        geo: services.journals.geo().clone(),
        address: PublicAddress::new(config.public_url.clone(), *public, config.visitors.trusted_proxies.clone()),
        admin,
        timeout: config.request_timeout,
        body_max_bytes: config.body_max_bytes,
        lifecycle: base.lifecycle.clone(),
        clock: wall_clock,
    }
}
