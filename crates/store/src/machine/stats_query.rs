//! A statistics query, answered in steps: the state is locked for reading memory, but never while days are read from the disk.
//!
//! ```text
//! begin (locked) ─► { read some days ─► settle them (locked) ─► add them up }* ─► search (`stats_top.rs`) ─► settle (locked) ─► load ─► answer
//! ```
//!
//! A checkpoint may run between two steps and move visits from memory into the records of their days. So a step that settles days
//! checks which of them have changed since they were read, has these read again, and takes the visits of all of them from memory under
//! the same lock: each visit belongs to one day, and each day is counted as of one moment.

use std::collections::BTreeMap;
use std::ops::Range;

use waypost_protocol::LinkKey;
use waypost_protocol::clicks::{Counts, Dimension, Ranking, Stats, Whose};

use super::shard::ShardMachine;
use super::slot_day::{ALL, SlotDay, Texts};
use super::stats_page;
use super::stats_top::{Found, Search, most_visited};
use crate::{StoreError, Tree};

mod top;

use top::{Top, TopPlace};

/// The number of days that are read between two locks: each may take 50 KB, and all of them are in memory at once.
const DAYS_AT_ONCE: u32 = 32;

/// How often changed days are read again outside of the lock. A checkpoint changes few days and takes
/// longer than reading these, so a second time is rare.
const READ_AGAIN_MAX: u32 = 3;

/// How often a query starts again because the link was deleted and created again, or reset, or a snapshot has replaced the
/// state. After that the client has to ask again: a client that resets a link in a loop must not make others wait for a lock.
const BEGUN_MAX: u32 = 3;

/// How often the search for the top links is repeated because a checkpoint has changed the days meanwhile.
const SEARCHED_MAX: u32 = 3;

/// What a query has to do next.
enum Next {
    /// Read from the disk, without the lock.
    Read,
    /// Nothing more; `false`: the link does not exist.
    Done(bool),
}

/// The result of a query.
#[derive(Debug, PartialEq)]
pub enum Told {
    /// The answer.
    Stats(Box<Stats>),
    /// The link does not exist.
    NoLink,
    /// The data changed again and again meanwhile. Asking again later may work.
    Changing,
}

/// A query for the statistics of a link, or of all links, in a range of hours since 1970.
pub struct StatsQuery {
    key: Option<LinkKey>,
    hours: Range<u32>,
    /// The tree, the slot and its epoch, once the query has begun.
    place: Option<(Tree, u32, u32)>,
    begun: u32,
    /// The next days, and those of them that have to be read.
    days: Range<u32>,
    unread: Vec<u32>,
    again: u32,
    generation: u64,
    found: BTreeMap<u32, SlotDay>,
    texts: Texts,
    values: BTreeMap<(Dimension, u32), Counts>,
    stats: Stats,
    whose: Whose,
    unranked: bool,
    search: Option<Searched>,
    searched: u32,
    top: Option<Vec<Top>>,
}

/// The state of the search for the links with the most visits.
enum Searched {
    /// Whether a search is needed is not decided yet.
    Begun(Search),
    /// The range covers all visits ever.
    Everything,
    Found(Search, Option<Vec<Found>>),
}

impl StatsQuery {
    /// A query for a link, or without a key for all links.
    pub fn new(key: Option<LinkKey>, hours: Range<u32>) -> Self {
        Self {
            key,
            hours,
            place: None,
            begun: 0,
            days: 0..0,
            unread: Vec::new(),
            again: 0,
            generation: 0,
            found: BTreeMap::new(),
            texts: Texts::default(),
            values: BTreeMap::new(),
            stats: Stats::default(),
            whose: Whose::default(),
            unranked: false,
            search: None,
            searched: 0,
            top: None,
        }
    }

    /// Ranks the links with the most visits by visits of people, of bots, or of both.
    #[must_use]
    pub fn ranked_by(self, whose: Whose) -> Self {
        Self { whose, ..self }
    }

    /// Does not look for the links with the most visits.
    #[must_use]
    pub fn unranked(self) -> Self {
        Self { unranked: true, ..self }
    }

    /// Runs the query. `locked` has to call its argument with the state, each time for a short
    /// while; it may be another state than before. Reads the disk, so it belongs on a thread that may block.
    ///
    /// # Errors
    /// If a record cannot be read or is damaged.
    pub fn answer(
        mut self,
        locked: impl Fn(&mut dyn FnMut(&ShardMachine) -> Result<(), StoreError>) -> Result<(), StoreError>,
    ) -> Result<Told, StoreError> {
        loop {
            let mut next = Next::Read;
            locked(&mut |machine| {
                next = self.step(machine)?;
                Ok(())
            })?;
            match next {
                Next::Read if self.begun > BEGUN_MAX => return Ok(Told::Changing),
                Next::Read => self.read()?,
                Next::Done(false) => return Ok(Told::NoLink),
                Next::Done(true) => return Ok(Told::Stats(Box::new(self.finish()))),
            }
        }
    }

