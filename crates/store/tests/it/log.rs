//! A state machine that is given one command after the other.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use waypost_protocol::command::Batch;
use waypost_protocol::{Level, UnixMs};
use waypost_store::Db;
use waypost_store::machine::Machine;

/// A machine with the index of its last entry.
pub(super) struct Log<M> {
    pub(super) machine: M,
    pub(super) index: u64,
}

impl<M: Machine> Log<M> {
    pub(super) fn open(db: &Db, tree: &str) -> Self {
        let (machine, position) = M::open(db.tree(tree).unwrap()).unwrap();
        let index = position.map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
        Self { machine, index }
    }

    pub(super) fn apply(&mut self, level: Level, command: impl Into<M::Command>) -> M::Outcome {
        self.index += 1;
        let batch = Batch { level, at: UnixMs(1_000 + self.index), commands: vec![command.into()] };
        self.machine.apply(self.index, &batch).unwrap().remove(0)
    }

    pub(super) fn checkpoint(&mut self) {
        self.machine.checkpoint(&self.index.to_le_bytes()).unwrap();
    }
}
