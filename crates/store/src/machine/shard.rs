//! The state of one shard: its links, their visits, and what makes retries harmless.
//!
//! Promise: a key names at most one link; applying the same log gives the same links on every replica.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use waypost_protocol::clicks::Counts;
use waypost_protocol::command::{
    Batch, Command as _, Create, CreateOutcome, Delete, DeleteOutcome, Edit, EditOutcome, EndJournals,
    EndJournalsOutcome, RemoveExpired, RemoveExpiredOutcome, ShardCommand, ShardOutcome,
};
use waypost_protocol::digest::UrlDigest;
use waypost_protocol::link::Visits;
use waypost_protocol::{Domain, Level, Link, LinkKey, LinkSpec, UnixMs};

use super::idempotency::{Idempotency, Remembered};
use super::index::{FRESH, Index};
use super::orphans::Orphans;
use super::positions::Positions;
use super::stats::Recents;
use super::stats_query::ChangedDays;
use super::visits::{DirtyPages, SlotVisits};
use super::{Machine, block, open_record};
use crate::{StoreError, Tree};

/// Called with each key whose link was created, changed or removed, after the state shows it; with `None` when anything
/// may have changed.
pub type OnChange = Arc<dyn Fn(Option<&LinkKey>) + Send + Sync>;

/// Tells the time, or that it is in doubt.
pub type FoldBy = Arc<dyn Fn() -> Option<UnixMs> + Send + Sync>;

/// The state machine of a shard.
///
/// Invariants: a slot in `fresh` has block `FRESH` in the index and the other way round; `visits` is as long as the
/// index has slots; `dead` names entries of stored blocks that are no longer valid.
pub struct ShardMachine {
    pub(super) tree: Tree,
    pub(super) index: Index,
    /// Links written since the last checkpoint.
    pub(super) fresh: HashMap<u32, Arc<Link>>,
    pub(super) fresh_bytes: u64,
    /// Per stored block, the slots that have left it since the last checkpoint.
    pub(super) dead: BTreeMap<u32, BTreeSet<u32>>,
    pub(super) next_block: u32,
    pub(super) visits: Vec<SlotVisits>,
    /// Statistics of visits since the last checkpoint.
    pub(super) recents: Recents,
    /// Days of which a checkpoint has written the statistics.
    pub(super) changed_days: ChangedDays,
    pub(super) orphans: Orphans,
    /// How far the clicks of journals were counted, since level 1.
    pub(super) positions: Positions,
    pub(super) dirty_visits: DirtyPages,
    pub(super) idempotency: Idempotency,
    pub(super) expiry: BTreeSet<(UnixMs, u32)>,
    pub(super) meta: ShardMeta,
    pub(super) level: Level,
    on_change: Option<OnChange>,
    /// The time by which hours of statistics become days; `None` = that of the last command.
    pub(super) fold_by: Option<FoldBy>,
}

/// What a checkpoint writes whole.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct ShardMeta {
    /// The proposer's time of the last entry; before level 1 the largest.
    pub(super) applied_at: UnixMs,
    /// How far the clicks of each journal were counted, and when that was last told; since level 1 only of journals of which nothing
    /// was heard since (`positions.rs`).
    pub(super) journals: BTreeMap<u64, (u64, UnixMs)>,
    /// Days before this one since 1970 have no hours any more.
    pub(super) folded: u32,
    /// The first day that has statistics; 0 = none has.
    pub(super) first_day: u32,
    /// The next day to be searched for what deleted links have left; `u32::MAX` = nothing was deleted since the last search.
    pub(super) sweep: u32,
    /// All visits ever, also of links that are no more.
    pub(super) total: Counts,
}

impl ShardMachine {
    pub(super) fn new(tree: Tree, meta: ShardMeta) -> Self {
        Self {
            tree,
            index: Index::default(),
            fresh: HashMap::new(),
            fresh_bytes: 0,
            dead: BTreeMap::new(),
            next_block: 0,
            visits: Vec::new(),
            recents: Recents::default(),
            changed_days: ChangedDays::default(),
            orphans: Orphans::default(),
            positions: Positions::default(),
            dirty_visits: DirtyPages::default(),
            idempotency: Idempotency::default(),
            expiry: BTreeSet::new(),
            meta,
            level: Level::BASE,
            on_change: None,
            fold_by: None,
        }
    }

