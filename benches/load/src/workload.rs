//! What is asked and what counts as a right answer: redirects of known codes, or creations of links.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
};

use crate::{
    http::{Response, json_string},
    links::Lines,
    pick::Pick,
};

/// What an answer is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As expected.
    Right,
    /// Another status than expected.
    OtherStatus,
    /// The expected status with a wrong or missing content: a wrong `Location`, or no code.
    Wrong,
}

/// What a connection is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// To send the request that was written; its answer is judged by this token.
    Request(u64),
    /// To ask again later: nothing is due on this connection.
    Later,
    /// Nothing is left to ask.
    End,
}

/// A source of requests and the judge of their answers.
pub trait Workload {
    /// Appends the next request of a connection, by its number, to `out`.
    fn next(&mut self, connection: u32, out: &mut Vec<u8>) -> Next;

    /// Judges the answer to the request with `token`; `buf` is what the ranges of `response` point into.
    fn judge(&mut self, token: u64, response: &Response, buf: &[u8]) -> Verdict;
}

/// `GET /{code}` for known codes.
#[derive(Debug)]
pub struct Redirects {
    codes: Lines,
    targets: Option<Lines>,
    pick: Pick,
    expect: u16,
    tail: Vec<u8>,
}

impl Redirects {
    /// Requests to `host` for `codes` in the order of `pick`; `headers` are complete extra lines, `expect` is the right status, `targets` (in the order of
    /// `codes`, empty for unknown) the right `Location`s.
    #[must_use]
    pub fn new(host: &str, headers: &[String], codes: Lines, targets: Option<Lines>, pick: Pick, expect: u16) -> Self {
        let mut tail = format!(" HTTP/1.1\r\nHost: {host}\r\n");
        for header in headers {
            tail.push_str(header);
            tail.push_str("\r\n");
        }
        tail.push_str("\r\n");
        let tail = tail.into_bytes();
        Self { codes, targets, pick, expect, tail }
    }
}

impl Workload for Redirects {
    fn next(&mut self, _connection: u32, out: &mut Vec<u8>) -> Next {
        let Some(index) = self.pick.draw() else { return Next::End };
        out.extend_from_slice(b"GET /");
        out.extend_from_slice(self.codes.get(index));
        out.extend_from_slice(&self.tail);
        Next::Request(u64::from(index))
    }

    fn judge(&mut self, token: u64, response: &Response, buf: &[u8]) -> Verdict {
        if response.status != self.expect {
            return Verdict::OtherStatus;
        }
        let Some(targets) = &self.targets else { return Verdict::Right };
        let target = targets.get(token as u32);
        let location = response.location.clone().map_or(&[][..], |range| &buf[range]);
        if target.is_empty() || location == target { Verdict::Right } else { Verdict::Wrong }
    }
}

/// The URLs to create links for.
#[derive(Debug)]
pub enum Urls {
    /// A pattern in which `{number}` is replaced by a running number: what stands before, and what after it.
    Pattern(Vec<u8>, Vec<u8>),
    /// The lines of a file, each once.
    Lines(Lines),
}

impl Urls {
    fn write(&self, number: u64, out: &mut Vec<u8>) {
        match self {
            Self::Pattern(before, after) => {
                out.extend_from_slice(before);
                // Fixed width, so that all URLs of a run have the same length.
                out.extend_from_slice(format!("{number:09}").as_bytes());
                out.extend_from_slice(after);
            }
            Self::Lines(lines) => out.extend_from_slice(lines.get(number as u32)),
        }
    }
}

/// `POST /shorten` with one URL each.
#[derive(Debug)]
pub struct Creates {
    head: Vec<u8>,
    urls: Urls,
    next: u64,
    end: u64,
    expect: u16,
    acked: Option<BufWriter<File>>,
    acked_failed: bool,
    body: Vec<u8>,
}

