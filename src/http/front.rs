//! The service in front of the actix-web `App`: answers a plain `GET /{code}` of a cached link, and passes on everything else.
//!
//! This is the most important path. It crosses no thread, waits for no mailbox and copies no URL: one look-up,
//! one header value shared with the cache, one record in the worker's own click journal.

use std::task::{Context, Poll};
use std::time::Instant;

use actix_http::body::BoxBody;
use actix_http::header::HeaderValue;
use actix_http::{Method, Request, Response, StatusCode};
use actix_service::Service;
use actix_web::web;
use futures_util::future::{Either, Ready, ready};
use waypost_protocol::code::SLUG_BYTES_MAX;
use waypost_protocol::properties::RedirectStatus;
use waypost_protocol::{Domain, KeyHash, Site, UnixMs};
use waypost_redirector::Lookup;

use super::redirect::found;
use super::state::WorkerState;
use super::visitor::visitor;
use super::wire::Tracked;

/// The front service of one connection.
pub(super) struct Front<S> {
    pub(super) worker: web::Data<WorkerState>,
    pub(super) app: Tracked<S>,
}

impl<S> Front<S> {
    /// The answer, if the request can be answered here.
    fn redirect(&self, request: &Request) -> Option<Response<BoxBody>> {
        // While the node stops, the `App` answers, and closes the connection.
        if request.method() != Method::GET || self.worker.node.draining() || !self.worker.redirects {
            return None;
        }
        // A path with a second segment or an escape is not a code in the cache, so it goes on to the `App`.
        let code = request.path().strip_prefix('/')?;
        let started = Instant::now();
        let worker = &*self.worker;
        let now = (worker.node.clock)();
        let domains = worker.node.groups.domains();
        let (location, link, status) = match domains.is_plain() {
            true => match worker.node.view.lookup(Domain::default(), code, now, started) {
                Lookup::Redirect(location, link) => (location, link, RedirectStatus::Found),
                _ => return None,
            },
            false => {
                let domains = domains.load();
                let site = worker.node.address.site(&domains, &request.head().headers, request.peer_addr())?;
                self.look_up_on(site, code, now, started)?
            }
        };
        if worker.recorder.is_on()
            && let Some(visitor) =
                visitor(&worker.visitors, &request.head().headers, request.peer_addr(), request.uri().query())
        {
            worker.recorder.visit(link, now, &visitor);
        }
        worker.metrics.front(started);
        worker.access_log.note("GET", request.path(), status.into(), request.peer_addr());
        let mut response = found(location);
        if status != RedirectStatus::Found {
            *response.status_mut() = StatusCode::from_u16(status.into()).unwrap_or(StatusCode::FOUND);
        }
        Some(response)
    }

    /// A cached link of a domain, and the status of its redirect.
    fn look_up_on(
        &self,
        site: &Site,
        code: &str,
        now: UnixMs,
        at: Instant,
    ) -> Option<(HeaderValue, KeyHash, RedirectStatus)> {
        let mut buffer = [0; SLUG_BYTES_MAX];
        let code = match site.case_insensitive {
            false => code,
            true => {
                let folded = buffer.get_mut(..code.len())?;
                folded.copy_from_slice(code.as_bytes());
                folded.make_ascii_lowercase();
                std::str::from_utf8(folded).ok()?
            }
        };
        match self.worker.node.view.lookup(site.domain, code, now, at) {
            Lookup::Redirect(location, link) => Some((location, link, site.default_status)),
            _ => None,
        }
    }
}

impl<S> Service<Request> for Front<S>
where
    S: Service<Request, Error = actix_web::Error> + 'static,
    S::Response: Into<Response<BoxBody>>,
    S::Future: 'static,
{
    type Response = Response<BoxBody>;
    type Error = actix_web::Error;
    type Future = Either<Ready<Result<Self::Response, Self::Error>>, <Tracked<S> as Service<Request>>::Future>;

    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.app.poll_ready(cx)
    }

    fn call(&self, request: Request) -> Self::Future {
        match self.redirect(&request) {
            Some(response) => Either::Left(ready(Ok(response))),
            None => Either::Right(self.app.call(request)),
        }
    }
}
