//! The types that openraft is instantiated with.
//!
//! openraft sees one type of proposal for all groups: the bytes of a batch of commands. They are encoded when they are proposed, and
//! stored and sent as they are. The group's machine knows which commands they are. The decoded batch travels with the bytes, so that
//! it is decoded at most once on each node.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use openraft::alias::{EntryOf, LogIdOf, StoredMembershipOf, VoteOf};
use waypost_protocol::Level;
use waypost_protocol::command::{Batch, BatchError, GroupCommand};

/// What a log entry carries: a batch of commands.
#[derive(Clone)]
pub(crate) struct Proposal {
    level: Level,
    bytes: Arc<[u8]>,
    /// An `Arc<Batch<C>>`, for the commands `C` of the group, if it was decoded already.
    batch: Option<Arc<dyn Any + Send + Sync>>,
}

impl Proposal {
    /// A batch with its bytes.
    pub(crate) fn new<C: GroupCommand>(batch: Batch<C>, bytes: Vec<u8>) -> Self {
        Self { level: batch.level, bytes: bytes.into(), batch: Some(Arc::new(batch)) }
    }

    /// A batch as it was stored or sent, not decoded yet.
    ///
    /// # Errors
    /// When this version does not understand its level.
    pub(crate) fn stored(level: Level, bytes: &[u8]) -> Result<Self, BatchError> {
        if level > Level::CURRENT {
            return Err(BatchError::TooNew(level));
        }
        Ok(Self { level, bytes: bytes.into(), batch: None })
    }

    /// The level of the batch.
    pub(crate) fn level(&self) -> Level {
        self.level
    }

    /// The bytes of the batch, in the encoding of its level.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The commands of the batch.
    ///
    /// # Errors
    /// When they are not commands `C`.
    pub(crate) fn batch<C: GroupCommand>(&self) -> Result<Arc<Batch<C>>, BatchError> {
        match self.batch.clone().and_then(|batch| batch.downcast().ok()) {
            Some(batch) => Ok(batch),
            None => Batch::decode(self.level, &self.bytes).map(Arc::new),
        }
    }

    /// Decodes the commands, for whoever asks for them later.
    ///
    /// # Errors
    /// When they are not commands `C`.
    pub(crate) fn decode<C: GroupCommand>(&mut self) -> Result<(), BatchError> {
        self.batch = Some(self.batch::<C>()?);
        Ok(())
    }
}

impl PartialEq for Proposal {
    fn eq(&self, other: &Self) -> bool {
        self.level == other.level && self.bytes == other.bytes
    }
}

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proposal(level {}, {} bytes)", self.level, self.bytes.len())
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of commands", self.bytes.len())
    }
}

/// What came of the commands of an entry, in their order: a `Vec` of the group's outcomes; `None` for an entry without commands.
#[derive(Default)]
pub(crate) struct Outcomes(Option<Box<dyn Any + Send + Sync>>);

impl Outcomes {
    pub(crate) fn new<O: Send + Sync + 'static>(outcomes: Vec<O>) -> Self {
        Self(Some(Box::new(outcomes)))
    }

    /// The outcomes, for the proposer of the group whose machine has answered them.
    pub(crate) fn into_vec<O: 'static>(self) -> Vec<O> {
        let outcomes = self.0.map(|outcomes| outcomes.downcast::<Vec<O>>());
        match outcomes {
            None => Vec::new(),
            Some(outcomes) => *outcomes.expect("invariant: a group has one machine, which has answered these"),
        }
    }
}

impl fmt::Debug for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "outcomes" } else { "no outcomes" })
    }
}

impl fmt::Display for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

openraft::declare_raft_types!(
    pub(crate) TypeConfig:
        D = Proposal,
        R = Outcomes,
        NodeId = u64,
        Node = openraft::BasicNode,
);

pub(crate) type LeaderId = openraft::impls::leader_id_adv::LeaderId<u64, u64>;
pub(crate) type LogId = LogIdOf<TypeConfig>;
pub(crate) type Entry = EntryOf<TypeConfig>;
pub(crate) type Vote = VoteOf<TypeConfig>;
pub(crate) type StoredMembership = StoredMembershipOf<TypeConfig>;
