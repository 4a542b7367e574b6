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
use waypost_protocol::clicks::Dimension;
use waypost_protocol::sketch::{Register, Sketch};

use super::day_part::DayPart;
use super::record::{decode, encode, open_live_record, seal_record};
use super::slot_day::{ALL, SlotDay, Texts};
use super::stats_part::{PageWriter, Part};
use crate::{Batch, StoreError, Tree};

const PAGE_PREFIX: u8 = b't';
const SKETCH_PREFIX: u8 = b'h';

/// The number of links that share a record.
pub(super) const SLOTS_PER_PAGE: u32 = 256;

/// A sketch with more registers has a record of its own.
const REGISTERS_HERE_MAX: usize = 256;

/// The longest value, in bytes. Host names are cut at the front.
const VALUE_BYTES_MAX: usize = 80;

pub(super) fn page_of(slot: u32) -> u32 {
    slot / SLOTS_PER_PAGE
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
    pub(super) newcomers: SmallVec<[Register; 4]>,
    changed: bool,
}

/// Where a link is in its page.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Stored(usize),
    Added(usize),
}

/// One day of the links of a page.
pub(super) struct Page {
    day: u32,
    page: u32,
    pub(super) texts: Texts,
    /// Those that are stored, by slot and epoch, sorted.
    slots: Vec<Slot>,
    /// Others, sorted in the same way.
    added: Vec<Slot>,
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
        let (slots, added) = (Vec::new(), Vec::new());
        let mut found = Self { day, page, texts, slots, added, parts: 0, left_out: 0 };
        for entry in tree.scan_prefix(&page_key(day, page)) {
            let (key, value) = entry?;
            let mut part = Part::read(open_live_record(tree, &key, &value)?)?;
            found.parts += 1;
            // A few fragments need only some of the texts.
            let mut numbers: Vec<Option<u32>> = vec![None; part.strings.len()];
            while let Some(fragment) = part.next()? {
                let slot = page.wrapping_mul(SLOTS_PER_PAGE) + u32::from(fragment.slot);
                if !wanted(slot, fragment.epoch) {
                    found.left_out += 1;
                    continue;
                }
                let at = found.place(slot, fragment.epoch);
                let Self { slots, texts, .. } = &mut found;
                let Slot { day, apart, .. } = &mut slots[at];
                *apart |= fragment.apart;
                day.folded.merge(fragment.folded);
                for (hour, counts) in fragment.hours {
                    day.hour(hour).merge(counts);
                }
                for (dimension, text, counts) in fragment.values {
                    let dimension = Dimension::ALL.get(usize::from(dimension));
                    let text = usize::from(text);
                    if let (Some(dimension), Some(number)) = (dimension, numbers.get_mut(text)) {
                        let number = *number.get_or_insert_with(|| texts.of(part.strings[text]));
                        day.value(*dimension, number).merge(counts);
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
        // The stored fragments are in order.
        if self.slots.last().is_none_or(|last| place(last) < here) {
            self.slots.push(Slot::new(slot, epoch));
            return self.slots.len() - 1;
        }
        self.slots.binary_search_by_key(&here, place).unwrap_or_else(|at| {
            self.slots.insert(at, Slot::new(slot, epoch));
            at
        })
    }

    /// The place of a link to which something is added. The links have to come in their order, each once.
    pub(super) fn add(&mut self, slot: u32, epoch: u32) -> Place {
        match self.slots.binary_search_by_key(&(slot, epoch), |known| (known.slot, known.epoch)) {
            Ok(at) => {
                self.slots[at].changed = true;
                Place::Stored(at)
            }
            Err(_) => {
                self.added.push(Slot { changed: true, ..Slot::new(slot, epoch) });
                Place::Added(self.added.len() - 1)
            }
        }
    }

    /// The link at a place.
    pub(super) fn at(&mut self, place: Place) -> &mut Slot {
        match place {
            Place::Stored(at) => &mut self.slots[at],
            Place::Added(at) => &mut self.added[at],
        }
    }

    /// Writes the page with the additions.
    pub(super) fn write_changed(mut self, tree: &Tree, batch: &mut Batch) -> Result<(), StoreError> {
        for slot in self.slots.iter_mut().chain(&mut self.added).filter(|slot| slot.changed) {
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
        let Self { day, page, texts, slots, added, parts: stored, .. } = self;
        let mut writer = PageWriter::new(tree, batch, page_key(day, page), &texts);
        let mut write = |Slot { slot, epoch, day, apart, .. }: &Slot| {
            writer.slot((slot % SLOTS_PER_PAGE) as u8, *epoch, day, *apart);
        };
        let mut added = added.iter().peekable();
        let place = |slot: &Slot| (slot.slot, slot.epoch);
        for slot in &slots {
            while let Some(before) = added.next_if(|added| place(added) < place(slot)) {
                write(before);
            }
            write(slot);
        }
        added.for_each(write);
        for surplus in writer.end()..stored {
            let mut key = page_key(day, page);
            key.extend_from_slice(&surplus.to_be_bytes());
            batch.remove(&key);
        }
    }
}

impl Slot {
    fn new(slot: u32, epoch: u32) -> Self {
        Self { slot, epoch, day: SlotDay::default(), apart: false, newcomers: SmallVec::new(), changed: false }
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
        let mut part = Part::read(open_live_record(tree, &key, &value)?)?;
        while let Some(fragment) = part.next()? {
            let mut found = DayPart { folded: fragment.folded, ..DayPart::default() };
            for (hour, counts) in fragment.hours {
                found.hour(day * 24 + u32::from(hour), counts, asked);
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

/// The part of a text that may be stored as a value.
pub(super) fn value_text(text: &str) -> &str {
    let mut start = text.len().saturating_sub(VALUE_BYTES_MAX);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}
