//! The links of a shard: an index and recent links in memory, the others in blocks.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use waypost_protocol::digest::UrlDigest;
use waypost_protocol::properties::CRAWLABLE;
use waypost_protocol::{Code, Domain, KeyHash, Link, LinkKey, LinkSpec, UnixMs};

use super::block;
use super::blocks::Blocks;
use super::index::{FRESH, Index};
use super::record::{encode, number_of, numbered, open_record};
use crate::{Batch, StoreError, Tree};

const BLOCK_PREFIX: u8 = b'b';

/// The bytes that a link takes in memory beside those of its stored form.
const FRESH_BYTES: usize = size_of::<Link>() + size_of::<(u32, Arc<Link>)>();

/// The number of a block, and its links with their slots.
pub(super) type BlockOfLinks = (u32, Vec<(u32, Arc<Link>)>);

/// The links of a shard.
///
/// Invariant: a slot in `fresh` has block `FRESH` in the index and the other way round.
pub(super) struct Links {
    blocks: Blocks,
    index: Index,
    /// Links written since the last checkpoint.
    fresh: HashMap<u32, Arc<Link>>,
    fresh_bytes: u64,
    expiry: BTreeSet<(UnixMs, u32)>,
    crawlable: Crawlable,
}

/// The codes of the links that crawlers may follow, by domain. They are few; each takes about as many bytes as in the index of all links, and reading them
/// needs no block.
#[derive(Default)]
struct Crawlable(BTreeMap<Domain, BTreeSet<Code>>);

impl Crawlable {
    /// Adds a link if crawlers may follow it.
    fn add(&mut self, link: &Link) {
        if CRAWLABLE.is_in(&link.spec.fields) {
            self.0.entry(link.key.domain).or_default().insert(link.key.code.clone());
        }
    }

    /// Removes a link.
    fn remove(&mut self, link: &Link) {
        if CRAWLABLE.is_in(&link.spec.fields)
            && let Some(codes) = self.0.get_mut(&link.key.domain)
        {
            codes.remove(&link.key.code);
        }
    }
}

impl Links {
    /// Reads the blocks of a tree. `next_block` is the number of the next one.
    ///
    /// # Errors
    /// When a block is damaged.
    pub(super) fn read(tree: Tree, next_block: u32) -> Result<Self, StoreError> {
        let (mut expiry, mut crawlable) = (BTreeSet::new(), Crawlable::default());
        let index = read_blocks(&tree, &mut expiry, &mut crawlable)?;
        let blocks = Blocks::new(tree, BLOCK_PREFIX, next_block);
        Ok(Self { blocks, index, fresh: HashMap::new(), fresh_bytes: 0, expiry, crawlable })
    }

    /// How many links there are.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// How many slots there are, also free ones.
    pub(super) fn slots(&self) -> usize {
        self.index.slots()
    }

    /// The hash of the key of the link in a slot, if it holds one.
    pub(super) fn key_hash(&self, slot: u32) -> Option<u64> {
        self.index.key_hash(slot)
    }

    /// The slot of a link whose key has this hash.
    pub(super) fn slot_of(&self, hash: KeyHash) -> Option<u32> {
        self.index.by_key(hash.0).next()
    }

    /// The same for many.
    pub(super) fn slots_of(&self, hashes: impl Iterator<Item = KeyHash>) -> Vec<Option<u32>> {
        self.index.by_keys(hashes.map(|hash| hash.0))
    }

    /// The link in a slot, if it was written since the last checkpoint.
    pub(super) fn fresh(&self, slot: u32) -> Option<&Arc<Link>> {
        self.fresh.get(&slot)
    }

    /// The block that has the link in a slot.
    pub(super) fn block(&self, slot: u32) -> u32 {
        self.index.block(slot)
    }

    /// The number of the next block.
    pub(super) fn next_block(&self) -> u32 {
        self.blocks.next()
    }

    pub(super) fn find(&self, key: &LinkKey) -> Result<Option<(u32, Arc<Link>)>, StoreError> {
        for slot in self.index.by_key(key.hash().0) {
            let link = self.load(slot)?;
            if link.key == *key {
                return Ok(Some((slot, link)));
            }
        }
        Ok(None)
    }

    /// The link in a slot. That it cannot be read, or is not where the index says, makes the store fail.
    pub(super) fn load(&self, slot: u32) -> Result<Arc<Link>, StoreError> {
        self.read_link(slot).inspect_err(|error| self.blocks.tree().fail(error))
    }

