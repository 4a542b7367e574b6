//! Replication: the only crate that names openraft.
//!
//! A [`Group`] is one replicated log with the state that its commands make. Callers propose commands and read the state;
//! nothing of openraft shows in the interface, and what is stored is written in encodings of our own (`format.rs`).
//!
//! ```text
//!   propose(command) ─► proposer: many commands, one entry
//!                          │ client_write
//!                      openraft ──append──► log_store ──► group commit (one fdatasync for all groups)
//!                          │ durable                                │
//!                          └──apply──► state_machine ──► outcome ◄──┘
//! ```

mod age;
mod checkpoint;
mod due;
mod engine;
mod error;
mod export;
mod exports;
mod format;
mod forward;
mod freshness;
mod group;
mod groups;
mod identity;
mod lease;
mod limits;
mod log_recovery;
mod log_store;
mod member;
mod members;
mod membership;
mod network;
mod placement;
mod position;
mod proposer;
mod receiving;
mod restore;
mod retention;
mod seen;
mod state_machine;
mod status;
mod types;
mod votes;
mod wire;

#[cfg(test)]
mod tests;

pub use age::{Committed, Position, Standing};
pub use error::OpenError;
pub use export::{Export, ExportError};
pub use freshness::{Believe, Freshness, PositionQuery};
pub use group::{Group, GroupOptions, GroupPlace};
pub use groups::{Groups, OpenedCluster};
pub use identity::{ClusterBinding, NodeIdentity};
pub use limits::{ANSWER_MAX, FRESH};
pub use members::{Member, Members};
pub use membership::MembershipError;
pub use network::NoPeers;
pub use placement::choose_voters;
pub use proposer::{Applied, ProposeError};
pub use restore::{RestoreTarget, Restored, StoppedNode};
pub use seen::{last_seen, note_seen};
pub use state_machine::SnapshotTurn;
pub use status::GroupStatus;
pub use wire::GROUP_REQUESTS;
