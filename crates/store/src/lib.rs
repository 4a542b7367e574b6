//! The store of a node: the only crate that names sled.
//!
//! One database holds the logs and the states of all groups. A write is durable after a commit thread has
//! flushed and synced it, once for all waiting writers. `machine` holds the state machines, which build on this.

pub mod archive;
mod commit;
mod commit_counter;
mod db;
mod endless;
mod error;
mod failure;
mod log;
pub mod machine;
mod repair;
mod space;
mod steps;
mod tree;

pub use commit::CommitHandle;
pub use db::{Db, DbOptions, create_durably};
pub use error::StoreError;
pub use log::LogStore;
pub use space::{Space, SpaceState, SpaceWatch};
#[cfg(debug_assertions)]
pub use steps::StepHook;
pub use tree::{Batch, Tree, VALUE_BYTES_MAX, Value};
