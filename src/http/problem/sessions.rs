//! Sessions of the dashboard that cannot be ended, links to it that are not made, and requests that none of its pages has sent.

use super::Problem;
use crate::app::{OneTimeLinkError, SessionError};

impl Problem {
    /// A change of the dashboard that does not come from one of its pages.
    pub(in crate::http) fn of_another_page(detail: impl Into<String>) -> Self {
        Self::forbidden(detail)
    }
}

impl From<SessionError> for Problem {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Denied(denied) => denied.into(),
            SessionError::NotYet(error) => error.into(),
            SessionError::Call(error) => error.into(),
        }
    }
}

impl From<OneTimeLinkError> for Problem {
    fn from(error: OneTimeLinkError) -> Self {
        match error {
            OneTimeLinkError::Denied(denied) => denied.into(),
            OneTimeLinkError::Refused(error) => Self::forbidden(format!(
                "{error}; run `waypost dashboard` on that machine, or sign in with the admin key"
            )),
        }
    }
}
