//! Refusals as pages: whatever a handler of the dashboard is refused with becomes one.

use actix_web::dev::ServiceResponse;
use actix_web::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::context::{context, wants_part};
use super::reply;
use crate::http::problem::Problem;
use crate::http::state::NodeState;
use crate::ui::{Failure, FailureView, Section};

/// What went wrong, percent-encoded: a script shows it where only a part of a page was asked for.
const PROBLEM: HeaderName = HeaderName::from_static("waypost-problem");
/// Has htmx load the whole page anew.
const REFRESH: HeaderName = HeaderName::from_static("hx-refresh");

/// Makes a page of an answer that is a refusal and no page.
pub(super) fn shown(response: ServiceResponse) -> ServiceResponse {
    let status = response.status();
    let kind = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    if !(status.is_client_error() || status.is_server_error()) || kind.starts_with(b"text/html") {
        return response;
    }
    let retry = response.headers().get(RETRY_AFTER).cloned();
    let error = response.response().error();
    let problem = error.and_then(|error| error.as_error::<Problem>());
    let failure = failure_of(status, problem);
    let detail = match problem {
        Some(problem) => problem.detail().to_owned(),
        None => error.map(ToString::to_string).unwrap_or_default(),
    };
    let Some(mut page) = page(response.request(), status, failure, detail) else { return response };
    if let Some(retry) = retry {
        page.headers_mut().insert(RETRY_AFTER, retry);
    }
    response.into_response(page)
}

/// The page of a failure; `None` while the server starts.
fn page(request: &HttpRequest, status: StatusCode, failure: Failure, detail: String) -> Option<HttpResponse> {
    let node = request.app_data::<web::Data<NodeState>>()?;
    let section = if failure == Failure::SignedOut { Section::None } else { Section::Elsewhere };
    let view = FailureView { cx: context(request, node, section), failure, detail };
    if !wants_part(request) {
        return reply::with_status(status, request, &view).ok();
    }
    let mut response = HttpResponse::build(status);
    let line = utf8_percent_encode(&view.line(), NON_ALPHANUMERIC).to_string();
    response.insert_header((PROBLEM, line));
    // A form is not lost by that: a script sends it anew as a browser does, and it is kept (`guard.rs`).
    if failure == Failure::SignedOut && matches!(*request.method(), Method::GET | Method::HEAD) {
        response.insert_header((REFRESH, "true"));
    }
    Some(response.content_type("text/html; charset=utf-8").body(""))
}

fn failure_of(status: StatusCode, problem: Option<&Problem>) -> Failure {
    match status {
        StatusCode::UNAUTHORIZED => Failure::SignedOut,
        StatusCode::FORBIDDEN => Failure::Forbidden,
        StatusCode::NOT_FOUND | StatusCode::GONE => Failure::NotFound,
        _ if problem.is_some_and(Problem::is_outcome_unknown) => Failure::Unknown,
        StatusCode::PAYLOAD_TOO_LARGE => Failure::TooLarge,
        StatusCode::INSUFFICIENT_STORAGE => Failure::ReadOnly,
        StatusCode::INTERNAL_SERVER_ERROR => Failure::Broken,
        StatusCode::TOO_MANY_REQUESTS => Failure::Busy,
        status if status.is_server_error() => Failure::Busy,
        _ => Failure::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use waypost_protocol::CallError;

    use super::*;

    #[test]
    fn each_refusal_has_its_page() {
        let of = |problem: Problem| failure_of(problem.status(), Some(&problem));
        assert_eq!(of(Problem::not_found()), Failure::NotFound);
        assert_eq!(of(Problem::malformed("x")), Failure::Malformed);
        assert_eq!(of(Problem::not_ready("x")), Failure::Busy);
        assert_eq!(of(CallError::Overloaded { service: "lists" }.into()), Failure::Busy);
        assert_eq!(failure_of(StatusCode::INTERNAL_SERVER_ERROR, None), Failure::Broken);
        assert_eq!(failure_of(StatusCode::PAYLOAD_TOO_LARGE, None), Failure::TooLarge);
        assert_eq!(failure_of(StatusCode::METHOD_NOT_ALLOWED, None), Failure::Malformed);
    }
}
