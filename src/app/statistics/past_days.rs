//! The days before today of all links, as they were read: they hardly change.
//!
//! Whether they have can be told from the totals: each visit counts in its day and in the total, so if the total has grown by as much as today has, no visit was counted for another
//! day, and none was taken away.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use waypost_protocol::clicks::{Counts, Stats};

/// The periods that are kept: those of the first page and of the choices of the statistics, for two time zones.
const KEPT_MAX: usize = 16;
/// The values of a period that is kept, at most: about two megabytes.
const VALUES_MAX: usize = 20_000;
/// How long days are kept. It bounds how long hours are shown that were added up to their day since, which changes no total.
const KEPT_FOR: Duration = Duration::from_secs(600);

/// All visits so far, and those of today: read together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) total: Counts,
    pub(super) today: Counts,
}

impl Mark {
    /// Whether the days before today are the same at both marks.
    fn is_past_unchanged(self, later: Self) -> bool {
        let grown = |of: fn(Counts) -> u64| {
            let total = i128::from(of(later.total)) - i128::from(of(self.total));
            total == i128::from(of(later.today)) - i128::from(of(self.today))
        };
        grown(|counts| counts.people) && grown(|counts| counts.bots)
    }
}

/// Days before a day.
pub(super) struct Kept {
    pub(super) hours: Range<u32>,
    /// The first hour of the day.
    pub(super) today: u32,
    /// Taken before the days were read.
    pub(super) mark: Mark,
    pub(super) since: Instant,
    pub(super) days: Arc<Stats>,
}

/// The days that were read.
#[derive(Default)]
pub(crate) struct PastDays(Mutex<VecDeque<Kept>>);

impl PastDays {
    pub(super) fn get(&self, hours: &Range<u32>, today: u32, mark: Mark, now: Instant) -> Option<Arc<Stats>> {
        let kept = self.0.lock();
        let mut same = kept.iter().filter(|kept| kept.hours == *hours && kept.today == today);
        let fits = |kept: &&Kept| now.duration_since(kept.since) < KEPT_FOR && kept.mark.is_past_unchanged(mark);
        same.find(fits).map(|kept| kept.days.clone())
    }

    pub(super) fn keep(&self, entry: Kept) {
        let mut kept = self.0.lock();
        kept.retain(|other| other.today == entry.today && other.hours != entry.hours);
        if entry.days.values.len() <= VALUES_MAX {
            kept.push_back(entry);
        }
        while kept.len() > KEPT_MAX {
            kept.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use waypost_protocol::clicks::Dimension;

    use super::*;

    fn mark(total: u64, today: u64, bots: u64) -> Mark {
        Mark { total: Counts { people: total, bots }, today: Counts { people: today, bots } }
    }

    #[test]
    fn the_past_is_unchanged_as_long_as_today_accounts_for_all_that_was_counted() {
        let before = mark(100, 10, 5);
        assert!(before.is_past_unchanged(before) && before.is_past_unchanged(mark(117, 27, 9)));
        // A visit of yesterday that came late, a link whose statistics were reset, and a bot.
        for later in [mark(101, 10, 5), mark(90, 10, 5), mark(90, 9, 5)] {
            assert!(!before.is_past_unchanged(later), "{later:?}");
        }
        let bot = Mark { total: Counts { people: 100, bots: 6 }, ..before };
        assert!(!before.is_past_unchanged(bot));
    }

    #[test]
    fn days_are_kept_for_their_period_until_it_is_another_day_or_they_have_changed() {
        let past = PastDays::default();
        let (since, hours) = (Instant::now(), 24..72);
        let entry = |hours: Range<u32>, today, values| {
            let value = (Dimension::Os, "Linux".to_owned(), Counts::default());
            let days = Arc::new(Stats { values: vec![value; values], ..Stats::default() });
            Kept { hours, today, mark: mark(100, 10, 0), since, days }
        };
        past.keep(entry(hours.clone(), 72, 1));
        let has = |hours: Range<u32>, today, mark, now| past.get(&hours, today, mark, now).is_some();
        assert!(has(hours.clone(), 72, mark(101, 11, 0), since));
        assert!(!has(hours.clone(), 72, mark(101, 10, 0), since), "one came late");
        assert!(!has(24..71, 72, mark(100, 10, 0), since) && !has(hours.clone(), 96, mark(100, 10, 0), since));
        assert!(!has(hours.clone(), 72, mark(100, 10, 0), since + KEPT_FOR));
        // The same period again takes its place, and too much is not kept.
        past.keep(entry(hours.clone(), 72, VALUES_MAX + 1));
        assert!(!has(hours.clone(), 72, mark(100, 10, 0), since));
        for first in 0..=KEPT_MAX as u32 {
            past.keep(entry(first..72, 72, 1));
        }
        assert!(!has(0..72, 72, mark(100, 10, 0), since) && has(1..72, 72, mark(100, 10, 0), since));
        past.keep(entry(0..96, 96, 1));
        assert_eq!(past.0.lock().len(), 1, "what is of another day is gone");
    }
}
