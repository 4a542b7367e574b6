//! Properties of all answers of both listeners: refusals are problem documents, and answers must not be cached.

use std::borrow::Cow;
use std::future::ready;
use std::rc::Rc;

use actix_http::ConnectionType;
use actix_web::dev::ServiceResponse;
use actix_web::error::JsonPayloadError;
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, Resource, Route, guard, web};

use super::pages;
use super::problem::Problem;
use super::wire::{Conn, Reason};

/// Answers of the API must not be cached: they may hold links and keys, and are outdated a moment later.
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// A route for the two methods that read. actix-http leaves the body of an answer to `HEAD` out, and sends its length.
pub(super) fn reads() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// A path that answers other methods than its own with a problem document.
pub(super) fn route(path: &str, allow: impl Into<Cow<'static, str>>) -> Resource {
    let allow = allow.into();
    web::resource(path).default_service(web::to(move |request: HttpRequest| {
        let mut response = pages::answer(&request, &Problem::method_not_allowed(&allow));
        let allow = HeaderValue::from_str(&allow).expect("invariant: methods are visible ASCII");
        response.headers_mut().insert(ALLOW, allow);
        ready(response)
    }))
}

/// The answer to `HEAD` where the one to `GET` is a stream of unknown length.
pub(super) fn without_body(mut head: HttpResponseBuilder) -> HttpResponse {
    head.message_body(actix_web::body::None::new())
        .map_or_else(HttpResponse::from_error, HttpResponse::map_into_boxed_body)
}

/// Gives an answer the common properties.
pub(super) fn uniform(response: ServiceResponse, body_max: usize) -> ServiceResponse {
    let mut response = match refusal(&response, body_max) {
        Some(refusal) => response.into_response(refusal),
        None => response,
    };
    // Redirects set their own caching rule.
    if !response.status().is_redirection() && !response.headers().contains_key(CACHE_CONTROL) {
        response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    }
    response
}

/// The problem document for a request that the framework refused, or whose body came too late.
fn refusal(response: &ServiceResponse, body_max: usize) -> Option<HttpResponse> {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return None;
    }
    if status == 400
        && response.request().conn_data::<Rc<Conn>>().is_some_and(|conn| conn.doomed() == Some(Reason::Body))
    {
        return Some(body_timeout());
    }
    let kind = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    if kind == b"application/problem+json" || kind.starts_with(b"text/html") {
        return None;
    }
    let error = response.response().error();
    let status = match error.and_then(|error| error.as_error::<JsonPayloadError>()) {
        Some(JsonPayloadError::ContentType) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        _ => status,
    };
    let detail = error.map(ToString::to_string).unwrap_or_default();
    let mut refused = Problem::of_framework(status, detail, body_max).response();
    if let Some(allow) = response.headers().get(ALLOW) {
        refused.headers_mut().insert(ALLOW, allow.clone());
    }
    Some(refused)
}

/// The problem document for errors that actix-web makes itself before a route is found.
pub(super) fn problem_of(error: &actix_web::Error, body_max: usize) -> HttpResponse {
    let mut response = error.error_response();
    let kind = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    if kind != Some(b"application/problem+json") {
        response = Problem::of_framework(response.status(), error.to_string(), body_max).response();
    }
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response
}

/// The answer if the body of a request did not arrive in time: the last answer of its connection.
pub(super) fn body_timeout() -> HttpResponse {
    let mut response = Problem::body_timeout().response();
    response.head_mut().set_connection_type(ConnectionType::Close);
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response
}
