//! The file of the catalog: its tables, how it is opened, and what is done with one that cannot be used.

use std::ffi::c_int;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rusqlite::hooks::Wal;
use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::error::{CatalogError, Reason};

/// The version of the format. Another one begins anew, so a change of a table, a row, a posting or the folding of texts only has to raise it.
pub const FORMAT: i64 = 2;

const FILE: &str = "links.sqlite";
/// There while the file beside it must not be used any more.
const DAMAGED: &str = "damaged";

const SCHEMA: &str = "
CREATE TABLE state(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO state VALUES ('sealed', 0), ('sealing', 0);
CREATE TABLE shards(shard INTEGER PRIMARY KEY, position INTEGER);
CREATE TABLE links(id INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE chunks(chunk INTEGER PRIMARY KEY, links INTEGER NOT NULL, sealed_links INTEGER NOT NULL,
    created_min INTEGER NOT NULL, created_max INTEGER NOT NULL);
CREATE TABLE postings(chunk INTEGER, key BLOB, docs BLOB NOT NULL, PRIMARY KEY(chunk, key)) WITHOUT ROWID;
CREATE TABLE tags(tag TEXT, domain INTEGER, shard INTEGER, spelling TEXT, links INTEGER NOT NULL,
    PRIMARY KEY(tag, domain, shard, spelling)) WITHOUT ROWID;
CREATE TABLE by_hash(hash INTEGER PRIMARY KEY, id INTEGER NOT NULL);
CREATE TABLE by_created(value INTEGER, hash INTEGER, id INTEGER NOT NULL, PRIMARY KEY(value, hash)) WITHOUT ROWID;
CREATE TABLE by_edited(value INTEGER, hash INTEGER, id INTEGER NOT NULL, PRIMARY KEY(value, hash)) WITHOUT ROWID;
CREATE TABLE by_title(value TEXT, hash INTEGER, id INTEGER NOT NULL, PRIMARY KEY(value, hash)) WITHOUT ROWID;
CREATE TABLE by_slug(value TEXT, hash INTEGER, id INTEGER NOT NULL, PRIMARY KEY(value, hash)) WITHOUT ROWID;
CREATE TABLE by_visits(value INTEGER, hash INTEGER, id INTEGER NOT NULL, PRIMARY KEY(value, hash)) WITHOUT ROWID;
CREATE TABLE by_last(value INTEGER, hash INTEGER, id INTEGER NOT NULL, PRIMARY KEY(value, hash)) WITHOUT ROWID;
";

/// How many prepared statements a connection keeps: all that there are.
const STATEMENTS: usize = 80;
/// Whoever writes the log into the file reads and writes pages without keeping them.
const LOG_CACHE_BYTES: usize = 64 << 10;
/// How often what was committed while the log was written is written, too.
const LOG_ROUNDS: usize = 3;
/// The log's file is cut to this length when it begins anew.
const LOG_BYTES: u64 = 16 << 20;

/// The files of a catalog.
#[derive(Debug)]
pub struct Files {
    dir: PathBuf,
    log: Log,
}

/// How many pages of the log are not in the file yet: 0 after all were written, when the next commit begins it anew.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<AtomicU32>);

impl Log {
    /// How many there are.
    pub fn pages(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }

    fn set(&self, pages: u32) {
        self.0.store(pages, Ordering::Release);
    }
}

impl Files {
    /// The files in a directory, which is created.
    pub fn of(dir: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        Ok(Self { dir: dir.to_owned(), log: Log::default() })
    }

    /// The log of the file.
    pub fn log(&self) -> &Log {
        &self.log
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn all(&self) -> [PathBuf; 3] {
        [FILE, "links.sqlite-wal", "links.sqlite-shm"].map(|name| self.path(name))
    }

    /// Their bytes on the disk.
    pub fn bytes(&self) -> u64 {
        self.all().iter().filter_map(|path| path.metadata().ok()).map(|file| file.len()).sum()
    }

    /// Finds out that somebody removed one of the files. Those that have them open see nothing of it, and others would see something else.
    pub fn check(&self) -> Result<(), CatalogError> {
        match self.all().iter().find(|path| !path.exists()) {
            Some(path) => Err(CatalogError::damaged(format!("{} was removed", path.display()))),
            None => Ok(()),
        }
    }

    /// Notes that the file must not be used any more, also after a restart.
    pub fn note_damage(&self, what: &str) {
        // Without the note, the damage is found once more.
        let _ = std::fs::write(self.path(DAMAGED), what);
    }

    /// Removes everything.
    pub fn remove(&self) -> io::Result<()> {
        for path in self.all().into_iter().chain([self.path(DAMAGED)]) {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Opens the file for the writer, and begins it anew if it cannot be used.
    pub fn open(&self, cache_bytes: usize) -> Result<(Connection, Option<Reason>), CatalogError> {
        let reason = match std::fs::read_to_string(self.path(DAMAGED)) {
            Ok(what) => Reason::Damaged { what },
            Err(_) if !self.path(FILE).exists() => Reason::Missing,
            Err(_) => match self.connect(cache_bytes) {
                Ok(conn) => match check(&conn) {
                    Ok(None) => return Ok((conn, None)),
                    Ok(Some(reason)) => reason,
                    Err(CatalogError::Damaged { what }) => Reason::Damaged { what },
                    Err(error) => return Err(error),
                },
                Err(CatalogError::Damaged { what }) => Reason::Damaged { what },
                Err(error) => return Err(error),
            },
        };
        Ok((self.create(cache_bytes)?, Some(reason)))
    }

    /// A new, empty file.
    pub fn create(&self, cache_bytes: usize) -> Result<Connection, CatalogError> {
        self.remove()?;
        // SQLite gives its other files the permissions of this one.
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.path(FILE))?;
        let conn = self.connect(cache_bytes)?;
        conn.execute_batch(&format!("BEGIN; {SCHEMA} PRAGMA user_version = {FORMAT}; COMMIT;"))?;
        Ok(conn)
    }

    fn connect(&self, cache_bytes: usize) -> Result<Connection, CatalogError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut conn = Connection::open_with_flags(self.path(FILE), flags)?;
        prepare(&conn, cache_bytes)?;
        let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        if mode != "wal" {
            return Err(CatalogError::Files(io::Error::other("the file system has no shared memory for SQLite's log")));
        }
        // A power cut may take the last transactions, rows and positions together. Commits do not wait for the disk.
        conn.execute_batch(&format!("PRAGMA synchronous = NORMAL; PRAGMA journal_size_limit = {LOG_BYTES};"))?;
        // In the place of SQLite's own hook, by which a commit writes a long log into the file: whoever commits holds a lock, and the disk may take seconds.
        let log = self.log.clone();
        log.set(0);
        conn.wal_hook(Some(move |_: &mut Wal, pages: c_int| {
            log.set(u32::try_from(pages).unwrap_or(0));
            Ok(())
        }))?;
        Ok(conn)
    }

    /// Opens the file for [`Files::write_log`].
    pub fn log_writer(&self) -> Result<Connection, CatalogError> {
        self.check()?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(self.path(FILE), flags)?;
        prepare(&conn, LOG_CACHE_BYTES)?;
        conn.execute_batch("PRAGMA synchronous = NORMAL;")?;
        // A connection knows of the log once it has read something.
        conn.query_row("PRAGMA user_version", [], |_| Ok(()))?;
        Ok(conn)
    }

    /// Writes the log into the file, while others write and read. What is committed meanwhile is written, too, if that ends soon: only a log of which all is
    /// in the file begins anew.
    pub fn write_log(&self, conn: &Connection) -> Result<(), CatalogError> {
        for _ in 0..LOG_ROUNDS {
            let (pages, written) = match conn.wal_checkpoint_v2(None::<&str>, CheckpointMode::PASSIVE) {
                // It was looked at in the moment of a commit.
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => continue,
                told => told?,
            };
            if pages < 0 {
                return Err(CatalogError::damaged("it has no log"));
            }
            if written >= pages {
                self.log.set(0);
                break;
            }
        }
        Ok(())
    }

    /// Opens the file for a reader.
    pub fn reader(&self, cache_bytes: usize) -> Result<Connection, CatalogError> {
        self.check()?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(self.path(FILE), flags)?;
        prepare(&conn, cache_bytes)?;
        Ok(conn)
    }
}

fn prepare(conn: &Connection, cache_bytes: usize) -> Result<(), CatalogError> {
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    conn.busy_timeout(std::time::Duration::from_secs(5))?;
    let kib = cache_bytes / 1024;
    conn.execute_batch(&format!(
        "PRAGMA cache_size = -{kib}; PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;"
    ))?;
    Ok(())
}

/// Whether a file is one of ours, as far as a look at its beginning tells.
fn check(conn: &Connection) -> Result<Option<Reason>, CatalogError> {
    let found: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found != FORMAT {
        return Ok(Some(Reason::OtherVersion { found }));
    }
    let tables: i64 =
        conn.query_row("SELECT count(*) FROM sqlite_schema WHERE type = 'table'", [], |row| row.get(0))?;
    let ours = SCHEMA.matches("CREATE TABLE").count() as i64;
    Ok((tables != ours).then(|| Reason::Damaged { what: "tables are missing".to_owned() }))
}
