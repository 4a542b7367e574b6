//! The log position and the members of a state; kept with the state under one lock.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use waypost_store::machine::Machine;
use waypost_tasks::panic_text;

use crate::format::{decode_position, encode_position};
use crate::types::{LogId, StoredMembership};

/// The state of a group with its position. Invariant: `machine` shows exactly the entries up to `applied`.
pub(crate) struct Positioned<M> {
    /// Figures that can be read without the lock of the state.
    pub(crate) counts: Arc<Counts>,
    pub(crate) machine: M,
    pub(crate) applied: Option<LogId>,
    pub(crate) members: StoredMembership,
    /// Whether the tree holds a checkpoint.
    pub(crate) checkpointed: bool,
}

/// Figures of a state that can be read without its lock. The lock is held while a snapshot replaces the state, and a thread of the engine
/// that waits for the lock answers no other node meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// The number of bytes that the next checkpoint would write.
    pub(crate) pending_bytes: AtomicU64,
    /// The number of links.
    pub(crate) links: AtomicU64,
}

impl<M: Machine> Positioned<M> {
    pub(crate) fn new(machine: M, stored: Option<&[u8]>) -> io::Result<Self> {
        let (applied, members) = match stored {
            Some(bytes) => decode_position(bytes)?,
            None => Default::default(),
        };
        let counts = Arc::default();
        let state = Self { counts, machine, applied, members, checkpointed: stored.is_some() };
        state.count();
        Ok(state)
    }

    /// Changes the state. A panic leaves it half changed, so the store fails: nothing of the state may be written or answered any more.
    pub(crate) fn change<T>(&mut self, change: impl FnOnce(&mut Self) -> io::Result<T>) -> io::Result<T> {
        let changed = catch_unwind(AssertUnwindSafe(|| change(self)));
        if changed.is_ok() {
            self.count();
        }
        changed.unwrap_or_else(|panic| {
            let why = format!("the state of a group was being changed, and that panicked: {}", panic_text(&*panic));
            self.machine.tree().fail(&why);
            Err(io::Error::other(why))
        })
    }

    fn count(&self) {
        self.counts.pending_bytes.store(self.machine.pending_bytes(), Ordering::Relaxed);
        self.counts.links.store(self.machine.link_count(), Ordering::Relaxed);
    }

    /// Writes a checkpoint of the state at its position. Durable after the next commit. If that fails, the store fails, because parts of the
    /// state may be marked as written although they are not.
    pub(crate) fn checkpoint(&mut self) -> io::Result<Vec<u8>> {
        self.change(|state| {
            let position = encode_position(state.applied.as_ref(), &state.members);
            let written = state.machine.checkpoint(&position);
            written.inspect_err(|error| state.machine.tree().fail(error)).map_err(io::Error::other)?;
            state.checkpointed = true;
            Ok(position)
        })
    }
}

#[cfg(test)]
mod tests {
    use waypost_protocol::Level;
    use waypost_protocol::command::{Batch, ShardCommand, ShardOutcome};
    use waypost_store::{Db, DbOptions, StoreError, Tree};
    use waypost_telemetry::Metrics;

    use super::*;

    /// A machine that takes its changes out of memory, and panics before it has written them.
    struct Panics(Tree);

    impl Machine for Panics {
        type Command = ShardCommand;
        type Outcome = ShardOutcome;

        fn open(tree: Tree) -> Result<(Self, Option<Vec<u8>>), StoreError> {
            Ok((Self(tree), None))
        }

        fn reopen(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
            Ok(None)
        }

        fn apply(&mut self, _: u64, _: &Batch<ShardCommand>) -> Result<Vec<ShardOutcome>, StoreError> {
            Ok(Vec::new())
        }

        fn level(&self) -> Level {
            Level::BASE
        }

        fn pending_bytes(&self) -> u64 {
            0
        }

        fn checkpoint(&mut self, _: &[u8]) -> Result<(), StoreError> {
            panic!("halfway")
        }

        fn tree(&self) -> &Tree {
            &self.0
        }
    }

    #[test]
    fn a_checkpoint_that_panics_fails_the_store() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path(), &DbOptions::default(), &Metrics::new()).unwrap();
        let (machine, _) = Panics::open(db.tree("sm/1").unwrap()).unwrap();
        let mut state = Positioned::new(machine, None).unwrap();
        assert!(state.checkpoint().is_err() && !state.checkpointed);
        assert!(db.failure().is_some_and(|why| why.contains("halfway")), "{:?}", db.failure());
        assert!(state.machine.tree().insert(b"k", vec![1]).is_err(), "nothing may be written any more");
    }
}
