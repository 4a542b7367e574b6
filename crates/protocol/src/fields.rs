//! Optional fields as tag, length, value: they let links and commands grow without a new format.
//!
//! A reader keeps fields with unknown tags, so a link that a newer version has written survives an edit by an older one.
//!
//! ```text
//! fields = count (varint) · { tag u8 · length (varint) · value }*      in the order of their tags
//! ```

use std::fmt;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::Level;

/// The tag of a field. A tag that was in a release keeps its meaning forever.
pub type Tag = u8;

/// Fields that a node has to understand to answer for a link, with the level that adds them: a node that does not know them would ignore that
/// a link is disabled, or has not begun. Such a field is refused until the cluster is at its level. The tags of `properties.rs`.
const NEEDED: &[(RangeInclusive<Tag>, Level)] = &[
    (16..=22, Level::TWO),
    (23..=23, Level::THREE),
    (24..=25, Level::TWO),
    (26..=27, Level::THREE),
    (28..=28, Level::THREE),
];

/// In the changes of an edit: the number of the key of the editor. It belongs to the command, and no link has it. Since level 3.
pub(crate) const EDITED_BY: Tag = 29;

/// The first tag of properties. Those from here on that are not in [`NEEDED`] belong to a later version: this one would ignore them, so it
/// proposes none of them.
const FIRST_PROPERTY: Tag = 16;

/// The lowest level at which a field may be set.
fn level_of(tag: Tag) -> Level {
    let unknown = if tag < FIRST_PROPERTY { Level::ONE } else { Level::NEVER };
    NEEDED.iter().find(|(needed, _)| needed.contains(&tag)).map_or(unknown, |(_, level)| *level)
}

fn level_of_all(tags: impl Iterator<Item = Tag>) -> Level {
    tags.map(level_of).max().unwrap_or(Level::BASE)
}

/// The optional fields of a link.
///
/// Invariant: sorted by tag, each at most once.
#[derive(Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Fields(Vec<(Tag, Vec<u8>)>);

/// Tags and lengths: a value may be the hash of a password.
impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(tag, value)| (tag, value.len()))).finish()
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut fields = Self::default();
        for (tag, value) in Vec::<(Tag, Vec<u8>)>::deserialize(from)? {
            fields.set(tag, Some(value));
        }
        Ok(fields)
    }
}

impl Fields {
    /// The value of a field, if it is set.
    pub fn get(&self, tag: Tag) -> Option<&[u8]> {
        self.0.binary_search_by_key(&tag, |(known, _)| *known).ok().map(|at| self.0[at].1.as_slice())
    }

    /// Sets a field, or clears it.
    pub fn set(&mut self, tag: Tag, value: Option<Vec<u8>>) {
        match (self.0.binary_search_by_key(&tag, |(known, _)| *known), value) {
            (Ok(at), Some(value)) => self.0[at].1 = value,
            (Ok(at), None) => drop(self.0.remove(at)),
            (Err(at), Some(value)) => self.0.insert(at, (tag, value)),
            (Err(_), None) => {}
        }
    }

    /// Applies the changes of an edit.
    pub fn change(&mut self, changes: &FieldChanges) {
        for (tag, value) in &changes.0 {
            self.set(*tag, value.clone());
        }
    }

    /// The lowest level at which a link may have these fields.
    pub fn level(&self) -> Level {
        level_of_all(self.0.iter().map(|(tag, _)| *tag))
    }

    /// Whether no field is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes of all values.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|(_, value)| value.len()).sum()
    }

    /// The fields in the order of their tags.
    pub fn iter(&self) -> impl Iterator<Item = (Tag, &[u8])> {
        self.0.iter().map(|(tag, value)| (*tag, value.as_slice()))
    }
}

/// The changes of optional fields in an edit: other fields remain unchanged.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FieldChanges(Vec<(Tag, Option<Vec<u8>>)>);