    /// One step under the lock.
    fn step(&mut self, machine: &ShardMachine) -> Result<Next, StoreError> {
        let Some((_, slot, epoch)) = self.place else { return self.begin(machine) };
        if self.top.is_some() {
            return self.settle_top(machine);
        }
        if let Some(searched) = self.search.take() {
            return self.settle_search(machine, searched);
        }
        let changed = machine.counters.changed_days.since(self.generation, self.found.keys().copied());
        let lives = slot == ALL || machine.counters.epoch(slot) == Some(epoch);
        match changed {
            Some(changed) if lives => self.settle_days(machine, slot, epoch, changed),
            Some(_) | None => self.begin(machine),
        }
    }

    fn begin(&mut self, machine: &ShardMachine) -> Result<Next, StoreError> {
        // Days without any statistics are not searched.
        let hours = self.hours.start.max(machine.counters.first_day * 24)..self.hours.end;
        let (slot, epoch) = match &self.key {
            None => (ALL, 0),
            Some(key) => match machine.links.find(key)? {
                None => return Ok(Next::Done(false)),
                Some((slot, _)) => (slot, machine.counters.of(slot).epoch),
            },
        };
        let Self { begun, whose, unranked, .. } = *self;
        *self = Self { begun: begun + 1, whose, unranked, ..Self::new(self.key.take(), hours) };
        self.place = Some((machine.tree.clone(), slot, epoch));
        self.tell_total(machine, slot);
        if self.hours.is_empty() {
            self.stats.ranking = Ranking::AsAsked;
            return Ok(Next::Done(true));
        }
        self.days = self.hours.start / 24..self.hours.end.div_ceil(24);
        self.next_days(machine);
        Ok(Next::Read)
    }

    fn tell_total(&mut self, machine: &ShardMachine, slot: u32) {
        self.stats.total = machine.total(slot);
        self.stats.last = match machine.counters.visits.get(slot) {
            Some(of) if slot != ALL => of.visits.last,
            _ => Default::default(),
        };
    }

    fn next_days(&mut self, machine: &ShardMachine) {
        self.unread = (self.days.start..self.days.end.min(self.days.start + DAYS_AT_ONCE)).collect();
        self.days.start += self.unread.len() as u32;
        self.again = 0;
        self.generation = machine.counters.changed_days.generation;
    }

    /// Takes the days that were read, and their visits in memory, unless they have changed meanwhile.
    fn settle_days(
        &mut self,
        machine: &ShardMachine,
        slot: u32,
        epoch: u32,
        changed: Vec<u32>,
    ) -> Result<Next, StoreError> {
        self.generation = machine.counters.changed_days.generation;
        if !changed.is_empty() {
            self.unread = changed;
            if self.again < READ_AGAIN_MAX {
                self.again += 1;
                return Ok(Next::Read);
            }
            self.read_days()?;
        }
        if let (Some((first, _)), Some((last, _))) = (self.found.first_key_value(), self.found.last_key_value()) {
            for (day, recent) in machine.counters.recents.days_of(slot, epoch, *first..*last + 1, &mut self.texts) {
                self.found.entry(day).or_default().merge(recent);
            }
        }
        // Added up after the lock is released, and before the search.
        if !self.days.is_empty() {
            self.next_days(machine);
            return Ok(Next::Read);
        }
        self.tell_total(machine, slot);
        if slot != ALL || self.unranked {
            return Ok(Next::Done(true));
        }
        self.begin_search(machine);
        Ok(Next::Read)
    }

    fn begin_search(&mut self, machine: &ShardMachine) {
        self.searched += 1;
        let generation = machine.counters.changed_days.generation;
        self.search =
            Some(Searched::Begun(Search::begin(&machine.counters, self.hours.clone(), self.whose, generation)));
    }

    /// Searches, without the lock.
    fn run_search(&mut self) -> Result<(), StoreError> {
        let Some(Searched::Begun(mut search)) = self.search.take() else { return Ok(()) };
        let mut sum = Counts::default();
        self.stats.days.iter().for_each(|(_, counts, _)| sum.merge(*counts));
        self.search = Some(if sum == self.stats.total {
            Searched::Everything
        } else {
            let tree = &self.place.as_ref().expect("invariant: a search is of a question that has begun").0;
            let days: Vec<u32> = self.stats.days.iter().map(|(day, ..)| *day).collect();
            let found = search.read(tree, &days)?;
            Searched::Found(search, found)
        });
        Ok(())
    }

