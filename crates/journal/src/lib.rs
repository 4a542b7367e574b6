//! A journal in a memory-mapped file: one thread appends, another reads and releases.
//!
//! Guarantee: an appended entry survives the death of the process at any moment, because the pages belong to the kernel. An append is
//! a handful of stores: no system call, no lock, no allocation. Entries that were appended before the last [`Journal::sync`] survive a
//! power cut too.
//!
//! ```text
//! file   = header (4096 bytes) · slots of 32 bytes, a ring
//! header = magic · version · id · slots · released position · checksum of the first four
//! entry  = slot: three words of the caller · checksum        (the lowest 4 bits of the third word: slots of text that follow)
//!          then up to 8 slots of text: 24 bytes · checksum
//! ```
//!
//! Positions count slots and never go back. A slot's checksum covers the journal's id and the position, so the remains of an
//! earlier round of the ring, of a torn write or of another file never pass as an entry.

mod map;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use siphasher::sip::SipHasher13;

use map::Map;

/// The number of words in a slot.
const SLOT: usize = 4;

/// The most slots of text that an entry may have.
pub const TEXT_SLOTS_MAX: usize = 8;

/// The longest text of an entry, in bytes.
pub const TEXT_BYTES_MAX: usize = TEXT_SLOTS_MAX * 24;

/// The number of words before the first slot.
const HEADER: usize = 512;

const MAGIC: u64 = u64::from_le_bytes(*b"wpclicks");
const VERSION: u64 = 1;

/// The bits of the third word that hold the number of text slots.
const TEXT_BITS: u64 = 0xF;

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file cannot be made, read or mapped.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// The process died while it created the file: nothing was ever written into it.
    #[error("{}: its creation was interrupted", path.display())]
    Unfinished {
        /// Which file.
        path: PathBuf,
    },
    /// The file is not a journal, or has an unknown version.
    #[error("{}: {reason}", path.display())]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// The reading side of a journal. Cheap to clone.
#[derive(Clone)]
pub struct Journal {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    map: Map,
    id: u64,
    slots: u64,
    /// The position after the last entry.
    head: AtomicU64,
    /// The position up to which the file is known to be on disk.
    synced: AtomicU64,
    /// The released position that is known to be on disk: slots before it may be overwritten. If a released position that is not yet on disk
    /// were enough, a power cut could leave a header that points into newer entries.
    free_from: AtomicU64,
}

/// The appending side of a journal. Only one thread may use it at a time.
pub struct Writer {
    shared: Arc<Shared>,
    one_thread: std::marker::PhantomData<std::cell::Cell<()>>,
}

