//! Statistics of visits: what came since the last checkpoint, in memory, and what a checkpoint makes of it.
//!
//! Since a link may be visited a thousand times a second, and a million links once a day, counting must cost next to nothing: a
//! command appends a few bytes to a list. A checkpoint sorts the list and adds it to the records of the days that it touches
//! (`stats_page.rs`), of 256 links each.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use waypost_protocol::clicks::{ClickDelta, Counts, Dimension, HOUR_MS, OTHER, Orphan, OrphanDelta, Stats};
use waypost_protocol::sketch::Register;
use waypost_protocol::{UnixMs, clicks};

use super::stats_page::{self, SlotDay};
use crate::{Batch, StoreError, Tree};

/// Not a link: the sum of all links of the shard.
pub(super) const ALL: u32 = u32::MAX;

/// Paths that are counted apart; what comes after is counted as [`OTHER`].
const ORPHANS_MAX: usize = 150;

/// An orphan that was not visited for so long is forgotten.
const ORPHAN_MS: u64 = 30 * 24 * HOUR_MS;

/// How many days hours are kept apart from days.
pub const HOURS_KEPT_DAYS: u32 = 90;

/// Gives things numbers, in the order in which they come.
struct Numbers<T> {
    numbers: HashMap<T, u32>,
    things: Vec<T>,
}

impl<T> Default for Numbers<T> {
    fn default() -> Self {
        Self { numbers: HashMap::new(), things: Vec::new() }
    }
}

impl<T: Clone + Eq + std::hash::Hash> Numbers<T> {
    fn of<Q>(&mut self, thing: &Q) -> u32
    where
        T: std::borrow::Borrow<Q>,
        Q: Eq + std::hash::Hash + ToOwned<Owned = T> + ?Sized,
    {
        if let Some(number) = self.numbers.get(thing) {
            return *number;
        }
        let number = self.things.len() as u32;
        self.things.push(thing.to_owned());
        self.numbers.insert(thing.to_owned(), number);
        number
    }
}

/// What visits may have in common.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Profile {
    bot: bool,
    values: [u32; Dimension::COUNT],
}

#[derive(Clone, Copy)]
struct Recent {
    slot: u32,
    /// The life of the slot: what comes of a link that is deleted before the checkpoint counts for the sum of all only.
    life: u32,
    hour: u32,
    profile: u32,
    count: u32,
}

#[derive(Clone, Copy)]
struct Visitor {
    slot: u32,
    life: u32,
    day: u32,
    register: Register,
}

#[derive(Default)]
struct Names {
    strings: Numbers<String>,
    profiles: Numbers<Profile>,
    last: Option<(Profile, u32)>,
    /// About what they take.
    bytes: usize,
}

impl Names {
    fn string(&mut self, text: &str) -> u32 {
        let before = self.strings.things.len();
        let number = self.strings.of(text);
        // Twice, in the list and in the table.
        self.bytes += (self.strings.things.len() - before) * 2 * (text.len() + 40);
        number
    }

    fn profile(&mut self, profile: &Profile) -> u32 {
        // Most visits of a batch are like the one before.
        if let Some((last, number)) = self.last
            && last == *profile
        {
            return number;
        }
        let before = self.profiles.things.len();
        let number = self.profiles.of(profile);
        self.bytes += (self.profiles.things.len() - before) * 2 * (size_of::<Profile>() + 8);
        self.last = Some((*profile, number));
        number
    }

    fn count(&self, day: &mut SlotDay, tally: &Recent) {
        let profile = self.profiles.things[tally.profile as usize];
        let count = u64::from(tally.count);
        day.hours.entry((tally.hour % 24) as u8).or_default().add(profile.bot, count);
        for (dimension, value) in Dimension::ALL.into_iter().zip(profile.values) {
            let Some(at) = value.checked_sub(1) else { continue };
            day.value(dimension, &self.strings.things[at as usize]).add(profile.bot, count);
        }
    }
}

/// What came since the last checkpoint.
#[derive(Default)]
pub(super) struct Recents {
    names: Names,
    tallies: Vec<Recent>,
    visitors: Vec<Visitor>,
}

impl Recents {
    /// The numbers of a batch's strings; what is not counted apart comes first.
    pub(super) fn strings(&mut self, strings: &[String]) -> Vec<u32> {
        let number = |text: &String| self.names.string(stats_page::value_text(text)) + 1;
        std::iter::once(0).chain(strings.iter().map(number)).collect()
    }

