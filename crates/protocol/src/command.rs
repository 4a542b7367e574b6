//! Every change that a replicated group can make, and its outcome.
//!
//! A command carries all that its effect depends on (times, random values, ids): applying it reads no clock and draws no
//! random number, so every replica comes to the same state. What a user can do wrong is an outcome, never an error.
//!
//! The derived encoding is that of level 1 and later (`level.rs`): variants are only added at the end, and what is optional in a link
//! is a field with a tag (`fields.rs`). The encoding of level 0 is in `command_base.rs`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clicks::ClickBatch;
use crate::digest::{IdempotencyKey, KeyDigest};
use crate::fields::{FieldChanges, Fields};
use crate::{Level, Link, LinkKey, LinkVersion, NodeId, Target, UnixMs};

/// One log entry: the commands that were proposed together, in order, with the proposer's time.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Batch {
    /// The level of the cluster when it was proposed. All members understand it.
    pub level: Level,
    /// The proposer's clock, at which the commands are applied. Before level 1 a group takes the largest time it has seen instead;
    /// since then times step back when a clock that had jumped ahead is set right.
    pub at: UnixMs,
    /// The commands, applied in this order.
    pub commands: Vec<Command>,
}

/// A change to one group; [`Command::is_for_cluster`] says which belong to group 0, and which to the shards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Makes the cluster: once, by the node that creates it.
    Bootstrap(Bootstrap),
    /// Leases the next `count` numbers of the counter to a node.
    LeaseKeys {
        /// Who asks.
        node: NodeId,
        /// How many numbers.
        count: u64,
    },
    /// Sets the admin key, unless there is one and `replace` is false.
    SetAdminKey {
        /// blake3 of the key.
        digest: KeyDigest,
        /// Whether an existing key is replaced.
        replace: bool,
    },
    /// Makes a node a member of the cluster, or changes what is known of it. A node of the same name with another id is
    /// replaced by it: its data directory was emptied. Unless a group could not go on without what the old one held.
    PutNode(Box<NodeRecord>),
    /// Takes a node out of the cluster, unless a group could not go on without it. Its id is never used again. Refused since level 1.
    RemoveNode {
        /// Which.
        node: NodeId,
    },
    /// Says whether a node is to be emptied of its replicas.
    DrainNode {
        /// Which.
        node: NodeId,
        /// Whether it is.
        drain: bool,
    },
    /// Settles which nodes are to hold a group.
    Place {
        /// Which group.
        group: u32,
        /// Its voters to be.
        voters: Vec<NodeId>,
    },
    /// Creates a link unless its key is taken.
    Create(Box<NewLink>),
    /// Changes a link, if its version is still the expected one.
    Edit {
        /// Which link.
        key: LinkKey,
        /// The version that the editor saw; `None` = any.
        if_version: Option<LinkVersion>,
        /// A new target.
        target: Option<Target>,
        /// A new end: `Some(None)` removes it.
        valid_until: Option<Option<UnixMs>>,
        /// Changes of optional fields. Since level 1.
        fields: FieldChanges,
    },
    /// Deletes a link, if its version is still the expected one.
    Delete {
        /// Which link.
        key: LinkKey,
        /// The version that the caller saw; `None` = any.
        if_version: Option<LinkVersion>,
    },
    /// Removes those of the named links that had expired at `before`.
    RemoveExpired {
        /// Candidates, at most `limits::EXPIRED_PER_SWEEP`.
        keys: Vec<LinkKey>,
        /// Links that ended before this time go.
        before: UnixMs,
    },
    /// Adds visits. A batch that was applied before counts nothing.
    RecordClicks(Arc<ClickBatch>),
    /// Forgets the statistics of a link.
    ResetStats {
        /// Which link.
        key: LinkKey,
    },
    /// Makes a new node a member of the cluster, unless it understands less than the cluster uses, or a member has its name; otherwise
    /// as `PutNode`, which since level 1 only changes a member. Since level 1.
    AdmitNode {
        /// The node.
        record: Box<NodeRecord>,
        /// The highest level that it understands.
        level: Level,
    },
    /// Raises the level of the cluster, unless it has other members than those that were asked. Since the level it names.
    RaiseLevel {
        /// The new level.
        level: Level,
        /// The nodes that said that they understand it.
        members: Vec<NodeId>,
    },
    /// Forgets how far the clicks of these journals were counted: they have ended, or the node that had them cannot come back. For
    /// a shard. Since level 1.
    EndJournals {
        /// Their numbers.
        journals: Vec<u64>,
    },
    /// Takes a node out of the cluster, unless a group could not go on without it, or the cluster has other members than those for
    /// which that was decided: so of two that leave at once, the second is decided upon without the first. Its id is never used
    /// again. Since level 1, in the place of `RemoveNode`, and of a replacement by `PutNode`.
    RetireNode {
        /// Which.
        node: NodeId,
        /// All members of the cluster, in the order of their ids.
        members: Vec<NodeId>,
    },
}

