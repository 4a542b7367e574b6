//! The memory of the process: a node that has too little of it gives up cached links, then creates no links, and so does not die of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use waypost_redirector::ReadView;
use waypost_tasks::{Task, Tasks};
use waypost_telemetry::{Metrics, memory_taken};

use super::error::NodeError;
use super::memory_guard::{Guard, Refusing};
use crate::config::Config;
use crate::memory::NodeMemory;

/// How often the memory is looked at. Creates of links at full speed take some tens of megabytes in this time.
const MEMORY_INTERVAL: Duration = Duration::from_millis(500);

/// Looks at the memory at regular intervals, and sets the limit of the cache and the flags.
///
/// # Errors
/// If no thread can be started.
pub(super) fn watch_memory(
    config: &Config,
    memory: Arc<NodeMemory>,
    view: Arc<ReadView>,
    tasks: &Tasks,
    metrics: &Metrics,
) -> Result<(), NodeError> {
    let budget = metrics.gauge("waypost_memory_budget_bytes", "Memory that the node may take; 0 = it is not guarded");
    let taken_gauge = metrics.gauge("waypost_memory_taken_bytes", "Anonymous memory of the process");
    let short_gauge = metrics.gauge("waypost_memory_short", "1 while new links are refused for want of memory");
    budget.set(memory.budget as i64);
    if memory.budget == 0 {
        metrics.on_scrape(move || taken_gauge.set(memory_taken().unwrap_or(0) as i64));
        return Ok(());
    }
    let mut guard = Guard::new(memory.budget, config.cache_bytes);
    let mut refusing = Refusing::Nothing;
    let mut look = move || {
        let Some(taken) = memory_taken() else { return };
        let measure = guard.look(taken, view.bytes());
        if let Some(max) = measure.cache_max {
            tracing::debug!(taken, budget = memory.budget, max, "the link cache has another limit");
            view.limit(max);
        }
        if measure.refusing != refusing {
            let budget = memory.budget;
            match measure.refusing {
                Refusing::Nothing => tracing::info!(taken, budget, "links are created again"),
                Refusing::Links => tracing::error!(
                    taken,
                    budget,
                    "memory is short: no links are created, redirects go on; give the node more ([limits] memory), or delete links"
                ),
                Refusing::Entries => {
                    tracing::error!(taken, budget, "memory is nearly used up: this node takes no log entries");
                }
            }
            refusing = measure.refusing;
        }
        memory.note(taken);
        memory.short.store(refusing >= Refusing::Links, Ordering::Relaxed);
        memory.exhausted.store(refusing == Refusing::Entries, Ordering::Relaxed);
        taken_gauge.set(taken as i64);
        short_gauge.set((refusing >= Refusing::Links).into());
    };
    look();
    tasks.thread(Task::MemoryWatch, move || {
        loop {
            std::thread::sleep(MEMORY_INTERVAL);
            look();
        }
    })?;
    Ok(())
}
