//! The database of a node, and its trees.

use std::fs::{self, File};
use std::ops::{Bound, Deref, RangeBounds};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use waypost_telemetry::{Gauge, Metrics};

use crate::commit::{CommitHandle, CommitThread};
#[cfg(debug_assertions)]
use crate::steps::StepHook;
use crate::steps::Steps;
use crate::witness::Witness;
use crate::{StoreError, mend};

/// The largest value. sled moves a page above a quarter of a segment into a file of its own, which it never syncs; a page
/// holds up to 17 values before it is split, so 17 of these, with what surrounds them, must stay below that.
pub const VALUE_BYTES_MAX: usize = 24 * 1024;

/// The size of sled's segments, and of its write buffer.
const SEGMENT_BYTES: usize = 2 << 20;

const ITEMS_PER_PAGE: usize = 17;

const _: () = assert!(ITEMS_PER_PAGE * (VALUE_BYTES_MAX + 512) < SEGMENT_BYTES / 4);

/// How often sled's own thread flushes and reclaims space. It has to run: without it no space is ever reclaimed.
const FLUSH_EVERY_MS: u64 = 200;

/// What can be chosen of a database.
#[derive(Debug, Clone, Copy)]
pub struct DbOptions {
    /// Memory for pages, in bytes. sled takes some hundred bytes a record beyond it.
    pub cache_bytes: u64,
    /// Waits so long before each sync: shows on a fast disk what a slow one would do. Zero for real use.
    pub commit_delay: Duration,
}

impl Default for DbOptions {
    fn default() -> Self {
        Self { cache_bytes: 64 << 20, commit_delay: Duration::ZERO }
    }
}

type Hook = Box<dyn Fn(&str) + Send + Sync>;

/// The first failure of the store, kept for ever.
#[derive(Default)]
pub(crate) struct Failure {
    why: OnceLock<String>,
    hook: Mutex<Option<Hook>>,
    gauge: OnceLock<Gauge>,
    pub(crate) steps: Steps,
}

impl Failure {
    pub(crate) fn get(&self) -> Option<String> {
        self.why.get().cloned()
    }

    /// Notes a failure; tells of the first. Answers it.
    pub(crate) fn set(&self, why: String) -> String {
        if self.why.set(why.clone()).is_ok() {
            tracing::error!(why, "the store has failed");
            if let Some(gauge) = self.gauge.get() {
                gauge.set(1);
            }
            if let Some(hook) = &*self.hook.lock() {
                hook(&why);
            }
        }
        why
    }
}

/// The database of a node.
#[derive(Clone)]
pub struct Db {
    db: sled::Db,
    dir: PathBuf,
    commit: CommitHandle,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
    failure: Arc<Failure>,
    bytes: Gauge,
    exhausted: Arc<AtomicBool>,
}

impl Db {
    /// Opens the database in `<data_dir>/store`, making it durable that it exists if it is new.
    ///
    /// # Errors
    /// When another process has it open, it is damaged beyond what can be mended, or the disk fails.
    pub fn open(data_dir: &Path, options: &DbOptions, metrics: &Metrics) -> Result<Self, StoreError> {
        let dir = data_dir.join("store");
        create_durably(&dir)?;
        let torn = mend::remove_torn_snapshots(&dir)?;
        if torn > 0 {
            tracing::warn!(torn, "removed table snapshots whose writing was interrupted");
        }
        let db = match open_sled(&dir, options) {
            Err(StoreError::Corrupt { detail, .. }) => {
                tracing::warn!(detail, "the database does not open; reading its whole log instead of its snapshot");
                mend::remove_all_snapshots(&dir)?;
                open_sled(&dir, options)?
            }
            other => other?,
        };
        let witness = Witness::open(data_dir, &db)?;
        let file = File::open(dir.join("db"))?;
        file.sync_all()?;
        for path in [dir.as_path(), data_dir] {
            File::open(path)?.sync_all()?;
        }
        let failure = Arc::new(Failure::default());
        let failed = metrics.gauge("waypost_store_failed", "1 after a write or sync has failed");
        let _ = failure.gauge.set(failed);
        let (commit, thread) =
            CommitThread::spawn(db.clone(), file, failure.clone(), options.commit_delay, witness, metrics)?;
        let bytes = metrics.gauge("waypost_store_bytes", "Bytes of the database on disk");
        Ok(Self {
            db,
            dir,
            commit,
            thread: Arc::new(Mutex::new(Some(thread))),
            failure,
            bytes,
            exhausted: Arc::default(),
        })
    }