impl Command {
    /// The lowest level at which it may be proposed.
    pub fn level(&self) -> Level {
        match self {
            Self::Create(new) => new.fields.level(),
            Self::Edit { fields, .. } => fields.level(),
            Self::AdmitNode { .. } | Self::EndJournals { .. } | Self::RetireNode { .. } => Level::ONE,
            Self::RaiseLevel { level, .. } => *level,
            _ => Level::BASE,
        }
    }

    /// Whether it is for group 0 and not for a shard.
    pub fn is_for_cluster(&self) -> bool {
        match self {
            Self::Bootstrap(_)
            | Self::LeaseKeys { .. }
            | Self::SetAdminKey { .. }
            | Self::PutNode(_)
            | Self::RemoveNode { .. }
            | Self::DrainNode { .. }
            | Self::Place { .. }
            | Self::AdmitNode { .. }
            | Self::RaiseLevel { .. }
            | Self::RetireNode { .. } => true,
            Self::Create(_)
            | Self::Edit { .. }
            | Self::Delete { .. }
            | Self::RemoveExpired { .. }
            | Self::RecordClicks(_)
            | Self::ResetStats { .. }
            | Self::EndJournals { .. } => false,
        }
    }
}

/// A node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Its id.
    pub id: NodeId,
    /// Its name in `cluster.toml`.
    pub name: String,
    /// Where other nodes reach it.
    pub peer: String,
    /// Where it serves redirects and the API.
    pub http: String,
    /// Where it fails together with others.
    pub zone: String,
    /// The services that it runs, by name.
    pub services: Vec<String>,
    /// Whether it is being emptied of its replicas.
    pub drain: bool,
}

impl NodeRecord {
    /// Whether it can hold replicas.
    pub fn stores(&self) -> bool {
        self.services.iter().any(|service| service == "link_store")
    }
}

/// What is settled when the cluster is created, and never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// Random id of the cluster.
    pub cluster_id: [u8; 16],
    /// Its name, from `cluster.toml`.
    pub name: String,
    /// The number of shards.
    pub shards: u32,
    /// The key of the permutation that turns counters into codes. Secret: who has it can guess codes.
    pub permutation_key: [u8; 32],
    /// When.
    pub created_at: UnixMs,
}

