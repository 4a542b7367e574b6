//! Floods of unknown codes: each client has a budget, beyond which no other node is asked for it.
//!
//! A code that no replica here knows costs a question to the leader of its shard, perhaps on another node. A client that has used up its
//! budget of such codes is answered `429` without that question. A known code is never refused for this reason: the cache and the replica
//! of this node are checked first. A node without a replica of the shard cannot tell, so there such a client is refused every
//! code that is not cached.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use waypost_telemetry::{Counter, Metrics};

use super::budgets::Budgets;

/// The number of clients with a budget in the table: 128 KiB.
const CLIENTS: usize = 8192;

/// How long an unused budget accumulates.
const BURST: Duration = Duration::from_secs(10);

/// The budgets of clients, in a table of fixed size.
pub struct UnknownCodes {
    /// `None` = there is no limit.
    budgets: Option<Budgets<IpAddr>>,
    pub(super) refused: Counter,
}

impl UnknownCodes {
    /// Each client may ask for `per_second` unknown codes, in bursts for those of ten seconds; 0 = no limit.
    pub fn new(per_second: u32, metrics: &Metrics) -> Self {
        let cost = Duration::from_secs(1).checked_div(per_second);
        Self {
            budgets: cost.map(|cost| Budgets::new(CLIENTS, cost, BURST)),
            refused: metrics.counter(
                "waypost_unknown_refused_total",
                "Requests for unknown codes and previews answered 429 because their client had used up its budget",
            ),
        }
    }

    /// Charges a client for an unknown code.
    pub(super) fn charge(&self, client: IpAddr, now: Instant) {
        if let Some(budgets) = &self.budgets {
            budgets.charge(&client, now);
        }
    }

    /// Whether a client has used up its budget.
    pub(super) fn is_over(&self, client: IpAddr, now: Instant) -> bool {
        self.budgets.as_ref().is_some_and(|budgets| budgets.is_over(&client, now))
    }
}

#[cfg(test)]
mod tests {
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
