//! The fast path: redirects that are answered before actix-http sees them (docs/adr/0025).
//!
//! It knows the requests of `crates/head/src/plain_request.rs`. A plain link that is cached, or that a replica of this node has, is answered at once. For
//! another one it asks the Redirector (`fast_miss.rs`), and for everything else that may be a code the `App` (`fast_app.rs`). All other requests are left to actix-http with their
//! connection: what this path does not know, it does not judge.

use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use actix_http::body::BoxBody;
use actix_http::{Method, Request, Response};
use actix_service::Service;
use futures_util::future::LocalBoxFuture;
use waypost_head::{HEADERS_MAX, Head, PlainRequest, code_ahead, read};
use waypost_protocol::properties::RedirectStatus;
use waypost_protocol::typed::code_of_segment;

use super::fast_app::{Date, ask, request};
use super::fast_miss::Miss;
use super::front::Front;
use super::hit::{Found, Hit, Visit, expect};
use super::wire::{FastPath, Step, Taken};

/// The fast path of one worker.
pub(super) struct FastRedirects<S> {
    front: Rc<Front<S>>,
    date: Rc<RefCell<Date>>,
}

impl<S> FastRedirects<S> {
    pub(super) fn new(front: Rc<Front<S>>) -> Self {
        Self { front, date: Rc::default() }
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

impl<S> FastPath for FastRedirects<S>
where
    S: Service<Request, Error = actix_web::Error> + 'static,
    S::Response: Into<Response<BoxBody>>,
    S::Future: 'static,
{
    type Answer = LocalBoxFuture<'static, Option<Response<BoxBody>>>;

    fn step(&self, bytes: &[u8], peer: Option<SocketAddr>, answers: &mut Vec<u8>) -> Step<Self::Answer> {
        // Before anything else: memory takes as long to answer as a head to be read.
        let expected = code_ahead(bytes).and_then(|code| expect(&self.front.worker, code));
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
        let taken = Taken { length, closes, head_only, was_read: false };
        let visit = Visit { code, expected, query, headers: &headers, peer };
        if !head_only {
            match visit.answer(worker, started) {
                Found::Hit(hit) => {
                    self.redirect(&hit, closes, answers);
                    return Step::Answered(Taken { was_read: hit.was_read, ..taken });
                }
                Found::Missing(missing) if visit.may_be_asked_for(worker, started) => {
                    let miss = Miss::new(missing, &visit, &bytes[..length], started);
                    return Step::Ask(taken, Box::pin(miss.answer(self.front.clone(), self.date.clone())));
                }
                Found::Missing(_) | Found::Other => {}
            }
        }
        // The other routes of one segment need more of the connection than its bytes.
        let is_code = code_of_segment(code.trim_end_matches('+')).is_some_and(|code| !code.is_reserved());
        if worker.node.draining() || !worker.redirects || !is_code {
            return Step::Unknown;
        }
        let Some(request) = request(&known, &headers, peer) else { return Step::Unknown };
        // Not before what stands before it is written: a request counts as open from this call on.
        let (front, date) = (self.front.clone(), self.date.clone());
        Step::Ask(taken, Box::pin(async move { ask(&front, &date, request).await }))
    }
}
