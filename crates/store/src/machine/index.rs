//! The in-memory index of a shard: from the hash of a key, or of a URL, to the slot of a link, and from the slot to the
//! block that holds it.
//!
//! A link costs about 40 bytes here. Sixty-four bits of a hash identify a link unless somebody searched for
//! a collision, so callers that need certainty also compare the key in the record.

use hashbrown::HashTable;

/// The slot's link was written after the last checkpoint and is in memory.
pub(super) const FRESH: u32 = u32::MAX;
/// The slot holds no link.
const FREE: u32 = u32::MAX - 1;

#[derive(Debug, Clone, Copy)]
struct Slot {
    key_hash: u64,
    /// 0 = not in the index of URLs.
    url_hash: u64,
    block: u32,
}

/// Invariants: `by_key` holds exactly the slots in use; `by_url` those of them that have a URL hash; `free` the others.
#[derive(Debug, Default)]
pub(super) struct Index {
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_key: HashTable<u32>,
    by_url: HashTable<u32>,
}

impl Index {
    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// One more than the highest slot ever used.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The slots whose key has this hash: at most one, unless somebody searched for a collision.
    pub(super) fn by_key(&self, hash: u64) -> impl Iterator<Item = u32> + '_ {
        self.by_key.iter_hash(hash).copied().filter(move |slot| self.slots[*slot as usize].key_hash == hash)
    }

    /// The slots of links to a URL with this hash.
    pub(super) fn by_url(&self, hash: u64) -> impl Iterator<Item = u32> + '_ {
        let hash = hash.max(1);
        self.by_url.iter_hash(hash).copied().filter(move |slot| self.slots[*slot as usize].url_hash == hash)
    }

    pub(super) fn block(&self, slot: u32) -> u32 {
        self.slots[slot as usize].block
    }

    pub(super) fn set_block(&mut self, slot: u32, block: u32) {
        self.slots[slot as usize].block = block;
    }

    pub(super) fn key_hash(&self, slot: u32) -> Option<u64> {
        self.slots.get(slot as usize).filter(|entry| entry.block != FREE).map(|entry| entry.key_hash)
    }

    /// Assigns a free slot to a link that is not in a block yet.
    pub(super) fn insert(&mut self, key_hash: u64, url_hash: Option<u64>) -> u32 {
        let slot = self.free.pop().unwrap_or(self.slots.len() as u32);
        self.insert_at(slot, key_hash, url_hash, FRESH);
        slot
    }

    /// Puts a link into a given free slot. For loading: call [`Index::settle`] afterwards.
    pub(super) fn insert_at(&mut self, slot: u32, key_hash: u64, url_hash: Option<u64>, block: u32) {
        let empty = Slot { key_hash: 0, url_hash: 0, block: FREE };
        if self.slots.len() <= slot as usize {
            self.slots.resize(slot as usize + 1, empty);
        }
        let url_hash = url_hash.map_or(0, |hash| hash.max(1));
        self.slots[slot as usize] = Slot { key_hash, url_hash, block };
        let slots = &self.slots;
        self.by_key.insert_unique(key_hash, slot, |slot| slots[*slot as usize].key_hash);
        if url_hash != 0 {
            self.by_url.insert_unique(url_hash, slot, |slot| slots[*slot as usize].url_hash);
        }
    }

    /// Replaces the URL hash of a link whose target was edited.
    pub(super) fn set_url(&mut self, slot: u32, url_hash: Option<u64>) {
        self.remove_url(slot);
        let url_hash = url_hash.map_or(0, |hash| hash.max(1));
        self.slots[slot as usize].url_hash = url_hash;
        if url_hash != 0 {
            let slots = &self.slots;
            self.by_url.insert_unique(url_hash, slot, |slot| slots[*slot as usize].url_hash);
        }
    }

    fn remove_url(&mut self, slot: u32) {
        let hash = self.slots[slot as usize].url_hash;
        if hash != 0
            && let Ok(entry) = self.by_url.find_entry(hash, |other| *other == slot)
        {
            entry.remove();
        }
    }

    /// Frees a slot.
    pub(super) fn remove(&mut self, slot: u32) {
        self.remove_url(slot);
        let hash = self.slots[slot as usize].key_hash;
        if let Ok(entry) = self.by_key.find_entry(hash, |other| *other == slot) {
            entry.remove();
        }
        self.slots[slot as usize] = Slot { key_hash: 0, url_hash: 0, block: FREE };
        self.free.push(slot);
    }

    /// Collects the free slots after loading; low ones are used first. Slots are private to a replica: two replicas may
    /// keep the same link in different slots.
    pub(super) fn settle(&mut self) {
        self.free =
            (0..self.slots.len() as u32).rev().filter(|slot| self.slots[*slot as usize].block == FREE).collect();
    }
}
