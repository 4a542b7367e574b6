//! Kinds of stored records: each has its own version, and a migration from every earlier version.
//!
//! A kind is a chain of structs: the present one names its predecessor and converts it. A record of an older version is
//! decoded as that version, and then migrated step by step; a later version is refused by name. The version that is
//! written follows the level of the cluster (`level.rs`): a version is written only if every member can read it.

use serde::{Serialize, de::DeserializeOwned};

/// A kind of record in one of its versions.
pub trait Record: Serialize + DeserializeOwned {
    /// The version, from 1.
    const VERSION: u8;
    /// The previous version; [`NoRecord`] for the first.
    type Previous: Record;

    /// Converts a record of the previous version.
    fn migrate(previous: Self::Previous) -> Self;

    /// Reads a record of this or an earlier version.
    ///
    /// # Errors
    /// See [`RecordError`].
    fn read(version: u8, payload: &[u8]) -> Result<Self, RecordError> {
        if version == Self::VERSION {
            return postcard::from_bytes(payload).map_err(|error| RecordError::Damaged(error.to_string()));
        }
        if version > Self::VERSION || Self::VERSION <= 1 {
            return Err(RecordError::UnknownVersion(version));
        }
        Self::Previous::read(version, payload).map(Self::migrate)
    }

    /// The payload of the record, for an envelope with [`Record::VERSION`].
    fn write(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("invariant: records have no shape that postcard refuses")
    }
}

/// Why a record was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The version is unknown.
    #[error("version {0} is not known")]
    UnknownVersion(u8),
    /// The bytes are not such a record.
    #[error("it cannot be decoded: {0}")]
    Damaged(String),
}

/// The predecessor of a first version: there is none.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
pub enum NoRecord {}

impl Record for NoRecord {
    const VERSION: u8 = 0;
    type Previous = Self;

    fn migrate(previous: Self) -> Self {
        previous
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct First {
        visits: u32,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Second {
        people: u64,
        bots: u64,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Third {
        total: u64,
    }

    impl Record for First {
        const VERSION: u8 = 1;
        type Previous = NoRecord;

        fn migrate(previous: NoRecord) -> Self {
            match previous {}
        }
    }

    impl Record for Second {
        const VERSION: u8 = 2;
        type Previous = First;

        fn migrate(previous: First) -> Self {
            Self { people: previous.visits.into(), bots: 0 }
        }
    }

    impl Record for Third {
        const VERSION: u8 = 3;
        type Previous = Second;

        fn migrate(previous: Second) -> Self {
            Self { total: previous.people + previous.bots }
        }
    }

    #[test]
    fn a_record_of_any_earlier_version_becomes_one_of_the_present_one() {
        assert_eq!(Third::read(1, &First { visits: 300 }.write()), Ok(Third { total: 300 }));
        assert_eq!(Third::read(2, &Second { people: 7, bots: 2 }.write()), Ok(Third { total: 9 }));
        assert_eq!(Third::read(3, &Third { total: 5 }.write()), Ok(Third { total: 5 }));
        assert_eq!(Second::read(1, &First { visits: 300 }.write()), Ok(Second { people: 300, bots: 0 }));
    }

    #[test]
    fn versions_that_never_were_and_later_ones_are_refused_by_name() {
        let payload = Third { total: 5 }.write();
        assert_eq!(Third::read(4, &payload), Err(RecordError::UnknownVersion(4)));
        assert_eq!(Third::read(0, &payload), Err(RecordError::UnknownVersion(0)));
        assert_eq!(First::read(0, &payload), Err(RecordError::UnknownVersion(0)));
        assert_eq!(First::read(2, &payload), Err(RecordError::UnknownVersion(2)));
        assert!(matches!(Second::read(2, &[1]), Err(RecordError::Damaged(_))));
    }
}
