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
mod checkpoint;
pub mod cluster;
mod cluster_records;
mod idempotency;
pub mod incoming;
mod index;
mod orphans;
mod positions;
pub mod shard;
mod slot_day;
pub mod snapshot;
mod stats;
mod stats_page;
mod stats_query;
mod stats_top;
mod visits;

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use waypost_protocol::command::{Batch, GroupCommand};
use waypost_protocol::{Level, Record, RecordError};

use crate::{StoreError, Tree};

pub use cluster::{ClusterMachine, ClusterState};
pub use shard::ShardMachine;
pub use stats::HOURS_KEPT_DAYS;
pub use stats_query::{StatsQuery, Told};

/// The version of every kind of record that has had no other.
const FIRST: u8 = 1;

/// The latest version of the kind of record that has this key in this tree. What is later is refused by name.
fn latest_version(tree: &str, key: &[u8]) -> u8 {
    match key {
        META_KEY if tree == CLUSTER_TREE => cluster_records::META_VERSION,
        META_KEY => checkpoint::META_VERSION,
        _ => FIRST,
    }
}

/// The tree of group 0; the others are of shards.
const CLUSTER_TREE: &str = "sm/0";

/// The key of the record that holds a machine's position and what is small enough to be written whole.
const META_KEY: &[u8] = b"m";

/// A deterministic state machine over one tree.
///
/// Contract: `apply` is called with growing indexes by one caller; nothing that it does depends on anything but the state
/// and the batch. An error is not an outcome: after one the machine may be half changed and the process must stop.
pub trait Machine: Sized + Send + Sync + 'static {
    /// The commands of its kind of group. Its log has no others.
    type Command: GroupCommand<Outcome = Self::Outcome>;

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
    /// meanwhile, and is changed by `checkpoint` alone.
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

    /// Writes all changes and the position as one atomic batch. Durable after the next commit.
    ///
    /// # Errors
    /// When the store fails.
    fn checkpoint(&mut self, position: &[u8]) -> Result<(), StoreError>;

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

/// Seals a record of a kind that has had one version only.
fn seal_record(tree: &Tree, key: &[u8], payload: &[u8]) -> Vec<u8> {
    seal(tree.name(), key, FIRST, payload)
}

/// Seals a record of the tree with a name.
fn seal(tree: &str, key: &[u8], version: u8, payload: &[u8]) -> Vec<u8> {
    waypost_protocol::seal(&context(tree, key), version, payload)
}

/// Checks a record of a tree and returns its payload.
fn open_record<'a>(tree: &Tree, key: &[u8], bytes: &'a [u8]) -> Result<&'a [u8], StoreError> {
    open_record_of(tree.name(), key, bytes)
}

/// As [`open_record`], for whoever serves from the tree: one that does not open makes the store fail, which stops the node.
fn open_live_record<'a>(tree: &Tree, key: &[u8], bytes: &'a [u8]) -> Result<&'a [u8], StoreError> {
    open_record(tree, key, bytes).inspect_err(|error| tree.fail(error))
}

/// Checks a record of the tree with a name and returns its payload.
pub(crate) fn open_record_of<'a>(tree: &str, key: &[u8], bytes: &'a [u8]) -> Result<&'a [u8], StoreError> {
    open_sealed(tree, key, bytes).map(|(_, payload)| payload)
}

/// Checks a record of the tree with a name; returns its version and payload.
fn open_sealed<'a>(tree: &str, key: &[u8], bytes: &'a [u8]) -> Result<(u8, &'a [u8]), StoreError> {
    let what = || format!("{tree} record {}", readable(key));
    match waypost_protocol::open(&context(tree, key), bytes) {
        Ok((version, payload)) if (FIRST..=latest_version(tree, key)).contains(&version) => Ok((version, payload)),
        Ok((version, _)) => Err(StoreError::UnknownVersion { what: what(), version }),
        Err(error) => Err(StoreError::Corrupt { what: what(), detail: error.to_string() }),
    }
}

/// Reads a record of any version of its kind.
fn read_record<T: Record>(tree: &str, key: &[u8], bytes: &[u8]) -> Result<T, StoreError> {
    let (version, payload) = open_sealed(tree, key, bytes)?;
    let what = || format!("{tree} record {}", readable(key));
    T::read(version, payload).map_err(|error| match error {
        RecordError::UnknownVersion(version) => StoreError::UnknownVersion { what: what(), version },
        RecordError::Damaged(detail) => StoreError::Corrupt { what: what(), detail },
    })
}

/// Checks every record of a tree; answers how many there are and what is wrong with those that are damaged.
///
/// # Errors
/// When the tree cannot be read.
pub fn verify_tree(tree: &Tree) -> Result<(u64, Vec<String>), StoreError> {
    let mut records = 0;
    let mut damaged = Vec::new();
    for entry in tree.scan_prefix(b"") {
        let (key, value) = entry?;
        records += 1;
        if let Err(error) = open_record(tree, &key, &value) {
            damaged.push(error.to_string());
        }
    }
    Ok((records, damaged))
}

/// What a piece of a scrub found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Records whose checksum was verified.
    pub checked: u32,
    /// What is wrong with those that are damaged.
    pub damaged: Vec<String>,
    /// The key to go on from; `None` = the end was reached.
    pub next: Option<Vec<u8>>,
}

/// Checks at most `max` records of a tree that is served from, beginning at the key `from`. A damaged one makes the store fail,
/// which stops the node.
///
/// # Errors
/// When the tree cannot be read, which makes the store fail too.
pub fn scrub_tree(tree: &Tree, from: &[u8], max: usize) -> Result<Scrubbed, StoreError> {
    let mut scrubbed = Scrubbed::default();
    for entry in tree.range_from(from) {
        let (key, value) = entry?;
        if scrubbed.checked as usize == max {
            scrubbed.next = Some(key.to_vec());
            break;
        }
        scrubbed.checked += 1;
        if let Err(error) = open_live_record(tree, &key, &value) {
            scrubbed.damaged.push(error.to_string());
        }
    }
    Ok(scrubbed)
}

fn context(tree: &str, key: &[u8]) -> Vec<u8> {
    let mut context = Vec::with_capacity(tree.len() + 1 + key.len());
    context.extend_from_slice(tree.as_bytes());
    context.push(b'/');
    context.extend_from_slice(key);
    context
}

fn readable(key: &[u8]) -> String {
    let number: String = key.iter().skip(1).map(|byte| format!("{byte:02x}")).collect();
    format!("{}{}", char::from(*key.first().unwrap_or(&b'?')), number)
}

fn encode<T: serde::Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("invariant: our own structs have no shape that postcard refuses")
}

/// How many bytes [`encode`] makes of a value.
fn encoded_bytes<T: serde::Serialize>(value: &T) -> usize {
    postcard::serialize_with_flavor(value, postcard::ser_flavors::Size::default())
        .expect("invariant: our own structs have no shape that postcard refuses")
}

fn decode<'a, T: serde::Deserialize<'a>>(what: &str, bytes: &'a [u8]) -> Result<T, StoreError> {
    postcard::from_bytes(bytes)
        .map_err(|error| StoreError::Corrupt { what: what.to_owned(), detail: error.to_string() })
}
