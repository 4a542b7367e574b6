//! Why the groups of a node could not be opened.

use waypost_store::StoreError;

use crate::proposer::ProposeError;

/// Why the groups of a node could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store is damaged or fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file could not be read or written.
    #[error("cannot use the data directory: {0}")]
    Io(#[from] std::io::Error),
    /// A group does not come up.
    #[error("group {group}: {detail}")]
    Group {
        /// Which.
        group: u32,
        /// Why.
        detail: String,
    },
    /// The cluster could not be created.
    #[error("cannot create the cluster: {0}")]
    Bootstrap(#[from] ProposeError),
}
