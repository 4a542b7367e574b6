//! Snapshots: the state of a group at one point of its log, as a file that can be sent to another replica.
//!
//! ```text
//! file  = { length u32 LE · sealed chunk }*
//! chunk = header(group, position) | records (key, value)* | end(number of chunks)
//! ```
//!
//! Each chunk is sealed with its group and number, so a damaged, missing or misplaced chunk is detected.
//! The records are those of the group's tree right after a checkpoint. sled has no point-in-time view, so no other checkpoint may
//! be written until the file is complete.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::record::{decode, encode, open_live_record};
use crate::{Batch, Space, StoreError, Tree};

const FORMAT: u8 = 1;

/// A chunk is closed above this size: it bounds the memory for sending and receiving.
const CHUNK_BYTES: usize = 256 * 1024;

/// The largest chunk: it bounds what a reader allocates.
const CHUNK_BYTES_MAX: usize = 2 * CHUNK_BYTES;

#[derive(Debug, Serialize, Deserialize)]
enum Chunk {
    Header { group: u32, position: Vec<u8> },
    Records(Vec<(Vec<u8>, Vec<u8>)>),
    End { chunks: u32 },
}

/// Writes all records of a tree to a file, as long as its file system has more than `free_min` bytes left: the database does not
/// survive a full disk. The file is not synced: nobody needs it after a crash.
///
/// # Errors
/// If a record is damaged, or the file cannot be written. The file is unusable then.
pub fn export(tree: &Tree, group: u32, position: &[u8], file: &File, free_min: u64) -> Result<(), StoreError> {
    let mut writer = Writer { file: BufWriter::new(file), group, chunks: 0, free_min };
    writer.chunk(&Chunk::Header { group, position: position.to_vec() })?;
    let mut records = Vec::new();
    let mut bytes = 0;
    for entry in tree.scan_prefix(b"") {
        let (key, value) = entry?;
        // A damaged record must not spread to another replica.
        open_live_record(tree, &key, &value)?;
        bytes += key.len() + value.len();
        records.push((key.to_vec(), value.to_vec()));
        if bytes >= CHUNK_BYTES {
            writer.chunk(&Chunk::Records(std::mem::take(&mut records)))?;
            bytes = 0;
        }
    }
    if !records.is_empty() {
        writer.chunk(&Chunk::Records(records))?;
    }
    let chunks = writer.chunks;
    writer.chunk(&Chunk::End { chunks })?;
    writer.file.flush()?;
    Ok(())
}

struct Writer<'a> {
    file: BufWriter<&'a File>,
    group: u32,
    chunks: u32,
    free_min: u64,
}

impl Writer<'_> {
    fn chunk(&mut self, chunk: &Chunk) -> Result<(), StoreError> {
        let free = Space::of(self.file.get_ref())?.free_bytes;
        if free < self.free_min {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                format!("{free} bytes are free where the data is, too few to write a copy of it there"),
            )
            .into());
        }
        let sealed = waypost_protocol::seal(&chunk_context(self.group, self.chunks), FORMAT, &encode(chunk));
        self.file.write_all(&(sealed.len() as u32).to_le_bytes())?;
        self.file.write_all(&sealed)?;
        self.chunks += 1;
        Ok(())
    }
}

fn chunk_context(group: u32, number: u32) -> [u8; 12] {
    let mut context = *b"snap\0\0\0\0\0\0\0\0";
    context[4..8].copy_from_slice(&group.to_le_bytes());
    context[8..].copy_from_slice(&number.to_le_bytes());
    context
}

/// Consecutive records of a tree in a snapshot.
pub(crate) type Records = Vec<(Vec<u8>, Vec<u8>)>;

/// Reads a snapshot of `group`, and calls `records` for each chunk of records. Returns its position.
fn read_file(
    path: &Path,
    group: u32,
    records: impl FnMut(Records) -> Result<(), StoreError>,
) -> Result<Vec<u8>, StoreError> {
    read(&mut BufReader::new(File::open(path)?), &format!("snapshot {}", path.display()), group, records)
}

/// Reads a snapshot from the current offset of `file` to its end. `name` is the name in errors.
pub(crate) fn read(
    file: &mut impl Read,
    name: &str,
    group: u32,
    mut records: impl FnMut(Records) -> Result<(), StoreError>,
) -> Result<Vec<u8>, StoreError> {
    let what = || name.to_owned();
    let corrupt = |detail: &str| StoreError::Corrupt { what: what(), detail: detail.to_owned() };
    let mut position = None;
    for number in 0u32.. {
        let sealed = read_chunk(file).map_err(|error| corrupt(&error.to_string()))?;
        let (version, payload) = waypost_protocol::open(&chunk_context(group, number), &sealed)
            .map_err(|error| corrupt(&error.to_string()))?;
        if version != FORMAT {
            return Err(StoreError::UnknownVersion { what: what(), version });
        }
        match (decode("snapshot chunk", payload)?, number) {
            (Chunk::Header { position: at, .. }, 0) => position = Some(at),
            (Chunk::Records(chunk), 1..) => records(chunk)?,
            (Chunk::End { chunks }, 1..) if chunks == number => break,
            _ => return Err(corrupt("the chunks are out of order")),
        }
    }
    position.ok_or_else(|| corrupt("it has no header"))
}

/// Reads a chunk and the length before it.
pub(crate) fn read_chunk(file: &mut impl Read) -> io::Result<Vec<u8>> {
    let cut = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::other("it is cut short"),
        _ => error,
    };
    let mut length = [0u8; 4];
    file.read_exact(&mut length).map_err(cut)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > CHUNK_BYTES_MAX {
        return Err(io::Error::other("a chunk is too long"));
    }
    let mut sealed = vec![0; length];
    file.read_exact(&mut sealed).map_err(cut)?;
    Ok(sealed)
}

/// Checks a whole snapshot without using it. Returns its log position.
///
/// # Errors
/// If it is damaged, truncated, of another group, or of an unknown version.
pub fn verify(path: &Path, group: u32) -> Result<Vec<u8>, StoreError> {
    read_file(path, group, |_| Ok(()))
}

/// Replaces all records of a tree with those of a snapshot.
///
/// Not atomic: the caller keeps the file until the import is durable, and repeats the import after a crash.
///
/// # Errors
/// If the snapshot is damaged (then nothing was changed), or the store fails.
pub fn import(tree: &Tree, group: u32, path: &Path) -> Result<Vec<u8>, StoreError> {
    verify(path, group)?;
    loop {
        let mut batch = Batch::default();
        for entry in tree.scan_prefix(b"").take(1024) {
            batch.remove(&entry?.0);
        }
        if batch.is_empty() {
            break;
        }
        tree.apply(batch)?;
    }
    read_file(path, group, |records| insert(tree, records))
}

/// Inserts records into a tree.
pub(crate) fn insert(tree: &Tree, records: Records) -> Result<(), StoreError> {
    let mut batch = Batch::default();
    for (key, value) in records {
        batch.insert(&key, value);
    }
    tree.apply(batch)
}
