//! Clicks of a shard that takes none for long, moved out of the journals into a file of its own, so that the journals go on.
//!
//! Promise: a click keeps its name (journal and position) on the way, so it does not matter that it may be in both for a while, nor
//! in how many lives of the process it is sent: the shard counts a position once. What [`Spill::append`] has answered is on disk.
//!
//! ```text
//! file   = magic · version · shard · checksum · entries
//! entry  = journal · position · three words · checksum        (the lowest 4 bits of the third word: pieces of text that follow)
//!          then up to 8 pieces of text of 24 bytes
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::hash::Hasher;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use siphasher::sip::SipHasher13;
use waypost_journal::{JournalError, TEXT_SLOTS_MAX};
use waypost_protocol::ShardId;

const MAGIC: u64 = u64::from_le_bytes(*b"wpspills");
const VERSION: u64 = 1;
const EXTENSION: &str = "spill";

const HEADER_BYTES: u64 = 32;
const ENTRY_BYTES: usize = 48;
const TEXT_PIECE: usize = 24;
const TEXT_BITS: u64 = 0xF;

/// Entries that are on their way into a spill.
#[derive(Default)]
pub(crate) struct Entries {
    bytes: Vec<u8>,
    /// Of each journal: the last position.
    upto: BTreeMap<u64, u64>,
    count: u64,
}

impl Entries {
    /// The most that one takes in the file.
    pub(crate) const ONE_BYTES_MAX: u64 = (ENTRY_BYTES + TEXT_PIECE * TEXT_SLOTS_MAX) as u64;

    /// What one with this text takes in the file.
    pub(crate) fn bytes_of(text: &[u8]) -> u64 {
        (ENTRY_BYTES + TEXT_PIECE * text.len().div_ceil(TEXT_PIECE).min(TEXT_SLOTS_MAX)) as u64
    }

    /// Adds an entry of a journal. Positions of a journal have to grow.
    pub(crate) fn push(&mut self, journal: u64, position: u64, [one, two, three]: [u64; 3], text: &[u8]) {
        let pieces = text.len().div_ceil(TEXT_PIECE).min(TEXT_SLOTS_MAX);
        let words = [journal, position, one, two, three & !TEXT_BITS | pieces as u64];
        let mut padded = [0; TEXT_PIECE * TEXT_SLOTS_MAX];
        let kept = text.len().min(padded.len());
        padded[..kept].copy_from_slice(&text[..kept]);
        let padded = &padded[..pieces * TEXT_PIECE];
        words.iter().for_each(|word| self.bytes.extend_from_slice(&word.to_le_bytes()));
        self.bytes.extend_from_slice(&checksum(&words, padded).to_le_bytes());
        self.bytes.extend_from_slice(padded);
        self.upto.insert(journal, position);
        self.count += 1;
    }

    /// What they take in the file.
    pub(crate) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// The spill of one shard.
pub(crate) struct Spill {
    path: PathBuf,
    file: File,
    end: u64,
    count: u64,
    /// Of each journal: the last position in the file.
    upto: BTreeMap<u64, u64>,
}

/// An entry as it is read.
pub(crate) struct Entry<'a> {
    pub(crate) journal: u64,
    pub(crate) position: u64,
    pub(crate) words: [u64; 3],
    pub(crate) text: &'a [u8],
}

