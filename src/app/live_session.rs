//! The session that a request is sent with, and what follows from its use: the note of it, and the next token of the browser.

use std::time::{Duration, Instant};

use waypost_protocol::UnixMs;
use waypost_protocol::command::RefreshSessionOutcome;
use waypost_protocol::digest::KeyDigest;
use waypost_protocol::session::{RefreshSession, SessionId, SessionRecord, TokenAge};

use super::App;
use super::access::{Authenticator, Author, Evidence, Principal};
use super::session_token::SessionToken;
use super::sessions::after;
use crate::limits::{PREVIOUS_TOKEN_MAX, SESSION_HEARD_MAX, SESSION_NOTE_MAX, SESSION_REFRESH};

/// How often it is looked whether this node has heard of a session.
const LOOK: Duration = Duration::from_millis(20);

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
            idle_until: sessions.times.idle_until(now),
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
}

#[cfg(test)]
mod tests {
    use waypost_protocol::session::BY_ADMIN_KEY;

    use super::*;
    use crate::app::session_token::NextTokens;

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
}
