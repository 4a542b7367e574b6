//! A link of the top of a query: which it is, is read without the lock.

use waypost_protocol::clicks::Counts;
use waypost_protocol::{Link, LinkKey};

use super::super::block;
use super::super::links::block_key;
use super::super::record::open_live_record;
use super::super::shard::ShardMachine;
use super::super::stats_top::Found;
use crate::{StoreError, Tree};

/// A link with many visits, before its key is known.
pub(super) struct Top {
    pub(super) slot: u32,
    pub(super) key_hash: u64,
    pub(super) counts: Counts,
    pub(super) place: TopPlace,
}

pub(super) enum TopPlace {
    Known(LinkKey),
    Block(u32),
}

impl Top {
    /// Turns a found link into a result, if it is still the same link; it is not loaded.
    pub(super) fn find(machine: &ShardMachine, found: Found) -> Option<Self> {
        let Found { slot, epoch, counts } = found;
        if machine.counters.epoch(slot) != Some(epoch) {
            return None;
        }
        let key_hash = machine.links.key_hash(slot)?;
        let place = match machine.links.fresh(slot) {
            Some(link) => TopPlace::Known(Link::clone(link).key),
            None => TopPlace::Block(machine.links.block(slot)),
        };
        Some(Self { slot, key_hash, counts, place })
    }

    /// Reads the key from its block.
    pub(super) fn load(&mut self, tree: &Tree) -> Result<(), StoreError> {
        let TopPlace::Block(number) = self.place else { return Ok(()) };
        let key = block_key(number);
        // It may be gone: a checkpoint has moved its content.
        let Some(value) = tree.get(&key)? else { return Ok(()) };
        if let Some(link) =
            block::find(open_live_record(tree, &key, &value)?, self.slot)?.map(block::link).transpose()?
            && link.key.hash().0 == self.key_hash
        {
            self.place = TopPlace::Known(link.key);
        }
        Ok(())
    }
}
