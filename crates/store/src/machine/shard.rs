//! The state of one shard: its links, their visits, and what makes retries harmless.
//!
//! Promise: a key names at most one link; applying the same log gives the same links on every replica.

use std::sync::Arc;

use parking_lot::Mutex;
use waypost_protocol::clicks::{ClickBatch, Orphan};
use waypost_protocol::command::{
    Batch, Command as _, Create, CreateOutcome, Delete, DeleteOutcome, Edit, EditOutcome, EndJournals,
    EndJournalsOutcome, RecordClicksOutcome, RemoveExpired, RemoveExpiredOutcome, ResetStatsOutcome, ShardCommand,
    ShardOutcome, UseVisitOutcome,
};
use waypost_protocol::digest::IdempotencyKey;
use waypost_protocol::link::{LinkCounts, Visits};
use waypost_protocol::properties::MAX_VISITS;
use waypost_protocol::{Code, Domain, History, Level, Link, LinkKey, LinkSpec, NodeId, UnixMs};

use super::changes::Changes;
use super::counters::{Counters, CountersPrepared};
use super::histories::Histories;
use super::idempotency::{Idempotency, Remembered};
use super::links::Links;
use super::record::{META_KEY, read_record};
use super::shard_records::{MetaRecord, ShardMeta};
use super::used_visits::UsedVisits;
use super::{Machine, block};
use crate::{StoreError, Tree};

/// What the idempotency key of a create says.
enum Repeated {
    /// The shard does not know it, or the link that it created was deleted since.
    No,
    /// It was used for a different request.
    Mismatch,
    /// The same request has created this link.
    Created(Arc<Link>),
}

/// Called with each key whose link was created, changed or removed, after the state shows it; with `None` when anything
/// may have changed.
pub type OnChange = Arc<dyn Fn(Option<&LinkKey>) + Send + Sync>;

/// Tells the time, or that it is in doubt.
pub type FoldBy = Arc<dyn Fn() -> Option<UnixMs> + Send + Sync>;

/// The state machine of a shard.
pub struct ShardMachine {
    pub(super) tree: Tree,
    pub(super) links: Links,
    pub(super) counters: Counters,
    pub(super) histories: Histories,
    used_visits: UsedVisits,
    idempotency: Idempotency,
    /// The proposer's time of the last entry; before level 1 the largest.
    applied_at: UnixMs,
    level: Level,
    on_change: Option<OnChange>,
    /// Behind a lock so that whoever reads the state can take them. A change of the state has it to itself.
    pub(super) changes: Mutex<Changes>,
    /// The time by which hours of statistics become days; `None` = that of the last command.
    fold_by: Option<FoldBy>,
}

