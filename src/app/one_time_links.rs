//! One-time links to sign in with: kept in the memory of the node that has made them, for a few minutes and one use.
//!
//! A link replaces the proof that somebody can read the data directory of the node: who has made it could. So it is made and used on this
//! machine only. Showing its page uses nothing up, because browsers and chats fetch pages in advance.

use std::collections::VecDeque;
use std::time::Instant;

use parking_lot::Mutex;
use waypost_protocol::digest::KeyDigest;

use super::access::{Evidence, PeerAccount, Unintended};
use super::session_token::SessionToken;
use crate::limits::{ONE_TIME_LINK_MAX, ONE_TIME_LINKS};

/// Who may use a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkUser {
    /// Everybody on this machine who has it.
    AnyAccount,
    /// Processes of the server's own account: for links that appear on command lines, which other accounts can read.
    OwnAccount,
}

/// Why a link does not sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkRefused {
    /// It is unknown: it was used, it is too old, newer ones have displaced it, or another start of the node has made it.
    #[error("the link was used already, or is older than {} minutes", ONE_TIME_LINK_MAX.as_secs() / 60)]
    Over,
    /// The request comes from another machine, or a proxy has forwarded it.
    #[error("one-time links are for a browser on the machine of the server")]
    NotHere,
    /// The request comes from another account.
    #[error("the link is for a browser under the account of the server")]
    OtherAccount,
}

struct Link {
    digest: KeyDigest,
    user: LinkUser,
    made: Instant,
}

/// The links that can be used.
#[derive(Default)]
pub(super) struct OneTimeLinks(Mutex<VecDeque<Link>>);

impl OneTimeLinks {
    /// Makes a link. It displaces the oldest one if there are too many. Returns its secret.
    pub(super) fn make(&self, user: LinkUser, now: Instant) -> SessionToken {
        let secret = SessionToken::random();
        let mut links = self.0.lock();
        links.retain(|link| !is_over(link, now));
        while links.len() >= ONE_TIME_LINKS {
            links.pop_front();
        }
        links.push_back(Link { digest: secret.digest(), user, made: now });
        secret
    }

    /// Checks a link, and uses it up if `take` is set.
    pub(super) fn check(
        &self,
        secret: &SessionToken,
        evidence: &impl Evidence,
        now: Instant,
        take: bool,
    ) -> Result<(), LinkRefused> {
        let intended = match evidence.unintended() {
            None => true,
            // A page of somebody else may lead to the link, and cannot send its form.
            Some(Unintended::OtherOrigin) => !take,
            Some(Unintended::HostName) => false,
        };
        if !intended || !is_here(evidence) {
            return Err(LinkRefused::NotHere);
        }
        let digest = secret.digest();
        let mut links = self.0.lock();
        let at = links.iter().position(|link| link.digest.matches(&digest) && !is_over(link, now));
        let at = at.ok_or(LinkRefused::Over)?;
        if links[at].user == LinkUser::OwnAccount && evidence.account() != PeerAccount::Own {
            return Err(LinkRefused::OtherAccount);
        }
        if take {
            links.remove(at);
        }
        Ok(())
    }
}

fn is_over(link: &Link, now: Instant) -> bool {
    now.saturating_duration_since(link.made) >= ONE_TIME_LINK_MAX
}

