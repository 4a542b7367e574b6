//! The catalog as others see it: one writer, a few readers, and a tail that both share.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::{Condvar, Mutex, RwLock};
use rusqlite::Connection;
use waypost_protocol::ShardId;
use waypost_protocol::listing::PageRequest;

use crate::bits::CHUNK;
use crate::error::{CatalogError, Reason};
use crate::find::View;
use crate::page::page;
use crate::schema::Files;
use crate::tags::tags;
use crate::tail::Tail;
use crate::types::{CatalogPage, Options, ShardBatch, Sizes, TagsPage, TagsRequest};
use crate::writer::Writer;

/// After so many links of a batch, a step of deferred work is made. Sealing has about twelve steps for a chunk of 32,768.
const LINKS_A_STEP: usize = 1_024;

/// A log of so many pages (16 MiB) is written into the file by [`Catalog::write_log`]: a page that changes often is then written once.
const LOG_PAGES: u32 = 4_096;

/// One of so many (32 MiB) is so in any case, and the next batch waits for that: nobody calls it, or more is written than the disk keeps up with.
const LOG_PAGES_MAX: u32 = 2 * LOG_PAGES;

/// After so many steps of SQLite's machine, a reading looks at the clock: some tens of microseconds.
const STEPS_A_LOOK: i32 = 1_000;

/// The catalog of a node. A clone is the same catalog.
#[derive(Clone)]
pub struct Catalog {
    shared: Arc<Shared>,
    until: Option<Instant>,
}

/// A catalog that was opened.
pub struct Opened {
    /// The catalog.
    pub catalog: Catalog,
    /// Why it began empty, if it did.
    pub began_anew: Option<Reason>,
}

struct Shared {
    files: Files,
    options: Options,
    /// Changes when the file is another one, so that readers of the old one are closed.
    era: AtomicU64,
    tail: RwLock<Tail>,
    idle: Mutex<Idle>,
    /// Writes the log into the file. With the era of its file.
    log_writer: Mutex<Option<(u64, Connection)>>,
    /// `None` after a beginning that failed. Dropped after the readers: the last one to close the file writes the log into it, which readers cannot.
    writer: Mutex<Option<Writer>>,
    returned: Condvar,
}

#[derive(Default)]
struct Idle {
    readers: Vec<(u64, Connection)>,
    used: usize,
}

impl Catalog {
    /// Opens the catalog in a directory, which nobody else may use. One that is damaged or of another version begins empty.
    ///
    /// # Errors
    /// If the disk is full, read-only or failing.
    pub fn open(dir: &Path, options: Options) -> Result<Opened, CatalogError> {
        let files = Files::of(dir)?;
        let (conn, mut began_anew) = files.open(options.writer_cache_bytes)?;
        let (writer, tail) = match Writer::new(conn, files.log(), &options) {
            Err(CatalogError::Damaged { what }) => {
                began_anew = Some(Reason::Damaged { what });
                Writer::new(files.create(options.writer_cache_bytes)?, files.log(), &options)?
            }
            opened => opened?,
        };
        let shared = Shared {
            files,
            options,
            era: AtomicU64::new(0),
            tail: RwLock::new(tail),
            writer: Mutex::new(Some(writer)),
            idle: Mutex::new(Idle::default()),
            log_writer: Mutex::new(None),
            returned: Condvar::new(),
        };
        Ok(Opened { catalog: Self { shared: Arc::new(shared), until: None }, began_anew })
    }

    /// The same catalog, from which pages and tags are read until a moment: then they fail with [`CatalogError::OutOfTime`].
    pub fn until(&self, until: Instant) -> Self {
        Self { until: Some(until), ..self.clone() }
    }

