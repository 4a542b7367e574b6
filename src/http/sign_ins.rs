//! How often somebody may try to sign in with a wrong key on this node: a client has a budget, and all clients together have one.
//!
//! An admin key has at least 22 characters, so guessing is hopeless at any speed; the budgets are for keys that somebody chose badly.

use std::net::IpAddr;
use std::time::Instant;

use waypost_telemetry::{Counter, Metrics};

use super::budgets::Budgets;
use crate::limits::{SIGN_IN_OF_ALL_EVERY, SIGN_IN_OF_CLIENT_EVERY, SIGN_INS_OF_ALL, SIGN_INS_OF_CLIENT};

/// The number of clients with a budget: 64 KiB.
const ENTRIES: usize = 4096;

/// The budgets of wrong keys.
pub(super) struct SignInAttempts {
    clients: Budgets<IpAddr>,
    all: Budgets<()>,
    refused: Counter,
}

impl SignInAttempts {
    /// Full budgets for everybody.
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self {
            clients: Budgets::new(ENTRIES, SIGN_IN_OF_CLIENT_EVERY, SIGN_IN_OF_CLIENT_EVERY * SIGN_INS_OF_CLIENT),
            all: Budgets::new(1, SIGN_IN_OF_ALL_EVERY, SIGN_IN_OF_ALL_EVERY * SIGN_INS_OF_ALL),
            refused: metrics.counter(
                "waypost_sign_ins_refused_total",
                "Attempts to sign in to the dashboard with a wrong key, or after too many of them",
            ),
        }
    }

    /// Charges an attempt, before the key is compared, so that many at once count like one after the other. `false`: there have been too many. A
    /// client without an address has no budget of its own.
    pub(super) fn take(&self, client: Option<IpAddr>, now: Instant) -> bool {
        let taken = client.is_none_or(|client| self.clients.take(&client, now)) && {
            let taken = self.all.take(&(), now);
            if let Some(client) = client.filter(|_| !taken) {
                self.clients.give_back(&client);
            }
            taken
        };
        if !taken {
            self.refused.inc();
        }
        taken
    }

    /// Notes that the key was a wrong one: the attempt stays charged.
    pub(super) fn was_wrong(&self) {
        self.refused.inc();
    }

    /// Gives an attempt back: the key was not wrong.
    pub(super) fn was_not_wrong(&self, client: Option<IpAddr>) {
        if let Some(client) = client {
            self.clients.give_back(&client);
        }
        self.all.give_back(&());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn client(number: u32) -> Option<IpAddr> {
        Some(std::net::Ipv4Addr::from(number).into())
    }

    #[test]
    fn a_client_may_be_wrong_a_few_times_and_then_now_and_then() {
        let (attempts, now) = (SignInAttempts::new(&Metrics::new()), Instant::now() + Duration::from_secs(1000));
        let tried = |client, now| (0..100).take_while(|_| attempts.take(client, now)).count();
        assert_eq!(tried(client(1), now), SIGN_INS_OF_CLIENT as usize);
        assert_eq!(tried(client(2), now), SIGN_INS_OF_CLIENT as usize, "another client");
        assert_eq!(tried(client(1), now + SIGN_IN_OF_CLIENT_EVERY * 3), 3);
        assert!(attempts.refused.get() >= 3);
        // Right keys cost nothing.
        for _ in 0..1000 {
            assert!(attempts.take(client(3), now));
            attempts.was_not_wrong(client(3));
        }
    }

    #[test]
    fn all_clients_together_may_be_wrong_only_so_often() {
        let (attempts, now) = (SignInAttempts::new(&Metrics::new()), Instant::now() + Duration::from_secs(1000));
        let tried = (0..2000).filter(|number| attempts.take(client(*number), now)).count();
        assert_eq!(tried, SIGN_INS_OF_ALL as usize);
        assert!(!attempts.take(None, now), "this machine is bound as well");
        let later = now + SIGN_IN_OF_ALL_EVERY * 2;
        assert!(attempts.take(client(1999), later), "who was refused because of the others has lost nothing");
    }
}
