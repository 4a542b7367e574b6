//! A part of the table: where its entries are, and which go when it is full.

use std::collections::VecDeque;

use foldhash::quality::RandomState;

use super::bucket::{Bucket, Hash, WAYS, hash};
use super::prefetch::prefetch;
use crate::entry::{Entry, KeyRef};

/// Of a full part, one in so many entries is fresh.
const FRESH_PART: usize = 10;

/// The ghosts of a part, for each bucket: as many as a bucket has entries, and more.
const GHOSTS: usize = 8;

/// The buckets of a part at the start.
const BUCKETS_MIN: usize = 4;

/// The bytes of a cache line.
const CACHE_LINE: usize = 64;

/// A part of the table.
pub(super) struct Part {
    pub(super) buckets: Box<[Bucket]>,
    pub(super) entries: usize,
    pub(super) bytes: u64,
    /// The hashes of entries that have still to prove themselves, the oldest one first; also of entries that have gone.
    pub(super) fresh: VecDeque<u64>,
    /// Prints of the hashes of entries that went without having done so, each at a place that its hash says.
    ghosts: Box<[u16]>,
    /// The place that the clock hand comes to next, of those of all buckets.
    hand: usize,
}

impl Default for Part {
    fn default() -> Self {
        let (fresh, ghosts) = Default::default();
        Self { buckets: buckets(BUCKETS_MIN), entries: 0, bytes: 0, fresh, ghosts, hand: 0 }
    }
}

fn buckets(count: usize) -> Box<[Bucket]> {
    (0..count).map(|_| Bucket::default()).collect()
}

/// The address of the first bucket of a hash, of buckets that are where [`Part::buckets_at`] said. They may have moved since, so it is only fit for loading.
pub(super) fn first_bucket(buckets_at: usize, hash: Hash) -> *const Bucket {
    let (at, count) = (buckets_at & !(CACHE_LINE - 1), 1 << (buckets_at & (CACHE_LINE - 1)));
    std::ptr::without_provenance::<Bucket>(at).wrapping_add(hash.first(count))
}

impl Part {
    /// The address of the buckets, and in its lowest bits, which are zero, the logarithm of their number: see [`first_bucket`].
    pub(super) fn buckets_at(&self) -> usize {
        self.buckets.as_ptr().addr() | self.buckets.len().trailing_zeros() as usize
    }

    /// Begins to load the entry in the first bucket of a hash, where nearly all are, that may be the one looked for. Returns whether there is one.
    pub(super) fn load_entry(&self, hash: Hash) -> bool {
        let bucket = &self.buckets[hash.first(self.buckets.len())];
        let Some(Some(entry)) = bucket.alike(hash.print()).next().map(|place| &bucket.entries[place]) else {
            return false;
        };
        // Head and text of most links have two cache lines.
        let at = entry.address();
        prefetch(at);
        prefetch(at.wrapping_add(CACHE_LINE));
        true
    }

    /// The bucket and the place of a key.
    pub(super) fn find(&self, hash: Hash, key: &KeyRef<'_>) -> Option<(usize, usize)> {
        let first = hash.first(self.buckets.len());
        let bucket = &self.buckets[first];
        if let Some(place) = bucket.find(hash.print(), key) {
            return Some((first, place));
        }
        if bucket.marks.away() == 0 {
            return None;
        }
        let second = hash.second(self.buckets.len());
        Some((second, self.buckets[second].find(hash.print(), key)?))
    }

    pub(super) fn insert(&mut self, hash: Hash, entry: Entry, limit: u64, of: &RandomState) {
        let found = self.find(hash, &entry.key());
        if entry.bytes() > limit {
            // All others would have to go for it, and then it as well.
            if let Some((bucket, place)) = found {
                self.take(bucket, place, of);
            }
        } else if let Some((bucket, place)) = found {
            self.bytes += entry.bytes();
            if let Some(old) = self.buckets[bucket].entries[place].replace(entry) {
                self.bytes -= old.bytes();
            }
        } else {
            // Before it is added: nobody has used it yet.
            self.shrink(limit - entry.bytes(), of);
            // A link that came back soon after it went is used more often than those that stayed in its place. Others have to prove that.
            let is_fresh = self.bytes > limit / 8 * 7 && !self.came_back(hash);
            let (bucket, place) = self.add(hash, entry, of);
            if is_fresh {
                // Also while links come and go and none has to: the queue is not longer than the part.
                if self.fresh.len() >= self.entries
                    && let Some((_, bucket, place)) = self.oldest(of)
                {
                    self.buckets[bucket].marks.set_fresh(place, false);
                }
                self.buckets[bucket].marks.set_fresh(place, true);
                self.fresh.push_back(hash.0);
            }
        }
        self.shrink(limit, of);
    }

