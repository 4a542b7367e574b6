//! The page that a browser gets instead of a problem document.

use actix_web::body::BoxBody;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse};

use super::accept::wants_page;
use super::problem::Problem;

/// The page is self-contained: it loads and runs nothing, sends nothing, and cannot be framed.
pub(super) const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// A path that is not a link now may be one in a moment.
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

const STYLE: &str = "html{color-scheme:light dark;font:1.1rem/1.5 system-ui,sans-serif}\
body{display:grid;place-content:center;min-height:90vh;margin:0;padding:1rem;text-align:center}\
h1{font-size:1.6rem;margin:0}p{margin:.5rem 0 0;opacity:.75}";

/// Answers a problem: as a page if a browser asks for one, as a document for programs. Status and headers are the same.
pub(super) fn answer(request: &HttpRequest, problem: &Problem) -> HttpResponse {
    let mut response = problem.response();
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if reads && wants_page(request) {
        response = response.set_body(BoxBody::new(page(problem)));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        headers.insert(CONTENT_SECURITY_POLICY, POLICY);
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    }
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(VARY, HeaderValue::from_static("accept"));
    response
}

/// Nothing of the request is on the page, so nothing has to be escaped.
fn page(problem: &Problem) -> String {
    let text = match problem.status() {
        StatusCode::NOT_FOUND => "Check the address for a typing error, or ask whoever gave it to you.",
        StatusCode::GONE => "Its owner set an end, which has passed.",
        StatusCode::METHOD_NOT_ALLOWED => "This address is for programs.",
        StatusCode::TOO_MANY_REQUESTS => "Please wait a little, then try again.",
        _ => "Please try again in a moment.",
    };
    let title = problem.title();
    // The empty icon keeps browsers from requesting one.
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><meta name=\"robots\" content=\"noindex\">\
<link rel=\"icon\" href=\"data:,\"><title>{title}</title><style>{STYLE}</style></head>\
<body><main><h1>{title}</h1><p>{text}</p></main></body></html>"
    )
}
