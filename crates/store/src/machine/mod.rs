//! State machines: what the commands of a group make of its state.
//!
//! The state lives in memory and in one tree. Changes since the last checkpoint are in memory only: the group's log holds
//! them. A checkpoint writes them, together with the position in the log that they reach, as one atomic batch; the log is
//! purged behind checkpoints that are durable. After a restart the log is replayed from the last checkpoint on.
//!
//! ```text
//!   command ─► log (durable, acknowledged) ─► apply ─► memory ──checkpoint──► tree
//!                     ▲                                                        │
//!                     └──────────── replayed from the checkpoint's position ◄──┘
//! ```

mod block;
mod blocks;
mod changed_days;
mod changes;
pub mod cluster;
mod cluster_domains;
mod cluster_records;
mod cluster_sessions;
mod cluster_state;
mod counters;
mod day_part;
mod histories;
mod idempotency;
pub mod incoming;
mod index;
mod links;
mod listed;
mod memory;
mod number_set;
mod orphans;
mod positions;
mod recent;
mod record;
mod scrub;
pub mod shard;
mod shard_records;
mod slot_day;
pub mod snapshot;
mod stats;
mod stats_page;
mod stats_part;
mod stats_query;
mod stats_top;
mod turns;
mod used_visits;
mod visits;

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use waypost_protocol::Level;
use waypost_protocol::command::{Batch, GroupCommand};

use crate::{StoreError, Tree};

use record::{META_KEY, open_record};

pub use changes::Changed;
pub use cluster::ClusterMachine;
pub use cluster_state::ClusterState;
pub use listed::{LinkNow, Scanned};
pub use memory::ShardMemory;
pub(crate) use record::open_record_of;
pub use scrub::{Scrubbed, scrub_tree, verify_tree};
pub use shard::ShardMachine;
pub use stats::HOURS_KEPT_DAYS;
pub use stats_query::{StatsQuery, Told};

/// A deterministic state machine over one tree.
///
/// Contract: `apply` is called with growing indexes by one caller; nothing that it does depends on anything but the state
/// and the batch. An error is not an outcome: after one the machine may be half changed and the process must stop.
pub trait Machine: Sized + Send + Sync + 'static {
    /// The commands of its kind of group. Its log has no others.
    type Command: GroupCommand<Outcome = Self::Outcome>;

    /// What a checkpoint prepares while the state is only read.
    type Prepared: Send;

    /// What can come of them.
    type Outcome: Serialize + DeserializeOwned + Debug + Send + Sync + 'static;

    /// Reads the state of the last checkpoint, with the position that was stored with it.
    ///
    /// # Errors
    /// When a record is damaged or of an unknown version.
    fn open(tree: Tree) -> Result<(Self, Option<Vec<u8>>), StoreError>;

    /// Reads the state again after a snapshot was imported into the tree; answers the position stored with it.
    ///
    /// # Errors
    /// As for `open`.
    fn reopen(&mut self) -> Result<Option<Vec<u8>>, StoreError>;

    /// Applies the entry at `index`; answers one outcome per command. Changes memory only: the tree may be read as one state
    /// meanwhile, and is changed by `write` alone.
    ///
    /// # Errors
    /// When the store fails.
    fn apply(&mut self, index: u64, batch: &Batch<Self::Command>) -> Result<Vec<Self::Outcome>, StoreError>;

    /// The level by which the machine acts and stores: the highest that its log has shown.
    fn level(&self) -> Level;

    /// About how many bytes the next checkpoint has to write.
    fn pending_bytes(&self) -> u64;

    /// How many links the state has; 0 for one that keeps none.
    fn link_count(&self) -> u64 {
        0
    }

    /// Prepares a checkpoint: the part of the work for which the state is only read, so that others can read it meanwhile.
    ///
    /// # Errors
    /// When a record cannot be read or is damaged.
    fn prepare(&self) -> Result<Self::Prepared, StoreError>;

    /// Writes all changes and the position as one atomic batch. Durable after the next commit. Nothing was applied since the checkpoint was prepared.
    ///
    /// # Errors
    /// When the store fails.
    fn write(&mut self, prepared: Self::Prepared, position: &[u8]) -> Result<(), StoreError>;

    /// Writes a checkpoint of a state that nobody else reads.
    ///
    /// # Errors
    /// As for `prepare` and `write`.
    fn checkpoint(&mut self, position: &[u8]) -> Result<(), StoreError> {
        let prepared = self.prepare()?;
        self.write(prepared, position)
    }

    /// The tree that the state is kept in.
    fn tree(&self) -> &Tree;
}

/// The position that was stored with the last checkpoint of a tree, without reading its state; `None` = there was none.
///
/// # Errors
/// When the record is damaged.
pub fn stored_position(tree: &Tree) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(value) = tree.get(META_KEY)? else { return Ok(None) };
    // The record of every machine begins with it.
    let taken = postcard::take_from_bytes::<Vec<u8>>(open_record(tree, META_KEY, &value)?);
    let (position, _) = taken.map_err(|error| StoreError::Corrupt {
        what: format!("{} checkpoint", tree.name()),
        detail: error.to_string(),
    })?;
    Ok(Some(position))
}
