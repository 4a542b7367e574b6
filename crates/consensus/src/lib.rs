//! Replication: the only crate that names openraft.
//!
//! A [`Group`] is one replicated log with the state that its commands make. Callers propose commands and read the state;
//! nothing of openraft shows in the interface, and what is stored is written in encodings of our own (`format.rs`).
//!
//! ```text
//!   propose(command) ─► proposer: many commands, one entry
//!                          │ client_write
//!                      openraft ──append──► log_store ──► commit thread (one fdatasync for all groups)
//!                          │ durable                                │
//!                          └──apply──► state_machine ──► outcome ◄──┘
//! ```

mod format;
mod group;
mod groups;
mod log_store;
mod network;
mod position;
mod proposer;
mod state_machine;
mod types;

#[cfg(test)]
mod tests;

pub use group::{Group, GroupOptions, GroupStatus};
pub use groups::{Groups, NodeIdentity, OpenError};
pub use proposer::{Applied, ProposeError};
