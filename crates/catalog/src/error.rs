//! What can go wrong with a catalog. None of it is a reason to stop a node: the shards have everything.

use std::io;

use waypost_protocol::listing::{TEXT_BYTES_MAX, WORDS_MAX};

/// Why a catalog did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// Its files are damaged. Begin it anew ([`Catalog::begin_anew`](crate::Catalog::begin_anew)).
    #[error("the catalog is damaged: {what}")]
    Damaged {
        /// What was found.
        what: String,
    },
    /// The disk is full, read-only or failing. What was asked may succeed later.
    #[error("the catalog's disk: {0}")]
    Disk(#[source] rusqlite::Error),
    /// A file could not be made or removed.
    #[error("the catalog's files: {0}")]
    Files(#[from] io::Error),
    /// The reading took longer than it may. Nothing is wrong with the catalog.
    #[error("the catalog was not read in time")]
    OutOfTime,
    /// A request that has no answer.
    #[error(transparent)]
    Request(#[from] RequestError),
}

/// Why a request has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The text is too long.
    #[error("a text of more than {TEXT_BYTES_MAX} bytes is not searched for")]
    TextTooLong,
    /// The text has too many words.
    #[error("a text of more than {WORDS_MAX} words is not searched for")]
    TooManyWords,
    /// The text is not blank, but nothing of it is searched for. A list without a word to search for would have all links, which nobody asked for.
    #[error("nothing is left of this text to search for: accents on their own and control characters say nothing")]
    NoWord,
    /// The position is of another order than the list.
    #[error("the position is of another order")]
    PositionOfOtherOrder,
}

/// Why a catalog began empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// There was none.
    #[error("there was none")]
    Missing,
    /// It was written by another version.
    #[error("it was written by another version, with format {found}")]
    OtherVersion {
        /// The version of its format.
        found: i64,
    },
    /// It was damaged.
    #[error("it was damaged: {what}")]
    Damaged {
        /// What was found.
        what: String,
    },
}

impl CatalogError {
    /// Something that cannot be in the files of an intact catalog.
    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged { what: what.into() }
    }

    /// Whether the catalog has to begin anew.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }
}

impl From<rusqlite::Error> for CatalogError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        match error.sqlite_error_code() {
            // Statements are constants, so an error of SQL means that the schema is not ours. Without a code: a value of another type than ours.
            Some(Code::DatabaseCorrupt | Code::NotADatabase | Code::Unknown | Code::TypeMismatch) | None => {
                Self::damaged(error.to_string())
            }
            Some(Code::OperationInterrupted) => Self::OutOfTime,
            Some(_) => Self::Disk(error),
        }
    }
}
