//! Errors of the store. None of them is ever retried: a failed write or sync leaves the disk in an unknown state.

use std::io;
use std::path::PathBuf;

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system returned an error.
    #[error("the disk or file system failed: {0}")]
    Io(#[from] io::Error),
    /// The database returned an error.
    #[error("the database failed: {0}")]
    Database(String),
    /// Stored bytes are damaged.
    #[error("{what} is damaged: {detail}")]
    Corrupt {
        /// The record or file.
        what: String,
        /// The kind of damage.
        detail: String,
    },
    /// The database lacks commits that it once had.
    #[error(
        "the database has lost writes: it had {noted} commits and has {found}. A damaged disk or a half-restored copy does \
         this. Restore the whole data directory from a backup, or, to go on with what is left, remove {}",
        path.display()
    )]
    Lost {
        /// The file with the number of commits.
        path: PathBuf,
        /// The number of commits in that file.
        noted: u64,
        /// The number of commits in the database.
        found: u64,
    },
    /// A record has a version that this program does not know.
    #[error("{what} has format version {version}, which this version of waypost does not know")]
    UnknownVersion {
        /// The record or file.
        what: String,
        /// Its version.
        version: u8,
    },
    /// An earlier write or sync failed. Sticky: only a restart, after the cause was removed, helps.
    #[error("the store has failed earlier and accepts nothing more: {0}")]
    Failed(String),
    /// A value is larger than the limit of the database.
    #[error("a value of {bytes} bytes cannot be stored; at most {max} are possible")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Another process has the database open.
    #[error("{} is in use by another process; stop it, or use another --data-dir", path.display())]
    Locked {
        /// The directory of the database.
        path: PathBuf,
    },
}

impl From<sled::Error> for StoreError {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Io(error) => Self::Io(error),
            sled::Error::Corruption { at, .. } => {
                Self::Corrupt { what: "the database".to_owned(), detail: format!("a page cannot be read ({at:?})") }
            }
            other => Self::Database(other.to_string()),
        }
    }
}
