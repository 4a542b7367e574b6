//! The configuration as the program works with it: every value checked, in its own type.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::Serialize;
use url::Url;
use waypost_protocol::target::TARGET_BYTES_MAX;
use waypost_telemetry::LogFormat;
use waypost_transport::TlsFiles;

use super::address::PeerAddress;
use super::check::{Checker, public_url, select, tls, trace_endpoint};
use super::origin::Origins;
use super::secret::{SecretText, secret};
use super::{ConfigError, Overrides, Raw, raw};

/// A service that a node can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the services are described in ARCHITECTURE.md")]
pub enum ServiceName {
    KeyAllocator,
    LinkStore,
    Redirector,
    ClickCounter,
    Janitor,
}

impl ServiceName {
    /// All five.
    pub const ALL: [Self; 5] =
        [Self::KeyAllocator, Self::LinkStore, Self::Redirector, Self::ClickCounter, Self::Janitor];

    /// The name in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::KeyAllocator => "key_allocator",
            Self::LinkStore => "link_store",
            Self::Redirector => "redirector",
            Self::ClickCounter => "click_counter",
            Self::Janitor => "janitor",
        }
    }
}

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

impl Config {
    /// Checks the file for the node that the command line selects.
    pub(super) fn build(
        raw: Raw,
        overrides: &Overrides,
        environment: &BTreeMap<String, String>,
        source: &str,
        origins: &Origins<'_>,
    ) -> Result<Self, ConfigError> {
        let check = Checker { origins };
        let entries = if raw.node.is_empty() { vec![raw::Node::default()] } else { raw.node.clone() };
        let nodes = entries.iter().map(|node| check.node(node)).collect::<Result<Vec<_>, _>>()?;
        for (i, node) in nodes.iter().enumerate() {
            if nodes[i + 1..].iter().any(|other| other.name == node.name) {
                return Err(check.invalid("[[node]] name", format!("\"{}\" is used twice", node.name)));
            }
            let key = format!("[[node]] peer of \"{}\"", node.name);
            if nodes.len() > 1 && !node.peer.can_be_reached() {
                return Err(check
                    .invalid(&key, "other nodes cannot reach this address; use an address and a port of this node"));
            }
            if let Some(other) = nodes[i + 1..].iter().find(|other| nodes.len() > 1 && other.peer == node.peer) {
                return Err(
                    check.invalid(&key, format!("\"{}\" has the same address; each node needs its own", other.name))
                );
            }
        }
        for (needed, why) in [
            (ServiceName::LinkStore, "links cannot be stored"),
            (ServiceName::KeyAllocator, "codes cannot be generated"),
        ] {
            if !nodes.iter().any(|node| node.services.contains(&needed)) {
                let name = needed.as_str();
                return Err(check.invalid("[[node]] services", format!("no node runs \"{name}\", so {why}")));
            }
        }
        let mut node = select(&nodes, overrides.node.as_deref(), &check)?;
        if let Some(dir) = &overrides.data_dir {
            node.data_dir.clone_from(dir);
        }
        node.http = overrides.listen.unwrap_or(node.http);
        node.admin = overrides.admin_listen.unwrap_or(node.admin);
        check.addresses_differ(&node, "--listen, --admin-listen")?;

        let workers = check.range("[http] workers", raw.http.workers.into(), 0, 256)? as usize;
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let millis =
            |key: &str, value: u32, min: u64| check.range(key, value.into(), min, 3_600_000).map(Duration::from_millis);
        let low = check.range("[storage] free_space_low", raw.storage.free_space_low.0, 1 << 20, 1 << 50)?;
        let high = raw.storage.free_space_high.0;
        if high < low {
            return Err(check.invalid(
                "[storage] free_space_high, free_space_low",
                "free_space_high has to be at least free_space_low",
            ));
        }
        let log_format = match raw.log.format.as_str() {
            "human" => LogFormat::Human,
            "json" => LogFormat::Json,
            other => {
                return Err(
                    check.invalid("[log] format", format!("\"{other}\" is not a format; use \"human\" or \"json\""))
                );
            }
        };
        let analytics = match raw.http.analytics.as_str() {
            "totals" => AnalyticsRule::Totals,
            "full" => AnalyticsRule::Full,
            "key" => AnalyticsRule::Key,
            other => {
                let message = format!("\"{other}\" is not valid; use \"totals\", \"full\" or \"key\"");
                return Err(check.invalid("[http] analytics", message));
            }
        };
        let cluster_secret = secret(environment, "WAYPOST_CLUSTER_SECRET")?.unwrap_or_default();
        let tls = tls(&raw.peer, &check)?;
        if nodes.len() > 1 && !overrides.offline {
            let near = node.peer.is_loopback() && node.peer_listen.ip().is_loopback();
            // The peer port gives access to everything that the node has, and on one machine any account can connect to it.
            if cluster_secret.is_empty() && !(near && tls.is_some()) {
                return Err(check.invalid(
                    &format!("[[node]] peer of \"{}\"", node.name),
                    "several nodes need a secret, also on one machine: set WAYPOST_CLUSTER_SECRET, or its file as \
                     WAYPOST_CLUSTER_SECRET_FILE, to the same random text on all",
                ));
            }
            if !near && tls.is_none() && !raw.peer.allow_plaintext {
                return Err(check.invalid(
                    "[peer]",
                    "links would travel unencrypted; name certificates in tls_ca, tls_cert and tls_key, or, in a network of \
                     your own, set allow_plaintext = true",
                ));
            }
        }
        Ok(Self {
            source: source.to_owned(),
            cluster_name: raw.cluster.name.clone(),
            shards: check.range("[cluster] shards", raw.cluster.shards.into(), 1, 256)? as u32,
            replicas: check.range("[cluster] replicas", raw.cluster.replicas.into(), 1, 7)? as u32,
            node,
            nodes,
            public_url: public_url(&raw.http.public_url, &check)?,
            analytics,
            workers: if workers == 0 { cores() } else { workers },
            body_max_bytes: check.range("[http] body_max_bytes", raw.http.body_max_bytes.0, 1024, 16 << 20)? as usize,
            connections_max: check.range("[http] connections_max", raw.http.connections_max.into(), 1, 1_000_000)?
                as usize,
            connections_per_address_max: check.range(
                "[http] connections_per_address_max",
                raw.http.connections_per_address_max.into(),
                1,
                1_000_000,
            )? as usize,
            keep_alive: Duration::from_secs(check.range(
                "[http] keep_alive_s",
                raw.http.keep_alive_s.into(),
                1,
                3600,
            )?),
            client_timeout: millis("[http] client_timeout_ms", raw.http.client_timeout_ms, 100)?,
            write_timeout: millis("[http] write_timeout_ms", raw.http.write_timeout_ms, 100)?,
            request_timeout: millis("[http] request_timeout_ms", raw.http.request_timeout_ms, 100)?,
            shutdown_grace: Duration::from_secs(check.range(
                "[http] shutdown_grace_s",
                raw.http.shutdown_grace_s.into(),
                1,
                3600,
            )?),
            url_max_bytes: check.range(
                "[links] url_max_bytes",
                raw.links.url_max_bytes.0,
                64,
                TARGET_BYTES_MAX as u64,
            )? as usize,
            expired_retention: Duration::from_secs(24 * 3600 * u64::from(raw.links.expired_retention_days)),
            cache_bytes: check.range("[cache] bytes", raw.cache.bytes.0, 1 << 20, 1 << 45)?,
            clicks_interval: millis("[clicks] interval_ms", raw.clicks.interval_ms, 10)?,
            clicks_record: raw.clicks.record,
            clicks_spill_bytes: check.range("[clicks] spill_bytes", raw.clicks.spill_bytes.0, 0, 1 << 40)?,
            journal_sync: millis("[clicks] journal_sync_ms", raw.clicks.journal_sync_ms, 10)?,
            geo_database: Some(&raw.clicks.geo_database).filter(|path| !path.is_empty()).map(PathBuf::from),
            visitors: VisitorRules {
                trusted_proxies: check.networks("[http] trusted_proxies", &raw.http.trusted_proxies)?,
                excluded: check.networks("[clicks] excluded_networks", &raw.clicks.excluded_networks)?,
                respect_do_not_track: raw.clicks.respect_do_not_track,
                no_track_parameter: raw.clicks.no_track_parameter.clone(),
            },
            journal_records: check.range(
                "[clicks] journal_records",
                raw.clicks.journal_records.into(),
                1000,
                1 << 30,
            )? as usize,
            store_cache_bytes: check.range("[storage] cache_bytes", raw.storage.cache_bytes.0, 8 << 20, 1 << 45)?,
            checkpoint_bytes: check.range(
                "[storage] checkpoint_bytes",
                raw.storage.checkpoint_bytes.0,
                64 << 10,
                64 << 20,
            )?,
            log_kept_bytes: check.range("[storage] log_kept_bytes", raw.storage.log_kept_bytes.0, 0, 1 << 30)?,
            free_space_low: low,
            free_space_high: high,
            commit_delay: Duration::from_micros(check.range(
                "[storage] commit_delay_us",
                raw.storage.commit_delay_us.into(),
                0,
                1_000_000,
            )?),
            shard_inflight_max: check.range(
                "[limits] shard_inflight_max",
                raw.limits.shard_inflight_max.into(),
                1,
                4096,
            )? as usize,
            shard_statistics_max: check.range(
                "[limits] shard_statistics_max",
                raw.limits.shard_statistics_max.into(),
                1,
                1024,
            )? as usize,
            unknown_codes_per_s: check.range(
                "[limits] unknown_codes_per_s",
                raw.limits.unknown_codes_per_s.into(),
                0,
                1_000_000,
            )? as u32,
            janitor_interval: millis("[janitor] interval_ms", raw.janitor.interval_ms, 10)?,
            log_format,
            log_level: check.log_level(&raw.log.level)?,
            log_access_every: raw.log.access_every,
            trace_endpoint: trace_endpoint(&raw.traces.endpoint, &check)?,
            trace_every: raw.traces.every,
            admin_key: secret(environment, "WAYPOST_ADMIN_KEY")?,
            moves_max: check.range("[cluster] moves_max", raw.cluster.moves_max.into(), 1, 64)? as usize,
            stale_after: millis("[cluster] stale_after_ms", raw.cluster.stale_after_ms, 1)?,
            cluster_secret,
            tls,
        })
    }
}