    /// Adds the visits of a life of a slot; without one, to the sum of all only. `strings` are the numbers of those of the batch.
    pub(super) fn add(&mut self, place: Option<(u32, u32)>, hour: u32, delta: &ClickDelta, strings: &[u32]) {
        let (slot, life) = place.unwrap_or((ALL, 0));
        for tally in &delta.tallies {
            let values = tally.values.map(|value| strings.get(usize::from(value)).copied().unwrap_or(0));
            let profile = self.names.profile(&Profile { bot: tally.bot, values });
            self.tallies.push(Recent { slot, life, hour, profile, count: tally.count });
        }
        let day = hour / 24;
        self.visitors.extend(delta.visitors.iter().map(|register| Visitor { slot, life, day, register: *register }));
    }

    /// Half of what visits take in memory: a checkpoint is dearer by the links that it touches than by these bytes. And all of
    /// what strings take, of which there may be as many.
    pub(super) fn pending_bytes(&self) -> u64 {
        self.names.bytes as u64
            + (self.tallies.len() * size_of::<Recent>() + self.visitors.len() * size_of::<Visitor>()) as u64 / 2
    }

    /// What there is of a slot, by day.
    fn days_of(&self, slot: u32, life: u32) -> BTreeMap<u32, SlotDay> {
        let mut days: BTreeMap<u32, SlotDay> = BTreeMap::new();
        let wanted = |other: u32, of: u32| slot == ALL || other == slot && of == life;
        for tally in self.tallies.iter().filter(|tally| wanted(tally.slot, tally.life)) {
            self.names.count(days.entry(tally.hour / 24).or_default(), tally);
        }
        let mut visitors: BTreeMap<u32, Vec<Register>> = BTreeMap::new();
        for visitor in self.visitors.iter().filter(|visitor| wanted(visitor.slot, visitor.life)) {
            visitors.entry(visitor.day).or_default().push(visitor.register);
        }
        visitors.into_iter().for_each(|(day, registers)| days.entry(day).or_default().visitors.add(registers));
        days
    }

    /// Adds everything to the records of its days, and is empty then. `epochs` tells the life of each slot. Answers the days.
    pub(super) fn write(
        &mut self,
        tree: &Tree,
        batch: &mut Batch,
        epochs: &dyn Fn(u32) -> Option<u32>,
    ) -> Result<BTreeSet<u32>, StoreError> {
        let Self { names, mut tallies, mut visitors } = std::mem::take(self);
        // By page, then by link: each record is read and written once.
        let place = |day: u32, slot: u32| (day, stats_page::page_of(slot), slot);
        tallies.sort_unstable_by_key(|tally| (place(tally.hour / 24, tally.slot), tally.hour, tally.profile));
        visitors.sort_unstable_by_key(|visitor| (place(visitor.day, visitor.slot), visitor.register));
        let mut totals: BTreeMap<u32, SlotDay> = BTreeMap::new();
        let mut seen = 0;
        let same_page = |one: &Recent, other: &Recent| {
            let page = |recent: &Recent| (recent.hour / 24, stats_page::page_of(recent.slot));
            page(one) == page(other)
        };
        for tallies in tallies.chunk_by(same_page) {
            let day = tallies[0].hour / 24;
            let page = stats_page::page_of(tallies[0].slot);
            let mut changes: Vec<(u32, SlotDay)> = Vec::new();
            for tally in tallies {
                names.count(totals.entry(day).or_default(), tally);
                if tally.slot == ALL || epochs(tally.slot) != Some(tally.life) {
                    continue;
                }
                if changes.last().is_none_or(|(slot, _)| *slot != tally.slot) {
                    changes.push((tally.slot, SlotDay::default()));
                }
                let (_, change) = changes.last_mut().expect("invariant: one was just pushed");
                names.count(change, tally);
            }
            for (slot, change) in &mut changes {
                let here = place(day, *slot);
                seen += visitors[seen..].iter().take_while(|other| place(other.day, other.slot) < here).count();
                let own = visitors[seen..].iter().take_while(|other| place(other.day, other.slot) == here).count();
                let own = &visitors[seen..seen + own];
                seen += own.len();
                let living = own.iter().filter(|visitor| epochs(visitor.slot) == Some(visitor.life));
                change.visitors.add(living.map(|visitor| visitor.register));
            }
            if !changes.is_empty() {
                stats_page::merge(tree, batch, day, page, changes, epochs)?;
            }
        }
        for visitors in visitors.chunk_by(|one, other| one.day == other.day) {
            let total = totals.entry(visitors[0].day).or_default();
            total.visitors.add(visitors.iter().map(|visitor| visitor.register));
        }
        let days = totals.keys().copied().collect();
        for (day, total) in totals {
            stats_page::merge(tree, batch, day, stats_page::page_of(ALL), vec![(ALL, total)], &|_| Some(0))?;
        }
        Ok(days)
    }
}