    /// Sets who hears of changed keys.
    pub fn on_change(&mut self, listener: OnChange) {
        self.on_change = Some(listener);
    }

    /// Sets the time by which a checkpoint makes days of old hours, which cannot be undone; it does not while the time is in doubt. Each
    /// replica does so for itself: what is told of a link stays the same.
    pub fn fold_by(&mut self, time: FoldBy) {
        self.fold_by = Some(time);
    }

    /// How many links there are.
    pub fn links(&self) -> usize {
        self.index.len()
    }

    /// The proposer's time of the last entry; before level 1 the largest.
    pub fn applied_at(&self) -> UnixMs {
        self.meta.applied_at
    }

    /// The link of a key, with its visits.
    ///
    /// # Errors
    /// When its block cannot be read or is damaged.
    pub fn get(&self, key: &LinkKey) -> Result<Option<(Arc<Link>, Visits)>, StoreError> {
        Ok(self.find(key)?.map(|(slot, link)| (link, self.visits[slot as usize].visits)))
    }

    /// Slots of links that had expired at `before`, at most `max`, the longest expired first. See [`ShardMachine::key_at`].
    pub fn expired(&self, before: UnixMs, max: usize) -> Vec<u32> {
        let expired = self.expiry.iter().take_while(|(until, _)| *until <= before);
        expired.take(max).map(|(_, slot)| *slot).collect()
    }

    /// The key of the link that a slot holds now, if it holds one. Reads a block, so that whoever locks the state asks for one
    /// key at a time.
    ///
    /// # Errors
    /// When the block cannot be read or is damaged.
    pub fn key_at(&self, slot: u32) -> Result<Option<LinkKey>, StoreError> {
        self.index.key_hash(slot).map(|_| Ok(self.load(slot)?.key.clone())).transpose()
    }

    /// The oldest live link with a generated code with these properties, if there is one.
    ///
    /// # Errors
    /// When a block cannot be read or is damaged.
    pub fn existing(&self, domain: Domain, spec: &LinkSpec, now: UnixMs) -> Result<Option<Arc<Link>>, StoreError> {
        let mut oldest: Option<Arc<Link>> = None;
        for slot in self.index.by_url(UrlDigest::of(domain, spec.target.as_str()).0) {
            let link = self.load(slot)?;
            let wanted = link.spec == *spec && link.key.domain == domain;
            let older = oldest.as_ref().is_none_or(|other| link.written_at < other.written_at);
            if wanted && older && !link.expired(now) {
                oldest = Some(link);
            }
        }
        Ok(oldest)
    }

    /// All links and their visits, block by block, for checks and exports. Not for hot paths.
    ///
    /// # Errors
    /// When a block cannot be read or is damaged.
    pub fn all(&self) -> Result<Vec<(Arc<Link>, Visits)>, StoreError> {
        let mut links = Vec::with_capacity(self.links());
        for entry in self.tree.scan_prefix(b"b") {
            let (key, value) = entry?;
            let number = super::checkpoint::number_of(&key);
            for item in block::Entries::new(open_record(&self.tree, &key, &value)?) {
                let (slot, bytes) = item?;
                if self.index.key_hash(slot).is_some() && self.index.block(slot) == number {
                    links.push((Arc::new(block::link(bytes)?), self.visits[slot as usize].visits));
                }
            }
        }
        links.extend(self.fresh.iter().map(|(slot, link)| (link.clone(), self.visits[*slot as usize].visits)));
        Ok(links)
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
        self.read_link(slot).inspect_err(|error| self.tree.fail(error))
    }

    fn read_link(&self, slot: u32) -> Result<Arc<Link>, StoreError> {
        let number = self.index.block(slot);
        if number == FRESH {
            let link = self.fresh.get(&slot).expect("invariant: a slot marked fresh is in `fresh`");
            return Ok(link.clone());
        }
        let key = super::checkpoint::block_key(number);
        let missing = |detail: &str| StoreError::Corrupt {
            what: format!("{} block {number}", self.tree.name()),
            detail: detail.to_owned(),
        };
        let value = self.tree.get(&key)?.ok_or_else(|| missing("the record is missing"))?;
        let link = block::find(open_record(&self.tree, &key, &value)?, slot)?;
        link.map(Arc::new).ok_or_else(|| missing("a link that should be in it is not"))
    }