    /// Adds an entry that is not there. If both of its buckets are full, one of the entries there moves to its other bucket; if none can, the part
    /// grows.
    fn add(&mut self, hash: Hash, entry: Entry, of: &RandomState) -> (usize, usize) {
        // Four fifths: with two buckets for each key, and moves, there is a place for nearly all.
        if self.entries * 5 >= self.places() * 4 {
            self.resize(self.buckets.len() * 2, of);
        }
        let place = self.place(hash, of).or_else(|| {
            if self.entries * 4 < self.places() {
                return None;
            }
            self.resize(self.buckets.len() * 2, of);
            self.place(hash, of)
        });
        let at = place.unwrap_or_else(|| {
            // So many keys of the same buckets have been chosen by somebody who knows the hash. What was used least has to go.
            let first = hash.first(self.buckets.len());
            let bucket = &self.buckets[first];
            let least = (0..WAYS).min_by_key(|place| bucket.uses(*place)).unwrap_or_default();
            self.take(first, least, of);
            (first, least)
        });
        self.put(at, hash, entry);
        at
    }

    pub(super) fn places(&self) -> usize {
        self.buckets.len() * WAYS
    }

    /// A free place for a key.
    fn place(&mut self, hash: Hash, of: &RandomState) -> Option<(usize, usize)> {
        let (first, second) = (hash.first(self.buckets.len()), hash.second(self.buckets.len()));
        let free = |bucket: usize| Some((bucket, self.buckets[bucket].free()?));
        let found = free(first).or_else(|| free(second));
        found.or_else(|| self.make_room(first, of)).or_else(|| self.make_room(second, of))
    }

    fn put(&mut self, (bucket, place): (usize, usize), hash: Hash, entry: Entry) {
        self.entries += 1;
        self.bytes += entry.bytes();
        let first = hash.first(self.buckets.len());
        self.buckets[bucket].put(place, hash.print(), entry, bucket != first);
        if bucket != first {
            let marks = &mut self.buckets[first].marks;
            marks.set_away(marks.away() + 1);
        }
    }

    /// Moves an entry of a bucket to the other bucket that it may be in. Returns its place.
    fn make_room(&mut self, bucket: usize, of: &RandomState) -> Option<(usize, usize)> {
        let count = self.buckets.len();
        for place in 0..WAYS {
            let Some(entry) = &self.buckets[bucket].entries[place] else { continue };
            let hash = hash(of, &entry.key());
            let other = if self.buckets[bucket].marks.is_guest(place) { hash.first(count) } else { hash.second(count) };
            let Some(free) = self.buckets[other].free() else { continue };
            let (entry, uses, is_fresh) =
                (entry.clone(), self.buckets[bucket].uses(place), self.buckets[bucket].marks.is_fresh(place));
            self.take(bucket, place, of);
            self.put((other, free), hash, entry);
            self.buckets[other].set_uses(free, uses);
            self.buckets[other].marks.set_fresh(free, is_fresh);
            return Some((bucket, place));
        }
        None
    }

    pub(super) fn take(&mut self, bucket: usize, place: usize, of: &RandomState) {
        let is_guest = self.buckets[bucket].marks.is_guest(place);
        let Some(entry) = self.buckets[bucket].entries[place].take() else { return };
        if is_guest {
            let home = hash(of, &entry.key()).first(self.buckets.len());
            let marks = &mut self.buckets[home].marks;
            marks.set_away(marks.away().saturating_sub(1));
        }
        self.entries -= 1;
        self.bytes -= entry.bytes();
    }

