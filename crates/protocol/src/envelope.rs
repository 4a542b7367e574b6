//! The envelope of every stored value: a version byte, the payload, and a checksum.
//!
//! ```text
//! +---------+-------------+------------------------------------------------+
//! | version | payload ... | 16 bytes of blake3(context ‖ version ‖ payload) |
//! +---------+-------------+------------------------------------------------+
//! ```
//!
//! The context is the tree and the key of the value, so a misplaced value is detected like a damaged
//! one.

use std::ops::RangeInclusive;

const CHECKSUM_BYTES: usize = 16;

/// The bytes that an envelope adds to its payload.
pub const OVERHEAD_BYTES: usize = 1 + CHECKSUM_BYTES;

/// Why stored bytes were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Fewer bytes than an empty envelope has.
    #[error("too short to be a record: {0} bytes")]
    TooShort(usize),
    /// The checksum does not match the context and the bytes.
    #[error("the checksum does not match")]
    Checksum,
}

/// The bodies that are worth a copy behind their context. BLAKE3 hashes whole chunks of 1 KiB at the same time, two or four and more, as many as it gets aligned
/// in one piece: what is given to it before the body moves all chunks, and then it hashes a body of some KiB chunk by chunk, in about twice the time. A shorter
/// body has one whole chunk at most, and a longer one is in pieces large enough.
const TOGETHER_BYTES: RangeInclusive<usize> = 2048..=16 * 1024;

fn checksum(context: &[u8], body: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let length = (context.len() as u64).to_le_bytes();
    let hash = if TOGETHER_BYTES.contains(&body.len()) {
        blake3::hash(&[&length, context, body].concat())
    } else {
        blake3::Hasher::new().update(&length).update(context).update(body).finalize()
    };
    let mut sum = [0u8; CHECKSUM_BYTES];
    sum.copy_from_slice(&hash.as_bytes()[..CHECKSUM_BYTES]);
    sum
}

/// Seals a payload for the location `context`.
pub fn seal(context: &[u8], version: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(payload.len() + OVERHEAD_BYTES);
    bytes.push(version);
    bytes.extend_from_slice(payload);
    let sum = checksum(context, &bytes);
    bytes.extend_from_slice(&sum);
    bytes
}

/// Checks an envelope and returns its version and payload.
///
/// # Errors
/// [`EnvelopeError`] if the bytes are too short, damaged, or belong to another location.
pub fn open<'a>(context: &[u8], bytes: &'a [u8]) -> Result<(u8, &'a [u8]), EnvelopeError> {
    if bytes.len() < OVERHEAD_BYTES {
        return Err(EnvelopeError::TooShort(bytes.len()));
    }
    let (body, sum) = bytes.split_at(bytes.len() - CHECKSUM_BYTES);
    if checksum(context, body) != sum {
        return Err(EnvelopeError::Checksum);
    }
    Ok((body[0], &body[1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_opens_to_what_was_sealed() {
        let sealed = seal(b"sm/1/b0", 1, b"hello");
        assert_eq!(open(b"sm/1/b0", &sealed), Ok((1, &b"hello"[..])));
    }

    #[test]
    fn any_flipped_bit_and_any_other_place_is_noticed() {
        let sealed = seal(b"here", 1, b"payload");
        for bit in 0..sealed.len() * 8 {
            let mut damaged = sealed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(b"here", &damaged), Err(EnvelopeError::Checksum), "bit {bit}");
        }
        assert_eq!(open(b"there", &sealed), Err(EnvelopeError::Checksum));
        assert_eq!(open(b"here", &sealed[..10]), Err(EnvelopeError::TooShort(10)));
    }

    #[test]
    fn the_checksum_is_the_same_however_long_the_payload_is() {
        for length in [0, 1, 1022, 1023, 1024, 2046, 2047, 2048, 4000, 4096, 5000, 16 * 1024 - 1, 16 * 1024, 40_000] {
            let payload: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let sealed = seal(b"here", 1, &payload);
            let mut hasher = blake3::Hasher::new();
            for part in [&4u64.to_le_bytes()[..], b"here", &[1], &payload] {
                hasher.update(part);
            }
            assert_eq!(sealed[1 + length..], hasher.finalize().as_bytes()[..CHECKSUM_BYTES], "{length} bytes");
            assert_eq!(open(b"here", &sealed), Ok((1, &payload[..])));
        }
    }

    #[test]
    fn the_format_keeps_its_golden_bytes() {
        let sealed = seal(b"k", 1, b"v");
        let hex: String = sealed.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "0176".to_string() + &hex[4..]);
        assert_eq!(sealed.len(), 1 + OVERHEAD_BYTES);
    }
}
