//! Backups: the snapshots of all groups of a cluster, one after the other, as one stream of bytes.
//!
//! ```text
//! archive = "waypost" 0x01 | length u32 LE · sealed head | snapshot of group 0 | … | snapshot of the last shard | sum
//! ```
//!
//! The head has the number of groups, each snapshot ends with the number of its chunks (`machine/snapshot.rs`), and the sum is
//! the blake3 hash of everything before it. So a truncated archive, or one that was put together from two, is detected.

use std::io::{self, Read};

use serde::{Deserialize, Serialize};
use waypost_protocol::UnixMs;

use crate::machine::snapshot;
use crate::{Db, StoreError, Tree};

const MAGIC: &[u8; 8] = b"waypost\x01";
const HEAD_CONTEXT: &[u8] = b"waypost backup";
const FORMAT: u8 = 1;

/// No cluster has this many shards; it keeps a reader from trusting a damaged head.
const GROUPS_MAX: u32 = 1 << 16;

/// The head of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveHead {
    /// The time at which it was begun. Everything that was acknowledged before is in it.
    pub created_at: UnixMs,
    /// The version of waypost that wrote it.
    pub version: String,
    /// The id of the cluster.
    pub cluster: [u8; 16],
    /// The name of the cluster.
    pub name: String,
    /// The number of groups: the cluster's own, and one for each shard.
    pub groups: u32,
}

impl ArchiveHead {
    /// Encodes the first bytes of an archive. The snapshots of all groups have to follow, in the order of their numbers.
    pub fn encode(&self) -> Vec<u8> {
        let payload = postcard::to_stdvec(self).expect("invariant: a head has no shape that postcard refuses");
        let sealed = waypost_protocol::seal(HEAD_CONTEXT, FORMAT, &payload);
        [MAGIC.as_slice(), &(sealed.len() as u32).to_le_bytes(), &sealed].concat()
    }
}

/// Computes the sum at the end of an archive while it is written.
#[derive(Default)]
pub struct ArchiveSum(blake3::Hasher);

impl ArchiveSum {
    /// Adds the next bytes of the archive.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns the last bytes of the archive.
    pub fn end(self) -> Vec<u8> {
        self.0.finalize().as_bytes().to_vec()
    }
}

/// A reader that hashes the bytes that pass.
struct Summing<R> {
    file: R,
    sum: ArchiveSum,
}

impl<R: Read> Read for Summing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.sum.add(&buffer[..read]);
        Ok(read)
    }
}

fn corrupt(detail: impl ToString) -> StoreError {
    StoreError::Corrupt { what: "the backup".to_owned(), detail: detail.to_string() }
}

fn read_head(file: &mut impl Read) -> Result<ArchiveHead, StoreError> {
    let mut magic = [0; MAGIC.len()];
    file.read_exact(&mut magic).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => corrupt("it is cut short"),
        _ => error.into(),
    })?;
    if &magic != MAGIC {
        return Err(corrupt("it does not begin as a backup does"));
    }
    let sealed = snapshot::read_chunk(file).map_err(corrupt)?;
    let (version, payload) = waypost_protocol::open(HEAD_CONTEXT, &sealed).map_err(corrupt)?;
    if version != FORMAT {
        return Err(StoreError::UnknownVersion { what: "the backup".to_owned(), version });
    }
    let head: ArchiveHead = postcard::from_bytes(payload).map_err(corrupt)?;
    if !(1..=GROUPS_MAX).contains(&head.groups) {
        return Err(corrupt(format!("it cannot have {} groups", head.groups)));
    }
    Ok(head)
}

fn read(
    file: impl Read,
    mut records: impl FnMut(u32, snapshot::Records) -> Result<(), StoreError>,
) -> Result<ArchiveHead, StoreError> {
    let mut file = Summing { file, sum: ArchiveSum::default() };
    let head = read_head(&mut file)?;
    for group in 0..head.groups {
        snapshot::read(&mut file, &format!("group {group} of the backup"), group, |chunk| records(group, chunk))?;
    }
    let Summing { mut file, sum } = file;
    let mut end = Vec::new();
    (&mut file).take(blake3::OUT_LEN as u64 + 1).read_to_end(&mut end)?;
    match end == sum.end() {
        true => Ok(head),
        false => Err(corrupt("what stands at its end is not the sum of what is before")),
    }
}

/// Reads and checks a whole archive. Returns its head and the number of its records.
///
/// # Errors
/// If it is damaged, truncated, or of an unknown version.
pub fn verify(file: impl Read) -> Result<(ArchiveHead, u64), StoreError> {
    let mut count = 0;
    let head = read(file, |group, records| {
        let tree = tree_name(group);
        for (key, value) in &records {
            crate::machine::open_record_of(&tree, key, value)?;
        }
        count += records.len() as u64;
        Ok(())
    })?;
    Ok((head, count))
}

/// Imports the state of every group of an archive into a new database.
///
/// # Errors
/// As for [`verify`], or if the store fails. The database is unusable then.
pub fn import(db: &Db, file: impl Read) -> Result<ArchiveHead, StoreError> {
    read(file, |group, records| snapshot::insert(&db.tree(&tree_name(group))?, records))
}

/// The number of records that are copied in one batch.
const COPY_BATCH: usize = 256;

/// Copies the stored state of a group into another database, and checks every record.
///
/// # Errors
/// When a record is damaged, or a store fails.
pub fn copy(from: &Tree, to: &Tree) -> Result<(), StoreError> {
    let mut records = Vec::with_capacity(COPY_BATCH);
    for entry in from.scan_prefix(b"") {
        let (key, value) = entry?;
        crate::machine::open_record_of(from.name(), &key, &value)?;
        records.push((key.to_vec(), value.to_vec()));
        if records.len() == COPY_BATCH {
            snapshot::insert(to, std::mem::take(&mut records))?;
        }
    }
    snapshot::insert(to, records)
}

fn tree_name(group: u32) -> String {
    format!("sm/{group}")
}
