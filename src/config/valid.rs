//! The configuration as the program works with it: every value checked, in its own type. `build.rs` makes it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use url::Url;
use waypost_protocol::domain::HostName;
use waypost_telemetry::LogFormat;
use waypost_transport::TlsFiles;

use super::address::PeerAddress;
use super::memory::MemoryBudget;
use super::secret::SecretText;
use super::service::ServiceName;

/// One node of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// Its name, unique in the file.
    pub name: String,
    /// The address for redirects and the API.
    pub http: SocketAddr,
    /// The address for metrics and health.
    pub admin: SocketAddr,
    /// The address at which other nodes reach it.
    pub peer: PeerAddress,
    /// The address at which it listens for other nodes.
    pub peer_listen: SocketAddr,
    /// The data directory.
    pub data_dir: PathBuf,
    /// Nodes of one zone may fail together.
    pub zone: String,
    /// The services that it runs.
    pub services: BTreeSet<ServiceName>,
}

/// What `/analytics/{code}` answers to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnalyticsRule {
    /// Totals for everybody; the target and the times for clients with the key.
    Totals,
    /// Everything for everybody.
    Full,
    /// Everything for clients with the key, and nothing for others.
    Key,
}

/// The listeners that serve the dashboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DashboardListener {
    /// The public one.
    Public,
    /// The admin one.
    Admin,
    /// Both.
    Both,
}

/// Where the dashboard is, and how long people stay signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DashboardConfig {
    /// The path, without a slash at its end: no link can be there.
    pub path: String,
    /// The listeners that serve it.
    pub listener: DashboardListener,
    /// On the public listener the only host that serves it, besides addresses of this machine; `None` = all.
    pub host: Option<HostName>,
    /// A session ends if it is not used for so long.
    pub session_idle: Duration,
    /// A session ends after so long in any case.
    pub session_max: Duration,
}

/// Which visits are recorded, and how.
#[derive(Debug, Clone, Default)]
pub struct VisitorRules {
    /// The proxies whose headers about the client are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The networks whose visits are not counted.
    pub excluded: Vec<IpNet>,
    /// Whether DNT and Sec-GPC are honoured.
    pub respect_do_not_track: bool,
    /// The parameter that excludes a visit from counting; empty = none.
    pub no_track_parameter: String,
}

/// The checked configuration, as one node sees it.
#[derive(Debug, Clone)]
pub struct Config {
    /// The source of the configuration, for messages.
    pub source: String,
    /// The name of the cluster.
    pub cluster_name: String,
    /// The number of shards of a cluster that is created with this file.
    pub shards: u32,
    /// The number of replicas of each shard.
    pub replicas: u32,
    /// This node.
    pub node: NodeConfig,
    /// All nodes of the file.
    pub nodes: Vec<NodeConfig>,
    /// The beginning of short URLs; `None` = the host of the request.
    pub public_url: Option<Url>,
    /// What `/analytics/{code}` answers to whom.
    pub analytics: AnalyticsRule,
    /// The dashboard; `None` = this node serves none.
    pub dashboard: Option<DashboardConfig>,
    /// The directory with the site's own pages.
    pub pages_dir: Option<PathBuf>,
    /// The number of threads that answer requests.
    pub workers: usize,
    /// The longest request body.
    pub body_max_bytes: usize,
    /// Open connections on one worker.
    pub connections_max: usize,
    /// Open connections of one client address.
    pub connections_per_address_max: usize,
    /// How long an idle connection stays open.
    pub keep_alive: Duration,
    /// How long a client may take to send the head of a request, and again for its body.
    pub client_timeout: Duration,
    /// How long a client may take to read an answer, or 16 KiB of it.
    pub write_timeout: Duration,
    /// How long a request may take.
    pub request_timeout: Duration,
    /// How long open requests may take to end when the server stops.
    pub shutdown_grace: Duration,
    /// The longest URL.
    pub url_max_bytes: usize,
    /// How long an expired link answers `410`.
    pub expired_retention: Duration,
    /// The size of the link cache, in bytes.
    pub cache_bytes: u64,
    /// Whether this node keeps a catalog of its links.
    pub catalog: bool,
    /// How often clicks are sent to the shards.
    pub clicks_interval: Duration,
    /// Whether visits are recorded.
    pub clicks_record: bool,
    /// The most disk space for spills, in bytes.
    pub clicks_spill_bytes: u64,
    /// How often the journals are synced.
    pub journal_sync: Duration,
    /// The geographic database.
    pub geo_database: Option<PathBuf>,
    /// Which visits are recorded, and how.
    pub visitors: VisitorRules,
    /// The number of clicks that a worker's journal holds.
    pub journal_records: usize,
    /// The memory for pages of the database, in bytes.
    pub store_cache_bytes: u64,
    /// The number of changed bytes at which a shard writes a checkpoint.
    pub checkpoint_bytes: u64,
    /// Bytes of log behind a checkpoint that each group of a cluster keeps for nodes that were away.
    pub log_kept_bytes: u64,
    /// Free space below which the node is read-only.
    pub free_space_low: u64,
    /// Free space above which it accepts changes again.
    pub free_space_high: u64,
    /// The delay before each sync.
    pub commit_delay: Duration,
    /// The memory that the node may take.
    pub memory: MemoryBudget,
    /// The number of requests that one shard queues or handles.
    pub shard_inflight_max: usize,
    /// The number of requests for statistics that one shard queues or handles.
    pub shard_statistics_max: usize,
    /// The number of unknown codes that a client may ask for in a second; 0 = no limit.
    pub unknown_codes_per_s: u32,
    /// The time between two rounds of maintenance.
    pub janitor_interval: Duration,
    /// The format of log events.
    pub log_format: LogFormat,
    /// The log level, or a list of levels.
    pub log_level: String,
    /// One in this many requests is logged; 0 = none.
    pub log_access_every: u32,
    /// The endpoint for traces, without a trailing slash; `None` = traces are off.
    pub trace_endpoint: Option<String>,
    /// One in this many requests is traced; 0 = none.
    pub trace_every: u32,
    /// The admin key, if one was given.
    pub admin_key: Option<SecretText>,
    /// The number of groups whose members may be changed at the same time.
    pub moves_max: usize,
    /// The longest age of an answer from a node that did not make the change itself.
    pub stale_after: Duration,
    /// The secret that the nodes share; empty = none.
    pub cluster_secret: SecretText,
    /// The certificates for the peer port, if it has TLS.
    pub tls: Option<TlsFiles>,
}

impl Config {
    /// A digest of everything that must be equal in the files of all nodes.
    pub fn digest(&self) -> u64 {
        let mut nodes: Vec<String> = self
            .nodes
            .iter()
            .map(|node| {
                let services: Vec<&str> = node.services.iter().map(|service| service.as_str()).collect();
                format!("{}|{}|{}|{}", node.name, node.peer, node.zone, services.join(","))
            })
            .collect();
        nodes.sort_unstable();
        let text = format!("{}|{}|{}|{}", self.cluster_name, self.shards, self.replicas, nodes.join("\n"));
        waypost_protocol::digest::fingerprint(&[text.as_bytes()])
    }
}
