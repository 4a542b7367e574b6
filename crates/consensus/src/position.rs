//! The log position and the members of a state; kept with the state under one lock.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{RwLock, RwLockUpgradableReadGuard};
use waypost_store::Tree;
use waypost_store::machine::Machine;
use waypost_tasks::{at_low_priority, panic_text};

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

    fn prepare(&self) -> io::Result<M::Prepared> {
        let prepared = at_low_priority("checkpoint", || self.machine.prepare());
        let prepared = prepared.and_then(|prepared| prepared.map_err(io::Error::other));
        prepared.inspect_err(|error| self.machine.tree().fail(error))
    }
}

/// Writes a checkpoint of a state at its position. Durable after the next commit. Most of the work is done while others read the state, and nobody changes it,
/// by a thread of low priority. The rest is not: while the database writes a batch, nobody reads or writes anything.
///
/// # Errors
/// If it fails, the store has failed: its records are damaged, or parts of the state may be marked as written although they are not.
pub(crate) fn checkpoint<M: Machine>(state: &RwLock<Positioned<M>>) -> io::Result<Checkpoint> {
    let read = state.upgradable_read();
    let prepared = read.prepare()?;
    RwLockUpgradableReadGuard::upgrade(read).change(|state| {
        let position = encode_position(state.applied.as_ref(), &state.members);
        let written = state.machine.write(prepared, &position);
        written.inspect_err(|error| state.machine.tree().fail(error)).map_err(io::Error::other)?;
        state.checkpointed = true;
        Ok(Checkpoint { position, applied: state.applied, tree: state.machine.tree().clone() })
    })
}

/// A checkpoint that was written.
pub(crate) struct Checkpoint {
    /// Its position, encoded.
    pub(crate) position: Vec<u8>,
    /// The last entry that it has.
    pub(crate) applied: Option<LogId>,
    /// Where it is.
    pub(crate) tree: Tree,
}

#[cfg(test)]
mod tests {
    use waypost_protocol::Level;
    use waypost_protocol::command::{Batch, ShardCommand, ShardOutcome};
    use waypost_store::{Db, DbOptions, StoreError, Tree};
    use waypost_telemetry::Metrics;

    use super::*;

    /// A machine that prepares its checkpoints as it was told, takes its changes out of memory, and panics before it has written them.
    struct Panics(Tree, Option<Box<dyn Fn() + Send + Sync>>);

    impl Machine for Panics {
        type Command = ShardCommand;
        type Prepared = ();
        type Outcome = ShardOutcome;

        fn open(tree: Tree) -> Result<(Self, Option<Vec<u8>>), StoreError> {
            Ok((Self(tree, None), None))
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

        fn prepare(&self) -> Result<(), StoreError> {
            self.1.iter().for_each(|prepare| prepare());
            Ok(())
        }

        fn write(&mut self, (): (), _: &[u8]) -> Result<(), StoreError> {
            panic!("halfway")
        }

        fn tree(&self) -> &Tree {
            &self.0
        }
    }

    /// Writes a checkpoint of a machine that prepares it so. Returns why the store has failed.
    fn failure_of(prepare: impl Fn(&Arc<RwLock<Positioned<Panics>>>) + Send + Sync + 'static) -> String {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path(), &DbOptions::default(), &Metrics::new()).unwrap();
        let (machine, _) = Panics::open(db.tree("sm/1").unwrap()).unwrap();
        let state = Arc::new(RwLock::new(Positioned::new(machine, None).unwrap()));
        let shared = Arc::downgrade(&state);
        let prepare = move || prepare(&shared.upgrade().expect("the state is there"));
        state.write().machine.1 = Some(Box::new(prepare));
        assert!(checkpoint(&state).is_err() && !state.read().checkpointed);
        assert!(state.read().machine.tree().insert(b"k", vec![1]).is_err(), "nothing may be written any more");
        db.failure().unwrap()
    }

    #[test]
    fn a_checkpoint_that_panics_fails_the_store() {
        assert!(failure_of(|_| {}).contains("halfway"));
        let why = failure_of(|_| panic!("before the half"));
        assert!(why.contains("before the half"), "{why}");
    }

    #[test]
    fn a_state_is_read_by_others_and_changed_by_nobody_while_its_checkpoint_is_prepared() {
        let why = failure_of(|state| {
            let (read, changed) = (state.clone(), state.clone());
            assert!(std::thread::spawn(move || read.try_read().is_some()).join().unwrap());
            assert!(std::thread::spawn(move || changed.try_write().is_none()).join().unwrap());
        });
        assert!(why.contains("halfway"), "what was prepared is written: {why}");
    }

    #[test]
    fn what_prepares_a_checkpoint_gives_way_to_others() {
        fn nice() -> i32 {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            // It is the seventeenth field after the name, which may have spaces.
            stat.rsplit(") ").next().unwrap().split(' ').nth(16).unwrap().parse().unwrap()
        }
        let usual = nice();
        let why = failure_of(move |_| assert_eq!(nice(), usual.max(waypost_tasks::LOW)));
        assert!(why.contains("halfway") && !why.contains("a checkpoint panicked"), "what writes it does not: {why}");
        assert_eq!(nice(), usual);
    }
}
