//! What is measured of the catalog.

use std::sync::Arc;

use waypost_consensus::Groups;
use waypost_telemetry::{Counter, Metrics};

use super::shared::Shared;

/// What the indexer counts.
pub(super) struct CatalogMetrics {
    pub(super) scans: Counter,
    pub(super) scanned: Counter,
    pub(super) failures: Counter,
}

impl CatalogMetrics {
    /// Registers them, and what is read at each scrape.
    pub(super) fn new(metrics: &Metrics, groups: &Arc<Groups>, shared: &Arc<Shared>) -> Self {
        let links = metrics.gauge("waypost_catalog_links", "Links in the catalog of this node");
        let bytes = metrics.gauge("waypost_catalog_disk_bytes", "Size of the files of the catalog");
        let missing = metrics.gauge(
            "waypost_catalog_shards_missing",
            "Shards of which this node has a copy and its catalog has not all links: other nodes answer lists of them, or nobody",
        );
        let (groups, shared) = (groups.clone(), shared.clone());
        metrics.on_scrape(move || {
            let status = shared.status(&groups);
            missing.set(if shared.is_kept { i64::from(status.held - status.complete) } else { 0 });
            let sizes = *shared.sizes.lock();
            links.set(sizes.links as i64);
            bytes.set(sizes.disk_bytes as i64);
        });
        Self {
            scans: metrics
                .counter("waypost_catalog_scans_total", "Times that the catalog began to read all links of a shard"),
            scanned: metrics.counter("waypost_catalog_scanned_links_total", "Links that such reading has read"),
            failures: metrics.counter(
                "waypost_catalog_failures_total",
                "Times that the catalog could not be opened, read or written",
            ),
        }
    }
}