/// Whether a request comes from this machine, and no proxy has forwarded it.
pub(super) fn is_here(evidence: &impl Evidence) -> bool {
    evidence.is_over_loopback() && !evidence.is_forwarded()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::app::Credential;

    struct Request {
        is_over_loopback: bool,
        is_forwarded: bool,
        unintended: Option<Unintended>,
        account: PeerAccount,
    }

    const BROWSER: Request =
        Request { is_over_loopback: true, is_forwarded: false, unintended: None, account: PeerAccount::Other };

    impl Evidence for Request {
        fn credential(&self) -> Credential<'_> {
            Credential::None
        }

        fn is_over_loopback(&self) -> bool {
            self.is_over_loopback
        }

        fn is_forwarded(&self) -> bool {
            self.is_forwarded
        }

        fn unintended(&self) -> Option<Unintended> {
            self.unintended
        }

        fn account(&self) -> PeerAccount {
            self.account
        }
    }

    #[test]
    fn a_link_is_used_once_and_showing_its_page_does_not_use_it() {
        let (links, now) = (OneTimeLinks::default(), Instant::now());
        let secret = links.make(LinkUser::AnyAccount, now);
        for _ in 0..3 {
            assert_eq!(links.check(&secret, &BROWSER, now, false), Ok(()));
        }
        assert_eq!(links.check(&SessionToken::random(), &BROWSER, now, true), Err(LinkRefused::Over));
        assert_eq!(links.check(&secret, &BROWSER, now, true), Ok(()));
        for take in [false, true] {
            assert_eq!(links.check(&secret, &BROWSER, now, take), Err(LinkRefused::Over));
        }
    }

    #[test]
    fn a_link_is_good_for_ten_minutes_of_the_monotonic_clock() {
        let (links, now) = (OneTimeLinks::default(), Instant::now());
        let secret = links.make(LinkUser::AnyAccount, now);
        let end = now + Duration::from_secs(600);
        assert_eq!(links.check(&secret, &BROWSER, end - Duration::from_millis(1), false), Ok(()));
        assert_eq!(links.check(&secret, &BROWSER, end, true), Err(LinkRefused::Over));
    }

    #[test]
    fn a_link_is_for_a_browser_on_this_machine_that_no_proxy_and_no_foreign_page_stands_between() {
        let (links, now) = (OneTimeLinks::default(), Instant::now());
        let secret = links.make(LinkUser::AnyAccount, now);
        for request in [
            Request { is_over_loopback: false, ..BROWSER },
            Request { is_forwarded: true, ..BROWSER },
            Request { unintended: Some(Unintended::HostName), ..BROWSER },
            Request { unintended: Some(Unintended::OtherOrigin), ..BROWSER },
        ] {
            assert_eq!(links.check(&secret, &request, now, true), Err(LinkRefused::NotHere));
        }
        // The link stands on a page of somebody else, such as a terminal in a browser: its own page is shown, and not used by that page.
        let led = Request { unintended: Some(Unintended::OtherOrigin), ..BROWSER };
        assert_eq!(links.check(&secret, &led, now, false), Ok(()));
        let named = Request { unintended: Some(Unintended::HostName), ..BROWSER };
        assert_eq!(links.check(&secret, &named, now, false), Err(LinkRefused::NotHere));
        assert_eq!(links.check(&secret, &BROWSER, now, true), Ok(()), "a refused request has used it up");
    }

    #[test]
    fn a_link_that_others_could_have_read_is_for_the_own_account_only() {
        let (links, now) = (OneTimeLinks::default(), Instant::now());
        let secret = links.make(LinkUser::OwnAccount, now);
        for account in [PeerAccount::Other, PeerAccount::Root, PeerAccount::Unknown] {
            let request = Request { account, ..BROWSER };
            assert_eq!(links.check(&secret, &request, now, true), Err(LinkRefused::OtherAccount));
        }
        let own = Request { account: PeerAccount::Own, ..BROWSER };
        assert_eq!(links.check(&secret, &own, now, true), Ok(()));
    }

    #[test]
    fn only_a_few_links_are_kept_and_the_newest_ones() {
        let (links, now) = (OneTimeLinks::default(), Instant::now());
        let secrets: Vec<SessionToken> = (0..=ONE_TIME_LINKS).map(|_| links.make(LinkUser::AnyAccount, now)).collect();
        assert_eq!(links.check(&secrets[0], &BROWSER, now, false), Err(LinkRefused::Over));
        assert!(secrets[1..].iter().all(|secret| links.check(secret, &BROWSER, now, false).is_ok()));
        assert_eq!(links.0.lock().len(), ONE_TIME_LINKS);
    }
}
