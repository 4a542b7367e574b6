//! The fast path: redirects that are answered before actix-http sees them (docs/adr/0025).
//!
//! It knows the requests of `plain_request.rs`. A cached plain link is answered at once; for everything else that may be a code, the `App` is asked
//! for an answer, which is sent here. All other requests are left to actix-http with their connection: what this path does not know, it
//! does not judge.

use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use actix_http::body::{BodySize, BoxBody, MessageBody as _, to_bytes_limited};
use actix_http::header::{DATE, HeaderName, HeaderValue};
use actix_http::{Method, Request, Response, Uri, Version};
use actix_service::Service;
use futures_util::future::LocalBoxFuture;
use waypost_protocol::UnixMs;
use waypost_protocol::properties::RedirectStatus;
use waypost_protocol::typed::code_of_segment;

use super::front::Front;
use super::headers::Parsed;
use super::hit::{Hit, Visit};
use super::plain_request::{HEADERS_MAX, Head, PlainRequest, read};
use super::wire::{FastPath, Step, Taken};

/// The largest answer of the `App` that is sent here: pages for visitors have some kilobytes.
const BODY_BYTES_MAX: usize = 1 << 20;

/// The fast path of one worker.
pub(super) struct FastRedirects<S> {
    front: Rc<Front<S>>,
    date: Rc<RefCell<Date>>,
}

/// The value of `Date`, for the second in which it was made.
struct Date {
    second: u64,
    text: [u8; DATE_BYTES],
}

/// The length of a date in the form of RFC 9110: `Thu, 26 Nov 2026 12:00:00 GMT`.
const DATE_BYTES: usize = 29;

impl Date {
    fn at(&mut self, now: UnixMs) -> &[u8; DATE_BYTES] {
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

impl<S> FastRedirects<S> {
    pub(super) fn new(front: Rc<Front<S>>) -> Self {
        let mut date = Date { second: u64::MAX, text: [b' '; DATE_BYTES] };
        date.at(UnixMs(0));
        Self { front, date: Rc::new(RefCell::new(date)) }
    }

    /// Adds the redirect to a cached link.
    fn redirect(&self, hit: &Hit, closes: bool, to: &mut Vec<u8>) {
        to.extend_from_slice(status_line(hit.status));
        to.extend_from_slice(b"content-length: 0\r\ncache-control: private, no-store\r\n");
        if closes {
            to.extend_from_slice(b"connection: close\r\n");
        }
        to.extend_from_slice(b"date: ");
        to.extend_from_slice(self.date.borrow_mut().at(hit.now));
        to.extend_from_slice(b"\r\nlocation: ");
        // A target is visible ASCII, so it ends no line.
        to.extend_from_slice(hit.link.target());
        to.extend_from_slice(b"\r\n\r\n");
    }
}

fn status_line(status: RedirectStatus) -> &'static [u8] {
    match status {
        RedirectStatus::MovedPermanently => b"HTTP/1.1 301 Moved Permanently\r\n",
        RedirectStatus::Found => b"HTTP/1.1 302 Found\r\n",
        RedirectStatus::TemporaryRedirect => b"HTTP/1.1 307 Temporary Redirect\r\n",
        RedirectStatus::PermanentRedirect => b"HTTP/1.1 308 Permanent Redirect\r\n",
    }
}

/// The request for the `App`; `None` if actix-http has to judge it.
fn request(known: &PlainRequest<'_>, headers: &Parsed<'_>, peer: Option<SocketAddr>) -> Option<Request> {
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

impl<S> FastPath for FastRedirects<S>
where
    S: Service<Request, Error = actix_web::Error> + 'static,
    S::Response: Into<Response<BoxBody>>,
    S::Future: 'static,
{
    type Answer = LocalBoxFuture<'static, Option<Response<BoxBody>>>;

    fn step(&self, bytes: &[u8], peer: Option<SocketAddr>, answers: &mut Vec<u8>) -> Step<Self::Answer> {
        let started = Instant::now();
        let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        let (head, headers) = read(bytes, &mut headers);
        let known = match head {
            Head::Plain(known) => known,
            Head::Partial => return Step::Partial,
            Head::Unknown => return Step::Unknown,
        };
        let PlainRequest { length, code, query, closes, .. } = known;
        let worker = &*self.front.worker;
        let head_only = known.method == Method::HEAD;
        let taken = Taken { length, closes, head_only };
        let visit = Visit { code, query, headers: &headers, peer };
        if !head_only && let Some(hit) = visit.answer(worker, started) {
            self.redirect(&hit, closes, answers);
            return Step::Answered(taken);
        }
        // The other routes of one segment need more of the connection than its bytes.
        let is_code = code_of_segment(code.trim_end_matches('+')).is_some_and(|code| !code.is_reserved());
        if worker.node.draining() || !worker.redirects || !is_code {
            return Step::Unknown;
        }
        let Some(request) = request(&known, &headers, peer) else { return Step::Unknown };
        let (front, date) = (self.front.clone(), self.date.clone());
        let whole = async move {
            // Not before what stands before it is written: a request counts as open from this call on.
            let answer = front.app.call(request).await;
            let mut answer = in_memory(answer.unwrap_or_else(Into::into)).await?;
            if !answer.headers().contains_key(DATE) {
                let date = HeaderValue::from_bytes(date.borrow_mut().at((front.worker.node.clock)())).ok()?;
                answer.headers_mut().insert(DATE, date);
            }
            Some(answer)
        };
        Step::Ask(taken, Box::pin(whole))
    }
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
