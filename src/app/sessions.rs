//! Sessions of the dashboard: signing in and out, who is signed in, and the list of sessions (docs/adr/0027).
//!
//! Group 0 keeps them, so they are the same on every node and outlive restarts. A session is found by its token alone; everything else about it is read from this node's
//! replica of group 0, as the admin key is.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use waypost_protocol::command::{
    EndOtherSessionsOutcome, EndSessionOutcome, OpenSessionOutcome, RefreshSessionOutcome,
};
use waypost_protocol::digest::KeyDigest;
use waypost_protocol::session::{
    BY_ADMIN_KEY, DEVICE_BYTES_MAX, EndOtherSessions, EndSession, OpenSession, RefreshSession, SessionId,
    SessionRecord, TokenAge,
};
use waypost_protocol::{CallError, Level, ServiceError, UnixMs};

use super::App;
use super::access::{Authenticator, Author, Denied, Evidence, NotAdminKey, Permission, Principal};
use super::link_errors::NotYetSupported;
use super::one_time_links::{LinkRefused, LinkUser, OneTimeLinks, is_here};
use super::proposals::NotApplied;
use super::session_token::{NextTokens, SessionToken};
use crate::limits::{PREVIOUS_TOKEN_MAX, SESSION_HEARD_MAX, SESSION_NOTE_MAX, SESSION_REFRESH, SESSION_WAITERS_MAX};

/// How often it is looked whether this node has heard of a session.
const LOOK: Duration = Duration::from_millis(20);

/// How long a session rests after an attempt to note its use, so that requests that come together do not all try.
const RETRY: Duration = Duration::from_secs(1);

/// The number of the server's own account.
const BY_OWN_ACCOUNT: u32 = 0;

/// How long sessions last.
#[derive(Debug, Clone, Copy)]
pub struct SessionTimes {
    /// A session ends if it is not used for so long.
    pub idle: Duration,
    /// It ends after so long in any case.
    pub max: Duration,
}

/// The part of the application layer that is about sessions.
pub struct Sessions {
    times: SessionTimes,
    next: NextTokens,
    links: OneTimeLinks,
    waiters: Semaphore,
    /// When the use of a session with a token, by its digest, was last tried to be noted; entries older than [`RETRY`] are removed.
    tried: Mutex<BTreeMap<([u8; 32], TokenAge), Instant>>,
}

impl Sessions {
    /// `secret` is the same on all nodes of the cluster.
    pub fn new(times: SessionTimes, secret: &[u8; 32]) -> Self {
        Self {
            times,
            next: NextTokens::new(secret),
            links: OneTimeLinks::default(),
            waiters: Semaphore::new(SESSION_WAITERS_MAX),
            tried: Mutex::default(),
        }
    }

    /// Whether the use of a session with a token may be noted now. `false` if that was tried a moment ago.
    fn may_try(&self, token: &KeyDigest, age: TokenAge, now: Instant) -> bool {
        let mut tried = self.tried.lock();
        tried.retain(|_, at| now.saturating_duration_since(*at) < RETRY);
        match tried.entry((token.0, age)) {
            Entry::Occupied(_) => false,
            Entry::Vacant(entry) => {
                entry.insert(now);
                true
            }
        }
    }
}

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

