//! One node: its life (`life.rs`), its parts, and its files.
//!
//! ```text
//! life.rs        from the configuration to the servers and back: read this first
//! base.rs        the parts that everything else needs: store, metrics, tasks, lifecycle
//! peers.rs       the peer port, the cluster that the node belongs to, its groups
//! services.rs    the services and their dependencies; actors.rs starts and stops the actors
//! serve.rs       the public and the admin server
//! ready.rs       what a starting node waits for before it says that it is ready
//! stop.rs        the steps of a stop, in order
//! leave.rs       how a running node leaves the cluster
//! signals.rs, listen.rs, descriptors.rs, space.rs, clicks.rs, admin_key.rs, private.rs, observe.rs: one concern each
//! memory.rs      the memory of the process; memory_guard.rs decides what follows when it is short
//! open.rs        the database; data_dir.rs looks at its directory before; error.rs has the errors of all of these
//! ```

mod actors;
mod admin_key;
mod base;
mod clicks;
mod data_dir;
mod descriptors;
mod error;
mod leave;
mod life;
mod listen;
mod memory;
mod memory_guard;
mod observe;
mod open;
mod peers;
mod private;
mod ready;
mod serve;
mod services;
mod signals;
mod space;
mod stop;

pub use data_dir::{CLI_KEY_FILE, Unusable};
pub(crate) use data_dir::{LOST_AND_FOUND, RESTORING, STORE, not_made, prepare as prepare_data_dir};
pub use error::NodeError;
pub use life::run;
pub use open::open_store;
pub use private::keep_to_oneself;
