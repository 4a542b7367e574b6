//! A redirect of the fast path to a link that is neither in the cache nor in a replica of this node: the Redirector is asked from here, so that a plain
//! redirect needs neither a request of actix-http nor a second look-up. The `App` answers everything else, and gets the answer of the Redirector with the request.

use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use actix_http::body::BoxBody;
use actix_http::header::HeaderValue;
use actix_http::{ConnectionType, HttpMessage as _, Request, Response, StatusCode};
use actix_service::Service;
use waypost_head::{HEADERS_MAX, Head, Headers, Parsed, PlainRequest, read};
use waypost_protocol::messages::{Resolution, Resolve};
use waypost_protocol::properties::RedirectStatus;
use waypost_protocol::{CallError, Target, UnixMs};
use waypost_redirector::Behavior;
use waypost_runtime::Origin;

use super::fast_app::{Date, ask, dated, request};
use super::front::Front;
use super::hit::{Missing, Visit};
use super::redirect::{Resolved, found};
use super::request_id;
use super::state::WorkerState;

/// The pattern of the route that answers redirects, by which they are counted.
const ROUTE: &str = "/{code}";

/// A visit of a link that the Redirector is asked for.
pub(super) struct Miss {
    missing: Missing,
    /// The head of the request: the buffer of the worker is for others meanwhile.
    head: Box<[u8]>,
    peer: Option<SocketAddr>,
    origin: Origin,
    started: Instant,
}

impl Miss {
    pub(super) fn new<H: Headers>(missing: Missing, visit: &Visit<'_, H>, head: &[u8], started: Instant) -> Self {
        Self { missing, head: head.into(), peer: visit.peer, origin: request_id::origin(visit.headers), started }
    }

    /// Asks the Redirector, and answers.
    pub(super) async fn answer<S>(self, front: Rc<Front<S>>, date: Rc<RefCell<Date>>) -> Option<Response<BoxBody>>
    where
        S: Service<Request, Error = actix_web::Error> + 'static,
        S::Response: Into<Response<BoxBody>>,
        S::Future: 'static,
    {
        let worker = &*front.worker;
        let open = worker.node.lifecycle.begin_request();
        // Since the look-up the node may have begun to stop.
        if worker.node.closed() {
            return ask(&front, &date, self.request(None)?).await;
        }
        worker.metrics.miss();
        let resolve = Resolve { key: self.missing.key.clone() };
        let asked = worker.redirector.call(resolve, worker.node.timeout);
        let answer = self.origin.clone().scope(asked).await;
        match plain(&answer, &self.missing) {
            Some((target, status)) => {
                let mut answer = self.redirect(worker, target, status)?;
                if open.closes_connection() {
                    answer.head_mut().set_connection_type(ConnectionType::Close);
                }
                dated(answer, &date, self.missing.now)
            }
            None => ask(&front, &date, self.request(Some(answer))?).await,
        }
    }

    /// The redirect, which is a visit.
    fn redirect(&self, worker: &WorkerState, target: &Target, status: RedirectStatus) -> Option<Response<BoxBody>> {
        let mut answer = found(HeaderValue::from_str(target.as_str()).ok()?);
        *answer.status_mut() = StatusCode::from_u16(status.into()).ok()?;
        let Missing { key, now, .. } = &self.missing;
        self.parsed(|known, headers| {
            let visit = Visit { code: known.code, expected: None, query: known.query, headers, peer: self.peer };
            visit.count(worker, key.hash(), *now);
            worker.access_log.note_code("GET", known.code, status.into(), self.peer);
            Some(())
        })?;
        worker.metrics.request(Some(ROUTE), answer.status(), self.started);
        Some(answer)
    }

    /// The request for the `App`, with the answer of the Redirector.
    fn request(&self, answer: Option<Result<Resolution, CallError>>) -> Option<Request> {
        let request = self.parsed(|known, headers| request(known, headers, self.peer))?;
        if let Some(answer) = answer {
            request.extensions_mut().insert(Resolved { key: self.missing.key.clone(), answer });
        }
        Some(request)
    }

    fn parsed<T>(&self, with: impl FnOnce(&PlainRequest<'_>, &Parsed<'_>) -> Option<T>) -> Option<T> {
        let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        match read(&self.head, &mut headers) {
            (Head::Plain(known), headers) => with(&known, &headers),
            _ => None,
        }
    }
}

/// Where a link leads that was found and does nothing else.
fn plain<'a>(answer: &'a Result<Resolution, CallError>, missing: &Missing) -> Option<(&'a Target, RedirectStatus)> {
    let Ok(Resolution::Found { target, valid_until, fields }) = answer else { return None };
    let ends = |until: &UnixMs| *until <= missing.now;
    let status = Behavior::plain_status(fields, missing.default_status)?;
    (!valid_until.as_ref().is_some_and(ends)).then_some((target, status))
}
