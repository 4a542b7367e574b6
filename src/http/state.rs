//! The state that the HTTP handlers use: of the node, and of one worker.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use waypost_click_counter::{Geo, Recorder};
use waypost_consensus::{Freshness, Groups};
use waypost_protocol::UnixMs;
use waypost_protocol::messages::Redirector;
use waypost_redirector::{Here, ReadView};
use waypost_runtime::{ActorRef, Supervision};

use super::access_log::AccessLog;
use super::attempts::PasswordAttempts;
use super::dashboard::Dashboard;
use super::metrics::WorkerMetrics;
use super::origin::PublicAddress;
use super::robots::Robots;
use super::split_key::SplitKey;
use super::traced::Traced;
use super::unknown::UnknownCodes;
use super::visit_budgets::LimitedVisits;
use crate::app::App;
use crate::config::VisitorRules;
use crate::lifecycle::Lifecycle;
use crate::memory::NodeMemory;
use crate::pages::Pages;

/// The state that all workers of a node share.
pub struct NodeState {
    /// What the handlers call.
    pub app: App,
    /// The link cache. Redirects read it directly.
    pub view: Arc<ReadView>,
    /// The replicated groups, for status.
    pub groups: Arc<Groups>,
    /// The age of this node's replicas.
    pub fresh: Arc<Freshness>,
    /// The memory of the process.
    pub memory: Arc<NodeMemory>,
    /// The actors that stay down.
    pub supervision: Supervision,
    /// The budgets of clients for unknown codes.
    pub unknown: UnknownCodes,
    /// The budgets of passwords.
    pub attempts: PasswordAttempts,
    /// The budgets of clients for visits of links with a limit.
    pub limited: LimitedVisits,
    /// The number of shards.
    pub shards: u32,
    /// Permits of live streams.
    pub live_streams: Arc<Semaphore>,
    /// Permits of lists that are sent whole.
    pub list_streams: Arc<Semaphore>,
    /// Permits of bulk requests, and of sweeps.
    pub bulk_requests: Arc<Semaphore>,
    /// The pages for visitors.
    pub pages: Pages,
    /// The dashboard, if this node serves it.
    pub dashboard: Option<Dashboard>,
    /// What crawlers may fetch.
    pub robots: Robots,
    /// Spreads visitors over the targets of a split.
    pub split_key: SplitKey,
    /// The geographic database, for visitors who are only described: those who come are located by the recorder of their worker.
    pub geo: Arc<Geo>,
    /// The public address of the server.
    pub address: PublicAddress,
    /// The address of the admin listener.
    pub admin: SocketAddr,
    /// How long a request may take.
    pub timeout: Duration,
    /// The longest body read, in bytes.
    pub body_max_bytes: usize,
    /// What the node is doing, and the requests that it is answering.
    pub lifecycle: Arc<Lifecycle>,
    /// The clock.
    pub clock: fn() -> UnixMs,
}

impl NodeState {
    /// Whether the node is stopping, or leaving the cluster.
    pub fn draining(&self) -> bool {
        self.lifecycle.state().closes_connections()
    }

    /// The dashboard, for its own pages: they exist only where there is one.
    pub(super) fn dashboard(&self) -> &Dashboard {
        self.dashboard.as_ref().expect("invariant: the pages are registered with the dashboard")
    }

    /// Whether no redirect is answered any more, so that no visit comes after the last count.
    pub(super) fn closed(&self) -> bool {
        self.lifecycle.state().refuses_redirects()
    }
}

/// The state of one HTTP worker.
pub struct WorkerState {
    /// The node.
    pub node: Arc<NodeState>,
    /// The Redirector on this worker's thread.
    pub redirector: ActorRef<Redirector>,
    /// This node's replicas, for links that are not cached.
    pub here: Here,
    /// Whether this node answers redirects.
    pub redirects: bool,
    /// Records visits in the click journal of this worker.
    pub recorder: Recorder,
    /// Which visits are recorded, and how.
    pub visitors: VisitorRules,
    /// Its metrics.
    pub metrics: WorkerMetrics,
    /// Its part of the access log.
    pub access_log: AccessLog,
    /// Which of its requests are traced.
    pub traced: Traced,
}
