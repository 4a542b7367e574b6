//! The requests that the fast path knows: a strict subset of HTTP/1.1 (RFC 9112) that browsers, proxies and command-line clients send.
//!
//! `GET` and `HEAD` of one path segment in the letters of codes, with one `Host`, and without a body, `Expect`, `Upgrade` and unusual
//! `Connection`. A head outside of it is not refused here: actix-http judges it.

use std::mem::MaybeUninit;

use actix_http::Method;

use crate::headers::Parsed;

/// The most headers of a request that is answered here: twice those of a browser behind two proxies.
pub const HEADERS_MAX: usize = 64;

/// A request of the subset.
pub struct PlainRequest<'a> {
    /// The length of its head in bytes. It has no body.
    pub length: usize,
    /// `GET` or `HEAD`.
    pub method: Method,
    /// The path and the query.
    pub target: &'a str,
    /// The path without its slash.
    pub code: &'a str,
    /// What follows the question mark, if there is one.
    pub query: Option<&'a str>,
    /// The client closes the connection after the answer.
    pub closes: bool,
}

/// What the beginning of some bytes is.
pub enum Head<'a> {
    /// A request of the subset.
    Plain(PlainRequest<'a>),
    /// A head that is not complete, and may be one of the subset.
    Partial,
    /// Anything else.
    Unknown,
}

/// Reads a head, and the headers into `headers`.
pub fn read<'a, 'h>(
    bytes: &'a [u8],
    headers: &'h mut [MaybeUninit<httparse::Header<'a>>; HEADERS_MAX],
) -> (Head<'a>, Parsed<'h>)
where
    'a: 'h,
{
    let unknown = || (Head::Unknown, Parsed::new(&[]));
    let method = match bytes {
        [b'G', b'E', b'T', b' ', b'/', ..] => Method::GET,
        [b'H', b'E', b'A', b'D', b' ', b'/', ..] => Method::HEAD,
        _ if b"GET /".starts_with(bytes) || b"HEAD /".starts_with(bytes) => {
            return (Head::Partial, Parsed::new(&[]));
        }
        _ => return unknown(),
    };
    let mut request = httparse::Request::new(&mut []);
    let length = match request.parse_with_uninit_headers(bytes, headers) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return (Head::Partial, Parsed::new(&[])),
        Err(_) => return unknown(),
    };
    let (Some(target), Some(1)) = (request.path, request.version) else { return unknown() };
    let Some(path) = target.strip_prefix('/') else { return unknown() };
    let (code, query) = match path.split_once('?') {
        Some((code, query)) => (code, Some(query)),
        None => (path, None),
    };
    let is_known = !code.is_empty()
        && code.bytes().all(is_of_a_path)
        && query.is_none_or(|query| query.bytes().all(is_of_a_query));
    let Some(closes) = framing(request.headers).filter(|_| is_known) else { return unknown() };
    (Head::Plain(PlainRequest { length, method, target, code, query, closes }), Parsed::new(request.headers))
}

/// The code that a head is going to ask for, as it seems before the head is read: what is looked for can be got ready. It may be wrong.
pub fn code_ahead(bytes: &[u8]) -> Option<&str> {
    let path = bytes.strip_prefix(b"GET /")?;
    let end = path.iter().position(|byte| !is_of_a_path(*byte))?;
    std::str::from_utf8(&path[..end]).ok().filter(|code| !code.is_empty())
}

/// What the path of a code or of its preview can have, escapes included.
fn is_of_a_path(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_%+".contains(&byte)
}

/// What a query can have: the bytes that actix-http accepts in one, which are more than those of RFC 3986.
fn is_of_a_query(byte: u8) -> bool {
    matches!(byte, b'!' | b'$'..=b';' | b'=' | b'?'..=b'~')
}

