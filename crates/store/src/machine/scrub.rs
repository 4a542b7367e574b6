//! Checks the checksums of all records of a tree.

use super::record::{open_live_record, open_record};
use crate::{StoreError, Tree};

/// Checks every record of a tree; answers how many there are and what is wrong with those that are damaged.
///
/// # Errors
/// When the tree cannot be read.
pub fn verify_tree(tree: &Tree) -> Result<(u64, Vec<String>), StoreError> {
    let mut records = 0;
    let mut damaged = Vec::new();
    for entry in tree.scan_prefix(b"") {
        let (key, value) = entry?;
        records += 1;
        if let Err(error) = open_record(tree, &key, &value) {
            damaged.push(error.to_string());
        }
    }
    Ok((records, damaged))
}

/// What a piece of a scrub found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Records whose checksum was verified.
    pub checked: u32,
    /// What is wrong with those that are damaged.
    pub damaged: Vec<String>,
    /// The key to go on from; `None` = the end was reached.
    pub next: Option<Vec<u8>>,
}

/// Checks at most `max` records of a tree that is served from, beginning at the key `from`. A damaged one makes the store fail,
/// which stops the node.
///
/// # Errors
/// When the tree cannot be read, which makes the store fail too.
pub fn scrub_tree(tree: &Tree, from: &[u8], max: usize) -> Result<Scrubbed, StoreError> {
    let mut scrubbed = Scrubbed::default();
    for entry in tree.range_from(from) {
        let (key, value) = entry?;
        if scrubbed.checked as usize == max {
            scrubbed.next = Some(key.to_vec());
            break;
        }
        scrubbed.checked += 1;
        if let Err(error) = open_live_record(tree, &key, &value) {
            scrubbed.damaged.push(error.to_string());
        }
    }
    Ok(scrubbed)
}
