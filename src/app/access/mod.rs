//! Authentication: the sender of a request, from its key and its connection.
//!
//! A transport states what it knows as [`Evidence`]; only [`Authenticator::authenticate`] turns it into a [`Principal`]. The functions of the
//! application layer authorise: each asks its principal for the [`Permission`] that it needs.
//!
//! Without a key, a request is served only if it comes from a process of the server's own account on this machine, which can read the data
//! directory anyway, and if no proxy forwarded it. Backups and changes of the cluster always need a key
//! (docs/adr/0019).

mod principal;

pub use principal::{Author, Denied, KeyNeeded, Permission, Principal};
use waypost_protocol::digest::KeyDigest;
use waypost_protocol::session::SessionRecord;

/// The prefix of every admin key, so that people and secret scanners recognise one.
pub const KEY_PREFIX: &str = "wp_admin_";

/// The prefix of the key in `DATA/cli.key`, so that the commands know that it is for this machine only.
pub const CLI_KEY_PREFIX: &str = "wp_cli_";

/// The key that a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential<'a> {
    /// None.
    None,
    /// A malformed one, such as one with another scheme than `Bearer`.
    Unreadable,
    /// This text, valid or not.
    Key(&'a str),
}

/// The account at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerAccount {
    /// The server's own.
    Own,
    /// Root, which is not the server's account.
    Root,
    /// Another one.
    Other,
    /// Unknown: the peer is on another machine, or its socket cannot be found.
    Unknown,
}

/// Why the user in whose name a request is sent may not have intended it: a page in a browser can send requests without its user's knowledge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unintended {
    /// It names this server by a host name that need not stand for this machine.
    HostName,
    /// A page of another origin sends it.
    OtherOrigin,
}

/// What a transport knows about the sender of a request.
pub trait Evidence {
    /// The key that the request carries.
    fn credential(&self) -> Credential<'_>;

    /// Whether the connection comes from a loopback address of this machine.
    fn is_over_loopback(&self) -> bool;

    /// Whether a proxy forwarded the request.
    fn is_forwarded(&self) -> bool;

    /// Why the user in whose name the request is sent may not have intended it.
    fn unintended(&self) -> Option<Unintended>;

    /// The account of the process at the other end. Ask for it last, because the look-up costs system calls.
    fn account(&self) -> PeerAccount;
}

/// Why a text is not the admin key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAdminKey {
    /// The cluster has none.
    #[error("this server has no admin key")]
    NoneSet,
    /// It is the key that a node has made for the commands of its own account.
    #[error("this is a key for the waypost commands, and not the admin key")]
    OfCommands,
    /// It is another text.
    #[error("this is not the admin key")]
    Wrong,
}

/// Determines the sender of a request, by the rule of this node.
pub struct Authenticator {
    open: bool,
    command_line: Option<KeyDigest>,
    stored: Box<dyn Fn() -> Option<KeyDigest> + Send + Sync>,
}

impl Authenticator {
    /// `stored` returns the digest of the admin key that the cluster has at that moment. While it has none, the server's own account needs no key
    /// if the node is `open`; otherwise every sender is anonymous.
    pub fn new(open: bool, stored: impl Fn() -> Option<KeyDigest> + Send + Sync + 'static) -> Self {
        Self { open, command_line: None, stored: Box::new(stored) }
    }

    /// Also accepts the key in `DATA/cli.key`, from accounts that can read it.
    #[must_use]
    pub fn with_command_line(mut self, key: Option<KeyDigest>) -> Self {
        self.command_line = key;
        self
    }

    /// The admin key that somebody signs in with: its digest, if it is the one of the cluster.
    ///
    /// # Errors
    /// Why it is not.
    pub(super) fn admin_key(&self, key: &str) -> Result<KeyDigest, NotAdminKey> {
        let stored = (self.stored)().ok_or(NotAdminKey::NoneSet)?;
        let digest = KeyDigest::of(key);
        match digest.matches(&stored) {
            true => Ok(digest),
            false if key.starts_with(CLI_KEY_PREFIX) => Err(NotAdminKey::OfCommands),
            false => Err(NotAdminKey::Wrong),
        }
    }

    /// Whether the cluster has an admin key.
    pub(super) fn has_admin_key(&self) -> bool {
        (self.stored)().is_some()
    }

    /// The person who is signed in with a session; `None` if the session does not count for this request. One of the server's own account counts
    /// on this machine only, where its one-time link was for.
    pub(super) fn of_session(session: &SessionRecord, evidence: &impl Evidence) -> Option<Principal> {
        match Author::of(session.by) {
            Author::Admin => Some(Principal::admin()),
            Author::Account if evidence.is_over_loopback() && !evidence.is_forwarded() => {
                Some(Principal::command_line())
            }
            Author::Account | Author::Key(_) => None,
        }
    }

