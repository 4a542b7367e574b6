//! Budgets of many clients in a table of fixed size: each may do something a number of times at once, and then as often as the budget recovers.

use std::hash::{BuildHasher, Hash, RandomState};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The number of entries in a row of the table. In a full row, the one whose budget has recovered most is forgotten.
const ROW: usize = 4;

/// The budgets of those who have a name of the type `N`.
pub(super) struct Budgets<N> {
    table: Mutex<Box<[Budget]>>,
    hasher: RandomState,
    began: Instant,
    /// The cost of one time, and what an unused budget accumulates, in microseconds.
    cost: u64,
    burst: u64,
    name: std::marker::PhantomData<fn(N)>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Budget {
    /// The hash of the name; 0 = unused.
    name: u64,
    /// The time at which it has recovered, in microseconds.
    recovered: u64,
}

/// The entry of a name in a row, or the entry that it replaces.
fn place_in(row: &[Budget], name: u64) -> usize {
    let own = row.iter().position(|budget| budget.name == name);
    own.unwrap_or_else(|| (0..row.len()).min_by_key(|at| row[*at].recovered).unwrap_or_default())
}

impl<N: Hash> Budgets<N> {
    /// A table of so many entries, 16 bytes each. A time costs `cost`, and `burst` is what an unused budget accumulates.
    pub(super) fn new(entries: usize, cost: Duration, burst: Duration) -> Self {
        Self {
            table: Mutex::new(vec![Budget::default(); entries.next_multiple_of(ROW)].into_boxed_slice()),
            hasher: RandomState::new(),
            began: Instant::now(),
            cost: cost.as_micros() as u64,
            burst: burst.as_micros() as u64,
            name: std::marker::PhantomData,
        }
    }

    fn row(&self, name: &N, table: usize) -> (u64, usize) {
        let hash = self.hasher.hash_one(name).max(1);
        (hash, (hash >> 32) as usize % (table / ROW) * ROW)
    }

    fn micros(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_micros() as u64
    }

    /// Charges a time, also beyond the budget.
    pub(super) fn charge(&self, name: &N, now: Instant) {
        let now = self.micros(now);
        let most = now + self.cost * 2 + self.burst;
        self.set(name, |before| (before.max(now) + self.cost).min(most));
    }

    /// Charges a time, unless the budget is used up.
    pub(super) fn take(&self, name: &N, now: Instant) -> bool {
        let (now, mut taken) = (self.micros(now), false);
        self.set(name, |before| {
            taken = before < now + self.burst;
            if taken { before.max(now) + self.cost } else { before }
        });
        taken
    }

    /// Gives back what was charged for a time.
    pub(super) fn give_back(&self, name: &N) {
        self.set(name, |before| before.saturating_sub(self.cost));
    }

    /// Whether the budget is used up.
    pub(super) fn is_over(&self, name: &N, now: Instant) -> bool {
        let table = self.table.lock();
        let (hash, row) = self.row(name, table.len());
        let own = table[row..row + ROW].iter().find(|budget| budget.name == hash);
        own.is_some_and(|own| own.recovered >= self.micros(now) + self.burst)
    }

    fn set(&self, name: &N, recovered: impl FnOnce(u64) -> u64) {
        let mut table = self.table.lock();
        let (hash, row) = self.row(name, table.len());
        let row = &mut table[row..row + ROW];
        let at = place_in(row, hash);
        let before = if row[at].name == hash { row[at].recovered } else { 0 };
        row[at] = Budget { name: hash, recovered: recovered(before) };
    }
}