/// Tags and lengths: a value may be the hash of a password.
impl fmt::Debug for FieldChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(tag, value)| (tag, value.as_ref().map(Vec::len)))).finish()
    }
}

impl FieldChanges {
    /// Sets a field to a value, or clears it with `None`.
    pub fn set(&mut self, tag: Tag, value: Option<Vec<u8>>) {
        self.0.push((tag, value));
    }

    /// Removes a field from the changes; returns its new value.
    pub(crate) fn take(&mut self, tag: Tag) -> Option<Vec<u8>> {
        let mut taken = None;
        self.0.retain_mut(|(known, value)| {
            if *known == tag {
                taken = value.take();
            }
            *known != tag
        });
        taken
    }

    /// Adds the changes of another edit.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The lowest level at which these changes may be made.
    pub fn level(&self) -> Level {
        level_of_all(self.0.iter().map(|(tag, _)| *tag))
    }

    /// The tags of the fields that are changed.
    pub fn tags(&self) -> impl Iterator<Item = Tag> {
        self.0.iter().map(|(tag, _)| *tag)
    }

    /// Leaves out what clears a field: for something new.
    pub fn retain_set(&mut self) {
        self.0.retain(|(_, value)| value.is_some());
    }

    /// Whether there are no changes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(of: &[(Tag, &str)]) -> Fields {
        let mut fields = Fields::default();
        of.iter().for_each(|(tag, value)| fields.set(*tag, Some(value.as_bytes().to_vec())));
        fields
    }

    #[test]
    fn fields_are_kept_in_the_order_of_their_tags() {
        let found = fields(&[(9, "nine"), (2, "two"), (9, "neuf"), (5, "five")]);
        let expected: Vec<(Tag, &[u8])> = vec![(2, b"two"), (5, b"five"), (9, b"neuf")];
        assert_eq!(found.iter().collect::<Vec<_>>(), expected);
        assert_eq!(found.get(5), Some(&b"five"[..]));
        assert_eq!(found.get(6), None);
        assert!(!found.is_empty() && Fields::default().is_empty());
    }

    #[test]
    fn an_edit_sets_clears_and_leaves_fields() {
        let mut found = fields(&[(1, "one"), (2, "two"), (77, "of a later version")]);
        let mut changes = FieldChanges::default();
        assert!(changes.is_empty());
        changes.set(1, None);
        changes.set(2, Some(b"zwei".to_vec()));
        changes.set(3, None);
        assert!(!changes.is_empty());
        found.change(&changes);
        assert_eq!(found, fields(&[(2, "zwei"), (77, "of a later version")]));
    }

    #[test]
    fn a_field_is_taken_out_of_the_changes() {
        let mut changes = FieldChanges::default();
        changes.set(1, Some(b"one".to_vec()));
        changes.set(2, None);
        let mut rest = changes.clone();
        assert_eq!(rest.take(1), Some(b"one".to_vec()));
        assert_eq!((rest.take(1), rest.take(2)), (None, None));
        assert!(rest.is_empty() && !changes.is_empty());
    }

    #[test]
    fn the_encoding_keeps_its_golden_bytes() {
        let bytes = postcard::to_stdvec(&fields(&[(2, "ab"), (7, "")])).unwrap();
        assert_eq!(bytes, [2, 2, 2, b'a', b'b', 7, 0]);
        let mut changes = FieldChanges::default();
        changes.set(2, Some(b"x".to_vec()));
        changes.set(3, None);
        assert_eq!(postcard::to_stdvec(&changes).unwrap(), [2, 2, 1, 1, b'x', 3, 0]);
    }

    #[test]
    fn stored_fields_out_of_order_are_sorted_when_read() {
        let read: Fields = postcard::from_bytes(&[2, 7, 0, 2, 1, b'a']).unwrap();
        assert_eq!(read, fields(&[(2, "a"), (7, "")]));
    }
}
