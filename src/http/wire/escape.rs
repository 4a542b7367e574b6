//! Escapes bytes in the targets of requests that no URL has.
//!
//! People and simple clients send a short URL as it is typed (`/münchen`, `?q=<a>`). actix-http would refuse it, although its meaning is
//! clear: browsers send the same escaped (WHATWG URL, path and query percent-encode sets).
//!
//! Bytes that are escaped become more. So this is done only where there is no doubt that they are in a target, and not in a body that may look like one:
//! in the first head that actix-http gets of a connection, and in the next ones as long as none before had a body. Otherwise a client could make a body
//! longer than its length, and its rest another request.

/// The longest that a byte becomes.
pub(super) const GROWTH_MAX: usize = 3;

/// What begins the lines of heads that are followed by a body, or by another protocol.
const OF_A_BODY: [&[u8]; 3] = [b"content-length:", b"transfer-encoding:", b"upgrade:"];

/// The longest of them.
const LINE_BYTES: usize = b"transfer-encoding:".len();

/// The position in a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Before it, or in empty lines before it, which a client may send (RFC 9112, section 2.2).
    Start,
    Method,
    Path,
    Query,
    /// Behind the target, or where nothing is escaped.
    Behind,
}

/// Escapes the targets of a connection.
#[derive(Debug)]
pub(super) struct Targets {
    at: At,
    /// All heads so far are known to be followed by another head. What is read of this one has not shown otherwise.
    sure: bool,
    /// The beginning of the present line, in lower case.
    line: [u8; LINE_BYTES],
    /// The number of its bytes, as far as they count.
    line_bytes: usize,
    /// The line with the method was read.
    has_method: bool,
}

impl Default for Targets {
    fn default() -> Self {
        Self { at: At::Start, sure: true, line: [0; LINE_BYTES], line_bytes: 0, has_method: false }
    }
}

impl At {
    fn next(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Start, b'\r' | b'\n') => Self::Start,
            (Self::Start, _) => Self::Method,
            (Self::Method, b' ') => Self::Path,
            (Self::Path, b'?') => Self::Query,
            (Self::Path | Self::Query, b' ') | (_, b'\n') => Self::Behind,
            (at, _) => at,
        }
    }

    fn escapes(self, byte: u8) -> bool {
        match self {
            Self::Path => is_strange(byte) || byte == b'`',
            Self::Query => is_strange(byte),
            Self::Start | Self::Method | Self::Behind => false,
        }
    }
}

fn is_strange(byte: u8) -> bool {
    byte >= 0x80 || matches!(byte, b'"' | b'<' | b'>')
}

impl Targets {
    /// Whether something has to be escaped in the target of the first head of these bytes.
    pub(super) fn need(&self, bytes: &[u8]) -> bool {
        let mut at = self.at;
        for byte in bytes {
            if at == At::Behind {
                break;
            }
            if at.escapes(*byte) {
                return true;
            }
            at = at.next(*byte);
        }
        false
    }

    /// Whether a head behind the first one of these bytes may need it, so that they should be passed on one by one.
    pub(super) fn may_need_later(&self, bytes: &[u8]) -> bool {
        self.sure && bytes.iter().any(|byte| is_strange(*byte) || *byte == b'`')
    }

