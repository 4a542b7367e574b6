//! Statistics of visits: the visits since the last checkpoint, in memory, and how a checkpoint merges them.
//!
//! Since a link may be visited a thousand times a second, and a million links once a day, counting must cost next to nothing: a
//! command appends a few bytes to a list. A checkpoint sorts the list and merges it into the records of its days
//! (`stats_page.rs`), of 256 links each.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use waypost_protocol::clicks::{self, ClickDelta, Counts, Dimension};
use waypost_protocol::sketch::Ranks;

use super::day_part::DayPart;
use super::recent::{List, Recent};
use super::slot_day::{ALL, Numbers, SlotDay, Texts};
use super::stats_page::{self, Page};
use super::turns::Turns;
use crate::{Batch, StoreError, Tree};

/// The number of days for which hours are kept.
pub const HOURS_KEPT_DAYS: u32 = 90;

/// What visits have in common.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Profile {
    bot: bool,
    /// Hours since 1970.
    hour: u32,
    /// The epoch of the slot. If the link is deleted before the checkpoint, its visits count only for the sum of all.
    life: u32,
    /// The number of each value, from 1; 0 = none.
    values: Values,
}

type Values = [u32; Dimension::COUNT];

#[derive(Default)]
struct Names {
    strings: Texts,
    profiles: Numbers<Profile>,
    last: Option<(Profile, u32)>,
    /// Their approximate size.
    bytes: usize,
}

impl Names {
    fn string(&mut self, text: &str) -> u32 {
        let before = self.strings.len();
        let number = self.strings.of(text);
        // Each string is stored twice, in the list and in the table.
        self.bytes += (self.strings.len() - before) * 2 * (text.len() + 40);
        number
    }

    fn profile(&mut self, profile: &Profile) -> u32 {
        // Most visits of a batch have the same profile as the one before.
        if let Some((last, number)) = self.last
            && last == *profile
        {
            return number;
        }
        let before = self.profiles.len();
        let number = self.profiles.of(profile);
        self.bytes += (self.profiles.len() - before) * 2 * (size_of::<Profile>() + 8);
        self.last = Some((*profile, number));
        number
    }

    /// The day of a profile.
    fn day(&self, profile: u32) -> u32 {
        self.profiles.get(profile).day()
    }

    /// Translates a profile to the numbers that `texts` gives its values.
    fn translate(&self, profile: u32, texts: &mut Texts) -> Profile {
        let profile = *self.profiles.get(profile);
        let number = |value: u32| value.checked_sub(1).map_or(0, |own| texts.of(self.strings.get(own)) + 1);
        Profile { values: profile.values.map(number), ..profile }
    }
}

impl Profile {
    fn day(&self) -> u32 {
        self.hour / 24
    }

    fn count(&self, day: &mut SlotDay, count: u64) {
        if count == 0 {
            return;
        }
        day.hour((self.hour % 24) as u8).add(self.bot, count);
        for (dimension, value) in Dimension::ALL.into_iter().zip(self.values) {
            if let Some(text) = value.checked_sub(1) {
                day.value(dimension, text).add(self.bot, count);
            }
        }
    }
}

/// The visits since the last checkpoint.
#[derive(Default)]
pub(super) struct Recents {
    names: Names,
    list: List,
    /// The days in the list: usually one or two.
    days: BTreeSet<u32>,
}

/// The sum of all links on a day.
#[derive(Default)]
struct Total {
    /// By profile.
    counts: Vec<u64>,
    visitors: Ranks,
}

/// Profiles as they are translated for one page.
#[derive(Default)]
struct Translated {
    /// By profile.
    profiles: Vec<Option<Profile>>,
    /// Those that are there.
    known: Vec<u32>,
}

impl Translated {
    fn of(&mut self, profile: u32, names: &Names, texts: &mut Texts) -> Profile {
        let at = profile as usize;
        if self.profiles.len() <= at {
            self.profiles.resize(at + 1, None);
        }
        *self.profiles[at].get_or_insert_with(|| {
            self.known.push(profile);
            names.translate(profile, texts)
        })
    }

    /// For the next page.
    fn clear(&mut self) {
        self.known.drain(..).for_each(|profile| self.profiles[profile as usize] = None);
    }
}

