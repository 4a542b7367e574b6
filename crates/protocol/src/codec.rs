//! The encoding of messages between nodes: postcard, with rules that let two versions talk to each other.
//!
//! A message is a struct. Later versions only add fields at the end of the outermost struct:
//! - an older reader ignores the bytes after the fields that it knows;
//! - a newer reader that finds the message too short reads the missing fields as zero, `None`, `false`, or empty.
//!
//! So a new field with that value must mean what its absence meant before. A struct inside a list, and an enum, cannot grow in this
//! way: put a list beside it, or add a variant that is sent only to nodes that understand it (`level.rs`).

use serde::{Serialize, de::DeserializeOwned};

/// The largest encoded size of the fields that an older sender did not know: each takes at least one byte.
const MISSING_BYTES_MAX: usize = 64;

/// Why a message could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the message cannot be decoded: {0}")]
pub struct DecodeError(String);

/// Encodes a message.
pub fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    postcard::to_stdvec(message).expect("invariant: messages have no shape that postcard refuses")
}

/// Decodes a message of this or another version.
///
/// # Errors
/// If the bytes are not such a message.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    match postcard::from_bytes(bytes) {
        Err(postcard::Error::DeserializeUnexpectedEnd) => {
            let mut padded = Vec::with_capacity(bytes.len() + MISSING_BYTES_MAX);
            padded.extend_from_slice(bytes);
            padded.resize(bytes.len() + MISSING_BYTES_MAX, 0);
            postcard::from_bytes(&padded)
        }
        decoded => decoded,
    }
    .map_err(|error| DecodeError(error.to_string()))
}

/// Reads a message of which nothing may be missing.
///
/// # Errors
/// When the bytes are no such message, or too few.
pub fn decode_exact<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    postcard::from_bytes(bytes).map_err(|error| DecodeError(error.to_string()))
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Older {
        number: u64,
        text: String,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Newer {
        number: u64,
        text: String,
        known: bool,
        shards: Vec<u32>,
        leader: Option<u64>,
    }

    #[test]
    fn a_newer_reader_takes_missing_fields_as_empty() {
        let older = Older { number: 300, text: "abc".to_owned() };
        let newer = Newer { number: 300, text: "abc".to_owned(), known: false, shards: vec![], leader: None };
        assert_eq!(decode(&encode(&older)), Ok(newer));
    }

    #[test]
    fn an_older_reader_ignores_fields_that_it_does_not_know() {
        let newer = Newer { number: 1, text: "x".to_owned(), known: true, shards: vec![1, 2], leader: Some(7) };
        assert_eq!(decode(&encode(&newer)), Ok(Older { number: 1, text: "x".to_owned() }));
    }

    #[test]
    fn bytes_that_are_no_message_are_an_error() {
        // A text that claims to be longer than any message.
        assert!(decode::<Older>(&[1, 0xff, 0xff, 0x7f]).is_err());
        // A text that is not UTF-8.
        assert!(decode::<Older>(&[1, 1, 0xff]).is_err());
    }
}