    /// Evicts entries until the part has at most `limit` bytes.
    pub(super) fn shrink(&mut self, limit: u64, of: &RandomState) {
        while self.bytes > limit {
            if self.fresh.len() * FRESH_PART >= self.entries {
                self.judge_oldest(of);
            } else {
                self.move_hand(of);
            }
        }
    }

    /// The oldest of the fresh entries stays if it was used, and goes if not.
    fn judge_oldest(&mut self, of: &RandomState) {
        let Some((hash, bucket, place)) = self.oldest(of) else { return };
        if self.buckets[bucket].uses(place) > 0 {
            self.buckets[bucket].marks.set_fresh(place, false);
            self.buckets[bucket].set_uses(place, 0);
        } else {
            self.take(bucket, place, of);
            self.remember(hash);
        }
    }

    /// Takes the oldest of the fresh entries out of the queue; its hash and its place, if it is still there.
    fn oldest(&mut self, of: &RandomState) -> Option<(Hash, usize, usize)> {
        let hash = Hash(self.fresh.pop_front()?);
        let is = |bucket: &Bucket, place: usize| {
            let entry = bucket.entries[place].as_ref();
            bucket.prints[place] == hash.print()
                && bucket.marks.is_fresh(place)
                && entry.is_some_and(|entry| self::hash(of, &entry.key()).0 == hash.0)
        };
        let both = [hash.first(self.buckets.len()), hash.second(self.buckets.len())];
        both.into_iter().find_map(|bucket| {
            let place = (0..WAYS).find(|place| is(&self.buckets[bucket], *place))?;
            Some((hash, bucket, place))
        })
    }

    fn move_hand(&mut self, of: &RandomState) {
        let (bucket, place) = (self.hand / WAYS, self.hand % WAYS);
        self.hand = (self.hand + 1) % self.places();
        if self.buckets[bucket].entries[place].is_none() || self.buckets[bucket].marks.is_fresh(place) {
            return;
        }
        match self.buckets[bucket].uses(place) {
            0 => self.take(bucket, place, of),
            uses => self.buckets[bucket].set_uses(place, uses - 1),
        }
    }

    fn remember(&mut self, hash: Hash) {
        let ghosts = self.buckets.len() * GHOSTS;
        if self.ghosts.len() != ghosts {
            self.ghosts = vec![0; ghosts].into();
        }
        self.ghosts[hash.ghost(ghosts)] = hash.print();
    }

    /// Whether an entry is one of those that went without having been used.
    fn came_back(&self, hash: Hash) -> bool {
        !self.ghosts.is_empty() && self.ghosts[hash.ghost(self.ghosts.len())] == hash.print()
    }

    /// Gives back the memory of buckets that are nearly empty, and are not going to be filled: the limit was lowered.
    pub(super) fn give_back(&mut self, of: &RandomState) {
        // At most half full afterwards, so that it does not have to grow at once.
        let count = (self.entries * 2).div_ceil(WAYS).next_power_of_two().max(BUCKETS_MIN);
        if self.entries * 4 < self.places() && count < self.buckets.len() {
            self.resize(count, of);
            self.fresh.shrink_to(self.entries);
        }
    }

    /// Moves all entries to so many buckets, or more if they have no room there.
    fn resize(&mut self, count: usize, of: &RandomState) {
        let old = std::mem::replace(&mut self.buckets, buckets(count));
        (self.entries, self.bytes, self.hand, self.ghosts) = (0, 0, 0, Box::default());
        for mut bucket in old {
            for place in 0..WAYS {
                let (uses, is_fresh) = (bucket.uses(place), bucket.marks.is_fresh(place));
                let Some(entry) = bucket.entries[place].take() else { continue };
                let hash = hash(of, &entry.key());
                let added = entry.clone();
                self.add(hash, entry, of);
                if let Some((bucket, place)) = self.find(hash, &added.key()) {
                    self.buckets[bucket].set_uses(place, uses);
                    self.buckets[bucket].marks.set_fresh(place, is_fresh);
                }
            }
        }
    }
}