impl Recents {
    /// The numbers of those strings of a batch that its visits name. Strings that are not counted separately come first.
    pub(super) fn strings(&mut self, strings: &[String], deltas: &[ClickDelta]) -> Vec<u32> {
        let mut numbers = vec![0; strings.len() + 1];
        for value in deltas.iter().flat_map(|delta| &delta.tallies).flat_map(|tally| tally.values) {
            let value = usize::from(value);
            if let Some(text) = value.checked_sub(1).and_then(|at| strings.get(at))
                && numbers[value] == 0
            {
                numbers[value] = self.names.string(stats_page::value_text(text)) + 1;
            }
        }
        numbers
    }

    /// Adds the visits of a slot in an epoch, or with `None` to the sum of all only. `strings` are the numbers of the batch's strings.
    pub(super) fn add(&mut self, place: Option<(u32, u32)>, hour: u32, delta: &ClickDelta, strings: &[u32]) {
        if delta.tallies.is_empty() {
            return;
        }
        self.days.insert(hour / 24);
        let (slot, life) = place.unwrap_or((ALL, 0));
        let mut visitors = delta.visitors.iter().filter_map(|register| std::num::NonZeroU32::new(register.0));
        let mut last = 0;
        for tally in &delta.tallies {
            let values = tally.values.map(|value| strings.get(usize::from(value)).copied().unwrap_or(0));
            last = self.names.profile(&Profile { bot: tally.bot, hour, life, values });
            self.list.push(Recent { slot, profile: last, count: tally.count, visitor: visitors.next() });
        }
        visitors.for_each(|visitor| self.list.push(Recent { slot, profile: last, count: 0, visitor: Some(visitor) }));
    }

    /// About how many bytes of memory they take.
    pub(super) fn bytes(&self) -> u64 {
        (self.names.bytes + self.list.bytes()) as u64
    }

    /// A weight of each visit, and all memory of the strings, of which there may be as many.
    pub(super) fn pending_bytes(&self) -> u64 {
        self.names.bytes as u64 + self.list.weight()
    }

    /// The visits of a slot on some days.
    pub(super) fn days_of(
        &self,
        slot: u32,
        life: u32,
        days: std::ops::Range<u32>,
        texts: &mut Texts,
    ) -> BTreeMap<u32, SlotDay> {
        let mut totals: BTreeMap<u32, Total> = BTreeMap::new();
        // Most queries are about days that are long over.
        if self.days.range(days.clone()).next().is_none() {
            return BTreeMap::new();
        }
        for recent in self.list.iter().filter(|recent| slot == ALL || recent.slot == slot) {
            let profile = self.names.profiles.get(recent.profile);
            if days.contains(&profile.day()) && (slot == ALL || profile.life == life) {
                totals.entry(profile.day()).or_default().add(&recent);
            }
        }
        let day = |(day, total): (u32, Total)| {
            let mut sum = SlotDay::default();
            total.count(&mut sum, &self.names, texts);
            sum.visitors.add(total.visitors.registers());
            (day, sum)
        };
        totals.into_iter().map(day).collect()
    }

    /// The visits of each slot in its present epoch, by day, and the part of them in a range of hours.
    pub(super) fn by_slot(
        &self,
        asked: &std::ops::Range<u32>,
        lives: impl Fn(u32, u32) -> bool,
    ) -> BTreeMap<u32, Vec<(u32, DayPart)>> {
        let days = asked.start / 24..asked.end.div_ceil(24);
        let mut slots: BTreeMap<u32, Vec<(u32, DayPart)>> = BTreeMap::new();
        if self.days.range(days.clone()).next().is_none() {
            return slots;
        }
        for recent in self.list.iter() {
            let Profile { bot, hour, life, .. } = *self.names.profiles.get(recent.profile);
            let day = hour / 24;
            if recent.count == 0 || !days.contains(&day) || !lives(recent.slot, life) {
                continue;
            }
            let mut counts = Counts::default();
            counts.add(bot, recent.count.into());
            let of = slots.entry(recent.slot).or_default();
            // The visits are usually of one or two days, and neighbours of the same day.
            let at = of.iter().rposition(|(other, _)| *other == day).unwrap_or_else(|| {
                of.push((day, DayPart::default()));
                of.len() - 1
            });
            of[at].1.hour(hour, counts, asked);
        }
        slots
    }

