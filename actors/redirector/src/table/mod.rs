//! The table of the link cache: a look-up reads a bucket, which is one cache line, and then the entry.
//!
//! With a million links each cache line that is looked at comes from memory, which costs as much as everything else that a look-up does. So all that
//! is to be known of a place stands in one line: a [`Bucket`] has six entries, sixteen bits of the hash of each, and how often each was used lately.
//!
//! ```text
//! hash of the key = part (10 bits) · first bucket · second bucket · print (16 bits)
//! ```
//!
//! An entry is in one of two buckets, in the first one if there was room; for a new one, another may move to its other bucket (as in cuckoo hashing, Pagh
//! and Rodler, 2001). The table is divided into parts with a lock each, which is held for a look-up or a change; a part grows by doubling.
//!
//! What is evicted is chosen as in S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023). The newest tenth of a part is
//! *fresh*: an entry of it stays if it was used, and is evicted if not. The others are a CLOCK: a hand goes over them, takes one use away from each, and
//! evicts the entry when it has none left. An entry that comes back soon after it was evicted is not fresh again.

mod bucket;
mod part;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::quality::RandomState;
use parking_lot::RwLock;

use self::bucket::{Hash, hash};
use self::part::Part;
use crate::entry::{Entry, KeyRef};

/// A part has about so many bytes of entries at most, as long as there are not too many parts: some hundred entries, which are moved in some
/// microseconds when it grows.
const PART_BYTES: u64 = 128 * 1024;

/// The most parts: without their buckets they have 128 KiB together, which stay near the processor.
const PARTS_MAX: u64 = 1024;

/// A part in cache lines of its own, of which a processor takes two at a time: the lock of one part does not slow down the next.
#[derive(Default)]
#[repr(align(128))]
struct Locked(RwLock<Part>);

const _: () = assert!(size_of::<Locked>() == 128);

/// The cached links.
pub(crate) struct Table {
    parts: Box<[Locked]>,
    hasher: RandomState,
    /// The most bytes of the entries of a part.
    limit: AtomicU64,
}

impl Table {
    /// A table of at most about `bytes` bytes.
    pub(crate) fn new(bytes: u64) -> Self {
        let parts = (bytes / PART_BYTES).clamp(1, PARTS_MAX).next_power_of_two();
        Self {
            parts: (0..parts).map(|_| Locked::default()).collect(),
            hasher: RandomState::default(),
            limit: AtomicU64::new(bytes / parts),
        }
    }

    fn part(&self, hash: Hash) -> &RwLock<Part> {
        &self.parts[hash.part(self.parts.len())].0
    }

    /// The entry of a key.
    pub(crate) fn get(&self, key: &KeyRef<'_>) -> Option<Entry> {
        let hash = hash(&self.hasher, key);
        let part = self.part(hash).read();
        let (bucket, place) = part.find(hash, key)?;
        let bucket = &part.buckets[bucket];
        bucket.used(place);
        bucket.entries[place].clone()
    }

    /// Adds an entry, in place of one with the same key. Others are evicted for it; one that is larger than a part is not added.
    pub(crate) fn insert(&self, entry: Entry) {
        let hash = hash(&self.hasher, &entry.key());
        self.part(hash).write().insert(hash, entry, self.limit.load(Ordering::Relaxed), &self.hasher);
    }

    /// Removes the entry of a key; whether there was one.
    pub(crate) fn remove(&self, key: &KeyRef<'_>) -> bool {
        let hash = hash(&self.hasher, key);
        let mut part = self.part(hash).write();
        let found = part.find(hash, key);
        if let Some((bucket, place)) = found {
            part.take(bucket, place, &self.hasher);
        }
        found.is_some()
    }

    /// Removes everything.
    pub(crate) fn clear(&self) {
        for Locked(part) in &self.parts {
            *part.write() = Part::default();
        }
    }

    /// Sets the limit to about `bytes` bytes.
    pub(crate) fn set_limit(&self, bytes: u64) {
        let limit = bytes / self.parts.len() as u64;
        self.limit.store(limit, Ordering::Relaxed);
        for Locked(part) in &self.parts {
            let mut part = part.write();
            part.shrink(limit, &self.hasher);
            part.give_back(&self.hasher);
        }
    }

    /// The bytes of all entries, as they say themselves.
    pub(crate) fn bytes(&self) -> u64 {
        self.parts.iter().map(|Locked(part)| part.read().bytes).sum()
    }

    /// The number of entries.
    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(|Locked(part)| part.read().entries).sum()
    }
}
