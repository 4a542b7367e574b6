//! The postings of a chunk by key, made in parts: texts and tags can have millions of different keys, and a part has as many as there is room for.

use std::collections::HashMap;
use std::hash::Hash;

use foldhash::fast::RandomState;

use crate::bits::List;
use crate::error::CatalogError;
use crate::keys::Key;
use crate::words::{Gram, gram_key};

/// What a key takes beside its list and its own memory: its place in a table that may be half empty, and what is lost between two pieces of memory.
const KEY_BYTES: usize = 112;

/// A key of postings of which a chunk can have any number. Keys are ordered as their stored forms are.
pub trait PartKey: Ord + Hash + Clone {
    /// The memory that it takes elsewhere.
    fn heap_bytes(&self) -> usize;

    /// The key as it is stored.
    fn stored(&self) -> Vec<u8>;
}

impl PartKey for Gram {
    fn heap_bytes(&self) -> usize {
        0
    }

    fn stored(&self) -> Vec<u8> {
        gram_key(*self)
    }
}

/// A tag in lower case.
impl PartKey for String {
    fn heap_bytes(&self) -> usize {
        self.capacity()
    }

    fn stored(&self) -> Vec<u8> {
        Key::Tag(self).bytes()
    }
}

/// The postings of the first keys from one on: as many as there is room for.
///
/// Invariant: it has every key that was added from `from` to the one before `end`, with all its rows.
pub struct Part<K> {
    from: Option<K>,
    end: Option<K>,
    lists: HashMap<K, List, RandomState>,
    bytes: usize,
    room: usize,
}

impl<K: PartKey> Part<K> {
    /// A part that begins at a key; `None` = at the first one. It takes about as many bytes as there is room.
    pub fn new(from: Option<K>, room: usize) -> Self {
        Self { from, end: None, lists: HashMap::default(), bytes: 0, room }
    }

    /// Adds a row to the set of a key, unless that belongs to another part. Rows come in their order.
    pub fn add(&mut self, key: K, doc: u16) {
        if self.from.as_ref().is_some_and(|from| key < *from) || self.end.as_ref().is_some_and(|end| key >= *end) {
            return;
        }
        match self.lists.get_mut(&key) {
            Some(list) => {
                let before = list.heap_bytes();
                list.push(doc);
                self.bytes += list.heap_bytes() - before;
            }
            None => {
                let mut list = List::default();
                list.push(doc);
                self.bytes += KEY_BYTES + key.heap_bytes() + list.heap_bytes();
                self.lists.insert(key, list);
            }
        }
        while self.bytes > self.room && self.lists.len() > 1 {
            self.cut();
        }
    }

    /// Leaves the second half of the keys to later parts.
    fn cut(&mut self) {
        let mut keys: Vec<&K> = self.lists.keys().collect();
        let middle = keys.len() / 2;
        let end = keys.select_nth_unstable(middle).1.clone();
        self.lists.retain(|key, _| *key < end);
        let bytes = self.lists.iter().map(|(key, list)| KEY_BYTES + key.heap_bytes() + list.heap_bytes());
        self.bytes = bytes.sum();
        self.end = Some(end);
    }

    /// Calls `write` with each key and its set in their stored forms, in the order of the keys. Returns the key at which the next part begins.
    pub fn each(
        self,
        mut write: impl FnMut(&[u8], &[u8]) -> Result<(), CatalogError>,
    ) -> Result<Option<K>, CatalogError> {
        let mut keys: Vec<&K> = self.lists.keys().collect();
        keys.sort_unstable();
        keys.into_iter().try_for_each(|key| write(&key.stored(), &self.lists[key].encode()))?;
        Ok(self.end)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::words::each_gram;

    const ROOM: usize = 4_000;

    /// The bytes of a key, and those of its postings.
    type Written = (Vec<u8>, Vec<u8>);

    /// The postings of all parts, in the order in which they are written, and how many parts there were.
    fn all_parts<K: PartKey>(keys: &[(K, u16)]) -> (Vec<Written>, usize) {
        let (mut all, mut parts, mut from) = (Vec::new(), 0, None);
        loop {
            let mut part = Part::new(from, ROOM);
            for (key, doc) in keys {
                part.add(key.clone(), *doc);
                assert!(part.bytes <= ROOM, "{} bytes", part.bytes);
            }
            parts += 1;
            let next = part.each(|key, docs| {
                all.push((key.to_vec(), docs.to_vec()));
                Ok(())
            });
            match next.unwrap() {
                None => return (all, parts),
                next => from = next,
            }
        }
    }

    fn expected<K: PartKey>(keys: &[(K, u16)]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut lists: BTreeMap<Vec<u8>, List> = BTreeMap::new();
        keys.iter().for_each(|(key, doc)| lists.entry(key.stored()).or_default().push(*doc));
        lists.into_iter().map(|(key, list)| (key, list.encode())).collect()
    }

    #[test]
    fn many_grams_are_written_in_several_parts_and_few_in_one() {
        let grams = |text: &str| {
            let mut grams = Vec::new();
            each_gram(text, |gram| grams.push((gram, 7)));
            grams
        };
        let many: String = ('\u{4e00}'..'\u{5000}').collect();
        let (all, parts) = all_parts(&grams(&many));
        assert!(all.len() == 1_024 && parts > 20, "{} postings in {parts} parts", all.len());
        assert_eq!(all, expected(&grams(&many)));
        let (all, parts) = all_parts(&grams("one two two"));
        assert_eq!((all, parts), (expected(&grams("one two two")), 1));
    }

    proptest! {
        #[test]
        fn parts_are_together_what_one_without_a_bound_is(texts in prop::collection::vec("[a-dé你]{0,9}", 0..60)) {
            let mut grams = Vec::new();
            let mut tags = Vec::new();
            for (doc, text) in texts.iter().enumerate() {
                each_gram(text, |gram| grams.push((gram, doc as u16)));
                tags.push((text.clone(), doc as u16));
            }
            prop_assert_eq!(all_parts(&grams).0, expected(&grams));
            prop_assert_eq!(all_parts(&tags).0, expected(&tags));
        }
    }
}
