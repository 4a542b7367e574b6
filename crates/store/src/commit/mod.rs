//! Group commit: all waiting writers are made durable together, by one flush and one sync.
//!
//! sled's `flush` hands the data to the operating system (`pwrite`, `sync_file_range`) and never asks the disk to keep it,
//! which a power cut reveals. So the threads here sync the database's file themselves. While a slow disk is busy with the sync of one commit, others begin
//! (`overlap.rs`), so that nobody waits for two of them; a fast disk has one after the other. Flushes come one after the other on every disk: sled
//! cannot write a batch while one runs, and nobody can read while a batch waits for that. The first
//! failure is final: after a failed fsync the kernel may have dropped the pages and report success for the next one, so it is
//! never repeated, and nothing is answered as durable any more.

mod overlap;
mod queue;

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;
use waypost_tasks::{Task, Tasks};
use waypost_telemetry::{Counter, Histogram, Metrics};

use self::overlap::COMMITS_MAX;
use self::queue::Queue;
use crate::commit_counter::{CommitCounter, Noted};
use crate::failure::Failure;

/// A handle to the commit threads.
///
/// The queue has no bound of its own: each waiting writer already holds a permit or a slot in a bounded queue (one append for each group,
/// one call for each caller).
#[derive(Clone)]
pub struct CommitHandle {
    open: Arc<Open>,
}

/// Closes the queue when the last handle is dropped.
struct Open(Arc<Queue>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.close();
    }
}

const SECONDS: &[f64] = &[0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0];
const WAITERS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

#[derive(Clone)]
struct CommitMetrics {
    seconds: Histogram,
    waiters: Histogram,
    commits: Counter,
}

/// What the threads commit.
#[derive(Clone)]
pub(crate) struct Disk {
    pub(crate) db: sled::Db,
    pub(crate) failure: Arc<Failure>,
    pub(crate) delay: Duration,
    /// Held during a flush.
    pub(crate) counter: Arc<Mutex<CommitCounter>>,
    pub(crate) noted: Arc<Mutex<Noted>>,
}

/// Opens the database's file for each commit thread. Linux reports a failed write to each open file description once, so with one of its own no thread can
/// miss a failure that another has seen.
pub(crate) fn open_files(path: &Path) -> io::Result<[File; COMMITS_MAX]> {
    let files: Vec<File> = (0..COMMITS_MAX).map(|_| File::open(path)).collect::<io::Result<_>>()?;
    Ok(files.try_into().expect("invariant: one for each thread"))
}

/// Starts the commit threads on the database's files.
pub(crate) fn start(
    disk: &Disk,
    files: [File; COMMITS_MAX],
    metrics: &Metrics,
) -> io::Result<(CommitHandle, Vec<JoinHandle<()>>)> {
    let own = CommitMetrics {
        seconds: metrics.histogram("waypost_commit_seconds", "Duration of one flush and sync", SECONDS),
        waiters: metrics.histogram("waypost_commit_waiters", "Writers that shared one flush and sync", WAITERS),
        commits: metrics.counter("waypost_commits_total", "Flushes and syncs"),
    };
    let handle = CommitHandle { open: Arc::new(Open(Arc::default())) };
    let tasks = Tasks::new(metrics);
    let thread = |file: File| {
        let (disk, own, queue) = (disk.clone(), own.clone(), handle.open.0.clone());
        tasks.thread(Task::GroupCommit, move || {
            run(&queue, &own, &disk.failure, || disk.commit(&file), |count| disk.note(count))
        })
    };
    let threads = files.into_iter().map(thread).collect::<io::Result<_>>()?;
    Ok((handle, threads))
}

/// A commit that was made.
struct Made<T> {
    /// What is to be noted once its writers may be answered.
    count: T,
    /// How long the disk took for it.
    took: Duration,
}

/// Commits until the queue is closed.
fn run<T>(
    queue: &Queue,
    metrics: &CommitMetrics,
    failure: &Failure,
    commit: impl Fn() -> Result<Made<T>, String>,
    note: impl Fn(T) -> io::Result<()>,
) {
    while let Some(begun) = queue.begin() {
        let result = match failure.get() {
            Some(why) => Err(why),
            None => commit().map_err(|why| failure.set(why)),
        };
        // After a failure no disk is asked any more.
        let took = result.as_ref().map_or(Duration::ZERO, |made| made.took);
        metrics.seconds.observe(took.as_secs_f64());
        metrics.waiters.observe(begun.waiters as f64);
        metrics.commits.inc();
        queue.end(&begun, took, || {
            let count = result?.count;
            // Another commit may have failed meanwhile.
            if let Some(why) = failure.get() {
                return Err(why);
            }
            note(count).map_err(|error| failure.set(format!("noting the commit: {error}")))
        });
    }
}

