//! Trees of the database: ordered maps of bytes to bytes, and batches of changes to them.

use std::ops::{Bound, Deref, RangeBounds};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::StoreError;
use crate::failure::{Failure, guard};

/// The largest value, in bytes. sled moves a page above a quarter of a segment into a file of its own, which it never syncs. A page
/// holds up to 17 values before it is split, so 17 of these, with their overhead, must stay below that.
pub const VALUE_BYTES_MAX: usize = 24 * 1024;

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

/// Changes to one tree that are applied atomically.
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

    /// The number of changes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no changes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
thread_local! {
    /// The number of reads of this thread: tests check that none happens under a lock.
    pub(crate) static READS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// A key with its value.
pub type Record = (Value, Value);

impl Tree {
    pub(crate) fn new(tree: sled::Tree, name: &str, failure: Arc<Failure>) -> Self {
        Self { tree, name: Arc::from(name), failure }
    }

    /// The name of the tree.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Declares the store failed: the damage that was found leaves the state in doubt, so nothing more may be written. The
    /// process then stops.
    pub fn fail(&self, why: &dyn std::fmt::Display) {
        self.failure.set(format!("{}: {why}", self.name));
    }

    /// Reads the value of a key.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn get(&self, key: &[u8]) -> Result<Option<Value>, StoreError> {
        #[cfg(test)]
        READS.set(READS.get() + 1);
        self.read(|tree| tree.get(key)).map(|value| value.map(Value))
    }

    /// Runs a read. Reads go on after a failed write, so redirects are answered until the process stops. A failed read is
    /// a failure like others.
    fn read<T>(&self, read: impl FnOnce(&sled::Tree) -> sled::Result<T>) -> Result<T, StoreError> {
        let _operation = self.failure.running.begin();
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
    /// If the value is too large, or the store has failed.
    pub fn insert(&self, key: &[u8], value: Vec<u8>) -> Result<(), StoreError> {
        check_size(value.len())?;
        guard(&self.failure, || self.tree.insert(key, value))?;
        self.step("insert", key);
        Ok(())
    }

    /// Removes a key. Durable after the next commit.
    ///
    /// # Errors
    /// If the store has failed.
    pub fn remove(&self, key: &[u8]) -> Result<(), StoreError> {
        guard(&self.failure, || self.tree.remove(key))?;
        self.step("remove", key);
        Ok(())
    }

    /// Applies all changes of a batch atomically. Durable after the next commit.
    ///
    /// # Errors
    /// If a value is too large (then nothing was changed), or the store has failed.
    pub fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        check_size(batch.largest)?;
        guard(&self.failure, || self.tree.apply_batch(batch.batch))?;
        self.step("batch", &[]);
        Ok(())
    }

    fn step(&self, what: &str, key: &[u8]) {
        self.failure.steps.reached(|| format!("{what} {} {}", self.name, key.escape_ascii()));
    }

    /// Reports a step: a file that belongs to this tree was changed.
    pub(crate) fn file_step(&self, what: &str) {
        self.failure.steps.reached(|| format!("file {} {what}", self.name));
    }

    /// Reads all records whose key begins with `prefix`, in order. This is not a point-in-time view: it may show concurrent changes.
    pub fn scan_prefix(&self, prefix: &[u8]) -> impl DoubleEndedIterator<Item = Result<Record, StoreError>> + use<> {
        #[cfg(test)]
        READS.set(READS.get() + 1);
        Records { tree: self.clone(), iter: Some(self.tree.scan_prefix(prefix)) }
    }

    /// Reads all records from a key on, in order.
    pub fn range_from(&self, from: &[u8]) -> impl DoubleEndedIterator<Item = Result<Record, StoreError>> + use<> {
        self.range((Bound::Included(from.to_vec()), Bound::Unbounded))
    }

    /// Reads all records of a range of keys, in order.
    pub fn range<R: RangeBounds<Vec<u8>>>(
        &self,
        range: R,
    ) -> impl DoubleEndedIterator<Item = Result<Record, StoreError>> + use<R> {
        let bounds = (range.start_bound().cloned(), range.end_bound().cloned());
        Records { tree: self.clone(), iter: Some(self.tree.range::<Vec<u8>, _>(bounds)) }
    }
}

/// Records in order, up to the first one that cannot be read.
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
