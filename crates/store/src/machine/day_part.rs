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