    /// Begins empty, after damage: all shards have to be scanned.
    ///
    /// # Errors
    /// If the disk is full, read-only or failing. Then nothing can be written or read until this succeeds.
    pub fn begin_anew(&self) -> Result<(), CatalogError> {
        let shared = &self.shared;
        let mut slot = shared.writer.lock();
        drop(slot.take());
        let mut tail = shared.tail.write();
        shared.era.fetch_add(1, Ordering::SeqCst);
        shared.idle.lock().readers.clear();
        *shared.log_writer.lock() = None;
        *tail = Tail::default();
        let conn = shared.files.create(shared.options.writer_cache_bytes)?;
        let (writer, _) = Writer::new(conn, shared.files.log(), &shared.options)?;
        *slot = Some(writer);
        Ok(())
    }

    /// The shards that are complete, each up to a log index.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn positions(&self) -> Result<BTreeMap<ShardId, u64>, CatalogError> {
        self.with_writer(|writer, _| {
            let mut read =
                writer.conn.prepare_cached("SELECT shard, position FROM shards WHERE position IS NOT NULL")?;
            let mut rows = read.query([])?;
            let mut positions = BTreeMap::new();
            while let Some(row) = rows.next()? {
                positions.insert(ShardId(row.get(0)?), row.get::<_, i64>(1)? as u64);
            }
            Ok(positions)
        })
    }

    /// Writes a batch, and does some of the work that earlier batches deferred.
    ///
    /// # Errors
    /// If the file cannot be written. Writing the batch again is harmless.
    pub fn write(&self, batch: &ShardBatch) -> Result<(), CatalogError> {
        self.with_writer(|writer, tail| {
            writer.write(tail, batch)?;
            // As much as was added to it, so that the tail does not grow while a chunk is sealed.
            let steps = 1 + batch.changed.len() / LINKS_A_STEP;
            for _ in 0..steps {
                writer.step(tail)?;
            }
            Ok(())
        })
    }

    /// Does some of the work that batches deferred: for a time without batches. Returns whether there is more.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn maintain(&self) -> Result<bool, CatalogError> {
        self.with_writer(Writer::step)
    }

    /// Whether there is enough to do for [`Catalog::write_log`].
    pub fn has_long_log(&self) -> bool {
        self.shared.files.log().pages() >= LOG_PAGES
    }

    /// Writes the log of the last transactions into the file, which may take as long as the disk does. Nobody who writes or reads waits meanwhile: call it on another
    /// thread.
    ///
    /// # Errors
    /// If the file cannot be written. The log has everything still, and grows.
    pub fn write_log(&self) -> Result<(), CatalogError> {
        let files = &self.shared.files;
        let mut slot = self.shared.log_writer.lock();
        let era = self.shared.era.load(Ordering::SeqCst);
        let conn = match slot.take().filter(|(of, _)| *of == era) {
            Some((_, conn)) => conn,
            None => self.noting_damage(files.log_writer())?,
        };
        let written = self.noting_damage(files.write_log(&conn));
        *slot = Some((era, conn));
        written
    }

    /// Begins to write a shard anew. It is incomplete until the end of the scan; its rows stay listed until then.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn begin_scan(&self, shard: ShardId) -> Result<(), CatalogError> {
        self.with_writer(|writer, tail| writer.begin_scan(tail, shard))
    }

    /// Goes on to end a scan: removes some of the rows of the shard that were not written since its beginning. Once there are none left, the shard
    /// is complete up to a log index, and this returns true. Call it until then: others can write in between, also to this shard. After a restart,
    /// the scan has to begin again.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn finish_scan(&self, shard: ShardId, position: u64) -> Result<bool, CatalogError> {
        self.remove_unseen(shard, |writer, tail| writer.end_scan(tail, shard, position))
    }

    /// Goes on to remove the rows of a shard whose replica has left this node. Returns whether there are none left: call it until then.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn forget(&self, shard: ShardId) -> Result<bool, CatalogError> {
        self.with_writer(|writer, tail| writer.begin_scan(tail, shard))?;
        self.remove_unseen(shard, |writer, tail| {
            writer.scans.remove(&shard.0);
            writer.forget(tail, shard)
        })
    }

    /// Removes rows in one transaction, and calls `end` once there are none left.
    fn remove_unseen(
        &self,
        shard: ShardId,
        end: impl FnOnce(&mut Writer, &RwLock<Tail>) -> Result<(), CatalogError>,
    ) -> Result<bool, CatalogError> {
        self.with_writer(|writer, tail| {
            let is_over = writer.remove_unseen(tail, shard)? == 0;
            if is_over {
                end(writer, tail)?;
            }
            // Chunks became sparse: that work must not pile up.
            writer.step(tail)?;
            Ok(is_over)
        })
    }

    /// A page of a list.
    ///
    /// # Errors
    /// If the file cannot be read, or the request has no answer.
    pub fn page(&self, request: &PageRequest) -> Result<CatalogPage, CatalogError> {
        self.read(|conn, tail| {
            let sealed: i64 = conn
                .prepare_cached("SELECT value FROM state WHERE name = 'sealed'")?
                .query_row([], |row| row.get(0))?;
            let mut read = conn.prepare_cached("SELECT shard FROM shards ORDER BY shard")?;
            let known = read.query_map([], |row| row.get(0))?.collect::<Result<Vec<u32>, _>>()?;
            let view = View { conn, sealed_end: sealed * CHUNK, count_rows: self.shared.options.count_rows };
            page(&view, tail, &known, request)
        })
    }

    /// A part of the list of tags.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn tags(&self, request: &TagsRequest) -> Result<TagsPage, CatalogError> {
        self.read(|conn, _| tags(conn, request))
    }

    /// How large it is.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn sizes(&self) -> Result<Sizes, CatalogError> {
        self.with_writer(|writer, tail| {
            writer.refresh(tail)?;
            let sealed: i64 =
                writer.conn.query_row("SELECT ifnull(sum(links), 0) FROM chunks", [], |row| row.get(0))?;
            let tail = tail.read();
            Ok(Sizes {
                links: sealed as u64 + tail.len() as u64,
                tail_links: tail.len() as u64,
                tail_bytes: tail.bytes() as u64,
                disk_bytes: self.shared.files.bytes(),
            })
        })
    }

    /// Bounds the file to a number of pages of 4 KiB, as a full disk would.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn limit_pages(&self, pages: u32) -> Result<(), CatalogError> {
        self.with_writer(|writer, _| writer.limit_pages(pages))
    }

    fn with_writer<T>(
        &self,
        run: impl FnOnce(&mut Writer, &RwLock<Tail>) -> Result<T, CatalogError>,
    ) -> Result<T, CatalogError> {
        let mut writer = self.shared.writer.lock();
        let Some(writer) = writer.as_mut() else { return Err(CatalogError::damaged("it could not begin anew")) };
        let done = self.noting_damage(self.shared.files.check().and_then(|()| run(writer, &self.shared.tail)));
        if self.shared.files.log().pages() >= LOG_PAGES_MAX
            && let Err(error) = self.write_log()
            && error.is_damage()
        {
            return Err(error);
        }
        done
    }

    /// Runs on the file and the tail as they were at one moment.
    fn read<T>(
        &self,
        run: impl FnOnce(&Connection, parking_lot::RwLockReadGuard<'_, Tail>) -> Result<T, CatalogError>,
    ) -> Result<T, CatalogError> {
        let mut reader = self.reader()?;
        let tail = self.shared.tail.read();
        let era = self.shared.era.load(Ordering::SeqCst);
        if reader.era != era {
            reader.conn = None;
        }
        let mut conn = match reader.conn.take() {
            Some(conn) => conn,
            None => self.noting_damage(self.shared.files.reader(self.shared.options.reader_cache_bytes))?,
        };
        // One of an earlier reading may be there.
        conn.progress_handler(STEPS_A_LOOK, self.until.map(|until| move || Instant::now() >= until))?;
        let read = (|| {
            let snapshot = conn.unchecked_transaction()?;
            // The transaction sees the file as it is at its first reading, which has to be now.
            snapshot.prepare_cached("SELECT value FROM state WHERE name = 'sealed'")?.query_row([], |_| Ok(()))?;
            run(&snapshot, tail)
        })();
        (reader.era, reader.conn) = (era, Some(conn));
        self.noting_damage(read)
    }

    fn noting_damage<T>(&self, result: Result<T, CatalogError>) -> Result<T, CatalogError> {
        if let Err(CatalogError::Damaged { what }) = &result {
            self.shared.files.note_damage(what);
        }
        result
    }

    /// Waits for a reader, not for longer than the reading may take.
    fn reader(&self) -> Result<Reader<'_>, CatalogError> {
        let mut idle = self.shared.idle.lock();
        while idle.used >= self.shared.options.readers.max(1) {
            match self.until {
                Some(until) if self.shared.returned.wait_until(&mut idle, until).timed_out() => {
                    return Err(CatalogError::OutOfTime);
                }
                Some(_) => {}
                None => self.shared.returned.wait(&mut idle),
            }
        }
        idle.used += 1;
        let (era, conn) = idle.readers.pop().map_or((0, None), |(era, conn)| (era, Some(conn)));
        Ok(Reader { shared: &self.shared, era, conn })
    }
}