impl Journal {
    /// Creates a journal of `slots` slots in `directory`, and reserves its space on disk, so that a full disk is noticed here and not
    /// by a write into the mapping. `id` has to be random.
    ///
    /// # Errors
    /// If there is no space, or the directory is not writable.
    pub fn create(directory: &Path, id: u64, slots: u64) -> Result<(Writer, Self), JournalError> {
        let path = directory.join(format!("{id:016x}.clicks"));
        let failed = |error| JournalError::Io { path: path.clone(), error };
        let map = Map::create(&path, HEADER + slots as usize * SLOT).map_err(|error| {
            // A file without reserved space must not use up the little that is free.
            let _ = fs::remove_file(&path);
            failed(error)
        })?;
        let header = [MAGIC, VERSION, id, slots];
        for (word, value) in map.words().iter().zip(header) {
            word.store(value, Ordering::Relaxed);
        }
        map.words()[5].store(checksum(0, 0, &header), Ordering::Relaxed);
        map.flush().map_err(failed)?;
        fs::File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)?;
        let zero = || AtomicU64::new(0);
        let shared = Shared { path, map, id, slots, head: zero(), synced: zero(), free_from: zero() };
        let shared = Arc::new(shared);
        Ok((Writer { shared: shared.clone(), one_thread: std::marker::PhantomData }, Self { shared }))
    }

    /// Opens a journal that an earlier process left behind. It ends at the first slot that is not an entry.
    ///
    /// # Errors
    /// If the file is not a journal.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let failed = |error| JournalError::Io { path: path.to_owned(), error };
        let foreign = |reason: &str| JournalError::Foreign { path: path.to_owned(), reason: reason.to_owned() };
        let map = Map::open(path).map_err(failed)?;
        if map.words().len() < HEADER {
            return Err(foreign("it is too short for a journal"));
        }
        let header: [u64; 4] = std::array::from_fn(|i| map.words()[i].load(Ordering::Relaxed));
        let [magic, version, id, slots] = header;
        if magic == 0 && map.words()[..HEADER].iter().all(|word| word.load(Ordering::Relaxed) == 0) {
            return Err(JournalError::Unfinished { path: path.to_owned() });
        }
        if magic != MAGIC {
            return Err(foreign("it is no journal of clicks"));
        }
        if version != VERSION {
            return Err(foreign(&format!("its version {version} is not known to this release")));
        }
        let fits = (slots as usize).checked_mul(SLOT).is_some_and(|words| map.words().len() == HEADER + words);
        if !fits || map.words()[5].load(Ordering::Relaxed) != checksum(0, 0, &header) {
            return Err(foreign("its header is damaged"));
        }
        let zero = || AtomicU64::new(0);
        let shared = Shared { path: path.to_owned(), map, id, slots, head: zero(), synced: zero(), free_from: zero() };
        let released = shared.released();
        let mut head = released;
        while head - released < slots {
            let Some(next) = shared.entry(head, released + slots, &mut Vec::new()).map(|(next, _)| next) else { break };
            head = next;
        }
        shared.head.store(head, Ordering::Relaxed);
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The random id of the journal.
    pub fn id(&self) -> u64 {
        self.shared.id
    }

    /// The number of slots in the ring.
    pub fn slots(&self) -> u64 {
        self.shared.slots
    }

    /// The position after the last entry.
    pub fn head(&self) -> u64 {
        self.shared.head.load(Ordering::Acquire)
    }

    /// The position up to which the journal was released.
    pub fn released(&self) -> u64 {
        self.shared.released()
    }

    /// Calls `take` for every entry from `from` up to `to`, with the position after it. Returns `to`, or the position of an entry that could
    /// not be read.
    pub fn read(&self, from: u64, to: u64, mut take: impl FnMut(u64, [u64; 3], &[u8])) -> u64 {
        let mut at = from;
        let mut text = Vec::with_capacity(TEXT_BYTES_MAX);
        while at < to {
            let Some((next, words)) = self.shared.entry(at, to, &mut text) else { return at };
            take(next, words, &text);
            at = next;
        }
        at
    }

    /// Releases everything before this position. The space can be reused after the next [`Journal::sync`].
    pub fn release(&self, position: u64) {
        if position > self.released() {
            self.shared.map.words()[4].store(position, Ordering::Release);
        }
    }

    /// Syncs the entries that were appended since the last call.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn sync(&self) -> io::Result<()> {
        let shared = &self.shared;
        let (from, to, released) = (shared.synced.load(Ordering::Relaxed), self.head(), self.released());
        if from == to && released == shared.free_from.load(Ordering::Relaxed) {
            return Ok(());
        }
        let bytes = |position: u64| (HEADER + (position % shared.slots) as usize * SLOT) * 8;
        if to - from >= shared.slots || bytes(to) < bytes(from) {
            shared.map.flush()?;
        } else {
            shared.map.flush_range(bytes(from), bytes(to) - bytes(from))?;
            shared.map.flush_range(0, HEADER * 8)?;
        }
        shared.synced.store(to, Ordering::Relaxed);
        shared.free_from.store(released, Ordering::Release);
        Ok(())
    }

    /// Deletes the file. All of it must have been released.
    ///
    /// # Errors
    /// If the file cannot be deleted.
    pub fn remove(self) -> Result<(), JournalError> {
        let path = self.shared.path.clone();
        fs::remove_file(&path).map_err(|error| JournalError::Io { path, error })
    }
}

