//! Escapes bytes in the targets of requests that no URI has.
//!
//! People and simple clients send a short URL as it is typed (`/münchen`, `?q=<a>`). actix-http would refuse it, although its meaning is
//! clear: browsers send the same escaped (WHATWG URL, path and query percent-encode sets). Only the target is changed, and no byte that ends it
//! is made or removed, so requests begin and end where they did.

/// The longest that a byte becomes.
pub(super) const GROWTH_MAX: usize = 3;

/// The position in a head.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// Before the target: in the method, or in an empty line before it.
    #[default]
    Method,
    /// In the target.
    Target,
    /// Behind it.
    Behind,
}

/// Whether an escape may be needed somewhere. A look at all bytes at once: nearly all heads have none.
pub(super) fn may_need(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| is_strange(*byte))
}

fn is_strange(byte: u8) -> bool {
    byte >= 0x80 || matches!(byte, b'"' | b'<' | b'>' | b'`')
}

impl At {
    /// The position behind more bytes of the same head.
    pub(super) fn behind(self, bytes: &[u8]) -> Self {
        bytes.iter().fold(self, |at, byte| at.next(*byte))
    }

    fn next(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Method, b' ') => Self::Target,
            (Self::Target, b' ' | b'\r' | b'\n') => Self::Behind,
            (at, _) => at,
        }
    }

    /// Adds more bytes of the same head to `out`, with the target escaped. Returns the position behind them.
    pub(super) fn escape(self, bytes: &[u8], mut out: impl FnMut(&[u8])) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        bytes.iter().fold(self, |at, byte| {
            match at {
                Self::Target if is_strange(*byte) => {
                    out(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
                }
                _ => out(&[*byte]),
            }
            at.next(*byte)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(parts: &[&[u8]]) -> Vec<u8> {
        let (mut at, mut out) = (At::default(), Vec::new());
        for part in parts {
            let behind = at.behind(part);
            at = at.escape(part, |bytes| out.extend_from_slice(bytes));
            assert_eq!(at, behind);
        }
        out
    }

    #[test]
    fn only_the_target_is_escaped_however_its_head_is_cut() {
        let head = "\r\nGET /mü\"n<x>?q=`日 HTTP/1.1\r\nX: ü<\r\n\r\n".as_bytes();
        let right = "\r\nGET /m%C3%BC%22n%3Cx%3E?q=%60%E6%97%A5 HTTP/1.1\r\nX: ü<\r\n\r\n".as_bytes();
        assert!(may_need(head) && !may_need(b"GET /a%C3?q={a|b}^' HTTP/1.1\r\n\r\n"));
        for cut in 0..head.len() {
            assert_eq!(escaped(&[&head[..cut], &head[cut..]]), right, "{cut}");
        }
    }

    proptest! {
        #[test]
        fn a_target_that_was_escaped_is_one_that_actix_http_reads(path in "[^\\x00-\\x20\\x7f?#]{0,40}", query in "[^\\x00-\\x20\\x7f#]{0,40}") {
            let head = format!("GET /{path}?{query} HTTP/1.1\r\n\r\n");
            let out = escaped(&[head.as_bytes()]);
            let target = out.split(|byte| *byte == b' ').nth(1).unwrap();
            let uri: actix_http::Uri = std::str::from_utf8(target).unwrap().parse().unwrap();
            let plain = percent_encoding::percent_decode_str(uri.path()).collect::<Vec<u8>>();
            let meant = percent_encoding::percent_decode_str(&format!("/{path}")).collect::<Vec<u8>>();
            prop_assert_eq!(plain, meant);
        }
    }
}