impl ShardMachine {
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
        self.links.len()
    }

    /// The proposer's time of the last entry; before level 1 the largest.
    pub fn applied_at(&self) -> UnixMs {
        self.applied_at
    }

    /// The link of a key, with its visits.
    ///
    /// # Errors
    /// When its block cannot be read or is damaged.
    pub fn get(&self, key: &LinkKey) -> Result<Option<(Arc<Link>, Visits)>, StoreError> {
        Ok(self.links.find(key)?.map(|(slot, link)| (link, self.counters.of(slot).visits)))
    }

    /// The link of a key alone.
    ///
    /// # Errors
    /// When its block cannot be read or is damaged.
    pub fn link(&self, key: &LinkKey) -> Result<Option<Arc<Link>>, StoreError> {
        Ok(self.links.find(key)?.map(|(_, link)| link))
    }

    /// The link of a key, with its history, which is empty if it was never edited.
    ///
    /// # Errors
    /// When a block cannot be read or is damaged.
    pub fn history(&self, key: &LinkKey) -> Result<Option<(Arc<Link>, History)>, StoreError> {
        let Some((slot, link)) = self.links.find(key)? else { return Ok(None) };
        Ok(Some((link, self.histories.of(slot)?)))
    }

    /// The link that an earlier create with the same idempotency key and fingerprint has created.
    ///
    /// # Errors
    /// When a block cannot be read or is damaged.
    pub fn created_by(&self, key: &IdempotencyKey, fingerprint: u64) -> Result<Option<Arc<Link>>, StoreError> {
        Ok(match self.repeated(key, fingerprint, self.applied_at)? {
            Repeated::Created(link) => Some(link),
            Repeated::No | Repeated::Mismatch => None,
        })
    }

    /// What is counted of the link in a slot.
    pub(super) fn counts(&self, slot: u32) -> LinkCounts {
        LinkCounts { visits: self.counters.of(slot).visits, used: self.used_visits.of(slot) }
    }

    /// How many visits of the limit of a key's link are used; 0 if it has none.
    pub fn used_visits(&self, key: &LinkKey) -> u64 {
        self.links.slot_of(key.hash()).map_or(0, |slot| self.used_visits.of(slot))
    }

    /// Slots of links that had expired at `before`, at most `max`, the longest expired first. See [`ShardMachine::key_at`].
    pub fn expired(&self, before: UnixMs, max: usize) -> Vec<u32> {
        self.links.expired(before, max)
    }

    /// The key of the link that a slot holds now, if it holds one. Reads a block, so ask for one key at a time while the state is locked.
    ///
    /// # Errors
    /// When the block cannot be read or is damaged.
    pub fn key_at(&self, slot: u32) -> Result<Option<LinkKey>, StoreError> {
        self.links.key_at(slot)
    }

    /// The codes of a domain that crawlers may follow, in their order, as many as `bytes_max` has room for if each takes `more` bytes beside its own.
    pub fn crawlable(&self, domain: Domain, more: usize, bytes_max: usize) -> Vec<Code> {
        self.links.crawlable(domain, more, bytes_max)
    }

    /// The oldest live link with a generated code with these properties, if there is one.
    ///
    /// # Errors
    /// When a block cannot be read or is damaged.
    pub fn existing(&self, domain: Domain, spec: &LinkSpec, now: UnixMs) -> Result<Option<Arc<Link>>, StoreError> {
        self.links.existing(domain, spec, now, |slot| self.used_visits.of(slot))
    }

    /// All links and their visits, block by block, for checks and exports. Not for hot paths.
    ///
    /// # Errors
    /// When a block cannot be read or is damaged.
    pub fn all(&self) -> Result<Vec<(Arc<Link>, Visits)>, StoreError> {
        let visits = |(slot, link)| (link, self.counters.of(slot).visits);
        Ok(self.links.all()?.into_iter().map(visits).collect())
    }

    /// Journals of nodes that are gone for good and of which nothing was heard since `before`, at most `max`: their positions can be
    /// forgotten.
    pub fn journals_left_behind(&self, gone: impl Fn(NodeId) -> bool, before: UnixMs, max: usize) -> Vec<u64> {
        self.counters.left_behind(gone, before, max)
    }

    /// Orphan visits: those to paths that are no link.
    pub fn orphans(&self) -> Vec<Orphan> {
        self.counters.orphans(self.applied_at)
    }

    fn read(tree: Tree) -> Result<(Self, Option<Vec<u8>>), StoreError> {
        let Some(value) = tree.get(META_KEY)? else {
            // An unfinished import: its file should exist, and then this is not called.
            if tree.scan_prefix(b"").next().is_some() {
                return Err(StoreError::Corrupt {
                    what: tree.name().to_owned(),
                    detail: "it has records and no checkpoint that they belong to".to_owned(),
                });
            }
            let (next_block, meta, level) = (0, ShardMeta::default(), Level::BASE);
            return Ok((Self::of(tree, next_block, meta, level)?, None));
        };
        let record: MetaRecord = read_record(tree.name(), META_KEY, &value)?;
        let MetaRecord { position, next_block, meta, level } = record;
        Ok((Self::of(tree, next_block, meta, level)?, Some(position)))
    }

    /// Reads the parts of the state that the record `m` does not have.
    fn of(tree: Tree, next_block: u32, meta: ShardMeta, level: Level) -> Result<Self, StoreError> {
        let applied_at = meta.applied_at;
        let links = Links::read(tree.clone(), next_block)?;
        let counters = Counters::read(tree.clone(), links.slots(), meta)?;
        let histories = Histories::read(tree.clone())?;
        let used_visits = UsedVisits::open(&tree)?;
        let idempotency = Idempotency::open(&tree)?;
        Ok(Self {
            tree,
            links,
            counters,
            histories,
            used_visits,
            idempotency,
            applied_at,
            level,
            on_change: None,
            changes: Mutex::default(),
            fold_by: None,
        })
    }

    /// What a create with this idempotency key has created before.
    fn repeated(&self, key: &IdempotencyKey, fingerprint: u64, now: UnixMs) -> Result<Repeated, StoreError> {
        let Some(known) = self.idempotency.get(key, now) else { return Ok(Repeated::No) };
        if known.fingerprint != fingerprint {
            return Ok(Repeated::Mismatch);
        }
        if self.links.key_hash(known.slot) == Some(known.key_hash) {
            let link = self.links.load(known.slot)?;
            // Another request may have made a link of the same alias since.
            if link.created_at == known.at {
                return Ok(Repeated::Created(link));
            }
        }
        // The link that it made was deleted since: the request makes a new one.
        Ok(Repeated::No)
    }

    fn create(&mut self, index: u64, at: UnixMs, new: &Create) -> Result<CreateOutcome, StoreError> {
        if let Some((key, fingerprint)) = new.idempotency {
            match self.repeated(&key, fingerprint, at)? {
                Repeated::Mismatch => return Ok(CreateOutcome::IdempotencyMismatch),
                Repeated::Created(link) => return Ok(CreateOutcome::Created(Box::new((*link).clone()))),
                Repeated::No => {}
            }
        }
        if new.find_existing
            && let Some(link) = self.existing(new.key.domain, &new.spec, at)?
        {
            return Ok(CreateOutcome::Existing(Box::new((*link).clone())));
        }
        if self.links.find(&new.key)?.is_some() {
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
        let bytes = block::size_of_link(&link);
        if bytes > block::LINK_BYTES_MAX {
            return Ok(CreateOutcome::LinkTooLarge { max: block::LINK_BYTES_MAX as u32 });
        }
        let key_hash = link.key.hash().0;
        let slot = self.links.insert(link.clone(), bytes);
        self.counters.cover(self.links.slots());
        if let Some((key, fingerprint)) = new.idempotency {
            self.idempotency.remember(key, Remembered { slot, key_hash, fingerprint, at });
        }
        self.changed(&link.key);
        Ok(CreateOutcome::Created(Box::new(link)))
    }

    fn edit(&mut self, index: u64, at: UnixMs, edit: &Edit) -> Result<EditOutcome, StoreError> {
        let Edit { key, if_version, patch, by } = edit;
        let Some((slot, old)) = self.links.find(key)? else { return Ok(EditOutcome::NotFound) };
        if if_version.is_some_and(|version| version != old.link_version()) {
            return Ok(EditOutcome::VersionMismatch { current: old.link_version() });
        }
        let mut link = (*old).clone();
        patch.apply(&mut link.spec);
        // What did not fit before level 3 may stay as it is.
        if self.level >= Level::THREE
            && let Err(reason) = link.spec.consistent()
            && old.spec.consistent() != Err(reason)
        {
            return Ok(EditOutcome::Refused(reason));
        }
        link.version = old.version.saturating_add(1);
        link.written_at = index;
        let bytes = block::size_of_link(&link);
        if bytes > block::LINK_BYTES_MAX {
            return Ok(EditOutcome::LinkTooLarge { max: block::LINK_BYTES_MAX as u32 });
        }
        if self.level >= Level::THREE {
            let mut history = self.histories.of(slot)?;
            if history.record(&old, &link, at, *by) {
                self.histories.set(slot, history);
            }
        }
        self.links.replace(slot, &old, link.clone(), bytes);
        if !MAX_VISITS.is_in(&link.spec.fields) {
            self.used_visits.forget(slot);
        }
        self.changed(key);
        Ok(EditOutcome::Edited(Box::new(link)))
    }

    fn delete(&mut self, delete: &Delete) -> Result<DeleteOutcome, StoreError> {
        let Some((slot, link)) = self.links.find(&delete.key)? else { return Ok(DeleteOutcome::NotFound) };
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
            if let Some((slot, link)) = self.links.find(key)?
                && link.expired(*before)
            {
                self.remove(slot, &link);
                removed += 1;
            }
        }
        Ok(RemoveExpiredOutcome::Removed(removed))
    }

    fn end_journals(&mut self, end: &EndJournals) -> EndJournalsOutcome {
        self.counters.end_journals(&end.journals);
        EndJournalsOutcome::Done
    }

    fn record_clicks(&mut self, clicks: &ClickBatch) -> RecordClicksOutcome {
        let (links, changes) = (&self.links, self.changes.get_mut());
        let counted = |slot| changes.counted(slot);
        self.counters.record_clicks(
            clicks,
            self.applied_at,
            self.level,
            || links.slots_of(clicks.deltas.iter().map(|delta| delta.link)),
            counted,
        )
    }

    fn reset_stats(&mut self, key: &LinkKey) -> Result<ResetStatsOutcome, StoreError> {
        let Some((slot, link)) = self.links.find(key)? else { return Ok(ResetStatsOutcome::NotFound) };
        self.counters.forget(slot);
        self.changes.get_mut().counted(slot);
        Ok(ResetStatsOutcome::Edited(Box::new((*link).clone())))
    }

    fn use_visit(&mut self, key: &LinkKey) -> Result<UseVisitOutcome, StoreError> {
        let Some((slot, link)) = self.links.find(key)? else { return Ok(UseVisitOutcome::NotFound) };
        Ok(match link.spec.visits_left(self.used_visits.of(slot)) {
            None => UseVisitOutcome::Done,
            Some(0) => UseVisitOutcome::Exhausted,
            Some(left) => {
                self.used_visits.add(slot);
                // Its state changes with the last one.
                if left == 1 {
                    self.changes.get_mut().link(key.hash());
                }
                UseVisitOutcome::Done
            }
        })
    }

    fn apply_one(&mut self, index: u64, at: UnixMs, command: &ShardCommand) -> Result<ShardOutcome, StoreError> {
        Ok(match command {
            ShardCommand::Create(create) => create.answered(self.create(index, at, create)?),
            ShardCommand::Edit(edit) => edit.answered(self.edit(index, at, edit)?),
            ShardCommand::Delete(delete) => delete.answered(self.delete(delete)?),
            ShardCommand::RemoveExpired(expired) => expired.answered(self.remove_expired(expired)?),
            ShardCommand::RecordClicks(clicks) => clicks.answered(self.record_clicks(&clicks.0)),
            ShardCommand::ResetStats(reset) => reset.answered(self.reset_stats(&reset.key)?),
            ShardCommand::EndJournals(end) => end.answered(self.end_journals(end)),
            ShardCommand::UseVisit(visit) => visit.answered(self.use_visit(&visit.key)?),
        })
    }

    fn remove(&mut self, slot: u32, link: &Link) {
        self.links.remove(slot, link);
        self.counters.forget(slot);
        self.histories.forget(slot);
        self.used_visits.forget(slot);
        self.changed(&link.key);
    }

    fn changed(&mut self, key: &LinkKey) {
        self.changes.get_mut().link(key.hash());
        if let Some(listener) = &self.on_change {
            listener(Some(key));
        }
    }
}

