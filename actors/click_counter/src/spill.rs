//! A spill: clicks of a shard that accepts none for long, moved out of the journals into a file of its own, so that the journals go on.
//!
//! Guarantee: a click keeps its identity (journal and position), so it may be in both places for a while, and may be sent by
//! several processes: the shard counts a position once. When [`Spill::append`] returns, the clicks are on disk.
//! The header has the number of valid bytes, which distinguishes damage from an incomplete write. Damaged bytes are skipped
//! up to the next valid entry.
//!
//! ```text
//! file   = magic · version · shard · bytes that are on disk · entries in them · checksum · entries
//! entry  = journal · position · three words · checksum        (the lowest 4 bits of the third word: pieces of text that follow)
//!          then up to 8 pieces of text of 24 bytes
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use waypost_journal::{JournalError, TEXT_SLOTS_MAX};
use waypost_protocol::ShardId;

use crate::spill_entries::{ENTRY_BYTES, Entries, Entry, MAGIC, STEP, TEXT_BITS, TEXT_PIECE, VERSION, checksum, word};

const NAME: &str = "shard-";
pub(crate) const EXTENSION: &str = "spill";

const HEADER_WORDS: usize = 6;
const HEADER_BYTES: u64 = 8 * HEADER_WORDS as u64;
/// The spill of one shard.
pub(crate) struct Spill {
    path: PathBuf,
    file: File,
    shard: ShardId,
    end: u64,
    count: u64,
    /// The last position of each journal in the file.
    upto: BTreeMap<u64, u64>,
}

/// The result of reading a part of a spill.
pub(crate) struct Pass {
    /// The offset of the first entry that was not taken.
    pub(crate) next: u64,
    /// The number of bytes before it that are not valid entries.
    pub(crate) damaged: u64,
}

impl Spill {
    /// Creates a spill for a shard.
    pub(crate) fn create(directory: &Path, shard: ShardId) -> io::Result<Self> {
        let path = directory.join(format!("{NAME}{}.{EXTENSION}", shard.0));
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        let mut spill = Self { path, file, shard, end: HEADER_BYTES, count: 0, upto: BTreeMap::new() };
        let written = spill.write_header(HEADER_BYTES, 0).and_then(|()| File::open(directory)?.sync_all());
        if let Err(error) = written {
            let _ = fs::remove_file(&spill.path);
            return Err(error);
        }
        Ok(spill)
    }

    /// Opens the spills that earlier processes left in a directory, and returns how many clicks in them are damaged. Damage is reported once.
    ///
    /// # Errors
    /// If a spill cannot be read; the error names the file.
    pub(crate) fn open_all(directory: &Path) -> Result<(Vec<Self>, u64), JournalError> {
        let failed = |path: &Path, error| JournalError::Io { path: path.to_owned(), error };
        let (mut found, mut lost) = (Vec::new(), 0);
        for entry in fs::read_dir(directory).map_err(|error| failed(directory, error))? {
            let path = entry.map_err(|error| failed(directory, error))?.path();
            if path.extension().is_none_or(|extension| extension != EXTENSION) {
                continue;
            }
            match Self::open(&path).map_err(|error| failed(&path, error))? {
                Some((spill, damaged)) => {
                    found.push(spill);
                    lost += damaged;
                }
                // The process died while it created the file: nothing was moved into it.
                None => fs::remove_file(&path).map_err(|error| failed(&path, error))?,
            }
        }
        Ok((found, lost))
    }

    fn open(path: &Path) -> io::Result<Option<(Self, u64)>> {
        let invalid = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        let len = file.metadata()?.len();
        if len < HEADER_BYTES {
            return Ok(None);
        }
        let mut header = [0; HEADER_BYTES as usize];
        file.read_exact(&mut header)?;
        let words: [u64; HEADER_WORDS] = std::array::from_fn(|i| word(&header, i));
        let [magic, version, shard, bytes, count, sum] = words;
        if magic == MAGIC && version != VERSION {
            return Err(invalid("its version is not known to this release"));
        }
        let sound = magic == MAGIC && sum == checksum(&words[..HEADER_WORDS - 1], &[]);
        // With a damaged header, everything that can be read counts.
        let (shard, end) = if sound { (Some(shard as u32), bytes.min(len)) } else { (shard_of(path), len) };
        // Appended entries begin at a multiple of the step.
        let end = end / STEP * STEP;
        let shard = ShardId(shard.ok_or_else(|| invalid("it is no file of spilled clicks"))?);
        let mut spill = Self { path: path.to_owned(), file, shard, end, count, upto: BTreeMap::new() };
        if sound {
            let lost = spill.check()?;
            return Ok(Some((spill, lost)));
        }
        spill.count = 0;
        let damaged = spill.recount()?;
        if spill.count > 0 {
            spill.write_header(spill.end, spill.count)?;
            let lost = damaged.div_ceil(ENTRY_BYTES as u64);
            tracing::error!(shard = shard.0, found = spill.count, lost, "the header of spilled clicks is damaged");
            return Ok(Some((spill, lost)));
        }
        let empty = fs::read(path)?.iter().all(|byte| *byte == 0);
        if empty { Ok(None) } else { Err(invalid("nothing in it can be read")) }
    }

