//! Sets of the rows of a chunk, and how they are stored.
//!
//! ```text
//! posting = 0 · { gap to the row before (varint) }*  |  1 · bytes of a bit set, without the zeros at its end
//! ```

use crate::error::CatalogError;

/// The rows of a chunk. A row's number is `chunk * CHUNK + doc`. Postings of a chunk are about as large as its rows, and one set of bits is a page of the file.
pub const CHUNK: i64 = 32_768;

const WORDS: usize = CHUNK as usize / 64;
const SPARSE: u8 = 0;
const DENSE: u8 = 1;

/// A set of rows of a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bits(Box<[u64; WORDS]>);

impl Bits {
    /// No row.
    pub fn none() -> Self {
        Self(Box::new([0; WORDS]))
    }

    /// Adds a row.
    pub fn insert(&mut self, doc: u16) {
        self.0[usize::from(doc) / 64 % WORDS] |= 1 << (doc % 64);
    }

    /// Removes a row.
    pub fn remove(&mut self, doc: u16) {
        self.0[usize::from(doc) / 64 % WORDS] &= !(1 << (doc % 64));
    }

    /// Whether a row is in it.
    pub fn has(&self, doc: u16) -> bool {
        self.0[usize::from(doc) / 64 % WORDS] >> (doc % 64) & 1 == 1
    }

    /// Keeps the rows that are in the other one, too.
    pub fn and(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0.iter()).for_each(|(one, other)| *one &= other);
    }

    /// Removes the rows of the other one.
    pub fn without(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0.iter()).for_each(|(one, other)| *one &= !other);
    }

    /// How many rows it has.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Its rows, in order.
    pub fn iter(&self) -> impl Iterator<Item = u16> {
        self.0.iter().enumerate().flat_map(|(at, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = left.trailing_zeros();
                left &= left.wrapping_sub(1);
                (bit < 64).then(|| (at * 64) as u16 + bit as u16)
            })
        })
    }

    /// The stored form: the shorter one.
    pub fn encode(&self) -> Vec<u8> {
        let mut list = List::default();
        self.iter().for_each(|doc| list.push(doc));
        list.encode()
    }

    /// Adds the rows of a stored set.
    pub fn or_stored(&mut self, stored: &[u8]) -> Result<(), CatalogError> {
        let bad = || CatalogError::damaged("a posting that cannot be read");
        let (kind, mut rest) = stored.split_first().ok_or_else(bad)?;
        match *kind {
            SPARSE => {
                let mut next = 0u64;
                while !rest.is_empty() {
                    let doc = next + read_varint(&mut rest).ok_or_else(bad)?;
                    self.insert(u16::try_from(doc).ok().filter(|doc| i64::from(*doc) < CHUNK).ok_or_else(bad)?);
                    next = doc + 1;
                }
                Ok(())
            }
            DENSE if rest.len() <= WORDS * 8 => {
                for (word, bytes) in self.0.iter_mut().zip(rest.chunks(8)) {
                    let mut whole = [0; 8];
                    whole[..bytes.len()].copy_from_slice(bytes);
                    *word |= u64::from_le_bytes(whole);
                }
                Ok(())
            }
            _ => Err(bad()),
        }
    }

    /// The rows of a stored set.
    pub fn of_stored(stored: &[u8]) -> Result<Self, CatalogError> {
        let mut bits = Self::none();
        bits.or_stored(stored)?;
        Ok(bits)
    }
}

/// A set that grows in the order of its rows, in its stored form.
#[derive(Debug, Default)]
pub struct List {
    gaps: Vec<u8>,
    next: u16,
    count: u16,
}

impl List {
    /// Adds a row that is not before the last one.
    pub fn push(&mut self, doc: u16) {
        if doc >= self.next {
            write_varint(&mut self.gaps, u64::from(doc - self.next));
            self.next = doc + 1;
            self.count += 1;
        }
    }

    /// The memory that it takes elsewhere.
    pub fn heap_bytes(&self) -> usize {
        self.gaps.capacity()
    }

    /// The stored form: the shorter one.
    pub fn encode(&self) -> Vec<u8> {
        if self.gaps.len() <= usize::from(self.next).div_ceil(8) {
            return [&[SPARSE], &self.gaps[..]].concat();
        }
        let mut bytes = vec![0u8; usize::from(self.next).div_ceil(8) + 1];
        bytes[0] = DENSE;
        let (mut rest, mut next) = (&self.gaps[..], 0);
        while let Some(gap) = read_varint(&mut rest) {
            let doc = next + gap as usize;
            bytes[1 + doc / 8] |= 1 << (doc % 8);
            next = doc + 1;
        }
        bytes
    }
}

/// Appends a number, seven bits a byte.
pub fn write_varint(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

/// Takes a number off the front; `None` if there is none.
pub fn read_varint(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn bits(docs: impl IntoIterator<Item = u16>) -> Bits {
        let mut bits = Bits::none();
        docs.into_iter().for_each(|doc| bits.insert(doc));
        bits
    }

    #[test]
    fn a_set_is_stored_in_the_shorter_form_and_read_back() {
        let last = (CHUNK - 1) as u16;
        for (docs, length) in [
            (vec![], 1),
            (vec![0], 2),
            (vec![last], 4),
            ((0..64).collect(), 9),
            ((0..=last).collect(), 4097),
            ((0..=last).filter(|doc| doc % 100 == 0).collect(), 329),
        ] {
            let set = bits(docs.iter().copied());
            assert_eq!(set.encode().len(), length);
            assert_eq!(Bits::of_stored(&set.encode()).unwrap(), set);
            assert_eq!(set.iter().collect::<Vec<_>>(), docs);
        }
    }

    #[test]
    fn what_is_no_posting_is_damage() {
        for bytes in [
            &[][..],
            &[2],
            &[0, 0x80],
            &[0, 0xff, 0xff, 3],
            &[0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
            &[1; 4098],
        ] {
            assert!(Bits::of_stored(bytes).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn sets_are_combined_like_sets(one: BTreeSet<u16>, other: BTreeSet<u16>) {
            let limit = |set: BTreeSet<u16>| set.into_iter().map(|doc| doc % CHUNK as u16).collect::<BTreeSet<u16>>();
            let (one, other) = (limit(one), limit(other));
            let of = |set: &BTreeSet<u16>| bits(set.iter().copied());
            let combined = |how: fn(&mut Bits, &Bits)| { let mut bits = of(&one); how(&mut bits, &of(&other)); bits };
            prop_assert_eq!(combined(Bits::and), of(&(&one & &other)));
            let mut both = of(&one);
            both.or_stored(&of(&other).encode()).unwrap();
            prop_assert_eq!(both, of(&(&one | &other)));
            prop_assert_eq!(combined(Bits::without), of(&(&one - &other)));
            prop_assert_eq!(of(&one).count(), one.len() as u64);
            prop_assert_eq!(of(&one).is_empty(), one.is_empty());
            prop_assert_eq!(Bits::of_stored(&of(&one).encode()).unwrap(), of(&one));
            let mut less = of(&one);
            other.iter().for_each(|doc| less.remove(*doc));
            prop_assert_eq!(less, of(&(&one - &other)));
            prop_assert!(one.iter().all(|doc| of(&one).has(*doc)));
        }
    }
}