    fn create(&mut self, index: u64, at: UnixMs, new: &Create) -> Result<CreateOutcome, StoreError> {
        if let Some((key, fingerprint)) = new.idempotency
            && let Some(known) = self.idempotency.get(&key, at)
        {
            if known.fingerprint != fingerprint {
                return Ok(CreateOutcome::IdempotencyMismatch);
            }
            if self.index.key_hash(known.slot) == Some(known.key_hash) {
                let link = self.load(known.slot)?;
                // Another request may have made a link of the same alias since.
                if link.created_at == known.at {
                    return Ok(CreateOutcome::Created(Box::new((*link).clone())));
                }
            }
            // The link that it made was deleted since: the request makes a new one.
        }
        if new.find_existing
            && let Some(link) = self.existing(new.key.domain, &new.spec, at)?
        {
            return Ok(CreateOutcome::Existing(Box::new((*link).clone())));
        }
        if self.find(&new.key)?.is_some() {
            return Ok(CreateOutcome::KeyTaken);
        }
        let link = Link {
            key: new.key.clone(),
            spec: new.spec.clone(),
            created_at: at,
            version: 1,
            written_at: index,
            created_by: new.created_by,
            generated: new.generated,
        };
        let bytes = block::size_of(&link);
        if bytes > block::LINK_BYTES_MAX {
            return Ok(CreateOutcome::LinkTooLarge { max: block::LINK_BYTES_MAX as u32 });
        }
        let key_hash = link.key.hash().0;
        let slot = self.index.insert(key_hash, url_hash(&link));
        if self.visits.len() < self.index.slots() {
            self.visits.resize(self.index.slots(), SlotVisits::default());
        }
        if let Some((key, fingerprint)) = new.idempotency {
            self.idempotency.remember(key, Remembered { slot, key_hash, fingerprint, at });
        }
        self.put_fresh(slot, link.clone(), bytes);
        self.changed(&link.key);
        Ok(CreateOutcome::Created(Box::new(link)))
    }

    fn edit(&mut self, index: u64, edit: &Edit) -> Result<EditOutcome, StoreError> {
        let Edit { key, if_version, patch } = edit;
        let Some((slot, old)) = self.find(key)? else { return Ok(EditOutcome::NotFound) };
        if if_version.is_some_and(|version| version != old.link_version()) {
            return Ok(EditOutcome::VersionMismatch { current: old.link_version() });
        }
        let mut link = (*old).clone();
        patch.apply(&mut link.spec);
        link.version = old.version.saturating_add(1);
        link.written_at = index;
        let bytes = block::size_of(&link);
        if bytes > block::LINK_BYTES_MAX {
            return Ok(EditOutcome::LinkTooLarge { max: block::LINK_BYTES_MAX as u32 });
        }
        self.leave_block(slot);
        if let Some(until) = old.spec.valid_until {
            self.expiry.remove(&(until, slot));
        }
        self.index.set_url(slot, url_hash(&link));
        self.put_fresh(slot, link.clone(), bytes);
        self.changed(key);
        Ok(EditOutcome::Edited(Box::new(link)))
    }

    fn delete(&mut self, delete: &Delete) -> Result<DeleteOutcome, StoreError> {
        let Some((slot, link)) = self.find(&delete.key)? else { return Ok(DeleteOutcome::NotFound) };
        if delete.if_version.is_some_and(|version| version != link.link_version()) {
            return Ok(DeleteOutcome::VersionMismatch { current: link.link_version() });
        }
        self.remove(slot, &link);
        Ok(DeleteOutcome::Deleted)
    }

    fn remove_expired(&mut self, expired: &RemoveExpired) -> Result<RemoveExpiredOutcome, StoreError> {
        let RemoveExpired { keys, before } = expired;
        let mut removed = 0;
        for key in keys {
            // The link may have been edited since the sweep looked: its own end decides.
            if let Some((slot, link)) = self.find(key)?
                && link.expired(*before)
            {
                self.remove(slot, &link);
                removed += 1;
            }
        }
        Ok(RemoveExpiredOutcome::Removed(removed))
    }

    fn end_journals(&mut self, end: &EndJournals) -> EndJournalsOutcome {
        self.positions.end(&end.journals);
        self.meta.journals.retain(|journal, _| !end.journals.contains(journal));
        EndJournalsOutcome::Done
    }

