//! The changes of one transaction: statements that are made at once, and what is written or told when all are known.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, OptionalExtension, params};
use waypost_protocol::listing::SortKey;
use waypost_protocol::properties::Tags;

use crate::bits::{Bits, CHUNK};
use crate::error::CatalogError;
use crate::keys::Key;
use crate::orders::{self, ORDERS, stored_hash};
use crate::row::Row;
use crate::tail::{Tail, TailChanges};

/// Where the rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bounds {
    /// The number of the next row.
    pub next_id: i64,
    /// Rows below stand in orders and postings, and not in the tail.
    pub sealed_end: i64,
    /// Rows below may stand in orders: those of the chunk that is being sealed, too.
    pub ordered_end: i64,
}

/// The changes of one transaction.
pub struct Changes<'a> {
    conn: &'a Connection,
    tail: &'a Tail,
    bounds: Bounds,
    /// What becomes of the tail.
    overlay: TailChanges,
    /// Rows that leave a set of their chunk, or join it.
    marks: BTreeMap<(i64, Vec<u8>), HashMap<u16, bool>>,
    tags: BTreeMap<Tagged, i64>,
    removed: BTreeMap<i64, i64>,
    /// Rows that were written or found unchanged, with their shards.
    seen: Vec<(u32, i64)>,
}

/// What links are counted by: the tag in lower case, the domain, the shard, the tag as it is written.
type Tagged = (String, u32, u32, String);

/// What a transaction changed, beside the file.
#[derive(Debug, Default)]
pub struct Changed {
    /// The number of the next row.
    pub next_id: i64,
    /// What becomes of the tail.
    pub tail: TailChanges,
    /// The tail begins here from now on.
    pub sealed_end: Option<i64>,
    /// How many rows were removed from sealed chunks.
    pub removed: BTreeMap<i64, i64>,
    /// Rows that were written or found unchanged, with their shards.
    pub seen: Vec<(u32, i64)>,
}

impl<'a> Changes<'a> {
    /// No changes yet, in an open transaction.
    pub fn new(conn: &'a Connection, tail: &'a Tail, bounds: Bounds) -> Self {
        Self {
            conn,
            tail,
            bounds,
            overlay: TailChanges::default(),
            marks: BTreeMap::new(),
            tags: BTreeMap::new(),
            removed: BTreeMap::new(),
            seen: Vec::new(),
        }
    }

    /// The row of a key, with its number.
    fn find(&self, hash: u64) -> Result<Option<(i64, Row)>, CatalogError> {
        match self.overlay.get(&hash) {
            Some(Some((id, row))) => return Ok(Some((*id, row.clone()))),
            Some(None) => {}
            None => {
                if let Some((id, row)) = self.tail.get(hash) {
                    return Ok(Some((id, row.clone())));
                }
            }
        }
        let mut found = self.conn.prepare_cached("SELECT id FROM by_hash WHERE hash = ?1")?;
        let id: Option<i64> = found.query_row([stored_hash(hash)], |row| row.get(0)).optional()?;
        id.map(|id| Ok((id, self.row(id)?.ok_or_else(|| CatalogError::damaged("a row is missing"))?))).transpose()
    }

    /// The row with a number.
    pub fn row(&self, id: i64) -> Result<Option<Row>, CatalogError> {
        let mut found = self.conn.prepare_cached("SELECT data FROM links WHERE id = ?1")?;
        let mut rows = found.query([id])?;
        rows.next()?.map(|row| Row::decode(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?)).transpose()
    }

    /// Writes a row, whatever stood for its key before.
    pub fn write(&mut self, row: Row) -> Result<(), CatalogError> {
        match self.find(row.hash)? {
            None => self.insert(row),
            Some((id, old)) if old == row => {
                self.seen.push((row.shard, id));
                Ok(())
            }
            Some((id, old)) if old.clone().counted_as(&row) == row && old.is_exhausted() == row.is_exhausted() => {
                self.recount(id, &old, row)
            }
            Some((id, old)) => {
                self.remove_row(id, &old)?;
                self.insert(row)
            }
        }
    }

    /// Changes the counts of a key, if it is listed.
    pub fn count(&mut self, hash: u64, counts: waypost_protocol::link::LinkCounts) -> Result<(), CatalogError> {
        let Some((_, mut row)) = self.find(hash)? else { return Ok(()) };
        row.count(counts);
        self.write(row)
    }

    /// Removes the row of a key, if it is listed.
    pub fn remove(&mut self, hash: u64) -> Result<(), CatalogError> {
        match self.find(hash)? {
            Some((id, row)) => self.remove_row(id, &row),
            None => Ok(()),
        }
    }

    /// Gives a row another number, at the end.
    pub fn renumber(&mut self, id: i64, row: Row) -> Result<(), CatalogError> {
        self.remove_row(id, &row)?;
        self.insert(row)
    }

