//! Requests that are too large, too slow or too many.

use actix_web::http::StatusCode;

use super::Problem;

const TOO_MANY_PASSWORDS: &str = "too-many-passwords";

impl Problem {
    /// The body did not arrive in time.
    pub(in crate::http) fn body_timeout() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "request-timeout",
            "The request did not arrive in time",
            "the rest of the body did not arrive; nothing was changed",
        )
    }

    /// The head of the request did not arrive in time.
    pub(in crate::http) fn head_timeout() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "request-timeout",
            "The request did not arrive in time",
            "the rest of its head did not arrive; the limit is [http] client_timeout_ms",
        )
    }

    /// The head of the request is longer than the server reads.
    pub(in crate::http) fn head_too_large() -> Self {
        Self::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "head-too-large",
            "The head of the request is too large",
            format!(
                "at most {} bytes of URL and headers are read, and at most 96 headers",
                crate::http::wire::HEAD_BYTES_MAX
            ),
        )
    }

    /// The body is longer than the server reads.
    pub(in crate::http) fn too_large(max: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-too-large",
            "The body is too large",
            format!("at most {max} bytes are read; the limit is [http] body_max_bytes"),
        )
    }

    /// A bulk request is longer than the server reads as JSON.
    pub(in crate::http) fn bulk_too_large(max: usize) -> Self {
        let detail = format!("at most {max} bytes are read as JSON; send application/x-ndjson, with an item a line");
        Self { detail, ..Self::too_large(max) }
    }

    /// A line of a bulk request is longer than the server reads.
    pub(in crate::http) fn line_too_long(max: usize) -> Self {
        let detail = format!("a line has at most {max} bytes, and nothing is read after a longer one");
        Self { detail, ..Self::too_large(max) }
    }

    /// The client has too many connections.
    pub(in crate::http) fn too_many_connections() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-connections",
            "There are too many connections",
            "your address has as many connections as one may have; close some, or send several requests over each. The limit is \
             [http] connections_per_address_max",
        )
    }

    /// The form is longer than the server reads.
    pub(in crate::http) fn form_too_large(max: usize) -> Self {
        Self { detail: format!("at most {max} bytes of a form are read"), ..Self::too_large(max) }
    }

    /// There were too many passwords of the client, or too many wrong ones of all clients of the link.
    pub(in crate::http) fn too_many_passwords() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            TOO_MANY_PASSWORDS,
            "Too many passwords",
            "your address has sent too many passwords, or all visitors of this link together have sent too many wrong ones; wait a little",
        )
    }

    /// The client has visited links with a limit of visits too often.
    pub(in crate::http) fn too_many_visits() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-visits",
            "Too many visits",
            "your address has visited too many links whose visits are limited; wait a little. No visit of the limit was used",
        )
    }

    /// Whether it says that there were too many passwords.
    pub(in crate::http) fn is_too_many_passwords(&self) -> bool {
        self.kind == TOO_MANY_PASSWORDS
    }

    /// The client has asked for too many unknown codes.
    pub(in crate::http) fn too_many_unknown() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-unknown-codes",
            "Too many unknown codes",
            "your address has requested too many unknown codes or previews; wait a little. The limit is [limits] unknown_codes_per_s",
        )
    }
}
