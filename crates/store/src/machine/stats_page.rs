//! Records of statistics: one day of 256 links, in as many parts as are needed.
//!
//! | key | record |
//! |---|---|
//! | `t` + day `u16` + page `u32` + part `u16` | fragments of the day of each link: adding them up gives the day |
//! | `h` + day `u16` + slot `u32` | the sketch of the visitors of one link on one day, when it is too long for a fragment |
//!
//! Each fragment names the life of its slot, so what is left of a link that was deleted is not taken for another's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use waypost_protocol::clicks::{Counts, Dimension, OTHER};
use waypost_protocol::sketch::{Register, Sketch};

use super::{decode, encode, open_record, seal_record};
use crate::{Batch, StoreError, Tree};

const PAGE_PREFIX: u8 = b't';
const SKETCH_PREFIX: u8 = b'h';

/// Links that share a record.
const SLOTS_PER_PAGE: u32 = 256;

/// About the size of a part: well below the largest value of the store.
const PART_BYTES: usize = 16 * 1024;

/// A sketch with more registers has a record of its own.
const REGISTERS_HERE_MAX: usize = 256;

/// Values of one dimension that one link has apart on one day; the rest is [`OTHER`].
const VALUES_MAX: usize = 50;

/// The same for the sum of all links.
const VALUES_OF_ALL_MAX: usize = 300;

/// The longest value, in bytes: of a host name, what is cut off is the front.
const VALUE_BYTES_MAX: usize = 80;

pub(super) fn page_of(slot: u32) -> u32 {
    slot / SLOTS_PER_PAGE
}

/// What is known of one link on one day.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct SlotDay {
    pub(super) hours: BTreeMap<u8, Counts>,
    /// The sum of a day whose hours were folded.
    pub(super) folded: Counts,
    pub(super) values: BTreeMap<(Dimension, String), Counts>,
    pub(super) visitors: Sketch,
}

impl SlotDay {
    pub(super) fn is_empty(&self) -> bool {
        self.hours.is_empty() && self.folded == Counts::default() && self.visitors.is_empty()
    }

    pub(super) fn total(&self) -> Counts {
        let mut total = self.folded;
        self.hours.values().for_each(|counts| total.merge(*counts));
        total
    }

    pub(super) fn value(&mut self, dimension: Dimension, text: &str) -> &mut Counts {
        self.values.entry((dimension, text.to_owned())).or_default()
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.folded.merge(other.folded);
        other.hours.into_iter().for_each(|(hour, counts)| self.hours.entry(hour).or_default().merge(counts));
        other.values.into_iter().for_each(|(value, counts)| self.values.entry(value).or_default().merge(counts));
        self.visitors.merge(&other.visitors);
    }

    /// Keeps the values that were seen most, and sums up the others.
    pub(super) fn bound(&mut self, slot: u32) {
        let max = if slot == super::stats::ALL { VALUES_OF_ALL_MAX } else { VALUES_MAX };
        for dimension in Dimension::ALL {
            let range = (dimension, String::new())..=(dimension, "\u{10FFFF}".to_owned());
            let mut found: Vec<(u64, String)> = self
                .values
                .range(range)
                .filter(|((_, text), _)| text != OTHER)
                .map(|((_, text), counts)| (counts.people + counts.bots, text.clone()))
                .collect();
            if found.len() <= max {
                continue;
            }
            found.sort_unstable_by(|one, other| other.0.cmp(&one.0).then_with(|| one.1.cmp(&other.1)));
            for (_, text) in found.split_off(max) {
                let counts = self.values.remove(&(dimension, text)).unwrap_or_default();
                self.value(dimension, OTHER).merge(counts);
            }
        }
    }
}

/// As it is stored.
#[derive(Serialize, Deserialize, Default)]
struct Part {
    strings: Vec<String>,
    fragments: Vec<Fragment>,
}

