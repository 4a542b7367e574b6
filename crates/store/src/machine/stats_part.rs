//! The parts of the records of statistics (`stats_page.rs`), as they are stored.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use waypost_protocol::clicks::Counts;
use waypost_protocol::sketch::Register;

use super::record::{encode, seal_record};
use super::slot_day::{SlotDay, Texts};
use crate::{Batch, StoreError, Tree};

/// The approximate size of a part: well below the largest value of the store.
const PART_BYTES: usize = 16 * 1024;

/// A stored part: its strings, then its fragments, each a sequence. Read and written one by one, because there are hundreds.
pub(super) struct Part<'a> {
    pub(super) strings: Vec<&'a str>,
    /// The number of the fragments that follow.
    left: usize,
    bytes: &'a [u8],
}

/// A fragment, as it is read.
#[derive(Deserialize)]
pub(super) struct Fragment {
    /// The slot within the page.
    pub(super) slot: u8,
    pub(super) epoch: u32,
    pub(super) hours: SmallVec<[(u8, Counts); 2]>,
    pub(super) folded: Counts,
    /// Dimension, number of the string, visits.
    pub(super) values: SmallVec<[(u8, u16, Counts); 4]>,
    pub(super) registers: SmallVec<[Register; 4]>,
    /// Whether the visitors have a separate record.
    pub(super) apart: bool,
}

/// A fragment, as it is written.
#[derive(Serialize)]
struct FragmentOf<'a> {
    slot: u8,
    epoch: u32,
    hours: &'a [(u8, Counts)],
    folded: Counts,
    values: &'a [(u8, u16, Counts)],
    registers: &'a [Register],
    apart: bool,
}

impl<'a> Part<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, StoreError> {
        let ((strings, left), bytes) = take(bytes)?;
        Ok(Self { strings, left, bytes })
    }

    /// The next fragment.
    pub(super) fn next(&mut self) -> Result<Option<Fragment>, StoreError> {
        if self.left == 0 {
            return Ok(None);
        }
        let (fragment, rest) = take(self.bytes)?;
        (self.left, self.bytes) = (self.left - 1, rest);
        Ok(Some(fragment))
    }
}

fn take<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), StoreError> {
    let corrupt =
        |error: postcard::Error| StoreError::Corrupt { what: "statistics".to_owned(), detail: error.to_string() };
    postcard::take_from_bytes(bytes).map_err(corrupt)
}

/// Writes the links of a page, in as many parts as they need.
pub(super) struct PageWriter<'a> {
    tree: &'a Tree,
    batch: &'a mut Batch,
    key: Vec<u8>,
    parts: u16,
    /// What this part has: its strings, and its fragments as they are stored.
    strings: Vec<&'a str>,
    count: usize,
    fragments: Vec<u8>,
    /// Its approximate size.
    bytes: usize,
    texts: &'a Texts,
    /// The number of each text in the strings of this part.
    numbers: Vec<Option<u16>>,
}

impl<'a> PageWriter<'a> {
    /// Writes to a batch, under keys that begin with `key`.
    pub(super) fn new(tree: &'a Tree, batch: &'a mut Batch, key: Vec<u8>, texts: &'a Texts) -> Self {
        let (strings, fragments, numbers) = (Vec::new(), Vec::new(), vec![None; texts.len()]);
        Self { tree, batch, key, parts: 0, strings, count: 0, fragments, bytes: 0, texts, numbers }
    }

    /// Writes a link, given by its slot within the page, in as many fragments as it needs.
    pub(super) fn slot(&mut self, slot: u8, epoch: u32, day: &SlotDay, apart: bool) {
        let registers = day.visitors.registers();
        let mut fragment =
            FragmentOf { slot, epoch, hours: &day.hours, folded: day.folded, values: &[], registers, apart };
        self.room(12 + day.hours.len() * 12 + registers.len() * 4);
        let mut values: SmallVec<[(u8, u16, Counts); 8]> = SmallVec::new();
        for (dimension, text, counts) in &day.values {
            if self.bytes + self.texts.get(*text).len() + 16 > PART_BYTES {
                // The rest goes into a fragment of the next part.
                self.fragment(&FragmentOf { values: &values, ..fragment });
                values.clear();
                fragment = FragmentOf { hours: &[], folded: Counts::default(), registers: &[], ..fragment };
                self.end_part();
            }
            let number = self.string(*text);
            self.bytes += 14;
            values.push((*dimension as u8, number, *counts));
        }
        self.fragment(&FragmentOf { values: &values, ..fragment });
    }

    /// Ends the page. Returns the number of its parts.
    pub(super) fn end(mut self) -> u16 {
        self.end_part();
        self.parts
    }

    fn fragment(&mut self, fragment: &FragmentOf<'_>) {
        let before = std::mem::take(&mut self.fragments);
        self.fragments = postcard::to_extend(fragment, before)
            .expect("invariant: our own structs have no shape that postcard refuses");
        self.count += 1;
    }

    /// Begins another part if so many more bytes would make this one too long.
    fn room(&mut self, bytes: usize) {
        if self.bytes > 0 && self.bytes + bytes > PART_BYTES {
            self.end_part();
        }
        self.bytes += bytes;
    }

    fn string(&mut self, text: u32) -> u16 {
        let Self { strings, bytes, texts, numbers, .. } = self;
        *numbers[text as usize].get_or_insert_with(|| {
            let text = texts.get(text);
            *bytes += text.len() + 2;
            strings.push(text);
            (strings.len() - 1) as u16
        })
    }

    fn end_part(&mut self) {
        self.bytes = 0;
        if self.count == 0 {
            return;
        }
        self.numbers.fill(None);
        let mut part = encode(&(&self.strings, self.count));
        part.extend_from_slice(&self.fragments);
        self.strings.clear();
        self.count = 0;
        self.fragments.clear();
        let mut key = self.key.clone();
        key.extend_from_slice(&self.parts.to_be_bytes());
        self.batch.insert(&key, seal_record(self.tree, &key, &part));
        self.parts += 1;
    }
}
