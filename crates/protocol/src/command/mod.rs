//! Every change that a replicated group can make, and its outcome.
//!
//! Group 0 has its commands ([`ClusterCommand`]) and the shards have theirs ([`ShardCommand`]). A command carries all that its effect
//! depends on (times, random values, ids): applying it reads no clock and draws no random number, so every replica comes to the same
//! state. What a user can do wrong is an outcome, never an error, and each command has a type for the outcomes that it can have.
//!
//! ```text
//! batch   = at (varint) · count (varint) · { command }*
//! command = number u8 · fields (postcard)
//! ```
//!
//! The encoding of a command is that of level 1 and later (`level.rs`): a command is added under a number that no command has had, and
//! what is optional in a link is a field with a tag (`fields.rs`). What differs at level 0 is in `base.rs`.

#[macro_use]
mod numbered;

mod base;
mod cluster;
mod cluster_commands;
mod cluster_record;
mod shard;

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Level, UnixMs};

pub use cluster::{
    AddDomainOutcome, AdmitNodeOutcome, ClusterCommand, ClusterOutcome, CreateClusterOutcome, DrainNodeOutcome,
    EndOtherSessionsOutcome, EndSessionOutcome, LeaseKeysOutcome, OpenSessionOutcome, PlaceOutcome, PutNodeOutcome,
    RaiseLevelOutcome, RefreshSessionOutcome, RemoveDomainOutcome, RemoveNodeOutcome, RetireNodeOutcome,
    SetAdminKeyOutcome, SetDomainOutcome,
};
pub use cluster_commands::{
    AddDomain, AdmitNode, CreateCluster, DrainNode, LeaseKeys, Place, PutNode, RaiseLevel, RemoveDomain, RemoveNode,
    RetireNode, SetAdminKey, SetDomain,
};
pub use cluster_record::{Bootstrap, NODES_MAX, NodeRecord};
pub use shard::{
    Create, CreateOutcome, Delete, DeleteOutcome, Edit, EditOutcome, EndJournals, EndJournalsOutcome, RecordClicks,
    RecordClicksOutcome, RemoveExpired, RemoveExpiredOutcome, ResetStats, ResetStatsOutcome, ShardCommand,
    ShardOutcome, UseVisit, UseVisitOutcome,
};

/// The highest number of a command at level 0.
const BASE_NUMBER_MAX: u8 = 12;

/// The commands of one kind of group.
pub trait GroupCommand: Serialize + DeserializeOwned + Debug + Clone + PartialEq + Send + Sync + 'static {
    /// What can come of them.
    type Outcome: Serialize + DeserializeOwned + Debug + Clone + PartialEq + Send + Sync + 'static;

    /// The kind of group, for messages.
    const GROUP: &'static str;

    /// The numbers by which they are stored.
    const NUMBERS: &'static [u8];

    /// The lowest level at which it may be proposed.
    fn level(&self) -> Level;

    /// Whether it raises the level of the cluster: it then is of the level that it names, and shares its log entry with no other command.
    fn raises_level(&self) -> bool {
        false
    }

    /// The bytes of one command, in the encoding of a level.
    fn encode(&self, level: Level) -> Vec<u8> {
        let _ = level;
        encode_one(self)
    }

    /// Reads one command at the front of `bytes`; answers the bytes behind it too.
    ///
    /// # Errors
    /// See [`BatchError`].
    fn take(level: Level, bytes: &[u8]) -> Result<(Self, &[u8]), BatchError> {
        take_one(level, bytes)
    }

    /// Reads what [`GroupCommand::encode`] has written at a level.
    ///
    /// # Errors
    /// See [`BatchError`].
    fn decode(level: Level, bytes: &[u8]) -> Result<Self, BatchError> {
        known(level)?;
        Self::take(level, bytes).map(|(command, _)| command)
    }
}

/// A command, with the outcomes that it can have.
pub trait Command: Into<Self::Group> + Send {
    /// The commands of its kind of group.
    type Group: GroupCommand;

