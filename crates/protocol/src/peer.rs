//! What nodes say to each other, seen from above the transport: a request to a node, and its answer.
//!
//! `crates/transport` carries these over TCP; replication and the actors' calls only know the two traits.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::{Kind, NodeId};

/// A future on the heap.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Which connection to a peer a request takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// Votes, heartbeats and log entries: never behind anything large.
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
    /// Too much waits for the connection already. Nothing was sent.
    #[error("too many requests wait for the node")]
    Overloaded,
    /// The peer refused the request without doing anything.
    #[error("the node refused: {0}")]
    Refused(String),
    /// It was sent, and the connection broke before the answer.
    #[error("the connection broke before the answer")]
    Lost,
    /// It was sent, and no answer came in time.
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
    /// Sends `body` and waits for the answer, at most `within`. `scope` is the group or shard that it is about.
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

/// Who sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// The node's id.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Whether it belongs to the same cluster; one that is new belongs to none yet.
    pub member: bool,
}

/// Answers requests of other nodes.
pub trait PeerService: Send + Sync + 'static {
    /// The answer, or why there is none. `within` is what is left of the sender's patience.
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
    /// A leader hands over.
    pub const TRANSFER_LEADER: Kind = Kind(0xF004);
    /// A piece of a snapshot.
    pub const SNAPSHOT: Kind = Kind(0xF005);
    /// A command for the leader of a group.
    pub const PROPOSE: Kind = Kind(0xF006);
    /// The leader of a group is to write its state to a file, for a backup.
    pub const EXPORT: Kind = Kind(0xF007);
    /// A piece of that file is asked for.
    pub const EXPORT_READ: Kind = Kind(0xF008);
    /// As `PROPOSE`, for commands of level 1 and later: the level, then the command.
    pub const PROPOSE_AT: Kind = Kind(0xF009);
    /// What the node is: a member, or new.
    pub const PROBE: Kind = Kind(0xF010);
    /// A new node asks to become a member.
    pub const JOIN: Kind = Kind(0xF011);
    /// How the groups of the node are.
    pub const STATUS: Kind = Kind(0xF012);
    /// The leader of a group is asked to hand over to another node.
    pub const MOVE_LEADER: Kind = Kind(0xF013);
    /// What time it is there, and whether the node is sure of that.
    pub const CLOCK: Kind = Kind(0xF014);
    /// How far are the groups that the node leads?
    pub const COMMITTED: Kind = Kind(0xF015);
    /// The node is asked to bring its clicks to the shards and to take itself out of the cluster.
    pub const LEAVE: Kind = Kind(0xF016);
}
