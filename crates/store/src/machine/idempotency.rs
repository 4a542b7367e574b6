//! The idempotency keys of a shard, which identify repeated creates.
//!
//! A key counts for [`WINDOW_MS`]. A shard keeps at most [`KEYS_MAX`] and removes the oldest first. Both are constants and not settings, because
//! every replica has to forget the same key at the same command.

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};
use waypost_protocol::UnixMs;
use waypost_protocol::digest::IdempotencyKey;

use super::record::{decode, encode, open_record, seal_record};
use crate::{Batch, StoreError, Tree};

/// How long a key counts, in milliseconds: a day.
pub(super) const WINDOW_MS: u64 = 24 * 60 * 60 * 1000;

/// The number of keys that a shard remembers: about 10 MB in the worst case, a million keys on a node with 16 shards.
pub(super) const KEYS_MAX: usize = 65_536;

const PREFIX: u8 = b'i';
const KEYS_PER_RECORD: usize = 100;

/// The result that a key stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Remembered {
    /// The link that was created.
    pub(super) slot: u32,
    /// The hash of its key: the slot may hold another link by now.
    pub(super) key_hash: u64,
    /// The fingerprint of the request.
    pub(super) fingerprint: u64,
    /// The time of the create.
    pub(super) at: UnixMs,
}

/// Invariant: `keys` holds the last of each key in `order`; the first ones of `order` are in `records`, the last `pending` ones are not.
/// A key can be in `order` twice: its link was deleted, and the repeated request made another one.
#[derive(Debug, Default)]
pub(super) struct Idempotency {
    keys: HashMap<IdempotencyKey, Remembered>,
    order: VecDeque<(IdempotencyKey, Remembered)>,
    records: VecDeque<(u32, usize)>,
    pending: usize,
    next_record: u32,
    emptied: Vec<u32>,
}

impl Idempotency {
    /// The result of a key at `now`, unless it is too old.
    pub(super) fn get(&self, key: &IdempotencyKey, now: UnixMs) -> Option<Remembered> {
        self.keys.get(key).copied().filter(|what| what.at.0.saturating_add(WINDOW_MS) > now.0)
    }

    pub(super) fn remember(&mut self, key: IdempotencyKey, what: Remembered) {
        self.keys.insert(key, what);
        self.order.push_back((key, what));
        self.pending += 1;
        self.bound();
    }

    /// Removes the oldest keys above the bound. No key is removed because of its age: that would depend on one proposer's clock, and could
    /// not be undone.
    fn bound(&mut self) {
        while self.order.len() > KEYS_MAX {
            self.forget_oldest();
        }
    }

    /// Forgets the keys that are too old at `now`. Called for the entry at which the level rises: earlier versions forgot old keys
    /// when they were started, and ignored them otherwise; from then on times may step back.
    pub(super) fn forget_old(&mut self, now: UnixMs) {
        while self.order.front().is_some_and(|(_, what)| what.at.0.saturating_add(WINDOW_MS) <= now.0) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((oldest, what)) = self.order.pop_front() else { return };
        if self.keys.get(&oldest) == Some(&what) {
            self.keys.remove(&oldest);
        }
        match self.records.front_mut() {
            Some((record, left)) => {
                *left -= 1;
                if *left == 0 {
                    self.emptied.push(*record);
                    self.records.pop_front();
                }
            }
            None => self.pending -= 1,
        }
    }

    pub(super) fn pending_bytes(&self) -> u64 {
        self.pending as u64 * 48
    }

    /// Writes the keys that are not stored yet, and removes the records of forgotten keys.
    pub(super) fn checkpoint(&mut self, tree: &Tree, batch: &mut Batch) {
        for record in self.emptied.drain(..) {
            batch.remove(&record_key(record));
        }
        let start = self.order.len() - self.pending;
        let fresh: Vec<(IdempotencyKey, Remembered)> = self.order.range(start..).copied().collect();
        for chunk in fresh.chunks(KEYS_PER_RECORD) {
            let key = record_key(self.next_record);
            batch.insert(&key, seal_record(tree, &key, &encode(&chunk.to_vec())));
            self.records.push_back((self.next_record, chunk.len()));
            self.next_record = self.next_record.wrapping_add(1);
        }
        self.pending = 0;
    }

    pub(super) fn open(tree: &Tree) -> Result<Self, StoreError> {
        let mut idempotency = Self::default();
        for entry in tree.scan_prefix(&[PREFIX]) {
            let (key, value) = entry?;
            let chunk: Vec<(IdempotencyKey, Remembered)> =
                decode("idempotency keys", open_record(tree, &key, &value)?)?;
            let mut number = [0u8; 4];
            number.copy_from_slice(key.get(1..5).unwrap_or(&[0; 4]));
            let record = u32::from_be_bytes(number);
            idempotency.next_record = record.wrapping_add(1);
            idempotency.records.push_back((record, chunk.len()));
            for (key, what) in chunk {
                idempotency.keys.insert(key, what);
                idempotency.order.push_back((key, what));
            }
        }
        // A record is removed when all its keys are forgotten, so some keys of the first record may be forgotten already.
        idempotency.bound();
        Ok(idempotency)
    }
}