/// A link to create.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewLink {
    /// Domain and code.
    pub key: LinkKey,
    /// Where it leads.
    pub target: Target,
    /// Its end, if any.
    pub valid_until: Option<UnixMs>,
    /// The number of the API key of the caller; 0 = open access.
    pub created_by: u32,
    /// Whether the code was generated (and not asked for).
    pub generated: bool,
    /// Answer with an existing link to the same URL instead, if there is one.
    pub find_existing: bool,
    /// By what a retry is recognised, with a fingerprint of the request.
    pub idempotency: Option<(IdempotencyKey, u64)>,
    /// Optional fields. Since level 1.
    pub fields: Fields,
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Nothing to say: bootstrapping, recording.
    Done,
    /// The cluster exists already.
    AlreadyBootstrapped,
    /// The numbers `start .. start + count` are the node's.
    Leased {
        /// The first number.
        start: u64,
        /// How many.
        count: u64,
    },
    /// The counter space is spent.
    KeysExhausted,
    /// There is an admin key already.
    AdminKeyExists,
    /// The link was made now, or by the same request earlier.
    Created(Box<Link>),
    /// A link to the same URL exists already.
    Existing(Box<Link>),
    /// The key names another link.
    KeyTaken,
    /// The idempotency key was used for a different request.
    IdempotencyMismatch,
    /// The link as it is now.
    Edited(Box<Link>),
    /// The link is gone.
    Deleted,
    /// There is no such link.
    NotFound,
    /// The link is at another version.
    VersionMismatch {
        /// The version it is at.
        current: LinkVersion,
    },
    /// How many links went.
    Removed(u32),
    /// The batch of clicks does not begin where the last one of these journals ended; it counts nothing. Up to where each was
    /// counted.
    ClicksOutOfStep(Vec<(u64, u64)>),
    /// Groups need the node, and one that comes in its place cannot replace what it holds.
    NodeNeeded {
        /// How many groups.
        groups: u32,
    },
    /// The cluster has as many nodes as it may have.
    TooManyNodes {
        /// How many that are.
        max: u32,
    },
    /// The node understands less than the cluster uses.
    LevelTooLow {
        /// The level of the cluster.
        needed: Level,
    },
    /// The cluster has other members than the command names; nothing was done.
    MembersChanged,
    /// The link would take more bytes than one may; nothing was done.
    LinkTooLarge {
        /// How many that are.
        max: u32,
    },
}

/// The largest number of nodes: what group 0 keeps in memory of them, and asks once a look.
pub const NODES_MAX: usize = 256;

impl Batch {
    /// The bytes of the commands and their time, in the encoding of the batch's level.
    pub fn encode(&self) -> Vec<u8> {
        if self.level == Level::BASE {
            return crate::command_base::encode(self);
        }
        postcard::to_stdvec(&(self.at, &self.commands))
            .expect("invariant: commands have no shape that postcard refuses")
    }

    /// Reads what [`Batch::encode`] has written at a level.
    ///
    /// # Errors
    /// [`BatchError::TooNew`] names the level, if this version does not understand it.
    pub fn decode(level: Level, bytes: &[u8]) -> Result<Self, BatchError> {
        if level > Level::CURRENT {
            return Err(BatchError::TooNew(level));
        }
        if level == Level::BASE {
            return crate::command_base::decode(bytes);
        }
        let (at, commands) = postcard::from_bytes(bytes).map_err(|error| BatchError::Damaged(error.to_string()))?;
        Ok(Self { level, at, commands })
    }
}

impl Command {
    /// The bytes of one command, in the encoding of a level.
    pub fn encode(&self, level: Level) -> Vec<u8> {
        match level {
            Level::BASE => crate::command_base::encode_one(self),
            _ => postcard::to_stdvec(self).expect("invariant: commands have no shape that postcard refuses"),
        }
    }

    /// Reads what [`Command::encode`] has written at a level.
    ///
    /// # Errors
    /// See [`BatchError`].
    pub fn decode(level: Level, bytes: &[u8]) -> Result<Self, BatchError> {
        match level {
            Level::BASE => crate::command_base::decode_one(bytes),
            level if level > Level::CURRENT => Err(BatchError::TooNew(level)),
            _ => postcard::from_bytes(bytes).map_err(|error| BatchError::Damaged(error.to_string())),
        }
    }
}

/// Why the commands of a log entry cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// A later version has written them.
    #[error("commands of level {0} need a later version than this one, which knows levels up to {max}", max = Level::CURRENT)]
    TooNew(Level),
    /// They are no commands.
    #[error("the commands cannot be decoded: {0}")]
    Damaged(String),
}
