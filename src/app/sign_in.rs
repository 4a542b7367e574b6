//! Signing in to the dashboard: with the admin key, or with a one-time link on the machine of the server.

use std::time::Instant;

use waypost_protocol::command::OpenSessionOutcome;
use waypost_protocol::session::{BY_ADMIN_KEY, DEVICE_BYTES_MAX, OpenSession, SessionId};
use waypost_protocol::{CallError, Level, ServiceError};

use super::App;
use super::access::{Denied, Evidence, NotAdminKey, PeerAccount, Permission, Principal};
use super::link_errors::NotYetSupported;
use super::one_time_links::{LinkRefused, LinkUser, is_here};
use super::proposals::NotApplied;
use super::session_token::SessionToken;

/// The number of the server's own account.
const BY_OWN_ACCOUNT: u32 = 0;

/// Why nobody was signed in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    /// The key is not the admin key.
    #[error(transparent)]
    Key(#[from] NotAdminKey),
    /// The one-time link cannot be used.
    #[error(transparent)]
    Link(#[from] LinkRefused),
    /// Not all nodes of the cluster know sessions.
    #[error(transparent)]
    NotYet(#[from] NotYetSupported),
    /// The cluster did not note the session, or that is unknown.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl From<NotApplied> for SignInError {
    fn from(error: NotApplied) -> Self {
        match error {
            NotApplied::NotYet(error) => error.into(),
            NotApplied::Call(error) => error.into(),
        }
    }
}

impl From<ServiceError> for SignInError {
    fn from(error: ServiceError) -> Self {
        Self::Call(error.into())
    }
}

/// Why no one-time link was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OneTimeLinkError {
    /// The principal has no permission.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The request comes from another machine, or a proxy has forwarded it.
    #[error(transparent)]
    Refused(#[from] LinkRefused),
}

/// What somebody signs in with.
#[derive(Clone, Copy)]
pub enum SignIn<'a> {
    /// The admin key.
    Key(&'a str),
    /// The secret of a one-time link, which is used up by it.
    Link(&'a SessionToken),
}

impl App {
    /// Whether the cluster has an admin key to sign in with.
    pub fn has_admin_key(&self) -> bool {
        self.parts.authenticator.has_admin_key()
    }

    /// Makes a one-time link, for a caller on this machine. Returns its secret, and who can use it: a caller of another account than the server's, whose browser
    /// is of that account as well, gets a link for all accounts.
    ///
    /// # Errors
    /// See [`OneTimeLinkError`].
    pub fn make_one_time_link(
        &self,
        principal: &Principal,
        evidence: &impl Evidence,
        user: LinkUser,
    ) -> Result<(SessionToken, LinkUser), OneTimeLinkError> {
        principal.require(Permission::ManageSessions)?;
        if !is_here(evidence) {
            return Err(LinkRefused::NotHere.into());
        }
        let user = if evidence.account() == PeerAccount::Own { user } else { LinkUser::AnyAccount };
        Ok((self.parts.sessions.links.make(user, Instant::now()), user))
    }

    /// Makes a one-time link for the person in front of the terminal in which the node is started. Returns its secret.
    pub fn make_first_link(&self) -> SessionToken {
        self.parts.sessions.links.make(LinkUser::AnyAccount, Instant::now())
    }

    /// Checks a one-time link without using it up, for its page.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn check_one_time_link(&self, secret: &SessionToken, evidence: &impl Evidence) -> Result<(), LinkRefused> {
        self.parts.sessions.links.check(secret, evidence, Instant::now(), false)
    }

    /// Signs somebody in: opens a session, and returns its first token when this node knows it.
    ///
    /// `secure` says whether the browser uses https, `device` where the session is used.
    ///
    /// # Errors
    /// See [`SignInError`]. After a [`CallError`] with an unknown outcome the session may exist, and nobody has its token.
    pub async fn sign_in(
        &self,
        with: SignIn<'_>,
        evidence: &impl Evidence,
        secure: bool,
        device: &str,
    ) -> Result<SessionToken, SignInError> {
        let sessions = &self.parts.sessions;
        let (key, by) = match with {
            SignIn::Key(key) => (Some(self.parts.authenticator.admin_key(key)?), BY_ADMIN_KEY),
            SignIn::Link(_) => (None, BY_OWN_ACCOUNT),
        };
        // Before a link is used up.
        self.writable()?;
        self.supported(Level::THREE)?;
        if let SignIn::Link(secret) = with {
            sessions.links.check(secret, evidence, Instant::now(), true)?;
        }
        let (token, now) = (SessionToken::random(), self.now());
        let open = OpenSession {
            token: token.digest(),
            key,
            by,
            at: now,
            idle_until: sessions.times.idle_until(now),
            ends_at: sessions.times.ends_at(now),
            secure,
            device: cut(device, DEVICE_BYTES_MAX).to_owned(),
        };
        let id = SessionId::of(&open.token);
        match self.propose(open, self.parts.timeout).await? {
            OpenSessionOutcome::Done => {}
            OpenSessionOutcome::KeyChanged => return Err(NotAdminKey::Wrong.into()),
        }
        self.heard(|| self.sessions_of_cluster(|all| all.contains_key(&id)).then_some(())).await?;
        Ok(token)
    }
}

/// The beginning of a text, in at most `max` bytes.
fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_of_a_device_is_cut_between_characters() {
        assert_eq!(cut("Firefox", 64), "Firefox");
        assert_eq!(cut("Firefox", 4), "Fire");
        assert_eq!(cut("aé", 2), "a");
    }
}
