//! Errors as they leave the server: `application/problem+json` (RFC 9457) with stable types.
//!
//! This is the one place where an error becomes an HTTP status.

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use waypost_protocol::{CallError, CodeError, LinkVersion, ServiceError, TargetError};

use super::if_match::TagFault;

/// A problem: what went wrong, and what to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    kind: &'static str,
    title: &'static str,
    detail: String,
    field: Option<&'static str>,
    /// The short URL of the link that is meant, if it leads where the request wants.
    short_url: Option<String>,
    /// Why a key is needed, for programs.
    reason: Option<KeyNeeded>,
}

/// Why a request needs a key, or another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyNeeded {
    /// It brings none.
    Missing,
    /// The server does not know the one that it brings.
    Unknown,
    /// What it asks for needs one whoever asks.
    Always,
    /// A proxy passes it on.
    PassedOn,
    /// It comes from a process of another account than the server's.
    OtherAccount,
    /// The server cannot tell which account it comes from.
    UnknownAccount,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    short_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<KeyNeeded>,
}

const UNKNOWN_LINK: &str = "link-not-found";

impl Problem {
    fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, kind, title, detail: detail.into(), field: None, short_url: None, reason: None }
    }

    /// The request cannot be read at all.
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed-request", "The request cannot be read", detail)
    }

    /// A field has a value that cannot be accepted.
    pub fn invalid(field: &'static str, detail: impl Into<String>) -> Self {
        let mut problem =
            Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-value", "A value cannot be accepted", detail);
        problem.field = Some(field);
        problem
    }

    /// The URL cannot be a target.
    pub fn bad_url(error: &TargetError) -> Self {
        let mut problem = Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid-url",
            "The URL cannot be shortened",
            format!("{error} ({})", error.code()),
        );
        problem.field = Some("longUrl");
        problem
    }

    /// The slug cannot be used.
    pub fn bad_slug(error: &CodeError) -> Self {
        let mut problem =
            Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-slug", "The slug cannot be used", error.to_string());
        problem.field = Some("customSlug");
        problem
    }

    /// The slug names a link already; `same` is its short URL, if that link leads to the same URL for the same time.
    pub fn slug_taken(slug: &str, same: Option<String>) -> Self {
        let detail = match &same {
            None => format!("\"{slug}\" already names another link; choose another slug, or leave customSlug out"),
            Some(short_url) => {
                format!("\"{slug}\" already names a link to this URL, so there is nothing to create; use {short_url}")
            }
        };
        let mut problem = Self::new(StatusCode::CONFLICT, "slug-taken", "The slug is taken", detail);
        problem.field = Some("customSlug");
        problem.short_url = same;
        problem
    }

    /// The idempotency key was used for something else.
    pub fn idempotency_mismatch() -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency-key-reused",
            "The idempotency key was used before",
            "this Idempotency-Key came with a different request; send a new key with a new request",
        )
    }

    /// No link has this code.
    pub fn unknown_link() -> Self {
        Self::new(StatusCode::NOT_FOUND, UNKNOWN_LINK, "There is no such link", "no link has this code")
    }

    /// Whether it says that no link has the code.
    pub(super) fn is_unknown_link(&self) -> bool {
        self.kind == UNKNOWN_LINK
    }

    /// The link has expired.
    pub fn expired_link() -> Self {
        Self::new(StatusCode::GONE, "link-expired", "The link has expired", "this link was valid until an earlier time")
    }

    /// The cluster has no such node.
    pub fn unknown_node(name: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "node-not-found",
            "There is no such node",
            format!("the cluster has no node \"{name}\"; `waypost cluster status` lists them"),
        )
    }

    /// The request does not fit what there is.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", "The request does not fit", detail)
    }

    /// No route has this path.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "There is nothing here", "no route has this path")
    }

    /// The path exists, but only for the methods in `allow`.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "The method is not allowed",
            format!("this path answers {allow}"),
        )
    }

    /// The body did not arrive in time.
    pub fn body_timeout() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "request-timeout",
            "The request did not arrive in time",
            "the rest of the body did not come; nothing was changed",
        )
    }

    /// The head of the request did not arrive in time.
    pub fn head_timeout() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "request-timeout",
            "The request did not arrive in time",
            "the rest of its head did not come; the limit is [http] client_timeout_ms",
        )
    }

    /// The head of the request is longer than the server reads.
    pub fn head_too_large() -> Self {
        Self::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "head-too-large",
            "The head of the request is too large",
            format!(
                "at most {} bytes of URL and headers are read, and at most 96 headers",
                super::wire::HEAD_BYTES_MAX
            ),
        )
    }

    /// The client has too many connections.
    pub fn too_many_connections() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-connections",
            "There are too many connections",
            "your address has as many connections as one may have; close some, or send several requests over each. The limit is \
             [http] connections_per_address_max",
        )
    }

    /// The client has asked for too many codes that there are not.
    pub fn too_many_unknown() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-unknown-codes",
            "Too many codes that there are not",
            "from your address came many requests for codes that no link has; wait a little. The limit is [limits] unknown_codes_per_s",
        )
    }

    /// Something went wrong here.
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something went wrong", detail)
    }

    /// The content type is not one that the route reads.
    pub fn unsupported_media_type(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            "The content type is not supported",
            detail,
        )
    }

    /// The body is longer than the server reads.
    pub fn too_large(max: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-too-large",
            "The body is too large",
            format!("at most {max} bytes are read; the limit is [http] body_max_bytes"),
        )
    }

    /// An API key is needed, or the one that came is wrong. `is_set` is whether the cluster has an admin key.
    pub fn key_needed(reason: KeyNeeded, is_set: bool) -> Self {
        let why = match reason {
            KeyNeeded::Missing => "this needs the admin key",
            KeyNeeded::Unknown => "the API key is not known to this server",
            KeyNeeded::Always => "backups and changes of the cluster always need a key",
            KeyNeeded::PassedOn => "the request came through a proxy, so it needs a key",
            KeyNeeded::OtherAccount => "the request comes from another account than the server's, so it needs a key",
            KeyNeeded::UnknownAccount => {
                "the server cannot tell which account of this machine the request comes from, so it needs a key"
            }
        };
        let how = match is_set {
            true => "send it as `X-Api-Key: …` or `Authorization: Bearer …`",
            false => {
                "none is set: start the server with WAYPOST_ADMIN_KEY, or with [http] public_url, which prints a new one, and \
                 send it as `X-Api-Key: …` or `Authorization: Bearer …`"
            }
        };
        // The commands of the server's own account find the key that it has made for them.
        let near =
            if reason == KeyNeeded::Always { "; on the server's machine, its commands take `--data-dir`" } else { "" };
        let mut problem =
            Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "An API key is needed", format!("{why}; {how}{near}"));
        problem.reason = Some(reason);
        problem
    }

    /// The request belongs to the other listener of a node. `here` is the one that it reached, `there` says where the other is.
    pub fn wrong_listener(here: &str, there: impl Into<String>) -> Self {
        let there = there.into();
        Self::new(
            StatusCode::NOT_FOUND,
            "wrong-listener",
            "Another listener answers that",
            format!("this is the {here} listener of the node, which does not have this; {there}"),
        )
    }

    /// The request is refused whatever key it carries.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "The request is refused", detail)
    }

    /// The link was changed since the caller read it.
    pub fn precondition_failed(current: LinkVersion) -> Self {
        Self::new(
            StatusCode::PRECONDITION_FAILED,
            "version-mismatch",
            "The link was changed meanwhile",
            format!("the link is at version \"{current}\"; read it again and repeat the change"),
        )
    }

    /// `If-Match` has nothing that could ever match, so reading the link again would not help.
    pub(super) fn unusable_tag(fault: TagFault, current: LinkVersion) -> Self {
        let detail = match fault {
            TagFault::Weak => format!(
                "If-Match needs a strong entity tag, and W/\"…\" is a weak one, which a proxy makes of it when it compresses: leave W/ out. \
                 The link is at version \"{current}\""
            ),
            TagFault::Unquoted => {
                format!(
                    "If-Match needs entity tags in double quotes, as ETag has them; the link is at version \"{current}\""
                )
            }
            TagFault::Empty => format!(
                "If-Match is empty: send the link's ETag, or leave the header out; the link is at version \"{current}\""
            ),
        };
        Self::new(StatusCode::PRECONDITION_FAILED, "unusable-entity-tag", "If-Match cannot match", detail)
    }

    /// The node is not ready to answer.
    pub fn not_ready(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", "The server is not ready", detail)
    }

    /// A request that was refused before it reached a route or its handler.
    pub fn of_framework(status: StatusCode, detail: String, body_max: usize) -> Self {
        let detail = if detail.is_empty() { "the request cannot be used as it is".to_owned() } else { detail };
        match status {
            StatusCode::NOT_FOUND => Self::not_found(),
            StatusCode::REQUEST_TIMEOUT => Self::body_timeout(),
            StatusCode::PAYLOAD_TOO_LARGE => Self::too_large(body_max),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::unsupported_media_type(detail),
            status if status.is_server_error() => Self {
                status,
                ..Self::internal("the request could not be answered; what happened is in the server's log")
            },
            status => Self { status, ..Self::malformed(detail) },
        }
    }

    /// The status it is answered with.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The title, for pages.
    pub fn title(&self) -> &'static str {
        self.title
    }

    /// After how many seconds it may help to try again, if that is known.
    pub(super) fn retry_after(&self) -> Option<u64> {
        match self.status {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => Some(1),
            _ => None,
        }
    }

    /// The document.
    pub(super) fn document(&self) -> Vec<u8> {
        let document = Document {
            r#type: format!("urn:waypost:problem:{}", self.kind),
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

impl From<CallError> for Problem {
    fn from(error: CallError) -> Self {
        let unavailable = |kind, title, detail: String| Self::new(StatusCode::SERVICE_UNAVAILABLE, kind, title, detail);
        match error {
            CallError::Overloaded { .. } => {
                unavailable("overloaded", "The server has too much to do", "nothing was changed; try again".to_owned())
            }
            CallError::Deadline { .. } => Self::new(
                StatusCode::GATEWAY_TIMEOUT,
                "timeout",
                "There was no answer in time",
                "whether the request took effect is not known; repeat it with the same Idempotency-Key",
            ),
            CallError::Unavailable { .. } | CallError::Service(ServiceError::OutcomeUnknown(_)) => unavailable(
                "outcome-unknown",
                "The answer was lost",
                "whether the request took effect is not known; repeat it with the same Idempotency-Key".to_owned(),
            ),
            CallError::Service(ServiceError::ReadOnly(why)) => Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "read-only",
                "The server accepts no changes",
                format!("{why}; redirects go on, and changes are accepted again when there is space"),
            ),
            CallError::Unreachable { .. } | CallError::Service(ServiceError::NotHere { .. }) => unavailable(
                "unavailable",
                "The server cannot answer now",
                "no node that holds this link can be reached, or none of them leads; nothing was changed, try again"
                    .to_owned(),
            ),
            CallError::Service(error @ ServiceError::Unavailable(_)) => {
                unavailable("unavailable", "The server cannot answer now", error.to_string())
            }
        }
    }
}