    /// The number of clicks in a file that is not in use, according to its header. Does not change the file.
    pub(crate) fn clicks_in(path: &Path) -> io::Result<u64> {
        let mut header = [0; HEADER_BYTES as usize];
        File::open(path)?.read_exact(&mut header)?;
        let words: [u64; HEADER_WORDS] = std::array::from_fn(|i| word(&header, i));
        let sound = words[HEADER_WORDS - 1] == checksum(&words[..HEADER_WORDS - 1], &[]);
        // Otherwise an estimate.
        Ok(if sound { words[4] } else { fs::metadata(path)?.len() / ENTRY_BYTES as u64 })
    }

    /// Checks all entries. Returns how many clicks could be read the last time and cannot be read now.
    pub(crate) fn check(&mut self) -> io::Result<u64> {
        let before = self.count;
        self.recount()?;
        let lost = before.saturating_sub(self.count);
        if lost > 0 {
            tracing::error!(shard = self.shard.0, left = self.count, lost, "spilled clicks are damaged");
            self.write_header(self.end, self.count)?;
        }
        Ok(lost)
    }

    /// Counts the readable entries. Returns the number of unreadable bytes.
    fn recount(&mut self) -> io::Result<u64> {
        let (mut upto, mut count) = (BTreeMap::new(), 0);
        let read = self.read_from(HEADER_BYTES, |entry| {
            let last: &mut u64 = upto.entry(entry.journal).or_default();
            *last = entry.position.max(*last);
            count += 1;
            true
        })?;
        (self.upto, self.count) = (upto, count);
        Ok(read.damaged)
    }

