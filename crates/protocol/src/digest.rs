//! Hashes with a fixed meaning: the shard of a code or URL, and the identity of a repeated request.

use serde::{Deserialize, Serialize};

use crate::hash::{first64, hash64};
use crate::ids::{Domain, ShardId, shard_of_hash};

/// The identity of a URL for find-existing: a hash of the domain and the normalised URL.
///
/// It also selects the shard of a generated code, so that the index is in the same shard as the link.
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

/// The header `Idempotency-Key` of a client, reduced to 16 bytes of blake3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IdempotencyKey(pub [u8; 16]);

impl IdempotencyKey {
    /// The key of the client's text. Callers are separated by `owner`, the number of the API key (0 = open access).
    pub fn of(owner: u32, text: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&owner.to_le_bytes()).update(text.as_bytes());
        let mut key = [0u8; 16];
        key.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self(key)
    }
}

/// A 64-bit fingerprint of a request, to detect an idempotency key that is used for a different request.
pub fn fingerprint(parts: &[&[u8]]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    first64(hasher.finalize().as_bytes())
}

/// The stored form of an API key: blake3 of its text. This is safe only for random keys of 256 bits.
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
