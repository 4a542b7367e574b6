//! Links that were deleted a moment ago, kept in the memory of this node, so that a deletion by mistake can be taken back. It also knows forms that are sent twice. (Tokens carry a link to the
//! other nodes: `undo.rs`.)
//!
//! What comes back is a new link with the same code and the same properties, and the hash of its password, which nobody sees. Its statistics and its
//! history are gone with the old one.

use std::collections::VecDeque;

use parking_lot::Mutex;
use waypost_protocol::{LinkKey, LinkSpec, LinkVersion, Target, UnixMs};

use crate::limits::{DELETED_BYTES_MAX, DELETED_LINKS_MAX, DELETED_MS};

/// A deletion that can be taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletion {
    /// Identifies it.
    pub token: String,
    /// The domain and the code of the link.
    pub key: LinkKey,
    /// Where it led.
    pub target: Target,
    /// Until when it can be taken back.
    pub until: UnixMs,
}

/// The deletions that can be taken back, the oldest first.
#[derive(Default)]
pub(super) struct Deleted(Mutex<VecDeque<Kept>>);

/// A deleted link.
#[derive(Clone)]
pub(super) struct Kept {
    token: String,
    pub(super) until: UnixMs,
    pub(super) key: LinkKey,
    pub(super) version: LinkVersion,
    pub(super) spec: LinkSpec,
    /// Whether it was brought back. It is kept all the same, because the form that does that may be sent twice.
    pub(super) is_back: bool,
}

impl Kept {
    /// One that a token carries. It is known by that alone, so its version is not asked for.
    pub(super) fn carried(token: String, until: UnixMs, key: LinkKey, spec: LinkSpec) -> Self {
        Self { token, until, key, version: LinkVersion { version: 0, written_at: 0 }, spec, is_back: false }
    }

    fn bytes(&self) -> usize {
        let LinkSpec { target, valid_until: _, fields } = &self.spec;
        size_of::<Self>() + self.token.len() + self.key.code.as_str().len() + target.as_str().len() + fields.bytes()
    }
}

impl Deleted {
    /// Keeps a link at a version. The oldest ones make room for it.
    pub(super) fn keep(&self, token: String, key: LinkKey, version: LinkVersion, spec: LinkSpec, now: UnixMs) {
        let mut kept = self.0.lock();
        let until = UnixMs(now.0.saturating_add(DELETED_MS));
        kept.push_back(Kept { token, until, key, version, spec, is_back: false });
        kept.retain(|one| one.until > now);
        let mut bytes: usize = kept.iter().map(Kept::bytes).sum();
        while kept.len() > DELETED_LINKS_MAX || bytes > DELETED_BYTES_MAX {
            let Some(oldest) = kept.pop_front() else { break };
            bytes -= oldest.bytes();
        }
    }

    pub(super) fn of(&self, token: &str, now: UnixMs) -> Option<Kept> {
        self.0.lock().iter().find(|one| one.token == token && one.until > now).cloned()
    }

    /// What identifies the first deletion of a link at one of these versions: a form may be sent twice.
    pub(super) fn token_of(&self, key: &LinkKey, versions: &[LinkVersion], now: UnixMs) -> Option<String> {
        let kept = self.0.lock();
        let mut same = kept.iter().filter(|one| one.key == *key && versions.contains(&one.version));
        same.find(|one| one.until > now && !one.is_back).map(|one| one.token.clone())
    }

    /// Notes that a link is back.
    pub(super) fn came_back(&self, token: &str) {
        if let Some(one) = self.0.lock().iter_mut().find(|one| one.token == token) {
            one.is_back = true;
        }
    }

    pub(super) fn forget(&self, token: &str) {
        self.0.lock().retain(|one| one.token != token);
    }
}

#[cfg(test)]
mod tests {
    use waypost_protocol::{Code, Fields};

    use super::*;

    fn key(code: &str) -> LinkKey {
        LinkKey::new(Code::parse_slug(code).unwrap())
    }

    /// Keeps a link at its first version.
    fn keep(deleted: &Deleted, token: &str, code: &str, spec: LinkSpec, now: UnixMs) {
        deleted.keep(token.to_owned(), key(code), version(1), spec, now);
    }

    fn version(written_at: u64) -> LinkVersion {
        format!("1-{written_at}").parse().unwrap()
    }

    fn spec(bytes: usize) -> LinkSpec {
        let mut fields = Fields::default();
        fields.set(18, Some(vec![b'x'; bytes]));
        LinkSpec { fields, ..LinkSpec::to(Target::parse("https://a.example/", &[], 100).unwrap()) }
    }

    #[test]
    fn a_deletion_is_known_until_its_time_is_over_or_it_was_taken_back() {
        let deleted = Deleted::default();
        keep(&deleted, "one", "one", spec(1), UnixMs(0));
        keep(&deleted, "two", "two", spec(1), UnixMs(10));
        assert!(deleted.of("one", UnixMs(DELETED_MS - 1)).is_some() && deleted.of("other", UnixMs(0)).is_none());
        assert!(deleted.of("one", UnixMs(DELETED_MS)).is_none());
        deleted.forget("two");
        assert!(deleted.of("two", UnixMs(10)).is_none());
    }

    #[test]
    fn the_deletion_of_a_link_at_a_version_is_found_until_the_link_is_back() {
        let deleted = Deleted::default();
        keep(&deleted, "one", "code", spec(1), UnixMs(0));
        keep(&deleted, "other", "other", spec(1), UnixMs(0));
        let found = |code: &str, of: &[u64], now| {
            let versions: Vec<LinkVersion> = of.iter().copied().map(version).collect();
            deleted.token_of(&key(code), &versions, UnixMs(now))
        };
        assert_eq!(found("code", &[7, 1], 1).as_deref(), Some("one"));
        assert_eq!(
            (found("code", &[7], 1), found("code", &[], 1), found("code", &[1], DELETED_MS)),
            (None, None, None)
        );
        deleted.came_back("one");
        assert_eq!(found("code", &[1], 1), None);
        assert!(deleted.of("one", UnixMs(1)).is_some_and(|kept| kept.is_back));
    }

    #[test]
    fn the_oldest_deletions_make_room() {
        let deleted = Deleted::default();
        for number in 0..=DELETED_LINKS_MAX {
            keep(&deleted, &number.to_string(), "code", spec(1), UnixMs(0));
        }
        assert!(deleted.of("0", UnixMs(1)).is_none() && deleted.of("1", UnixMs(1)).is_some());
        keep(&deleted, "large", "code", spec(DELETED_BYTES_MAX / 2), UnixMs(0));
        keep(&deleted, "larger", "code", spec(DELETED_BYTES_MAX / 2), UnixMs(0));
        assert!(deleted.of("large", UnixMs(1)).is_none() && deleted.of("larger", UnixMs(1)).is_some());
        assert_eq!(deleted.0.lock().len(), 1);
    }
}
