//! Checkpoints of a shard: changes in memory become records of its tree, in one atomic batch.
//!
//! | key | record |
//! |---|---|
//! | `m` | position in the log, and the small parts of the state |
//! | `b` + number | a block of links (`block.rs`) |
//! | `v` + page | the visits of 256 slots |
//! | `t`, `h` | statistics of visits (`stats_page.rs`) |
//! | `o` | orphan visits (`orphans.rs`) |
//! | `j` + node | the counted positions of the node's journals (`positions.rs`) |
//! | `i` + number | idempotency keys, in the order of their arrival (`idempotency.rs`) |

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use waypost_protocol::clicks::HOUR_MS;
use waypost_protocol::link::Visits;
use waypost_protocol::{Level, Link, NoRecord, Record, UnixMs};

use super::block::{self, BLOCK_BYTES, BLOCK_BYTES_MIN};
use super::idempotency::Idempotency;
use super::index::Index;
use super::orphans::Orphans;
use super::positions::Positions;
use super::shard::{ShardMachine, ShardMeta, url_hash};
use super::stats::HOURS_KEPT_DAYS;
use super::stats_page;
use super::visits::SlotVisits;
use super::{META_KEY, decode, encode, open_record, seal_record};
use crate::{Batch, StoreError, Tree};

const BLOCK_PREFIX: u8 = b'b';
const VISITS_PREFIX: u8 = b'v';

/// The number of slots that share a record of visits: 256 of at most 35 bytes stay near the size of a block.
const VISITS_PER_PAGE: u32 = 256;

/// The number of days from which one checkpoint removes remains of deleted links.
const SWEEP_DAYS: usize = 8;

/// The weight of a changed page of visits: a quarter of its size, so that a checkpoint writes about two thousand pages at most,
/// and seldom becomes due because of them.
pub(super) const VISITS_PAGE_WEIGHT: u64 = 512;

pub(super) fn visits_page(slot: u32) -> u32 {
    slot / VISITS_PER_PAGE
}

pub(super) fn block_key(number: u32) -> [u8; 5] {
    numbered(BLOCK_PREFIX, number)
}

/// The number in a key of the form prefix + `u32` big endian.
pub(super) fn number_of(key: &[u8]) -> u32 {
    key.get(1..5).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes)
}

fn numbered(prefix: u8, number: u32) -> [u8; 5] {
    let mut key = [prefix; 5];
    key[1..].copy_from_slice(&number.to_be_bytes());
    key
}

/// Version 1 of the record `m`, which is written at level 0.
#[derive(Serialize, Deserialize)]
struct MetaRecordV1 {
    position: Vec<u8>,
    next_block: u32,
    meta: ShardMeta,
}

impl Record for MetaRecordV1 {
    const VERSION: u8 = 1;
    type Previous = NoRecord;

    fn migrate(previous: NoRecord) -> Self {
        match previous {}
    }
}

/// Version 2 of the record `m`, since level 1.
#[derive(Serialize, Deserialize)]
struct MetaRecord {
    position: Vec<u8>,
    next_block: u32,
    meta: ShardMeta,
    level: Level,
}

/// The latest version of the record `m`.
pub(super) const META_VERSION: u8 = MetaRecord::VERSION;

impl Record for MetaRecord {
    const VERSION: u8 = 2;
    type Previous = MetaRecordV1;

    fn migrate(previous: MetaRecordV1) -> Self {
        let MetaRecordV1 { position, next_block, meta } = previous;
        Self { position, next_block, meta, level: Level::BASE }
    }
}

impl MetaRecord {
    /// Seals the record, in the version of its level.
    fn seal(self, tree: &Tree) -> Vec<u8> {
        let Self { position, next_block, meta, level } = self;
        let (version, payload) = match level {
            Level::BASE => (MetaRecordV1::VERSION, MetaRecordV1 { position, next_block, meta }.write()),
            _ => (Self::VERSION, Self { position, next_block, meta, level }.write()),
        };
        super::seal(tree.name(), META_KEY, version, &payload)
    }
}

