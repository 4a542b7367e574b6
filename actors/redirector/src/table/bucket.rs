//! One cache line of the table: six entries, and what is to be known of them before one is looked at.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU16, Ordering};

use foldhash::quality::RandomState;

use crate::entry::{Entry, KeyRef};

/// The entries of a bucket, so that it fills a cache line.
pub(super) const WAYS: usize = 6;

/// The most uses of an entry that are remembered, and the bits for them.
const USES_MAX: u16 = 3;
const USES_BITS: usize = 2;

/// A bucket, in one cache line.
#[derive(Default)]
#[repr(align(64))]
pub(super) struct Bucket {
    pub(super) entries: [Option<Entry>; WAYS],
    /// Of each entry: bits of the hash of its key.
    pub(super) prints: [u16; WAYS],
    /// Of each entry: how often it was used since the clock hand was here, in two bits.
    uses: AtomicU16,
    pub(super) marks: Marks,
}

const _: () = assert!(size_of::<Bucket>() == 64 && WAYS * USES_BITS <= 16);

/// What else is known of the entries of a bucket, in 16 bits.
#[derive(Default, Clone, Copy)]
pub(super) struct Marks(u16);

impl Marks {
    const FRESH_SHIFT: usize = WAYS;
    const AWAY_SHIFT: usize = 2 * WAYS;
    const AWAY_MAX: u16 = u16::MAX >> Self::AWAY_SHIFT;

    fn set(&mut self, bit: usize, is: bool) {
        self.0 = self.0 & !(1 << bit) | u16::from(is) << bit;
    }

    /// Whether an entry is in its second bucket here.
    pub(super) fn is_guest(self, place: usize) -> bool {
        self.0 & 1 << place != 0
    }

    pub(super) fn set_guest(&mut self, place: usize, is: bool) {
        self.set(place, is);
    }

    /// Whether an entry has still to prove itself.
    pub(super) fn is_fresh(self, place: usize) -> bool {
        self.0 & 1 << (Self::FRESH_SHIFT + place) != 0
    }

    pub(super) fn set_fresh(&mut self, place: usize, is: bool) {
        self.set(Self::FRESH_SHIFT + place, is);
    }

    /// The number of entries whose first bucket this is, and which are in their second one.
    pub(super) fn away(self) -> u16 {
        self.0 >> Self::AWAY_SHIFT
    }

    /// At its maximum it is not known any more, and stays.
    pub(super) fn set_away(&mut self, away: u16) {
        if self.away() < Self::AWAY_MAX {
            self.0 = self.0 & !(Self::AWAY_MAX << Self::AWAY_SHIFT) | away.min(Self::AWAY_MAX) << Self::AWAY_SHIFT;
        }
    }
}

/// The hash of a key, and what it says of its place.
#[derive(Clone, Copy)]
pub(crate) struct Hash(pub(super) u64);

impl Hash {
    pub(super) fn part(self, parts: usize) -> usize {
        (self.0 >> 54) as usize & (parts - 1)
    }

    pub(super) fn print(self) -> u16 {
        self.0 as u16
    }

    pub(super) fn first(self, buckets: usize) -> usize {
        (self.0 >> 16) as usize & (buckets - 1)
    }

    pub(super) fn ghost(self, ghosts: usize) -> usize {
        (self.0 >> 24) as usize & (ghosts - 1)
    }

    /// Another bucket than the first.
    pub(super) fn second(self, buckets: usize) -> usize {
        let other = (self.0 >> 35) as usize & (buckets - 1);
        if other == self.first(buckets) { other ^ 1 } else { other }
    }
}

impl Bucket {
    /// The place of an entry with this key.
    pub(super) fn find(&self, print: u16, key: &KeyRef<'_>) -> Option<usize> {
        self.alike(print).find(|place| self.entries[*place].as_ref().is_some_and(|of| key.is_of(of)))
    }

    /// The places with this print. All are compared at once, since a branch for each could not be predicted.
    pub(super) fn alike(&self, print: u16) -> impl Iterator<Item = usize> + use<> {
        let of = |all: u32, place: usize| all | u32::from(self.prints[place] == print) << place;
        let mut left = (0..WAYS).fold(0, of);
        std::iter::from_fn(move || {
            let place = left.trailing_zeros() as usize;
            left &= left.wrapping_sub(1);
            (place < WAYS).then_some(place)
        })
    }

    pub(super) fn free(&self) -> Option<usize> {
        self.entries.iter().position(Option::is_none)
    }

    pub(super) fn uses(&self, place: usize) -> u16 {
        self.uses.load(Ordering::Relaxed) >> (place * USES_BITS) & USES_MAX
    }

    /// Remembers a use. Of two at the same time, one may be forgotten.
    pub(super) fn used(&self, place: usize) {
        let all = self.uses.load(Ordering::Relaxed);
        if all >> (place * USES_BITS) & USES_MAX < USES_MAX {
            let more = all + (1 << (place * USES_BITS));
            let _ = self.uses.compare_exchange(all, more, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    pub(super) fn set_uses(&mut self, place: usize, uses: u16) {
        let all = self.uses.get_mut();
        *all = *all & !(USES_MAX << (place * USES_BITS)) | uses << (place * USES_BITS);
    }

    pub(super) fn put(&mut self, place: usize, print: u16, entry: Entry, is_guest: bool) {
        self.entries[place] = Some(entry);
        self.prints[place] = print;
        self.marks.set_guest(place, is_guest);
        self.marks.set_fresh(place, false);
        self.set_uses(place, 0);
    }
}

/// The hash of a key.
pub(super) fn hash(of: &RandomState, key: &KeyRef<'_>) -> Hash {
    Hash(of.hash_one(key))
}
