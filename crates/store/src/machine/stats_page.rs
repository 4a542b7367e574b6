//! Records of statistics: one day of 256 links, in as many parts as are needed.
//!
//! | key | record |
//! |---|---|
//! | `t` + day `u16` + page `u32` + part `u16` | fragments of the day of each link: adding them up gives the day |
//! | `h` + day `u16` + slot `u32` | the sketch of the visitors of one link on one day, when it is too long for a fragment |
//!
//! Each fragment has the epoch of its slot, so the remains of a deleted link do not count for another link.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use waypost_protocol::clicks::{Counts, Dimension};
use waypost_protocol::sketch::{Register, Sketch};

use super::day_part::DayPart;
use super::record::{decode, encode, open_live_record, seal_record};
use super::slot_day::{ALL, SlotDay, Texts};
use crate::{Batch, StoreError, Tree};

const PAGE_PREFIX: u8 = b't';
const SKETCH_PREFIX: u8 = b'h';

/// The number of links that share a record.
pub(super) const SLOTS_PER_PAGE: u32 = 256;

/// The approximate size of a part: well below the largest value of the store.
const PART_BYTES: usize = 16 * 1024;

/// A sketch with more registers has a record of its own.
const REGISTERS_HERE_MAX: usize = 256;

/// The longest value, in bytes. Host names are cut at the front.
const VALUE_BYTES_MAX: usize = 80;

pub(super) fn page_of(slot: u32) -> u32 {
    slot / SLOTS_PER_PAGE
}

/// The stored form of a part.
#[derive(Serialize, Deserialize, Default)]
struct Part {
    strings: Vec<String>,
    fragments: Vec<Fragment>,
}

#[derive(Serialize, Deserialize)]
struct Fragment {
    /// The slot within the page.
    slot: u8,
    epoch: u32,
    hours: SmallVec<[(u8, u64, u64); 2]>,
    folded: (u64, u64),
    /// Dimension, number of the string, people, bots.
    values: SmallVec<[(u8, u16, u64, u64); 4]>,
    registers: SmallVec<[Register; 4]>,
    /// Whether the visitors have a separate record.
    apart: bool,
}

#[derive(Serialize, Deserialize)]
struct Apart {
    epoch: u32,
    packed: Vec<u8>,
}

fn page_key(day: u32, page: u32) -> Vec<u8> {
    let mut key = vec![PAGE_PREFIX];
    key.extend_from_slice(&(day as u16).to_be_bytes());
    key.extend_from_slice(&page.to_be_bytes());
    key
}

fn sketch_key(day: u32, slot: u32) -> Vec<u8> {
    let mut key = vec![SKETCH_PREFIX];
    key.extend_from_slice(&(day as u16).to_be_bytes());
    key.extend_from_slice(&slot.to_be_bytes());
    key
}

/// A link on the day of a page.
pub(super) struct Slot {
    slot: u32,
    epoch: u32,
    pub(super) day: SlotDay,
    /// Whether the visitors have a separate record, which is not read.
    apart: bool,
    /// The visitors since the page was loaded.
    pub(super) newcomers: Vec<Register>,
    changed: bool,
}

/// One day of the links of a page.
pub(super) struct Page {
    day: u32,
    page: u32,
    pub(super) texts: Texts,
    /// By slot and epoch, sorted.
    slots: Vec<Slot>,
    /// The number of stored parts.
    parts: u16,
    /// The number of fragments that were left out.
    left_out: usize,
}

impl Page {
    /// Loads the stored fragments of a page, for the wanted epochs.
    pub(super) fn load(
        tree: &Tree,
        day: u32,
        page: u32,
        texts: Texts,
        wanted: impl Fn(u32, u32) -> bool,
    ) -> Result<Self, StoreError> {
        let mut found = Self { day, page, texts, slots: Vec::new(), parts: 0, left_out: 0 };
        for entry in tree.scan_prefix(&page_key(day, page)) {
            let (key, value) = entry?;
            let part: Part = decode("statistics", open_live_record(tree, &key, &value)?)?;
            found.parts += 1;
            // A few fragments need only some of the texts.
            let mut numbers: Vec<Option<u32>> = vec![None; part.strings.len()];
            for fragment in part.fragments {
                let slot = page.wrapping_mul(SLOTS_PER_PAGE) + u32::from(fragment.slot);
                if !wanted(slot, fragment.epoch) {
                    found.left_out += 1;
                    continue;
                }
                let at = found.place(slot, fragment.epoch);
                let Self { slots, texts, .. } = &mut found;
                let Slot { day, apart, .. } = &mut slots[at];
                *apart |= fragment.apart;
                day.folded.merge(Counts { people: fragment.folded.0, bots: fragment.folded.1 });
                for (hour, people, bots) in fragment.hours {
                    day.hour(hour).merge(Counts { people, bots });
                }
                for (dimension, text, people, bots) in fragment.values {
                    let dimension = Dimension::ALL.get(usize::from(dimension));
                    let text = usize::from(text);
                    if let (Some(dimension), Some(number)) = (dimension, numbers.get_mut(text)) {
                        let number = *number.get_or_insert_with(|| texts.of(&part.strings[text]));
                        day.value(*dimension, number).merge(Counts { people, bots });
                    }
                }
                day.visitors.add(fragment.registers);
            }
        }
        Ok(found)
    }

