//! The wire format: one frame for each request and each answer.
//!
//! ```text
//! frame = length u32 BE (tokio-util) · version u8 · head length u8 · head (postcard) · body · checksum
//! checksum = the first 8 bytes of blake3(everything before it)
//! ```
//!
//! The checksum finds damage that TCP's own does not find. It is no protection against an attacker; that is the task of TLS.

use std::ops::RangeInclusive;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use tokio_util::codec::LengthDelimitedCodec;

/// The versions of frames that this node speaks, from the oldest to the newest. Two nodes use the newest common version; without a
/// common one they refuse each other and say so. A version is removed from here when no supported release depends on it.
pub const PROTOCOL_VERSIONS: RangeInclusive<u8> = 2..=2;

const CHECKSUM_BYTES: usize = 8;

/// The head of a frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Frame {
    /// A request; its body follows.
    Request {
        /// The number that the answer repeats.
        id: u64,
        /// The kind of the message.
        kind: u16,
        /// The group or shard that the request concerns.
        scope: u32,
        /// How long the sender still waits, in milliseconds.
        within_ms: u32,
    },
    /// An answer; its body follows.
    Answer {
        /// The request's number.
        id: u64,
    },
    /// A refusal: nothing was done. The body is the reason, as text.
    Refusal {
        /// The request's number.
        id: u64,
        /// Whether the reason is overload.
        overloaded: bool,
    },
    /// Asks whether the other side is alive.
    Ping,
    /// The answer to a ping.
    Pong,
}

/// Why a frame cannot be read. The connection is closed, because what follows cannot be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The frame is shorter than a head.
    #[error("the frame is truncated")]
    Short,
    /// The frame has a version that this node does not speak.
    #[error("the frame has version {0}; this node speaks versions {oldest} to {newest}",
        oldest = PROTOCOL_VERSIONS.start(), newest = PROTOCOL_VERSIONS.end())]
    Version(u8),
    /// The checksum does not match: the bytes were damaged.
    #[error("the frame's checksum does not match")]
    Checksum,
    /// The head cannot be decoded.
    #[error("the frame's head cannot be decoded")]
    Head,
}

/// The codec that splits a stream into frames.
pub(crate) fn codec(max: usize) -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder().max_frame_length(max).new_codec()
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let hash = blake3::hash(bytes);
    let mut short = [0; CHECKSUM_BYTES];
    short.copy_from_slice(&hash.as_bytes()[..CHECKSUM_BYTES]);
    short
}

impl Frame {
    /// Encodes the frame, without its length, in a version that the other side speaks.
    pub fn encode(&self, version: u8, body: &[u8]) -> Bytes {
        let mut head = [0u8; 64];
        let head = postcard::to_slice(self, &mut head).expect("invariant: a head has at most 30 bytes");
        let mut bytes = BytesMut::with_capacity(2 + head.len() + body.len() + CHECKSUM_BYTES);
        bytes.put_u8(version);
        bytes.put_u8(head.len() as u8);
        bytes.put_slice(head);
        bytes.put_slice(body);
        let sum = checksum(&bytes);
        bytes.put_slice(&sum);
        bytes.freeze()
    }

    /// Decodes a frame into its head and its body.
    ///
    /// # Errors
    /// See [`FrameError`].
    pub fn decode(mut bytes: BytesMut) -> Result<(Self, BytesMut), FrameError> {
        if bytes.len() < 2 + CHECKSUM_BYTES {
            return Err(FrameError::Short);
        }
        if !PROTOCOL_VERSIONS.contains(&bytes[0]) {
            return Err(FrameError::Version(bytes[0]));
        }
        let sum = bytes.split_off(bytes.len() - CHECKSUM_BYTES);
        if checksum(&bytes) != *sum {
            return Err(FrameError::Checksum);
        }
        let length = usize::from(bytes[1]);
        let mut head = bytes.split_off(2);
        if head.len() < length {
            return Err(FrameError::Short);
        }
        let body = head.split_off(length);
        match postcard::take_from_bytes(&head) {
            Ok((frame, [])) => Ok((frame, body)),
            _ => Err(FrameError::Head),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_wire_format_keeps_its_golden_bytes() {
        let head = |frame: Frame, body: &[u8]| {
            let bytes = frame.encode(2, body);
            hex(&bytes[..bytes.len() - CHECKSUM_BYTES])
        };
        let request = Frame::Request { id: 300, kind: 0x0201, scope: 5, within_ms: 1000 };
        assert_eq!(head(request, b"ab"), "020800ac02810405e8076162");
        assert_eq!(head(Frame::Answer { id: 1 }, b""), "02020101");
        assert_eq!(head(Frame::Refusal { id: 1, overloaded: true }, b"x"), "020302010178");
        assert_eq!(head(Frame::Ping, b""), "020103");
        assert_eq!(hex(&Frame::Pong.encode(2, b"")), "020104".to_owned() + &hex(&checksum(&[2, 1, 4])));
    }

    #[test]
    fn a_frame_of_another_version_is_refused_by_name() {
        let mut bytes = BytesMut::from(&Frame::Ping.encode(2, b"")[..]);
        bytes[0] = 9;
        assert_eq!(Frame::decode(bytes), Err(FrameError::Version(9)));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(id: u64, kind: u16, scope: u32, within_ms: u32, body: Vec<u8>) {
            let frame = Frame::Request { id, kind, scope, within_ms };
            let bytes = BytesMut::from(&frame.encode(2, &body)[..]);
            prop_assert_eq!(Frame::decode(bytes), Ok((frame, BytesMut::from(&body[..]))));
        }

        #[test]
        fn a_changed_bit_is_noticed(body: Vec<u8>, at: prop::sample::Index, bit in 0..8u32) {
            let frame = Frame::Request { id: 7, kind: 1, scope: 2, within_ms: 3 };
            let mut bytes = BytesMut::from(&frame.encode(2, &body)[..]);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(Frame::decode(bytes).is_err());
        }

        #[test]
        fn any_bytes_are_an_error_and_not_a_panic(bytes: Vec<u8>) {
            let _ = Frame::decode(BytesMut::from(&bytes[..]));
        }
    }
}
