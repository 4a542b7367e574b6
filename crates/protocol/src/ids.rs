//! Ids of nodes, shards and links, as they are used in the log, in the store, in the cache and on the wire.

use serde::{Deserialize, Serialize};

use crate::Code;
use crate::hash::hash64;

/// A node's id: random, made at its first boot, kept in its data directory, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u64);

/// The number of a shard, from 0 to one less than the number of shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ShardId(pub u32);

impl ShardId {
    /// The shard as an index into a list of all shards.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The number of a domain. Domain 0 is the default one; the others have a host (`domain.rs`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct Domain(pub u32);

/// The identity of a link: its domain, and its code exactly as in the URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LinkKey {
    /// The domain the link lives in.
    pub domain: Domain,
    /// The code or custom alias.
    pub code: Code,
}

impl LinkKey {
    /// A key in the default domain.
    pub fn new(code: Code) -> Self {
        Self { domain: Domain::default(), code }
    }

    /// The hash under which the shard, the indexes and the clicks find the key.
    pub fn hash(&self) -> KeyHash {
        KeyHash::of(self.domain, self.code.as_str())
    }

    /// The shard that owns the key, of `shards` shards.
    pub fn shard(&self, shards: u32) -> ShardId {
        self.hash().shard(shards)
    }
}

/// The first 64 bits of blake3(domain, code).
///
/// It is stored, so it must never change. A client that chooses aliases freely can make two of its own that share a hash
/// (some billions of tries), but none that shares the hash of somebody else's link. Where certainty is needed the key is
/// compared as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyHash(pub u64);

impl KeyHash {
    /// The hash of the key with this domain and code.
    pub fn of(domain: Domain, code: &str) -> Self {
        Self(hash64(domain.0, code.as_bytes()))
    }

    /// The shard that owns the key, of `shards` shards.
    pub fn shard(self, shards: u32) -> ShardId {
        shard_of_hash(self.0, shards)
    }
}

/// The shard that owns a 64-bit hash. It uses the upper half, so that indexes may use the lower one.
pub fn shard_of_hash(hash: u64, shards: u32) -> ShardId {
    ShardId(((hash >> 32) as u32) % shards.max(1))
}