    fn place(&mut self, slot: u32, epoch: u32) -> usize {
        let here = (slot, epoch);
        let place = |known: &Slot| (known.slot, known.epoch);
        // Both the stored and the added fragments are in order.
        if self.slots.last().is_none_or(|last| place(last) < here) {
            self.slots.push(Slot::new(slot, epoch));
            return self.slots.len() - 1;
        }
        self.slots.binary_search_by_key(&here, place).unwrap_or_else(|at| {
            self.slots.insert(at, Slot::new(slot, epoch));
            at
        })
    }

    /// Returns a link of the page, to add to it.
    pub(super) fn slot(&mut self, slot: u32, epoch: u32) -> &mut Slot {
        let at = self.place(slot, epoch);
        self.slots[at].changed = true;
        &mut self.slots[at]
    }

    /// Writes the page with the additions.
    pub(super) fn write_changed(mut self, tree: &Tree, batch: &mut Batch) -> Result<(), StoreError> {
        for slot in self.slots.iter_mut().filter(|slot| slot.changed) {
            slot.day.bound(slot.slot, &mut self.texts);
            if slot.newcomers.is_empty() {
                continue;
            }
            if slot.apart
                && let Some(sketch) = load_sketch(tree, self.day, slot.slot, slot.epoch)?
            {
                slot.day.visitors.merge(&sketch);
            }
            slot.day.visitors.add(slot.newcomers.drain(..));
            if slot.day.visitors.registers().len() > REGISTERS_HERE_MAX {
                let key = sketch_key(self.day, slot.slot);
                let record = Apart { epoch: slot.epoch, packed: slot.day.visitors.pack() };
                batch.insert(&key, seal_record(tree, &key, &encode(&record)));
                slot.day.visitors = Sketch::default();
                slot.apart = true;
            }
        }
        self.write(tree, batch);
        Ok(())
    }

    fn write(self, tree: &Tree, batch: &mut Batch) {
        let Self { day, page, texts, slots, parts: stored, .. } = self;
        let mut writer = PageWriter {
            tree,
            batch,
            key: page_key(day, page),
            parts: 0,
            part: Part::default(),
            bytes: 0,
            numbers: vec![None; texts.len()],
            texts: &texts,
        };
        for Slot { slot, epoch, day, apart, .. } in slots {
            let mut fragment = Fragment {
                slot: (slot % SLOTS_PER_PAGE) as u8,
                epoch,
                hours: day.hours.iter().map(|(hour, counts)| (*hour, counts.people, counts.bots)).collect(),
                folded: (day.folded.people, day.folded.bots),
                values: SmallVec::new(),
                registers: day.visitors.registers().into(),
                apart,
            };
            writer.room(12 + fragment.hours.len() * 12 + fragment.registers.len() * 4);
            for (dimension, text, counts) in day.values {
                if writer.bytes + texts.get(text).len() + 16 > PART_BYTES {
                    // The rest goes into a fragment of the next part.
                    let empty = Fragment {
                        hours: SmallVec::new(),
                        folded: (0, 0),
                        registers: SmallVec::new(),
                        values: SmallVec::new(),
                        ..fragment
                    };
                    writer.part.fragments.push(std::mem::replace(&mut fragment, empty));
                    writer.end_part();
                }
                let number = writer.string(text);
                writer.bytes += 14;
                fragment.values.push((dimension as u8, number, counts.people, counts.bots));
            }
            writer.part.fragments.push(fragment);
        }
        writer.end_part();
        let parts = writer.parts;
        for surplus in parts..stored {
            let mut key = page_key(day, page);
            key.extend_from_slice(&surplus.to_be_bytes());
            batch.remove(&key);
        }
    }
}

impl Slot {
    fn new(slot: u32, epoch: u32) -> Self {
        Self { slot, epoch, day: SlotDay::default(), apart: false, newcomers: Vec::new(), changed: false }
    }
}

fn load_sketch(tree: &Tree, day: u32, slot: u32, epoch: u32) -> Result<Option<Sketch>, StoreError> {
    let key = sketch_key(day, slot);
    let Some(value) = tree.get(&key)? else { return Ok(None) };
    let apart: Apart = decode("visitors", open_live_record(tree, &key, &value)?)?;
    Ok(Sketch::unpack(&apart.packed).filter(|_| apart.epoch == epoch))
}

