//! The free space of the data directory: a node refuses changes while it is too low.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use waypost_store::{SpaceState, SpaceWatch};
use waypost_tasks::{Task, Tasks};
use waypost_telemetry::Metrics;

use super::error::NodeError;
use crate::config::Config;

/// How often free space is checked. A disk that fills by a gigabyte a second is noticed before the watermark is used up.
const SPACE_INTERVAL: Duration = Duration::from_millis(200);

/// The flag by which the node takes no log entries, for want of disk space or of memory.
pub(super) struct Exhausted {
    /// The flag.
    pub(super) flag: Arc<AtomicBool>,
    /// Set while memory is nearly used up.
    pub(super) memory: Arc<AtomicBool>,
}

impl Exhausted {
    fn set(&self, space: bool) {
        self.flag.store(space || self.memory.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// Checks free space at once, so that a node does not start on a full disk unnoticed, and regularly from then on. Returns the flag that is set
/// while free space is too low: the node is read-only then.
///
/// # Errors
/// If free space cannot be read.
pub(super) fn watch_space(
    config: &Config,
    exhausted: Exhausted,
    tasks: &Tasks,
    metrics: &Metrics,
) -> Result<Arc<AtomicBool>, NodeError> {
    let watch = SpaceWatch::new(&config.node.data_dir);
    let (low, high) = (config.free_space_low, config.free_space_high);
    let free_gauge = metrics.gauge("waypost_disk_free_bytes", "Free space of the file system of the data directory");
    let read_only_gauge = metrics.gauge("waypost_read_only", "1 while changes are refused for want of space");
    let exhausted_gauge =
        metrics.gauge("waypost_space_exhausted", "1 while not even a leader's log entries are taken for want of space");
    let read_only = Arc::new(AtomicBool::new(false));
    let flag = read_only.clone();
    let mut state = SpaceState::Writable;
    let mut look = move || -> std::io::Result<()> {
        let space = watch.check()?;
        free_gauge.set(space.free_bytes as i64);
        let next = state.next(space.free_bytes, low, high);
        if next != state {
            match next {
                SpaceState::ReadOnly => tracing::error!(
                    free = space.free_bytes,
                    low,
                    "the disk has too little free space: changes are refused, redirects go on"
                ),
                SpaceState::Exhausted => tracing::error!(
                    free = space.free_bytes,
                    low,
                    "the disk is nearly full: this node takes no log entries, so its copies lag behind"
                ),
                SpaceState::Writable => tracing::info!(free = space.free_bytes, "changes are accepted again"),
            }
        }
        state = next;
        read_only_gauge.set((next != SpaceState::Writable).into());
        flag.store(next != SpaceState::Writable, Ordering::Relaxed);
        exhausted_gauge.set((next == SpaceState::Exhausted).into());
        exhausted.set(next == SpaceState::Exhausted);
        Ok(())
    };
    look()?;
    tasks.thread(Task::SpaceWatch, move || {
        loop {
            std::thread::sleep(SPACE_INTERVAL);
            if let Err(error) = look() {
                tracing::error!(%error, "free space cannot be read");
            }
        }
    })?;
    Ok(read_only)
}
