//! Forms that arrive when nobody is signed in any more: what was typed is not lost.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse, web};

use super::context::wants_part;
use super::{cookies, sign_in};
use crate::http::evidence::Sender;
use crate::http::state::NodeState;
use crate::limits::FORM_BYTES_MAX;
use crate::ui::{Draft, Form};

/// Surrounds all pages, within [`super::guard::around`]: answers a form without a session before its handler does.
pub(super) async fn around(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    if *request.method() == Method::POST
        && let Some(response) = keep(&mut request).await
    {
        return Ok(request.into_response(response));
    }
    Ok(next.call(request).await?.map_into_boxed_body())
}

/// What is posted by people who have not signed in.
fn needs_no_session(path: &str) -> bool {
    path == "/preferences" || path == "/sign-in" || path.starts_with("/sign-in/")
}

/// Answers a form that arrives after its session has ended: the page for signing in, which carries the form. `None` if the session lives, or the form has
/// nothing to keep.
///
/// A form that a script has sent is left to its handler: after the refusal the script sends it again as a browser does (`app.js`).
async fn keep(request: &mut ServiceRequest) -> Option<HttpResponse> {
    let node = request.app_data::<web::Data<NodeState>>()?.clone();
    let path = request.path().strip_prefix(node.dashboard().path())?;
    if needs_no_session(path) || wants_part(request.request()) {
        return None;
    }
    let tokens = cookies::tokens(request.request());
    if node.app.live_session(&tokens, &Sender(request.request())).await.is_some() {
        return None;
    }
    let action = request.uri().path_and_query()?.to_string();
    let body = request.extract::<web::Bytes>().await.ok()?;
    let draft = Draft::of(action, &Form::read(&body), body.len(), node.body_max_bytes.max(FORM_BYTES_MAX))?;
    sign_in::instead_of(request.request(), &node, draft).ok()
}
