//! A link in the cache: one allocation that holds everything that the answer needs.
//!
//! Millions of entries are resident, so bytes count: an entry is one reference-counted pointer to its head, its code and its target.

use std::sync::Arc;

use actix_http::header::HeaderValue;
use bytes::Bytes;
use triomphe::ThinArc;
use waypost_protocol::code::SLUG_BYTES_MAX;
use waypost_protocol::properties::RedirectStatus;
use waypost_protocol::{Domain, KeyHash, LinkKey, ShardId, Target, UnixMs};

use crate::behavior::Behavior;

/// The overhead of an entry beside its text: the head with its counter (56 bytes), its place in the table (22, at its usual load), and the rounding of
/// the allocator.
const ENTRY_BYTES: u64 = 92;

struct Head {
    link: KeyHash,
    /// `u64::MAX` = never.
    until: UnixMs,
    /// See [`Entry::trust`].
    trust: u64,
    /// `None` for a plain link.
    behavior: Option<Arc<Behavior>>,
    domain: Domain,
    code_bytes: u16,
    /// Of a plain link: the temporary status that it asks for.
    status: Option<RedirectStatus>,
}

const _: () = assert!(SLUG_BYTES_MAX <= u16::MAX as usize);

// With the counter and the length, so that the head and a short code are in one cache line.
const _: () = assert!(size_of::<Head>() + 16 <= 56);

/// How long answers may be given from an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// It was read from this node's replica of the shard, which reports every change: valid while that replica is fresh.
    Replica(ShardId),
    /// Until this number of nanoseconds of the view's clock.
    Until(u64),
}

/// Marks a `Trust::Replica`: no process runs for 292 years.
const REPLICA: u64 = 1 << 63;

/// A cached link: the code's text, which a look-up compares, and then the target's.
#[derive(Clone)]
pub(crate) struct Entry(ThinArc<Head, u8>);

impl Entry {
    pub(crate) fn new(
        key: &LinkKey,
        target: &Target,
        until: Option<UnixMs>,
        behavior: Option<Arc<Behavior>>,
        trust: Trust,
    ) -> Self {
        let (target, code) = (target.as_str().as_bytes(), key.code.as_bytes());
        // A link that only asks for a status is answered as quickly as one that asks for nothing.
        let status = behavior.as_deref().and_then(Behavior::only_a_temporary_status);
        let behavior = behavior.filter(|_| status.is_none());
        let head = Head {
            link: key.hash(),
            until: until.unwrap_or(UnixMs(u64::MAX)),
            trust: match trust {
                Trust::Replica(shard) => REPLICA | u64::from(shard.0),
                Trust::Until(nanos) => nanos.min(REPLICA - 1),
            },
            behavior,
            domain: key.domain,
            code_bytes: code.len() as u16,
            status,
        };
        let text: Vec<u8> = [code, target].concat();
        Self(ThinArc::from_header_and_slice(head, &text))
    }

    /// The name under which its visits are counted.
    pub(crate) fn link(&self) -> KeyHash {
        self.0.header.header.link
    }

    /// The moment from which on the link has expired.
    pub(crate) fn until(&self) -> UnixMs {
        self.0.header.header.until
    }

    /// What it does besides leading to its target.
    pub(crate) fn behavior(&self) -> Option<&Arc<Behavior>> {
        self.0.header.header.behavior.as_ref()
    }

    /// The status that a plain link asks for.
    pub(crate) fn status(&self) -> Option<RedirectStatus> {
        self.0.header.header.status
    }

    /// The text of its target.
    pub(crate) fn target(&self) -> &str {
        std::str::from_utf8(self.text().1).expect("invariant: a target is ASCII")
    }

    /// The same, as bytes.
    pub(crate) fn target_bytes(&self) -> &[u8] {
        self.text().1
    }

    /// How long answers may be given from it.
    pub(crate) fn trust(&self) -> Trust {
        match self.0.header.header.trust {
            replica if replica & REPLICA != 0 => Trust::Replica(ShardId((replica & !REPLICA) as u32)),
            nanos => Trust::Until(nanos),
        }
    }

    /// Its approximate size, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        ENTRY_BYTES + self.0.slice.len() as u64 + self.behavior().map_or(0, |behavior| behavior.bytes())
    }

    /// The `Location`: it shares the entry's text, and keeps the text alive after the cache dropped the entry.
    pub(crate) fn location(self) -> Option<HeaderValue> {
        // The only way into a header value without unsafe code checks each byte again: some nanoseconds.
        HeaderValue::from_maybe_shared(Bytes::from_owner(Location(self))).ok()
    }

    /// Where it is in memory.
    pub(crate) fn address(&self) -> *const u8 {
        self.0.heap_ptr().cast()
    }

    /// What it is found by.
    pub(crate) fn key(&self) -> KeyRef<'_> {
        KeyRef { domain: self.0.header.header.domain, code: self.text().0 }
    }

    /// The code and the target.
    fn text(&self) -> (&[u8], &[u8]) {
        self.0.slice.split_at(usize::from(self.0.header.header.code_bytes))
    }
}

/// An entry, as the text of its target.
struct Location(Entry);

impl AsRef<[u8]> for Location {
    fn as_ref(&self) -> &[u8] {
        self.0.target_bytes()
    }
}

/// A key that borrows its code from the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct KeyRef<'a> {
    pub(crate) domain: Domain,
    pub(crate) code: &'a [u8],
}

impl<'a> From<&'a LinkKey> for KeyRef<'a> {
    fn from(key: &'a LinkKey) -> Self {
        Self { domain: key.domain, code: key.code.as_bytes() }
    }
}

impl KeyRef<'_> {
    /// Whether an entry has this key.
    pub(crate) fn is_of(&self, entry: &Entry) -> bool {
        entry.key() == *self
    }
}
