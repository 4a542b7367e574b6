//! Sessions of the dashboard: what group 0 keeps of each, and the commands about them.
//!
//! A browser has a token, and group 0 has its digest. Tokens are replaced in two steps, so that no answer that gets lost signs anybody out:
//! [`RefreshSession`] notes the token that comes next, and the first request that has it makes it the current one. The one before it
//! is accepted for a moment longer, for requests that were on their way. The next token follows from the current one and a secret of the cluster, so
//! two nodes that replace a token at the same time come to the same one.

use serde::{Deserialize, Serialize};

use crate::UnixMs;
use crate::digest::KeyDigest;
use crate::hash::first64;

/// The most sessions of a cluster: those of some people with some devices each. A new one displaces the one that was unused for longest.
pub const SESSIONS_MAX: usize = 64;

/// The longest label of a device, in bytes.
pub const DEVICE_BYTES_MAX: usize = 64;

/// The number of the admin key, where the author of a change or of a session is recorded.
pub const BY_ADMIN_KEY: u32 = 1;

/// The public name of a session: it tells nothing about its tokens, and stays when they are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(pub u64);

impl SessionId {
    /// The id of the session whose first token has this digest.
    pub fn of(first: &KeyDigest) -> Self {
        Self(first64(blake3::hash(&first.0).as_bytes()))
    }
}

/// What group 0 keeps of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// The digest of the current token.
    pub current: KeyDigest,
    /// The digest of the token that replaces it as soon as a request has it.
    pub next: Option<KeyDigest>,
    /// The digest of the token before the current one, and until when it is accepted.
    pub previous: Option<(KeyDigest, UnixMs)>,
    /// Who has signed in: the number of the key, as in the record of who created a link; 0 = the server's own account.
    pub by: u32,
    /// When.
    pub created_at: UnixMs,
    /// The last use that was noted.
    pub used_at: UnixMs,
    /// When it ends if it is not used.
    pub idle_until: UnixMs,
    /// When it ends in any case.
    pub ends_at: UnixMs,
    /// Whether the browser signed in by https, so that it sends the token by https only.
    pub secure: bool,
    /// Where it is used, as in "Firefox (Linux)"; may be empty.
    pub device: String,
}

/// Which of its tokens a session is used with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TokenAge {
    /// The one before the current one.
    Previous,
    /// The current one.
    Current,
    /// The one that replaces the current one.
    Next,
}

impl SessionRecord {
    /// Whether the session is over at a time.
    pub fn is_over(&self, now: UnixMs) -> bool {
        now >= self.idle_until.min(self.ends_at)
    }

    /// Which of the tokens of the session has this digest; `None` if none has, or the session is over. Compares in constant time.
    pub fn token(&self, digest: &KeyDigest, now: UnixMs) -> Option<TokenAge> {
        let is_next = self.next.is_some_and(|next| next.matches(digest));
        let is_previous = self.previous.is_some_and(|(previous, until)| previous.matches(digest) && now < until);
        let age = match (self.current.matches(digest), is_next, is_previous) {
            (true, _, _) => TokenAge::Current,
            (_, true, _) => TokenAge::Next,
            (_, _, true) => TokenAge::Previous,
            _ => return None,
        };
        (!self.is_over(now)).then_some(age)
    }
}

/// Opens a session: somebody has signed in. The same command again does nothing. Since level 3.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenSession {
    /// The digest of its first token, which nobody had before.
    pub token: KeyDigest,
    /// The digest of the admin key that was given; it has to be the one of the cluster still. `None` = the server's own account.
    pub key: Option<KeyDigest>,
    /// See [`SessionRecord::by`].
    pub by: u32,
    /// When.
    pub at: UnixMs,
    /// See [`SessionRecord::idle_until`].
    pub idle_until: UnixMs,
    /// See [`SessionRecord::ends_at`].
    pub ends_at: UnixMs,
    /// See [`SessionRecord::secure`].
    pub secure: bool,
    /// See [`SessionRecord::device`]: at most [`DEVICE_BYTES_MAX`].
    pub device: String,
}

/// Notes that a session was used, and replaces its token: if it was used with the current one, by noting the next; if it was used with the next one, by
/// making that the current one. The same command again does nothing more. Since level 3.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshSession {
    /// Which.
    pub session: SessionId,
    /// The digest of the token that it was used with.
    pub seen: KeyDigest,
    /// The digest of the token that follows that one.
    pub next: KeyDigest,
    /// When.
    pub at: UnixMs,
    /// See [`SessionRecord::idle_until`].
    pub idle_until: UnixMs,
    /// Until when the token that is replaced is accepted.
    pub previous_until: UnixMs,
}

/// Ends a session. Since level 3.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndSession {
    /// Which.
    pub session: SessionId,
}

/// Ends all sessions except one. Since level 3.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndOtherSessions {
    /// The one that stays.
    pub kept: SessionId,
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: UnixMs = UnixMs(1_000_000);

    fn record() -> SessionRecord {
        SessionRecord {
            current: KeyDigest([1; 32]),
            next: Some(KeyDigest([2; 32])),
            previous: Some((KeyDigest([0; 32]), UnixMs(500))),
            by: BY_ADMIN_KEY,
            created_at: UnixMs(100),
            used_at: UnixMs(100),
            idle_until: UnixMs(2_000),
            ends_at: LONG,
            secure: false,
            device: String::new(),
        }
    }

    #[test]
    fn a_session_is_used_with_its_current_token_the_next_one_and_for_a_moment_the_one_before() {
        let record = record();
        let token = |byte: u8, now| record.token(&KeyDigest([byte; 32]), UnixMs(now));
        assert_eq!(token(1, 499), Some(TokenAge::Current));
        assert_eq!(token(2, 499), Some(TokenAge::Next));
        assert_eq!((token(0, 499), token(0, 500)), (Some(TokenAge::Previous), None));
        assert_eq!(token(3, 499), None);
    }

    #[test]
    fn a_session_ends_when_it_is_idle_for_too_long_and_at_its_end_in_any_case() {
        let token = |record: &SessionRecord, now| record.token(&KeyDigest([1; 32]), UnixMs(now)).is_some();
        let idle = record();
        assert_eq!((token(&idle, 1_999), token(&idle, 2_000)), (true, false));
        let used = SessionRecord { idle_until: UnixMs(u64::MAX), ..idle };
        assert_eq!((token(&used, LONG.0 - 1), token(&used, LONG.0)), (true, false));
    }

    #[test]
    fn the_id_of_a_session_is_that_of_its_first_token_and_tells_nothing_about_it() {
        let first = KeyDigest([7; 32]);
        assert_eq!(SessionId::of(&first), SessionId::of(&first));
        assert_ne!(SessionId::of(&first), SessionId::of(&KeyDigest([8; 32])));
        assert_ne!(SessionId::of(&first).0.to_le_bytes(), [7; 8]);
    }
}
