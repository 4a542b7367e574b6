//! The in-memory index of a shard: from the hash of a key, or of a URL, to the slot of a link, and from the slot to the
//! block that holds it.
//!
//! A link costs 20 bytes here, and 11 to 23 in the tables. Sixty-four bits of a hash identify a link unless somebody searched for
//! a collision, so callers that need certainty also compare the key in the record.

use hashbrown::HashTable;

/// The slot's link was written after the last checkpoint and is in memory.
pub(super) const FRESH: u32 = u32::MAX;
/// The slot holds no link.
const FREE: u32 = u32::MAX - 1;

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    key_hash: u64,
    /// 0 = not in the index of URLs.
    url_hash: u64,
}

/// Invariants: `by_key` holds exactly the slots in use; `by_url` those of them that have a URL hash; `free` the others. There are as many blocks as slots.
#[derive(Debug, Default)]
pub(super) struct Index {
    slots: Vec<Slot>,
    /// The blocks are beside the hashes, so that neither takes the space of an alignment.
    blocks: Vec<u32>,
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

    /// The slot of each of these keys, as [`Index::by_key`] has it.
    pub(super) fn by_keys(&self, hashes: impl Iterator<Item = u64>) -> Vec<Option<u32>> {
        // Each look-up waits for memory twice. In two short loops many of them wait at the same time.
        let likely: Vec<(u64, Option<u32>)> =
            hashes.map(|hash| (hash, self.by_key.iter_hash(hash).next().copied())).collect();
        let is = |hash: u64, slot: u32| self.slots[slot as usize].key_hash == hash;
        let found = |(hash, slot): (u64, Option<u32>)| match slot {
            Some(slot) if !is(hash, slot) => self.by_key(hash).next(),
            found => found,
        };
        likely.into_iter().map(found).collect()
    }

    /// The slots of links to a URL with this hash.
    pub(super) fn by_url(&self, hash: u64) -> impl Iterator<Item = u32> + '_ {
        let hash = hash.max(1);
        self.by_url.iter_hash(hash).copied().filter(move |slot| self.slots[*slot as usize].url_hash == hash)
    }

    pub(super) fn block(&self, slot: u32) -> u32 {
        self.blocks[slot as usize]
    }

    pub(super) fn set_block(&mut self, slot: u32, block: u32) {
        self.blocks[slot as usize] = block;
    }

    pub(super) fn key_hash(&self, slot: u32) -> Option<u64> {
        self.blocks.get(slot as usize).filter(|block| **block != FREE).map(|_| self.slots[slot as usize].key_hash)
    }

    /// Assigns a free slot to a link that is not in a block yet.
    pub(super) fn insert(&mut self, key_hash: u64, url_hash: Option<u64>) -> u32 {
        let slot = self.free.pop().unwrap_or(self.slots.len() as u32);
        self.load(slot, key_hash, url_hash, FRESH);
        let slots = &self.slots;
        self.by_key.insert_unique(key_hash, slot, |slot| slots[*slot as usize].key_hash);
        let url_hash = slots[slot as usize].url_hash;
        if url_hash != 0 {
            self.by_url.insert_unique(url_hash, slot, |slot| slots[*slot as usize].url_hash);
        }
        slot
    }

    /// Puts a link into a given free slot while all are loaded. It is found only after [`Index::settle`].
    pub(super) fn load(&mut self, slot: u32, key_hash: u64, url_hash: Option<u64>, block: u32) {
        if self.slots.len() <= slot as usize {
            self.slots.resize(slot as usize + 1, Slot::default());
            self.blocks.resize(slot as usize + 1, FREE);
        }
        self.slots[slot as usize] = Slot { key_hash, url_hash: url_hash.map_or(0, |hash| hash.max(1)) };
        self.blocks[slot as usize] = block;
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
        self.slots[slot as usize] = Slot::default();
        self.blocks[slot as usize] = FREE;
        self.free.push(slot);
    }

    /// Makes the tables after loading, each at once in its final size, and collects the free slots; low ones are used first. Slots are private to a replica:
    /// two replicas may keep the same link in different slots.
    pub(super) fn settle(&mut self) {
        let slots = &self.slots;
        self.free = (0..slots.len() as u32).rev().filter(|slot| self.blocks[*slot as usize] == FREE).collect();
        let with_url = slots.iter().filter(|slot| slot.url_hash != 0).count();
        self.by_key = HashTable::with_capacity(slots.len() - self.free.len());
        self.by_url = HashTable::with_capacity(with_url);
        for ((slot, block), number) in slots.iter().zip(&self.blocks).zip(0..) {
            if *block != FREE {
                self.by_key.insert_unique(slot.key_hash, number, |slot| slots[*slot as usize].key_hash);
            }
            if slot.url_hash != 0 {
                self.by_url.insert_unique(slot.url_hash, number, |slot| slots[*slot as usize].url_hash);
            }
        }
    }

    /// The bytes of memory that it takes, without what is reserved for further links.
    pub(super) fn bytes(&self) -> usize {
        self.slots.len() * size_of::<Slot>()
            + (self.blocks.len() + self.free.len()) * size_of::<u32>()
            + self.by_key.allocation_size()
            + self.by_url.allocation_size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(index: &Index, key: u64, url: u64) -> (Vec<u32>, Vec<u32>) {
        (index.by_key(key).collect(), index.by_url(url).collect())
    }

    #[test]
    fn many_keys_are_found_as_each_of_them_alone() {
        let mut index = Index::default();
        // Seven bits of a hash tell its place in the table, so some of these look like others.
        let hash = |i: u64| i.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        for i in 0..3000 {
            index.insert(hash(i), None);
        }
        (0..3000).step_by(7).for_each(|slot| index.remove(slot));
        let asked: Vec<u64> = (0..20_000).map(hash).collect();
        let alone: Vec<Option<u32>> = asked.iter().map(|hash| index.by_key(*hash).next()).collect();
        assert_eq!(alone.iter().flatten().count(), 3000 - 3000 / 7 - 1);
        assert_eq!(index.by_keys(asked.into_iter()), alone);
    }

    #[test]
    fn what_was_loaded_is_found_once_it_is_settled_and_the_free_slots_are_used_first() {
        let mut index = Index::default();
        index.load(3, 30, Some(300), 7);
        index.load(1, 10, None, 8);
        index.settle();
        assert_eq!((index.len(), index.slots()), (2, 4));
        assert_eq!(found(&index, 30, 300), (vec![3], vec![3]));
        assert_eq!(found(&index, 10, 0), (vec![1], vec![]));
        assert_eq!((index.block(3), index.block(1), index.key_hash(0)), (7, 8, None));
        assert_eq!([0, 0, 0].map(|_| index.insert(50, Some(0))), [0, 2, 4]);
        assert_eq!(index.by_url(0).count(), 3, "a hash of 0 is one like others");
        index.remove(3);
        assert_eq!((index.len(), found(&index, 30, 300), index.key_hash(3)), (4, (vec![], vec![]), None));
        assert!(index.bytes() >= 5 * 20);
    }
}
