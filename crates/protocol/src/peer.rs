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
}

impl PeerError {
    /// Whether the peer may have acted on the request.
    pub fn outcome_unknown(&self) -> bool {
        matches!(self, Self::Lost | Self::Timeout)
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

/// Numbers of the requests that are not messages to an actor.
pub mod kinds {
    use crate::Kind;

    /// Log entries of a group, or a heartbeat.
    pub const APPEND: Kind = Kind(0xF001);
    /// A candidate asks for a vote.
    pub const VOTE: Kind = Kind(0xF002);
    /// A node asks whether it would get a vote.
    pub const PRE_VOTE: Kind = Kind(0xF003);
    /// A leader transfers its leadership.
    pub const TRANSFER_LEADER: Kind = Kind(0xF004);
    /// A piece of a snapshot.
    pub const SNAPSHOT: Kind = Kind(0xF005);
    /// A command for the leader of a group.
    pub const PROPOSE: Kind = Kind(0xF006);
    /// Makes the leader of a group write its state to a file, for a backup.
    pub const EXPORT: Kind = Kind(0xF007);
    /// Reads a chunk of that file.
    pub const EXPORT_READ: Kind = Kind(0xF008);
    /// Like `PROPOSE`, for commands of level 1 and later: the level, then the command.
    pub const PROPOSE_AT: Kind = Kind(0xF009);
    /// Asks whether the node is a member or new.
    pub const PROBE: Kind = Kind(0xF010);
    /// A new node asks to become a member.
    pub const JOIN: Kind = Kind(0xF011);
    /// Asks for the status of the node's groups.
    pub const STATUS: Kind = Kind(0xF012);
    /// Asks the leader of a group to transfer its leadership to another node.
    pub const MOVE_LEADER: Kind = Kind(0xF013);
    /// Asks for the node's time, and whether it is sure of it.
    pub const CLOCK: Kind = Kind(0xF014);
    /// Asks for the committed positions of the groups that the node leads.
    pub const COMMITTED: Kind = Kind(0xF015);
    /// Asks the node to send its clicks to the shards and to remove itself from the cluster.
    pub const LEAVE: Kind = Kind(0xF016);
}
