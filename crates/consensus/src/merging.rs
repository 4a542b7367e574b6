//! The threads on which checkpoints are written: work of which a request must not wait for a core.

use std::io;
use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};
use waypost_tasks::{LOW, lower_priority};

/// As many checkpoints are written at once: each has a copy of the visits that it merges, and one core at most is the disk's anyway.
const THREADS_MAX: usize = 2;

/// For all groups of the process. It has no threads but those for blocking work, and they end when there is none.
static THREADS: LazyLock<Runtime> = LazyLock::new(|| {
    let mut threads = Builder::new_current_thread();
    threads.thread_name("checkpoint").max_blocking_threads(THREADS_MAX).on_thread_start(|| lower_priority(LOW));
    threads.build().expect("invariant: a runtime without drivers asks nothing of the system")
});

/// Does work on a thread of low priority. Such a thread may wait for the disk and for the lock of a state, but not for a request or another such thread.
pub(crate) async fn merging<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    THREADS.spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn checkpoints_are_written_by_threads_that_give_way_to_others() {
        let nice_of = || {
            let stat = std::fs::read_to_string("/proc/thread-self/stat")?;
            // The nineteenth field, and the third after the name, which may have spaces.
            let nice = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(16)?.parse::<i32>().ok());
            nice.ok_or_else(|| io::Error::other(stat.clone()))
        };
        assert_eq!(merging(nice_of).await.unwrap(), nice_of().unwrap().max(LOW));
    }
}
