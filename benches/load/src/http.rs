//! Parser of the answers: status line, `Content-Length`, `Location`, and where the answer ends. Nothing else of HTTP is
//! needed, because answers come in the order of the requests, and the servers measured answer with a known length.

use std::ops::Range;

/// One complete answer, as ranges into the buffer that was parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Value of `Location`, if there is one.
    pub location: Option<Range<usize>>,
    /// The body.
    pub body: Range<usize>,
    /// The server closes the connection after this answer.
    pub close: bool,
}

/// Why bytes are not an answer that this parser understands; the connection is of no further use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not `HTTP/1.x NNN`.
    #[error("bad status line")]
    StatusLine,
    /// A header without a colon.
    #[error("bad header")]
    Header,
    /// `Content-Length` is not a number.
    #[error("bad content-length")]
    Length,
    /// The body has no length that is known in advance (chunked, or until the connection closes).
    #[error("answer without content-length")]
    NoLength,
}

/// Parses the answer at the start of `buf`. `Ok(None)` means that more bytes are needed.
///
/// # Errors
/// [`Malformed`] when the bytes can never become an answer.
pub fn parse(buf: &[u8]) -> Result<Option<Response>, Malformed> {
    let seen = buf.len().min(7);
    if buf[..seen] != b"HTTP/1."[..seen] {
        return Err(Malformed::StatusLine);
    }
    let Some(mut at) = line_end(buf, 0) else { return Ok(None) };
    let (status, http10) = status_line(&buf[..at])?;
    let mut location = None;
    let mut length = None;
    let mut chunked = false;
    let mut close = http10;
    loop {
        let Some(end) = line_end(buf, at) else { return Ok(None) };
        let line = trim_end(&buf[at..end]);
        if line.is_empty() {
            at = end;
            break;
        }
        // Only three headers matter, so the first letter spares the comparison for all others.
        match line[0] | 0x20 {
            b'c' => {
                if let Some(value) = value_of(line, b"content-length") {
                    length = Some(number(&line[value])?);
                } else if let Some(value) = value_of(line, b"connection") {
                    close = line[value].eq_ignore_ascii_case(b"close");
                }
            }
            b'l' => {
                if let Some(value) = value_of(line, b"location") {
                    location = Some(at + value.start..at + value.end);
                }
            }
            b't' => chunked |= value_of(line, b"transfer-encoding").is_some(),
            _ if !line.contains(&b':') => return Err(Malformed::Header),
            _ => {}
        }
        at = end;
    }
    let length = match length {
        _ if chunked => return Err(Malformed::NoLength),
        Some(length) => length,
        None if matches!(status, 204 | 304) => 0,
        None => return Err(Malformed::NoLength),
    };
    let Some(end) = at.checked_add(length) else { return Err(Malformed::Length) };
    if buf.len() < end {
        return Ok(None);
    }
    Ok(Some(Response { status, location, body: at..end, close }))
}

/// The value of the string field `name` in the flat JSON object `body`, when it needs no unescaping; codes never do.
/// Cheaper than a JSON parser on the path that measures the server.
#[must_use]
pub fn json_string<'a>(body: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut from = 0;
    while let Some(found) = body[from..].windows(name.len()).position(|window| window == name) {
        let start = from + found;
        let after = start + name.len();
        from = after;
        // The name must be a whole key: quoted, and followed by a colon.
        if start == 0 || body[start - 1] != b'"' || body.get(after) != Some(&b'"') {
            continue;
        }
        let rest = body[after + 1..].trim_ascii_start();
        let Some(rest) = rest.strip_prefix(b":") else { continue };
        let Some(rest) = rest.trim_ascii_start().strip_prefix(b"\"") else { continue };
        let end = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        return (rest[end] == b'"').then_some(&rest[..end]);
    }
    None
}

/// Position after the next line feed at or after `from`.
fn line_end(buf: &[u8], from: usize) -> Option<usize> {
    buf[from..].iter().position(|byte| *byte == b'\n').map(|found| from + found + 1)
}

