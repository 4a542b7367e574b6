//! What the fast path asks the `App` for, and the date of its answers.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::{Duration, UNIX_EPOCH};

use actix_http::body::{BodySize, BoxBody, MessageBody as _, to_bytes_limited};
use actix_http::header::{DATE, HeaderName, HeaderValue};
use actix_http::{Request, Response, Uri, Version};
use actix_service::Service;
use waypost_head::{Parsed, PlainRequest};
use waypost_protocol::UnixMs;

use super::front::Front;

/// The largest answer of the `App` that is sent here: pages for visitors have some kilobytes.
const BODY_BYTES_MAX: usize = 1 << 20;

/// The value of `Date`, for the second in which it was made.
pub(super) struct Date {
    second: u64,
    text: [u8; DATE_BYTES],
}

/// The length of a date in the form of RFC 9110: `Thu, 26 Nov 2026 12:00:00 GMT`.
const DATE_BYTES: usize = 29;

impl Default for Date {
    fn default() -> Self {
        let mut date = Self { second: u64::MAX, text: [b' '; DATE_BYTES] };
        date.at(UnixMs(0));
        date
    }
}

impl Date {
    pub(super) fn at(&mut self, now: UnixMs) -> &[u8; DATE_BYTES] {
        let second = now.0 / 1000;
        if second != self.second {
            let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second.min(LAST_SECOND)));
            if let Ok(text) = text.as_bytes().try_into() {
                *self = Self { second, text };
            }
        }
        &self.text
    }
}

/// The last second of the year 9999: later years do not fit the form.
const LAST_SECOND: u64 = 253_402_300_799;

/// The request for the `App`; `None` if actix-http has to judge it.
pub(super) fn request(known: &PlainRequest<'_>, headers: &Parsed<'_>, peer: Option<SocketAddr>) -> Option<Request> {
    let mut request = Request::new();
    let head = request.head_mut();
    head.method = known.method.clone();
    head.uri = Uri::try_from(known.target).ok()?;
    head.version = Version::HTTP_11;
    head.peer_addr = peer;
    for (name, value) in headers.iter() {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        head.headers.append(name, HeaderValue::from_bytes(value).ok()?);
    }
    Some(request)
}

/// What the `App` answers.
pub(super) async fn ask<S>(front: &Front<S>, date: &RefCell<Date>, request: Request) -> Option<Response<BoxBody>>
where
    S: Service<Request, Error = actix_web::Error> + 'static,
    S::Response: Into<Response<BoxBody>>,
    S::Future: 'static,
{
    let answer = front.app.call(request).await;
    let answer = in_memory(answer.unwrap_or_else(Into::into)).await?;
    dated(answer, date, (front.worker.node.clock)())
}

/// The answer with a date.
pub(super) fn dated(mut answer: Response<BoxBody>, date: &RefCell<Date>, now: UnixMs) -> Option<Response<BoxBody>> {
    if !answer.headers().contains_key(DATE) {
        let date = HeaderValue::from_bytes(date.borrow_mut().at(now)).ok()?;
        answer.headers_mut().insert(DATE, date);
    }
    Some(answer)
}

/// An answer with its whole body; `None` if it is too large or ends early.
async fn in_memory(answer: Response<BoxBody>) -> Option<Response<BoxBody>> {
    if answer.body().size() != BodySize::Stream {
        return Some(answer);
    }
    let (head, body) = answer.into_parts();
    let body = to_bytes_limited(body, BODY_BYTES_MAX).await.ok()?.ok()?;
    Some(head.set_body(BoxBody::new(body)))
}