impl Machine for ShardMachine {
    type Command = ShardCommand;
    type Prepared = CountersPrepared;
    type Outcome = ShardOutcome;

    fn open(tree: Tree) -> Result<(Self, Option<Vec<u8>>), StoreError> {
        Self::read(tree)
    }

    fn reopen(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        let (machine, position) = Self::read(self.tree.clone())?;
        let (listener, fold_by) = (self.on_change.take(), self.fold_by.take());
        let changed_days = self.counters.changed_days.replaced();
        *self = machine;
        self.counters.changed_days = changed_days;
        self.changes = Mutex::new(Changes::anything());
        self.on_change = listener;
        self.fold_by = fold_by;
        if let Some(listener) = &self.on_change {
            listener(None);
        }
        Ok(position)
    }

    fn apply(&mut self, index: u64, batch: &Batch<ShardCommand>) -> Result<Vec<ShardOutcome>, StoreError> {
        if self.level == Level::BASE && batch.level > Level::BASE {
            self.idempotency.forget_old(self.applied_at);
        }
        self.level = self.level.max(batch.level);
        // Order is the index. Since level 1 a time may step back, so that a clock that jumped ahead is forgotten when it is right again.
        self.applied_at = if self.level >= Level::ONE { batch.at } else { self.applied_at.max(batch.at) };
        let at = self.applied_at;
        batch.commands.iter().map(|command| self.apply_one(index, at, command)).collect()
    }

