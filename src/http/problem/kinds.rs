//! All types of problems, with their status and title: what the API document lists.

use super::Problem;

/// A type of problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) struct Kind {
    /// The end of its URN.
    pub(in crate::http) name: &'static str,
    /// The status it is answered with.
    pub(in crate::http) status: u16,
    /// Its title.
    pub(in crate::http) title: &'static str,
}

const fn kind(status: u16, name: &'static str, title: &'static str) -> Kind {
    Kind { name, status, title }
}

/// Every type, by its status.
pub(in crate::http) const KINDS: &[Kind] = &[
    kind(400, "malformed-request", "The request cannot be read"),
    kind(401, "unauthorized", "An API key is needed"),
    kind(403, "forbidden", "The request is refused"),
    kind(403, "link-protected", "The link needs a password"),
    kind(403, "wrong-password", "The password is wrong"),
    kind(404, "domain-not-found", "There is no such domain"),
    kind(404, "history-entry-not-found", "There is no such entry"),
    kind(404, "link-not-found", "There is no such link"),
    kind(404, "link-not-yet-valid", "The link is not valid yet"),
    kind(404, "node-not-found", "There is no such node"),
    kind(404, "not-found", "There is nothing here"),
    kind(404, "wrong-listener", "Another listener answers that"),
    kind(405, "method-not-allowed", "The method is not allowed"),
    kind(408, "request-timeout", "The request did not arrive in time"),
    kind(409, "conflict", "The request conflicts with the present state"),
    kind(409, "not-yet-supported", "Not all nodes support this yet"),
    kind(409, "slug-taken", "The slug is taken"),
    kind(410, "link-disabled", "The link is disabled"),
    kind(410, "link-exhausted", "The link is used up"),
    kind(410, "link-expired", "The link has expired"),
    kind(412, "unusable-entity-tag", "If-Match cannot match"),
    kind(412, "version-mismatch", "The link was changed meanwhile"),
    kind(413, "body-too-large", "The body is too large"),
    kind(415, "unsupported-media-type", "The content type is not supported"),
    kind(422, "idempotency-key-reused", "The idempotency key was used before"),
    kind(422, "invalid-slug", "The slug cannot be used"),
    kind(422, "invalid-url", "The URL cannot be shortened"),
    kind(422, "invalid-value", "A value cannot be accepted"),
    kind(422, "link-too-large", "The link is too large"),
    kind(429, "too-many-connections", "There are too many connections"),
    kind(429, "too-many-passwords", "Too many passwords"),
    kind(429, "too-many-unknown-codes", "Too many unknown codes"),
    kind(429, "too-many-visits", "Too many visits"),
    kind(431, "head-too-large", "The head of the request is too large"),
    kind(500, "internal", "Something went wrong"),
    kind(503, "not-ready", "The server is not ready"),
    kind(503, "outcome-unknown", "The answer was lost"),
    kind(503, "overloaded", "The server is overloaded"),
    kind(503, "unavailable", "The server cannot answer now"),
    kind(504, "timeout", "There was no answer in time"),
    kind(507, "read-only", "The server accepts no changes"),
];

/// The URN of a type.
pub(in crate::http) fn urn(name: &str) -> String {
    format!("urn:waypost:problem:{name}")
}

impl Problem {
    /// Whether the list has it. A request that the framework refuses keeps the framework's status.
    pub(super) fn is_listed(&self) -> bool {
        KINDS.iter().any(|kind| {
            (kind.name, kind.title) == (self.kind, self.title)
                && (kind.status == self.status.as_u16() || matches!(kind.name, "malformed-request" | "internal"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_sorted_and_each_is_listed_once() {
        for pair in KINDS.windows(2) {
            assert!((pair[0].status, pair[0].name) < (pair[1].status, pair[1].name), "{pair:?}");
        }
    }
}
