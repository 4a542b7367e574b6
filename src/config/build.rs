//! Makes the checked configuration of one node out of the layers: the file, the environment and the command line.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use waypost_telemetry::LogFormat;
use waypost_transport::TlsFiles;

use super::check::{Checker, public_url, select, tls, trace_endpoint};
use super::dashboard::dashboard;
use super::memory::MemoryBudget;
use super::origin::Origins;
use super::secret::{SecretText, secret};
use super::service::ServiceName;
use super::valid::{AnalyticsRule, Config, NodeConfig, VisitorRules};
use super::{ConfigError, Overrides, Raw, raw};
use crate::limits;

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
        let nodes = nodes(&raw, &check)?;
        let node = own_node(&nodes, overrides, &check)?;
        let workers = check.count("[http] workers", raw.http.workers, &limits::WORKERS)?;
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let (free_space_low, free_space_high) = free_space(&raw.storage, &check)?;
        let log_format = log_format(&raw.log.format, &check)?;
        let analytics = analytics(&raw.http.analytics, &check)?;
        let dashboard = dashboard(&raw.dashboard, &check)?;
        let cluster_secret = secret(environment, "WAYPOST_CLUSTER_SECRET")?.unwrap_or_default();
        let tls = tls(&raw.peer, &check)?;
        if nodes.len() > 1 && !overrides.offline {
            peers_are_safe(&node, &cluster_secret, tls.as_ref(), raw.peer.allow_plaintext, &check)?;
        }
        let Raw { cluster, http, links, cache, catalog, clicks, storage, limits: bounds, janitor, log, traces, .. } =
            raw;
        Ok(Self {
            source: source.to_owned(),
            cluster_name: cluster.name,
            shards: check.range("[cluster] shards", cluster.shards, &limits::SHARDS)? as u32,
            replicas: check.range("[cluster] replicas", cluster.replicas, &limits::REPLICAS)? as u32,
            node,
            nodes,
            public_url: public_url(&http.public_url, &check)?,
            analytics,
            dashboard,
            pages_dir: Some(&http.pages_dir).filter(|path| !path.is_empty()).map(PathBuf::from),
            workers: if workers == 0 { cores() } else { workers },
            body_max_bytes: check.count("[http] body_max_bytes", http.body_max_bytes.0, &limits::BODY_BYTES)?,
            connections_max: check.count("[http] connections_max", http.connections_max, &limits::CONNECTIONS)?,
            connections_per_address_max: check.count(
                "[http] connections_per_address_max",
                http.connections_per_address_max,
                &limits::CONNECTIONS,
            )?,
            keep_alive: check.seconds("[http] keep_alive_s", http.keep_alive_s, &limits::HTTP_SECONDS)?,
            client_timeout: check.millis("[http] client_timeout_ms", http.client_timeout_ms, &limits::HTTP_MS)?,
            write_timeout: check.millis("[http] write_timeout_ms", http.write_timeout_ms, &limits::HTTP_MS)?,
            request_timeout: check.millis("[http] request_timeout_ms", http.request_timeout_ms, &limits::HTTP_MS)?,
            shutdown_grace: check.seconds("[http] shutdown_grace_s", http.shutdown_grace_s, &limits::HTTP_SECONDS)?,
            url_max_bytes: check.count("[links] url_max_bytes", links.url_max_bytes.0, &limits::URL_BYTES)?,
            expired_retention: Duration::from_secs(24 * 3600 * u64::from(links.expired_retention_days)),
            cache_bytes: check.range("[cache] bytes", cache.bytes.0, &limits::CACHE_BYTES)?,
            catalog: catalog.enabled,
            clicks_interval: check.millis("[clicks] interval_ms", clicks.interval_ms, &limits::INTERVAL_MS)?,
            clicks_record: clicks.record,
            clicks_spill_bytes: check.range("[clicks] spill_bytes", clicks.spill_bytes.0, &limits::SPILL_BYTES)?,
            journal_sync: check.millis("[clicks] journal_sync_ms", clicks.journal_sync_ms, &limits::INTERVAL_MS)?,
            geo_database: Some(&clicks.geo_database).filter(|path| !path.is_empty()).map(PathBuf::from),
            visitors: VisitorRules {
                trusted_proxies: check.networks("[http] trusted_proxies", &http.trusted_proxies)?,
                excluded: check.networks("[clicks] excluded_networks", &clicks.excluded_networks)?,
                respect_do_not_track: clicks.respect_do_not_track,
                no_track_parameter: clicks.no_track_parameter,
            },
            journal_records: check.count(
                "[clicks] journal_records",
                clicks.journal_records,
                &limits::JOURNAL_RECORDS,
            )?,
            store_cache_bytes: check.range(
                "[storage] cache_bytes",
                storage.cache_bytes.0,
                &limits::STORE_CACHE_BYTES,
            )?,
            checkpoint_bytes: check.range(
                "[storage] checkpoint_bytes",
                storage.checkpoint_bytes.0,
                &limits::CHECKPOINT_BYTES,
            )?,
            log_kept_bytes: check.range(
                "[storage] log_kept_bytes",
                storage.log_kept_bytes.0,
                &limits::LOG_KEPT_BYTES,
            )?,
            free_space_low,
            free_space_high,
            commit_delay: Duration::from_micros(check.range(
                "[storage] commit_delay_us",
                storage.commit_delay_us,
                &limits::COMMIT_DELAY_US,
            )?),
            memory: memory(bounds.memory, &check)?,
            shard_inflight_max: check.count(
                "[limits] shard_inflight_max",
                bounds.shard_inflight_max,
                &limits::SHARD_INFLIGHT,
            )?,
            shard_statistics_max: check.count(
                "[limits] shard_statistics_max",
                bounds.shard_statistics_max,
                &limits::SHARD_STATISTICS,
            )?,
            unknown_codes_per_s: check.range(
                "[limits] unknown_codes_per_s",
                bounds.unknown_codes_per_s,
                &limits::UNKNOWN_CODES,
            )? as u32,
            janitor_interval: check.millis("[janitor] interval_ms", janitor.interval_ms, &limits::INTERVAL_MS)?,
            log_format,
            log_level: check.log_level(&log.level)?,
            log_access_every: log.access_every,
            trace_endpoint: trace_endpoint(&traces.endpoint, &check)?,
            trace_every: traces.every,
            admin_key: secret(environment, "WAYPOST_ADMIN_KEY")?,
            moves_max: check.count("[cluster] moves_max", cluster.moves_max, &limits::MOVES)?,
            stale_after: check.millis("[cluster] stale_after_ms", cluster.stale_after_ms, &limits::STALE_AFTER_MS)?,
            cluster_secret,
            tls,
        })
    }
}