impl Disk {
    /// Makes everything durable that was written before.
    fn commit(&self, file: &File) -> Result<Made<u64>, String> {
        let mut counter = self.counter.lock();
        let started = Instant::now();
        let flushing = self.failure.running.begin();
        let flushed = catch_unwind(AssertUnwindSafe(|| {
            let count = counter.count()?;
            flush(&self.db).map(|_| count)
        }));
        drop(flushing);
        drop(counter);
        match flushed {
            Err(_panic) => Err("the database panicked while flushing".to_owned()),
            Ok(Err(error)) => Err(error.to_string()),
            Ok(Ok(count)) => {
                if !self.delay.is_zero() {
                    std::thread::sleep(self.delay);
                }
                file.sync_data().map_err(|error| format!("fdatasync: {error}"))?;
                Ok(Made { count, took: started.elapsed() })
            }
        }
    }

    fn note(&self, count: u64) -> io::Result<()> {
        self.noted.lock().note(count)
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
    /// Calls `done` from a commit thread once everything that was written before this call is durable, or a commit has failed. Those of several calls
    /// are called in the order of the calls, one at a time. `done` must be short.
    pub fn then(&self, done: Box<dyn FnOnce(io::Result<()>) + Send>) {
        self.open.0.push(done);
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
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    /// What a commit of the tests is to wait for, and to return.
    type Order = (Receiver<()>, Result<(), String>);

    #[test]
    fn after_a_failure_nothing_is_durable_whatever_commit_it_belongs_to() {
        let metrics = Metrics::new();
        let own = CommitMetrics {
            seconds: metrics.histogram("seconds", "-", SECONDS),
            waiters: metrics.histogram("waiters", "-", WAITERS),
            commits: metrics.counter("commits", "-"),
        };
        let (queue, failure, orders) =
            (Arc::new(Queue::default()), Failure::default(), Mutex::new(Vec::<Order>::new()));
        let handle = CommitHandle { open: Arc::new(Open(queue.clone())) };
        let (asked, begun) = (AtomicU32::new(0), channel());
        let begin = Mutex::new(begun.0);
        let commit = || {
            asked.fetch_add(1, Ordering::SeqCst);
            let (wait, result) = orders.lock().pop().unwrap_or_else(|| (channel().1, Ok(())));
            begin.lock().send(()).unwrap();
            // An error means that there is nothing to wait for.
            let started = Instant::now();
            let _ = wait.recv();
            result.map(|()| Made { count: (), took: started.elapsed() })
        };
        let (answer, answers) = channel();
        std::thread::scope(|scope| {
            let push = |number| {
                let answer = answer.clone();
                handle.then(Box::new(move |result| answer.send((number, result.is_ok())).unwrap()));
            };
            for _ in 0..2 {
                scope.spawn(|| run(&queue, &own, &failure, commit, |()| Ok(())));
            }
            // A slow disk, so that commits overlap.
            for number in 0..8 {
                let (go, wait) = channel();
                orders.lock().push((wait, Ok(())));
                push(number);
                begun.1.recv().unwrap();
                std::thread::sleep(Duration::from_millis(5));
                drop(go);
                assert_eq!(answers.recv().unwrap(), (number, true));
            }
            let (first_goes, first_waits) = channel();
            orders.lock().push((first_waits, Err("the disk is gone".to_owned())));
            push(8);
            begun.1.recv().unwrap();
            let (second_goes, second_waits) = channel();
            orders.lock().push((second_waits, Ok(())));
            push(9);
            begun.1.recv().unwrap();
            drop(first_goes);
            assert_eq!(answers.recv().unwrap(), (8, false));
            // The disk has no objection to the second one. It began before the failure, and ends after it.
            drop(second_goes);
            assert_eq!(answers.recv().unwrap(), (9, false));
            push(10);
            assert_eq!(answers.recv().unwrap(), (10, false));
            assert_eq!(asked.load(Ordering::SeqCst), 10, "the disk was asked again after its failure");
            assert_eq!(failure.get().as_deref(), Some("the disk is gone"));
            drop(handle);
        });
    }

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
