//! The types that openraft is instantiated with.

use std::fmt;
use std::sync::Arc;

use openraft::alias::{EntryOf, LogIdOf, StoredMembershipOf, VoteOf};
use waypost_protocol::command::{Batch, Outcome};

/// What a log entry carries. Shared, because the log and the state machine both look at it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Proposal(pub(crate) Arc<Batch>);

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} commands", self.0.commands.len())
    }
}

/// What came of the commands of an entry, in their order.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Outcomes(pub(crate) Vec<Outcome>);

impl fmt::Display for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} outcomes", self.0.len())
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
