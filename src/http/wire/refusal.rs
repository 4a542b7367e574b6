//! The answers of actix-http to requests that never reach the `App`: a malformed head, or a head that is too long. They have no body;
//! here they become problem documents like every other refusal.

use actix_web::http::StatusCode;
use bytes::Bytes;

use crate::http::problem::Problem;

/// The answers without a body, as their status lines show.
const BARE: &[(&str, StatusCode)] = &[
    (" 400 Bad Request\r\ncontent-length: 0\r\n", StatusCode::BAD_REQUEST),
    (" 408 Request Timeout\r\ncontent-length: 0\r\n", StatusCode::REQUEST_TIMEOUT),
    (" 431 Request Header Fields Too Large\r\ncontent-length: 0\r\n", StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
    (" 500 Internal Server Error\r\ncontent-length: 0\r\n", StatusCode::INTERNAL_SERVER_ERROR),
];

const VERSION: &str = "HTTP/1.1";

/// The bytes to send in place of those that actix-http has written, and the status, if they end with such a refusal. `several`:
/// other answers may precede it.
pub(super) fn replaced(written: &[u8], several: bool) -> Option<(Bytes, StatusCode)> {
    let (before, status) = match bare(written) {
        Some(status) => (0, status),
        None if several => {
            let at = memchr::memmem::rfind(written, b"HTTP/1.")?;
            (at, bare(&written[at..])?)
        }
        None => return None,
    };
    let mut bytes = written[..before].to_vec();
    bytes.extend_from_slice(&whole(&problem(status)));
    Some((bytes.into(), status))
}

/// The status of an answer without a body that actix-http made by itself.
fn bare(answer: &[u8]) -> Option<StatusCode> {
    // The cheap check first: nearly every answer begins with another status.
    if !matches!(answer.get(9), Some(b'4' | b'5')) || !answer.starts_with(b"HTTP/1.") {
        return None;
    }
    let lines = answer.get(VERSION.len()..)?;
    BARE.iter().find(|(begin, _)| lines.starts_with(begin.as_bytes())).map(|(_, status)| *status)
}

fn problem(status: StatusCode) -> Problem {
    match status {
        StatusCode::REQUEST_TIMEOUT => Problem::head_timeout(),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Problem::head_too_large(),
        StatusCode::INTERNAL_SERVER_ERROR => Problem::internal("the request could not be read to its end"),
        _ => Problem::malformed(
            "the head of the request is not valid HTTP/1.1: it needs a method, a path without spaces and control characters, \
             one Host header, and at most one Content-Length or \"Transfer-Encoding: chunked\"",
        ),
    }
}

/// A problem document as the last answer of a connection.
pub(super) fn whole(problem: &Problem) -> Bytes {
    let (status, body) = (problem.status(), problem.document());
    let retry = problem.retry_after().map(|seconds| format!("retry-after: {seconds}\r\n")).unwrap_or_default();
    let head = format!(
        "{VERSION} {} {}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\ncache-control: no-store\r\n\
         {retry}connection: close\r\n\r\n",
        status.as_u16(),
        status.canonical_reason().unwrap_or_default(),
        body.len(),
    );
    [head.into_bytes(), body].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE_400: &[u8] =
        b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\ndate: Wed, 25 Nov 2026 21:00:00 GMT\r\n\r\n";

    #[test]
    fn a_bare_refusal_becomes_a_problem_document_with_its_length() {
        let (bytes, status) = replaced(BARE_400, false).unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\n"), "{head}");
        assert!(
            head.contains(&format!("content-length: {}\r\n", body.len())) && head.ends_with("connection: close"),
            "{head}"
        );
        assert!(body.contains("urn:waypost:problem:malformed-request"), "{body}");
    }

    #[test]
    fn answers_that_stand_before_it_stay() {
        let first: &[u8] = b"HTTP/1.1 302 Found\r\ncontent-length: 0\r\nlocation: https://example.com/\r\n\r\n";
        let both = [first, BARE_400].concat();
        assert!(replaced(&both, false).is_none(), "one request has one answer");
        let (bytes, _) = replaced(&both, true).unwrap();
        assert!(
            bytes.starts_with(first) && bytes[first.len()..].starts_with(b"HTTP/1.1 400 Bad Request\r\ncontent-type")
        );
    }

    #[test]
    fn what_the_app_answers_is_left_alone() {
        for answer in [
            "HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 17\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 4",
            "",
        ] {
            assert!(replaced(answer.as_bytes(), true).is_none(), "{answer}");
        }
    }
}