/// All nodes of the file. Together they run what a cluster cannot do without, and each can be reached by the others.
fn nodes(raw: &Raw, check: &Checker<'_>) -> Result<Vec<NodeConfig>, ConfigError> {
    let entries = if raw.node.is_empty() { vec![raw::Node::default()] } else { raw.node.clone() };
    let nodes = entries.iter().map(|node| check.node(node)).collect::<Result<Vec<_>, _>>()?;
    for (i, node) in nodes.iter().enumerate() {
        if nodes[i + 1..].iter().any(|other| other.name == node.name) {
            return Err(check.invalid("[[node]] name", format!("\"{}\" is used twice", node.name)));
        }
        let key = format!("[[node]] peer of \"{}\"", node.name);
        if nodes.len() > 1 && !node.peer.can_be_reached() {
            return Err(
                check.invalid(&key, "other nodes cannot reach this address; use an address and a port of this node")
            );
        }
        if let Some(other) = nodes[i + 1..].iter().find(|other| nodes.len() > 1 && other.peer == node.peer) {
            return Err(
                check.invalid(&key, format!("\"{}\" has the same address; each node needs its own", other.name))
            );
        }
    }
    for (needed, why) in
        [(ServiceName::LinkStore, "links cannot be stored"), (ServiceName::KeyAllocator, "codes cannot be generated")]
    {
        if !nodes.iter().any(|node| node.services.contains(&needed)) {
            let name = needed.as_str();
            return Err(check.invalid("[[node]] services", format!("no node runs \"{name}\", so {why}")));
        }
    }
    Ok(nodes)
}