    /// The sender of a request.
    pub fn authenticate(&self, evidence: &impl Evidence) -> Principal {
        let stored = (self.stored)();
        let credential = evidence.credential();
        if let Credential::Key(key) = credential {
            let digest = KeyDigest::of(key);
            if stored.as_ref().is_some_and(|stored| digest.matches(stored)) {
                return Principal::admin();
            }
            // Only the server's own account and root can read it. Anybody else has intercepted it, for example by listening in place of
            // the server.
            let can_read_it =
                || !evidence.is_forwarded() && matches!(evidence.account(), PeerAccount::Own | PeerAccount::Root);
            if self.command_line.as_ref().is_some_and(|key| digest.matches(key)) && can_read_it() {
                return Principal::command_line();
            }
        }
        let key_is_set = stored.is_some();
        if key_is_set || !self.open {
            let reason = match credential {
                Credential::Key(_) => KeyNeeded::Unknown,
                Credential::None | Credential::Unreadable => KeyNeeded::Missing,
            };
            return Principal::anonymous(Denied::KeyNeeded { reason, key_is_set }, credential, key_is_set);
        }
        match by_account(evidence) {
            Ok(()) => Principal::own_account(credential),
            Err(denied) => Principal::anonymous(denied, credential, key_is_set),
        }
    }
}

