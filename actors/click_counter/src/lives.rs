//! The counters of a process, one after the other.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// Decides which counter may change files: the latest. After a panic, several counters follow each other in one process and on one thread,
/// and something that an earlier one has begun, such as a flush, may still be in progress.
#[derive(Default)]
pub(crate) struct Lives {
    latest: AtomicU64,
    /// Held while a spill is written.
    writing: Mutex<()>,
}

impl Lives {
    /// Begins a new life. A write that the former one has begun ends before this, or does not happen.
    pub(crate) fn begin(&self) -> u64 {
        let _writing = self.writing.lock();
        self.latest.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Whether no later life has begun.
    pub(crate) fn is_latest(&self, life: u64) -> bool {
        self.latest.load(Ordering::Relaxed) == life
    }

    /// Does a write that no later life may find half done. Returns `None` if this is not the latest life.
    pub(crate) fn write<T>(&self, life: u64, work: impl FnOnce() -> T) -> Option<T> {
        let _writing = self.writing.lock();
        self.is_latest(life).then(work)
    }
}