impl Writer {
    /// Appends an entry. Returns `false` if there is no space; then nothing was appended. The lowest four bits of the third word belong to
    /// the journal. Text beyond [`TEXT_BYTES_MAX`] is cut off.
    pub fn append(&self, [one, two, three]: [u64; 3], text: &[u8]) -> bool {
        let shared = &*self.shared;
        let text = &text[..text.len().min(TEXT_BYTES_MAX)];
        let following = text.len().div_ceil(24) as u64;
        let head = shared.head.load(Ordering::Relaxed);
        if head + 1 + following - shared.free_from.load(Ordering::Acquire) > shared.slots {
            return false;
        }
        for (i, part) in text.chunks(24).enumerate() {
            let mut bytes = [0; 24];
            bytes[..part.len()].copy_from_slice(part);
            shared.put(head + 1 + i as u64, std::array::from_fn(|i| word(&bytes, i)));
        }
        // This slot is written last, so that an entry that is found has its text.
        shared.put(head, [one, two, three & !TEXT_BITS | following]);
        shared.head.store(head + 1 + following, Ordering::Release);
        true
    }
}

impl Shared {
    fn released(&self) -> u64 {
        self.map.words()[4].load(Ordering::Acquire)
    }

    fn slot(&self, position: u64) -> &[AtomicU64] {
        let start = HEADER + (position % self.slots) as usize * SLOT;
        &self.map.words()[start..start + SLOT]
    }

    fn put(&self, position: u64, words: [u64; 3]) {
        let slot = self.slot(position);
        for (place, word) in slot.iter().zip(words) {
            place.store(word, Ordering::Relaxed);
        }
        slot[3].store(checksum(self.id, position, &words), Ordering::Relaxed);
    }

    fn get(&self, position: u64) -> Option<[u64; 3]> {
        let slot = self.slot(position);
        let words = std::array::from_fn(|i| slot[i].load(Ordering::Relaxed));
        (slot[3].load(Ordering::Relaxed) == checksum(self.id, position, &words)).then_some(words)
    }

    /// The entry at a position, its text in `text`, and the position after it.
    fn entry(&self, position: u64, end: u64, text: &mut Vec<u8>) -> Option<(u64, [u64; 3])> {
        let words = self.get(position)?;
        let following = words[2] & TEXT_BITS;
        let next = position + 1 + following;
        if following as usize > TEXT_SLOTS_MAX || next > end {
            return None;
        }
        text.clear();
        for position in position + 1..next {
            self.get(position)?.iter().for_each(|word| text.extend_from_slice(&word.to_le_bytes()));
        }
        Some((next, [words[0], words[1], words[2] & !TEXT_BITS]))
    }
}

fn word(bytes: &[u8; 24], i: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|byte| bytes[8 * i + byte]))
}

/// SipHash-1-3 of the words, one after the other in little endian, with the keys `id` and `position`.
fn checksum<const N: usize>(id: u64, position: u64, words: &[u64; N]) -> u64 {
    let mut bytes = [[0; 8]; N];
    for (bytes, word) in bytes.iter_mut().zip(words) {
        *bytes = word.to_le_bytes();
    }
    // At once: word by word it takes twice as long, and each visit has it made twice.
    SipHasher13::new_with_keys(id, position).hash(bytes.as_flattened())
}

#[cfg(test)]
mod tests {
    use std::hash::Hasher;

    use super::*;

    #[test]
    fn a_checksum_is_that_of_the_words_one_after_the_other() {
        for (id, position, words) in [(0, 0, [0; 3]), (7, 9, [1, 2, 3]), (u64::MAX, 1 << 40, [u64::MAX, 1 << 63, 77])] {
            let mut hasher = SipHasher13::new_with_keys(id, position);
            words.iter().for_each(|word| hasher.write_u64(*word));
            assert_eq!(checksum(id, position, &words), hasher.finish());
        }
    }
}