    /// Passes bytes of one head to `out`, with the target escaped.
    pub(super) fn escape(&self, bytes: &[u8], mut out: impl FnMut(&[u8])) {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        let mut at = self.at;
        for byte in bytes {
            match at.escapes(*byte) {
                true => out(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]),
                false => out(&[*byte]),
            }
            at = at.next(*byte);
        }
    }

    /// These bytes of heads were passed on, and the last of them ends a head if `ends`.
    pub(super) fn passed(&mut self, bytes: &[u8], ends: bool) {
        self.judge(bytes);
        self.at = match ends {
            true if self.sure => At::Start,
            true => At::Behind,
            // A target that was begun goes on.
            false => bytes.iter().fold(self.at, |at, byte| at.next(*byte)),
        };
        if ends {
            (self.line_bytes, self.has_method) = (0, false);
        }
    }

    /// Looks whether a body may follow a head with these bytes.
    fn judge(&mut self, bytes: &[u8]) {
        let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
        while let (true, Some(part)) = (self.sure, lines.next()) {
            for byte in part.iter().take(LINE_BYTES - self.line_bytes) {
                self.line[self.line_bytes] = byte.to_ascii_lowercase();
                self.line_bytes += 1;
            }
            let line = &self.line[..self.line_bytes];
            if OF_A_BODY.iter().any(|name| line.starts_with(name)) {
                self.sure = false;
            }
            if part.ends_with(b"\n") {
                let is_empty = line.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
                if !self.has_method && !is_empty {
                    self.has_method = true;
                    self.sure &= line.starts_with(b"get ") || line.starts_with(b"head ");
                }
                self.line_bytes = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What comes out of parts of heads, each with whether it ends a head.
    fn escaped(parts: &[(&[u8], bool)]) -> Vec<u8> {
        let (mut targets, mut out) = (Targets::default(), Vec::new());
        for (part, ends) in parts {
            let before = out.len();
            targets.escape(part, |bytes| out.extend_from_slice(bytes));
            // What has to be escaped in the first line is known before.
            assert_eq!(targets.need(part), out.len() - before != part.len());
            targets.passed(part, *ends);
        }
        out
    }

    #[test]
    fn only_the_target_is_escaped_however_its_head_is_cut() {
        let head = "\r\n\nGET /mü\"n<x`>?q=`日 HTTP/1.1\r\nX: ü<\r\n\r\n".as_bytes();
        let right = "\r\n\nGET /m%C3%BC%22n%3Cx%60%3E?q=`%E6%97%A5 HTTP/1.1\r\nX: ü<\r\n\r\n".as_bytes();
        for cut in 0..head.len() {
            assert_eq!(escaped(&[(&head[..cut], false), (&head[cut..], true)]), right, "{cut}");
        }
    }

    #[test]
    fn behind_a_head_that_may_have_a_body_nothing_is_escaped() {
        let strange = "GET /<ü> HTTP/1.1\r\n\r\n".as_bytes();
        let right = b"GET /%3C%C3%BC%3E HTTP/1.1\r\n\r\n".as_slice();
        let plain = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n".as_slice();
        assert_eq!(escaped(&[(plain, true), (strange, true), (strange, true)]), [plain, right, right].concat());
        for unsure in [
            "GET /a HTTP/1.1\r\nContent-Length: 9\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost: h\r\nTRANSFER-encoding: chunked\r\n\r\n",
            "GET /a HTTP/1.1\nupgrade: h2c\n\n",
            "POST /a HTTP/1.1\r\n\r\n",
            "CONNECT a:1 HTTP/1.1\r\n\r\n",
        ] {
            let unsure = unsure.as_bytes();
            assert_eq!(
                escaped(&[(unsure, true), (strange, true), (plain, true), (strange, true)]),
                [unsure, strange, plain, strange].concat()
            );
        }
        // However the heads are cut: with other headers that only look alike, and with a body.
        for (name, then) in [
            ("Host", right),
            ("Upgrade-Insecure-Requests", right),
            ("Content-Type", right),
            ("X: content-length", right),
            ("Content-Length", strange),
            ("tRANSFER-Encoding", strange),
            ("UPGRADE", strange),
        ] {
            let head = format!("\r\nHEAD /a HTTP/1.1\r\nA: b\r\n{name}: 1\r\n\r\n");
            for cut in 0..head.len() {
                let (begin, end) = head.as_bytes().split_at(cut);
                let out = escaped(&[(begin, false), (end, true), (strange, true)]);
                assert_eq!(out, [head.as_bytes(), then].concat(), "{name}, cut at {cut}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_target_that_was_escaped_is_one_that_actix_http_reads(path in "[^\\x00-\\x20\\x7f?#]{0,40}", query in "[^\\x00-\\x20\\x7f#]{0,40}") {
            let head = format!("GET /{path}?{query} HTTP/1.1\r\n\r\n");
            let out = escaped(&[(head.as_bytes(), true)]);
            let target = out.split(|byte| *byte == b' ').nth(1).unwrap();
            let uri: actix_http::Uri = std::str::from_utf8(target).unwrap().parse().unwrap();
            let plain = |text: &str| percent_encoding::percent_decode_str(text).collect::<Vec<u8>>();
            prop_assert_eq!(plain(uri.path()), plain(&format!("/{path}")));
            prop_assert_eq!(uri.query().map(plain), Some(plain(&query)));
        }
    }
}
