//! How often passwords of links may be tried on this node: a client has a budget of wrong ones and one of all, because a right one costs a hash, too; and
//! a link has one of wrong ones for all clients together.

use std::net::IpAddr;
use std::time::Instant;

use waypost_protocol::KeyHash;
use waypost_telemetry::{Counter, Metrics};

use super::budgets::Budgets;
use crate::limits::{
    CHECK_OF_CLIENT_EVERY, CHECKS_OF_CLIENT, GUESS_OF_CLIENT_EVERY, GUESS_OF_LINK_EVERY, GUESSES_OF_CLIENT,
    GUESSES_OF_LINK,
};

/// The number of clients, and of links, with a budget: 128 KiB each.
const ENTRIES: usize = 8192;

/// The budgets of passwords.
pub struct PasswordAttempts {
    /// Of right ones, too.
    checks: Budgets<IpAddr>,
    clients: Budgets<IpAddr>,
    links: Budgets<KeyHash>,
    refused: Counter,
}

impl PasswordAttempts {
    /// Full budgets for everybody.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            checks: Budgets::new(ENTRIES, CHECK_OF_CLIENT_EVERY, CHECK_OF_CLIENT_EVERY * CHECKS_OF_CLIENT),
            clients: Budgets::new(ENTRIES, GUESS_OF_CLIENT_EVERY, GUESS_OF_CLIENT_EVERY * GUESSES_OF_CLIENT),
            links: Budgets::new(ENTRIES, GUESS_OF_LINK_EVERY, GUESS_OF_LINK_EVERY * GUESSES_OF_LINK),
            refused: metrics.counter(
                "waypost_passwords_refused_total",
                "Passwords of links answered 429 because their client, or all clients of the link, had tried too many",
            ),
        }
    }

    /// Charges an attempt, before the password is checked, so that many at once count like one after the other. `false`: there have been too
    /// many. A client without an address has no budget of its own.
    pub(super) fn take(&self, client: Option<IpAddr>, link: KeyHash, now: Instant) -> bool {
        if client.is_some_and(|client| !self.clients.take(&client, now)) {
            self.refused.inc();
            return false;
        }
        if !self.links.take(&link, now) {
            if let Some(client) = client {
                self.clients.give_back(&client);
            }
            self.refused.inc();
            return false;
        }
        if client.is_some_and(|client| !self.checks.take(&client, now)) {
            self.was_not_wrong(client, link);
            self.refused.inc();
            return false;
        }
        true
    }

    /// Gives back what a wrong password costs: the password was right, or nobody has checked it. What a check costs stays.
    pub(super) fn was_not_wrong(&self, client: Option<IpAddr>, link: KeyHash) {
        if let Some(client) = client {
            self.clients.give_back(&client);
        }
        self.links.give_back(&link);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn client(number: u32) -> Option<IpAddr> {
        Some(std::net::Ipv4Addr::from(number).into())
    }

    fn attempts() -> (PasswordAttempts, Instant) {
        (PasswordAttempts::new(&Metrics::new()), Instant::now() + Duration::from_secs(1000))
    }

    #[test]
    fn a_client_may_be_wrong_a_few_times_and_then_now_and_then() {
        let (attempts, now) = attempts();
        let tried = |client, link, now| (0..1000).take_while(|_| attempts.take(client, KeyHash(link), now)).count();
        assert_eq!(tried(client(1), 1, now), GUESSES_OF_CLIENT as usize);
        assert_eq!(tried(client(1), 2, now), 0, "with all links together");
        assert_eq!(tried(client(2), 2, now), GUESSES_OF_CLIENT as usize, "another client");
        assert_eq!(tried(client(1), 2, now + GUESS_OF_CLIENT_EVERY * 3), 3);
        let later = now + GUESS_OF_CLIENT_EVERY * 1000;
        assert_eq!(tried(client(1), 2, later), GUESSES_OF_CLIENT as usize, "not more than at first");
    }

    #[test]
    fn all_clients_together_may_be_wrong_about_a_link_only_so_often() {
        let (attempts, now) = attempts();
        let tried = |link, first: u32, now| {
            (first..first + 1000).filter(|number| attempts.take(client(*number), KeyHash(link), now)).count()
        };
        assert_eq!(tried(1, 0, now), GUESSES_OF_LINK as usize);
        assert_eq!(tried(1, 1000, now), 0);
        assert_eq!(tried(1, 2000, now + GUESS_OF_LINK_EVERY * 2), 2);
        assert!(attempts.take(client(1500), KeyHash(2), now), "who was refused because of the link has lost nothing");
        // A client without an address is bound by the link only.
        assert_eq!((0..1000).filter(|_| attempts.take(None, KeyHash(3), now)).count(), GUESSES_OF_LINK as usize);
    }

    #[test]
    fn a_right_password_costs_nothing_of_the_wrong_ones() {
        let (attempts, mut now) = attempts();
        for _ in 0..1000 {
            assert!(attempts.take(client(1), KeyHash(1), now));
            attempts.was_not_wrong(client(1), KeyHash(1));
            now += CHECK_OF_CLIENT_EVERY;
        }
        assert_eq!(
            (0..100).take_while(|_| attempts.take(client(1), KeyHash(1), now)).count(),
            GUESSES_OF_CLIENT as usize
        );
    }

    #[test]
    fn right_passwords_of_a_client_are_checked_only_so_often() {
        let (attempts, now) = attempts();
        let passed = |client, now| {
            let passes = |link| {
                let taken = attempts.take(client, KeyHash(link), now);
                attempts.was_not_wrong(client, KeyHash(link));
                taken
            };
            (0..1000).take_while(|link| passes(*link)).count()
        };
        assert_eq!(passed(client(1), now), CHECKS_OF_CLIENT as usize);
        assert_eq!(passed(client(1), now + CHECK_OF_CLIENT_EVERY * 3), 3);
        assert_eq!(passed(client(2), now), CHECKS_OF_CLIENT as usize, "another client");
        assert_eq!(passed(None, now), 1000, "this machine");
        assert_eq!((0..100).filter(|_| attempts.take(client(3), KeyHash(5), now)).count(), GUESSES_OF_CLIENT as usize);
    }
}
