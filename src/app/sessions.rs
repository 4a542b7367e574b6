//! Sessions of the dashboard: how long they last, and the list of them (docs/adr/0027).
//!
//! Group 0 keeps them, so they are the same on every node and outlive restarts. `sign_in.rs` opens them, and `live_session.rs` finds the one that a
//! request is sent with. All of it is read from this node's replica of group 0, as the admin key is.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use waypost_protocol::command::{EndOtherSessionsOutcome, EndSessionOutcome};
use waypost_protocol::digest::KeyDigest;
use waypost_protocol::session::{EndOtherSessions, EndSession, SessionId, SessionRecord, TokenAge};
use waypost_protocol::{CallError, Level, ServiceError, UnixMs};

use super::App;
use super::access::{Author, Denied, Permission, Principal};
use super::link_errors::NotYetSupported;
use super::one_time_links::OneTimeLinks;
use super::proposals::NotApplied;
use super::seal::Seal;
use super::session_token::NextTokens;
use crate::limits::SESSION_WAITERS_MAX;

/// How long a session rests after an attempt to note its use, so that requests that come together do not all try.
const RETRY: Duration = Duration::from_secs(1);

/// How long sessions last.
#[derive(Debug, Clone, Copy)]
pub struct SessionTimes {
    /// A session ends if it is not used for so long.
    pub idle: Duration,
    /// It ends after so long in any case.
    pub max: Duration,
}

impl SessionTimes {
    /// When a session that is used now ends if it is not used again.
    pub(super) fn idle_until(&self, now: UnixMs) -> UnixMs {
        after(now, self.idle)
    }

    /// When a session that is opened now ends in any case.
    pub(super) fn ends_at(&self, now: UnixMs) -> UnixMs {
        after(now, self.max)
    }
}

/// The time so much later.
pub(super) fn after(now: UnixMs, time: Duration) -> UnixMs {
    now.saturating_add_ms(time.as_millis().try_into().unwrap_or(u64::MAX))
}

/// The part of the application layer that is about sessions.
pub struct Sessions {
    pub(super) times: SessionTimes,
    pub(super) next: NextTokens,
    /// Seals what a browser carries to other nodes.
    pub(super) seal: Seal,
    pub(super) links: OneTimeLinks,
    pub(super) waiters: Semaphore,
    /// When the use of a session with a token, by its digest, was last tried to be noted; entries older than [`RETRY`] are removed.
    tried: Mutex<BTreeMap<([u8; 32], TokenAge), Instant>>,
}

impl Sessions {
    /// `secret` is the same on all nodes of the cluster.
    pub fn new(times: SessionTimes, secret: &[u8; 32]) -> Self {
        Self {
            times,
            next: NextTokens::new(secret),
            seal: Seal::new(secret),
            links: OneTimeLinks::default(),
            waiters: Semaphore::new(SESSION_WAITERS_MAX),
            tried: Mutex::default(),
        }
    }

    /// Whether the use of a session with a token may be noted now. `false` if that was tried a moment ago.
    pub(super) fn may_try(&self, token: &KeyDigest, age: TokenAge, now: Instant) -> bool {
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

impl App {
    /// Reads the sessions of the cluster, as far as this node has heard of them.
    pub(super) fn sessions_of_cluster<T>(&self, read: impl FnOnce(&BTreeMap<SessionId, SessionRecord>) -> T) -> T {
        self.parts.groups.cluster().read(|machine| read(&machine.state().sessions))
    }

    /// Whether a session is not over, as far as this node knows it.
    pub fn is_session_open(&self, session: SessionId) -> bool {
        let now = self.now();
        self.sessions_of_cluster(|all| all.get(&session).is_some_and(|record| !record.is_over(now)))
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

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(600);

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
}
