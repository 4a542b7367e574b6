//! The visits of one link on one day, as far as a range of hours asks for them.

use std::ops::Range;

use waypost_protocol::clicks::Counts;

/// The visits of one link on one day.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct DayPart {
    /// Visits whose hours are not known any more.
    pub(super) folded: Counts,
    /// Visits of all known hours.
    pub(super) known: Counts,
    /// Visits of the requested hours.
    pub(super) asked: Counts,
    /// Whether any hour is known.
    pub(super) hours: bool,
}

impl DayPart {
    /// Adds visits of an hour since 1970.
    pub(super) fn hour(&mut self, hour: u32, counts: Counts, asked: &Range<u32>) {
        self.hours = true;
        self.known.merge(counts);
        if asked.contains(&hour) {
            self.asked.merge(counts);
        }
    }

    /// Adds another part of the same day.
    pub(super) fn merge(&mut self, other: &Self) {
        self.folded.merge(other.folded);
        self.known.merge(other.known);
        self.asked.merge(other.asked);
        self.hours |= other.hours;
    }

    /// The visits that count of a day: all, if the whole day is requested, else those of its hours. A day without hours belongs to the range
    /// that contains its noon.
    pub(super) fn counts(self, day: u32, asked: &Range<u32>) -> Counts {
        let whole = asked.contains(&(day * 24)) && asked.contains(&(day * 24 + 23));
        let mut all = self.folded;
        all.merge(self.known);
        match (whole, self.hours) {
            (true, _) => all,
            (false, true) => self.asked,
            (false, false) if asked.contains(&(day * 24 + 12)) => all,
            (false, false) => Counts::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u32 = 100;

    fn people(people: u64) -> Counts {
        Counts { people, bots: 0 }
    }

    /// Two visits at midnight, three at 9:00, four at 23:00.
    fn with_hours(asked: &Range<u32>) -> DayPart {
        let mut part = DayPart::default();
        [(0, 2), (9, 3), (23, 4)].into_iter().for_each(|(hour, many)| part.hour(DAY * 24 + hour, people(many), asked));
        part
    }

    #[test]
    fn of_a_day_with_hours_those_count_that_are_asked_for() {
        let day = DAY * 24;
        for (asked, counted) in [
            (day..day + 24, 9),
            (0..day + 500, 9),
            (day..day + 23, 5),
            (day + 1..day + 24, 7),
            (day + 9..day + 10, 3),
            (day + 10..day + 23, 0),
            (day - 24..day, 0),
        ] {
            assert_eq!(with_hours(&asked).counts(DAY, &asked), people(counted), "{asked:?}");
        }
    }

    #[test]
    fn a_day_whose_hours_are_not_known_belongs_to_the_range_with_its_noon() {
        let (day, part) = (DAY * 24, DayPart { folded: people(5), ..DayPart::default() });
        for (asked, counted) in
            [(day..day + 24, 5), (day + 12..day + 13, 5), (day + 13..day + 40, 0), (day - 5..day + 12, 0)]
        {
            assert_eq!(part.counts(DAY, &asked), people(counted), "{asked:?}");
        }
    }

    #[test]
    fn parts_of_a_day_add_up() {
        let asked = DAY * 24..DAY * 24 + 10;
        let mut part = DayPart { folded: people(100), ..DayPart::default() };
        part.merge(&with_hours(&asked));
        part.merge(&with_hours(&asked));
        assert_eq!(part.counts(DAY, &(0..9999)), people(118), "the whole day");
        assert_eq!(part.counts(DAY, &asked), people(10), "its hours before ten");
        part.merge(&DayPart::default());
        assert_eq!(part.counts(DAY, &asked), people(10));
        let day = DAY * 24..DAY * 24 + 24;
        assert_eq!(part.counts(DAY, &day), people(118), "nothing but the day");
    }
}