impl ShardMachine {
    pub(super) fn write_checkpoint(&mut self, position: &[u8]) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        let moved = self.write_shrunk_blocks(&mut batch)?;
        self.write_new_blocks(&mut batch, moved)?;
        for page in self.dirty_visits.take() {
            let start = (page * VISITS_PER_PAGE) as usize;
            let end = (start + VISITS_PER_PAGE as usize).min(self.visits.len());
            let visits: Vec<(u64, u64, UnixMs, u32)> = self.visits[start.min(end)..end]
                .iter()
                .map(|slot| (slot.visits.total, slot.visits.bots, slot.visits.last, slot.epoch))
                .collect();
            let key = numbered(VISITS_PREFIX, page);
            batch.insert(&key, seal_record(&self.tree, &key, &encode(&visits)));
        }
        self.write_stats(&mut batch)?;
        self.positions.write(&self.tree, &mut batch);
        self.idempotency.checkpoint(&self.tree, &mut batch);
        let (next_block, meta) = (self.next_block, self.meta.clone());
        let record = MetaRecord { position: position.to_vec(), next_block, meta, level: self.level };
        batch.insert(META_KEY, record.seal(&self.tree));
        self.tree.apply(batch)
    }

    fn write_stats(&mut self, batch: &mut Batch) -> Result<(), StoreError> {
        let visits = &self.visits;
        let epochs = |slot: u32| visits.get(slot as usize).map(|slot| slot.epoch);
        // A record must not be written twice in one batch: the days that were just written are left for the next checkpoint.
        let written = self.recents.write(&self.tree, batch, &epochs)?;
        let today = (self.meta.applied_at.0 / HOUR_MS / 24) as u32;
        // Hours are kept for a limited time. One checkpoint folds one day; a node that was away for long folds several, one in each
        // checkpoint.
        // While the time is in doubt nothing is folded.
        let now = self.fold_by.as_ref().map_or(Some(self.meta.applied_at), |time| time());
        let oldest = now.map_or(0, |now| (now.0 / HOUR_MS / 24) as u32).saturating_sub(HOURS_KEPT_DAYS);
        let fold = self.meta.folded.max(self.meta.first_day).max(oldest.saturating_sub(2 * HOURS_KEPT_DAYS));
        let mut changed = written.clone();
        let mut folded = None;
        if fold < oldest && self.meta.first_day > 0 && !written.contains(&fold) {
            stats_page::clean(&self.tree, batch, fold, &epochs, true)?;
            self.meta.folded = fold + 1;
            folded = Some(fold);
            changed.insert(fold);
        }
        // Removes the remains of deleted links, some days at a time.
        for _ in 0..SWEEP_DAYS {
            let day = self.meta.sweep;
            if day > today || day == 0 {
                self.meta.sweep = u32::MAX;
                break;
            }
            if written.contains(&day) || folded == Some(day) {
                // Merging and folding remove dead fragments, but not separate sketches.
                if day < today {
                    break;
                }
                self.meta.sweep = u32::MAX;
                break;
            }
            stats_page::clean(&self.tree, batch, day, &epochs, false)?;
            self.meta.sweep = day + 1;
            changed.insert(day);
        }
        self.changed_days.add(changed);
        self.orphans.write(&self.tree, batch);
        Ok(())
    }

    /// Removes dead links from their blocks. Returns the links of blocks that became too small to keep.
    fn write_shrunk_blocks(&mut self, batch: &mut Batch) -> Result<Vec<(u32, Arc<Link>)>, StoreError> {
        let mut moved = Vec::new();
        for (number, dead) in std::mem::take(&mut self.dead) {
            let key = block_key(number);
            let value = self.tree.get(&key)?.ok_or_else(|| StoreError::Corrupt {
                what: format!("{} block {number}", self.tree.name()),
                detail: "the record is missing".to_owned(),
            })?;
            let payload = open_record(&self.tree, &key, &value)?;
            let left = block::retain(payload, |slot| !dead.contains(&slot))?;
            if left.len() >= BLOCK_BYTES_MIN {
                batch.insert(&key, seal_record(&self.tree, &key, &left));
                continue;
            }
            batch.remove(&key);
            for entry in block::Entries::new(&left) {
                let (slot, bytes) = entry?;
                moved.push((slot, Arc::new(block::link(bytes)?)));
            }
        }
        Ok(moved)
    }

    /// Packs new and moved links into blocks. The last block may stay small: it is dissolved when links leave it. One
    /// small block in each checkpoint is the price of never writing a block twice.
    fn write_new_blocks(&mut self, batch: &mut Batch, moved: Vec<(u32, Arc<Link>)>) -> Result<(), StoreError> {
        let mut links: Vec<(u32, Arc<Link>)> = std::mem::take(&mut self.fresh).into_iter().chain(moved).collect();
        links.sort_unstable_by_key(|(slot, _)| *slot);
        self.fresh_bytes = 0;
        let mut payload = Vec::with_capacity(BLOCK_BYTES);
        let mut slots = Vec::new();
        for (slot, link) in links {
            if !payload.is_empty() && payload.len() + block::size_of(&link) > BLOCK_BYTES {
                self.put_block(batch, &mut payload, &mut slots);
            }
            block::push(&mut payload, slot, &link)?;
            slots.push(slot);
        }
        if !payload.is_empty() {
            self.put_block(batch, &mut payload, &mut slots);
        }
        Ok(())
    }

    fn put_block(&mut self, batch: &mut Batch, payload: &mut Vec<u8>, slots: &mut Vec<u32>) {
        let number = self.next_block;
        self.next_block += 1;
        let key = block_key(number);
        batch.insert(&key, seal_record(&self.tree, &key, payload));
        for slot in slots.drain(..) {
            self.index.set_block(slot, number);
        }
        payload.clear();
    }

    pub(super) fn load_checkpoint(tree: Tree) -> Result<(Self, Option<Vec<u8>>), StoreError> {
        let Some(value) = tree.get(META_KEY)? else {
            // An unfinished import: its file should exist, and then this is not called.
            if tree.scan_prefix(b"").next().is_some() {
                return Err(StoreError::Corrupt {
                    what: tree.name().to_owned(),
                    detail: "it has records and no checkpoint that they belong to".to_owned(),
                });
            }
            return Ok((Self::new(tree, ShardMeta::default()), None));
        };
        let record: MetaRecord = super::read_record(tree.name(), META_KEY, &value)?;
        let mut machine = Self::new(tree.clone(), record.meta);
        machine.level = record.level;
        machine.next_block = record.next_block;
        machine.index = read_blocks(&tree, &mut machine.expiry)?;
        machine.visits = vec![SlotVisits::default(); machine.index.slots()];
        read_visits(&tree, &mut machine.visits)?;
        machine.orphans = Orphans::open(&tree)?;
        machine.positions = Positions::open(&tree)?;
        machine.idempotency = Idempotency::open(&tree)?;
        Ok((machine, Some(record.position)))
    }
}