    fn read_link(&self, slot: u32) -> Result<Arc<Link>, StoreError> {
        let number = self.index.block(slot);
        if number == FRESH {
            let link = self.fresh.get(&slot).expect("invariant: a slot marked fresh is in `fresh`");
            return Ok(link.clone());
        }
        self.blocks.read(number, slot, block::link).map(Arc::new)
    }

    /// The oldest live link with a generated code with these properties, if there is one: not one that has expired, nor one of which all visits are used,
    /// as `used` tells of a slot.
    ///
    /// # Errors
    /// When a block cannot be read or is damaged.
    pub(super) fn existing(
        &self,
        domain: Domain,
        spec: &LinkSpec,
        now: UnixMs,
        used: impl Fn(u32) -> u64,
    ) -> Result<Option<Arc<Link>>, StoreError> {
        let mut oldest: Option<Arc<Link>> = None;
        for slot in self.index.by_url(UrlDigest::of(domain, spec.target.as_str()).0) {
            let link = self.load(slot)?;
            let wanted = link.spec == *spec && link.key.domain == domain;
            let older = oldest.as_ref().is_none_or(|other| link.written_at < other.written_at);
            let is_over = link.expired(now) || link.spec.visits_left(used(slot)) == Some(0);
            if wanted && older && !is_over {
                oldest = Some(link);
            }
        }
        Ok(oldest)
    }

    /// Slots of links that had expired at `before`, at most `max`, the longest expired first. See [`ShardMachine::key_at`].
    pub(super) fn expired(&self, before: UnixMs, max: usize) -> Vec<u32> {
        let expired = self.expiry.iter().take_while(|(until, _)| *until <= before);
        expired.take(max).map(|(_, slot)| *slot).collect()
    }

    /// The codes of a domain that crawlers may follow, in their order, as many as `bytes_max` has room for if each takes `more` bytes beside its own.
    pub(super) fn crawlable(&self, domain: Domain, more: usize, bytes_max: usize) -> Vec<Code> {
        let mut bytes = 0;
        let fits = |code: &&Code| {
            bytes += code.as_bytes().len() + more;
            bytes <= bytes_max
        };
        self.crawlable.0.get(&domain).into_iter().flatten().take_while(fits).cloned().collect()
    }

    /// The key of the link that a slot holds now, if it holds one. Reads a block, so that whoever locks the state asks for one
    /// key at a time.
    ///
    /// # Errors
    /// When the block cannot be read or is damaged.
    pub(super) fn key_at(&self, slot: u32) -> Result<Option<LinkKey>, StoreError> {
        self.index.key_hash(slot).map(|_| Ok(self.load(slot)?.key.clone())).transpose()
    }

    /// All links with their slots, block by block.
    ///
    /// # Errors
    /// When a block cannot be read or is damaged.
    pub(super) fn all(&self) -> Result<Vec<(u32, Arc<Link>)>, StoreError> {
        let mut links = Vec::with_capacity(self.len());
        let tree = self.blocks.tree();
        for entry in tree.scan_prefix(&[BLOCK_PREFIX]) {
            let (key, value) = entry?;
            let number = number_of(&key);
            for item in block::Entries::new(open_record(tree, &key, &value)?) {
                let (slot, bytes) = item?;
                if self.index.key_hash(slot).is_some() && self.index.block(slot) == number {
                    links.push((slot, Arc::new(block::link(bytes)?)));
                }
            }
        }
        links.extend(self.fresh.iter().map(|(slot, link)| (*slot, link.clone())));
        Ok(links)
    }

    /// The first block whose number is at least `from`, with its links and their slots. That it cannot be read makes the store fail.
    pub(super) fn block_from(&self, from: u32) -> Result<Option<BlockOfLinks>, StoreError> {
        self.read_block_from(from).inspect_err(|error| self.blocks.tree().fail(error))
    }

    fn read_block_from(&self, from: u32) -> Result<Option<BlockOfLinks>, StoreError> {
        let tree = self.blocks.tree();
        let blocks = block_key(from).to_vec()..vec![BLOCK_PREFIX + 1];
        let Some((key, value)) = tree.range(blocks).next().transpose()? else { return Ok(None) };
        let number = number_of(&key);
        let mut links = Vec::new();
        for item in block::Entries::new(open_record(tree, &key, &value)?) {
            let (slot, bytes) = item?;
            // One that has left the block since the last checkpoint is elsewhere.
            if self.index.key_hash(slot).is_some() && self.index.block(slot) == number {
                links.push((slot, Arc::new(block::link(bytes)?)));
            }
        }
        Ok(Some((number, links)))
    }

