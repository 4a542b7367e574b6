//! The entries of a spill, as they are in the file (see `spill.rs`).

use std::collections::BTreeMap;
use std::hash::Hasher;

use siphasher::sip::SipHasher13;
use waypost_journal::TEXT_SLOTS_MAX;

pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"wpspills");
pub(crate) const VERSION: u64 = 1;

pub(crate) const ENTRY_BYTES: usize = 48;
pub(crate) const TEXT_PIECE: usize = 24;
pub(crate) const TEXT_BITS: u64 = 0xF;

/// Every entry begins at a multiple of this.
pub(crate) const STEP: u64 = 8;

/// Entries to be appended to a spill.
#[derive(Default)]
pub(crate) struct Entries {
    pub(crate) bytes: Vec<u8>,
    /// The last position of each journal.
    pub(crate) upto: BTreeMap<u64, u64>,
    pub(crate) count: u64,
}

impl Entries {
    /// The largest size of an entry in the file.
    pub(crate) const ONE_BYTES_MAX: u64 = (ENTRY_BYTES + TEXT_PIECE * TEXT_SLOTS_MAX) as u64;

    /// The size of an entry with this text in the file.
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

    /// The size of the entries in the file.
    pub(crate) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Whether there are no entries.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// An entry as it is read.
pub(crate) struct Entry<'a> {
    pub(crate) journal: u64,
    pub(crate) position: u64,
    pub(crate) words: [u64; 3],
    pub(crate) text: &'a [u8],
}

pub(crate) fn word(bytes: &[u8], i: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|byte| bytes[8 * i + byte]))
}

pub(crate) fn checksum(words: &[u64], text: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(MAGIC, VERSION);
    words.iter().for_each(|word| hasher.write_u64(*word));
    hasher.write(text);
    hasher.finish()
}
