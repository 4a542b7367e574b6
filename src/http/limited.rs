//! Links with a limit of visits: the leader of the shard says whether one is left, and a client may ask it only so often.

use std::net::IpAddr;
use std::time::Instant;

use actix_web::HttpRequest;
use actix_web::http::Method;
use waypost_protocol::LinkKey;
use waypost_protocol::messages::MayVisit;
use waypost_redirector::Limit;
use waypost_telemetry::{Counter, Metrics};

use super::budgets::Budgets;
use super::problem::Problem;
use super::state::WorkerState;
use super::visitor::{described, limited_client};
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
    fn take(&self, client: Option<IpAddr>, now: Instant) -> bool {
        let taken = client.is_none_or(|client| self.budgets.take(&client, now));
        if !taken {
            self.refused.inc();
        }
        taken
    }
}

/// Asks the leader of the shard whether a visit of the link's limit is left, and uses it up: unless the visitor is a bot, or the browser
/// loads the page in advance. Who wants not to be counted does use it up, because otherwise everybody could.
///
/// # Errors
/// If the client has asked too often, or nobody can tell.
pub(super) async fn limit(request: &HttpRequest, worker: &WorkerState, key: LinkKey) -> Result<Limit, Problem> {
    let client = limited_client(&worker.visitors, request.headers(), request.peer_addr());
    if !worker.node.limited.take(client, Instant::now()) {
        return Err(Problem::too_many_visits());
    }
    let visitor = described(&worker.visitors, request.headers(), request.peer_addr());
    let uses_up = request.method() != Method::HEAD && worker.recorder.is_person(&visitor);
    match worker.node.app.may_visit(key, uses_up).await.map_err(Problem::of_limit)? {
        MayVisit::Yes => Ok(Limit::Left),
        MayVisit::Exhausted => Ok(Limit::Exhausted),
        MayVisit::NotFound => Err(Problem::unknown_link()),
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
