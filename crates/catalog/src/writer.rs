//! The one writer of a catalog: its transactions, and what it knows of the file.

use std::collections::{BTreeMap, HashMap};

use parking_lot::RwLock;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use waypost_protocol::ShardId;

use crate::bits::CHUNK;
use crate::changes::{Bounds, Changed, Changes};
use crate::error::CatalogError;
use crate::row::Row;
use crate::schema::Log;
use crate::tail::Tail;
use crate::types::{Options, ShardBatch};
use crate::words::Gram;

/// So much of the texts of a batch is written in one transaction, about: what it changes is in memory until it ends.
const PART_BYTES: usize = 512 << 10;

/// The writer.
pub struct Writer {
    pub(crate) conn: Connection,
    pub(crate) next_id: i64,
    /// A chunk ends when it has so many rows.
    pub(crate) chunk_links: usize,
    /// The memory for postings while a chunk is sealed.
    pub(crate) postings_bytes: usize,
    /// The most rows that are removed, or get new numbers, in one transaction.
    pub(crate) rows_at_once: usize,
    /// How many chunks are sealed.
    pub(crate) sealed: i64,
    /// What is next of the chunk that is being sealed.
    pub(crate) phase: Option<Phase>,
    /// The sealed chunks that have rows: how many, and how many they had.
    pub(crate) chunks: BTreeMap<i64, Fill>,
    /// The scans that are under way.
    pub(crate) scans: HashMap<u32, Seen>,
    log: Log,
    /// A transaction failed, so what is known has to be read again.
    stale: bool,
}

/// A step of sealing (`seal.rs`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// The n-th order.
    Order(usize),
    /// The rows by the hashes of their keys.
    Hashes,
    /// The postings of tags, from one on.
    Tags(Option<String>),
    /// Those of grams, from one on.
    Grams(Option<Gram>),
    /// The other postings, and the end.
    Sets,
}

/// How full a chunk is.
#[derive(Debug, Clone, Copy)]
pub struct Fill {
    /// Its rows.
    pub links: i64,
    /// The rows that it was sealed with.
    pub sealed_links: i64,
}

/// The numbers of rows that a scan has seen.
#[derive(Debug, Default)]
pub struct Seen(Vec<u64>);

impl Seen {
    /// Adds a row.
    pub fn insert(&mut self, id: i64) {
        let at = (id / 64) as usize;
        if at >= self.0.len() {
            self.0.resize(at + 1, 0);
        }
        self.0[at] |= 1 << (id % 64);
    }

    /// Whether a row was seen.
    pub fn has(&self, id: i64) -> bool {
        self.0.get((id / 64) as usize).is_some_and(|word| word >> (id % 64) & 1 == 1)
    }
}

impl Writer {
    /// The writer of an open file, and the tail of that file.
    pub fn new(conn: Connection, log: &Log, options: &Options) -> Result<(Self, Tail), CatalogError> {
        let mut writer = Self {
            conn,
            next_id: 0,
            chunk_links: options.chunk_links,
            postings_bytes: options.postings_bytes,
            rows_at_once: options.rows_at_once.max(1),
            sealed: 0,
            phase: None,
            chunks: BTreeMap::new(),
            scans: HashMap::new(),
            log: log.clone(),
            stale: false,
        };
        let tail = writer.read()?;
        Ok((writer, tail))
    }

    /// Reads what is known of the file.
    fn read(&mut self) -> Result<Tail, CatalogError> {
        let conn = &self.conn;
        let state = |name: &str| -> Result<i64, CatalogError> {
            Ok(conn.query_row("SELECT value FROM state WHERE name = ?1", [name], |row| row.get(0))?)
        };
        // A chunk of which some rows stand in orders already is sealed from the beginning.
        let (sealed, is_sealing) = (state("sealed")?, state("sealing")? != 0);
        let mut chunks = BTreeMap::new();
        let mut read = conn.prepare("SELECT chunk, links, sealed_links FROM chunks")?;
        let mut rows = read.query([])?;
        while let Some(row) = rows.next()? {
            chunks.insert(row.get(0)?, Fill { links: row.get(1)?, sealed_links: row.get(2)? });
        }
        let mut tail = Tail::default();
        let mut read = conn.prepare("SELECT id, data FROM links WHERE id >= ?1")?;
        let mut rows = read.query([sealed * CHUNK])?;
        while let Some(row) = rows.next()? {
            tail.insert(row.get(0)?, Row::decode(row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?)?);
        }
        drop(rows);
        drop(read);
        let phase = is_sealing.then_some(Phase::Order(0));
        let first = (sealed + i64::from(is_sealing)) * CHUNK;
        let next_id = tail.last().map_or(first, |last| first.max(last + 1));
        (self.sealed, self.chunks, self.phase, self.next_id) = (sealed, chunks, phase, next_id);
        Ok(tail)
    }

    /// Makes sure that what is known is what is in the file.
    pub fn refresh(&mut self, tail: &RwLock<Tail>) -> Result<(), CatalogError> {
        if self.stale {
            let read = self.read()?;
            *tail.write() = read;
            self.stale = false;
        }
        Ok(())
    }

