//! Group commit: one thread makes all writes durable, with one flush and one sync for all waiting writers.
//!
//! sled's `flush` hands the data to the operating system (`pwrite`, `sync_file_range`) and never asks the disk to keep it,
//! which a power cut reveals. So the thread syncs the database's file itself, through a descriptor of its own. The first
//! failure is final: after a failed fsync the kernel may have dropped the pages and report success for the next one, so it is
//! never repeated.

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use waypost_tasks::{Task, Tasks};
use waypost_telemetry::{Counter, Histogram, Metrics};

use crate::commit_counter::CommitCounter;
use crate::failure::Failure;

type Waiter = Box<dyn FnOnce(io::Result<()>) + Send>;

/// A handle to the commit thread.
///
/// The queue has no bound of its own: each waiting writer already holds a permit or a slot in a bounded queue (one append for each group,
/// one call for each caller).
#[derive(Clone)]
pub struct CommitHandle {
    queue: Sender<Waiter>,
}

const SECONDS: &[f64] = &[0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0];
const WAITERS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

pub(crate) struct CommitThread {
    pub(crate) db: sled::Db,
    pub(crate) file: File,
    pub(crate) failure: Arc<Failure>,
    pub(crate) delay: Duration,
    counter: CommitCounter,
    seconds: Histogram,
    waiters: Histogram,
    commits: Counter,
}

impl CommitThread {
    pub(crate) fn spawn(
        db: sled::Db,
        file: File,
        failure: Arc<Failure>,
        delay: Duration,
        counter: CommitCounter,
        metrics: &Metrics,
    ) -> io::Result<(CommitHandle, JoinHandle<()>)> {
        let (queue, waiting) = channel();
        let mut thread = Self {
            db,
            file,
            failure,
            delay,
            counter,
            seconds: metrics.histogram("waypost_commit_seconds", "Duration of one flush and sync", SECONDS),
            waiters: metrics.histogram("waypost_commit_waiters", "Writers that shared one flush and sync", WAITERS),
            commits: metrics.counter("waypost_commits_total", "Flushes and syncs"),
        };
        let handle = Tasks::new(metrics).thread(Task::GroupCommit, move || thread.run(&waiting))?;
        Ok((CommitHandle { queue }, handle))
    }

    fn run(&mut self, waiting: &Receiver<Waiter>) {
        let mut shared = false;
        while let Ok(first) = waiting.recv() {
            // Under load, those that are about to write do so first where they wait for this core, and share this commit: several times as many.
            // A lone writer waits for nobody.
            if shared {
                std::thread::yield_now();
            }
            let mut waiters = vec![first];
            waiters.extend(waiting.try_iter());
            shared = waiters.len() > 1;
            let started = Instant::now();
            let result = self.commit();
            self.seconds.observe(started.elapsed().as_secs_f64());
            self.waiters.observe(waiters.len() as f64);
            self.commits.inc();
            for waiter in waiters {
                waiter(match &result {
                    Ok(()) => Ok(()),
                    Err(text) => Err(io::Error::other(text.clone())),
                });
            }
        }
    }

    fn commit(&mut self) -> Result<(), String> {
        if let Some(why) = self.failure.get() {
            return Err(why);
        }
        let flushing = self.failure.running.begin();
        let flushed = catch_unwind(AssertUnwindSafe(|| self.counter.count().and_then(|()| flush(&self.db))));
        drop(flushing);
        let result = match flushed {
            Err(_panic) => Err("the database panicked while flushing".to_owned()),
            Ok(Err(error)) => Err(error.to_string()),
            Ok(Ok(_)) => {
                if !self.delay.is_zero() {
                    std::thread::sleep(self.delay);
                }
                self.file.sync_data().map_err(|error| format!("fdatasync: {error}"))
            }
        };
        let result = result.and_then(|()| self.counter.note().map_err(|error| format!("noting the commit: {error}")));
        result.map_err(|why| self.failure.set(why))
    }
}

/// Hands everything that was written to the operating system.
#[expect(clippy::disallowed_methods, reason = "pinned here")]
fn flush(db: &sled::Db) -> sled::Result<usize> {
    pinned(|| db.flush())
}

/// Calls `flush` while nothing that sled lets go is freed.
///
/// sled 0.34.7 keeps its write buffer behind a pointer. A thread that needs the buffer loads the pointer, and then counts a reference to the buffer.
/// The buffer is freed once no thread is pinned that may have loaded the pointer (epoch-based reclamation, `crossbeam_epoch`). sled pins its threads for
/// reads and writes, but not for `flush`. So a thread that was suspended between the two steps counts its reference in memory that meanwhile has another
/// owner, and in the end frees it. Pinning it here closes that. The price: what sled would free stays until the flush ends, however long the disk takes.
fn pinned<T>(flush: impl FnOnce() -> T) -> T {
    let _pin = crossbeam_epoch::pin();
    flush()
}

impl CommitHandle {
    /// Calls `done` from the commit thread once everything that was written before this call is durable, or the commit has failed.
    /// `done` must be short.
    pub fn then(&self, done: Box<dyn FnOnce(io::Result<()>) + Send>) {
        if let Err(unsent) = self.queue.send(done) {
            (unsent.0)(Err(io::Error::other("the store is closed")));
        }
    }

    /// Waits until everything that was written before this call is durable.
    ///
    /// # Errors
    /// If it may not be durable, because the store has failed.
    pub async fn wait(&self) -> io::Result<()> {
        let (done, answer) = oneshot::channel();
        self.then(Box::new(move |result| {
            let _ = done.send(result);
        }));
        answer.await.unwrap_or_else(|_| Err(io::Error::other("the store is closed")))
    }

    /// Like [`CommitHandle::wait`], for threads that may block.
    ///
    /// # Errors
    /// If it may not be durable, because the store has failed.
    pub fn wait_blocking(&self) -> io::Result<()> {
        let (done, answer) = std::sync::mpsc::sync_channel(1);
        self.then(Box::new(move |result| {
            let _ = done.send(result);
        }));
        answer.recv().unwrap_or_else(|_| Err(io::Error::other("the store is closed")))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// Lets `freed` go in another thread as sled lets go of a buffer, and has the thread free all that it can.
    fn let_go_and_free(freed: &Arc<AtomicBool>) {
        let own = freed.clone();
        std::thread::spawn(move || {
            crossbeam_epoch::pin().defer(move || own.store(true, Ordering::SeqCst));
            for _ in 0..1_000 {
                crossbeam_epoch::pin().flush();
            }
        })
        .join()
        .unwrap();
    }

    #[test]
    fn what_sled_lets_go_while_a_flush_runs_is_not_freed_before_its_end() {
        let freed = Arc::new(AtomicBool::new(false));
        pinned(|| {
            let_go_and_free(&freed);
            assert!(!freed.load(Ordering::SeqCst), "freed under the flush");
        });
        let deadline = Instant::now() + Duration::from_secs(60);
        while !freed.load(Ordering::SeqCst) {
            assert!(Instant::now() < deadline, "never freed");
            crossbeam_epoch::pin().flush();
            std::thread::yield_now();
        }
    }
}
