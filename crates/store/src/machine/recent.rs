//! Visits since the last checkpoint, as they are kept until it: eight bytes for nearly each of them.
//!
//! ```text
//! 8 bytes = slot (24 bits) · profile (20) · register of the visitor (20; 0 = none)      one visit of a person, or of a bot
//! ```
//!
//! So sorting these numbers sorts the visits by link and profile. What does not fit is kept in a wider form: several visits together, the further visitors
//! of several visits, and high numbers.

use std::num::NonZeroU32;

use waypost_protocol::sketch::Register;

use super::slot_day::ALL;
use super::stats_page::{SLOTS_PER_PAGE, page_of};

const SLOT_BITS: u32 = 24;
const PROFILE_BITS: u32 = 20;
const REGISTER_BITS: u32 = 20;

/// What stands for [`ALL`] in a narrow form: the highest slot. No slot of the same page has a narrow form.
const NARROW_ALL: u32 = (1 << SLOT_BITS) - 1;
const NARROW_SLOTS: u32 = NARROW_ALL / SLOTS_PER_PAGE * SLOTS_PER_PAGE;

/// By how many narrow visits their list grows at a time: 256 KiB. Doubling it would leave half of it unused at times, in every shard.
const LIST_STEP: usize = 32 * 1024;

/// The same for wide ones, which may be a few: 32 KiB.
const WIDE_STEP: usize = 2 * 1024;

/// Visits of a link with the same profile, and one of their visitors. Each further visitor has an entry without visits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Recent {
    pub(super) slot: u32,
    pub(super) profile: u32,
    pub(super) count: u32,
    pub(super) visitor: Option<NonZeroU32>,
}

impl Recent {
    pub(super) fn visitor(&self) -> Option<Register> {
        self.visitor.map(|register| Register(register.get()))
    }

    /// By link, and visits of the same profile together.
    fn order(&self) -> u64 {
        u64::from(self.slot) << 32 | u64::from(self.profile)
    }

    fn narrow(&self) -> Option<u64> {
        let slot = if self.slot == ALL { NARROW_ALL } else { Some(self.slot).filter(|slot| *slot < NARROW_SLOTS)? };
        let register = self.visitor.map_or(0, NonZeroU32::get);
        let fits = self.count == 1 && self.profile < 1 << PROFILE_BITS && register < 1 << REGISTER_BITS;
        let [slot, profile, register] = [slot, self.profile, register].map(u64::from);
        fits.then_some(slot << (PROFILE_BITS + REGISTER_BITS) | profile << REGISTER_BITS | register)
    }

    fn of(narrow: u64) -> Self {
        let slot = (narrow >> (PROFILE_BITS + REGISTER_BITS)) as u32;
        Self {
            slot: if slot == NARROW_ALL { ALL } else { slot },
            profile: (narrow >> REGISTER_BITS) as u32 & ((1 << PROFILE_BITS) - 1),
            count: 1,
            visitor: NonZeroU32::new(narrow as u32 & ((1 << REGISTER_BITS) - 1)),
        }
    }
}

/// A list of visits.
#[derive(Default, Clone)]
pub(super) struct List {
    narrow: Vec<u64>,
    wide: Vec<Recent>,
}