#[derive(Serialize, Deserialize)]
struct Fragment {
    /// Within the page.
    slot: u8,
    epoch: u32,
    hours: Vec<(u8, u64, u64)>,
    folded: (u64, u64),
    /// Dimension, number of the string, people, bots.
    values: Vec<(u8, u16, u64, u64)>,
    registers: Vec<Register>,
    /// Whether the visitors have a record of their own.
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

/// The days of the links of a page, by slot and epoch; and how many parts it has. Sketches apart are not read.
struct Page {
    slots: BTreeMap<(u32, u32), (SlotDay, bool)>,
    parts: u16,
    /// Fragments that were not wanted.
    left_out: usize,
}

fn load(tree: &Tree, day: u32, page: u32, wanted: impl Fn(u32, u32) -> bool) -> Result<Page, StoreError> {
    let mut found = Page { slots: BTreeMap::new(), parts: 0, left_out: 0 };
    for entry in tree.scan_prefix(&page_key(day, page)) {
        let (key, value) = entry?;
        let part: Part = decode("statistics", open_record(tree, &key, &value)?)?;
        found.parts += 1;
        for fragment in part.fragments {
            let slot = page.wrapping_mul(SLOTS_PER_PAGE) + u32::from(fragment.slot);
            if !wanted(slot, fragment.epoch) {
                found.left_out += 1;
                continue;
            }
            let (slot_day, apart) = found.slots.entry((slot, fragment.epoch)).or_default();
            *apart |= fragment.apart;
            slot_day.folded.merge(Counts { people: fragment.folded.0, bots: fragment.folded.1 });
            for (hour, people, bots) in fragment.hours {
                slot_day.hours.entry(hour).or_default().merge(Counts { people, bots });
            }
            for (dimension, text, people, bots) in fragment.values {
                let dimension = Dimension::ALL.get(usize::from(dimension));
                if let (Some(dimension), Some(text)) = (dimension, part.strings.get(usize::from(text))) {
                    slot_day.value(*dimension, text).merge(Counts { people, bots });
                }
            }
            slot_day.visitors.add(fragment.registers);
        }
    }
    Ok(found)
}

fn load_sketch(tree: &Tree, day: u32, slot: u32, epoch: u32) -> Result<Option<Sketch>, StoreError> {
    let key = sketch_key(day, slot);
    let Some(value) = tree.get(&key)? else { return Ok(None) };
    let apart: Apart = decode("visitors", open_record(tree, &key, &value)?)?;
    Ok(Sketch::unpack(&apart.packed).filter(|_| apart.epoch == epoch))
}

/// What is stored of one link on one day.
pub(super) fn read(tree: &Tree, day: u32, slot: u32, epoch: u32) -> Result<SlotDay, StoreError> {
    let page = load(tree, day, page_of(slot), |other, life| other == slot && life == epoch)?;
    let Some((mut found, apart)) = page.slots.into_values().next() else { return Ok(SlotDay::default()) };
    if apart && let Some(sketch) = load_sketch(tree, day, slot, epoch)? {
        found.visitors.merge(&sketch);
    }
    Ok(found)
}

/// Adds to the records of a page. What belongs to lives of slots that are over is left out.
pub(super) fn merge(
    tree: &Tree,
    batch: &mut Batch,
    day: u32,
    page: u32,
    changes: Vec<(u32, SlotDay)>,
    epochs: &dyn Fn(u32) -> Option<u32>,
) -> Result<(), StoreError> {
    let mut stored = load(tree, day, page, |slot, epoch| epochs(slot) == Some(epoch))?;
    for (slot, change) in changes {
        let Some(epoch) = epochs(slot) else { continue };
        let (slot_day, apart) = stored.slots.entry((slot, epoch)).or_default();
        if *apart
            && !change.visitors.is_empty()
            && let Some(sketch) = load_sketch(tree, day, slot, epoch)?
        {
            slot_day.visitors.merge(&sketch);
        }
        slot_day.merge(change);
        slot_day.bound(slot);
        if slot_day.visitors.registers().len() > REGISTERS_HERE_MAX {
            let key = sketch_key(day, slot);
            let record = Apart { epoch, packed: slot_day.visitors.pack() };
            batch.insert(&key, seal_record(tree, &key, &encode(&record)));
            slot_day.visitors = Sketch::default();
            *apart = true;
        }
    }
    write(tree, batch, day, page, stored);
    Ok(())
}

/// Removes from a day what belongs to lives of slots that are over, and with `fold` sums up its hours.
pub(super) fn clean(
    tree: &Tree,
    batch: &mut Batch,
    day: u32,
    epochs: &dyn Fn(u32) -> Option<u32>,
    fold: bool,
) -> Result<(), StoreError> {
    let lives = |slot: u32, epoch: u32| slot == super::stats::ALL || epochs(slot) == Some(epoch);
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
        let mut stored = load(tree, day, page, lives)?;
        if !fold && stored.left_out == 0 {
            continue;
        }
        for (slot_day, _) in stored.slots.values_mut().filter(|_| fold) {
            slot_day.folded = slot_day.total();
            slot_day.hours.clear();
        }
        write(tree, batch, day, page, stored);
    }
    for entry in tree.scan_prefix(&of_day(SKETCH_PREFIX)) {
        let (key, value) = entry?;
        let apart: Apart = decode("visitors", open_record(tree, &key, &value)?)?;
        if !lives(number(&key), apart.epoch) {
            batch.remove(&key);
        }
    }
    Ok(())
}