/// The statistics of a slot between two hours.
pub(super) fn read(
    tree: &Tree,
    recents: &Recents,
    slot: u32,
    epoch: u32,
    hours: std::ops::Range<u32>,
) -> Result<Stats, StoreError> {
    let mut stats = Stats::default();
    let mut values: BTreeMap<(Dimension, String), Counts> = BTreeMap::new();
    let mut recent = recents.days_of(slot, epoch);
    for day in hours.start / 24..hours.end.div_ceil(24) {
        let mut found = stats_page::read(tree, day, slot, epoch)?;
        found.merge(recent.remove(&day).unwrap_or_default());
        found.bound(slot);
        // A day whose hours are no more belongs to the range that its noon is in.
        if found.is_empty() || found.hours.is_empty() && !hours.contains(&(day * 24 + 12)) {
            continue;
        }
        let total = found.total();
        let counted = hours.contains(&(day * 24)) && hours.contains(&(day * 24 + 23));
        for (hour, counts) in &found.hours {
            let hour = day * 24 + u32::from(*hour);
            if hours.contains(&hour) {
                stats.hours.push((hour, *counts));
            }
        }
        // A day that is only partly asked for counts by its hours, as long as these are known.
        let total = match counted || found.hours.is_empty() {
            true => total,
            false => {
                let mut part = Counts::default();
                stats.hours.iter().filter(|(hour, _)| hour / 24 == day).for_each(|(_, counts)| part.merge(*counts));
                part
            }
        };
        stats.days.push((day, total, found.visitors.count()));
        stats.visitors.merge(&found.visitors);
        for (key, counts) in found.values {
            values.entry(key).or_default().merge(counts);
        }
    }
    stats.values = values.into_iter().map(|((dimension, text), counts)| (dimension, text, counts)).collect();
    Ok(stats)
}

/// Visits to what is no link: the most recent paths, bounded.
#[derive(Default)]
pub(super) struct Orphans {
    paths: BTreeMap<String, (u64, UnixMs)>,
    dirty: bool,
}

const ORPHANS_KEY: &[u8] = b"o";

impl Orphans {
    pub(super) fn open(tree: &Tree) -> Result<Self, StoreError> {
        let Some(value) = tree.get(ORPHANS_KEY)? else { return Ok(Self::default()) };
        let paths: Vec<(String, u64, UnixMs)> =
            super::decode("orphans", super::open_record(tree, ORPHANS_KEY, &value)?)?;
        Ok(Self { paths: paths.into_iter().map(|(path, count, last)| (path, (count, last))).collect(), dirty: false })
    }

    /// Adds visits at `now`. What was not visited for long makes room.
    pub(super) fn add(&mut self, delta: &OrphanDelta, strings: &[String], now: UnixMs) {
        if self.paths.len() >= ORPHANS_MAX {
            self.paths.retain(|_, (_, last)| last.saturating_add_ms(ORPHAN_MS) > now);
        }
        let path = usize::from(delta.path).checked_sub(1).and_then(|at| strings.get(at));
        let path = path.map_or(OTHER, String::as_str);
        let known = self.paths.contains_key(path) || self.paths.len() < ORPHANS_MAX;
        let (count, last) = self.paths.entry(if known { path } else { OTHER }.to_owned()).or_default();
        *count = count.saturating_add(delta.count.into());
        *last = (*last).max(delta.last);
        self.dirty = true;
    }

    pub(super) fn write(&mut self, tree: &Tree, batch: &mut Batch) {
        if std::mem::take(&mut self.dirty) {
            let paths: Vec<(&str, u64, UnixMs)> =
                self.paths.iter().map(|(path, (count, last))| (path.as_str(), *count, *last)).collect();
            batch.insert(ORPHANS_KEY, super::seal_record(tree, ORPHANS_KEY, &super::encode(&paths)));
        }
    }

    /// Those of the last thirty days.
    pub(super) fn list(&self, now: UnixMs) -> Vec<Orphan> {
        let recent = self.paths.iter().filter(|(_, (_, last))| last.saturating_add_ms(ORPHAN_MS) > now);
        recent.map(|(path, (count, last))| Orphan { path: path.clone(), count: *count, last: *last }).collect()
    }
}

/// The visits of people and bots in a delta.
pub(super) fn counts(delta: &clicks::ClickDelta) -> Counts {
    let mut counts = Counts::default();
    delta.tallies.iter().for_each(|tally| counts.add(tally.bot, tally.count.into()));
    counts
}
