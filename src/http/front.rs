//! The service in front of the actix-web `App`: answers a plain `GET /{code}` of a link that is cached, or in a replica of this
//! node, and passes on everything else.
//!
//! Most redirects do not come here: the fast path (`fast.rs`) answers them before actix-http sees them. It hands a connection on
//! for ever when a request comes that it does not know; redirects on such a connection are answered here, from the same look-up.

use std::task::{Context, Poll};
use std::time::Instant;

use actix_http::body::BoxBody;
use actix_http::{Method, Request, Response, StatusCode};
use actix_service::Service;
use actix_web::web;
use futures_util::future::{Either, Ready, ready};
use waypost_protocol::properties::RedirectStatus;

use super::hit::{Found, Hit, Visit};
use super::redirect::found;
use super::state::WorkerState;
use super::wire::Tracked;

/// The front service of one worker.
pub(super) struct Front<S> {
    pub(super) worker: web::Data<WorkerState>,
    pub(super) app: Tracked<S>,
}

impl<S> Front<S> {
    /// The answer, if the request can be answered here.
    fn redirect(&self, request: &Request) -> Option<Response<BoxBody>> {
        if request.method() != Method::GET {
            return None;
        }
        let started = Instant::now();
        // A path with a second segment or an escape is not a code in the cache, so it goes on to the `App`.
        let code = request.path().strip_prefix('/')?;
        let (query, headers, peer) = (request.uri().query(), &request.head().headers, request.peer_addr());
        let visit = Visit { code, expected: None, query, headers, peer };
        let Found::Hit(Hit { link, status, .. }) = visit.answer(&self.worker, started) else { return None };
        let mut response = found(link.location());
        if status != RedirectStatus::Found {
            *response.status_mut() = StatusCode::from_u16(status.into()).unwrap_or(StatusCode::FOUND);
        }
        Some(response)
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
