//! Domains that do not exist, or cannot be made or changed.

use actix_web::http::StatusCode;

use super::Problem;
use crate::app::{DomainError, DomainUrl, UnknownDomain};

impl From<UnknownDomain> for Problem {
    fn from(unknown: UnknownDomain) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "domain-not-found",
            "There is no such domain",
            format!("{unknown}; `waypost domains list`, or GET /api/v1/domains, lists them"),
        )
    }
}

impl From<DomainError> for Problem {
    fn from(error: DomainError) -> Self {
        match error {
            DomainError::Denied(denied) => denied.into(),
            DomainError::NotYet(error) => error.into(),
            DomainError::Unknown(unknown) => unknown.into(),
            DomainError::Host(error) => Self::invalid("host", format!("host: {error}")),
            DomainError::Url(DomainUrl::Base, error) => Self::bad_url("baseUrl", &error),
            DomainError::Url(DomainUrl::Unknown, error) => Self::bad_url("unknownUrl", &error),
            DomainError::Url(DomainUrl::Expired, error) => Self::bad_url("expiredUrl", &error),
            DomainError::PermanentStatus => Self::invalid("defaultStatus", format!("defaultStatus: {error}")),
            DomainError::OnlyDefault => Self::invalid("unknownHost", format!("unknownHost: {error}")),
            DomainError::FormatHasCase | DomainError::FormatTooClose => {
                Self::invalid("codeFormat", format!("codeFormat: {error}"))
            }
            DomainError::Nothing => Self::malformed("nothing to change: send what is to be changed, like baseUrl"),
            DomainError::IsDefault(_)
            | DomainError::IsOwn(_)
            | DomainError::Exists(_)
            | DomainError::Fixed
            | DomainError::TooManyFormats
            | DomainError::TooMany { .. }
            | DomainError::DefaultStays => Self::conflict(error.to_string()),
            DomainError::Call(error) => error.into(),
        }
    }
}
