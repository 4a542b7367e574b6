//! How many visits of limited links are used, since level 3. Other links have no entry.
//!
//! The counts of visits (`counters.rs`) come from the journals, some seconds late; these are commands, so that no visitor is sent to a target
//! without one. A count belongs to the slot of its link, which is private to a replica, like everything that is stored by slot.
//!
//! | key | record |
//! |---|---|
//! | `u` + page | slots and used visits of the limited links among 256 slots; there is none without any |

use std::collections::{BTreeMap, BTreeSet};

use super::record::{decode, encode, number_of, numbered, open_record, seal_record};
use crate::{Batch, StoreError, Tree};

const PREFIX: u8 = b'u';

/// Slots that share a record: with 15 bytes each it stays near the size of a block.
const SLOTS_PER_PAGE: u32 = 256;

/// The weight of a changed page: about its size if a quarter of its links are limited.
const PAGE_WEIGHT: u64 = 512;

/// The used visits of all limited links.
#[derive(Default)]
pub(super) struct UsedVisits {
    /// By slot. Never 0.
    used: BTreeMap<u32, u64>,
    /// Pages that have changed since the last checkpoint.
    changed: BTreeSet<u32>,
}

impl UsedVisits {
    /// Reads them from a tree.
    ///
    /// # Errors
    /// When a record is damaged.
    pub(super) fn open(tree: &Tree) -> Result<Self, StoreError> {
        let mut found = Self::default();
        for entry in tree.scan_prefix(&[PREFIX]) {
            let (key, value) = entry?;
            let page: Vec<(u32, u64)> = decode("used visits", open_record(tree, &key, &value)?)?;
            if let Some((slot, _)) = page.iter().find(|(slot, _)| page_of(*slot) != number_of(&key)) {
                return Err(StoreError::Corrupt {
                    what: format!("{} used visits {}", tree.name(), number_of(&key)),
                    detail: format!("slot {slot} is not of this page"),
                });
            }
            found.used.extend(page);
        }
        Ok(found)
    }

    /// How many are used by the link in a slot.
    pub(super) fn of(&self, slot: u32) -> u64 {
        self.used.get(&slot).copied().unwrap_or(0)
    }

    /// Uses one more of the link in a slot.
    pub(super) fn add(&mut self, slot: u32) {
        *self.used.entry(slot).or_default() += 1;
        self.changed.insert(page_of(slot));
    }

    /// Forgets those of a slot, whose link is gone or has no limit any more.
    pub(super) fn forget(&mut self, slot: u32) {
        if self.used.remove(&slot).is_some() {
            self.changed.insert(page_of(slot));
        }
    }

    /// About how many bytes [`UsedVisits::write`] has to write.
    pub(super) fn pending_bytes(&self) -> u64 {
        self.changed.len() as u64 * PAGE_WEIGHT
    }

    /// Writes what has changed since the last checkpoint.
    pub(super) fn write(&mut self, tree: &Tree, batch: &mut Batch) {
        for page in std::mem::take(&mut self.changed) {
            let key = numbered(PREFIX, page);
            let slots = page * SLOTS_PER_PAGE..=page * SLOTS_PER_PAGE + (SLOTS_PER_PAGE - 1);
            let used: Vec<(u32, u64)> = self.used.range(slots).map(|(slot, used)| (*slot, *used)).collect();
            match used.is_empty() {
                true => batch.remove(&key),
                false => batch.insert(&key, seal_record(tree, &key, &encode(&used))),
            }
        }
    }
}

fn page_of(slot: u32) -> u32 {
    slot / SLOTS_PER_PAGE
}
