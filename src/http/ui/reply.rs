//! HTML as an answer.

use actix_web::http::StatusCode;
use actix_web::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, HeaderValue, LOCATION, REFERRER_POLICY,
    SET_COOKIE, VARY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use askama::Template;
use bytes::Bytes;

use super::context::{NOTICE, NOTICE_KEPT, cookie, set_cookie, wants_part};
use crate::http::problem::Problem;
use crate::ui::gzip;

/// Scripts, styles and images of our own only, nothing inline, nothing from elsewhere, and in no frame.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);

/// The shortest page that is compressed, in bytes: below that it does not save a packet.
const COMPRESSED_FROM: usize = 1024;

/// A page, or a part of one.
pub(super) fn page(request: &HttpRequest, view: &impl Template) -> Result<HttpResponse, Problem> {
    with_status(StatusCode::OK, request, view)
}

/// A page with another status than `200`.
pub(super) fn with_status(
    status: StatusCode,
    request: &HttpRequest,
    view: &impl Template,
) -> Result<HttpResponse, Problem> {
    let html = view.render().expect("invariant: writing a page to memory does not fail");
    let mut response = HttpResponse::build(status);
    page_headers(&mut response);
    // The page shows the notice, so the next one does not.
    if cookie(request, NOTICE).is_some() && !wants_part(request) {
        response.append_header((SET_COOKIE, set_cookie(request, NOTICE, "", 0)));
    }
    if html.len() >= COMPRESSED_FROM && accepts_gzip(request) {
        return Ok(response.insert_header((CONTENT_ENCODING, "gzip")).body(gzip(html.as_bytes())));
    }
    Ok(response.body(html))
}

/// The headers of every page.
pub(super) fn page_headers(response: &mut HttpResponseBuilder) {
    response
        .content_type("text/html; charset=utf-8")
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((REFERRER_POLICY, "same-origin"))
        .insert_header((VARY, "accept-encoding, accept-language, cookie, hx-request"));
}

/// Sends the browser to another page of the dashboard after a change.
pub(super) fn go_to(path: &str) -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header((LOCATION, path))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(Bytes::new())
}

/// Sends the browser to another page, which shows a notice: the text of `key`, for so many things if `number` is given.
pub(super) fn go_to_with(request: &HttpRequest, path: &str, key: &str, number: Option<u64>) -> HttpResponse {
    let mut response = go_to(path);
    let value = number.map_or_else(|| key.to_owned(), |number| format!("{key}~{number}"));
    response.headers_mut().append(SET_COOKIE, set_cookie(request, NOTICE, &value, NOTICE_KEPT));
    response
}

/// Whether the client takes compressed answers.
pub(super) fn accepts_gzip(request: &HttpRequest) -> bool {
    let headers = request.headers().get_all(ACCEPT_ENCODING).filter_map(|header| header.to_str().ok());
    headers.flat_map(|header| header.split(',')).any(|coding| {
        let (name, rest) = coding.split_once(';').unwrap_or((coding, ""));
        name.trim().eq_ignore_ascii_case("gzip")
            && !matches!(rest.trim().to_ascii_lowercase().as_str(), "q=0" | "q=0.0")
    })
}

/// What is not there.
pub(super) async fn nothing() -> Result<HttpResponse, Problem> {
    Err(Problem::not_found())
}
