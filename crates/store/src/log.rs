//! The log of one group: entries by index, and a few named records, in the tree `log/<group>`.
//!
//! Entries are inserted one by one in the order of their index, not as a batch: sled recovers a prefix of the writes,
//! so no hole can arise, and a batch would take a process-wide lock.

use std::ops::Range;

use waypost_protocol::{open, seal};

use crate::{Batch, Db, StoreError, Tree};

const FORMAT: u8 = 1;
const ENTRY: u8 = b'e';
const META: u8 = b'm';

/// The number of entries removed in one batch when the log is purged.
const PURGE_BATCH: usize = 256;

/// The log of a group.
#[derive(Clone)]
pub struct LogStore {
    tree: Tree,
}

impl LogStore {
    /// Opens the log of a group; it is empty if the group is new.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn open(db: &Db, group: u32) -> Result<Self, StoreError> {
        Ok(Self { tree: db.tree(&format!("log/{group}"))? })
    }

    /// The name of the log's tree.
    pub fn name(&self) -> &str {
        self.tree.name()
    }

    /// Appends entries with increasing indexes. They can be read at once; they are durable after the next commit.
    ///
    /// # Errors
    /// If an entry is too large, or the store has failed.
    pub fn append(&self, entries: impl IntoIterator<Item = (u64, Vec<u8>)>) -> Result<(), StoreError> {
        for (index, bytes) in entries {
            let key = entry_key(index);
            self.tree.insert(&key, self.seal(&key, &bytes))?;
        }
        Ok(())
    }

    /// Reads the entries of a range, in order, up to about `max_bytes`, but at least one, if there is one.
    ///
    /// # Errors
    /// If an entry is damaged.
    pub fn read(&self, range: Range<u64>, max_bytes: usize) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        if range.is_empty() {
            return Ok(entries);
        }
        for record in self.tree.range(entry_key(range.start)..entry_key(range.end)) {
            let (key, value) = record?;
            let payload = self.open_sealed(&key, &value)?;
            bytes += payload.len();
            entries.push((index_of(&key), payload.to_vec()));
            if bytes >= max_bytes {
                break;
            }
        }
        Ok(entries)
    }

    /// Removes the entries from an index on, the last one first.
    ///
    /// # Errors
    /// If the store has failed.
    pub fn truncate_from(&self, index: u64) -> Result<(), StoreError> {
        let keys: Vec<_> =
            self.entries(index).rev().map(|record| record.map(|(key, _)| key)).collect::<Result<_, _>>()?;
        keys.iter().try_for_each(|key| self.tree.remove(key))
    }

    /// Removes the entries up to and including an index, in bounded batches.
    ///
    /// # Errors
    /// If the store has failed.
    pub fn purge_to(&self, index: u64) -> Result<(), StoreError> {
        loop {
            let mut batch = Batch::default();
            for record in self.tree.range(entry_key(0)..entry_key(index.saturating_add(1))).take(PURGE_BATCH) {
                batch.remove(&record?.0);
            }
            if batch.is_empty() {
                return Ok(());
            }
            self.tree.apply(batch)?;
        }
    }

    /// The index of the first entry.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn first_index(&self) -> Result<Option<u64>, StoreError> {
        self.entries(0).next().map(|record| record.map(|(key, _)| index_of(&key))).transpose()
    }

    /// The index of the last entry.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn last_index(&self) -> Result<Option<u64>, StoreError> {
        self.entries(0).next_back().map(|record| record.map(|(key, _)| index_of(&key))).transpose()
    }

    /// Sets a named record. Durable after the next commit.
    ///
    /// # Errors
    /// If the store has failed.
    pub fn put_meta(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let key = meta_key(name);
        self.tree.insert(&key, self.seal(&key, bytes))
    }

    /// Reads a named record.
    ///
    /// # Errors
    /// If it is damaged.
    pub fn get_meta(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let key = meta_key(name);
        let Some(value) = self.tree.get(&key)? else { return Ok(None) };
        self.open_sealed(&key, &value).map(|payload| Some(payload.to_vec()))
    }

    /// Checks every record. Returns the number of records, and a description of each damaged one.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn verify(&self) -> Result<(u64, Vec<String>), StoreError> {
        let mut records = 0;
        let mut damaged = Vec::new();
        for record in self.tree.scan_prefix(b"") {
            let (key, value) = record?;
            records += 1;
            if let Err(error) = self.open_sealed(&key, &value) {
                damaged.push(error.to_string());
            }
        }
        Ok((records, damaged))
    }

    fn entries(&self, from: u64) -> impl DoubleEndedIterator<Item = Result<crate::tree::Record, StoreError>> + use<> {
        self.tree.range(entry_key(from)..=entry_key(u64::MAX))
    }

    fn seal(&self, key: &[u8], payload: &[u8]) -> Vec<u8> {
        seal(&self.context(key), FORMAT, payload)
    }

    fn open_sealed<'a>(&self, key: &[u8], value: &'a [u8]) -> Result<&'a [u8], StoreError> {
        let what = || match key.first() {
            Some(&ENTRY) => format!("{} entry {}", self.tree.name(), index_of(key)),
            _ => format!("{} record {}", self.tree.name(), String::from_utf8_lossy(key)),
        };
        match open(&self.context(key), value) {
            Ok((FORMAT, payload)) => Ok(payload),
            Ok((version, _)) => Err(StoreError::UnknownVersion { what: what(), version }),
            Err(error) => Err(StoreError::Corrupt { what: what(), detail: error.to_string() }),
        }
    }

    fn context(&self, key: &[u8]) -> Vec<u8> {
        [self.tree.name().as_bytes(), b"/", key].concat()
    }
}

fn entry_key(index: u64) -> Vec<u8> {
    let mut key = vec![ENTRY; 9];
    key[1..].copy_from_slice(&index.to_be_bytes());
    key
}

fn index_of(key: &[u8]) -> u64 {
    key.get(1..9).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes)
}

fn meta_key(name: &str) -> Vec<u8> {
    let mut key = vec![META];
    key.extend_from_slice(name.as_bytes());
    key
}