    /// What can come of this one.
    type Outcome: Into<OutcomeOf<Self>> + TryFrom<OutcomeOf<Self>, Error = OutcomeOf<Self>> + Debug + Send;

    /// The outcome as one of its kind of group. A machine answers through it, so that no command gets the outcome of another one.
    fn answered(&self, outcome: Self::Outcome) -> OutcomeOf<Self> {
        outcome.into()
    }
}

/// What can come of the commands of the kind of group that a command is for.
pub type OutcomeOf<C> = <<C as Command>::Group as GroupCommand>::Outcome;

/// One log entry: the commands that were proposed together, in order, with the proposer's time.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch<C> {
    /// The level of the cluster when it was proposed. All members understand it.
    pub level: Level,
    /// The proposer's clock, at which the commands are applied. Before level 1 a group takes the largest time it has seen instead;
    /// since then times step back when a clock that had jumped ahead is set right.
    pub at: UnixMs,
    /// The commands, applied in this order.
    pub commands: Vec<C>,
}

impl<C: GroupCommand> Batch<C> {
    /// The bytes of the commands and their time, in the encoding of the batch's level.
    pub fn encode(&self) -> Vec<u8> {
        let commands: Vec<Vec<u8>> = self.commands.iter().map(|command| command.encode(self.level)).collect();
        join(self.at, &commands)
    }

    /// Reads what [`Batch::encode`] has written at a level.
    ///
    /// # Errors
    /// See [`BatchError`].
    pub fn decode(level: Level, bytes: &[u8]) -> Result<Self, BatchError> {
        known(level)?;
        let ((at, count), mut rest) =
            postcard::take_from_bytes::<(UnixMs, usize)>(bytes).map_err(BatchError::damaged)?;
        // Each takes at least a byte.
        let mut commands = Vec::with_capacity(count.min(rest.len()));
        for _ in 0..count {
            let (command, behind) = C::take(level, rest)?;
            commands.push(command);
            rest = behind;
        }
        Ok(Self { level, at, commands })
    }
}

/// The bytes of a batch, from those of its commands at the batch's level.
pub fn join(at: UnixMs, commands: &[Vec<u8>]) -> Vec<u8> {
    let head = postcard_bytes(&(at, commands.len()));
    let mut bytes = Vec::with_capacity(head.len() + commands.iter().map(Vec::len).sum::<usize>());
    bytes.extend(head);
    commands.iter().for_each(|command| bytes.extend_from_slice(command));
    bytes
}

/// Why the commands of a log entry cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// A later version has written them.
    #[error("commands of level {0} need a later version than this one, which knows levels up to {max}", max = Level::CURRENT)]
    TooNew(Level),
    /// One is for another kind of group, or of no kind that this version knows.
    #[error("command {number} is not one of {group}")]
    NotOfGroup {
        /// Its number.
        number: u8,
        /// The kind of group that was to read it.
        group: &'static str,
    },
    /// They are no commands.
    #[error("the commands cannot be decoded: {0}")]
    Damaged(String),
}

impl BatchError {
    fn damaged(error: postcard::Error) -> Self {
        Self::Damaged(error.to_string())
    }
}

fn known(level: Level) -> Result<(), BatchError> {
    if level > Level::CURRENT { Err(BatchError::TooNew(level)) } else { Ok(()) }
}

fn postcard_bytes<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("invariant: commands have no shape that postcard refuses")
}

fn encode_one<C: GroupCommand>(command: &C) -> Vec<u8> {
    postcard_bytes(command)
}

fn take_one<C: GroupCommand>(level: Level, bytes: &[u8]) -> Result<(C, &[u8]), BatchError> {
    if let Some(number) = bytes.first().copied()
        && (!C::NUMBERS.contains(&number) || level == Level::BASE && number > BASE_NUMBER_MAX)
    {
        return Err(BatchError::NotOfGroup { number, group: C::GROUP });
    }
    postcard::take_from_bytes(bytes).map_err(BatchError::damaged)
}
