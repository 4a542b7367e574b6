//! The messages of ClickCounter, which moves visits from the HTTP workers to the shards.

use serde::{Deserialize, Serialize};

use crate::list;
use crate::message::{AnsweredBy, Class, Kind, Request, Retry, Service};

/// The service that owns the click journal of this node.
#[derive(Debug)]
pub struct ClickCounter;

impl Service for ClickCounter {
    const NAME: &'static str = "click_counter";
    type Messages = list![Flush];
}

/// Sends everything recorded so far to the shards and waits for their answers. Sent before a clean stop.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Flush {
    /// Whether no more visits will be recorded: then completely counted journals are ended and deleted.
    pub last: bool,
}

/// The result of a [`Flush`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flushed {
    /// Visits that the shards acknowledged.
    pub delivered: u64,
    /// Visits that still wait because a shard did not answer.
    pub waiting: u64,
}

impl Request for Flush {
    type Service = ClickCounter;
    type Reply = Flushed;
    const KIND: Kind = Kind(0x0401);
    const NAME: &'static str = "flush";
    const CLASS: Class = Class::Control;
    const RETRY: Retry = Retry::Always;
    const ANSWERED_BY: AnsweredBy = AnsweredBy::ThisNode;
}
