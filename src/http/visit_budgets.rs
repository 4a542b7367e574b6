//! How often a client may visit links with a limit of visits: each visit asks the leader of the link's shard.

use std::net::IpAddr;
use std::time::Instant;

use waypost_telemetry::{Counter, Metrics};

use super::budgets::Budgets;
use crate::limits::{LIMITED_VISIT_OF_CLIENT_EVERY, LIMITED_VISITS_OF_CLIENT};

/// The number of clients with a budget in the table: 128 KiB.
const CLIENTS: usize = 8192;

/// The budgets of clients for visits of links with a limit.
pub struct LimitedVisits {
    budgets: Budgets<IpAddr>,
    refused: Counter,
}

impl LimitedVisits {
    /// Full budgets for everybody.
    pub fn new(metrics: &Metrics) -> Self {
        let (cost, burst) = (LIMITED_VISIT_OF_CLIENT_EVERY, LIMITED_VISIT_OF_CLIENT_EVERY * LIMITED_VISITS_OF_CLIENT);
        Self {
            budgets: Budgets::new(CLIENTS, cost, burst),
            refused: metrics.counter(
                "waypost_limited_visits_refused_total",
                "Visits of links with a limit of visits answered 429 because their client had made too many",
            ),
        }
    }

    /// Charges a client for a visit. `false`: there have been too many. A client without an address has no budget.
    pub(super) fn take(&self, client: Option<IpAddr>, now: Instant) -> bool {
        let taken = client.is_none_or(|client| self.budgets.take(&client, now));
        if !taken {
            self.refused.inc();
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_may_visit_limited_links_a_few_hundred_times_and_then_now_and_then() {
        let visits = LimitedVisits::new(&Metrics::new());
        let now = Instant::now() + std::time::Duration::from_secs(1000);
        let client = |number: u32| Some(IpAddr::from(std::net::Ipv4Addr::from(number)));
        let made = |client, now| (0..1000).take_while(|_| visits.take(client, now)).count();
        assert_eq!(made(client(1), now), LIMITED_VISITS_OF_CLIENT as usize);
        assert_eq!(made(client(2), now), LIMITED_VISITS_OF_CLIENT as usize, "another client");
        assert_eq!(made(client(1), now + LIMITED_VISIT_OF_CLIENT_EVERY * 5), 5);
        assert_eq!(made(None, now), 1000, "this machine");
    }
}
