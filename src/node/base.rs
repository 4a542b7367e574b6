//! The parts that all other parts of a node need: configuration, store, metrics, tasks, and lifecycle.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use waypost_consensus::Groups;
use waypost_runtime::Supervision;
use waypost_store::Db;
use waypost_tasks::Tasks;
use waypost_telemetry::Metrics;

use super::error::NodeError;
use super::open::{open_store, refuse_interrupted_restore};
use super::{private, space};
use crate::config::Config;
use crate::lifecycle::Lifecycle;
use crate::memory::NodeMemory;

/// The parts of a node before it knows its cluster.
pub(super) struct Base {
    pub(super) config: Config,
    /// The runtime of consensus and of background tasks.
    pub(super) engine: tokio::runtime::Handle,
    pub(super) on_storage_failure: fn(&str),
    pub(super) metrics: Metrics,
    pub(super) tasks: Tasks,
    pub(super) supervision: Supervision,
    pub(super) lifecycle: Arc<Lifecycle>,
    pub(super) db: Db,
    /// Set while free space is too low.
    pub(super) read_only: Arc<AtomicBool>,
    /// The memory of the process.
    pub(super) memory: Arc<NodeMemory>,
    /// The time at which the node began to open its store.
    since: Instant,
}

impl Base {
    /// Opens the store, and watches its free space from then on.
    ///
    /// # Errors
    /// If the data directory cannot be used, holds an interrupted restore, or the store is damaged.
    pub(super) fn open(
        config: Config,
        engine: tokio::runtime::Handle,
        on_storage_failure: fn(&str),
    ) -> Result<Self, NodeError> {
        let since = Instant::now();
        let metrics = Metrics::new();
        let (tasks, supervision) = (Tasks::new(&metrics), Supervision::new(&metrics));
        refuse_interrupted_restore(&config.node.data_dir)?;
        let db = open_store(&config, &metrics)?;
        private::close(&config.node.data_dir);
        db.on_failure(on_storage_failure);
        // Before the groups: as soon as they are open, they may be sent more than fits on the disk.
        let memory = Arc::new(NodeMemory::new(config.memory));
        let exhausted = space::Exhausted { flag: db.exhausted().clone(), memory: memory.exhausted.clone() };
        let read_only = space::watch_space(&config, exhausted, &tasks, &metrics)?;
        let lifecycle = Arc::new(Lifecycle::default());
        Ok(Self {
            config,
            engine,
            on_storage_failure,
            metrics,
            tasks,
            supervision,
            lifecycle,
            db,
            read_only,
            memory,
            since,
        })
    }

    /// Tasks that run on the engine's threads.
    pub(super) fn engine_tasks(&self) -> Tasks {
        self.tasks.on(&self.engine)
    }

    /// Logs what was opened, and which parts of the configuration do not apply to it.
    pub(super) fn report_opened(&self, groups: &Groups) {
        let shards = groups.bootstrap().shards;
        tracing::info!(
            node = self.config.node.name,
            shards,
            links = groups.shards().iter().map(|group| group.read(|machine| machine.links())).sum::<usize>(),
            took_ms = self.since.elapsed().as_millis() as u64,
            "the store is open"
        );
        if shards != self.config.shards {
            tracing::warn!(
                configured = self.config.shards,
                actual = shards,
                "the number of shards was fixed when the cluster was created; [cluster] shards is ignored"
            );
        }
    }
}