/// The node that the command line selects, with what it says of it.
fn own_node(nodes: &[NodeConfig], overrides: &Overrides, check: &Checker<'_>) -> Result<NodeConfig, ConfigError> {
    let mut node = select(nodes, overrides.node.as_deref(), check)?;
    if let Some(dir) = &overrides.data_dir {
        node.data_dir.clone_from(dir);
    }
    node.http = overrides.listen.unwrap_or(node.http);
    node.admin = overrides.admin_listen.unwrap_or(node.admin);
    check.addresses_differ(&node, "--listen, --admin-listen")?;
    Ok(node)
}

/// Refuses a peer port through which strangers could come to what the node has, or read it on its way.
fn peers_are_safe(
    node: &NodeConfig,
    cluster_secret: &SecretText,
    tls: Option<&TlsFiles>,
    allow_plaintext: bool,
    check: &Checker<'_>,
) -> Result<(), ConfigError> {
    let near = node.peer.is_loopback() && node.peer_listen.ip().is_loopback();
    // The peer port gives access to everything that the node has, and on one machine any account can connect to it.
    if cluster_secret.is_empty() && !(near && tls.is_some()) {
        return Err(check.invalid(
            &format!("[[node]] peer of \"{}\"", node.name),
            "several nodes need a secret, also on one machine: set WAYPOST_CLUSTER_SECRET, or its file as \
             WAYPOST_CLUSTER_SECRET_FILE, to the same random text on all",
        ));
    }
    if !near && tls.is_none() && !allow_plaintext {
        return Err(check.invalid(
            "[peer]",
            "links would travel unencrypted; name certificates in tls_ca, tls_cert and tls_key, or, in a network of \
             your own, set allow_plaintext = true",
        ));
    }
    Ok(())
}

/// The free bytes below which a node is read-only, and above which it accepts changes again.
fn free_space(raw: &raw::Storage, check: &Checker<'_>) -> Result<(u64, u64), ConfigError> {
    let low = check.range("[storage] free_space_low", raw.free_space_low.0, &limits::FREE_SPACE)?;
    let high = raw.free_space_high.0;
    if high < low {
        return Err(check.invalid(
            "[storage] free_space_high, free_space_low",
            "free_space_high has to be at least free_space_low",
        ));
    }
    Ok((low, high))
}

/// The memory that the node may take.
fn memory(budget: MemoryBudget, check: &Checker<'_>) -> Result<MemoryBudget, ConfigError> {
    if let MemoryBudget::Bytes(bytes) = budget {
        check.range("[limits] memory", bytes, &limits::MEMORY)?;
    }
    Ok(budget)
}

fn log_format(text: &str, check: &Checker<'_>) -> Result<LogFormat, ConfigError> {
    match text {
        "human" => Ok(LogFormat::Human),
        "json" => Ok(LogFormat::Json),
        other => Err(check.invalid("[log] format", format!("\"{other}\" is not a format; use \"human\" or \"json\""))),
    }
}

fn analytics(text: &str, check: &Checker<'_>) -> Result<AnalyticsRule, ConfigError> {
    match text {
        "totals" => Ok(AnalyticsRule::Totals),
        "full" => Ok(AnalyticsRule::Full),
        "key" => Ok(AnalyticsRule::Key),
        other => {
            let message = format!("\"{other}\" is not valid; use \"totals\", \"full\" or \"key\"");
            Err(check.invalid("[http] analytics", message))
        }
    }
}