impl Spill {
    /// A new spill for a shard.
    pub(crate) fn create(directory: &Path, shard: ShardId) -> io::Result<Self> {
        let path = directory.join(format!("shard-{}.{EXTENSION}", shard.0));
        let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        let words = [MAGIC, VERSION, u64::from(shard.0)];
        let mut header = Vec::with_capacity(HEADER_BYTES as usize);
        words.iter().for_each(|word| header.extend_from_slice(&word.to_le_bytes()));
        header.extend_from_slice(&checksum(&words, &[]).to_le_bytes());
        let written = file.write_all(&header).and_then(|()| file.sync_all());
        let written = written.and_then(|()| File::open(directory)?.sync_all());
        if let Err(error) = written {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(Self { path, file, end: HEADER_BYTES, count: 0, upto: BTreeMap::new() })
    }

    /// What earlier lives have left in a directory.
    ///
    /// # Errors
    /// When one of them cannot be read, with the file.
    pub(crate) fn open_all(directory: &Path) -> Result<Vec<(ShardId, Self)>, JournalError> {
        let failed = |path: &Path, error| JournalError::Io { path: path.to_owned(), error };
        let mut found = Vec::new();
        for entry in fs::read_dir(directory).map_err(|error| failed(directory, error))? {
            let path = entry.map_err(|error| failed(directory, error))?.path();
            if path.extension().is_none_or(|extension| extension != EXTENSION) {
                continue;
            }
            match Self::open(&path).map_err(|error| failed(&path, error))? {
                Some(spill) => found.push(spill),
                // The process died while it was made: nothing was moved into it.
                None => fs::remove_file(&path).map_err(|error| failed(&path, error))?,
            }
        }
        Ok(found)
    }

    fn open(path: &Path) -> io::Result<Option<(ShardId, Self)>> {
        let invalid = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        if file.metadata()?.len() < HEADER_BYTES {
            return Ok(None);
        }
        let mut header = [0; HEADER_BYTES as usize];
        file.read_exact(&mut header)?;
        let [magic, version, shard, sum]: [u64; 4] = std::array::from_fn(|i| word(&header, i));
        if magic != MAGIC || sum != checksum(&[magic, version, shard], &[]) {
            return Err(invalid("it is no file of spilled clicks"));
        }
        if version != VERSION {
            return Err(invalid("its version is not known to this release"));
        }
        let mut spill = Self { path: path.to_owned(), file, end: HEADER_BYTES, count: 0, upto: BTreeMap::new() };
        // It ends at the first entry that is not whole.
        let mut upto = BTreeMap::new();
        let mut count = 0;
        let end = spill.read(HEADER_BYTES, u64::MAX, |entry| {
            upto.insert(entry.journal, entry.position);
            count += 1;
            true
        })?;
        spill.file.set_len(end)?;
        (spill.end, spill.upto, spill.count) = (end, upto, count);
        Ok(Some((ShardId(shard as u32), spill)))
    }

    /// The journals that it has clicks of, each with the last position.
    pub(crate) fn upto(&self) -> impl Iterator<Item = (u64, u64)> {
        self.upto.iter().map(|(journal, position)| (*journal, *position))
    }

    /// The bytes that it takes.
    pub(crate) fn len(&self) -> u64 {
        self.end
    }

    /// How many clicks it has.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Where the first entry is.
    pub(crate) const START: u64 = HEADER_BYTES;

    /// Appends entries, and brings them to disk.
    pub(crate) fn append(&mut self, entries: &Entries) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.write_all(&entries.bytes)?;
        self.file.sync_data()?;
        self.end += entries.len();
        self.count += entries.count;
        self.upto.extend(&entries.upto);
        Ok(())
    }

    /// Gives the entries from a place on to `take`, until it answers `false`; answers the place of the first that was not taken.
    pub(crate) fn read_from(&self, from: u64, take: impl FnMut(Entry<'_>) -> bool) -> io::Result<u64> {
        self.read(from, self.end, take)
    }

    fn read(&self, from: u64, end: u64, mut take: impl FnMut(Entry<'_>) -> bool) -> io::Result<u64> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(from))?;
        let mut reader = BufReader::with_capacity(64 << 10, file);
        let (mut at, mut head, mut text) = (from, [0; ENTRY_BYTES], [0; TEXT_PIECE * TEXT_SLOTS_MAX]);
        while at < end {
            match reader.read_exact(&mut head) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                other => other?,
            }
            let words: [u64; 5] = std::array::from_fn(|i| word(&head, i));
            let pieces = (words[4] & TEXT_BITS) as usize;
            if pieces > TEXT_SLOTS_MAX {
                break;
            }
            let text = &mut text[..pieces * TEXT_PIECE];
            match reader.read_exact(text) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                other => other?,
            }
            if word(&head, 5) != checksum(&words, text) {
                break;
            }
            let [journal, position, one, two, three] = words;
            if !take(Entry { journal, position, words: [one, two, three & !TEXT_BITS], text }) {
                break;
            }
            at += (ENTRY_BYTES + text.len()) as u64;
        }
        Ok(at)
    }

