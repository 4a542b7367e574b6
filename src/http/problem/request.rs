//! Requests that cannot be read, or that no route of this listener answers.

use actix_web::http::StatusCode;

use super::Problem;

const WRONG_LISTENER: &str = "wrong-listener";

impl Problem {
    /// The request is malformed.
    pub(in crate::http) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed-request", "The request cannot be read", detail)
    }

    /// A field has an invalid value.
    pub(in crate::http) fn invalid(field: &'static str, detail: impl Into<String>) -> Self {
        let mut problem =
            Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-value", "A value cannot be accepted", detail);
        problem.field = Some(field);
        problem
    }

    /// The content type is not one that the route reads.
    pub(in crate::http) fn unsupported_media_type(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            "The content type is not supported",
            detail,
        )
    }

    /// No route has this path.
    pub(in crate::http) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "There is nothing here", "no route has this path")
    }

    /// Nothing is known under a path that begins with one of our own words and ends with a slash.
    pub(in crate::http) fn slash_at_end() -> Self {
        let detail = "no route has this path; our own paths have no slash at their end, so leave it out";
        Self::new(StatusCode::NOT_FOUND, "not-found", "There is nothing here", detail)
    }

    /// The path exists, but only for the methods in `allow`.
    pub(in crate::http) fn method_not_allowed(allow: &str) -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "The method is not allowed",
            format!("this path answers {allow}"),
        )
    }

    /// The request belongs to the other listener of a node. `here` is the one that it reached, `there` says where the other is.
    pub(in crate::http) fn wrong_listener(here: &str, there: impl Into<String>) -> Self {
        let there = there.into();
        Self::new(
            StatusCode::NOT_FOUND,
            WRONG_LISTENER,
            "Another listener answers that",
            format!("this is the {here} listener of the node, which does not have this; {there}"),
        )
    }

    /// Whether it says that the other listener has the path.
    pub(in crate::http) fn is_wrong_listener(&self) -> bool {
        self.kind == WRONG_LISTENER
    }

    /// A request that was refused before it reached a route or its handler.
    pub(in crate::http) fn of_framework(status: StatusCode, detail: String, body_max: usize) -> Self {
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
}
