//! The block: many items, such as links, in one stored record.
//!
//! sled costs hundreds of bytes of memory and disk for each record beyond its own bytes, so items are packed.
//!
//! ```text
//! payload = { slot u32 LE · length u16 LE · item (postcard) }*
//! ```

use waypost_protocol::Link;
use waypost_protocol::link::LinkHead;

use super::record::{decode, encoded_bytes};
use crate::StoreError;

/// A block is closed when the next item would make it larger than this. It is small, because whoever reads a link that is not in memory reads a page of the database
/// with up to sixteen blocks, decodes all of it, and computes the checksum of the block; and large enough to make the cost of a record small. Measured with ten million
/// links, 4 KiB against 1.2 and 2.2 KB: `benches/README.md`. Blocks of other sizes, which earlier versions have made, are read and kept like any.
pub(super) const BLOCK_BYTES: usize = 2200;

/// What a block counts for that has to be written again: the size of those that earlier versions have made.
pub(super) const LONGEST_BLOCK_BYTES: usize = 4096;

const _: () = assert!(BLOCK_BYTES <= LONGEST_BLOCK_BYTES);

/// A block that becomes smaller than this is dissolved, and its items move to the newest block.
pub(super) const BLOCK_BYTES_MIN: usize = BLOCK_BYTES / 4;

/// The largest encoded link, with all its fields: it has to fit into a block of its own. Other items have the same bound.
pub(super) const LINK_BYTES_MAX: usize = 20 * 1024;

const _: () = assert!(LINK_BYTES_MAX + 1024 < crate::VALUE_BYTES_MAX && LINK_BYTES_MAX < u16::MAX as usize);

const HEAD_BYTES: usize = 6;

/// Appends an encoded item.
///
/// # Errors
/// When it does not fit into a block: no command makes such an item.
pub(super) fn push(block: &mut Vec<u8>, slot: u32, bytes: &[u8]) -> Result<(), StoreError> {
    let length = u16::try_from(bytes.len()).map_err(|_| StoreError::Corrupt {
        what: format!("the item of slot {slot}"),
        detail: format!("it has {} bytes, more than fit into a block", bytes.len()),
    })?;
    block.extend_from_slice(&slot.to_le_bytes());
    block.extend_from_slice(&length.to_le_bytes());
    block.extend_from_slice(bytes);
    Ok(())
}

/// The bytes that an item of so many bytes adds to a block.
pub(super) fn size_of(bytes: usize) -> usize {
    HEAD_BYTES + bytes
}

/// The bytes that a link adds to a block.
pub(super) fn size_of_link(link: &Link) -> usize {
    size_of(encoded_bytes(link))
}

/// Iterates over a block's pairs of slot and encoded item.
pub(super) struct Entries<'a> {
    rest: &'a [u8],
}

impl<'a> Entries<'a> {
    pub(super) fn new(payload: &'a [u8]) -> Self {
        Self { rest: payload }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<(u32, &'a [u8]), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let parsed = (|| {
            let (slot, rest) = self.rest.split_first_chunk::<4>()?;
            let (length, rest) = rest.split_first_chunk::<2>()?;
            let length = u16::from_le_bytes(*length) as usize;
            (rest.len() >= length).then(|| (u32::from_le_bytes(*slot), rest.split_at(length)))
        })();
        let Some((slot, (bytes, rest))) = parsed else {
            self.rest = &[];
            return Some(Err(StoreError::Corrupt {
                what: "block".to_owned(),
                detail: "an entry is cut short".to_owned(),
            }));
        };
        self.rest = rest;
        Some(Ok((slot, bytes)))
    }
}

/// Decodes one link of a block.
pub(super) fn link(bytes: &[u8]) -> Result<Link, StoreError> {
    decode("link", bytes)
}

/// Reads of one link of a block what the index needs.
pub(super) fn head(bytes: &[u8]) -> Result<LinkHead<'_>, StoreError> {
    decode("link", bytes)
}

/// Finds the encoded item of a slot in the block.
pub(super) fn find(payload: &[u8], wanted: u32) -> Result<Option<&[u8]>, StoreError> {
    for entry in Entries::new(payload) {
        let (slot, bytes) = entry?;
        if slot == wanted {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

/// A copy of the block with only those slots for which `keep` returns `true`.
pub(super) fn retain(payload: &[u8], mut keep: impl FnMut(u32) -> bool) -> Result<Vec<u8>, StoreError> {
    let mut block = Vec::with_capacity(payload.len());
    for entry in Entries::new(payload) {
        let (slot, bytes) = entry?;
        if keep(slot) {
            push(&mut block, slot, bytes)?;
        }
    }
    Ok(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_its_items_one_after_the_other_each_with_its_slot_and_length() {
        let mut block = Vec::new();
        push(&mut block, 258, b"abc").unwrap();
        assert_eq!(block, [2, 1, 0, 0, 3, 0, b'a', b'b', b'c']);
        assert_eq!(block.len(), size_of(3));
        push(&mut block, 7, b"").unwrap();
        push(&mut block, 9, &[1; 300]).unwrap();
        let read: Vec<(u32, usize)> =
            Entries::new(&block).map(|item| item.map(|(slot, bytes)| (slot, bytes.len())).unwrap()).collect();
        assert_eq!(read, [(258, 3), (7, 0), (9, 300)]);
        assert_eq!(find(&block, 258).unwrap(), Some(&b"abc"[..]));
        assert_eq!((find(&block, 7).unwrap(), find(&block, 8).unwrap()), (Some(&b""[..]), None));
        let kept = retain(&block, |slot| slot != 7).unwrap();
        assert_eq!(kept.len(), size_of(3) + size_of(300));
    }

    #[test]
    fn an_item_is_at_most_as_long_as_its_length_can_say() {
        let mut block = Vec::new();
        push(&mut block, 1, &[0; 65_535]).unwrap();
        assert_eq!(find(&block, 1).unwrap().map(<[u8]>::len), Some(65_535));
        assert!(matches!(push(&mut block, 2, &[0; 65_536]), Err(StoreError::Corrupt { .. })));
    }

    #[test]
    fn a_block_that_is_cut_short_is_damaged_and_ends_there() {
        let mut block = Vec::new();
        push(&mut block, 1, b"abc").unwrap();
        push(&mut block, 2, b"def").unwrap();
        for cut in 10..block.len() {
            let mut entries = Entries::new(&block[..cut]);
            assert!(entries.next().is_some_and(|item| item.is_ok()));
            assert!(entries.next().is_some_and(|item| item.is_err()), "cut at {cut}");
            assert!(entries.next().is_none());
            assert!(find(&block[..cut], 2).is_err() && find(&block[..cut], 1).is_ok());
        }
    }
}
