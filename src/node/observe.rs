//! Gauges whose values are read at each scrape.

use std::sync::Arc;

use waypost_consensus::{Freshness, Groups};
use waypost_redirector::ReadView;
use waypost_store::Db;
use waypost_telemetry::Metrics;
use waypost_transport::TlsFiles;

use crate::cluster::DesiredPlacement;

/// Registers the gauges of the store, the cache and the groups. `desired` has the planned number of replicas.
pub(super) fn observe(
    metrics: &Metrics,
    db: &Db,
    view: Arc<ReadView>,
    groups: &Arc<Groups>,
    fresh: &Arc<Freshness>,
    desired: DesiredPlacement,
) {
    let (db, groups, fresh) = (db.clone(), groups.clone(), fresh.clone());
    let links = metrics.gauge("waypost_links", "Links stored on this node");
    let pending = metrics.gauge("waypost_checkpoint_pending_bytes", "Changes not yet in a checkpoint");
    let held = metrics
        .gauge("waypost_groups_held", "Groups (the shards, and the cluster's own) of which this node has a replica");
    let led = metrics.gauge("waypost_groups_led", "Groups that this node leads");
    let leaderless = metrics.gauge("waypost_groups_leaderless", "Groups of this node without a known leader");
    let lag = metrics.gauge(
        "waypost_replication_lag_entries",
        "Of the groups that this node leads: log entries that the copy farthest behind does not have yet",
    );
    let refused =
        metrics.gauge("waypost_snapshots_refused", "Groups whose snapshot this node refuses because space is short");
    let underreplicated = metrics
        .gauge("waypost_shards_underreplicated", "Shards that this node leads with fewer replicas than configured");
    let catching_up = metrics.gauge(
        "waypost_shards_catching_up",
        "Shards whose copy on this node does not show yet what was acknowledged before it started; others answer for them",
    );
    let stale = metrics.gauge(
        "waypost_shards_stale",
        "Shards whose copy on this node may be older than the bound: their leader is ahead, or none can be reached",
    );
    let memory = metrics.gauge_vec("waypost_memory_bytes", "What memory is used for, as far as it is known", &["part"]);
    metrics.on_scrape(move || {
        db.size_on_disk();
        view.observe();
        let shards = groups.shards().iter().map(|group| group.read(|machine| machine.memory()));
        let (index, counters) = shards.fold((0, 0), |sum, shard| (sum.0 + shard.index, sum.1 + shard.counters));
        for (part, bytes) in [("cache", view.bytes()), ("index", index), ("counters", counters)] {
            memory.with_label_values(&[part]).set(bytes as i64);
        }
        let status = groups.status();
        links.set(status.iter().map(|status| status.links).sum::<u64>() as i64);
        pending.set(status.iter().map(|status| status.pending_bytes).sum::<u64>() as i64);
        // A group of which this node is not a member is open, but empty.
        let own = || status.iter().filter(|status| !status.voters.is_empty());
        held.set(own().count() as i64);
        led.set(own().filter(|status| status.leader).count() as i64);
        leaderless.set(own().filter(|status| status.led_by.is_none()).count() as i64);
        refused.set(status.iter().filter(|status| status.waits_for_space).count() as i64);
        let wished = |group: u32| groups.cluster().read(|machine| desired.voters(machine.state(), group).len());
        let short = groups.shards().iter().filter(|group| group.is_leader() && group.copies() < wished(group.id()));
        underreplicated.set(short.count() as i64);
        catching_up.set(fresh.catching_up() as i64);
        stale.set(fresh.stale() as i64);
        lag.set(own().map(|status| status.lag).max().unwrap_or(0) as i64);
    });
}

/// The earliest expiry of the certificates for the peer port, as they were at the start.
pub(super) fn certificate(metrics: &Metrics, tls: Option<&TlsFiles>) {
    let Some(tls) = tls else { return };
    match tls.expire() {
        Ok(at) => metrics
            .gauge(
                "waypost_peer_certificate_expiry_timestamp_seconds",
                "When the first certificate for the peer port ends, in seconds since 1970",
            )
            .set(at),
        Err(error) => tracing::warn!(%error, "the expiry of the certificates is unknown"),
    }
}
