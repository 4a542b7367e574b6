//! The tail: the newest rows, in memory until their chunk is sealed. They are stored like all rows, but stand in no order and no posting.

use std::collections::{BTreeMap, HashMap};

use crate::row::Row;

/// The newest rows.
#[derive(Debug, Default)]
pub struct Tail {
    rows: BTreeMap<i64, Row>,
    by_hash: HashMap<u64, i64>,
    bytes: usize,
}

/// What a transaction makes of the tail, by the hash of the key: the row with its number, or nothing.
pub type TailChanges = HashMap<u64, Option<(i64, Row)>>;

impl Tail {
    /// Adds a row.
    pub fn insert(&mut self, id: i64, row: Row) {
        self.remove(row.hash);
        self.bytes += row.bytes();
        self.by_hash.insert(row.hash, id);
        self.rows.insert(id, row);
    }

    fn remove(&mut self, hash: u64) {
        if let Some(row) = self.by_hash.remove(&hash).and_then(|id| self.rows.remove(&id)) {
            self.bytes -= row.bytes();
        }
    }

    /// Makes the changes of a transaction.
    pub fn change(&mut self, changes: TailChanges) {
        for (hash, row) in changes {
            match row {
                Some((id, row)) => self.insert(id, row),
                None => self.remove(hash),
            }
        }
    }

    /// Drops the rows before this number: their chunk is sealed.
    pub fn sealed(&mut self, end: i64) {
        let kept = self.rows.split_off(&end);
        for row in std::mem::replace(&mut self.rows, kept).into_values() {
            self.by_hash.remove(&row.hash);
            self.bytes -= row.bytes();
        }
    }

    /// The row of a key, with its number.
    pub fn get(&self, hash: u64) -> Option<(i64, &Row)> {
        let id = *self.by_hash.get(&hash)?;
        Some((id, self.rows.get(&id)?))
    }

    /// The rows in the order of their numbers.
    pub fn rows(&self) -> impl Iterator<Item = (i64, &Row)> {
        self.rows.iter().map(|(id, row)| (*id, row))
    }

    /// The rows before this number.
    pub fn rows_before(&self, end: i64) -> impl Iterator<Item = (i64, &Row)> {
        self.rows.range(..end).map(|(id, row)| (*id, row))
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// About the memory that they take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The largest number of a row.
    pub fn last(&self) -> Option<i64> {
        self.rows.last_key_value().map(|(id, _)| *id)
    }
}
