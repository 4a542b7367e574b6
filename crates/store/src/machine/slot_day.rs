//! The statistics of one link on one day, in memory.

use std::collections::HashMap;

use smallvec::SmallVec;
use waypost_protocol::clicks::{Counts, Dimension, OTHER};
use waypost_protocol::sketch::Sketch;

/// A pseudo slot: the sum of all links of the shard.
pub(super) const ALL: u32 = u32::MAX;

/// The number of values of one dimension that are kept separately for one link and day; the rest is [`OTHER`].
const VALUES_MAX: usize = 50;

/// The same for the sum of all links.
const VALUES_OF_ALL_MAX: usize = 300;

/// Assigns numbers to values, in the order of their arrival.
pub(super) struct Numbers<T> {
    numbers: HashMap<T, u32>,
    things: Vec<T>,
}

impl<T> Default for Numbers<T> {
    fn default() -> Self {
        Self { numbers: HashMap::new(), things: Vec::new() }
    }
}

impl<T: Clone + Eq + std::hash::Hash> Numbers<T> {
    pub(super) fn of<Q>(&mut self, thing: &Q) -> u32
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

    pub(super) fn get(&self, number: u32) -> &T {
        &self.things[number as usize]
    }

    pub(super) fn len(&self) -> usize {
        self.things.len()
    }
}

/// The values of dimensions, by number. Days that are added up share one table.
pub(super) type Texts = Numbers<String>;

/// The statistics of one link on one day. Most links have a visit or two: these need no allocation.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct SlotDay {
    /// Sorted.
    pub(super) hours: SmallVec<[(u8, Counts); 2]>,
    /// The sum of a day whose hours were folded.
    pub(super) folded: Counts,
    /// By dimension and number of the value, sorted.
    pub(super) values: SmallVec<[(Dimension, u32, Counts); 4]>,
    pub(super) visitors: Sketch,
}

impl SlotDay {
    pub(super) fn is_empty(&self) -> bool {
        self.hours.is_empty() && self.folded == Counts::default() && self.visitors.is_empty()
    }

    pub(super) fn total(&self) -> Counts {
        let mut total = self.folded;
        self.hours.iter().for_each(|(_, counts)| total.merge(*counts));
        total
    }

    pub(super) fn hour(&mut self, hour: u8) -> &mut Counts {
        let at = self.hours.binary_search_by_key(&hour, |(known, _)| *known).unwrap_or_else(|at| {
            self.hours.insert(at, (hour, Counts::default()));
            at
        });
        &mut self.hours[at].1
    }

    pub(super) fn value(&mut self, dimension: Dimension, text: u32) -> &mut Counts {
        let place = |known: &(Dimension, u32, Counts)| (known.0, known.1);
        let at = self.values.binary_search_by_key(&(dimension, text), place).unwrap_or_else(|at| {
            self.values.insert(at, (dimension, text, Counts::default()));
            at
        });
        &mut self.values[at].2
    }

    /// Adds values in any order.
    pub(super) fn add_values(&mut self, values: Vec<(Dimension, u32, Counts)>) {
        self.values.extend(values);
        self.values.sort_unstable_by_key(|(dimension, text, _)| (*dimension, *text));
        self.values.dedup_by(|later, kept| {
            let same = (later.0, later.1) == (kept.0, kept.1);
            if same {
                kept.2.merge(later.2);
            }
            same
        });
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.folded.merge(other.folded);
        other.hours.into_iter().for_each(|(hour, counts)| self.hour(hour).merge(counts));
        other.values.into_iter().for_each(|(dimension, text, counts)| self.value(dimension, text).merge(counts));
        self.visitors.merge(&other.visitors);
    }

