//! Sealing: what is deferred until a chunk of rows is there, in steps that are short enough to come between two batches.
//!
//! The rows of the chunk are put into each order, sorted; then their postings are written, and they leave the tail. Until that last step readers ignore what is
//! there of the chunk already, so a crash between two steps only has the steps made again.

use std::collections::BTreeMap;

use parking_lot::RwLock;
use rusqlite::{CachedStatement, Connection, params};

use crate::bits::{Bits, CHUNK, List};
use crate::changes::Changed;
use crate::error::CatalogError;
use crate::keys::{Key, Values};
use crate::orders::{self, ORDERS, stored_hash};
use crate::postings::{Part, PartKey};
use crate::row::{Row, Value};
use crate::tail::Tail;
use crate::words::each_gram;
use crate::writer::{Fill, Phase, Writer};

/// A chunk ends early if its rows take so much memory: notes and URLs may be long.
const CHUNK_BYTES_MAX: usize = 16 << 20;

/// More rows than these wait until the chunk is sealed.
const TAIL_BYTES_MAX: usize = CHUNK_BYTES_MAX + (4 << 20);

/// The most postings that are removed in one step: other writers wait for no longer.
const POSTINGS_AT_ONCE: i64 = 16_384;

/// What a table has of a row: the value by which it is ordered, the hash of its key, and its number.
type Entry<'a> = (Value<'a>, i64, i64);

impl Writer {
    /// Whether more than a chunk waits for being sealed, so that it must not wait for longer.
    pub fn is_behind(&self, tail: &RwLock<Tail>) -> bool {
        self.next_id >= (self.sealed + 2) * CHUNK || tail.read().bytes() > TAIL_BYTES_MAX
    }

    /// Makes one step of deferred work. Returns whether there is more.
    pub fn step(&mut self, tail: &RwLock<Tail>) -> Result<bool, CatalogError> {
        self.refresh(tail)?;
        let is_full = |tail: &Tail| tail.len() >= self.chunk_links || tail.bytes() > CHUNK_BYTES_MAX;
        if is_full(&tail.read()) {
            self.next_id = self.next_id.max((self.sealed + 1) * CHUNK);
        }
        match self.phase.clone() {
            None if self.next_id >= (self.sealed + 1) * CHUNK => {
                let next_id = self.next_id;
                self.transaction(tail, |conn, _| {
                    conn.prepare_cached("UPDATE state SET value = 1 WHERE name = 'sealing'")?.execute([])?;
                    Ok(Changed { next_id, ..Changed::default() })
                })?;
                self.phase = Some(Phase::Order(0));
            }
            None => return self.renumber(tail),
            Some(Phase::Order(at)) => {
                let order = ORDERS[at];
                self.put(
                    tail,
                    |row| orders::stands_in(order, row).then(|| row.value(order)),
                    |conn, entries| {
                        let mut insert = orders::Insert::into(conn, order)?;
                        entries.iter().try_for_each(|(value, hash, id)| insert.row(*value, *hash, *id))
                    },
                )?;
                self.phase = Some(if at + 1 < ORDERS.len() { Phase::Order(at + 1) } else { Phase::Hashes });
            }
            Some(Phase::Hashes) => {
                self.put(
                    tail,
                    |_| Some(Value::Number(0)),
                    |conn, entries| {
                        let mut put =
                            conn.prepare_cached("INSERT OR REPLACE INTO by_hash(hash, id) VALUES (?1, ?2)")?;
                        entries.iter().try_for_each(|(_, hash, id)| put.execute([hash, id]).map(|_| ()))?;
                        Ok(())
                    },
                )?;
                self.phase = Some(Phase::Tags(None));
            }
            Some(Phase::Tags(from)) => {
                let next = self.put_part(tail, from, |row, doc, part| {
                    row.folded_tags().for_each(|tag| part.add(tag, doc));
                })?;
                self.phase = Some(next.map_or(Phase::Grams(None), |next| Phase::Tags(Some(next))));
            }
            Some(Phase::Grams(from)) => {
                let next = self.put_part(tail, from, |row, doc, part| {
                    each_gram(&row.text, |gram| part.add(gram, doc));
                })?;
                self.phase = Some(next.map_or(Phase::Sets, |next| Phase::Grams(Some(next))));
            }
            Some(Phase::Sets) => self.finish(tail)?,
        }
        Ok(true)
    }

