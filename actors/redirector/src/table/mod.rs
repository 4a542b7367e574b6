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
mod prefetch;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use foldhash::quality::RandomState;
use parking_lot::RwLock;

pub(crate) use self::bucket::Hash;
use self::bucket::hash;
use self::part::Part;
use self::prefetch::prefetch;
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
    /// Where the buckets of each part are, and their number, for whoever only begins to load one: see [`Part::buckets_at`]. It may be out of date. All
    /// together they take 8 KiB, which stay near the processor.
    buckets_at: Box<[AtomicUsize]>,
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
            buckets_at: (0..parts).map(|_| AtomicUsize::default()).collect(),
            hasher: RandomState::default(),
            limit: AtomicU64::new(bytes / parts),
        }
    }

    /// Changes a part.
    fn change<T>(&self, at: usize, change: impl FnOnce(&mut Part) -> T) -> T {
        let mut part = self.parts[at].0.write();
        let changed = change(&mut part);
        // Only if they have moved: all look-ups read the line in which this is, and that of seven other parts.
        let buckets_at = part.buckets_at();
        if self.buckets_at[at].load(Ordering::Relaxed) != buckets_at {
            self.buckets_at[at].store(buckets_at, Ordering::Relaxed);
        }
        changed
    }

    /// Begins a look-up: loads the part and the bucket, and waits for neither.
    pub(crate) fn expect(&self, key: &KeyRef<'_>) -> Hash {
        let hash = hash(&self.hasher, key);
        let part = hash.part(self.parts.len());
        prefetch(&raw const self.parts[part]);
        prefetch(part::first_bucket(self.buckets_at[part].load(Ordering::Relaxed), hash));
        hash
    }

    /// Goes on with a look-up when its bucket is there: begins to load the entry. Returns whether the bucket seems to have one. If not, the other bucket may.
    pub(crate) fn approach(&self, hash: Hash) -> bool {
        self.parts[hash.part(self.parts.len())].0.read().load_entry(hash)
    }

    /// Ends a look-up: the entry, if it has this key, which has to be the one that was expected.
    pub(crate) fn find(&self, hash: Hash, key: &KeyRef<'_>) -> Option<Entry> {
        let part = self.parts[hash.part(self.parts.len())].0.read();
        let (bucket, place) = part.find(hash, key)?;
        let bucket = &part.buckets[bucket];
        bucket.used(place);
        bucket.entries[place].clone()
    }

    /// Adds an entry, in place of one with the same key. Others are evicted for it; one that is larger than a part is not added.
    pub(crate) fn insert(&self, entry: Entry) {
        let hash = hash(&self.hasher, &entry.key());
        let limit = self.limit.load(Ordering::Relaxed);
        self.change(hash.part(self.parts.len()), |part| part.insert(hash, entry, limit, &self.hasher));
    }

    /// Removes the entry of a key; whether there was one.
    pub(crate) fn remove(&self, key: &KeyRef<'_>) -> bool {
        let hash = hash(&self.hasher, key);
        self.change(hash.part(self.parts.len()), |part| {
            let found = part.find(hash, key);
            if let Some((bucket, place)) = found {
                part.take(bucket, place, &self.hasher);
            }
            found.is_some()
        })
    }

    /// Removes everything.
    pub(crate) fn clear(&self) {
        for at in 0..self.parts.len() {
            self.change(at, |part| *part = Part::default());
        }
    }

    /// Sets the limit to about `bytes` bytes.
    pub(crate) fn set_limit(&self, bytes: u64) {
        let limit = bytes / self.parts.len() as u64;
        self.limit.store(limit, Ordering::Relaxed);
        for at in 0..self.parts.len() {
            self.change(at, |part| {
                part.shrink(limit, &self.hasher);
                part.give_back(&self.hasher);
            });
        }
    }

    /// The bytes of all entries, as they say themselves.
    pub(crate) fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.0.read().bytes).sum()
    }

    /// The number of entries.
    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.0.read().entries).sum()
    }
}