    /// A tree of the database, made if there is none.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn tree(&self, name: &str) -> Result<Tree, StoreError> {
        let tree = self.guard(|| self.db.open_tree(name))?;
        Ok(Tree { tree, name: Arc::from(name), failure: self.failure.clone() })
    }

    /// The names of all trees.
    pub fn tree_names(&self) -> Vec<String> {
        self.db.tree_names().iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
    }

    /// The commit thread.
    pub fn commit(&self) -> &CommitHandle {
        &self.commit
    }

    /// The size of the database's files, in bytes; kept in the metric `waypost_store_bytes` too.
    pub fn size_on_disk(&self) -> u64 {
        let size = fs::read_dir(&self.dir)
            .map(|files| files.flatten().filter_map(|file| file.metadata().ok()).map(|meta| meta.len()).sum())
            .unwrap_or(0);
        self.bytes.set(size as i64);
        size
    }

    /// Why the store accepts nothing more, if it has failed.
    pub fn failure(&self) -> Option<String> {
        self.failure.get()
    }

    /// Set while there is so little free space that no log may grow any more: the database does not survive a full disk.
    pub fn exhausted(&self) -> &Arc<AtomicBool> {
        &self.exhausted
    }

    /// Has `hook` called once, with the first failure.
    pub fn on_failure(&self, hook: impl Fn(&str) + Send + Sync + 'static) {
        *self.failure.hook.lock() = Some(Box::new(hook));
    }

    /// Has `hook` called after every change of the database and of the snapshot files beside it, by the thread that made it;
    /// `None` ends that. For tests that look at what a crash at that moment would leave.
    #[cfg(debug_assertions)]
    pub fn on_step(&self, hook: Option<StepHook>) {
        self.failure.steps.listen(hook);
    }

    /// Makes everything durable and ends the commit thread. All other handles must be gone, or are of no use any more.
    ///
    /// # Errors
    /// When the last commit fails.
    pub fn close(self) -> Result<(), StoreError> {
        self.commit.wait_blocking()?;
        let thread = self.thread.lock().take();
        drop(self.commit);
        drop(thread);
        Ok(())
    }

    fn guard<T>(&self, work: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
        guard(&self.failure, work)
    }
}

/// Makes a directory and those above it, and makes durable that each of the new ones exists.
///
/// # Errors
/// When the file system refuses.
pub fn create_durably(dir: &Path) -> Result<(), StoreError> {
    if dir.is_dir() {
        return Ok(());
    }
    // A relative directory of one part has the empty path as its parent, which stands for the current directory.
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

/// sled panics on some failures of the disk: those are failures like others.
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

fn guard<T>(failure: &Failure, work: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
    if let Some(why) = failure.get() {
        return Err(StoreError::Failed(why));
    }
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => {
            failure.set(error.to_string());
            Err(error.into())
        }
        Err(_panic) => Err(StoreError::Failed(failure.set("the database panicked".to_owned()))),
    }
}

/// Bytes of a key or value, shared with the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value(sled::IVec);

impl Deref for Value {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// An ordered map of bytes to bytes within the database.
#[derive(Clone)]
pub struct Tree {
    tree: sled::Tree,
    name: Arc<str>,
    failure: Arc<Failure>,
}

/// Changes to one tree that are made together or not at all.
#[derive(Debug, Default)]
pub struct Batch {
    batch: sled::Batch,
    len: usize,
    largest: usize,
}

impl Batch {
    /// Sets a key.
    pub fn insert(&mut self, key: &[u8], value: Vec<u8>) {
        self.len += 1;
        self.largest = self.largest.max(value.len());
        self.batch.insert(key, value);
    }

    /// Removes a key.
    pub fn remove(&mut self, key: &[u8]) {
        self.len += 1;
        self.batch.remove(key);
    }

