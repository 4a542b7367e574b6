//! Statistics of visits: what came since the last checkpoint, in memory, and what a checkpoint makes of it.
//!
//! Since a link may be visited a thousand times a second, and a million links once a day, counting must cost next to nothing: a
//! command appends a few bytes to a list. A checkpoint sorts the list and adds it to the records of the days that it touches
//! (`stats_page.rs`), of 256 links each.

use std::collections::HashMap;

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
    hour: u32,
    profile: u32,
    count: u32,
}

#[derive(Clone, Copy)]
struct Visitor {
    slot: u32,
    day: u32,
    register: Register,
}

#[derive(Default)]
struct Names {
    strings: Numbers<String>,
    profiles: Numbers<Profile>,
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
        let before = self.profiles.things.len();
        let number = self.profiles.of(profile);
        self.bytes += (self.profiles.things.len() - before) * 2 * (size_of::<Profile>() + 8);
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
    /// Adds the visits of a link. `strings` are those of the batch.
    pub(super) fn add(&mut self, slot: u32, hour: u32, delta: &ClickDelta, strings: &[String]) {
        for tally in &delta.tallies {
            let values = tally.values.map(|value| {
                let text = usize::from(value).checked_sub(1).and_then(|at| strings.get(at));
                text.map_or(0, |text| self.names.string(stats_page::value_text(text)) + 1)
            });
            let profile = self.names.profile(&Profile { bot: tally.bot, values });
            self.tallies.push(Recent { slot, hour, profile, count: tally.count });
        }
        let day = hour / 24;
        self.visitors.extend(delta.visitors.iter().map(|register| Visitor { slot, day, register: *register }));
    }

    /// Forgets a link.
    pub(super) fn forget(&mut self, slot: u32) {
        self.tallies.retain(|tally| tally.slot != slot);
        self.visitors.retain(|visitor| visitor.slot != slot);
    }

    /// Half of what visits take in memory: a checkpoint is dearer by the links that it touches than by these bytes. And all of
    /// what strings take, of which there may be as many.
    pub(super) fn pending_bytes(&self) -> u64 {
        self.names.bytes as u64
            + (self.tallies.len() * size_of::<Recent>() + self.visitors.len() * size_of::<Visitor>()) as u64 / 2
    }

    fn day_of(&self, slot: u32, day: u32) -> SlotDay {
        let mut found = SlotDay::default();
        for tally in self.tallies.iter().filter(|tally| (slot == ALL || tally.slot == slot) && tally.hour / 24 == day) {
            self.names.count(&mut found, tally);
        }
        let visitors =
            self.visitors.iter().filter(|visitor| (slot == ALL || visitor.slot == slot) && visitor.day == day);
        found.visitors.add(visitors.map(|visitor| visitor.register));
        found
    }

    /// Adds everything to the records of its days, and is empty then. `epochs` tells the life of each slot.
    pub(super) fn write(
        &mut self,
        tree: &Tree,
        batch: &mut Batch,
        epochs: impl Fn(u32) -> Option<u32>,
    ) -> Result<(), StoreError> {
        let Self { names, mut tallies, mut visitors } = std::mem::take(self);
        // By page, then by link: each record is read and written once.
        let place = |day: u32, slot: u32| (day, stats_page::page_of(slot), slot);
        tallies.sort_unstable_by_key(|tally| (place(tally.hour / 24, tally.slot), tally.hour, tally.profile));
        visitors.sort_unstable_by_key(|visitor| (place(visitor.day, visitor.slot), visitor.register));
        let mut totals: HashMap<u32, SlotDay> = HashMap::new();
        let (mut at, mut seen) = (0, 0);
        while at < tallies.len() {
            let (day, page, _) = place(tallies[at].hour / 24, tallies[at].slot);
            let mut changes: Vec<(u32, SlotDay)> = Vec::new();
            while let Some(tally) = tallies.get(at)
                && place(tally.hour / 24, tally.slot).0 == day
                && stats_page::page_of(tally.slot) == page
            {
                if changes.last().is_none_or(|(slot, _)| *slot != tally.slot) {
                    changes.push((tally.slot, SlotDay::default()));
                }
                let (_, change) = changes.last_mut().expect("invariant: one was just pushed");
                names.count(change, tally);
                names.count(totals.entry(day).or_default(), tally);
                at += 1;
            }
            for (slot, change) in &mut changes {
                let here = place(day, *slot);
                seen += visitors[seen..].iter().take_while(|other| place(other.day, other.slot) < here).count();
                let own = visitors[seen..].iter().take_while(|other| place(other.day, other.slot) == here).count();
                change.visitors.add(visitors[seen..seen + own].iter().map(|visitor| visitor.register));
                seen += own;
            }
            stats_page::merge(tree, batch, day, page, changes, &epochs)?;
        }
        for visitor in visitors.chunk_by(|one, other| one.day == other.day) {
            let total = totals.entry(visitor[0].day).or_default();
            total.visitors.add(visitor.iter().map(|visitor| visitor.register));
        }
        for (day, total) in totals {
            stats_page::merge(tree, batch, day, stats_page::page_of(ALL), vec![(ALL, total)], &|_| Some(0))?;
        }
        Ok(())
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
    let mut values: std::collections::BTreeMap<(Dimension, String), Counts> = std::collections::BTreeMap::new();
    for day in hours.start / 24..hours.end.div_ceil(24) {
        let mut found = stats_page::read(tree, day, slot, epoch)?;
        found.merge(recents.day_of(slot, day));
        found.bound(slot);
        if found.is_empty() {
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
    paths: std::collections::BTreeMap<String, (u64, UnixMs)>,
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

    pub(super) fn add(&mut self, delta: &OrphanDelta, strings: &[String]) {
        let path = usize::from(delta.path).checked_sub(1).and_then(|at| strings.get(at));
        let path = path.map_or(OTHER, String::as_str);
        let known = self.paths.contains_key(path) || self.paths.len() < ORPHANS_MAX;
        let (count, last) = self.paths.entry(if known { path } else { OTHER }.to_owned()).or_default();
        *count = count.saturating_add(delta.count.into());
        *last = (*last).max(delta.last);
        self.dirty = true;
    }

    pub(super) fn write(&mut self, tree: &Tree, batch: &mut Batch, now: UnixMs) {
        let before = self.paths.len();
        self.paths.retain(|_, (_, last)| last.saturating_add_ms(ORPHAN_MS) > now);
        if std::mem::take(&mut self.dirty) || self.paths.len() != before {
            let paths: Vec<(&str, u64, UnixMs)> =
                self.paths.iter().map(|(path, (count, last))| (path.as_str(), *count, *last)).collect();
            batch.insert(ORPHANS_KEY, super::seal_record(tree, ORPHANS_KEY, &super::encode(&paths)));
        }
    }

    pub(super) fn list(&self) -> Vec<Orphan> {
        let orphan = |(path, (count, last)): (&String, &(u64, UnixMs))| Orphan {
            path: path.clone(),
            count: *count,
            last: *last,
        };
        self.paths.iter().map(orphan).collect()
    }
}

/// The visits of people and bots in a delta.
pub(super) fn counts(delta: &clicks::ClickDelta) -> Counts {
    let mut counts = Counts::default();
    delta.tallies.iter().for_each(|tally| counts.add(tally.bot, tally.count.into()));
    counts
}
