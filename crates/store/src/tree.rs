//! Trees of the database: ordered maps of bytes to bytes, and batches of changes to them.

use std::ops::{Bound, Deref, RangeBounds};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::StoreError;
use crate::failure::{Failure, guard};

/// The largest value. sled moves a page above a quarter of a segment into a file of its own, which it never syncs; a page
/// holds up to 17 values before it is split, so 17 of these, with what surrounds them, must stay below that.
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
    pub(crate) fn new(tree: sled::Tree, name: &str, failure: Arc<Failure>) -> Self {
        Self { tree, name: Arc::from(name), failure }
    }

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
