//! Hashes with a fixed meaning: where a code or a URL belongs, and what a retried request is recognised by.

use serde::{Deserialize, Serialize};

use crate::hash::{first64, hash64};
use crate::ids::{Domain, ShardId, shard_of_hash};

/// What "the same URL" means for find-existing: a hash of the domain and the normalised URL.
///
/// A generated code is chosen in the shard that this selects, so that the index lives beside the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UrlDigest(pub u64);

impl UrlDigest {
    /// The digest of a normalised URL in a domain.
    pub fn of(domain: Domain, url: &str) -> Self {
        Self(hash64(domain.0, url.as_bytes()))
    }

    /// The shard in which links to this URL get their generated codes.
    pub fn shard(self, shards: u32) -> ShardId {
        shard_of_hash(self.0, shards)
    }
}

/// What a client sent as `Idempotency-Key`, reduced to 16 bytes of blake3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IdempotencyKey(pub [u8; 16]);

impl IdempotencyKey {
    /// The key of the client's text, told apart by who the caller is (`owner` is the API key's number, 0 = open).
    pub fn of(owner: u32, text: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&owner.to_le_bytes()).update(text.as_bytes());
        let mut key = [0u8; 16];
        key.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self(key)
    }
}

/// A 64-bit fingerprint of a request, to notice an idempotency key that is used again for something else.
pub fn fingerprint(parts: &[&[u8]]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    first64(hasher.finalize().as_bytes())
}

/// The stored form of an API key: blake3 of its text. Fine for keys of 256 random bits, and only for those.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyDigest(pub [u8; 32]);

impl KeyDigest {
    /// The digest of a key's text.
    pub fn of(text: &str) -> Self {
        Self(*blake3::hash(text.as_bytes()).as_bytes())
    }

    /// Compares in constant time.
    pub fn matches(&self, other: &Self) -> bool {
        blake3::Hash::from_bytes(self.0) == blake3::Hash::from_bytes(other.0)
    }
}