fn write(tree: &Tree, batch: &mut Batch, day: u32, page: u32, stored: Page) {
    let mut writer = PageWriter { tree, batch, key: page_key(day, page), parts: 0, part: Part::default(), bytes: 0 };
    for ((slot, epoch), (slot_day, apart)) in stored.slots {
        let mut fragment = Fragment {
            slot: (slot % SLOTS_PER_PAGE) as u8,
            epoch,
            hours: slot_day.hours.iter().map(|(hour, counts)| (*hour, counts.people, counts.bots)).collect(),
            folded: (slot_day.folded.people, slot_day.folded.bots),
            values: Vec::new(),
            registers: slot_day.visitors.registers().to_vec(),
            apart,
        };
        writer.room(12 + fragment.hours.len() * 12 + fragment.registers.len() * 4);
        for ((dimension, text), counts) in &slot_day.values {
            if writer.bytes + text.len() + 16 > PART_BYTES {
                // The rest goes into a fragment of the next part.
                let empty = Fragment {
                    hours: Vec::new(),
                    folded: (0, 0),
                    registers: Vec::new(),
                    values: Vec::new(),
                    ..fragment
                };
                writer.part.fragments.push(std::mem::replace(&mut fragment, empty));
                writer.end_part();
            }
            let number = writer.string(text);
            writer.bytes += 14;
            fragment.values.push((*dimension as u8, number, counts.people, counts.bots));
        }
        writer.part.fragments.push(fragment);
    }
    writer.end_part();
    let parts = writer.parts;
    for surplus in parts..stored.parts {
        let mut key = page_key(day, page);
        key.extend_from_slice(&surplus.to_be_bytes());
        batch.remove(&key);
    }
}

struct PageWriter<'a> {
    tree: &'a Tree,
    batch: &'a mut Batch,
    key: Vec<u8>,
    parts: u16,
    part: Part,
    bytes: usize,
}

impl PageWriter<'_> {
    /// Begins another part if so many bytes more would make this one too long.
    fn room(&mut self, bytes: usize) {
        if self.bytes > 0 && self.bytes + bytes > PART_BYTES {
            self.end_part();
        }
        self.bytes += bytes;
    }

    fn string(&mut self, text: &str) -> u16 {
        let at = self.part.strings.iter().position(|known| known == text).unwrap_or_else(|| {
            self.bytes += text.len() + 2;
            self.part.strings.push(text.to_owned());
            self.part.strings.len() - 1
        });
        at as u16
    }

    fn end_part(&mut self) {
        let part = std::mem::take(&mut self.part);
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

/// What may be stored as a value.
pub(super) fn value_text(text: &str) -> &str {
    let mut start = text.len().saturating_sub(VALUE_BYTES_MAX);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}