    /// How many changes there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing to change.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
thread_local! {
    /// How often this thread has read: what is locked meanwhile, tests look at.
    pub(crate) static READS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// A key with its value.
pub type Record = (Value, Value);

impl Tree {
    /// The name that it was opened by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Declares the store failed: what was found wrong leaves the state in doubt, so nothing more may be written. The
    /// process then stops.
    pub fn fail(&self, why: &dyn std::fmt::Display) {
        self.failure.set(format!("{}: {why}", self.name));
    }

    /// The value of a key.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn get(&self, key: &[u8]) -> Result<Option<Value>, StoreError> {
        #[cfg(test)]
        READS.set(READS.get() + 1);
        self.read(|tree| tree.get(key)).map(|value| value.map(Value))
    }

    /// Reads. It goes on after a failed write: redirects are answered until the process stops. What cannot be read any more is
    /// a failure like others.
    fn read<T>(&self, read: impl FnOnce(&sled::Tree) -> sled::Result<T>) -> Result<T, StoreError> {
        match catch_unwind(AssertUnwindSafe(|| read(&self.tree))) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                let error = StoreError::from(error);
                self.fail(&error);
                Err(error)
            }
            Err(_panic) => Err(StoreError::Failed(self.failure.set("the database panicked while reading".to_owned()))),
        }
    }

    /// Sets a key. Durable after the next commit.
    ///
    /// # Errors
    /// When the value is too large, or the store has failed.
    pub fn insert(&self, key: &[u8], value: Vec<u8>) -> Result<(), StoreError> {
        check_size(value.len())?;
        guard(&self.failure, || self.tree.insert(key, value))?;
        self.step("insert", key);
        Ok(())
    }

    /// Removes a key. Durable after the next commit.
    ///
    /// # Errors
    /// When the store has failed.
    pub fn remove(&self, key: &[u8]) -> Result<(), StoreError> {
        guard(&self.failure, || self.tree.remove(key))?;
        self.step("remove", key);
        Ok(())
    }

    /// Makes all changes of a batch together. Durable after the next commit.
    ///
    /// # Errors
    /// When a value is too large (then nothing was changed), or the store has failed.
    pub fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        check_size(batch.largest)?;
        guard(&self.failure, || self.tree.apply_batch(batch.batch))?;
        self.step("batch", &[]);
        Ok(())
    }

    fn step(&self, what: &str, key: &[u8]) {
        self.failure.steps.reached(|| format!("{what} {} {}", self.name, key.escape_ascii()));
    }

    /// Notes that a file that belongs to this tree was changed.
    pub(crate) fn file_step(&self, what: &str) {
        self.failure.steps.reached(|| format!("file {} {what}", self.name));
    }

    /// All records whose key begins with `prefix`, in order. Not a view of one moment: changes made meanwhile may show.
    pub fn scan_prefix(&self, prefix: &[u8]) -> impl DoubleEndedIterator<Item = Result<Record, StoreError>> + use<> {
        #[cfg(test)]
        READS.set(READS.get() + 1);
        Records { tree: self.clone(), iter: Some(self.tree.scan_prefix(prefix)) }
    }

    /// All records from a key on, in order.
    pub fn range_from(&self, from: &[u8]) -> impl DoubleEndedIterator<Item = Result<Record, StoreError>> + use<> {
        self.range((Bound::Included(from.to_vec()), Bound::Unbounded))
    }

    /// All records of a range of keys, in order.
    pub fn range<R: RangeBounds<Vec<u8>>>(
        &self,
        range: R,
    ) -> impl DoubleEndedIterator<Item = Result<Record, StoreError>> + use<R> {
        let bounds = (range.start_bound().cloned(), range.end_bound().cloned());
        Records { tree: self.clone(), iter: Some(self.tree.range::<Vec<u8>, _>(bounds)) }
    }
}

/// Records in order, up to the first that cannot be read.
struct Records {
    tree: Tree,
    iter: Option<sled::Iter>,
}

impl Records {
    fn step(
        &mut self,
        step: impl FnOnce(&mut sled::Iter) -> Option<sled::Result<(sled::IVec, sled::IVec)>>,
    ) -> Option<Result<Record, StoreError>> {
        let iter = self.iter.as_mut()?;
        let record = self.tree.read(|_| step(iter).transpose());
        if record.is_err() {
            self.iter = None;
        }
        record.transpose().map(|record| record.map(|(key, value)| (Value(key), Value(value))))
    }
}

impl Iterator for Records {
    type Item = Result<Record, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step(Iterator::next)
    }
}

impl DoubleEndedIterator for Records {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step(DoubleEndedIterator::next_back)
    }
}

fn check_size(bytes: usize) -> Result<(), StoreError> {
    if bytes > VALUE_BYTES_MAX {
        return Err(StoreError::TooLarge { bytes, max: VALUE_BYTES_MAX });
    }
    Ok(())
}
