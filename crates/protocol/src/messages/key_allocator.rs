//! The messages of KeyAllocator, which generates codes that nobody else ever gets.

use serde::{Deserialize, Serialize};

use crate::message::{AnsweredBy, Class, Kind, Request, Retry, Service};
use crate::{Code, Domain, ShardId, list};

/// The service that turns leased numbers into codes.
#[derive(Debug)]
pub struct KeyAllocator;

impl Service for KeyAllocator {
    const NAME: &'static str = "key_allocator";
    type Messages = list![NextKeys];
}

/// Asks for fresh codes. A code that was answered is never answered again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NextKeys {
    /// The shard the codes must fall into; `None` = any.
    pub shard: Option<ShardId>,
    /// The number of codes, at most [`crate::messages::key_allocator::KEYS_PER_CALL_MAX`].
    pub count: u32,
    /// The domain whose shard that is. Older versions know the default one only: others are for clusters of level 3.
    pub domain: Domain,
}

/// The most codes one call may ask for: a quarter of a lease.
pub const KEYS_PER_CALL_MAX: u32 = 1024;

impl Request for NextKeys {
    type Service = KeyAllocator;
    type Reply = Vec<Code>;
    const KIND: Kind = Kind(0x0101);
    const NAME: &'static str = "next_keys";
    const CLASS: Class = Class::Interactive;
    const RETRY: Retry = Retry::Always;
    const ANSWERED_BY: AnsweredBy = AnsweredBy::AnyNode;
}
