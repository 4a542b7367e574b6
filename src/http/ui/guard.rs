//! Who may see the dashboard, and who may change something in it.
//!
//! Only a session counts: neither a key in a header nor the account of a process on this machine.

use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::Method;
use actix_web::http::header::{ACCEPT, HeaderValue, SET_COOKIE};
use actix_web::middleware::Next;
use actix_web::{Error, FromRequest, HttpMessage, HttpRequest, HttpResponse, web};
use futures_util::future::LocalBoxFuture;

use super::context::wants_part;
use super::reply::go_to;
use super::{cookies, intent};
use crate::app::{LiveSession, Principal};
use crate::http::dashboard::Listener;
use crate::http::evidence::Sender;
use crate::http::problem::Problem;
use crate::http::state::NodeState;

/// Somebody who has signed in. The first argument of every handler of the dashboard that only reads, but for signing in and for files.
pub(super) struct SignedIn {
    pub(super) principal: Principal,
    pub(super) session: LiveSession,
}

impl FromRequest for SignedIn {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let node = node_of(&request)?;
            let tokens = cookies::tokens(&request);
            let Some(session) = node.app.live_session(&tokens, &Sender(&request)).await else {
                return Err(to_sign_in(&request, &node));
            };
            if let Some(token) = node.app.refresh_session(&session).await {
                let left = Duration::from_millis(session.ends_at.0.saturating_sub(node.app.now().0));
                let cookie = cookies::keep(node.dashboard().path(), &token, session.secure, left);
                request.extensions_mut().insert(NewCookie(cookie));
            }
            let principal = session.principal.clone();
            let principal = match request.app_data::<Listener>() {
                Some(Listener::Admin) => principal,
                Some(Listener::Public) | None => principal.on_public_page(),
            };
            Ok(Self { principal, session })
        })
    }
}

/// Somebody who has signed in, and sends a form of the dashboard ([`around`] has checked that). The first argument of every handler that changes something.
pub(super) struct Change {
    pub(super) principal: Principal,
    pub(super) session: LiveSession,
}

impl FromRequest for Change {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let signed_in = SignedIn::from_request(request, payload);
        Box::pin(async move {
            let SignedIn { principal, session } = signed_in.await?;
            Ok(Self { principal, session })
        })
    }
}

/// The session of a request, as far as this node knows it now: for pages that can be seen without one.
pub(super) fn known_session(request: &HttpRequest, node: &NodeState) -> Option<LiveSession> {
    node.app.known_session(&cookies::tokens(request), &Sender(request))
}

fn node_of(request: &HttpRequest) -> Result<web::Data<NodeState>, Problem> {
    request.app_data::<web::Data<NodeState>>().cloned().ok_or_else(|| Problem::not_ready("the server is starting"))
}

/// The cookie that the answer to a request is to have.
struct NewCookie(HeaderValue);

/// Makes a request's answer leave the cookie of its session as it is: its handler sets it.
pub(super) fn keep_cookie(request: &HttpRequest) {
    request.extensions_mut().remove::<NewCookie>();
}

/// Leads a browser that is not signed in to the page where it can, and from there back.
fn to_sign_in(request: &HttpRequest, node: &NodeState) -> Error {
    let page = format!("{}/sign-in", node.dashboard().path());
    let response = if wants_part(request) || wants_events(request) {
        // A redirect would put the whole page into the part that was asked for: this has the browser load its page anew (`failure.rs`). A stream ends.
        HttpResponse::Unauthorized().finish()
    } else if matches!(*request.method(), Method::GET | Method::HEAD) {
        let back = request.uri().path_and_query().map(|path| path.as_str()).unwrap_or_default();
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("next", back).finish();
        go_to(&format!("{page}?{query}"))
    } else {
        go_to(&page)
    };
    InternalError::from_response("nobody is signed in", response).into()
}

/// Whether the request is for a stream of events, by a script.
fn wants_events(request: &HttpRequest) -> bool {
    request.headers().get(ACCEPT).is_some_and(|accept| accept.as_bytes() == b"text/event-stream")
}

/// Surrounds all pages: refuses changes that no page of the dashboard has asked for, and gives sessions their new tokens.
pub(super) async fn around(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let checked = node_of(request.request()).and_then(|node| intent::check(request.request(), &node));
        if let Err(problem) = checked {
            return Ok(request.error_response(problem));
        }
    }
    let mut response = next.call(request).await?.map_into_boxed_body();
    let cookie = response.request().extensions_mut().remove::<NewCookie>();
    if let Some(NewCookie(cookie)) = cookie {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    Ok(response)
}
