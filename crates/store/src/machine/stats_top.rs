//! The links with the most visits in a range of hours.
//!
//! A link has at most as many visits in a range as in total, and the totals are in memory. So pages of links are read in the order of
//! the largest total in them, and the search ends when no other page can have one of the top links.

use std::collections::BTreeMap;
use std::ops::Range;

use waypost_protocol::clicks::{Counts, Whose};

use super::counters::Counters;
use super::day_part::DayPart;
use super::stats_page::{self, SLOTS_PER_PAGE};
use crate::{StoreError, Tree};

/// The number of links in the result.
const TOP_MAX: usize = 50;

/// The most records that are read for one shard, some tens of microseconds each. With 16 shards that takes about the time limit of a request.
const READS_MAX: usize = 4096;

/// The search for the links with the most visits of a range.
pub(super) struct Search {
    whose: Whose,
    hours: Range<u32>,
    /// The generation of changed days when the search began.
    pub(super) generation: u64,
    /// The epoch of each slot.
    epochs: Vec<u32>,
    /// The pages, and the largest total of a link in each: the largest first.
    pages: Vec<(u64, u32)>,
    /// Visits that are in no record yet, by slot and day.
    recent: BTreeMap<u32, Vec<(u32, DayPart)>>,
}

/// A link that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) slot: u32,
    pub(super) epoch: u32,
    pub(super) counts: Counts,
}

impl Search {
    /// Begins a search while the state is locked: copies what it needs from memory.
    pub(super) fn begin(counters: &Counters, hours: Range<u32>, whose: Whose, generation: u64) -> Self {
        let epochs: Vec<u32> = counters.visits.iter().map(|of| of.epoch).collect();
        let mut most = vec![0; counters.visits.len().div_ceil(SLOTS_PER_PAGE as usize)];
        for (slot, of) in counters.visits.iter().enumerate() {
            let most: &mut u64 = &mut most[slot / SLOTS_PER_PAGE as usize];
            *most = whose.of(Counts { people: of.visits.total, bots: of.visits.bots }).max(*most);
        }
        let pages = most.into_iter().zip(0..).filter(|(most, _)| *most > 0).collect();
        let recent = counters.recents.by_slot(&hours, |slot, life| epochs.get(slot as usize) == Some(&life));
        Self { whose, hours, generation, epochs, pages, recent }
    }

    /// Searches the records of some days. `None` if there are too many.
    pub(super) fn read(&mut self, tree: &Tree, days: &[u32]) -> Result<Option<Vec<Found>>, StoreError> {
        let Self { whose, pages, .. } = self;
        let whose = *whose;
        if days.is_empty() {
            return Ok(Some(Vec::new()));
        }
        pages.sort_unstable_by(|one, two| two.cmp(one));
        let mut best: Vec<Found> = Vec::new();
        let mut reads = 0;
        for (most, page) in std::mem::take(pages) {
            if best.len() == TOP_MAX && best.last().is_some_and(|last| whose.of(last.counts) >= most) {
                break;
            }
            reads += days.len();
            if reads > READS_MAX {
                return Ok(None);
            }
            best.extend(self.page(tree, page, days)?);
            best.sort_unstable_by_key(|found| (std::cmp::Reverse(whose.of(found.counts)), found.slot));
            best.truncate(TOP_MAX);
        }
        Ok(Some(best))
    }

    fn page(&self, tree: &Tree, page: u32, days: &[u32]) -> Result<Vec<Found>, StoreError> {
        let first = page * SLOTS_PER_PAGE;
        let mut sums = vec![Counts::default(); SLOTS_PER_PAGE as usize];
        for day in days {
            let mut parts = vec![DayPart::default(); SLOTS_PER_PAGE as usize];
            stats_page::read_parts(tree, *day, page, &self.hours, |slot, epoch, part| {
                if self.epochs.get(slot as usize) == Some(&epoch) {
                    parts[(slot - first) as usize].merge(part);
                }
            })?;
            for (slot, recent) in self.recent.range(first..first + SLOTS_PER_PAGE) {
                let of_day = recent.iter().filter(|(other, _)| other == day);
                of_day.for_each(|(_, part)| parts[(slot - first) as usize].merge(part));
            }
            sums.iter_mut().zip(&parts).for_each(|(sum, part)| sum.merge(part.counts(*day, &self.hours)));
        }
        let found = |(counts, slot): (Counts, u32)| {
            let epoch = *self.epochs.get(slot as usize)?;
            (self.whose.of(counts) > 0).then_some(Found { slot, epoch, counts })
        };
        Ok(sums.into_iter().zip(first..).filter_map(found).collect())
    }
}

/// The links with the largest totals, from memory.
pub(super) fn most_visited(counters: &Counters, whose: Whose) -> Vec<Found> {
    let counts = |slot: u32| {
        let visits = counters.visits.at(slot).visits;
        Counts { people: visits.total, bots: visits.bots }
    };
    let rank = |slot: &u32| std::cmp::Reverse(whose.of(counts(*slot)));
    let mut slots: Vec<u32> = (0..counters.visits.len() as u32).filter(|slot| rank(slot).0 > 0).collect();
    if slots.len() > TOP_MAX {
        slots.select_nth_unstable_by_key(TOP_MAX, rank);
        slots.truncate(TOP_MAX);
    }
    slots.sort_unstable_by_key(|slot| (rank(slot), *slot));
    let found = |slot: u32| Found { slot, epoch: counters.visits.at(slot).epoch, counts: counts(slot) };
    slots.into_iter().map(found).collect()
}
