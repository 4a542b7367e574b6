//! Statistics of visits: the visits since the last checkpoint, in memory, and how a checkpoint merges them.
//!
//! Since a link may be visited a thousand times a second, and a million links once a day, counting must cost next to nothing: a
//! command appends a few bytes to a list. A checkpoint sorts the list and merges it into the records of its days
//! (`stats_page.rs`), of 256 links each.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use waypost_protocol::clicks::{self, ClickDelta, Counts, Dimension};
use waypost_protocol::sketch::Register;

use super::day_part::DayPart;
use super::slot_day::{ALL, Numbers, SlotDay, Texts};
use super::stats_page::{self, Page};
use crate::{Batch, StoreError, Tree};

/// The number of days for which hours are kept.
pub const HOURS_KEPT_DAYS: u32 = 90;

/// The dimension values that visits have in common.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Profile {
    bot: bool,
    /// The number of each value, from 1; 0 = none.
    values: Values,
}

type Values = [u32; Dimension::COUNT];

/// Visits of a link with the same profile, and one of their visitors. Each further visitor has an entry without visits.
#[derive(Clone, Copy)]
struct Recent {
    slot: u32,
    /// The epoch of the slot. If the link is deleted before the checkpoint, its visits count only for the sum of all.
    life: u32,
    hour: u32,
    profile: u32,
    count: u32,
    visitor: Option<std::num::NonZeroU32>,
}

impl Recent {
    fn day(&self) -> u32 {
        self.hour / 24
    }

    fn visitor(&self) -> Option<Register> {
        self.visitor.map(|register| Register(register.get()))
    }
}

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

    /// Translates a profile to the numbers that `texts` gives its values.
    fn translate(&self, profile: u32, texts: &mut Texts) -> Profile {
        let Profile { bot, values } = *self.profiles.get(profile);
        let number = |value: u32| value.checked_sub(1).map_or(0, |own| texts.of(self.strings.get(own)) + 1);
        Profile { bot, values: values.map(number) }
    }
}