    fn apply_one(&mut self, index: u64, at: UnixMs, command: &ShardCommand) -> Result<ShardOutcome, StoreError> {
        Ok(match command {
            ShardCommand::Create(create) => create.answered(self.create(index, at, create)?),
            ShardCommand::Edit(edit) => edit.answered(self.edit(index, edit)?),
            ShardCommand::Delete(delete) => delete.answered(self.delete(delete)?),
            ShardCommand::RemoveExpired(expired) => expired.answered(self.remove_expired(expired)?),
            ShardCommand::RecordClicks(clicks) => clicks.answered(self.record_clicks(&clicks.0)),
            ShardCommand::ResetStats(reset) => reset.answered(self.reset_stats(&reset.key)?),
            ShardCommand::EndJournals(end) => end.answered(self.end_journals(end)),
        })
    }

    fn put_fresh(&mut self, slot: u32, link: Link, bytes: usize) {
        if let Some(until) = link.spec.valid_until {
            self.expiry.insert((until, slot));
        }
        self.fresh_bytes += bytes as u64;
        self.fresh.insert(slot, Arc::new(link));
    }

    fn remove(&mut self, slot: u32, link: &Link) {
        self.leave_block(slot);
        self.fresh.remove(&slot);
        if let Some(until) = link.spec.valid_until {
            self.expiry.remove(&(until, slot));
        }
        self.index.remove(slot);
        self.forget_visits(slot);
        self.changed(&link.key);
    }

    /// Notes that the stored copy of a link is no longer valid.
    fn leave_block(&mut self, slot: u32) {
        let number = self.index.block(slot);
        if number != FRESH {
            self.dead.entry(number).or_default().insert(slot);
            self.index.set_block(slot, FRESH);
        }
    }

    fn changed(&self, key: &LinkKey) {
        if let Some(listener) = &self.on_change {
            listener(Some(key));
        }
    }
}

/// The URL hash by which find-existing finds the link: only links with generated codes have one.
pub(super) fn url_hash(link: &Link) -> Option<u64> {
    link.generated.then(|| UrlDigest::of(link.key.domain, link.spec.target.as_str()).0)
}

impl Machine for ShardMachine {
    type Command = ShardCommand;
    type Outcome = ShardOutcome;

    fn open(tree: Tree) -> Result<(Self, Option<Vec<u8>>), StoreError> {
        Self::load_checkpoint(tree)
    }

    fn reopen(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        let (machine, position) = Self::load_checkpoint(self.tree.clone())?;
        let (listener, fold_by) = (self.on_change.take(), self.fold_by.take());
        let changed_days = self.changed_days.replaced();
        *self = machine;
        self.changed_days = changed_days;
        self.on_change = listener;
        self.fold_by = fold_by;
        if let Some(listener) = &self.on_change {
            listener(None);
        }
        Ok(position)
    }

    fn apply(&mut self, index: u64, batch: &Batch<ShardCommand>) -> Result<Vec<ShardOutcome>, StoreError> {
        if self.level == Level::BASE && batch.level > Level::BASE {
            self.idempotency.forget_old(self.meta.applied_at);
        }
        self.level = self.level.max(batch.level);
        // Order is the index. Since level 1 a time may step back, so that a clock that jumped ahead is forgotten when it is right again.
        self.meta.applied_at = if self.level >= Level::ONE { batch.at } else { self.meta.applied_at.max(batch.at) };
        let at = self.meta.applied_at;
        batch.commands.iter().map(|command| self.apply_one(index, at, command)).collect()
    }

    fn level(&self) -> Level {
        self.level
    }

    fn link_count(&self) -> u64 {
        self.links() as u64
    }

    fn pending_bytes(&self) -> u64 {
        self.fresh_bytes
            + self.dead.len() as u64 * block::BLOCK_BYTES as u64
            + self.dirty_visits.count as u64 * super::checkpoint::VISITS_PAGE_WEIGHT
            + self.recents.pending_bytes()
            + self.positions.pending_bytes()
            + self.idempotency.pending_bytes()
    }

    fn checkpoint(&mut self, position: &[u8]) -> Result<(), StoreError> {
        self.write_checkpoint(position)
    }

    fn tree(&self) -> &Tree {
        &self.tree
    }
}
