//! Floods of unknown codes: each client has a budget, beyond which no other node is asked for it.
//!
//! A code that no replica here knows costs a question to the leader of its shard, perhaps on another node. A client that has used up its
//! budget of such codes is answered `429` without that question. A known code is never refused for this reason: the cache and the replica
//! of this node are checked first. A node without a replica of the shard cannot tell, so there such a client is refused every
//! code that is not cached.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::Instant;

use parking_lot::Mutex;
use waypost_telemetry::{Counter, Metrics};

/// The number of clients with a budget in the table: 128 KiB. In a full row, the client whose budget has
/// recovered most is forgotten.
const CLIENTS: usize = 8192;

/// The number of clients in a row of the table.
const ROW: usize = 4;

/// The number of seconds for which an unused budget accumulates.
const BURST_S: u64 = 10;

/// The budgets of clients, in a table of fixed size.
pub struct UnknownCodes {
    table: Mutex<Box<[Budget]>>,
    hasher: RandomState,
    began: Instant,
    /// The cost of one code, in microseconds; 0 = there is no budget.
    pub(super) cost: u64,
    pub(super) refused: Counter,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Budget {
    /// The hash of the client; 0 = unused.
    client: u64,
    /// The time at which it has recovered, in microseconds.
    recovered: u64,
}

/// The entry of a client in a row, or the entry that it replaces.
fn place_in(row: &[Budget], client: u64) -> usize {
    let own = row.iter().position(|budget| budget.client == client);
    own.unwrap_or_else(|| (0..row.len()).min_by_key(|at| row[*at].recovered).unwrap_or_default())
}

impl UnknownCodes {
    /// Each client may ask for `per_second` unknown codes, in bursts for those of ten seconds; 0 = no limit.
    pub fn new(per_second: u32, metrics: &Metrics) -> Self {
        Self {
            table: Mutex::new(vec![Budget::default(); CLIENTS].into_boxed_slice()),
            hasher: RandomState::new(),
            began: Instant::now(),
            cost: 1_000_000_u64.checked_div(per_second.into()).unwrap_or_default(),
            refused: metrics.counter(
                "waypost_unknown_refused_total",
                "Requests for unknown codes and previews answered 429 because their client had used up its budget",
            ),
        }
    }

    fn at(&self, client: IpAddr, now: Instant) -> (u64, usize, u64) {
        let hash = self.hasher.hash_one(client).max(1);
        let row = (hash >> 32) as usize % (CLIENTS / ROW) * ROW;
        (hash, row, now.saturating_duration_since(self.began).as_micros() as u64)
    }

    /// Charges a client for an unknown code.
    pub(super) fn charge(&self, client: IpAddr, now: Instant) {
        let (hash, row, now) = self.at(client, now);
        let mut table = self.table.lock();
        let row = &mut table[row..row + ROW];
        let at = place_in(row, hash);
        let before = if row[at].client == hash { row[at].recovered } else { 0 };
        let most = now + self.cost * 2 + BURST_S * 1_000_000;
        row[at] = Budget { client: hash, recovered: (before.max(now) + self.cost).min(most) };
    }

    /// Whether a client has used up its budget.
    pub(super) fn is_over(&self, client: IpAddr, now: Instant) -> bool {
        let (hash, row, now) = self.at(client, now);
        let table = self.table.lock();
        let own = table[row..row + ROW].iter().find(|budget| budget.client == hash);
        own.is_some_and(|own| own.recovered >= now + BURST_S * 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn client(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from(number).into()
    }

    #[test]
    fn a_client_has_a_burst_and_then_so_many_a_second() {
        let codes = UnknownCodes::new(10, &Metrics::new());
        let mut now = Instant::now() + Duration::from_secs(100);
        let used = (0..1000).take_while(|_| {
            let over = codes.is_over(client(1), now);
            codes.charge(client(1), now);
            !over
        });
        assert_eq!(used.count(), 100);
        assert!(!codes.is_over(client(2), now), "another client");
        now += Duration::from_secs(1);
        let used = (0..1000).take_while(|_| {
            let over = codes.is_over(client(1), now);
            codes.charge(client(1), now);
            !over
        });
        assert!((8..=11).contains(&used.count()));
        assert!(!codes.is_over(client(1), now + Duration::from_secs(1)), "however long it went on, it recovers soon");
    }

    #[test]
    fn without_a_budget_nobody_is_over_it() {
        let codes = UnknownCodes::new(0, &Metrics::new());
        let now = Instant::now();
        (0..10_000).for_each(|_| codes.charge(client(1), now));
        assert!(!codes.is_over(client(1), now));
    }

    #[test]
    fn many_clients_do_not_hide_one_that_floods() {
        let codes = UnknownCodes::new(10, &Metrics::new());
        let now = Instant::now() + Duration::from_secs(100);
        (0..200).for_each(|_| codes.charge(client(1), now));
        // Each of these asks once, and there are more of them than entries.
        (2..50_000).for_each(|number| codes.charge(client(number), now));
        assert!(codes.is_over(client(1), now));
    }
}