fn trim_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Status and whether it is HTTP/1.0 (where connections close unless said otherwise).
fn status_line(line: &[u8]) -> Result<(u16, bool), Malformed> {
    let [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor, b' ', a, b, c, after, ..] = line else {
        return Err(Malformed::StatusLine);
    };
    let digits = [*a, *b, *c];
    if !digits.iter().all(u8::is_ascii_digit) || !matches!(after, b' ' | b'\r' | b'\n') {
        return Err(Malformed::StatusLine);
    }
    let status = digits.iter().fold(0_u16, |value, digit| value * 10 + u16::from(digit - b'0'));
    Ok((status, *minor == b'0'))
}

/// Range of the value of header `name` (lower case) within `line`, blanks trimmed.
fn value_of(line: &[u8], name: &[u8]) -> Option<Range<usize>> {
    if line.get(name.len()) != Some(&b':') || !line[..name.len()].eq_ignore_ascii_case(name) {
        return None;
    }
    let value = &line[name.len() + 1..];
    let start = name.len() + 1 + (value.len() - value.trim_ascii_start().len());
    Some(start..start + value.trim_ascii().len())
}

fn number(text: &[u8]) -> Result<usize, Malformed> {
    let text = std::str::from_utf8(text).map_err(|_| Malformed::Length)?;
    text.parse().map_err(|_| Malformed::Length)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REDIRECT: &[u8] =
        b"HTTP/1.1 302 Found\r\nlocation: https://example.com/a\r\nContent-Length: 5\r\nDate: x\r\n\r\nhello";

    #[test]
    fn a_redirect_gives_status_location_and_body() {
        let response = parse(REDIRECT).unwrap().unwrap();
        assert_eq!(response.status, 302);
        assert_eq!(&REDIRECT[response.location.unwrap()], b"https://example.com/a");
        assert_eq!(&REDIRECT[response.body.clone()], b"hello");
        assert_eq!(response.body.end, REDIRECT.len());
        assert!(!response.close);
    }

    #[test]
    fn every_true_prefix_asks_for_more() {
        for end in 0..REDIRECT.len() {
            assert_eq!(parse(&REDIRECT[..end]), Ok(None), "prefix of {end} bytes");
        }
    }

    #[test]
    fn bytes_after_the_answer_are_left_alone() {
        let mut two = REDIRECT.to_vec();
        two.extend_from_slice(REDIRECT);
        assert_eq!(parse(&two).unwrap().unwrap().body.end, REDIRECT.len());
    }

    #[test]
    fn connection_close_and_http_1_0_end_the_connection() {
        let close = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        assert!(parse(close).unwrap().unwrap().close);
        let old = b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n";
        assert!(parse(old).unwrap().unwrap().close);
        let kept = b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n";
        assert!(!parse(kept).unwrap().unwrap().close);
    }

    #[test]
    fn an_answer_of_unknown_length_is_refused() {
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
        assert_eq!(parse(chunked), Err(Malformed::NoLength));
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\n\r\n"), Err(Malformed::NoLength));
        assert_eq!(parse(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap().unwrap().status, 204);
    }

    #[test]
    fn garbage_is_refused_at_once() {
        assert_eq!(parse(b"SSH-2.0"), Err(Malformed::StatusLine));
        assert_eq!(parse(b"HTTP/1.1 2x0 OK\r\n"), Err(Malformed::StatusLine));
        assert_eq!(parse(b"HTTP/1.1 2000 OK\r\n"), Err(Malformed::StatusLine));
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), Err(Malformed::Length));
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n"), Err(Malformed::Length));
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n"), Err(Malformed::Header));
    }

    #[test]
    fn the_code_is_found_in_the_json_body() {
        let body = br#"{"id":"shortCode","shortCode" : "Ab3dE9z","longUrl":"https://e.com/?q=\"shortCode\":\"no\""}"#;
        assert_eq!(json_string(body, b"shortCode"), Some(&b"Ab3dE9z"[..]));
        assert_eq!(json_string(br#"{"xshortCode":"a"}"#, b"shortCode"), None);
        assert_eq!(json_string(br#"{"shortCode":7}"#, b"shortCode"), None);
        assert_eq!(json_string(br#"{"shortCode":"a\"b"}"#, b"shortCode"), None);
    }
}