    /// Bounds the file to a number of pages.
    pub fn limit_pages(&self, pages: u32) -> Result<(), CatalogError> {
        self.conn.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?;
        Ok(())
    }

    /// Where the rows are.
    pub fn bounds(&self) -> Bounds {
        let sealing = i64::from(self.phase.is_some());
        Bounds { next_id: self.next_id, sealed_end: self.sealed * CHUNK, ordered_end: (self.sealed + sealing) * CHUNK }
    }

    /// Makes changes in one transaction. Readers see the file and the tail change together.
    pub fn change(
        &mut self,
        tail: &RwLock<Tail>,
        make: impl FnOnce(&Connection, &mut Changes<'_>) -> Result<(), CatalogError>,
    ) -> Result<Vec<(u32, i64)>, CatalogError> {
        self.refresh(tail)?;
        let bounds = self.bounds();
        self.transaction(tail, |conn, tail| {
            let mut changes = Changes::new(conn, tail, bounds);
            make(conn, &mut changes)?;
            changes.finish()
        })
    }

    /// Makes changes in one transaction, and takes over what they tell.
    pub(crate) fn transaction(
        &mut self,
        tail: &RwLock<Tail>,
        make: impl FnOnce(&Connection, &Tail) -> Result<Changed, CatalogError>,
    ) -> Result<Vec<(u32, i64)>, CatalogError> {
        if self.log.pages() == 0 {
            self.begin_log()?;
        }
        // Until the end of this function, the file may have more than what is known, even if the commit fails.
        self.stale = true;
        // One that has read already, and then wants to write, is refused at once while whoever writes the log into the file has a lock. One that begins
        // as a writer waits for it.
        let transaction = Transaction::new_unchecked(&self.conn, TransactionBehavior::Immediate)?;
        let known = tail.read();
        let changed = make(&transaction, &known);
        drop(known);
        let changed = match changed {
            Ok(changed) => changed,
            Err(error) => {
                // Nothing was committed; a roll-back that fails leaves the rest to the next reading.
                self.stale = transaction.rollback().is_err();
                return Err(error);
            }
        };
        let mut tail = tail.write();
        transaction.commit()?;
        tail.change(changed.tail);
        if let Some(end) = changed.sealed_end {
            tail.sealed(end);
        }
        drop(tail);
        self.next_id = changed.next_id;
        for (chunk, links) in changed.removed {
            if let Some(fill) = self.chunks.get_mut(&chunk) {
                fill.links -= links;
            }
        }
        for (shard, id) in &changed.seen {
            if let Some(seen) = self.scans.get_mut(shard) {
                seen.insert(*id);
            }
        }
        self.stale = false;
        Ok(changed.seen)
    }

    /// Changes something that no reader looks at. The first commit of a log that begins anew waits for the disk, and readers would wait for a commit that changes rows.
    fn begin_log(&self) -> Result<(), CatalogError> {
        let mut begin = self.conn.prepare_cached(
            "INSERT INTO state(name, value) VALUES ('logs', 1) ON CONFLICT DO UPDATE SET value = value + 1",
        )?;
        begin.execute([])?;
        Ok(())
    }

    /// Writes a batch, in as many transactions as its texts need.
    pub fn write(&mut self, tail: &RwLock<Tail>, batch: &ShardBatch) -> Result<(), CatalogError> {
        let (mut changed, mut removed) = (batch.changed.iter(), &batch.removed[..]);
        let mut is_over = false;
        while !is_over {
            self.change(tail, |conn, changes| {
                for hash in std::mem::take(&mut removed) {
                    changes.remove(hash.0)?;
                }
                let mut bytes = 0;
                for changed in changed.by_ref() {
                    let row = Row::of(batch.shard, changed);
                    bytes += row.bytes();
                    changes.write(row)?;
                    if bytes > PART_BYTES {
                        return Ok(());
                    }
                }
                is_over = true;
                end_batch(conn, changes, batch)
            })?;
            while self.is_behind(tail) && self.step(tail)? {}
        }
        Ok(())
    }
}

/// Writes what follows the links of a batch.
fn end_batch(conn: &Connection, changes: &mut Changes<'_>, batch: &ShardBatch) -> Result<(), CatalogError> {
    for (hash, counts) in &batch.counts {
        changes.count(hash.0, *counts)?;
    }
    know(conn, batch.shard)?;
    if let Some(position) = batch.position {
        let mut set =
            conn.prepare_cached("UPDATE shards SET position = ?2 WHERE shard = ?1 AND position IS NOT NULL")?;
        set.execute(params![batch.shard.0, position as i64])?;
    }
    Ok(())
}

/// Makes sure that a shard is known. It is incomplete until it has a position.
pub fn know(conn: &Connection, shard: ShardId) -> Result<(), CatalogError> {
    conn.prepare_cached("INSERT OR IGNORE INTO shards(shard) VALUES (?1)")?.execute([shard.0])?;
    Ok(())
}
