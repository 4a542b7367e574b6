//! The database of a node.

use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use waypost_tasks::{Task, Tasks};
use waypost_telemetry::{Gauge, Metrics};

use crate::commit::{self, CommitHandle, Disk};
use crate::commit_counter::CommitCounter;
use crate::endless::{LOOK_EVERY, LOOKS, Running, Watch};
use crate::failure::{Failure, guard};
#[cfg(debug_assertions)]
use crate::steps::StepHook;
use crate::tree::{Tree, VALUE_BYTES_MAX};
use crate::{StoreError, repair};

/// The size of sled's segments, and of its write buffer.
const SEGMENT_BYTES: usize = 2 << 20;

const ITEMS_PER_PAGE: usize = 17;

const _: () = assert!(ITEMS_PER_PAGE * (VALUE_BYTES_MAX + 512) < SEGMENT_BYTES / 4);

/// The interval at which sled's own thread flushes and reclaims space. The thread has to run: without it no space is ever reclaimed.
const FLUSH_EVERY_MS: u64 = 200;

/// The options of a database.
#[derive(Debug, Clone, Copy)]
pub struct DbOptions {
    /// The memory for pages, in bytes. sled takes some hundred bytes a record beyond it.
    pub cache_bytes: u64,
    /// A delay before each sync, to simulate a slow disk on a fast one. Zero for real use.
    pub commit_delay: Duration,
}

impl Default for DbOptions {
    fn default() -> Self {
        Self { cache_bytes: 64 << 20, commit_delay: Duration::ZERO }
    }
}

/// The database of a node.
#[derive(Clone)]
pub struct Db {
    db: sled::Db,
    dir: PathBuf,
    commit: CommitHandle,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
    failure: Arc<Failure>,
    bytes: Gauge,
    exhausted: Arc<AtomicBool>,
}

impl Db {
    /// Opens the database in `<data_dir>/store`. Creates it if it does not exist, and syncs the directories.
    ///
    /// # Errors
    /// When another process has it open, it is damaged beyond repair, or the disk fails.
    pub fn open(data_dir: &Path, options: &DbOptions, metrics: &Metrics) -> Result<Self, StoreError> {
        let dir = data_dir.join("store");
        create_durably(&dir)?;
        let torn = repair::remove_torn_snapshots(&dir)?;
        if torn > 0 {
            tracing::warn!(torn, "removed incomplete table snapshots");
        }
        let db = match open_sled(&dir, options) {
            Err(StoreError::Corrupt { detail, .. }) => {
                tracing::warn!(detail, "the database does not open; reading its whole log instead of its snapshot");
                repair::remove_all_snapshots(&dir)?;
                open_sled(&dir, options)?
            }
            other => other?,
        };
        let (counter, noted) = CommitCounter::open(data_dir, &db)?;
        let files = commit::open_files(&dir.join("db"))?;
        files[0].sync_all()?;
        for path in [dir.as_path(), data_dir] {
            File::open(path)?.sync_all()?;
        }
        let failure = Arc::new(Failure::default());
        let failed = metrics.gauge("waypost_store_failed", "1 after a write or sync has failed");
        let _ = failure.gauge.set(failed);
        let disk = Disk {
            db: db.clone(),
            failure: failure.clone(),
            delay: options.commit_delay,
            counter: Arc::new(Mutex::new(counter)),
            noted: Arc::new(Mutex::new(noted)),
        };
        let (commit, threads) = commit::start(&disk, files, metrics)?;
        watch_operations(&failure.running, metrics)?;
        let bytes = metrics.gauge("waypost_store_bytes", "Bytes of the database on disk");
        Ok(Self { db, dir, commit, threads: Arc::new(Mutex::new(threads)), failure, bytes, exhausted: Arc::default() })
    }