    /// Deletes the file: the shard has everything.
    pub(crate) fn remove(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

fn word(bytes: &[u8], i: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|byte| bytes[8 * i + byte]))
}

fn checksum(words: &[u64], text: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(MAGIC, VERSION);
    words.iter().for_each(|word| hasher.write_u64(*word));
    hasher.write(text);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(directory: &Path) -> Spill {
        let mut spill = Spill::create(directory, ShardId(3)).unwrap();
        let mut entries = Entries::default();
        for i in 0..100 {
            entries.push(7 + i % 2, i + 1, [i, i << 16, i << 4], &vec![b'x'; i as usize % 60]);
        }
        spill.append(&entries).unwrap();
        spill
    }

    fn entries(spill: &Spill) -> Vec<(u64, u64, [u64; 3], usize)> {
        let mut found = Vec::new();
        let text = |entry: &Entry<'_>| entry.text.iter().filter(|byte| **byte != 0).count();
        let take = |entry: Entry<'_>| {
            found.push((entry.journal, entry.position, entry.words, text(&entry)));
            true
        };
        assert_eq!(spill.read_from(Spill::START, take).unwrap(), spill.len());
        found
    }

    #[test]
    fn what_was_spilled_comes_out_as_it_went_in_also_in_another_life() {
        let dir = tempfile::tempdir().unwrap();
        let spill = filled(dir.path());
        let expected: Vec<_> = (0..100).map(|i| (7 + i % 2, i + 1, [i, i << 16, i << 4], i as usize % 60)).collect();
        assert_eq!(entries(&spill), expected);
        drop(spill);
        let mut found = Spill::open_all(dir.path()).unwrap();
        let (shard, mut spill) = found.pop().unwrap();
        assert_eq!((shard, spill.count()), (ShardId(3), 100));
        assert_eq!(spill.upto().collect::<Vec<_>>(), [(7, 99), (8, 100)]);
        let mut more = Entries::default();
        more.push(7, 500, [1, 2, 16], b"");
        spill.append(&more).unwrap();
        assert_eq!(entries(&spill).last(), Some(&(7, 500, [1, 2, 16], 0)));
        // It goes on from where it stopped.
        let mut seen = 0;
        let stop = |_: Entry<'_>| {
            seen += 1;
            seen <= 10
        };
        let at = spill.read_from(Spill::START, stop).unwrap();
        let mut rest = Vec::new();
        spill
            .read_from(at, |entry| {
                rest.push(entry.position);
                true
            })
            .unwrap();
        assert_eq!((rest.len(), rest[0]), (91, 11));
    }

    #[test]
    fn a_spill_ends_at_what_was_not_written_whole() {
        let dir = tempfile::tempdir().unwrap();
        let spill = filled(dir.path());
        let (path, whole) = (spill.path.clone(), fs::read(&spill.path).unwrap());
        drop(spill);
        for cut in [1, 20, 60, 700] {
            fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            let (_, mut spill) = Spill::open(&path).unwrap().unwrap();
            let left = entries(&spill);
            assert!(left.len() < 100 && left.len() as u64 == spill.count(), "{} left", left.len());
            let mut more = Entries::default();
            more.push(9, 1, [0; 3], b"after");
            spill.append(&more).unwrap();
            assert_eq!(entries(&spill).len(), left.len() + 1);
        }
        let mut damaged = whole.clone();
        damaged[HEADER_BYTES as usize + 9] ^= 1;
        fs::write(&path, damaged).unwrap();
        assert_eq!(Spill::open(&path).unwrap().unwrap().1.count(), 0);
        for (bytes, why) in [(&whole[..20], "died while it was made"), (&[0; 64][..], "foreign")] {
            fs::write(&path, bytes).unwrap();
            assert!(!matches!(Spill::open(&path), Ok(Some(_))), "{why}");
        }
    }
}
