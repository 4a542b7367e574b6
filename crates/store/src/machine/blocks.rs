//! The blocks of a shard that hold items of one kind, and what a checkpoint changes of them.

use std::collections::{BTreeMap, BTreeSet};

use super::block::{self, BLOCK_BYTES, BLOCK_BYTES_MIN, LONGEST_BLOCK_BYTES};
use super::record::{numbered, open_record, seal_record};
use crate::{Batch, StoreError, Tree};

/// The blocks of one kind. A slot has one item.
pub(super) struct Blocks {
    tree: Tree,
    prefix: u8,
    /// The number of the next block.
    next: u32,
    /// Per stored block, the slots that have left it since the last checkpoint.
    dead: BTreeMap<u32, BTreeSet<u32>>,
}

impl Blocks {
    /// The blocks whose keys begin with `prefix`.
    pub(super) fn new(tree: Tree, prefix: u8, next: u32) -> Self {
        Self { tree, prefix, next, dead: BTreeMap::new() }
    }

    /// The number of the next block.
    pub(super) fn next(&self) -> u32 {
        self.next
    }

    /// The tree that they are stored in.
    pub(super) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Notes that a block's copy of an item is no longer valid.
    pub(super) fn leave(&mut self, number: u32, slot: u32) {
        self.dead.entry(number).or_default().insert(slot);
    }

    /// About how many bytes [`Blocks::write`] has to write for items that have left their blocks.
    pub(super) fn pending_bytes(&self) -> u64 {
        self.dead.len() as u64 * LONGEST_BLOCK_BYTES as u64
    }

    /// The item of a slot that is in this block.
    ///
    /// # Errors
    /// When the block cannot be read or is damaged, or does not have it.
    pub(super) fn read<T>(
        &self,
        number: u32,
        slot: u32,
        decode: impl FnOnce(&[u8]) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let key = numbered(self.prefix, number);
        let value = self.tree.get(&key)?.ok_or_else(|| self.missing(number, "the record is missing"))?;
        let bytes = block::find(open_record(&self.tree, &key, &value)?, slot)?;
        decode(bytes.ok_or_else(|| self.missing(number, "an item that should be in it is not"))?)
    }

    fn missing(&self, number: u32, detail: &str) -> StoreError {
        StoreError::Corrupt { what: format!("{} block {number}", self.tree.name()), detail: detail.to_owned() }
    }

    /// Writes encoded items that are in no block, and removes those that have left theirs. Calls `placed` with each slot and its new block.
    ///
    /// # Errors
    /// When a block cannot be read or is damaged.
    pub(super) fn write(
        &mut self,
        batch: &mut Batch,
        mut items: Vec<(u32, Vec<u8>)>,
        mut placed: impl FnMut(u32, u32),
    ) -> Result<(), StoreError> {
        items.extend(self.write_shrunk(batch)?);
        items.sort_unstable_by_key(|(slot, _)| *slot);
        let mut payload = Vec::with_capacity(BLOCK_BYTES);
        let mut slots = Vec::new();
        // The last block may stay small: it is dissolved when items leave it. One small block in each checkpoint is the price of never
        // writing a block twice.
        for (slot, bytes) in items {
            if !payload.is_empty() && payload.len() + block::size_of(bytes.len()) > BLOCK_BYTES {
                self.put(batch, &mut payload, &mut slots, &mut placed);
            }
            block::push(&mut payload, slot, &bytes)?;
            slots.push(slot);
        }
        if !payload.is_empty() {
            self.put(batch, &mut payload, &mut slots, &mut placed);
        }
        Ok(())
    }

    /// Removes dead items from their blocks. Returns the items of blocks that became too small to keep.
    fn write_shrunk(&mut self, batch: &mut Batch) -> Result<Vec<(u32, Vec<u8>)>, StoreError> {
        let mut moved = Vec::new();
        for (number, dead) in std::mem::take(&mut self.dead) {
            let key = numbered(self.prefix, number);
            let value = self.tree.get(&key)?.ok_or_else(|| self.missing(number, "the record is missing"))?;
            let payload = open_record(&self.tree, &key, &value)?;
            let left = block::retain(payload, |slot| !dead.contains(&slot))?;
            if left.len() >= BLOCK_BYTES_MIN {
                batch.insert(&key, seal_record(&self.tree, &key, &left));
                continue;
            }
            batch.remove(&key);
            for entry in block::Entries::new(&left) {
                let (slot, bytes) = entry?;
                moved.push((slot, bytes.to_vec()));
            }
        }
        Ok(moved)
    }

    fn put(
        &mut self,
        batch: &mut Batch,
        payload: &mut Vec<u8>,
        slots: &mut Vec<u32>,
        placed: &mut impl FnMut(u32, u32),
    ) {
        let number = self.next;
        self.next += 1;
        let key = numbered(self.prefix, number);
        batch.insert(&key, seal_record(&self.tree, &key, payload));
        for slot in slots.drain(..) {
            placed(slot, number);
        }
        payload.clear();
    }
}