    /// Opens a tree of the database, or creates it.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn tree(&self, name: &str) -> Result<Tree, StoreError> {
        let tree = self.guard(|| self.db.open_tree(name))?;
        Ok(Tree::new(tree, name, self.failure.clone()))
    }

    /// The names of all trees.
    pub fn tree_names(&self) -> Vec<String> {
        self.db.tree_names().iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
    }

    /// The handle to the commit threads.
    pub fn commit(&self) -> &CommitHandle {
        &self.commit
    }

    /// The size of the database's files, in bytes. Also updates the metric `waypost_store_bytes`.
    pub fn size_on_disk(&self) -> u64 {
        let size = fs::read_dir(&self.dir)
            .map(|files| files.flatten().filter_map(|file| file.metadata().ok()).map(|meta| meta.len()).sum())
            .unwrap_or(0);
        self.bytes.set(size as i64);
        size
    }

    /// The reason of the failure, if the store has failed.
    pub fn failure(&self) -> Option<String> {
        self.failure.get()
    }

    /// Set while free space is so low that no log may grow any more: the database does not survive a full disk.
    pub fn exhausted(&self) -> &Arc<AtomicBool> {
        &self.exhausted
    }

    /// Calls `hook` once, at the first failure.
    pub fn on_failure(&self, hook: impl Fn(&str) + Send + Sync + 'static) {
        *self.failure.hook.lock() = Some(Box::new(hook));
    }

    /// Calls `hook` after every change of the database and of the snapshot files beside it, in the thread that made it;
    /// `None` ends that. For tests of a crash at that moment.
    #[cfg(debug_assertions)]
    pub fn on_step(&self, hook: Option<StepHook>) {
        self.failure.steps.listen(hook);
    }

    /// Makes everything durable and ends the commit threads. All other handles must be dropped, or are unusable afterwards.
    ///
    /// # Errors
    /// If the last commit fails.
    pub fn close(self) -> Result<(), StoreError> {
        self.commit.wait_blocking()?;
        drop(self.commit);
        self.threads.lock().clear();
        Ok(())
    }

    fn guard<T>(&self, work: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
        guard(&self.failure, work)
    }
}

/// Stops the process once an operation is in an endless loop. What is on the disk is not in doubt, so the service manager may start it again.
fn watch_operations(running: &Arc<Running>, metrics: &Metrics) -> std::io::Result<()> {
    let (running, tasks, mut watch) = (Arc::downgrade(running), Tasks::new(metrics), Watch::new(LOOK_EVERY, LOOKS));
    let stop = tasks.clone();
    tasks.thread(Task::StoreWatch, move || {
        if watch.run(&running) {
            stop.stop_process(Task::StoreWatch, "an operation of the database is in an endless loop");
        }
    })?;
    Ok(())
}

/// Creates a directory and its parents, and syncs the parent of each new one.
///
/// # Errors
/// If the file system refuses.
pub fn create_durably(dir: &Path) -> Result<(), StoreError> {
    if dir.is_dir() {
        return Ok(());
    }
    // The parent of a relative path with one part is the empty path, which stands for the current directory.
    let parent = match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    create_durably(parent)?;
    match fs::create_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        other => other?,
    }
    Ok(File::open(parent)?.sync_all()?)
}

/// Opens sled. Some failures of the disk make it panic; these are reported like other failures.
fn open_sled(dir: &Path, options: &DbOptions) -> Result<sled::Db, StoreError> {
    let config = sled::Config::new()
        .path(dir)
        .cache_capacity(options.cache_bytes)
        .segment_size(SEGMENT_BYTES)
        .flush_every_ms(Some(FLUSH_EVERY_MS))
        .print_profile_on_drop(false);
    match catch_unwind(AssertUnwindSafe(|| config.open())) {
        Ok(Ok(db)) => Ok(db),
        Ok(Err(sled::Error::Io(error))) if error.to_string().contains("acquire lock") => {
            Err(StoreError::Locked { path: dir.to_owned() })
        }
        Ok(Err(error)) => Err(error.into()),
        Err(_panic) => Err(StoreError::Corrupt {
            what: format!("the database in {}", dir.display()),
            detail: "opening it failed; restore a backup, or take it away to begin anew".to_owned(),
        }),
    }
}