    /// Puts the rows of the chunk into a table, in its order.
    fn put(
        &mut self,
        tail: &RwLock<Tail>,
        value: impl Fn(&Row) -> Option<Value<'_>>,
        insert: impl Fn(&Connection, &[Entry<'_>]) -> Result<(), CatalogError>,
    ) -> Result<(), CatalogError> {
        let (end, next_id) = ((self.sealed + 1) * CHUNK, self.next_id);
        self.transaction(tail, |conn, tail| {
            let entries = tail.rows_before(end).filter_map(|(id, row)| Some((value(row)?, stored_hash(row.hash), id)));
            let mut entries: Vec<Entry<'_>> = entries.collect();
            entries.sort_unstable();
            insert(conn, &entries)?;
            Ok(Changed { next_id, ..Changed::default() })
        })?;
        Ok(())
    }

    /// Writes the postings of some keys, from one on. Returns the one at which the next step begins.
    fn put_part<K: PartKey>(
        &mut self,
        tail: &RwLock<Tail>,
        from: Option<K>,
        add: impl Fn(&Row, u16, &mut Part<K>),
    ) -> Result<Option<K>, CatalogError> {
        let (chunk, end, next_id) = (self.sealed, (self.sealed + 1) * CHUNK, self.next_id);
        let room = self.postings_bytes;
        let mut next = None;
        self.transaction(tail, |conn, tail| {
            let mut part = Part::new(from, room);
            tail.rows_before(end).for_each(|(id, row)| add(row, (id % CHUNK) as u16, &mut part));
            let mut put = Put::into(conn, chunk)?;
            next = part.each(|key, docs| put.posting(key, docs))?;
            Ok(Changed { next_id, ..Changed::default() })
        })?;
        Ok(next)
    }

    /// Writes the other postings of the chunk, which leaves the tail. They are of this moment, as the rows are that a search finds: those of tags and grams
    /// may have rows that were removed since.
    fn finish(&mut self, tail: &RwLock<Tail>) -> Result<(), CatalogError> {
        let (chunk, end, next_id) = (self.sealed, (self.sealed + 1) * CHUNK, self.next_id);
        let mut links = 0;
        self.transaction(tail, |conn, tail| {
            let mut put = Put::into(conn, chunk)?;
            Postings::of(tail.rows_before(end)).each(|key, docs| put.posting(key, docs))?;
            links = tail.rows_before(end).count() as i64;
            let created = || tail.rows_before(end).map(|(_, row)| row.created as i64);
            if let (Some(min), Some(max)) = (created().min(), created().max()) {
                let mut put = conn.prepare_cached("INSERT INTO chunks VALUES (?1, ?2, ?2, ?3, ?4)")?;
                put.execute([chunk, links, min, max])?;
            }
            conn.prepare_cached("UPDATE state SET value = ?1 WHERE name = 'sealed'")?.execute([chunk + 1])?;
            conn.prepare_cached("UPDATE state SET value = 0 WHERE name = 'sealing'")?.execute([])?;
            Ok(Changed { next_id, sealed_end: Some(end), ..Changed::default() })
        })?;
        if links > 0 {
            self.chunks.insert(chunk, Fill { links, sealed_links: links });
        }
        (self.sealed, self.phase) = (chunk + 1, None);
        Ok(())
    }

    /// Gives rows of a chunk that has lost half of its rows new numbers, and drops its postings once it has none: they would be searched for nothing.
    fn renumber(&mut self, tail: &RwLock<Tail>) -> Result<bool, CatalogError> {
        let sparse = self.chunks.iter().find(|(_, fill)| fill.links * 2 < fill.sealed_links);
        let Some((chunk, fill)) = sparse.map(|(chunk, fill)| (*chunk, *fill)) else { return Ok(false) };
        if fill.links == 0 {
            let next_id = self.next_id;
            let mut are_gone = false;
            self.transaction(tail, |conn, _| {
                let mut remove = conn.prepare_cached(
                    "DELETE FROM postings WHERE chunk = ?1 AND key IN (SELECT key FROM postings WHERE chunk = ?1 LIMIT ?2)",
                )?;
                are_gone = (remove.execute([chunk, POSTINGS_AT_ONCE])? as i64) < POSTINGS_AT_ONCE;
                if are_gone {
                    conn.prepare_cached("DELETE FROM chunks WHERE chunk = ?1")?.execute([chunk])?;
                }
                Ok(Changed { next_id, ..Changed::default() })
            })?;
            if are_gone {
                self.chunks.remove(&chunk);
            }
            return Ok(true);
        }
        let live: Vec<u8> = self.conn.query_row(
            "SELECT docs FROM postings WHERE chunk = ?1 AND key = ?2",
            params![chunk, Key::Live.bytes()],
            |row| row.get(0),
        )?;
        let moved: Vec<i64> =
            Bits::of_stored(&live)?.iter().take(self.rows_at_once).map(|doc| chunk * CHUNK + i64::from(doc)).collect();
        // Writing a row counts as seeing it; but a scan has not seen these.
        let scans = std::mem::take(&mut self.scans);
        let renumbered = self.change(tail, |_, changes| {
            for id in &moved {
                let row = changes.row(*id)?.ok_or_else(|| CatalogError::damaged("a row is missing"))?;
                changes.renumber(*id, row)?;
            }
            Ok(())
        });
        self.scans = scans;
        for ((shard, id), old) in renumbered?.into_iter().zip(moved) {
            if let Some(seen) = self.scans.get_mut(&shard)
                && seen.has(old)
            {
                seen.insert(id);
            }
        }
        Ok(true)
    }
}

/// Writes postings of a chunk.
struct Put<'a> {
    statement: CachedStatement<'a>,
    chunk: i64,
}

impl<'a> Put<'a> {
    fn into(conn: &'a Connection, chunk: i64) -> Result<Self, CatalogError> {
        let sql = "INSERT OR REPLACE INTO postings(chunk, key, docs) VALUES (?1, ?2, ?3)";
        Ok(Self { statement: conn.prepare_cached(sql)?, chunk })
    }