    fn insert(&mut self, row: Row) -> Result<(), CatalogError> {
        let id = self.bounds.next_id;
        self.bounds.next_id += 1;
        self.conn.prepare_cached("INSERT INTO links(id, data) VALUES (?1, ?2)")?.execute(params![id, row.encode()])?;
        self.tag(&row, 1);
        self.seen.push((row.shard, id));
        self.overlay.insert(row.hash, Some((id, row)));
        Ok(())
    }

    fn remove_row(&mut self, id: i64, row: &Row) -> Result<(), CatalogError> {
        self.conn.prepare_cached("DELETE FROM links WHERE id = ?1")?.execute([id])?;
        self.tag(row, -1);
        if id < self.bounds.ordered_end {
            ORDERS.into_iter().try_for_each(|order| orders::remove(self.conn, order, row))?;
            self.conn.prepare_cached("DELETE FROM by_hash WHERE hash = ?1")?.execute([stored_hash(row.hash)])?;
        }
        if id < self.bounds.sealed_end {
            self.mark(id, Key::Live, false);
            *self.removed.entry(id / CHUNK).or_default() += 1;
        } else {
            self.overlay.insert(row.hash, None);
        }
        Ok(())
    }

    /// Changes the counts of a row, which keeps its number.
    fn recount(&mut self, id: i64, old: &Row, row: Row) -> Result<(), CatalogError> {
        self.seen.push((row.shard, id));
        self.conn.prepare_cached("UPDATE links SET data = ?2 WHERE id = ?1")?.execute(params![id, row.encode()])?;
        if id < self.bounds.ordered_end {
            for order in [SortKey::Visits, SortKey::LastVisit] {
                if old.value(order) != row.value(order) {
                    orders::remove(self.conn, order, old)?;
                    if orders::stands_in(order, &row) {
                        orders::Insert::into(self.conn, order)?.row(row.value(order), stored_hash(row.hash), id)?;
                    }
                }
            }
        }
        if id < self.bounds.sealed_end {
            for (key, was, is) in
                [(Key::Visited, old.visits > 0, row.visits > 0), (Key::Seen, old.last > 0, row.last > 0)]
            {
                if was != is {
                    self.mark(id, key, is);
                }
            }
        } else {
            self.overlay.insert(row.hash, Some((id, row)));
        }
        Ok(())
    }

    fn mark(&mut self, id: i64, key: Key<'_>, is: bool) {
        self.marks.entry((id / CHUNK, key.bytes())).or_default().insert((id % CHUNK) as u16, is);
    }

    fn tag(&mut self, row: &Row, links: i64) {
        for tag in row.tags() {
            *self.tags.entry((Tags::folded(tag), row.domain, row.shard, tag.to_owned())).or_default() += links;
        }
    }

    /// Writes what is written when all changes are known. The transaction stays open.
    pub fn finish(self) -> Result<Changed, CatalogError> {
        let mut add = self.conn.prepare_cached(
            "INSERT INTO tags(tag, domain, shard, spelling, links) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET links = links + excluded.links",
        )?;
        let mut clear = self.conn.prepare_cached(
            "DELETE FROM tags WHERE tag = ?1 AND domain = ?2 AND shard = ?3 AND spelling = ?4 AND links <= 0",
        )?;
        for ((tag, domain, shard, spelling), links) in self.tags.iter().filter(|(_, links)| **links != 0) {
            add.execute(params![tag, domain, shard, spelling, links])?;
            if *links < 0 {
                clear.execute(params![tag, domain, shard, spelling])?;
            }
        }
        for ((chunk, key), docs) in &self.marks {
            let mut read = self.conn.prepare_cached("SELECT docs FROM postings WHERE chunk = ?1 AND key = ?2")?;
            let stored: Option<Vec<u8>> = read.query_row(params![chunk, key], |row| row.get(0)).optional()?;
            let mut bits = stored.as_deref().map_or(Ok(Bits::none()), Bits::of_stored)?;
            for (doc, is) in docs {
                if *is { bits.insert(*doc) } else { bits.remove(*doc) }
            }
            let mut write =
                self.conn.prepare_cached("INSERT OR REPLACE INTO postings(chunk, key, docs) VALUES (?1, ?2, ?3)")?;
            write.execute(params![chunk, key, bits.encode()])?;
        }
        for (chunk, links) in &self.removed {
            let mut less = self.conn.prepare_cached("UPDATE chunks SET links = links - ?2 WHERE chunk = ?1")?;
            less.execute([chunk, links])?;
        }
        Ok(Changed {
            next_id: self.bounds.next_id,
            tail: self.overlay,
            sealed_end: None,
            removed: self.removed,
            seen: self.seen,
        })
    }
}