impl Creates {
    /// Requests to `host` for the URLs numbered from `numbers.start` up to its end. `headers` are complete extra lines.
    /// Each acknowledged code and URL goes to `acked`.
    #[must_use]
    pub fn new(
        host: &str,
        headers: &[String],
        urls: Urls,
        numbers: std::ops::Range<u64>,
        expect: u16,
        acked: Option<File>,
    ) -> Self {
        let mut head = format!("POST /shorten HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n");
        for header in headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        head.push_str("Content-Length: ");
        Self {
            head: head.into_bytes(),
            urls,
            next: numbers.start,
            end: numbers.end,
            expect,
            acked: acked.map(|file| BufWriter::with_capacity(1 << 20, file)),
            acked_failed: false,
            body: Vec::new(),
        }
    }

    /// Writes out what is buffered of the acknowledged links.
    ///
    /// # Errors
    /// When a link could not be written now or earlier.
    pub fn finish(&mut self) -> std::io::Result<()> {
        if let Some(acked) = &mut self.acked {
            acked.flush()?;
        }
        if self.acked_failed { Err(std::io::Error::other("an acknowledged link could not be written")) } else { Ok(()) }
    }

    fn keep(&mut self, code: &[u8], number: u64) {
        let Some(acked) = &mut self.acked else { return };
        self.body.clear();
        self.body.extend_from_slice(code);
        self.body.push(b'\t');
        self.urls.write(number, &mut self.body);
        self.body.push(b'\n');
        // The run goes on, because it measures the server; `finish` reports the failure.
        self.acked_failed |= acked.write_all(&self.body).is_err();
    }
}

impl Workload for Creates {
    fn next(&mut self, _connection: u32, out: &mut Vec<u8>) -> Next {
        if self.next >= self.end {
            return Next::End;
        }
        let number = self.next;
        self.next += 1;
        self.body.clear();
        self.body.extend_from_slice(br#"{"longUrl":""#);
        self.urls.write(number, &mut self.body);
        self.body.extend_from_slice(br#""}"#);
        out.extend_from_slice(&self.head);
        out.extend_from_slice(self.body.len().to_string().as_bytes());
        out.extend_from_slice(b"\r\n\r\n");
        out.extend_from_slice(&self.body);
        Next::Request(number)
    }

    fn judge(&mut self, token: u64, response: &Response, buf: &[u8]) -> Verdict {
        if response.status != self.expect {
            return Verdict::OtherStatus;
        }
        let Some(code) = json_string(&buf[response.body.clone()], b"shortCode") else { return Verdict::Wrong };
        self.keep(code, token);
        Verdict::Right
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::parse;

    fn answer(status: u16, body: &str) -> (Response, Vec<u8>) {
        let text = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes();
        (parse(&text).unwrap().unwrap(), text)
    }

    #[test]
    fn a_create_request_carries_its_url_and_the_right_length() {
        let urls = Urls::Pattern(b"https://e.com/".to_vec(), b".html".to_vec());
        let mut creates = Creates::new("h:1", &["X-Api-Key: k".to_owned()], urls, 7..8, 201, None);
        let mut out = Vec::new();
        assert_eq!(creates.next(0, &mut out), Next::Request(7));
        let text = String::from_utf8(out).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, r#"{"longUrl":"https://e.com/000000007.html"}"#);
        assert!(head.contains("\r\nX-Api-Key: k\r\n"));
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())));
        assert_eq!(creates.next(0, &mut Vec::new()), Next::End);
    }

    #[test]
    fn only_acknowledged_links_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("acked");
        let urls = Urls::Pattern(b"https://e.com/".to_vec(), Vec::new());
        let mut creates = Creates::new("h:1", &[], urls, 0..3, 201, Some(File::create(&path).unwrap()));
        let (right, right_bytes) = answer(201, r#"{"shortCode":"abc"}"#);
        let (busy, busy_bytes) = answer(503, "{}");
        let (empty, empty_bytes) = answer(201, "{}");
        assert_eq!(creates.judge(0, &right, &right_bytes), Verdict::Right);
        assert_eq!(creates.judge(1, &busy, &busy_bytes), Verdict::OtherStatus);
        assert_eq!(creates.judge(2, &empty, &empty_bytes), Verdict::Wrong);
        creates.finish().unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), "abc\thttps://e.com/000000000\n");
    }
}
