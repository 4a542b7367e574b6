//! The ends of requests in a stream of bytes: heads, and bodies with a length or in chunks.
//!
//! This decides only how many bytes may be passed on at a time; actix-http interprets them. A disagreement between the two costs
//! a pause or a closed connection, but one request is never treated as another.

use memchr::memchr;

/// The number of heads without a body that are passed on together. A client that pipelines is still answered in few writes, and a client
/// that never reads has at most this many answers in memory.
const HEADS_AT_ONCE: usize = 4;

/// Finds the ends of heads.
#[derive(Debug, Default)]
pub(super) struct Heads {
    seen: Seen,
    /// The bytes of the present head that were passed on before.
    begun: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// Within a line, or before the first one.
    #[default]
    Text,
    /// After the end of a line.
    LineEnd,
    /// After the end of a line and a carriage return.
    Return,
}

/// A part of the stream that may be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// Its length in bytes.
    pub(super) length: usize,
    /// The number of heads that end in it.
    pub(super) heads: usize,
}

impl Heads {
    /// The part of `bytes` that may be passed on: a few heads of `GET`, one head of another method, or a part of a body.
    pub(super) fn piece(&mut self, bytes: &[u8]) -> Piece {
        self.at_most(HEADS_AT_ONCE, bytes)
    }

    /// The part of `bytes` that belongs to the present head.
    pub(super) fn one(&mut self, bytes: &[u8]) -> Piece {
        self.at_most(1, bytes)
    }

    fn at_most(&mut self, most: usize, bytes: &[u8]) -> Piece {
        let mut piece = Piece { length: 0, heads: 0 };
        while piece.length < bytes.len() {
            let rest = &bytes[piece.length..];
            let is_get = self.begun == 0 && rest.starts_with(b"GET ");
            // A head that may have a body is passed on alone: otherwise actix-http treats the missing body as an unread body of the request before,
            // and closes the connection. So is `HEAD`: actix-http leaves out the body of an answer if the last request that it decoded was one.
            if piece.heads > 0 && !is_get {
                break;
            }
            match self.end(rest) {
                // The rest begins another head, whose deadline begins when it is passed on.
                None if piece.heads > 0 => {
                    *self = Self::default();
                    break;
                }
                None => {
                    self.begun += rest.len();
                    piece.length = bytes.len();
                }
                Some(end) => {
                    *self = Self::default();
                    piece.length += end;
                    piece.heads += 1;
                    if !is_get || piece.heads == most {
                        break;
                    }
                }
            }
        }
        piece
    }

    /// The bytes of an incomplete head.
    pub(super) fn begun(&self) -> usize {
        self.begun
    }

    /// The end of the head: behind an empty line.
    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            self.seen = match (self.seen, bytes.get(at)?) {
                (Seen::LineEnd | Seen::Return, b'\n') => return Some(at + 1),
                (Seen::LineEnd, b'\r') => {
                    at += 1;
                    Seen::Return
                }
                _ => {
                    let line = memchr(b'\n', &bytes[at..]);
                    self.seen = Seen::Text;
                    at += line? + 1;
                    Seen::LineEnd
                }
            };
        }
    }
}

/// The outstanding part of a body.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// Nothing.
    #[default]
    None,
    /// This many bytes.
    Length(u64),
    /// Chunks.
    Chunks(Chunk),
}

/// The position of the stream in a chunked body (RFC 9112, section 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunk {
    /// In the digits of a size.
    Size(u64),
    /// After them, in the same line.
    Extension(u64),
    /// In the data, of which this many bytes are left.
    Data(u64),
    /// In the line end after the data.
    DataEnd,
    /// After the last chunk.
    Trailer {
        /// Whether the present line is empty so far.
        empty: bool,
    },
}

impl Rest {
    /// A chunked body at its beginning.
    pub(super) fn chunked() -> Self {
        Self::Chunks(Chunk::Size(0))
    }

    /// Whether a part is outstanding.
    pub(super) fn is_open(&self) -> bool {
        *self != Self::None
    }

    /// The number of these bytes that belong to the body; they count as arrived.
    pub(super) fn take(&mut self, bytes: &[u8]) -> usize {
        match self {
            Self::None => 0,
            Self::Length(left) => {
                let taken = (*left).min(bytes.len() as u64);
                *left -= taken;
                if *left == 0 {
                    *self = Self::None;
                }
                taken as usize
            }
            Self::Chunks(chunk) => {
                let mut at = 0;
                while at < bytes.len() {
                    match chunk.next(&bytes[at..]) {
                        (length, Some(next)) => {
                            at += length;
                            *chunk = next;
                        }
                        // The end of the body, or a malformed one, which actix-http will refuse.
                        (length, None) => {
                            *self = Self::None;
                            return at + length;
                        }
                    }
                }
                at
            }
        }
    }
}