    fn write_header(&mut self, end: u64, count: u64) -> io::Result<()> {
        let words = [MAGIC, VERSION, u64::from(self.shard.0), end, count];
        let mut header = Vec::with_capacity(HEADER_BYTES as usize);
        words.iter().for_each(|word| header.extend_from_slice(&word.to_le_bytes()));
        header.extend_from_slice(&checksum(&words, &[]).to_le_bytes());
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&header)?;
        self.file.sync_data()
    }

    /// The shard that the spill belongs to.
    pub(crate) fn shard(&self) -> ShardId {
        self.shard
    }

    /// The journals whose clicks it has, each with the last position.
    pub(crate) fn upto(&self) -> impl Iterator<Item = (u64, u64)> {
        self.upto.iter().map(|(journal, position)| (*journal, *position))
    }

    /// The size of the file, in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.end
    }

    /// The number of clicks.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The offset of the first entry.
    pub(crate) const START: u64 = HEADER_BYTES;

    /// Appends entries and syncs them.
    pub(crate) fn append(&mut self, entries: &Entries) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.write_all(&entries.bytes)?;
        self.file.sync_data()?;
        // Only now, because the header may count only what is on disk.
        self.write_header(self.end + entries.len(), self.count + entries.count)?;
        self.end += entries.len();
        self.count += entries.count;
        self.upto.extend(&entries.upto);
        Ok(())
    }

    /// Calls `take` for the entries from an offset on, until it returns `false`.
    pub(crate) fn read_from(&self, from: u64, mut take: impl FnMut(Entry<'_>) -> bool) -> io::Result<Pass> {
        let mut file = &self.file;
        // The file may have been truncated.
        let whole = self.end.min(file.metadata()?.len());
        file.seek(SeekFrom::Start(from))?;
        let mut reader = BufReader::with_capacity(64 << 10, file);
        let (mut at, mut place, mut damaged) = (from, from, self.end - whole);
        let (mut head, mut text) = ([0; ENTRY_BYTES], [0; TEXT_PIECE * TEXT_SLOTS_MAX]);
        while at + ENTRY_BYTES as u64 <= whole {
            reader.seek_relative(at as i64 - place as i64)?;
            reader.read_exact(&mut head)?;
            place = at + ENTRY_BYTES as u64;
            let words: [u64; 5] = std::array::from_fn(|i| word(&head, i));
            let pieces = (words[4] & TEXT_BITS) as usize;
            let next = place + (pieces * TEXT_PIECE) as u64;
            let possible = pieces <= TEXT_SLOTS_MAX && next <= whole;
            let text = &mut text[..if possible { pieces * TEXT_PIECE } else { 0 }];
            reader.read_exact(text)?;
            place += text.len() as u64;
            if !possible || word(&head, 5) != checksum(&words, text) {
                damaged += STEP;
                at += STEP;
                continue;
            }
            let [journal, position, one, two, three] = words;
            if !take(Entry { journal, position, words: [one, two, three & !TEXT_BITS], text }) {
                return Ok(Pass { next: at, damaged });
            }
            at = next;
        }
        Ok(Pass { next: self.end, damaged: damaged + whole.saturating_sub(at) })
    }

    /// Deletes the file: the shard has counted everything.
    pub(crate) fn remove(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

fn shard_of(path: &Path) -> Option<u32> {
    path.file_stem()?.to_str()?.strip_prefix(NAME)?.parse().ok()
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
        assert_eq!(spill.read_from(Spill::START, take).unwrap().next, spill.len());
        found
    }

    #[test]
    fn what_was_spilled_comes_out_as_it_went_in_also_in_another_life() {
        let dir = tempfile::tempdir().unwrap();
        let spill = filled(dir.path());
        let expected: Vec<_> = (0..100).map(|i| (7 + i % 2, i + 1, [i, i << 16, i << 4], i as usize % 60)).collect();
        assert_eq!(entries(&spill), expected);
        drop(spill);
        let (mut found, lost) = Spill::open_all(dir.path()).unwrap();
        let mut spill = found.pop().unwrap();
        assert_eq!((spill.shard(), spill.count(), lost), (ShardId(3), 100, 0));
        assert_eq!(spill.upto().collect::<Vec<_>>(), [(7, 99), (8, 100)]);
        let mut more = Entries::default();
        more.push(7, 500, [1, 2, 16], b"");
        spill.append(&more).unwrap();
        assert_eq!(entries(&spill).last(), Some(&(7, 500, [1, 2, 16], 0)));
        // Reading continues where it stopped.
        let mut seen = 0;
        let stop = |_: Entry<'_>| {
            seen += 1;
            seen <= 10
        };
        let at = spill.read_from(Spill::START, stop).unwrap().next;
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
    fn what_was_not_written_to_its_end_is_no_damage() {
        let dir = tempfile::tempdir().unwrap();
        let mut spill = filled(dir.path());
        let before = fs::read(&spill.path).unwrap();
        let mut more = Entries::default();
        more.push(9, 1, [0; 3], b"after");
        more.push(9, 2, [0; 3], b"");
        spill.append(&more).unwrap();
        let (path, whole) = (spill.path.clone(), fs::read(&spill.path).unwrap());
        drop(spill);
        // Including the header, which is written last.
        for cut in [0, 1, 20, 60, 100] {
            let torn = [&before[..], &whole[before.len()..whole.len() - cut]].concat();
            fs::write(&path, torn).unwrap();
            let (mut spill, lost) = Spill::open(&path).unwrap().unwrap();
            assert_eq!((spill.count(), lost), (100, 0));
            spill.append(&more).unwrap();
            assert_eq!(entries(&spill).len(), 102);
        }
        fs::write(&path, &whole[..20]).unwrap();
        assert!(Spill::open(&path).unwrap().is_none(), "died while it was made");
    }

    #[test]
    fn damage_costs_the_clicks_that_it_hits_and_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let spill = filled(dir.path());
        let (path, whole) = (spill.path.clone(), fs::read(&spill.path).unwrap());
        drop(spill);
        let middle = whole.len() / 2;
        let flip = |places: &[usize]| {
            let mut damaged = whole.clone();
            places.iter().for_each(|place| damaged[*place] ^= 1);
            damaged
        };
        let all_but: [(Vec<u8>, u64); 6] = [
            (flip(&[HEADER_BYTES as usize + 9]), 1),
            (flip(&[middle]), 1),
            (flip(&[HEADER_BYTES as usize + 1, middle, whole.len() - 1]), 3),
            // The number of text pieces.
            (flip(&[HEADER_BYTES as usize + 32]), 1),
            (flip(&(middle..middle + 48).collect::<Vec<_>>()), 2),
            (whole[..whole.len() - 1].to_vec(), 1),
        ];
        for (damaged, expected) in all_but {
            fs::write(&path, damaged).unwrap();
            let (mut spill, lost) = Spill::open(&path).unwrap().unwrap();
            assert!((1..=expected).contains(&lost), "{lost} are lost");
            let left = 100 - lost;
            assert_eq!((spill.count(), entries(&spill).len() as u64), (left, left));
            let mut more = Entries::default();
            more.push(9, 1, [0; 3], b"after");
            spill.append(&more).unwrap();
            drop(spill);
            let (spill, again) = Spill::open(&path).unwrap().unwrap();
            assert_eq!((spill.count(), again), (left + 1, 0));
        }
    }

    #[test]
    fn what_the_header_does_not_say_is_found_without_it() {
        let dir = tempfile::tempdir().unwrap();
        let spill = filled(dir.path());
        let (path, mut bytes) = (spill.path.clone(), fs::read(&spill.path).unwrap());
        drop(spill);
        bytes[25] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let (spill, lost) = Spill::open(&path).unwrap().unwrap();
        assert_eq!((spill.shard(), spill.count(), lost), (ShardId(3), 100, 0));
        drop(spill);
        assert_eq!(Spill::open(&path).unwrap().unwrap().0.count(), 100);
        // An unknown release, or unreadable bytes.
        bytes[8] = 9;
        for foreign in [&bytes[..], &[7; 200]] {
            fs::write(&path, foreign).unwrap();
            assert!(Spill::open(&path).is_err());
        }
        fs::write(&path, [0; 200]).unwrap();
        assert!(Spill::open(&path).unwrap().is_none(), "died while it was made");
    }
}