    /// Merges everything into the records of its days. `epochs` has the epoch of each slot. Returns the days.
    pub(super) fn merge(
        &self,
        tree: &Tree,
        batch: &mut Batch,
        epochs: &dyn Fn(u32) -> Option<u32>,
    ) -> Result<BTreeSet<u32>, StoreError> {
        let Self { names, list, days } = self;
        let mut translated = Translated::default();
        for day in days {
            let of_day = match days.len() {
                1 => Cow::Borrowed(list),
                _ => Cow::Owned(list.only(|recent| names.day(recent.profile) == *day)),
            };
            write_day(tree, batch, epochs, names, *day, &of_day, &mut translated)?;
        }
        Ok(days.clone())
    }
}

/// Merges the visits of a day into its records.
fn write_day(
    tree: &Tree,
    batch: &mut Batch,
    epochs: &dyn Fn(u32) -> Option<u32>,
    names: &Names,
    day: u32,
    list: &List,
    translated: &mut Translated,
) -> Result<(), StoreError> {
    let lives = |slot: u32, life: u32| epochs(slot) == Some(life);
    let mut total = Total::default();
    let mut turns = Turns::default();
    // By link, so each record is read and written once.
    list.by_page(|of_page| {
        turns.give_way();
        of_page.iter().for_each(|recent| total.add(recent));
        let is_alive = |recent: &Recent| lives(recent.slot, names.profiles.get(recent.profile).life);
        if !of_page.iter().any(is_alive) {
            return Ok(());
        }
        let mut page = Page::load(tree, day, stats_page::page_of(of_page[0].slot), Texts::default(), lives)?;
        translated.clear();
        for of_slot in of_page.chunk_by(|one, other| one.slot == other.slot) {
            let Some(life) = epochs(of_slot[0].slot) else { continue };
            let mut place = None;
            for alike in of_slot.chunk_by(|one, other| one.profile == other.profile) {
                if names.profiles.get(alike[0].profile).life != life {
                    continue;
                }
                let profile = translated.of(alike[0].profile, names, &mut page.texts);
                let at = *place.get_or_insert_with(|| page.add(of_slot[0].slot, life));
                let slot = page.at(at);
                profile.count(&mut slot.day, alike.iter().map(|recent| u64::from(recent.count)).sum());
                slot.newcomers.extend(alike.iter().filter_map(Recent::visitor));
            }
        }
        page.write_changed(tree, batch)
    })?;
    let all = |slot, _| slot == ALL;
    let mut page = Page::load(tree, day, stats_page::page_of(ALL), Texts::default(), all)?;
    let mut texts = std::mem::take(&mut page.texts);
    let at = page.add(ALL, 0);
    let slot = page.at(at);
    total.count(&mut slot.day, names, &mut texts);
    slot.newcomers = total.visitors.registers().collect();
    page.texts = texts;
    page.write_changed(tree, batch)
}

impl Total {
    fn add(&mut self, recent: &Recent) {
        let at = recent.profile as usize;
        if self.counts.len() <= at {
            self.counts.resize(at + 1, 0);
        }
        self.counts[at] += u64::from(recent.count);
        if let Some(visitor) = recent.visitor() {
            self.visitors.add(visitor);
        }
    }

    /// Counts all visits.
    fn count(&self, day: &mut SlotDay, names: &Names, texts: &mut Texts) {
        let mut values = Vec::new();
        for (profile, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let Profile { bot, hour, values: numbers, .. } = names.translate(profile as u32, texts);
            let mut counts = Counts::default();
            counts.add(bot, *count);
            day.hour((hour % 24) as u8).merge(counts);
            let known = Dimension::ALL.into_iter().zip(numbers).filter(|(_, number)| *number > 0);
            values.extend(known.map(|(dimension, number)| (dimension, number - 1, counts)));
        }
        // All at once: there may be thousands, and inserting them one by one would move the others.
        day.add_values(values);
    }
}

/// The visits of people and bots in a delta.
pub(super) fn counts(delta: &clicks::ClickDelta) -> Counts {
    let mut counts = Counts::default();
    delta.tallies.iter().for_each(|tally| counts.add(tally.bot, tally.count.into()));
    counts
}
