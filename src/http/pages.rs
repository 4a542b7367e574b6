//! The page that a browser gets instead of a problem document.

use actix_web::body::BoxBody;
use actix_web::http::header::{
    ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue,
    REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};

use super::accept::wants_page;
use super::problem::Problem;
use super::state::NodeState;
use crate::pages::{Message, Page};

/// The page is self-contained: it loads and runs nothing, sends nothing, and cannot be framed.
pub(super) const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// As [`POLICY`], for the page with a form. Its answer is a redirect to the target of the link, and browsers apply this to redirects as well:
/// with `'self'` they would not follow it.
const FORM_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action http: https:; frame-ancestors 'none'",
);

/// A path that is not a link now may be one in a moment.
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Answers a problem: as a page if a browser asks for one, as a document for programs. Status and headers are the same.
pub(super) fn answer(request: &HttpRequest, problem: &Problem) -> HttpResponse {
    let response = problem.response();
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    match request.app_data::<web::Data<NodeState>>() {
        Some(node) if reads && wants_page(request) => {
            with_page(response, &node.pages.message(message_of(problem), &languages(request)))
        }
        _ => varied(response),
    }
}

/// Answers a problem of a visitor who follows a link, perhaps with a password: as [`answer`], and with a form where a password is needed.
pub(super) fn answer_visitor(request: &HttpRequest, problem: &Problem) -> HttpResponse {
    match request.app_data::<web::Data<NodeState>>() {
        Some(node) if wants_page(request) && problem.asks_password() => {
            let page = node.pages.password(problem.is_wrong_password(), &languages(request));
            let mut response = with_page(problem.response(), &page);
            response.headers_mut().insert(CONTENT_SECURITY_POLICY, FORM_POLICY);
            response
        }
        Some(node) if wants_page(request) => {
            with_page(problem.response(), &node.pages.message(message_of(problem), &languages(request)))
        }
        _ => varied(problem.response()),
    }
}

/// Makes a page the body of an answer.
pub(super) fn with_page(response: HttpResponse, page: &Page<'_>) -> HttpResponse {
    let mut response = response.set_body(BoxBody::new(page.html.clone()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if let Ok(language) = HeaderValue::from_str(page.language) {
        headers.insert(CONTENT_LANGUAGE, language);
    }
    varied(response)
}

/// The same path has other answers for other clients, and for the same one later.
pub(super) fn varied(mut response: HttpResponse) -> HttpResponse {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(VARY, HeaderValue::from_static("accept, accept-language"));
    response
}

/// The languages that the visitor reads.
pub(super) fn languages(request: &HttpRequest) -> String {
    let values: Vec<&str> =
        request.headers().get_all(ACCEPT_LANGUAGE).filter_map(|value| value.to_str().ok()).collect();
    values.join(",")
}

fn message_of(problem: &Problem) -> Message {
    match problem.status() {
        StatusCode::NOT_FOUND if problem.is_mistyped() => Message::MistypedLink,
        StatusCode::NOT_FOUND if problem.is_unknown_link() => Message::UnknownLink,
        StatusCode::NOT_FOUND if problem.is_wrong_listener() => Message::OtherListener,
        StatusCode::NOT_FOUND if problem.is_not_yet() => Message::LinkNotYet,
        StatusCode::NOT_FOUND => Message::Nothing,
        StatusCode::FORBIDDEN if problem.asks_password() => Message::ProtectedLink,
        StatusCode::GONE if problem.is_disabled() => Message::DisabledLink,
        StatusCode::GONE if problem.is_exhausted() => Message::ExhaustedLink,
        StatusCode::GONE => Message::ExpiredLink,
        StatusCode::METHOD_NOT_ALLOWED => Message::ForPrograms,
        StatusCode::TOO_MANY_REQUESTS if problem.is_too_many_passwords() => Message::TooManyPasswords,
        StatusCode::TOO_MANY_REQUESTS => Message::TooMany,
        _ => Message::NotNow,
    }
}
