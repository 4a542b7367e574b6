//! Where in its log a state is, and with which members; kept beside the state under one lock.

use std::io;

use waypost_store::machine::Machine;

use crate::format::{decode_position, encode_position};
use crate::types::{LogId, StoredMembership};

/// The state of a group with its position. Invariant: `machine` shows exactly the entries up to `applied`.
pub(crate) struct Positioned<M> {
    pub(crate) machine: M,
    pub(crate) applied: Option<LogId>,
    pub(crate) members: StoredMembership,
    /// Whether the tree holds a checkpoint.
    pub(crate) checkpointed: bool,
}

impl<M: Machine> Positioned<M> {
    pub(crate) fn new(machine: M, stored: Option<&[u8]>) -> io::Result<Self> {
        let (applied, members) = match stored {
            Some(bytes) => decode_position(bytes)?,
            None => Default::default(),
        };
        Ok(Self { machine, applied, members, checkpointed: stored.is_some() })
    }

    /// Writes a checkpoint of the state at its position. Durable after the next commit.
    pub(crate) fn checkpoint(&mut self) -> io::Result<Vec<u8>> {
        let position = encode_position(self.applied.as_ref(), &self.members);
        self.machine.checkpoint(&position).map_err(io::Error::other)?;
        self.checkpointed = true;
        Ok(position)
    }
}