fn record_key(record: u32) -> [u8; 5] {
    let mut key = [PREFIX; 5];
    key[1..].copy_from_slice(&record.to_be_bytes());
    key
}

#[cfg(test)]
mod tests {
    use waypost_telemetry::Metrics;

    use super::*;
    use crate::{Db, DbOptions};

    const DAY_MS: u64 = 86_400_000;

    fn key(number: u64) -> IdempotencyKey {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&number.to_le_bytes());
        IdempotencyKey(key)
    }

    fn made(slot: u32, at: u64) -> Remembered {
        Remembered { slot, key_hash: 1, fingerprint: 2, at: UnixMs(at) }
    }

    fn tree() -> (tempfile::TempDir, Tree) {
        let dir = tempfile::tempdir().unwrap();
        let tree = Db::open(dir.path(), &DbOptions::default(), &Metrics::new()).unwrap().tree("sm/1").unwrap();
        (dir, tree)
    }

    fn checkpoint(of: &mut Idempotency, tree: &Tree) {
        let mut batch = Batch::default();
        of.checkpoint(tree, &mut batch);
        tree.apply(batch).unwrap();
    }

    #[test]
    fn a_key_counts_for_a_day() {
        let mut keys = Idempotency::default();
        keys.remember(key(1), made(7, 1000));
        for (now, counts) in [(0, true), (1000 + DAY_MS - 1, true), (1000 + DAY_MS, false)] {
            assert_eq!(keys.get(&key(1), UnixMs(now)).is_some(), counts, "at {now}");
        }
        assert_eq!(keys.get(&key(2), UnixMs(0)), None);
    }

    #[test]
    fn keys_that_are_too_old_are_forgotten_up_to_the_first_that_is_not() {
        let mut keys = Idempotency::default();
        (0..5).for_each(|number| keys.remember(key(number), made(0, 1000 * number)));
        keys.forget_old(UnixMs(DAY_MS + 2000));
        // When the clock is right again, those that were kept count.
        let known: Vec<u64> = (0..5).filter(|number| keys.get(&key(*number), UnixMs(0)).is_some()).collect();
        assert_eq!(known, [3, 4]);
    }

    #[test]
    fn the_oldest_keys_are_forgotten_and_of_one_that_was_used_again_the_later_use_stays() {
        let mut keys = Idempotency::default();
        keys.remember(key(0), made(1, 0));
        keys.remember(key(1), made(1, 0));
        keys.remember(key(0), made(2, 5));
        (3..KEYS_MAX as u64 + 2).for_each(|number| keys.remember(key(number), made(1, 9)));
        // Two more than there is room for.
        assert_eq!(keys.order.len(), KEYS_MAX);
        let slot = |number| keys.get(&key(number), UnixMs(0)).map(|what| what.slot);
        assert_eq!([0, 1, 3].map(slot), [Some(2), None, Some(1)]);
    }

    #[test]
    fn keys_are_stored_a_hundred_to_a_record_and_a_record_goes_with_its_last_key() {
        let (_dir, tree) = tree();
        let mut keys = Idempotency::default();
        (0..250).for_each(|number| keys.remember(key(number), made(number as u32, number)));
        assert_eq!(keys.pending_bytes(), 250 * 48);
        checkpoint(&mut keys, &tree);
        assert_eq!((keys.pending_bytes(), tree.scan_prefix(b"i").count()), (0, 3));
        keys.remember(key(250), made(250, 250));
        assert_eq!(keys.pending_bytes(), 48);
        checkpoint(&mut keys, &tree);
        let records =
            |tree: &Tree| -> Vec<Vec<u8>> { tree.scan_prefix(b"i").map(|record| record.unwrap().0.to_vec()).collect() };
        let named = |number: u8| vec![b'i', 0, 0, 0, number];
        assert_eq!(records(&tree), [0, 1, 2, 3].map(named));
        // All but one of the first record, then that one, then some of the next.
        for (now, first) in [(98, 0), (99, 1), (120, 1)] {
            keys.forget_old(UnixMs(DAY_MS + now));
            checkpoint(&mut keys, &tree);
            assert_eq!(records(&tree), (first..4).map(named).collect::<Vec<_>>(), "up to {now}");
        }
        let mut again = Idempotency::open(&tree).unwrap();
        assert_eq!(again.get(&key(250), UnixMs(0)), Some(made(250, 250)));
        assert_eq!((again.order.len(), again.pending_bytes(), again.next_record), (151, 0, 4));
        // It goes on as the other would: with the next record, and without those that are forgotten.
        again.remember(key(999), made(9, 999));
        again.forget_old(UnixMs(DAY_MS + 199));
        checkpoint(&mut again, &tree);
        assert_eq!(records(&tree), [2, 3, 4].map(named));
        // Forgotten before it was ever stored.
        let mut fresh = Idempotency::default();
        fresh.remember(key(1), made(1, 0));
        fresh.remember(key(2), made(1, 5));
        fresh.forget_old(UnixMs(DAY_MS + 1));
        assert_eq!(fresh.pending_bytes(), 48);
    }
}