    /// The hashes of the keys of links that are in no block yet.
    pub(super) fn fresh_keys(&self) -> Vec<KeyHash> {
        self.fresh.keys().filter_map(|slot| self.index.key_hash(*slot)).map(KeyHash).collect()
    }

    /// Adds a link of so many encoded bytes; its key must be free. Returns its slot.
    pub(super) fn insert(&mut self, link: Link, bytes: usize) -> u32 {
        let slot = self.index.insert(link.key.hash().0, url_hash(&link));
        self.put_fresh(slot, link, bytes);
        slot
    }

    /// Replaces the link in a slot by another one with the same key.
    pub(super) fn replace(&mut self, slot: u32, old: &Link, link: Link, bytes: usize) {
        self.leave_block(slot);
        if let Some(until) = old.spec.valid_until {
            self.expiry.remove(&(until, slot));
        }
        self.crawlable.remove(old);
        self.index.set_url(slot, url_hash(&link));
        self.put_fresh(slot, link, bytes);
    }

    /// Removes the link in a slot.
    pub(super) fn remove(&mut self, slot: u32, link: &Link) {
        self.leave_block(slot);
        self.fresh.remove(&slot);
        if let Some(until) = link.spec.valid_until {
            self.expiry.remove(&(until, slot));
        }
        self.crawlable.remove(link);
        self.index.remove(slot);
    }

    fn put_fresh(&mut self, slot: u32, link: Link, bytes: usize) {
        if let Some(until) = link.spec.valid_until {
            self.expiry.insert((until, slot));
        }
        self.crawlable.add(&link);
        self.fresh_bytes += bytes as u64;
        self.fresh.insert(slot, Arc::new(link));
    }

    /// Notes that the stored copy of a link is no longer valid.
    fn leave_block(&mut self, slot: u32) {
        let number = self.index.block(slot);
        if number != FRESH {
            self.blocks.leave(number, slot);
            self.index.set_block(slot, FRESH);
        }
    }

    /// About how many bytes of memory they take: the index, and the links that are in no block.
    pub(super) fn memory(&self) -> u64 {
        self.index.bytes() as u64 + self.fresh_bytes + (self.fresh.capacity() * FRESH_BYTES) as u64
    }

    /// About how many bytes [`Links::write`] has to write.
    pub(super) fn pending_bytes(&self) -> u64 {
        self.fresh_bytes + self.blocks.pending_bytes()
    }

    /// Writes what has changed since the last checkpoint.
    ///
    /// # Errors
    /// When a block cannot be read or is damaged.
    pub(super) fn write(&mut self, batch: &mut Batch) -> Result<(), StoreError> {
        let fresh = std::mem::take(&mut self.fresh).into_iter().map(|(slot, link)| (slot, encode(&*link))).collect();
        self.fresh_bytes = 0;
        let index = &mut self.index;
        self.blocks.write(batch, fresh, |slot, number| index.set_block(slot, number))
    }
}

fn read_blocks(
    tree: &Tree,
    expiry: &mut BTreeSet<(UnixMs, u32)>,
    crawlable: &mut Crawlable,
) -> Result<Index, StoreError> {
    let mut index = Index::default();
    for entry in tree.scan_prefix(&[BLOCK_PREFIX]) {
        let (key, value) = entry?;
        let number = number_of(&key);
        for item in block::Entries::new(open_record(tree, &key, &value)?) {
            let (slot, bytes) = item?;
            let head = block::head(bytes)?;
            if index.key_hash(slot).is_some() {
                return Err(StoreError::Corrupt {
                    what: format!("{} block {number}", tree.name()),
                    detail: format!("slot {slot} is in two blocks"),
                });
            }
            let url = head.generated.then(|| UrlDigest::of(head.domain, head.target).0);
            index.load(slot, KeyHash::of(head.domain, head.code).0, url, number);
            if let Some(until) = head.valid_until {
                expiry.insert((until, slot));
            }
            if CRAWLABLE.is_in(&head.fields) {
                crawlable.add(&block::link(bytes)?);
            }
        }
    }
    index.settle();
    Ok(index)
}

/// The key of a block.
pub(super) fn block_key(number: u32) -> [u8; 5] {
    numbered(BLOCK_PREFIX, number)
}

/// The URL hash by which find-existing finds the link: only links with generated codes have one.
fn url_hash(link: &Link) -> Option<u64> {
    link.generated.then(|| UrlDigest::of(link.key.domain, link.spec.target.as_str()).0)
}