/// The right to read, and a connection if there is one.
struct Reader<'a> {
    shared: &'a Shared,
    era: u64,
    conn: Option<Connection>,
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        let mut idle = self.shared.idle.lock();
        idle.used -= 1;
        if let Some(conn) = self.conn.take() {
            idle.readers.push((self.era, conn));
        }
        self.shared.returned.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// Soon enough for a test, and for nothing that takes for ever.
    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(50)
    }

    fn opened(dir: &Path, readers: usize) -> Catalog {
        Catalog::open(dir, Options { readers, ..Options::default() }).unwrap().catalog
    }

    #[test]
    fn a_reading_without_an_end_ends_when_its_time_is_over_and_the_next_one_has_its_own_time() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = opened(dir.path(), 1);
        let count_to = |catalog: &Catalog, end: &str| {
            let sql =
                format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n {end}) SELECT count(*) FROM n");
            catalog.read(|conn, _| Ok(conn.query_row(&sql, [], |row| row.get::<_, i64>(0))?))
        };
        let error = count_to(&catalog.until(soon()), "").unwrap_err();
        assert!(matches!(error, CatalogError::OutOfTime), "{error}");
        assert_eq!(count_to(&catalog, "WHERE i < 100000").unwrap(), 100_000);
    }

    #[test]
    fn whoever_gets_no_reader_in_time_is_told_so_and_the_writer_needs_none() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = opened(dir.path(), 1);
        let ((begun, has_begun), (end, ended)) = (mpsc::channel(), mpsc::channel::<()>());
        std::thread::scope(|scope| {
            let other = catalog.clone();
            let reading = scope.spawn(move || {
                other.read(|_, tail| {
                    drop(tail);
                    begun.send(()).unwrap();
                    // Until the other end is dropped.
                    let _ = ended.recv();
                    Ok(())
                })
            });
            has_begun.recv().unwrap();
            let error = catalog.until(soon()).tags(&TagsRequest::default()).unwrap_err();
            assert!(matches!(error, CatalogError::OutOfTime), "{error}");
            catalog.write(&ShardBatch::of(ShardId(0))).unwrap();
            assert_eq!((catalog.positions().unwrap().len(), catalog.sizes().unwrap().links), (0, 0));
            drop(end);
            reading.join().unwrap().unwrap();
        });
        catalog.until(Instant::now() + Duration::from_secs(600)).tags(&TagsRequest::default()).unwrap();
    }
}