    /// Keeps the most frequent values, and sums up the others.
    pub(super) fn bound(&mut self, slot: u32, texts: &mut Texts) {
        let max = if slot == ALL { VALUES_OF_ALL_MAX } else { VALUES_MAX };
        if self.values.len() <= max {
            return;
        }
        let other = texts.of(OTHER);
        for dimension in Dimension::ALL {
            let of = |value: &&(Dimension, u32, Counts)| value.0 == dimension && value.1 != other;
            if self.values.iter().filter(of).count() <= max {
                continue;
            }
            let mut found: Vec<(Dimension, u32, Counts)> = self.values.iter().filter(of).copied().collect();
            self.values.retain(|value| value.0 != dimension || value.1 == other);
            found.sort_unstable_by(|(_, one, of_one), (_, two, of_two)| {
                let seen = |counts: &Counts| counts.people.saturating_add(counts.bots);
                seen(of_two).cmp(&seen(of_one)).then_with(|| texts.get(*one).cmp(texts.get(*two)))
            });
            for (rank, (_, text, counts)) in found.into_iter().enumerate() {
                self.value(dimension, if rank < max { text } else { other }).merge(counts);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn people(people: u64) -> Counts {
        Counts { people, bots: 0 }
    }

    /// A day with so many referrers, the first with one visit, the second with two, and so on.
    fn with_referrers(many: u64, texts: &mut Texts) -> SlotDay {
        let mut day = SlotDay::default();
        (1..=many)
            .for_each(|count| day.value(Dimension::Referrer, texts.of(&format!("r{count}"))).merge(people(count)));
        day
    }

    fn of(day: &SlotDay, dimension: Dimension, texts: &Texts) -> Vec<(String, u64)> {
        let values = day.values.iter().filter(|value| value.0 == dimension);
        values.map(|(_, text, counts)| (texts.get(*text).clone(), counts.people)).collect()
    }

    #[test]
    fn as_many_values_are_kept_apart_as_the_bound_says_and_the_least_frequent_are_summed_up() {
        for (slot, max) in [(7, 50), (ALL, 300)] {
            let mut texts = Texts::default();
            let mut day = with_referrers(max, &mut texts);
            let whole = day.clone();
            day.bound(slot, &mut texts);
            assert_eq!(day, whole, "{max} values are possible");
            let mut day = with_referrers(max + 2, &mut texts);
            day.value(Dimension::Country, texts.of("CH")).merge(people(1));
            day.value(Dimension::Referrer, texts.of(OTHER)).merge(people(1000));
            day.bound(slot, &mut texts);
            let mut found = of(&day, Dimension::Referrer, &texts);
            found.sort_by_key(|(_, count)| *count);
            let kept: Vec<(String, u64)> = (3..=max + 2).map(|count| (format!("r{count}"), count)).collect();
            assert_eq!(found, [kept, vec![(OTHER.to_owned(), 1003)]].concat());
            assert_eq!(of(&day, Dimension::Country, &texts), [("CH".to_owned(), 1)]);
        }
    }

    #[test]
    fn of_values_with_as_many_visits_the_first_by_name_are_kept_and_bots_count_too() {
        let mut texts = Texts::default();
        let mut day = SlotDay::default();
        for number in (10..=61).rev() {
            *day.value(Dimension::City, texts.of(&format!("city{number}"))) = people(2);
        }
        *day.value(Dimension::City, texts.of("city61")) = Counts { people: 1, bots: 2 };
        day.bound(1, &mut texts);
        let names: Vec<String> = of(&day, Dimension::City, &texts).into_iter().map(|(name, _)| name).collect();
        assert!(names.contains(&"city58".to_owned()) && names.contains(&"city61".to_owned()));
        assert!(!names.contains(&"city59".to_owned()) && !names.contains(&"city60".to_owned()));
        assert_eq!(names.len(), 51);
    }

    #[test]
    fn values_that_are_added_at_once_are_as_if_they_had_come_one_by_one() {
        let (mut at_once, mut one_by_one) = (SlotDay::default(), SlotDay::default());
        let values = [
            (Dimension::Os, 3, people(1)),
            (Dimension::City, 9, people(2)),
            (Dimension::Os, 3, people(4)),
            (Dimension::Os, 1, people(8)),
            (Dimension::City, 9, people(16)),
        ];
        at_once.value(Dimension::Os, 1).merge(people(100));
        one_by_one.value(Dimension::Os, 1).merge(people(100));
        at_once.add_values(values.to_vec());
        values.into_iter().for_each(|(dimension, text, counts)| one_by_one.value(dimension, text).merge(counts));
        assert_eq!(at_once, one_by_one);
        assert_eq!(
            at_once.values[..],
            [(Dimension::City, 9, people(18)), (Dimension::Os, 1, people(108)), (Dimension::Os, 3, people(5)),]
        );
    }

    #[test]
    fn days_merge_hour_by_hour_and_a_day_with_visits_of_any_kind_is_not_empty() {
        let day = |of: &[(u8, u64)]| {
            let mut day = SlotDay::default();
            of.iter().for_each(|(hour, many)| day.hour(*hour).merge(people(*many)));
            day
        };
        let mut merged = day(&[(9, 1), (3, 2)]);
        merged.merge(SlotDay { folded: people(50), ..day(&[(3, 5), (23, 7)]) });
        assert_eq!(merged.hours[..], [(3, people(7)), (9, people(1)), (23, people(7))]);
        assert_eq!(merged.total(), people(65));
        assert!(SlotDay::default().is_empty() && !day(&[(0, 0)]).is_empty());
        assert!(!SlotDay { folded: people(1), ..SlotDay::default() }.is_empty());
        let mut visited = SlotDay::default();
        visited.visitors.add([waypost_protocol::sketch::Register(1)]);
        assert!(!visited.is_empty());
    }
}