fn read_blocks(tree: &Tree, expiry: &mut BTreeSet<(UnixMs, u32)>) -> Result<Index, StoreError> {
    let mut index = Index::default();
    for entry in tree.scan_prefix(&[BLOCK_PREFIX]) {
        let (key, value) = entry?;
        let number = number_of(&key);
        for item in block::Entries::new(open_record(tree, &key, &value)?) {
            let (slot, bytes) = item?;
            let link = block::link(bytes)?;
            if index.key_hash(slot).is_some() {
                return Err(StoreError::Corrupt {
                    what: format!("{} block {number}", tree.name()),
                    detail: format!("slot {slot} is in two blocks"),
                });
            }
            index.insert_at(slot, link.key.hash().0, url_hash(&link), number);
            if let Some(until) = link.spec.valid_until {
                expiry.insert((until, slot));
            }
        }
    }
    index.settle();
    Ok(index)
}

fn read_visits(tree: &Tree, visits: &mut Vec<SlotVisits>) -> Result<(), StoreError> {
    for entry in tree.scan_prefix(&[VISITS_PREFIX]) {
        let (key, value) = entry?;
        let page: Vec<(u64, u64, UnixMs, u32)> = decode("visits", open_record(tree, &key, &value)?)?;
        let start = number_of(&key) as usize * VISITS_PER_PAGE as usize;
        for (offset, (total, bots, last, epoch)) in page.into_iter().enumerate() {
            // Also for free slots at the end of the index: the next link in such a slot must not get another link's statistics.
            if epoch > 0 && visits.len() <= start + offset {
                visits.resize(start + offset + 1, SlotVisits::default());
            }
            if let Some(place) = visits.get_mut(start + offset) {
                *place = SlotVisits { visits: Visits { total, bots, last }, epoch };
            }
        }
    }
    Ok(())
}