/// Why sessions were not listed or ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The principal has no permission.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Not all nodes of the cluster know sessions.
    #[error(transparent)]
    NotYet(#[from] NotYetSupported),
    /// The cluster did not do it, or the outcome is unknown.
    #[error(transparent)]
    Call(#[from] CallError),
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

impl From<NotApplied> for SessionError {
    fn from(error: NotApplied) -> Self {
        match error {
            NotApplied::NotYet(error) => error.into(),
            NotApplied::Call(error) => error.into(),
        }
    }
}

impl From<ServiceError> for SessionError {
    fn from(error: ServiceError) -> Self {
        Self::Call(error.into())
    }
}

/// What somebody signs in with.
#[derive(Clone, Copy)]
pub enum SignIn<'a> {
    /// The admin key.
    Key(&'a str),
    /// The secret of a one-time link, which is used up by it.
    Link(&'a SessionToken),
}

/// A session that a request is sent with.
#[derive(Debug, Clone)]
pub struct LiveSession {
    /// The session.
    pub id: SessionId,
    /// What the person may do.
    pub principal: Principal,
    /// Who has signed in.
    pub author: Author,
    /// Whether the browser sends the token by https only.
    pub secure: bool,
    /// When it ends in any case.
    pub ends_at: UnixMs,
    token: SessionToken,
    age: TokenAge,
    due: Due,
}

/// A session as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionView {
    /// Its public name.
    pub id: SessionId,
    /// Who has signed in.
    pub author: Author,
    /// Where it is used, as in "Firefox (Linux)"; may be empty.
    pub device: String,
    /// When it began.
    pub created_at: UnixMs,
    /// When it was used, up to ten minutes early.
    pub used_at: UnixMs,
    /// When it ends if it is not used, or in any case.
    pub ends_at: UnixMs,
}

/// What is to be done about a session that is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Due {
    /// Group 0 is to note the use.
    note: bool,
    /// The browser is to have the next token: group 0 has noted it.
    send: bool,
}

impl Due {
    /// Decides for a session that is used with a token. `next` follows that token; a use is noted once in `every`.
    fn of(record: &SessionRecord, age: TokenAge, next: &SessionToken, now: UnixMs, every: Duration) -> Self {
        let since = Duration::from_millis(now.0.saturating_sub(record.used_at.0));
        let digest = next.digest();
        match age {
            TokenAge::Current => {
                Self { note: since >= every, send: record.next.is_some_and(|noted| noted.matches(&digest)) }
            }
            TokenAge::Next => Self { note: true, send: false },
            // This browser has not heard of the current one.
            TokenAge::Previous => Self { note: false, send: record.current.matches(&digest) },
        }
    }
}

/// A session, and which of its tokens a request has.
type Found = (SessionToken, SessionId, SessionRecord, TokenAge);

impl App {
    fn sessions_of_cluster<T>(&self, read: impl FnOnce(&BTreeMap<SessionId, SessionRecord>) -> T) -> T {
        self.parts.groups.cluster().read(|machine| read(&machine.state().sessions))
    }

    /// Whether the cluster has an admin key to sign in with.
    pub fn has_admin_key(&self) -> bool {
        self.parts.authenticator.has_admin_key()
    }

    /// Makes a one-time link, for a caller on this machine. Returns its secret.
    ///
    /// # Errors
    /// See [`OneTimeLinkError`].
    pub fn make_one_time_link(
        &self,
        principal: &Principal,
        evidence: &impl Evidence,
        user: LinkUser,
    ) -> Result<SessionToken, OneTimeLinkError> {
        principal.require(Permission::ManageSessions)?;
        if !is_here(evidence) {
            return Err(LinkRefused::NotHere.into());
        }
        Ok(self.parts.sessions.links.make(user, Instant::now()))
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
            idle_until: after(now, sessions.times.idle),
            ends_at: after(now, sessions.times.max),
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

    /// The session that one of the tokens belongs to; `None` if nobody is signed in with them. Waits a moment for a session that this node may not
    /// have heard of yet.
    pub async fn live_session(&self, tokens: &[SessionToken], evidence: &impl Evidence) -> Option<LiveSession> {
        let found = match self.session_of(tokens) {
            Some(found) => found,
            None if tokens.is_empty() => return None,
            None => self.session_soon(tokens).await?,
        };
        self.live(found, evidence)
    }

    /// As [`App::live_session`], among the sessions that this node knows now.
    pub fn known_session(&self, tokens: &[SessionToken], evidence: &impl Evidence) -> Option<LiveSession> {
        self.live(self.session_of(tokens)?, evidence)
    }

    fn live(&self, (token, id, record, age): Found, evidence: &impl Evidence) -> Option<LiveSession> {
        let principal = Authenticator::of_session(&record, evidence)?;
        let sessions = &self.parts.sessions;
        let every = SESSION_REFRESH.min(sessions.times.idle / 4);
        let due = Due::of(&record, age, &sessions.next.after(&token), self.now(), every);
        let SessionRecord { by, secure, ends_at, .. } = record;
        Some(LiveSession { id, principal, author: Author::of(by), secure, ends_at, token, age, due })
    }

    fn session_of(&self, tokens: &[SessionToken]) -> Option<Found> {
        let now = self.now();
        let digests: Vec<KeyDigest> = tokens.iter().map(SessionToken::digest).collect();
        self.sessions_of_cluster(|all| {
            digests.iter().zip(tokens).find_map(|(digest, token)| {
                let mut found = all.iter().filter_map(|(id, record)| Some((*id, record, record.token(digest, now)?)));
                found.next().map(|(id, record, age)| (token.clone(), id, record.clone(), age))
            })
        })
    }

    async fn session_soon(&self, tokens: &[SessionToken]) -> Option<Found> {
        let _turn = self.parts.sessions.waiters.try_acquire().ok()?;
        let since = tokio::time::Instant::now();
        while since.elapsed() < SESSION_HEARD_MAX {
            tokio::time::sleep(LOOK).await;
            if let Some(found) = self.session_of(tokens) {
                return Some(found);
            }
        }
        None
    }

    /// Notes that a session is used, if that is due. Returns the token that the browser is to have from now on, if it is another one.
    ///
    /// A cluster that cannot note it now does not keep the request from being answered.
    pub async fn refresh_session(&self, session: &LiveSession) -> Option<SessionToken> {
        let sessions = &self.parts.sessions;
        let (next, seen) = (sessions.next.after(&session.token), session.token.digest());
        if !session.due.note || !sessions.may_try(&seen, session.age, Instant::now()) {
            return session.due.send.then_some(next);
        }
        let now = self.now();
        let refresh = RefreshSession {
            session: session.id,
            seen,
            next: next.digest(),
            at: now,
            idle_until: after(now, sessions.times.idle),
            previous_until: after(now, PREVIOUS_TOKEN_MAX),
        };
        match self.propose(refresh, SESSION_NOTE_MAX).await {
            Ok(RefreshSessionOutcome::Done) => {
                // With the next token the browser is up to date; with the current one it gets the next.
                let noted = |record: &SessionRecord| Due::of(record, TokenAge::Current, &next, now, Duration::MAX).send;
                let known = self.sessions_of_cluster(|all| all.get(&session.id).is_some_and(noted));
                (known || session.due.send).then_some(next)
            }
            Ok(RefreshSessionOutcome::NotFound) => None,
            Err(error) => {
                tracing::debug!(%error, "the use of a session was not noted");
                session.due.send.then_some(next)
            }
        }
    }

    /// The sessions that are not over, the one used last first.
    ///
    /// # Errors
    /// Only `Denied`.
    pub fn sessions(&self, principal: &Principal) -> Result<Vec<SessionView>, Denied> {
        principal.require(Permission::ManageSessions)?;
        let now = self.now();
        let mut views: Vec<SessionView> = self.sessions_of_cluster(|all| {
            let live = all.iter().filter(|(_, record)| !record.is_over(now));
            live.map(|(id, record)| SessionView {
                id: *id,
                author: Author::of(record.by),
                device: record.device.clone(),
                created_at: record.created_at,
                used_at: record.used_at,
                ends_at: record.idle_until.min(record.ends_at),
            })
            .collect()
        });
        views.sort_by_key(|view| (std::cmp::Reverse(view.used_at), view.id));
        Ok(views)
    }

    /// Ends a session; returns when this node accepts none of its tokens any more. One that is over or unknown has ended.
    ///
    /// # Errors
    /// See [`SessionError`]. After a [`CallError`] with an unknown outcome it may have ended.
    pub async fn end_session(&self, principal: &Principal, session: SessionId) -> Result<(), SessionError> {
        principal.require(Permission::ManageSessions)?;
        self.supported(Level::THREE)?;
        let EndSessionOutcome::Done = self.propose(EndSession { session }, self.parts.timeout).await?;
        Ok(self.heard(|| (!self.sessions_of_cluster(|all| all.contains_key(&session))).then_some(())).await?)
    }

    /// Ends all sessions except one; returns when this node accepts none of their tokens any more.
    ///
    /// # Errors
    /// See [`SessionError`]. After a [`CallError`] with an unknown outcome they may have ended.
    pub async fn end_other_sessions(&self, principal: &Principal, kept: SessionId) -> Result<(), SessionError> {
        principal.require(Permission::ManageSessions)?;
        self.supported(Level::THREE)?;
        let before: Vec<SessionId> =
            self.sessions_of_cluster(|all| all.keys().copied().filter(|id| *id != kept).collect());
        let EndOtherSessionsOutcome::Done = self.propose(EndOtherSessions { kept }, self.parts.timeout).await?;
        // Somebody may sign in meanwhile.
        let gone = || self.sessions_of_cluster(|all| !before.iter().any(|id| all.contains_key(id)));
        Ok(self.heard(|| gone().then_some(())).await?)
    }
}

fn after(now: UnixMs, time: Duration) -> UnixMs {
    now.saturating_add_ms(time.as_millis().try_into().unwrap_or(u64::MAX))
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

    const EVERY: Duration = Duration::from_secs(600);

    fn record(current: &SessionToken) -> SessionRecord {
        SessionRecord {
            current: current.digest(),
            next: None,
            previous: None,
            by: BY_ADMIN_KEY,
            created_at: UnixMs(0),
            used_at: UnixMs(1_000),
            idle_until: UnixMs(86_400_000),
            ends_at: UnixMs(86_400_000),
            secure: false,
            device: String::new(),
        }
    }

    #[test]
    fn the_use_of_a_session_is_noted_now_and_then_and_its_next_token_is_sent_until_it_comes_back() {
        let tokens = NextTokens::new(&[1; 32]);
        let first = SessionToken::random();
        let second = tokens.after(&first);
        let due = |record: &SessionRecord, age, token: &SessionToken, now: u64| {
            let due = Due::of(record, age, &tokens.after(token), UnixMs(now), EVERY);
            (due.note, due.send)
        };
        let mut record = record(&first);
        assert_eq!(due(&record, TokenAge::Current, &first, 600_999), (false, false));
        assert_eq!(due(&record, TokenAge::Current, &first, 601_000), (true, false));
        // A clock that was set back.
        assert_eq!(due(&record, TokenAge::Current, &first, 0), (false, false));
        record.next = Some(second.digest());
        record.used_at = UnixMs(601_000);
        assert_eq!(due(&record, TokenAge::Current, &first, 601_001), (false, true));
        assert_eq!(due(&record, TokenAge::Current, &first, 1_201_000), (true, true));
        assert_eq!(due(&record, TokenAge::Next, &second, 601_001), (true, false));
        // It has come back, and a request with the first one is late.
        record.previous = Some((first.digest(), UnixMs(721_000)));
        record.current = second.digest();
        record.next = None;
        assert_eq!(due(&record, TokenAge::Previous, &first, 601_002), (false, true));
        assert_eq!(due(&record, TokenAge::Current, &second, 601_002), (false, false));
        // The token before another one than the current one is none that follows.
        record.current = KeyDigest([0; 32]);
        assert_eq!(due(&record, TokenAge::Previous, &first, 601_002), (false, false));
    }

    #[test]
    fn of_requests_that_come_together_one_has_the_use_noted() {
        let times = SessionTimes { idle: EVERY, max: EVERY };
        let (sessions, now) = (Sessions::new(times, &[1; 32]), Instant::now());
        let may = |token: u8, age, now| sessions.may_try(&KeyDigest([token; 32]), age, now);
        assert!(may(1, TokenAge::Current, now) && !may(1, TokenAge::Current, now));
        assert!(may(2, TokenAge::Current, now) && may(1, TokenAge::Next, now));
        assert!(may(1, TokenAge::Current, now + RETRY));
        assert_eq!(sessions.tried.lock().len(), 1, "what is over is forgotten");
    }

    #[test]
    fn the_label_of_a_device_is_cut_between_characters() {
        assert_eq!(cut("Firefox", 64), "Firefox");
        assert_eq!(cut("Firefox", 4), "Fire");
        assert_eq!(cut("aé", 2), "a");
    }
}
