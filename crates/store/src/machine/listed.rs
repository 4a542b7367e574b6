//! What an index beside a shard reads of it, such as a catalog: which links have changed, one link by the hash of its key, and all links
//! block by block.

use std::sync::Arc;

use waypost_protocol::link::LinkCounts;
use waypost_protocol::{KeyHash, Link, UnixMs};

use super::changes::Changed;
use super::shard::ShardMachine;
use crate::StoreError;

/// A link as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkNow {
    /// The link.
    pub link: Arc<Link>,
    /// What is counted of it.
    pub counts: LinkCounts,
    /// The time of its last edit; `None` = it was never edited, or the time is not known. The same on every replica.
    pub edited_at: Option<UnixMs>,
}

/// A part of all links of a shard.
#[derive(Debug)]
pub enum Scanned {
    /// The links of one block.
    Block {
        /// The links.
        links: Vec<LinkNow>,
        /// Where the next part begins.
        next: u32,
    },
    /// There is no further block: the keys of the links that are in none yet.
    Rest(Vec<KeyHash>),
}

impl ShardMachine {
    /// The links that have changed since the last call; from the first call on, since the state was read from its last checkpoint.
    pub fn take_changes(&self) -> Changed {
        self.changes.lock().take()
    }

    /// Takes back what [`ShardMachine::take_changes`] gave, since it could not be used.
    pub fn put_back_changes(&self, changed: Changed) {
        self.changes.lock().put_back(changed);
    }

    /// Whether a link has changed that [`ShardMachine::take_changes`] has not told yet.
    pub fn has_changes(&self) -> bool {
        !self.changes.lock().is_empty()
    }

    /// Links whose visits were counted since they were last told here, with their counts; about `max` at most.
    pub fn take_counted(&self, max: usize) -> Vec<(KeyHash, LinkCounts)> {
        let slots = self.changes.lock().take_counted(max);
        slots.into_iter().filter_map(|slot| Some((KeyHash(self.links.key_hash(slot)?), self.counts(slot)))).collect()
    }

    /// Tells these links again at the next [`ShardMachine::take_counted`], since their counts could not be used.
    pub fn put_back_counted(&self, keys: impl Iterator<Item = KeyHash>) {
        let slots: Vec<u32> = keys.filter_map(|key| self.links.slot_of(key)).collect();
        let mut changes = self.changes.lock();
        slots.into_iter().for_each(|slot| changes.counted(slot));
    }

    /// Tells all links with visits at the next [`ShardMachine::take_counted`]: whoever was told before has lost it.
    pub fn tell_all_counts(&self) {
        let mut changes = self.changes.lock();
        self.counters.visited().for_each(|slot| changes.counted(slot));
    }

    /// The link with a hash of its key. May read a block, so ask for one at a time while the state is locked. Of links
    /// whose keys have the same hash, which somebody would have to search for, it is one.
    ///
    /// # Errors
    /// When its block cannot be read or is damaged.
    pub fn by_hash(&self, hash: KeyHash) -> Result<Option<LinkNow>, StoreError> {
        self.links.slot_of(hash).map(|slot| self.now(slot, self.links.load(slot)?)).transpose()
    }

    /// The link with a hash of its key and what is counted of it, as [`by_hash`](Self::by_hash) has them, but its history is not read.
    ///
    /// # Errors
    /// When its block cannot be read or is damaged.
    pub fn view_by_hash(&self, hash: KeyHash) -> Result<Option<(Arc<Link>, LinkCounts)>, StoreError> {
        self.links.slot_of(hash).map(|slot| Ok((self.links.load(slot)?, self.counts(slot)))).transpose()
    }

    fn now(&self, slot: u32, link: Arc<Link>) -> Result<LinkNow, StoreError> {
        let history = self.histories.of(slot)?;
        let edited_at = history.entries().last().and_then(|entry| entry.at);
        Ok(LinkNow { link, counts: self.counts(slot), edited_at })
    }

    /// Reads all links in parts: the first part that begins at `from` (0 at first) or behind it. Whoever reads all parts, one after the
    /// other, has seen each link that was there throughout at least once, although the state changes between the parts: a link that
    /// moves goes to a block with a higher number than all there are.
    ///
    /// # Errors
    /// When a block cannot be read or is damaged.
    pub fn scan(&self, from: u32) -> Result<Scanned, StoreError> {
        let Some((number, links)) = self.links.block_from(from)? else {
            return Ok(Scanned::Rest(self.links.fresh_keys()));
        };
        let links = links.into_iter().map(|(slot, link)| self.now(slot, link)).collect::<Result<_, _>>()?;
        Ok(Scanned::Block { links, next: number + 1 })
    }
}
