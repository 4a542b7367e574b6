//! What visitors of a link get instead of its target.

use actix_web::http::StatusCode;
use waypost_protocol::{CallError, ServiceError};

use super::Problem;

const MISTYPED: &str = "mistyped";
const UNKNOWN_LINK: &str = "link-not-found";
const LINK_NOT_YET: &str = "link-not-yet-valid";
const LINK_DISABLED: &str = "link-disabled";
const LINK_PROTECTED: &str = "link-protected";
const WRONG_PASSWORD: &str = "wrong-password";
const LINK_EXHAUSTED: &str = "link-exhausted";

impl Problem {
    /// No link has this code.
    pub(in crate::http) fn unknown_link() -> Self {
        Self::new(StatusCode::NOT_FOUND, UNKNOWN_LINK, "There is no such link", "no link has this code")
    }

    /// No link has this code, and it is one with a check character that was mistyped.
    pub(in crate::http) fn mistyped_link() -> Self {
        let detail = "no link has this code: it was mistyped, since its check character does not fit";
        Self {
            reason: Some(MISTYPED),
            ..Self::new(StatusCode::NOT_FOUND, UNKNOWN_LINK, "There is no such link", detail)
        }
    }

    /// Whether it says that a code was mistyped.
    pub(in crate::http) fn is_mistyped(&self) -> bool {
        self.reason == Some(MISTYPED)
    }

    /// Whether it says that no link has this code.
    pub(in crate::http) fn is_unknown_link(&self) -> bool {
        self.kind == UNKNOWN_LINK
    }

    /// The link has expired.
    pub(in crate::http) fn expired_link() -> Self {
        Self::new(StatusCode::GONE, "link-expired", "The link has expired", "this link was valid until an earlier time")
    }

    /// The link has not begun.
    pub(in crate::http) fn link_not_yet() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            LINK_NOT_YET,
            "The link is not valid yet",
            "this link is valid from a later time on",
        )
    }

    /// The link is disabled.
    pub(in crate::http) fn disabled_link() -> Self {
        Self::new(StatusCode::GONE, LINK_DISABLED, "The link is disabled", "its owner has disabled this link")
    }

    /// The link has rules, a password or a limit that this node does not understand.
    pub(in crate::http) fn unreadable_link() -> Self {
        Self::not_ready("the link has properties of a later version, which this node does not understand")
    }

    /// The link has a password, and none was given.
    pub(in crate::http) fn protected_link() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            LINK_PROTECTED,
            "The link needs a password",
            "send it by POST to the same URL, as the field \"password\" of a form (application/x-www-form-urlencoded)",
        )
    }

    /// Another password was given than the link has.
    pub(in crate::http) fn wrong_password() -> Self {
        Self::new(StatusCode::FORBIDDEN, WRONG_PASSWORD, "The password is wrong", "the link has another password")
    }

    /// Whether it says that a password is needed, or another one.
    pub(in crate::http) fn asks_password(&self) -> bool {
        matches!(self.kind, LINK_PROTECTED | WRONG_PASSWORD)
    }

    /// Whether it says that the password is wrong.
    pub(in crate::http) fn is_wrong_password(&self) -> bool {
        self.kind == WRONG_PASSWORD
    }

    /// All visits of the link's limit are used.
    pub(in crate::http) fn exhausted_link() -> Self {
        Self::new(
            StatusCode::GONE,
            LINK_EXHAUSTED,
            "The link is used up",
            "this link was made for a limited number of visits, and all of them are used",
        )
    }

    /// Whether it says that all visits of the link's limit are used.
    pub(in crate::http) fn is_exhausted(&self) -> bool {
        self.kind == LINK_EXHAUSTED
    }

    /// Whether a visit of the link's limit is left, nobody could say.
    pub(in crate::http) fn of_limit(error: CallError) -> Self {
        let unavailable = |kind, title, detail: &str| Self::new(StatusCode::SERVICE_UNAVAILABLE, kind, title, detail);
        match error {
            error if error.outcome_unknown() => unavailable(
                "outcome-unknown",
                "The answer was lost",
                "the visits of this link are limited, and one of them may be used now without a visitor; try again",
            ),
            CallError::Service(ServiceError::ReadOnly(_)) => unavailable(
                "unavailable",
                "The server cannot answer now",
                "the visits of this link are limited, and the server can count none until its disk has more space",
            ),
            error => error.into(),
        }
    }

    /// Whether it says that the link has not begun.
    pub(in crate::http) fn is_not_yet(&self) -> bool {
        self.kind == LINK_NOT_YET
    }

    /// Whether it says that the link is disabled.
    pub(in crate::http) fn is_disabled(&self) -> bool {
        self.kind == LINK_DISABLED
    }
}