    /// Takes the result of the search, unless a checkpoint has moved visits meanwhile.
    fn settle_search(&mut self, machine: &ShardMachine, searched: Searched) -> Result<Next, StoreError> {
        let found = match searched {
            Searched::Begun(_) => return Ok(Next::Read),
            Searched::Everything => most_visited(&machine.counters, self.whose),
            Searched::Found(_, None) => {
                self.stats.ranking = Ranking::TooMany;
                return Ok(Next::Done(true));
            }
            Searched::Found(search, Some(found)) => {
                let days = self.stats.days.iter().map(|(day, ..)| *day);
                let unchanged =
                    machine.counters.changed_days.since(search.generation, days).is_some_and(|days| days.is_empty());
                if !unchanged && self.searched > SEARCHED_MAX {
                    self.stats.ranking = Ranking::TooMany;
                    return Ok(Next::Done(true));
                }
                if !unchanged {
                    self.begin_search(machine);
                    return Ok(Next::Read);
                }
                found
            }
        };
        self.stats.ranking = Ranking::AsAsked;
        self.top = Some(found.into_iter().filter_map(|found| Top::find(machine, found)).collect());
        Ok(Next::Read)
    }

    /// Does the step that needs no lock.
    fn read(&mut self) -> Result<(), StoreError> {
        if let Some(top) = &mut self.top {
            let tree = &self.place.as_ref().expect("invariant: a question for the top has begun").0;
            return top.iter_mut().try_for_each(|link| link.load(tree));
        }
        if self.search.is_some() {
            self.add_up();
            return self.run_search();
        }
        // Days that are read again replace the former ones; others follow the settled ones.
        if self.again == 0 {
            self.add_up();
        }
        self.read_days()
    }

    fn read_days(&mut self) -> Result<(), StoreError> {
        let (tree, slot, epoch) = self.place.as_ref().expect("invariant: days are read of a question that has begun");
        for day in std::mem::take(&mut self.unread) {
            self.found.insert(day, stats_page::read(tree, day, *slot, *epoch, &mut self.texts)?);
        }
        Ok(())
    }

    /// Adds the settled days to the answer.
    fn add_up(&mut self) {
        let slot = self.place.as_ref().map_or(ALL, |(_, slot, _)| *slot);
        for (day, mut found) in std::mem::take(&mut self.found) {
            found.bound(slot, &mut self.texts);
            self.add_day(day, found);
        }
    }

    fn add_day(&mut self, day: u32, found: SlotDay) {
        let Self { hours, stats, values, .. } = self;
        // A day without hours belongs to the range that contains its noon.
        if found.is_empty() || found.hours.is_empty() && !hours.contains(&(day * 24 + 12)) {
            return;
        }
        let total = found.total();
        let counted = hours.contains(&(day * 24)) && hours.contains(&(day * 24 + 23));
        for (hour, counts) in &found.hours {
            let hour = day * 24 + u32::from(*hour);
            if hours.contains(&hour) {
                stats.hours.push((hour, *counts));
            }
        }
        // A partly requested day counts by its hours, as long as these are known.
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
        for (dimension, text, counts) in found.values {
            values.entry((dimension, text)).or_default().merge(counts);
        }
    }

    /// Loads the links that a checkpoint has moved between finding and loading them; links that were deleted since are left out.
    fn settle_top(&mut self, machine: &ShardMachine) -> Result<Next, StoreError> {
        let mut top = self.top.take().unwrap_or_default();
        top.retain(|link| machine.links.key_hash(link.slot) == Some(link.key_hash));
        for Top { slot, counts, place, .. } in top {
            let key = match place {
                TopPlace::Known(key) => key,
                TopPlace::Block(_) => machine.links.load(slot)?.key.clone(),
            };
            self.stats.top.push((key, counts));
        }
        Ok(Next::Done(true))
    }

    fn finish(mut self) -> Stats {
        self.add_up();
        let Self { mut stats, values, texts, .. } = self;
        let value = |((dimension, text), counts)| (dimension, texts.get(text).clone(), counts);
        stats.values = values.into_iter().map(value).collect();
        stats.values.sort_unstable_by(|one, two| (one.0, &one.1).cmp(&(two.0, &two.1)));
        stats
    }
}

impl ShardMachine {
    /// The statistics of a link, or of all links, for a caller that owns the state: see [`StatsQuery`].
    ///
    /// # Errors
    /// If a record cannot be read or is damaged.
    pub fn stats(&self, key: Option<&LinkKey>, hours: Range<u32>) -> Result<Option<Stats>, StoreError> {
        match StatsQuery::new(key.cloned(), hours).answer(|step| step(self))? {
            Told::Stats(stats) => Ok(Some(*stats)),
            // A borrowed state does not change.
            Told::NoLink | Told::Changing => Ok(None),
        }
    }

    fn total(&self, slot: u32) -> Counts {
        match self.counters.visits.get(slot) {
            Some(of) if slot != ALL => Counts { people: of.visits.total, bots: of.visits.bots },
            _ => self.counters.total,
        }
    }
}

#[cfg(test)]
mod tests;