    fn level(&self) -> Level {
        self.level
    }

    fn link_count(&self) -> u64 {
        self.links.len() as u64
    }

    fn pending_bytes(&self) -> u64 {
        self.links.pending_bytes()
            + self.counters.pending_bytes()
            + self.histories.pending_bytes()
            + self.used_visits.pending_bytes()
            + self.idempotency.pending_bytes()
    }

    fn prepare(&self) -> Result<CountersPrepared, StoreError> {
        let now = self.fold_by.as_ref().map_or(Some(self.applied_at), |time| time());
        self.counters.prepare(self.applied_at, now)
    }

    fn write(&mut self, prepared: CountersPrepared, position: &[u8]) -> Result<(), StoreError> {
        let CountersPrepared { mut batch, then } = prepared;
        self.links.write(&mut batch)?;
        self.histories.write(&mut batch)?;
        self.counters.write(then, &mut batch);
        self.used_visits.write(&self.tree, &mut batch);
        self.idempotency.checkpoint(&self.tree, &mut batch);
        let record = MetaRecord {
            position: position.to_vec(),
            next_block: self.links.next_block(),
            meta: self.counters.meta(self.applied_at),
            level: self.level,
        };
        batch.insert(META_KEY, record.seal(&self.tree));
        self.tree.apply(batch)
    }

    fn tree(&self) -> &Tree {
        &self.tree
    }
}