impl List {
    pub(super) fn push(&mut self, recent: Recent) {
        match recent.narrow() {
            Some(narrow) => {
                if self.narrow.len() == self.narrow.capacity() {
                    self.narrow.reserve_exact(LIST_STEP.max(self.narrow.len() / 8));
                }
                self.narrow.push(narrow);
            }
            None => {
                if self.wide.len() == self.wide.capacity() {
                    self.wide.reserve_exact(WIDE_STEP.max(self.wide.len() / 8));
                }
                self.wide.push(recent);
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Recent> + '_ {
        self.narrow.iter().copied().map(Recent::of).chain(self.wide.iter().copied())
    }

    /// What they count for when it is decided whether a checkpoint is due: a third of their memory. A checkpoint costs more for the links that it touches
    /// than for these bytes, and with more visits at a time it touches fewer links for each.
    pub(super) fn weight(&self) -> u64 {
        self.narrow.len() as u64 * 3 + self.wide.len() as u64 * 5
    }

    /// The bytes that it takes, without what is reserved for more.
    pub(super) fn bytes(&self) -> usize {
        self.narrow.len() * size_of::<u64>() + self.wide.len() * size_of::<Recent>()
    }

    /// The visits that `is_meant` wants.
    pub(super) fn only(&self, is_meant: impl Fn(&Recent) -> bool) -> Self {
        Self {
            narrow: self.narrow.iter().copied().filter(|narrow| is_meant(&Recent::of(*narrow))).collect(),
            wide: self.wide.iter().copied().filter(|recent| is_meant(recent)).collect(),
        }
    }

    /// Calls `each` with the visits of each page of records, sorted by link and profile.
    ///
    /// # Errors
    /// The first one of `each`.
    pub(super) fn by_page<E>(&self, mut each: impl FnMut(&[Recent]) -> Result<(), E>) -> Result<(), E> {
        let mut wide = self.wide.clone();
        wide.sort_unstable_by_key(Recent::order);
        let (mut narrow, mut wide) = (Pages::of(&self.narrow), wide.into_iter().peekable());
        let mut of_page: Vec<Recent> = Vec::new();
        loop {
            let pages = [narrow.page(), wide.peek().map(|recent| page_of(recent.slot))];
            let Some(page) = pages.into_iter().flatten().min() else { return Ok(()) };
            of_page.clear();
            if narrow.page() == Some(page) {
                of_page.extend(narrow.take().iter().copied().map(Recent::of));
            }
            let sorted = of_page.len();
            of_page.extend(std::iter::from_fn(|| wide.next_if(|recent| page_of(recent.slot) == page)));
            if of_page.len() > sorted {
                of_page.sort_by_key(Recent::order);
            }
            each(&of_page)?;
        }
    }
}

/// Visits by page, in the order of the pages. Only those of a page are sorted, when it is its turn: others have the core in between.
struct Pages {
    visits: Vec<u64>,
    /// The end of the visits of each page; the last one is that of [`ALL`].
    ends: Vec<usize>,
    /// The next page, and where its visits begin.
    next: usize,
    at: usize,
}

impl Pages {
    fn of(visits: &[u64]) -> Self {
        let page = |narrow: u64| (narrow >> (PROFILE_BITS + REGISTER_BITS)) as usize / SLOTS_PER_PAGE as usize;
        let all = page(u64::MAX);
        let last = visits.iter().map(|visit| page(*visit)).filter(|page| *page != all).max().map_or(0, |max| max + 1);
        let place = |narrow: u64| page(narrow).min(last);
        // A counting sort: how many a page has, where it begins, and then each visit to its page.
        let mut ends = vec![0; last + 1];
        visits.iter().for_each(|visit| ends[place(*visit)] += 1);
        let mut begin = 0;
        for end in &mut ends {
            begin += std::mem::replace(end, begin);
        }
        let mut sorted = vec![0; visits.len()];
        for visit in visits {
            let end = &mut ends[place(*visit)];
            sorted[*end] = *visit;
            *end += 1;
        }
        let mut pages = Self { visits: sorted, ends, next: 0, at: 0 };
        pages.skip_empty();
        pages
    }

    fn skip_empty(&mut self) {
        while self.ends.get(self.next) == Some(&self.at) {
            self.next += 1;
        }
    }

    /// The next page.
    fn page(&self) -> Option<u32> {
        let of_all = self.next + 1 == self.ends.len();
        (self.next < self.ends.len()).then_some(if of_all { page_of(ALL) } else { self.next as u32 })
    }

    /// Its visits, sorted.
    fn take(&mut self) -> &[u64] {
        let (begin, end) = (self.at, self.ends.get(self.next).copied().unwrap_or(self.at));
        (self.next, self.at) = (self.next + 1, end);
        self.skip_empty();
        let visits = &mut self.visits[begin..end];
        visits.sort_unstable();
        visits
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    fn recents() -> impl Strategy<Value = Recent> {
        let slot = prop_oneof![
            0u32..600,
            Just(ALL),
            Just(NARROW_ALL),
            Just(NARROW_SLOTS),
            Just(NARROW_SLOTS - 1),
            0u32..9999,
            any::<u32>()
        ];
        let profile = prop_oneof![0u32..9, Just((1 << PROFILE_BITS) - 1), Just(1 << PROFILE_BITS), any::<u32>()];
        let visitor = prop_oneof![0u32..9, Just((1 << REGISTER_BITS) - 1), Just(1 << REGISTER_BITS), any::<u32>()];
        (slot, profile, 0u32..4, visitor).prop_map(|(slot, profile, count, visitor)| Recent {
            slot,
            profile,
            count,
            visitor: NonZeroU32::new(visitor),
        })
    }

    #[test]
    fn one_visit_takes_eight_bytes_and_what_does_not_fit_sixteen() {
        let mut list = List::default();
        list.push(Recent { slot: ALL, profile: 7, count: 1, visitor: NonZeroU32::new(0xF_FFFF) });
        list.push(Recent { slot: NARROW_SLOTS - 1, profile: 0xF_FFFF, count: 1, visitor: None });
        assert_eq!((list.bytes(), list.wide.len()), (16, 0));
        list.push(Recent { slot: NARROW_SLOTS, profile: 0, count: 1, visitor: None });
        list.push(Recent { slot: 0, profile: 0, count: 2, visitor: None });
        assert_eq!((list.bytes(), list.wide.len()), (48, 2));
    }

    proptest! {
        #[test]
        fn what_was_added_comes_out_page_by_page_in_order_and_once(added in proptest::collection::vec(recents(), 0..300), odd in any::<bool>()) {
            let mut list = List::default();
            added.iter().for_each(|recent| list.push(*recent));
            let key = |recent: &Recent| (recent.slot, recent.profile, recent.count, recent.visitor);
            let sorted = |mut of: Vec<Recent>| { of.sort_by_key(key); of };
            prop_assert_eq!(sorted(list.iter().collect()), sorted(added.clone()));
            let parts = [odd, !odd].map(|odd| list.only(|recent| (recent.profile % 2 == 1) == odd));
            let mut found = Vec::new();
            for list in parts {
                let mut pages = Vec::new();
                list.by_page(|of_page| {
                    assert!(of_page.is_sorted_by_key(Recent::order));
                    let page = page_of(of_page[0].slot);
                    assert!(of_page.iter().all(|recent| page_of(recent.slot) == page));
                    pages.push(page);
                    found.extend_from_slice(of_page);
                    Ok::<_, Infallible>(())
                }).unwrap();
                prop_assert!(pages.is_sorted_by(|one, two| one < two), "{:?}", pages);
            }
            prop_assert_eq!(sorted(found), sorted(added));
        }
    }
}
