//! Requests between nodes, independent of the transport: a request to a node, and its answer.
//!
//! `crates/transport` sends these over TCP; replication and the actors' calls know only the two traits.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::{Kind, NodeId};

/// A future on the heap.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The connection to a peer that a request uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// Votes, heartbeats and log entries: never behind large requests.
    Consensus,
    /// Calls of actors, and the chunks of snapshots.
    Calls,
}

/// Why a request to a peer has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// There is no connection. Nothing was sent.
    #[error("the node cannot be reached: {0}")]
    Unreachable(String),
    /// The queue of the connection is full. Nothing was sent.
    #[error("too many requests wait for the node")]
    Overloaded,
    /// The peer refused the request without doing anything.
    #[error("the node refused: {0}")]
    Refused(String),
    /// The request was sent, and the connection broke before the answer.
    #[error("the connection broke before the answer")]
    Lost,
    /// The request was sent, and no answer came in time.
    #[error("no answer in time")]
    Timeout,
    /// The answer cannot be read.
    #[error("the node's answer cannot be read: {0}")]
    Unreadable(String),
}

impl PeerError {
    /// Whether the peer may have acted on the request.
    pub fn outcome_unknown(&self) -> bool {
        matches!(self, Self::Lost | Self::Timeout | Self::Unreadable(_))
    }
}

/// Sends requests to other nodes.
pub trait Peers: Send + Sync {
    /// Sends `body` and waits for the answer, at most `within`. `scope` is the group or shard that the request concerns.
    fn call(
        &self,
        to: NodeId,
        lane: Lane,
        kind: Kind,
        scope: u32,
        body: Vec<u8>,
        within: Duration,
    ) -> BoxFuture<'_, Result<Vec<u8>, PeerError>>;
}

/// The sender of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// The node's id.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Whether it belongs to the same cluster; a new node belongs to none yet.
    pub member: bool,
}

/// Answers requests of other nodes.
pub trait PeerService: Send + Sync + 'static {
    /// Answers a request, or says why not. `within` is the time for which the sender still waits.
    fn serve(
        &self,
        from: Sender,
        kind: Kind,
        scope: u32,
        body: Vec<u8>,
        within: Duration,
    ) -> BoxFuture<'_, Result<Vec<u8>, PeerError>>;
}