    fn posting(&mut self, key: &[u8], docs: &[u8]) -> Result<(), CatalogError> {
        self.statement.execute(params![self.chunk, key, docs])?;
        Ok(())
    }
}

/// The postings of a chunk, apart from those of tags and grams.
#[derive(Default)]
struct Postings {
    sets: BTreeMap<Vec<u8>, List>,
    created: Values,
    since: Values,
    until: Values,
}

impl Postings {
    fn of<'a>(rows: impl Iterator<Item = (i64, &'a Row)>) -> Self {
        let mut postings = Self::default();
        for (id, row) in rows {
            let doc = (id % CHUNK) as u16;
            Key::each(row, |key| postings.sets.entry(key).or_default().push(doc));
            postings.created.push(doc, row.created);
            row.since().into_iter().for_each(|since| postings.since.push(doc, since));
            row.until().into_iter().for_each(|until| postings.until.push(doc, until));
        }
        postings
    }

    /// Calls `write` with each key and its stored form.
    fn each(self, mut write: impl FnMut(&[u8], &[u8]) -> Result<(), CatalogError>) -> Result<(), CatalogError> {
        self.sets.iter().try_for_each(|(key, list)| write(key, &list.encode()))?;
        for (key, values) in [(Key::Created, self.created), (Key::Since, self.since), (Key::Until, self.until)] {
            values.encode().map_or(Ok(()), |values| write(&key.bytes(), &values))?;
        }
        Ok(())
    }
}
