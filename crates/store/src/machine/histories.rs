//! The histories of the links of a shard: recent ones in memory, the others in blocks. A link that was never edited has none.

use std::collections::HashMap;

use waypost_protocol::History;
use waypost_protocol::history::HISTORY_BYTES_MAX;

use super::block;
use super::blocks::Blocks;
use super::index::FRESH;
use super::record::{decode, encode, number_of, open_record};
use crate::{Batch, StoreError, Tree};

/// `c`, as in changes.
const PREFIX: u8 = b'c';

const _: () = assert!(HISTORY_BYTES_MAX <= block::LINK_BYTES_MAX);

/// The histories, by the slots of their links. One costs about 24 bytes of memory.
///
/// Invariants: a slot in `fresh` has block `FRESH` in `places` and the other way round; the slot holds a link.
pub(super) struct Histories {
    blocks: Blocks,
    /// The block of each history.
    places: HashMap<u32, u32>,
    /// Histories changed since the last checkpoint.
    fresh: HashMap<u32, History>,
    fresh_bytes: u64,
}

impl Histories {
    /// Reads where the histories of a tree are.
    ///
    /// # Errors
    /// When a block is damaged.
    pub(super) fn read(tree: Tree) -> Result<Self, StoreError> {
        let (mut places, mut next) = (HashMap::new(), 0);
        for entry in tree.scan_prefix(&[PREFIX]) {
            let (key, value) = entry?;
            let number = number_of(&key);
            next = number + 1;
            for item in block::Entries::new(open_record(&tree, &key, &value)?) {
                let (slot, _) = item?;
                if places.insert(slot, number).is_some() {
                    return Err(StoreError::Corrupt {
                        what: format!("{} block {number} of histories", tree.name()),
                        detail: format!("slot {slot} is in two blocks"),
                    });
                }
            }
        }
        let blocks = Blocks::new(tree, PREFIX, next);
        Ok(Self { blocks, places, fresh: HashMap::new(), fresh_bytes: 0 })
    }

    /// The history of the link in a slot; empty if it was never edited. That it cannot be read makes the store fail.
    pub(super) fn of(&self, slot: u32) -> Result<History, StoreError> {
        match (self.fresh.get(&slot), self.places.get(&slot)) {
            (Some(history), _) => Ok(history.clone()),
            (None, None) => Ok(History::default()),
            (None, Some(number)) => self
                .blocks
                .read(*number, slot, |bytes| decode("history of a link", bytes))
                .inspect_err(|error| self.blocks.tree().fail(error)),
        }
    }

    /// Sets the history of the link in a slot.
    pub(super) fn set(&mut self, slot: u32, history: History) {
        self.leave_block(slot);
        self.places.insert(slot, FRESH);
        self.fresh_bytes += history.bytes() as u64;
        self.fresh.insert(slot, history);
    }

    /// Forgets the history of a link that is removed.
    pub(super) fn forget(&mut self, slot: u32) {
        self.leave_block(slot);
        self.places.remove(&slot);
        self.fresh.remove(&slot);
    }

    fn leave_block(&mut self, slot: u32) {
        if let Some(number) = self.places.get(&slot).filter(|number| **number != FRESH) {
            self.blocks.leave(*number, slot);
        }
    }

    /// About how many bytes [`Histories::write`] has to write.
    pub(super) fn pending_bytes(&self) -> u64 {
        self.fresh_bytes + self.blocks.pending_bytes()
    }

    /// Writes what has changed since the last checkpoint.
    ///
    /// # Errors
    /// When a block cannot be read or is damaged.
    pub(super) fn write(&mut self, batch: &mut Batch) -> Result<(), StoreError> {
        let fresh = std::mem::take(&mut self.fresh).into_iter().map(|(slot, history)| (slot, encode(&history)));
        self.fresh_bytes = 0;
        let places = &mut self.places;
        self.blocks.write(batch, fresh.collect(), |slot, number| {
            places.insert(slot, number);
        })
    }
}
