//! The bytes of an answer that the `App` made, for connections that actix-http does not see.

use actix_http::Response;
use actix_http::body::{BodySize, BoxBody, MessageBody};
use actix_http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use actix_web::http::StatusCode;

/// The body of an answer is not in memory, so its length is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body of the answer is not in memory")]
pub(super) struct NotInMemory;

/// Adds the bytes of an answer whose body is in memory, in HTTP/1.1 (RFC 9112).
///
/// # Errors
/// If it is not; then nothing was added.
pub(super) fn encode(
    answer: Response<BoxBody>,
    head_only: bool,
    closes: bool,
    to: &mut Vec<u8>,
) -> Result<(), NotInMemory> {
    let (head, body) = answer.into_parts();
    let size = body.size();
    let body = body.try_into_bytes().map_err(|_| NotInMemory)?;
    let status = head.status();
    to.extend_from_slice(b"HTTP/1.1 ");
    to.extend_from_slice(status.as_str().as_bytes());
    to.push(b' ');
    to.extend_from_slice(head.head().reason().as_bytes());
    to.extend_from_slice(b"\r\n");
    let has_length = !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if has_length {
        // The answer to `HEAD` names the length that a body would have.
        let length = match size {
            BodySize::Sized(length) => length,
            BodySize::None | BodySize::Stream => body.len() as u64,
        };
        to.extend_from_slice(format!("content-length: {length}\r\n").as_bytes());
    }
    if closes {
        to.extend_from_slice(b"connection: close\r\n");
    }
    for (name, value) in head.headers() {
        if [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name) {
            continue;
        }
        to.extend_from_slice(name.as_str().as_bytes());
        to.extend_from_slice(b": ");
        to.extend_from_slice(value.as_bytes());
        to.extend_from_slice(b"\r\n");
    }
    to.extend_from_slice(b"\r\n");
    if has_length && !head_only {
        to.extend_from_slice(&body);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use actix_http::body::BodyStream;
    use bytes::Bytes;
    use futures_util::stream;

    use super::*;

    fn text(answer: Response<BoxBody>, head_only: bool, closes: bool) -> String {
        let mut bytes = Vec::new();
        encode(answer, head_only, closes, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    fn not_found() -> Response<BoxBody> {
        let mut answer = Response::build(StatusCode::NOT_FOUND);
        answer.insert_header(("content-type", "text/plain")).insert_header((CONNECTION, "upgrade"));
        answer.body("gone").map_into_boxed_body()
    }

    #[test]
    fn an_answer_has_its_length_and_no_header_of_another_hop() {
        let whole = "HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\ncontent-type: text/plain\r\n\r\ngone";
        assert_eq!(text(not_found(), false, false), whole);
        assert_eq!(text(not_found(), true, false), whole.strip_suffix("gone").unwrap());
        let closing = text(not_found(), false, true);
        assert!(closing.contains("\r\nconnection: close\r\n"), "{closing}");
    }

    #[test]
    fn an_answer_without_content_has_no_length() {
        let answer = Response::with_body(StatusCode::NOT_MODIFIED, BoxBody::new(()));
        assert_eq!(text(answer, false, false), "HTTP/1.1 304 Not Modified\r\n\r\n");
        let empty = Response::with_body(StatusCode::FOUND, BoxBody::new(()));
        assert_eq!(text(empty, false, false), "HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n");
    }

    #[test]
    fn a_stream_is_refused_and_nothing_of_it_is_written() {
        let body = BoxBody::new(BodyStream::new(stream::iter([std::io::Result::Ok(Bytes::from_static(b"a"))])));
        let mut bytes = Vec::new();
        let encoded = encode(Response::with_body(StatusCode::OK, body), false, false, &mut bytes);
        assert_eq!((encoded, bytes.len()), (Err(NotInMemory), 0));
    }
}
