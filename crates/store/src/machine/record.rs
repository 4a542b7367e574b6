//! Records of a tree: sealed with a version, a checksum and their own place, so that what does not open is never guessed at.

use waypost_protocol::{Record, RecordError};

use crate::{StoreError, Tree};

/// The version of every kind of record that has had no other.
const FIRST: u8 = 1;

/// The latest version of the kind of record that has this key in this tree. What is later is refused by name.
fn latest_version(tree: &str, key: &[u8]) -> u8 {
    match key {
        META_KEY if tree == CLUSTER_TREE => CLUSTER_META_VERSION,
        META_KEY => SHARD_META_VERSION,
        _ => FIRST,
    }
}

/// The latest version of the record `m` of group 0 (`cluster_records.rs`).
pub(super) const CLUSTER_META_VERSION: u8 = 2;

/// The latest version of the record `m` of a shard (`shard_records.rs`).
pub(super) const SHARD_META_VERSION: u8 = 2;

/// The tree of group 0; the others are of shards.
const CLUSTER_TREE: &str = "sm/0";

/// The key of the record that holds a machine's position and what is small enough to be written whole.
pub(super) const META_KEY: &[u8] = b"m";

/// Seals a record of a kind that has had one version only.
pub(super) fn seal_record(tree: &Tree, key: &[u8], payload: &[u8]) -> Vec<u8> {
    seal(tree.name(), key, FIRST, payload)
}

/// Seals a record of the tree with a name.
pub(super) fn seal(tree: &str, key: &[u8], version: u8, payload: &[u8]) -> Vec<u8> {
    waypost_protocol::seal(&context(tree, key), version, payload)
}

/// Checks a record of a tree and returns its payload.
pub(super) fn open_record<'a>(tree: &Tree, key: &[u8], bytes: &'a [u8]) -> Result<&'a [u8], StoreError> {
    open_record_of(tree.name(), key, bytes)
}

/// As [`open_record`], for whoever serves from the tree: one that does not open makes the store fail, which stops the node.
pub(super) fn open_live_record<'a>(tree: &Tree, key: &[u8], bytes: &'a [u8]) -> Result<&'a [u8], StoreError> {
    open_record(tree, key, bytes).inspect_err(|error| tree.fail(error))
}

/// Checks a record of the tree with a name and returns its payload.
pub(crate) fn open_record_of<'a>(tree: &str, key: &[u8], bytes: &'a [u8]) -> Result<&'a [u8], StoreError> {
    open_sealed(tree, key, bytes).map(|(_, payload)| payload)
}

/// Checks a record of the tree with a name; returns its version and payload.
pub(super) fn open_sealed<'a>(tree: &str, key: &[u8], bytes: &'a [u8]) -> Result<(u8, &'a [u8]), StoreError> {
    let what = || format!("{tree} record {}", readable(key));
    match waypost_protocol::open(&context(tree, key), bytes) {
        Ok((version, payload)) if (FIRST..=latest_version(tree, key)).contains(&version) => Ok((version, payload)),
        Ok((version, _)) => Err(StoreError::UnknownVersion { what: what(), version }),
        Err(error) => Err(StoreError::Corrupt { what: what(), detail: error.to_string() }),
    }
}

/// Reads a record of any version of its kind.
pub(super) fn read_record<T: Record>(tree: &str, key: &[u8], bytes: &[u8]) -> Result<T, StoreError> {
    let (version, payload) = open_sealed(tree, key, bytes)?;
    let what = || format!("{tree} record {}", readable(key));
    T::read(version, payload).map_err(|error| match error {
        RecordError::UnknownVersion(version) => StoreError::UnknownVersion { what: what(), version },
        RecordError::Damaged(detail) => StoreError::Corrupt { what: what(), detail },
    })
}

fn context(tree: &str, key: &[u8]) -> Vec<u8> {
    let mut context = Vec::with_capacity(tree.len() + 1 + key.len());
    context.extend_from_slice(tree.as_bytes());
    context.push(b'/');
    context.extend_from_slice(key);
    context
}

fn readable(key: &[u8]) -> String {
    let number: String = key.iter().skip(1).map(|byte| format!("{byte:02x}")).collect();
    format!("{}{}", char::from(*key.first().unwrap_or(&b'?')), number)
}

pub(super) fn encode<T: serde::Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("invariant: our own structs have no shape that postcard refuses")
}

/// The number of bytes that [`encode`] makes of a value.
pub(super) fn encoded_bytes<T: serde::Serialize>(value: &T) -> usize {
    postcard::serialize_with_flavor(value, postcard::ser_flavors::Size::default())
        .expect("invariant: our own structs have no shape that postcard refuses")
}

pub(super) fn decode<'a, T: serde::Deserialize<'a>>(what: &str, bytes: &'a [u8]) -> Result<T, StoreError> {
    postcard::from_bytes(bytes)
        .map_err(|error| StoreError::Corrupt { what: what.to_owned(), detail: error.to_string() })
}

/// The number in a key of the form prefix + `u32` big endian.
pub(super) fn number_of(key: &[u8]) -> u32 {
    key.get(1..5).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes)
}

/// A key of the form prefix + `u32` big endian.
pub(super) fn numbered(prefix: u8, number: u32) -> [u8; 5] {
    let mut key = [prefix; 5];
    key[1..].copy_from_slice(&number.to_be_bytes());
    key
}
