//! The keys of the postings of a chunk: what its rows are, beside the grams of their texts.
//!
//! A gram's key is its text, which has no control characters. So the others begin with one.

use crate::bits::{read_varint, write_varint};
use crate::error::CatalogError;
use crate::row::Row;

/// What a posting says of its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key<'a> {
    /// They are there. Changes when a row is removed.
    Live,
    /// They belong to this shard.
    Shard(u32),
    /// They belong to this domain.
    Domain(u32),
    /// They have this tag, in lower case.
    Tag(&'a str),
    /// They were switched off.
    Disabled,
    /// They have a password.
    Protected,
    /// As many visitors as they have for were sent to their target.
    Exhausted,
    /// They have a title.
    Titled,
    /// They were edited.
    Edited,
    /// They were visited. Changes with their counts.
    Visited,
    /// They were visited by a person. Changes with their counts.
    Seen,
    /// With a value each: when they were created.
    Created,
    /// With a value each: when they begin, of those that have a begin.
    Since,
    /// With a value each: when they end, of those that have an end.
    Until,
}

impl Key<'_> {
    /// Its bytes. They are stored: a change of them needs another version of the format.
    pub fn bytes(self) -> Vec<u8> {
        let (kind, rest): (u8, &[u8]) = match &self {
            Self::Live => (1, &[]),
            Self::Shard(number) => (2, &number.to_be_bytes()),
            Self::Domain(number) => (3, &number.to_be_bytes()),
            Self::Tag(tag) => (4, tag.as_bytes()),
            Self::Disabled => (5, &[]),
            Self::Protected => (6, &[]),
            Self::Exhausted => (7, &[]),
            Self::Titled => (8, &[]),
            Self::Edited => (9, &[]),
            Self::Visited => (10, &[]),
            Self::Seen => (11, &[]),
            Self::Created => (12, &[]),
            Self::Since => (13, &[]),
            Self::Until => (14, &[]),
        };
        [&[kind], rest].concat()
    }

    /// Calls `found` with the key of each set that a row is in, apart from those of its tags.
    pub fn each(row: &Row, mut found: impl FnMut(Vec<u8>)) {
        let all = [Key::Live, Key::Shard(row.shard), Key::Domain(row.domain)];
        let some = [
            (Key::Disabled, row.disabled),
            (Key::Protected, row.protected),
            (Key::Exhausted, row.is_exhausted()),
            (Key::Titled, !row.title().is_empty()),
            (Key::Edited, row.edited().is_some()),
            (Key::Visited, row.visits > 0),
            (Key::Seen, row.last > 0),
        ];
        let some = some.into_iter().filter(|(_, is)| *is).map(|(key, _)| key);
        all.into_iter().chain(some).for_each(|key| found(key.bytes()));
    }
}

/// Rows with a value each, in the order of the rows: `{ gap to the row before · difference to its value }*`, as variable-length numbers.
#[derive(Debug, Default)]
pub struct Values {
    bytes: Vec<u8>,
    next: u16,
    last: u64,
}

impl Values {
    /// Adds a row behind the last one.
    pub fn push(&mut self, doc: u16, value: u64) {
        write_varint(&mut self.bytes, u64::from(doc - self.next));
        let difference = value.wrapping_sub(self.last) as i64;
        write_varint(&mut self.bytes, ((difference << 1) ^ (difference >> 63)) as u64);
        (self.next, self.last) = (doc + 1, value);
    }

    /// The stored form; `None` if there are no rows.
    pub fn encode(self) -> Option<Vec<u8>> {
        (!self.bytes.is_empty()).then_some(self.bytes)
    }

    /// Calls `found` with each row and its value.
    pub fn each_stored(mut stored: &[u8], mut found: impl FnMut(u16, u64)) -> Result<(), CatalogError> {
        let bad = || CatalogError::damaged("values that cannot be read");
        let (mut next, mut last) = (0u64, 0u64);
        while !stored.is_empty() {
            let doc = next.saturating_add(read_varint(&mut stored).ok_or_else(bad)?);
            let difference = read_varint(&mut stored).ok_or_else(bad)?;
            last = last.wrapping_add((difference >> 1) ^ (difference & 1).wrapping_neg());
            found(u16::try_from(doc).map_err(|_| bad())?, last);
            next = doc + 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_stored_and_read_back() {
        let pairs = [(0, 5), (1, 5), (7, u64::MAX), (8, 0), (30_000, 1_800_000_000_000)];
        let mut values = Values::default();
        pairs.iter().for_each(|(doc, value)| values.push(*doc, *value));
        let stored = values.encode().unwrap();
        let mut found = Vec::new();
        Values::each_stored(&stored, |doc, value| found.push((doc, value))).unwrap();
        assert_eq!(found, pairs);
        assert!(Values::each_stored(&stored[..stored.len() - 1], |_, _| {}).is_err());
        assert!(Values::each_stored(&[0xff, 0xff, 0xff, 1, 0], |_, _| {}).is_err());
        assert_eq!(Values::default().encode(), None);
    }

    #[test]
    fn keys_are_never_those_of_grams() {
        for key in [Key::Live, Key::Tag("été"), Key::Shard(7), Key::Until] {
            assert!(key.bytes()[0] < b' ');
        }
    }
}
