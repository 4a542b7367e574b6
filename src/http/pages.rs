//! The small pages that a visitor with a browser sees instead of a problem document.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_SECURITY_POLICY, HeaderValue};

use super::problem::Problem;

/// Nothing on the page loads or runs anything.
const POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'");

const STYLE: &str = "html{color-scheme:light dark;font:1.1rem/1.5 system-ui,sans-serif}\
body{display:grid;place-content:center;min-height:90vh;margin:0;padding:1rem;text-align:center}\
h1{font-size:1.6rem;margin:0}p{margin:.5rem 0 0;opacity:.75}";

/// The page for a link that does not lead anywhere.
pub(super) fn problem(problem: &Problem) -> HttpResponse {
    let text = match problem.status() {
        StatusCode::NOT_FOUND => "Check the address for a typing error, or ask whoever gave it to you.",
        StatusCode::GONE => "Its owner set an end, which has passed.",
        _ => "Please try again in a moment.",
    };
    let title = problem.title();
    let body = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><meta name=\"robots\" content=\"noindex\">\
<title>{title}</title><style>{STYLE}</style></head>\
<body><main><h1>{title}</h1><p>{text}</p></main></body></html>"
    );
    let mut response = HttpResponse::build(problem.status()).content_type("text/html; charset=utf-8").body(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    if let Some(seconds) = problem.retry_after() {
        headers.insert(actix_web::http::header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
