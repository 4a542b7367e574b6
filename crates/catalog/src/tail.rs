//! The tail: the newest rows, in memory until their chunk is sealed. They are stored like all rows, but stand in no order and no posting.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;

use crate::row::Row;

/// Room is made for so many rows at a time: more would be memory for nothing.
const GROWTH: usize = 2_048;

/// The newest rows.
///
/// Invariant: the rows are in the order of their numbers. `by_hash` has the numbers of those that are there; the places of the others are empty.
#[derive(Debug, Default)]
pub struct Tail {
    rows: VecDeque<(i64, Option<Row>)>,
    by_hash: HashMap<u64, i64, RandomState>,
    bytes: usize,
}

/// What a transaction makes of the tail, by the hash of the key: the row with its number, or nothing.
pub type TailChanges = HashMap<u64, Option<(i64, Row)>, RandomState>;

impl Tail {
    /// Adds a row: a new one behind the others, or another one with the same number.
    pub fn insert(&mut self, id: i64, row: Row) {
        self.remove(row.hash);
        self.bytes += row.bytes();
        self.by_hash.insert(row.hash, id);
        match self.rows.binary_search_by_key(&id, |(id, _)| *id) {
            Ok(at) => self.rows[at].1 = Some(row),
            Err(at) => {
                if self.rows.len() == self.rows.capacity() {
                    self.rows.reserve_exact(GROWTH);
                }
                self.rows.insert(at, (id, Some(row)));
            }
        }
    }

    fn at(&self, id: i64) -> Option<usize> {
        self.rows.binary_search_by_key(&id, |(id, _)| *id).ok()
    }

    fn remove(&mut self, hash: u64) {
        let place = self.by_hash.remove(&hash).and_then(|id| self.at(id));
        if let Some(row) = place.and_then(|at| self.rows[at].1.take()) {
            self.bytes -= row.bytes();
        }
    }

    /// Makes the changes of a transaction.
    pub fn change(&mut self, changes: TailChanges) {
        let mut new = Vec::new();
        for (hash, row) in changes {
            match row {
                Some(row) => new.push(row),
                None => self.remove(hash),
            }
        }
        // In the order of the numbers, so that each is put at the end.
        new.sort_unstable_by_key(|(id, _)| *id);
        new.into_iter().for_each(|(id, row)| self.insert(id, row));
    }

    /// Drops the rows before this number: their chunk is sealed.
    pub fn sealed(&mut self, end: i64) {
        while self.rows.front().is_some_and(|(id, _)| *id < end) {
            if let Some((_, Some(row))) = self.rows.pop_front() {
                self.by_hash.remove(&row.hash);
                self.bytes -= row.bytes();
            }
        }
        self.rows.shrink_to(self.rows.len() + GROWTH);
    }

    /// The row of a key, with its number.
    pub fn get(&self, hash: u64) -> Option<(i64, &Row)> {
        let id = *self.by_hash.get(&hash)?;
        Some((id, self.rows[self.at(id)?].1.as_ref()?))
    }

    /// The rows in the order of their numbers.
    pub fn rows(&self) -> impl DoubleEndedIterator<Item = (i64, &Row)> {
        self.rows.iter().filter_map(|(id, row)| Some((*id, row.as_ref()?)))
    }

    /// The rows before this number.
    pub fn rows_before(&self, end: i64) -> impl Iterator<Item = (i64, &Row)> {
        self.rows().take_while(move |(id, _)| *id < end)
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.by_hash.len()
    }

    /// About the memory that they take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The largest number of a row.
    pub fn last(&self) -> Option<i64> {
        self.rows().next_back().map(|(id, _)| id)
    }
}