impl Chunk {
    /// The position after some of these bytes (at least one); `None` if the body ends there.
    fn next(self, bytes: &[u8]) -> (usize, Option<Self>) {
        let sized = |size| if size == 0 { Self::Trailer { empty: true } } else { Self::Data(size) };
        let next = match (self, bytes[0]) {
            (Self::Size(size) | Self::Extension(size), b'\n') => sized(size),
            (Self::Size(size), digit) if digit.is_ascii_hexdigit() => {
                let digit = (digit as char).to_digit(16).unwrap_or(0);
                Self::Size(size.saturating_mul(16).saturating_add(digit.into()))
            }
            (Self::Size(size) | Self::Extension(size), _) => Self::Extension(size),
            (Self::Data(left), _) => {
                let taken = left.min(bytes.len() as u64);
                let next = if taken == left { Self::DataEnd } else { Self::Data(left - taken) };
                return (taken as usize, Some(next));
            }
            (Self::DataEnd, b'\n') => Self::Size(0),
            (Self::DataEnd, b'\r') => Self::DataEnd,
            (Self::DataEnd, _) => return (1, None),
            (Self::Trailer { empty: true }, b'\n') => return (1, None),
            (Self::Trailer { empty: false }, b'\n') => Self::Trailer { empty: true },
            (Self::Trailer { empty }, b'\r') => Self::Trailer { empty },
            (Self::Trailer { .. }, _) => Self::Trailer { empty: false },
        };
        (1, Some(next))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pieces(stream: &[u8]) -> Vec<(usize, usize)> {
        let (mut heads, mut at, mut pieces) = (Heads::default(), 0, Vec::new());
        while at < stream.len() {
            let Piece { length, heads } = heads.piece(&stream[at..]);
            at += length;
            pieces.push((length, heads));
        }
        pieces
    }

    #[test]
    fn a_piece_ends_with_a_head_and_holds_a_few_that_have_no_body() {
        let get = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
        let post = b"POST /a HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(pieces(get), [(get.len(), 1)]);
        assert_eq!(pieces(&get.repeat(6)), [(4 * get.len(), 4), (2 * get.len(), 2)]);
        assert_eq!(pieces(&[post.as_slice(), get].concat()), [(post.len(), 1), (get.len(), 1)]);
        let head = b"HEAD /a HTTP/1.1\r\n\r\n";
        assert_eq!(
            pieces(&[head.as_slice(), get, get, head].concat()),
            [(head.len(), 1), (2 * get.len(), 2), (head.len(), 1)]
        );
        assert_eq!(pieces(&[get.as_slice(), post, b"body"].concat()), [(get.len(), 1), (post.len(), 1), (4, 0)]);
        assert_eq!(
            pieces(b"GET /a HTTP/1.1\nHost: a\n\nGET"),
            [(25, 1), (3, 0)],
            "line feeds alone, and the begin of the next"
        );
    }

    #[test]
    fn a_head_ends_at_the_same_place_however_it_is_cut() {
        let stream = b"POST /a HTTP/1.1\r\nHost: a\r\nX: \r\n\r\nPOST";
        for cut in 1..stream.len() - 4 {
            let mut heads = Heads::default();
            let first = heads.piece(&stream[..cut]);
            if first.heads == 1 {
                assert_eq!(cut, stream.len() - 4);
                continue;
            }
            assert_eq!((first.length, heads.begun()), (cut, cut));
            let second = heads.piece(&stream[cut..]);
            assert_eq!((cut + second.length, second.heads, heads.begun()), (stream.len() - 4, 1, 0), "{cut}");
        }
    }

    #[test]
    fn the_end_of_a_chunked_body_is_found() {
        let body = b"5\r\nhello\r\n1;name=value\r\n\n\r\n0\r\nTrailer: x\r\n\r\n";
        let stream = [body.as_slice(), b"GET / HTTP/1.1\r\n"].concat();
        for cut in 1..body.len() {
            let mut rest = Rest::chunked();
            assert_eq!(rest.take(&stream[..cut]), cut);
            assert_eq!((rest.take(&stream[cut..]), rest), (body.len() - cut, Rest::None), "{cut}");
        }
        let mut length = Rest::Length(3);
        assert_eq!((length.take(b"ab"), length), (2, Rest::Length(1)));
        assert_eq!((length.take(b"cd"), length), (1, Rest::None));
    }

    proptest! {
        #[test]
        fn bytes_of_any_kind_are_handed_on_in_pieces_that_are_not_empty(stream in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'0'), any::<u8>()], 1..300)) {
            let (mut heads, mut rest, mut at) = (Heads::default(), Rest::chunked(), 0);
            while at < stream.len() {
                let length = if rest.is_open() { rest.take(&stream[at..]) } else { heads.piece(&stream[at..]).length };
                prop_assert!(length > 0);
                at += length;
            }
            prop_assert_eq!(at, stream.len());
        }
    }
}