/// Whether the connection is closed after the answer; `None` if the request may have a body, or asks for more than an answer.
fn framing(headers: &[httparse::Header<'_>]) -> Option<bool> {
    let (mut hosts, mut closes) = (0, None);
    for header in headers {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        match header.name.len() {
            4 if is("host") => {
                let is_host = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(byte);
                if header.value.is_empty() || !header.value.iter().all(is_host) {
                    return None;
                }
                hosts += 1;
            }
            6 if is("expect") => return None,
            7 if is("upgrade") => return None,
            10 if is("connection") => {
                let closing = match header.value {
                    value if value.eq_ignore_ascii_case(b"keep-alive") => false,
                    value if value.eq_ignore_ascii_case(b"close") => true,
                    _ => return None,
                };
                if closes.replace(closing).is_some() {
                    return None;
                }
            }
            14 if is("content-length") => return None,
            17 if is("transfer-encoding") => return None,
            _ => {}
        }
    }
    (hosts == 1).then_some(closes.unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use actix_http::h1::{Codec, Message, MessageType};
    use bytes::BytesMut;
    use proptest::prelude::*;
    use tokio_util::codec::Decoder;

    use super::*;

    /// What the fast path reads: length, method, target, whether the client closes; or that bytes are missing.
    type Read = Result<(usize, Method, String, bool), &'static str>;

    fn fast(bytes: &[u8]) -> Read {
        let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        match read(bytes, &mut headers).0 {
            Head::Plain(plain) => Ok((plain.length, plain.method, plain.target.to_owned(), plain.closes)),
            Head::Partial => Err("partial"),
            Head::Unknown => Err("unknown"),
        }
    }

    /// What actix-http reads.
    fn actix(bytes: &[u8]) -> Read {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        // actix-http sets a timer for its dates.
        let mut codec = tokio::task::LocalSet::new().block_on(&runtime, async { Codec::default() });
        let mut buffer = BytesMut::from(bytes);
        match codec.decode(&mut buffer) {
            Ok(Some(Message::Item(request))) => {
                let has_body = !matches!(codec.message_type(), MessageType::None);
                assert!(!has_body, "{}", String::from_utf8_lossy(bytes));
                let (method, target) = (request.method().clone(), request.uri().to_string());
                Ok((bytes.len() - buffer.len(), method, target, !codec.keep_alive()))
            }
            Ok(_) => Err("partial"),
            Err(_) => Err("refused"),
        }
    }

    const CHROME: &str = "GET /abc HTTP/1.1\r\nHost: go.example\r\nConnection: keep-alive\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: text/html,*/*;q=0.8\r\nAccept-Encoding: gzip, br\r\nAccept-Language: de,en;q=0.9\r\n\r\n";

    #[test]
    fn a_head_is_known_when_it_is_complete_and_not_before() {
        for cut in 1..CHROME.len() {
            assert_eq!(fast(&CHROME.as_bytes()[..cut]), Err("partial"), "{cut}");
        }
        let known = Ok((CHROME.len(), Method::GET, "/abc".to_owned(), false));
        assert_eq!(fast(CHROME.as_bytes()), known);
        assert_eq!(fast(CHROME.repeat(2).as_bytes()), known);
    }

    #[test]
    fn the_code_that_is_seen_ahead_is_the_one_that_is_read() {
        for target in ["/abc", "/abc?a=b", "/a%C3+?", "/a"] {
            let head = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
            let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
            let Head::Plain(plain) = read(head.as_bytes(), &mut headers).0 else { panic!("{target}") };
            assert_eq!(code_ahead(head.as_bytes()), Some(plain.code), "{target}");
        }
        for bytes in ["", "GET /", "GET /abc", "GET / HTTP/1.1\r\n", "HEAD /abc HTTP/1.1\r\n", "GET /\u{fc}b HTTP"] {
            assert_eq!(code_ahead(bytes.as_bytes()), None, "{bytes}");
        }
    }

    #[test]
    fn what_may_have_a_body_or_means_more_is_not_known() {
        for line in [
            "Content-Length: 0",
            "Transfer-Encoding: chunked",
            "Expect: 100-continue",
            "Upgrade: h2c",
            "Connection: upgrade",
            "Connection: keep-alive, close",
            "Host: other",
            " folded",
            "No colon",
        ] {
            let head = format!("GET /abc HTTP/1.1\r\nHost: h\r\n{line}\r\n\r\n");
            assert_eq!(fast(head.as_bytes()), Err("unknown"), "{line}");
        }
        for line in [
            "GET /abc HTTP/1.0",
            "GET /a/b HTTP/1.1",
            "GET / HTTP/1.1",
            "GET http://h/abc HTTP/1.1",
            "GET  /abc HTTP/1.1",
            "POST /abc HTTP/1.1",
            "GET /abc?a<b HTTP/1.1",
            "GET /a~b HTTP/1.1",
        ] {
            assert_eq!(fast(format!("{line}\r\nHost: h\r\n\r\n").as_bytes()), Err("unknown"), "{line}");
        }
        for host in ["", "Host: \r\n", "Host: a b\r\n", "Host: a/b\r\n"] {
            assert_eq!(fast(format!("GET /abc HTTP/1.1\r\n{host}\r\n").as_bytes()), Err("unknown"), "{host}");
        }
    }

    /// Parts of heads, of which some are as they should not be.
    fn heads() -> impl Strategy<Value = String> {
        let line = prop::sample::select(vec![
            "GET /abc HTTP/1.1",
            "HEAD /abc HTTP/1.1",
            "GET /a-b_c?x=1&y=%20 HTTP/1.1",
            "GET /%61bc+ HTTP/1.1",
            "GET /abc? HTTP/1.1",
            "GET /abc?a|b[c]={d}^`\\ HTTP/1.1",
            "GET /abc?a#b HTTP/1.1",
            "GET /abc HTTP/1.0",
            "GET /abc#x HTTP/1.1",
            "GET /a\u{e4} HTTP/1.1",
            "GET /abc\tHTTP/1.1",
            "GETX /abc HTTP/1.1",
            "GET /abc?\" HTTP/1.1",
        ]);
        let header = prop::sample::select(vec![
            "Host: go.example",
            "host:go.example:8080",
            "HOST: [::1]",
            "Host: b c",
            "Connection: close",
            "connection: Keep-Alive",
            "Connection:",
            "Connection: close, x",
            "User-Agent: a",
            "Accept: */*",
            "X: \u{e4}",
            "Content-Length: 0",
            "Content-Length: 3",
            "Expect: 100-continue",
            "Transfer-Encoding: identity",
            "Transfer-Encoding: chunked",
            "Upgrade: websocket",
            "Upgrade-Insecure-Requests: 1",
            "TE: trailers",
            "X : y",
            "A:\u{1}",
            ": empty",
        ]);
        let end = prop::sample::select(vec!["\r\n", "\r\n", "\r\n", "\n", "\r"]);
        (line, prop::collection::vec((header, end.clone()), 0..6), end).prop_map(|(line, headers, end)| {
            let headers: String = headers.iter().map(|(header, end)| format!("{header}{end}")).collect();
            format!("{line}{end}{headers}\r\n")
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]
        #[test]
        fn a_head_that_is_known_is_read_as_actix_http_reads_it(head in heads(), more in "[ -~]{0,20}") {
            let bytes = format!("{head}{more}").into_bytes();
            if let Ok(read) = fast(&bytes) {
                prop_assert_eq!(Ok(read), actix(&bytes));
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_panic_and_a_known_head_is_not_longer(begin in prop::sample::select(vec!["GET /", "HEAD /", ""]), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let bytes = [begin.as_bytes(), &bytes].concat();
            if let Ok((length, ..)) = fast(&bytes) {
                prop_assert!(length <= bytes.len());
            }
        }
    }
}
