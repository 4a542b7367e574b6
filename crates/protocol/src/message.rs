//! What a message between services is: its owner, its reply, its class, and the errors that every call can end in.
//!
//! A message is declared once: `impl Request` says everything about it, and the list of its service names it. From the list follow the
//! routes to the actor's handlers, and what other nodes may ask for. An actor that lacks a handler, a message that is called and not in the
//! list, and a number that is used twice do not compile.

use serde::{Serialize, de::DeserializeOwned};

pub use crate::kinds::Kind;
use crate::kinds::Kinds;

/// A service of a node: the marker by which callers name it without importing its actor.
pub trait Service: 'static + Send + Sync {
    /// Stable name, used in logs, metrics and `cluster.toml`.
    const NAME: &'static str;
    /// All messages that it answers; see [`list!`](crate::list).
    type Messages: MessageList;
}

/// How a message is admitted when the service is busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Keeps the node itself going; waits for a permit until its deadline.
    Control,
    /// Somebody waits for the answer; refused at once with [`CallError::Overloaded`] when there is no permit.
    Interactive,
    /// As `Interactive`, with permits of its own: what only reads is not refused because writes wait for the disk.
    Read,
    /// As `Read`, with permits of its own again: what reads the disk for long must not take those of redirects.
    SlowRead,
    /// Background work; waits for a permit until its deadline.
    Bulk,
}

/// Which node answers a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnsweredBy {
    /// The node that asks.
    ThisNode,
    /// Any node that runs the service, this one first.
    AnyNode,
    /// Any node with a replica of the shard, this one first.
    AnyReplica,
    /// The leader of the shard.
    Leader,
}

/// Whether a caller may send the message again when it did not hear an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// A second delivery would act twice.
    Never,
    /// The message changes nothing, or changing it twice is the same as once.
    Always,
    /// It is sent again when it broke off, so that nobody will say whether it was done: its connection broke, its actor was rebuilt, or
    /// the leader changed. A second delivery may act again, but leaves nothing wrong behind.
    AfterBreak,
}

/// A message and the reply that belongs to it.
pub trait Request: Serialize + DeserializeOwned + Clone + Send + 'static {
    /// The service that owns the message.
    type Service: Service;
    /// What the service answers.
    type Reply: Serialize + DeserializeOwned + Send + 'static;
    /// The number on the wire.
    const KIND: Kind;
    /// Stable name for logs and metric labels.
    const NAME: &'static str;
    /// How it is admitted.
    const CLASS: Class;
    /// Whether it may be repeated.
    const RETRY: Retry;
    /// Which node answers it. With [`AnsweredBy::ThisNode`] other nodes cannot send it.
    const ANSWERED_BY: AnsweredBy;

    /// The shard the message is for, in a service that has one child per shard.
    fn shard(&self) -> Option<crate::ShardId> {
        None
    }

    /// Whether this one may be repeated, where that depends on what it asks for.
    fn retry(&self) -> Retry {
        Self::RETRY
    }

    /// Which node answers this one, where that depends on what it asks for.
    fn answered_by(&self) -> AnsweredBy {
        Self::ANSWERED_BY
    }

    /// A replica has left the answer to the leader, perhaps because what it knows is newer than what others do: nobody else is to answer.
    fn ask_leader(&mut self) {}
}

/// Messages that a service answers: `()`, or a message and a list. Written with [`list!`](crate::list).
pub trait MessageList: 'static {
    /// Their numbers and names.
    const KINDS: &'static Kinds;
}

impl MessageList for () {
    const KINDS: &'static Kinds = &Kinds::End;
}

impl<M: Request, Rest: MessageList> MessageList for (M, Rest) {
    const KINDS: &'static Kinds = &Kinds::Of(M::KIND, M::NAME, Rest::KINDS);
}

/// What a service itself can answer instead of a reply. Expected outcomes (a slug that is taken) are part of the reply,
/// not errors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
pub enum ServiceError {
    /// The service cannot answer now, and nothing was changed; trying again later may work.
    #[error("the service is not available now: {0}")]
    Unavailable(String),
    /// The node accepts no writes: the free space of its disk is below the watermark.
    #[error("the node is read-only: {0}")]
    ReadOnly(String),
    /// The write was handed to the log and its end is not known.
    #[error("the outcome of the write is unknown: {0}")]
    OutcomeUnknown(String),
    /// Another node must be asked. Nothing was done.
    #[error("another node has to answer this")]
    NotHere {
        /// Which, as far as this one knows.
        leader: Option<crate::NodeId>,
    },
    /// What was asked for is larger than can be stored. Nothing was changed. Only an answer to requests with optional fields, which no
    /// version sends that does not know it.
    #[error("too large: {0}")]
    TooLarge(String),
}

/// How a call to a service can fail, local or remote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The service has as much work as it may hold. Nothing was done.
    #[error("{service} is overloaded")]
    Overloaded {
        /// The service that refused.
        service: &'static str,
    },
    /// No answer before the deadline. A write may have happened.
    #[error("no answer from {service} before the deadline")]
    Deadline {
        /// The service that was asked.
        service: &'static str,
    },
    /// The service lost the message in a crash, is stopped, or does not run here. A write may have happened.
    #[error("{service} is not available")]
    Unavailable {
        /// The service that was asked.
        service: &'static str,
    },
    /// The node that has to answer cannot be reached. Nothing was done.
    #[error("{service} is on a node that cannot be reached")]
    Unreachable {
        /// The service that was asked.
        service: &'static str,
    },
    /// The service answered with an error.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

impl CallError {
    /// Whether a write that ended in this error may nevertheless have happened.
    pub fn outcome_unknown(&self) -> bool {
        matches!(
            self,
            Self::Deadline { .. } | Self::Unavailable { .. } | Self::Service(ServiceError::OutcomeUnknown(_))
        )
    }

    /// Whether the same call may succeed a little later.
    pub fn retryable(&self) -> bool {
        !matches!(self, Self::Service(ServiceError::NotHere { .. } | ServiceError::TooLarge(_)))
    }
}
