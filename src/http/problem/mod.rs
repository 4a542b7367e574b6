//! Errors of the API: `application/problem+json` (RFC 9457) with stable types.
//!
//! This is the one place where an error becomes an HTTP status.
//!
//! ```text
//! mod.rs       the document
//! kinds.rs     the list of all types
//! domain.rs    errors of the application layer and of calls to services
//! domains.rs   domains of short URLs
//! visitors.rs  what visitors of a link get instead of its target
//! request.rs   requests that cannot be read, or that no route answers
//! limits.rs    requests that are too large, too slow or too many
//! sessions.rs  the dashboard, and who is signed in to it
//! qr.rs        QR codes that cannot be drawn
//! ```

mod domain;
mod domains;
mod kinds;
mod limits;
mod qr;
mod request;
mod sessions;
mod visitors;

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
pub(super) use kinds::{KINDS, urn};
use serde::Serialize;
use utoipa::ToSchema;

use crate::limits::GUESS_OF_CLIENT_EVERY;

/// A problem: what went wrong, and what to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    kind: &'static str,
    title: &'static str,
    detail: String,
    field: Option<&'static str>,
    /// The short URL of the existing link, if it has the requested target.
    short_url: Option<String>,
    /// Why a key is needed, or there is no such link, for programs.
    reason: Option<&'static str>,
}

/// Why a request was refused or failed (RFC 9457).
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Problem)]
pub(super) struct Document<'a> {
    /// Its stable type, for programs.
    r#type: String,
    /// Its type in words.
    title: &'a str,
    /// The status of the answer.
    status: u16,
    /// What is wrong, and what to change. For people: the text may change.
    detail: &'a str,
    /// The field or parameter with the value that was not accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    field: Option<&'a str>,
    /// The short URL of the existing link, if it has the requested target.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    short_url: Option<&'a str>,
    /// Why a key is needed; or `mistyped`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<&'a str>,
}

impl Problem {
    fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, kind, title, detail: detail.into(), field: None, short_url: None, reason: None }
    }

    /// The status it is answered with.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// What is wrong, for people.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// The field or parameter that was not accepted.
    pub(super) fn field(&self) -> Option<&'static str> {
        self.field
    }

    /// Whether nobody knows what was done.
    pub(super) fn is_outcome_unknown(&self) -> bool {
        self.kind == "outcome-unknown"
    }

    /// The title, for pages.
    pub fn title(&self) -> &'static str {
        self.title
    }

    /// The number of seconds after which a retry may help, if it is known.
    pub(super) fn retry_after(&self) -> Option<u64> {
        match self.status {
            StatusCode::TOO_MANY_REQUESTS if self.is_too_many_passwords() => Some(GUESS_OF_CLIENT_EVERY.as_secs()),
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => Some(1),
            _ => None,
        }
    }

    /// The document.
    pub(super) fn document(&self) -> Vec<u8> {
        debug_assert!(self.is_listed(), "invariant: kinds.rs lists every type: {self:?}");
        let document = Document {
            r#type: urn(self.kind),
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            field: self.field,
            short_url: self.short_url.as_deref(),
            reason: self.reason,
        };
        serde_json::to_vec(&document).expect("invariant: a document of texts and numbers is JSON")
    }

    /// The document as a response.
    pub fn response(&self) -> HttpResponse {
        let mut response =
            HttpResponse::build(self.status).content_type("application/problem+json").body(self.document());
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.title, self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        self.response()
    }
}
