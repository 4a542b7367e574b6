//! The catalog of a node: lists, searches and tags of the links in its replicas, from an index beside the shards (`waypost-catalog`).
//!
//! ```text
//!   apply ─► ShardMachine::changes ─► Indexer (a thread of low priority) ─► Catalog ◄── NodeCatalog::page, tags
//!                (keys only)              reads the links, writes rows                   reads keys, then the links of the shards
//! ```
//!
//! Guarantee: what a node answers for a shard has every change that its replica had applied a second before. A shard of which that cannot
//! be said is named as missing, so that another node is asked. Nothing that happens to the catalog stops the node, or makes a change or a
//! redirect wait: `apply` adds the key of a changed link to a bounded list, no more.
//!
//! The position up to which the log of a shard is in the catalog is written with the rows. After a start, the log since the shard's last checkpoint
//! is applied again, and tells its keys again, so a position behind that checkpoint needs no more than that. An older position, or none,
//! needs a scan of the shard.

mod answer;
mod indexer;
mod log_writer;
mod metrics;
mod pace;
mod part;
mod place;
mod reads;
mod shared;
mod write;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use waypost_consensus::{Freshness, Groups};
use waypost_tasks::{Task, Tasks};
use waypost_telemetry::Metrics;

pub use answer::{NodeCatalog, SEEN_MAX};
pub use shared::{CatalogStatus, Scan};

use indexer::Indexer;
use metrics::CatalogMetrics;
use place::Place;
use shared::Shared;

/// How long a stop waits until the catalog has what the shards have. With less the next start has to read more.
const STOP_MAX: Duration = Duration::from_secs(5);

/// What a catalog is started with.
pub struct CatalogSeed {
    /// Its directory; `None` = this node keeps no catalog.
    pub dir: Option<PathBuf>,
    /// The shards.
    pub groups: Arc<Groups>,
    /// How old the node's replicas may be.
    pub fresh: Arc<Freshness>,
    /// Set while the disk has too little free space: nothing is read anew then.
    pub read_only: Arc<AtomicBool>,
    /// The runtime on whose blocking threads lists are read.
    pub engine: tokio::runtime::Handle,
}

impl NodeCatalog {
    /// Starts the catalog of a node.
    ///
    /// # Errors
    /// If the operating system cannot start a thread.
    pub fn start(seed: CatalogSeed, tasks: &Tasks, metrics: &Metrics) -> std::io::Result<Self> {
        let CatalogSeed { dir, groups, fresh, read_only, engine } = seed;
        // A node without replicas has nothing to list.
        let dir = dir.filter(|_| !groups.shards().is_empty());
        let shared = Arc::new(Shared::new(groups.shards().len(), dir.is_some()));
        let metrics = CatalogMetrics::new(metrics, &groups, &shared);
        let Some(dir) = dir else { return Ok(Self::new(groups, fresh, shared, engine)) };
        let place = Place::new(dir, groups.node());
        let (shared_of, fresh_of, engine_of) = (shared.clone(), fresh.clone(), engine.clone());
        let mut lives = 0;
        // It ends when it is told to (`NodeCatalog::stop`).
        tasks.thread(Task::Catalog, move || {
            lives += 1;
            let indexer = Indexer::new(&place, &fresh_of, &shared_of, &read_only, &metrics, &engine_of, lives == 1);
            indexer.run();
        })?;
        Ok(Self::new(groups, fresh, shared, engine))
    }

    /// Lets the catalog have what the shards have now, and closes it. Call it when nothing is applied any more, and the shards can still be read.
    /// Blocks, for some seconds at most.
    pub fn stop(&self) {
        if !self.shared().stop(STOP_MAX) {
            tracing::warn!("the catalog does not have all changes yet; the next start reads them again");
        }
    }

    /// A link has changed. Cheap: it is called while the change is applied.
    pub fn changed(&self) {
        self.shared().changed();
    }
}