/// Reads the stored statistics of one link on one day.
pub(super) fn read(tree: &Tree, day: u32, slot: u32, epoch: u32, texts: &mut Texts) -> Result<SlotDay, StoreError> {
    let wanted = |other, life| other == slot && life == epoch;
    let mut page = Page::load(tree, day, page_of(slot), std::mem::take(texts), wanted)?;
    *texts = page.texts;
    let Some(Slot { day: mut found, apart, .. }) = page.slots.pop() else { return Ok(SlotDay::default()) };
    if apart && let Some(sketch) = load_sketch(tree, day, slot, epoch)? {
        found.visitors.merge(&sketch);
    }
    Ok(found)
}

/// Reads the stored visits of all links of a page on one day, without values and visitors: each part with its slot and epoch.
pub(super) fn read_parts(
    tree: &Tree,
    day: u32,
    page: u32,
    asked: &Range<u32>,
    mut note: impl FnMut(u32, u32, &DayPart),
) -> Result<(), StoreError> {
    for entry in tree.scan_prefix(&page_key(day, page)) {
        let (key, value) = entry?;
        let part: Part = decode("statistics", open_live_record(tree, &key, &value)?)?;
        for fragment in part.fragments {
            let folded = Counts { people: fragment.folded.0, bots: fragment.folded.1 };
            let mut found = DayPart { folded, ..DayPart::default() };
            for (hour, people, bots) in fragment.hours {
                found.hour(day * 24 + u32::from(hour), Counts { people, bots }, asked);
            }
            note(page.wrapping_mul(SLOTS_PER_PAGE) + u32::from(fragment.slot), fragment.epoch, &found);
        }
    }
    Ok(())
}

/// Removes fragments of past epochs from a day, and with `fold` sums up its hours.
pub(super) fn clean(
    tree: &Tree,
    batch: &mut Batch,
    day: u32,
    epochs: &dyn Fn(u32) -> Option<u32>,
    fold: bool,
) -> Result<(), StoreError> {
    let lives = |slot: u32, epoch: u32| slot == ALL || epochs(slot) == Some(epoch);
    let of_day = |prefix: u8| [&[prefix][..], &(day as u16).to_be_bytes()].concat();
    let number = |key: &[u8]| key.get(3..7).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes);
    let mut pages: Vec<u32> = Vec::new();
    for entry in tree.scan_prefix(&of_day(PAGE_PREFIX)) {
        let page = number(&entry?.0);
        if pages.last() != Some(&page) {
            pages.push(page);
        }
    }
    for page in pages {
        let mut stored = Page::load(tree, day, page, Texts::default(), lives)?;
        if !fold && stored.left_out == 0 {
            continue;
        }
        for slot in stored.slots.iter_mut().filter(|_| fold) {
            slot.day.folded = slot.day.total();
            slot.day.hours.clear();
        }
        stored.write(tree, batch);
    }
    for entry in tree.scan_prefix(&of_day(SKETCH_PREFIX)) {
        let (key, value) = entry?;
        let apart: Apart = decode("visitors", open_live_record(tree, &key, &value)?)?;
        if !lives(number(&key), apart.epoch) {
            batch.remove(&key);
        }
    }
    Ok(())
}

struct PageWriter<'a> {
    tree: &'a Tree,
    batch: &'a mut Batch,
    key: Vec<u8>,
    parts: u16,
    part: Part,
    bytes: usize,
    texts: &'a Texts,
    /// The number of each text in the strings of this part.
    numbers: Vec<Option<u16>>,
}

impl PageWriter<'_> {
    /// Begins another part if so many more bytes would make this one too long.
    fn room(&mut self, bytes: usize) {
        if self.bytes > 0 && self.bytes + bytes > PART_BYTES {
            self.end_part();
        }
        self.bytes += bytes;
    }

    fn string(&mut self, text: u32) -> u16 {
        let Self { part, bytes, texts, numbers, .. } = self;
        *numbers[text as usize].get_or_insert_with(|| {
            let text = texts.get(text);
            *bytes += text.len() + 2;
            part.strings.push(text.clone());
            (part.strings.len() - 1) as u16
        })
    }

    fn end_part(&mut self) {
        let part = std::mem::take(&mut self.part);
        self.numbers.fill(None);
        self.bytes = 0;
        if part.fragments.is_empty() {
            return;
        }
        let mut key = self.key.clone();
        key.extend_from_slice(&self.parts.to_be_bytes());
        self.batch.insert(&key, seal_record(self.tree, &key, &encode(&part)));
        self.parts += 1;
    }
}

/// The part of a text that may be stored as a value.
pub(super) fn value_text(text: &str) -> &str {
    let mut start = text.len().saturating_sub(VALUE_BYTES_MAX);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}