impl Profile {
    fn count(&self, day: &mut SlotDay, hour: u32, count: u64) {
        if count == 0 {
            return;
        }
        day.hour((hour % 24) as u8).add(self.bot, count);
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
    list: Vec<Recent>,
    /// The days in the list: usually one or two.
    days: BTreeSet<u32>,
}

/// The sum of all links on a day.
#[derive(Default)]
struct Total {
    counts: HashMap<(u32, u32), u64>,
    visitors: Vec<Register>,
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
            let profile = self.names.profile(&Profile { bot: tally.bot, values });
            last = profile;
            self.list.push(Recent { slot, life, hour, profile, count: tally.count, visitor: visitors.next() });
        }
        self.list.extend(visitors.map(|visitor| Recent {
            slot,
            life,
            hour,
            profile: last,
            count: 0,
            visitor: Some(visitor),
        }));
    }

    /// A third of the memory of the visits: a checkpoint costs more for the links that it touches than for these bytes, and with
    /// more visits at a time it touches fewer links for each. Plus all memory of the strings, of which there may be as many.
    pub(super) fn pending_bytes(&self) -> u64 {
        (self.names.bytes + self.list.len() * size_of::<Recent>() / 3) as u64
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
        let list = if self.days.range(days.clone()).next().is_some() { &self.list[..] } else { &[] };
        for recent in list {
            if days.contains(&recent.day()) && (slot == ALL || recent.slot == slot && recent.life == life) {
                totals.entry(recent.day()).or_default().add(recent);
            }
        }
        let day = |(day, total): (u32, Total)| {
            let mut sum = SlotDay::default();
            let visitors = total.count(&mut sum, &self.names, texts);
            sum.visitors.add(visitors);
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
        let list = if self.days.range(days.clone()).next().is_some() { &self.list[..] } else { &[] };
        for recent in list {
            if recent.count == 0 || !days.contains(&recent.day()) || !lives(recent.slot, recent.life) {
                continue;
            }
            let mut counts = Counts::default();
            counts.add(self.names.profiles.get(recent.profile).bot, recent.count.into());
            let of = slots.entry(recent.slot).or_default();
            // The visits are usually of one or two days, and neighbours of the same day.
            let at = of.iter().rposition(|(day, _)| *day == recent.day()).unwrap_or_else(|| {
                of.push((recent.day(), DayPart::default()));
                of.len() - 1
            });
            of[at].1.hour(recent.hour, counts, asked);
        }
        slots
    }

    /// Merges everything into the records of its days, and is empty then. `epochs` has the epoch of each slot. Returns the days.
    pub(super) fn write(
        &mut self,
        tree: &Tree,
        batch: &mut Batch,
        epochs: &dyn Fn(u32) -> Option<u32>,
    ) -> Result<BTreeSet<u32>, StoreError> {
        let Self { names, mut list, .. } = std::mem::take(self);
        // By page, then by link, so each record is read and written once.
        let page = |recent: &Recent| (recent.day(), stats_page::page_of(recent.slot));
        list.sort_unstable_by_key(|recent| (page(recent), recent.slot, recent.hour, recent.profile));
        let mut totals: BTreeMap<u32, Total> = BTreeMap::new();
        let lives = |slot: u32, life: u32| epochs(slot) == Some(life);
        let mut profiles: HashMap<u32, Profile> = HashMap::new();
        for recents in list.chunk_by(|one, other| page(one) == page(other)) {
            let (day, number) = page(&recents[0]);
            let total = totals.entry(day).or_default();
            recents.iter().for_each(|recent| total.add(recent));
            let mut living = recents.iter().filter(|recent| lives(recent.slot, recent.life)).peekable();
            if living.peek().is_none() {
                continue;
            }
            let mut page = Page::load(tree, day, number, Texts::default(), lives)?;
            profiles.clear();
            for recent in living {
                let profile =
                    profiles.entry(recent.profile).or_insert_with(|| names.translate(recent.profile, &mut page.texts));
                let slot = page.slot(recent.slot, recent.life);
                profile.count(&mut slot.day, recent.hour, recent.count.into());
                slot.newcomers.extend(recent.visitor());
            }
            page.write_changed(tree, batch)?;
        }
        let days = totals.keys().copied().collect();
        for (day, total) in totals {
            let all = |slot, _| slot == ALL;
            let mut page = Page::load(tree, day, stats_page::page_of(ALL), Texts::default(), all)?;
            let mut texts = std::mem::take(&mut page.texts);
            let slot = page.slot(ALL, 0);
            slot.newcomers = total.count(&mut slot.day, &names, &mut texts);
            page.texts = texts;
            page.write_changed(tree, batch)?;
        }
        Ok(days)
    }
}

impl Total {
    fn add(&mut self, recent: &Recent) {
        *self.counts.entry((recent.hour, recent.profile)).or_default() += u64::from(recent.count);
        self.visitors.extend(recent.visitor());
    }

    /// Counts everything, and returns the visitors.
    fn count(self, day: &mut SlotDay, names: &Names, texts: &mut Texts) -> Vec<Register> {
        let mut values = Vec::new();
        for ((hour, profile), count) in self.counts {
            let Profile { bot, values: numbers } = names.translate(profile, texts);
            let mut counts = Counts::default();
            counts.add(bot, count);
            if count > 0 {
                day.hour((hour % 24) as u8).merge(counts);
                let known = Dimension::ALL.into_iter().zip(numbers).filter(|(_, number)| *number > 0);
                values.extend(known.map(|(dimension, number)| (dimension, number - 1, counts)));
            }
        }
        // All at once: there may be thousands, and inserting them one by one would move the others.
        day.add_values(values);
        self.visitors
    }
}

/// The visits of people and bots in a delta.
pub(super) fn counts(delta: &clicks::ClickDelta) -> Counts {
    let mut counts = Counts::default();
    delta.tallies.iter().for_each(|tally| counts.add(tally.bot, tally.count.into()));
    counts
}