/// Whether a request comes from the server's own account, and its user intended it. Cheap checks come first.
fn by_account(evidence: &impl Evidence) -> Result<(), Denied> {
    let needed = |reason| Denied::KeyNeeded { reason, key_is_set: false };
    if evidence.is_forwarded() {
        return Err(needed(KeyNeeded::PassedOn));
    }
    if let Some(why) = evidence.unintended() {
        return Err(Denied::Unintended(why));
    }
    match evidence.account() {
        PeerAccount::Own => Ok(()),
        PeerAccount::Other | PeerAccount::Root => Err(needed(KeyNeeded::OtherAccount)),
        PeerAccount::Unknown => Err(needed(KeyNeeded::UnknownAccount)),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    struct Request {
        credential: Credential<'static>,
        is_forwarded: bool,
        unintended: Option<Unintended>,
        account: PeerAccount,
        looked_up: Cell<bool>,
    }

    impl Request {
        fn of(credential: Credential<'static>, account: PeerAccount) -> Self {
            Self { credential, is_forwarded: false, unintended: None, account, looked_up: Cell::new(false) }
        }
    }

    impl Evidence for Request {
        fn credential(&self) -> Credential<'_> {
            self.credential
        }

        fn is_over_loopback(&self) -> bool {
            self.account != PeerAccount::Unknown
        }

        fn is_forwarded(&self) -> bool {
            self.is_forwarded
        }

        fn unintended(&self) -> Option<Unintended> {
            self.unintended
        }

        fn account(&self) -> PeerAccount {
            self.looked_up.set(true);
            self.account
        }
    }

    const OPEN: fn() -> Authenticator =
        || Authenticator::new(true, || None).with_command_line(Some(KeyDigest::of("wp_cli_x")));
    const KEYED: fn() -> Authenticator = || {
        Authenticator::new(true, || Some(KeyDigest::of("wp_admin_x")))
            .with_command_line(Some(KeyDigest::of("wp_cli_x")))
    };

    fn reason(denied: Result<(), Denied>) -> Option<KeyNeeded> {
        match denied.unwrap_err() {
            Denied::KeyNeeded { reason, .. } => Some(reason),
            Denied::Unintended(_) | Denied::OnPublicListener => None,
        }
    }

    #[test]
    fn on_an_open_node_the_own_account_may_change_links_but_takes_no_backup() {
        let own = OPEN().authenticate(&Request::of(Credential::None, PeerAccount::Own));
        assert_eq!((own.require(Permission::WriteLinks), own.number()), (Ok(()), 0));
        assert_eq!(reason(own.require(Permission::ReadBackup)), Some(KeyNeeded::Always));
        // An unknown key does not keep the server's own account from requests that need no key.
        let own = OPEN().authenticate(&Request::of(Credential::Key("wrong"), PeerAccount::Own));
        assert_eq!(own.require(Permission::WriteLinks), Ok(()));
        assert_eq!(reason(own.require(Permission::AdministerCluster)), Some(KeyNeeded::Unknown));
    }

    #[test]
    fn an_open_node_says_why_others_need_a_key_and_looks_the_account_up_last() {
        for (account, expected) in [
            (PeerAccount::Root, KeyNeeded::OtherAccount),
            (PeerAccount::Other, KeyNeeded::OtherAccount),
            (PeerAccount::Unknown, KeyNeeded::UnknownAccount),
        ] {
            let other = OPEN().authenticate(&Request::of(Credential::None, account));
            assert_eq!(reason(other.require(Permission::ReadLinks)), Some(expected), "{account:?}");
        }
        let forwarded = Request { is_forwarded: true, ..Request::of(Credential::None, PeerAccount::Own) };
        assert_eq!(reason(OPEN().authenticate(&forwarded).require(Permission::WriteLinks)), Some(KeyNeeded::PassedOn));
        let unintended = Some(Unintended::OtherOrigin);
        let page = Request { unintended, ..Request::of(Credential::None, PeerAccount::Own) };
        let denied = OPEN().authenticate(&page).require(Permission::WriteLinks);
        assert_eq!(denied, Err(Denied::Unintended(Unintended::OtherOrigin)));
        assert!(!forwarded.looked_up.get() && !page.looked_up.get());
    }

    #[test]
    fn with_an_admin_key_nothing_but_a_key_counts() {
        let admin = KEYED().authenticate(&Request::of(Credential::Key("wp_admin_x"), PeerAccount::Unknown));
        assert_eq!((admin.require(Permission::AdministerCluster), admin.number()), (Ok(()), 1));
        for (credential, expected) in [
            (Credential::None, KeyNeeded::Missing),
            (Credential::Unreadable, KeyNeeded::Missing),
            (Credential::Key("wp_admin_y"), KeyNeeded::Unknown),
        ] {
            let own = Request::of(credential, PeerAccount::Own);
            let principal = KEYED().authenticate(&own);
            assert_eq!(reason(principal.require(Permission::ReadLinks)), Some(expected), "{credential:?}");
            assert!(!own.looked_up.get(), "a node that has a key looks up no account");
            assert_eq!(principal.presents_key(), credential != Credential::None);
        }
        let closed = Authenticator::new(false, || None);
        let own = closed.authenticate(&Request::of(Credential::None, PeerAccount::Own));
        assert_eq!(reason(own.require(Permission::ReadLinks)), Some(KeyNeeded::Missing));
    }

    #[test]
    fn the_key_of_the_command_line_counts_only_from_those_who_can_read_its_file() {
        for (account, known) in [
            (PeerAccount::Own, true),
            (PeerAccount::Root, true),
            (PeerAccount::Other, false),
            (PeerAccount::Unknown, false),
        ] {
            for authenticator in [OPEN(), KEYED()] {
                let principal = authenticator.authenticate(&Request::of(Credential::Key("wp_cli_x"), account));
                assert_eq!(principal.require(Permission::ReadBackup).is_ok(), known, "{account:?}");
                assert_eq!(principal.number(), 0);
            }
        }
        let passed_on = Request { is_forwarded: true, ..Request::of(Credential::Key("wp_cli_x"), PeerAccount::Own) };
        assert!(KEYED().authenticate(&passed_on).require(Permission::ReadBackup).is_err());
    }

    #[test]
    fn only_the_admin_key_signs_in_and_each_other_text_is_refused_with_the_reason() {
        assert_eq!(KEYED().admin_key("wp_admin_x"), Ok(KeyDigest::of("wp_admin_x")));
        assert_eq!(KEYED().admin_key("wp_admin_y"), Err(NotAdminKey::Wrong));
        assert_eq!(KEYED().admin_key(""), Err(NotAdminKey::Wrong));
        assert_eq!(KEYED().admin_key("wp_cli_x"), Err(NotAdminKey::OfCommands));
        assert_eq!(OPEN().admin_key("wp_admin_x"), Err(NotAdminKey::NoneSet));
        assert!(KEYED().has_admin_key() && !OPEN().has_admin_key());
    }

    #[test]
    fn a_session_of_the_own_account_counts_on_this_machine_only_and_one_of_a_later_version_nowhere() {
        let session = |by| {
            let (now, token) = (waypost_protocol::UnixMs(1), KeyDigest([0; 32]));
            SessionRecord {
                current: token,
                next: None,
                previous: None,
                by,
                created_at: now,
                used_at: now,
                idle_until: now,
                ends_at: now,
                secure: false,
                device: String::new(),
            }
        };
        let here = Request::of(Credential::None, PeerAccount::Other);
        let elsewhere = Request::of(Credential::None, PeerAccount::Unknown);
        let forwarded = Request { is_forwarded: true, ..Request::of(Credential::None, PeerAccount::Own) };
        for (by, request, number) in [
            (0, &here, Some(0)),
            (0, &elsewhere, None),
            (0, &forwarded, None),
            (1, &here, Some(1)),
            (1, &elsewhere, Some(1)),
            (1, &forwarded, Some(1)),
            (2, &here, None),
        ] {
            let principal = Authenticator::of_session(&session(by), request);
            assert_eq!(principal.as_ref().map(Principal::number), number, "{by}");
            let Some(principal) = principal else { continue };
            assert!(principal.require(Permission::AdministerCluster).is_ok());
            // The public listener shows the cluster, and links and sessions are changed there.
            let at_public = principal.on_public_page();
            for permission in [Permission::AdministerCluster, Permission::ReadBackup] {
                assert_eq!(at_public.require(permission), Err(Denied::OnPublicListener));
            }
            for permission in [Permission::ReadCluster, Permission::WriteLinks, Permission::ManageSessions] {
                assert_eq!(at_public.require(permission), Ok(()));
            }
        }
    }

    #[test]
    fn everybody_who_reaches_the_listener_may_see_the_cluster() {
        let anonymous = KEYED().authenticate(&Request::of(Credential::None, PeerAccount::Unknown));
        assert_eq!(anonymous.require(Permission::ReadCluster), Ok(()));
    }
}
