//! Panics on request, so that tests can show what each policy guarantees. Compiled out of release builds.

use crate::Task;

/// Panics if a test asks for it: `TEST_PANIC=controller:1,proposer:2` makes the first run of the controller
/// and the first two runs of proposers panic. Does nothing in a release build.
#[inline]
pub fn fault(task: Task) {
    #[cfg(debug_assertions)]
    on_request::fault(task);
    #[cfg(not(debug_assertions))]
    let _ = task;
}

#[cfg(debug_assertions)]
mod on_request {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use crate::Task;

    /// The number of panics that are left, in the order of [`Task::ALL`].
    static LEFT: OnceLock<Vec<AtomicU32>> = OnceLock::new();

    pub(super) fn fault(task: Task) {
        let left = &LEFT.get_or_init(read)[task as usize];
        if left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
            panic!("a test wants the task {} to panic", task.name());
        }
    }

    fn read() -> Vec<AtomicU32> {
        let text = std::env::var("TEST_PANIC").unwrap_or_default();
        let wanted = |task: &Task| {
            let of = |entry: &str| entry.strip_prefix(task.name())?.strip_prefix(':')?.parse().ok();
            AtomicU32::new(text.split(',').find_map(of).unwrap_or(0))
        };
        Task::ALL.iter().map(wanted).collect()
    }
}
