//! Why a link was not created, shown or changed.

use waypost_catalog::RequestError;
use waypost_protocol::fields::Tag;
use waypost_protocol::history::changed_fields;
use waypost_protocol::properties::PropertyError;
use waypost_protocol::{
    CallError, CodeError, Level, LinkKey, LinkSpec, LinkVersion, ServiceError, SpecError, TargetError,
};

use super::Denied;
use super::rules::RulesFault;

/// The request needs what some nodes of the cluster do not understand, as far as this node knows. Nothing was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this needs level {needed}, and the cluster is at level {level} until all of its nodes run this version")]
pub struct NotYetSupported {
    /// The level that the request needs.
    pub needed: Level,
    /// The level of the cluster.
    pub level: Level,
}

/// The link that has a slug already, compared with the one that was to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It leads elsewhere, or could not be read.
    Other,
    /// It has the same target; the tags of the fields in which it differs.
    Differs(Vec<Tag>),
    /// It is the same in everything that was given.
    Same,
}

impl Taken {
    pub(super) fn by(other: &LinkSpec, wanted: &LinkSpec) -> Self {
        match changed_fields(other, wanted) {
            _ if other.target != wanted.target => Self::Other,
            differs if differs.is_empty() => Self::Same,
            differs => Self::Differs(differs),
        }
    }
}
/// The request names a domain that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no domain \"{0}\"")]
pub struct UnknownDomain(pub String);

/// Why a link was not created.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// The principal has no permission.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// There is no such domain.
    #[error(transparent)]
    Domain(#[from] UnknownDomain),
    /// The URL is not a valid target.
    #[error(transparent)]
    Url(#[from] TargetError),
    /// The URL for the time after the end is not a valid target.
    #[error("expired URL: {0}")]
    ExpiredUrl(TargetError),
    /// The rules have a URL that is not a valid target, or are not within their limits.
    #[error(transparent)]
    Rules(#[from] RulesFault),
    /// The slug is not a valid code.
    #[error(transparent)]
    Slug(#[from] CodeError),
    /// A property is not within its limits.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// Not all nodes of the cluster understand one of the properties.
    #[error(transparent)]
    NotYet(#[from] NotYetSupported),
    /// An existing link was requested together with a slug: only links with generated codes are found.
    #[error("an existing link can only be found without a slug")]
    FindExistingWithSlug,
    /// The idempotency key is empty, longer than [`super::IDEMPOTENCY_KEY_BYTES_MAX`], or has other characters than visible ASCII.
    #[error("the idempotency key cannot be used")]
    IdempotencyKey,
    /// The slug names another link.
    #[error("the slug \"{}\" is taken", key.code)]
    SlugTaken {
        /// The domain and the slug.
        key: LinkKey,
        /// By which link.
        by: Taken,
    },
    /// Protected links are not found.
    #[error("a protected link is not found by its properties")]
    FindExistingWithPassword,
    /// The idempotency key was used for a different request.
    #[error("the idempotency key was used for a different request")]
    IdempotencyKeyReused,
    /// The services did not do it, or the outcome is unknown.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// Why a link, or its statistics, cannot be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The principal has no permission.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// There is no such domain.
    #[error(transparent)]
    Domain(#[from] UnknownDomain),
    /// No link has the code.
    #[error("no link has this code")]
    NotFound,
    /// The services do not answer.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// Why a link was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// The principal has no permission.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The edit changes nothing.
    #[error("the edit names nothing to change")]
    Nothing,
    /// There is no such domain.
    #[error(transparent)]
    Domain(#[from] UnknownDomain),
    /// The URL is not a valid target.
    #[error(transparent)]
    Url(#[from] TargetError),
    /// The URL for the time after the end is not a valid target.
    #[error("expired URL: {0}")]
    ExpiredUrl(TargetError),
    /// The rules have a URL that is not a valid target, or are not within their limits.
    #[error(transparent)]
    Rules(#[from] RulesFault),
    /// The filter lets all links through, and the request does not say that all are meant.
    #[error("the filter lets all links through")]
    AllLinks,
    /// No list has this filter.
    #[error(transparent)]
    Filter(#[from] RequestError),
    /// The tags that the link would have are not within their limits.
    #[error(transparent)]
    Tags(PropertyError),
    /// A property is not within its limits.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// Not all nodes of the cluster understand one of the properties.
    #[error(transparent)]
    NotYet(#[from] NotYetSupported),
    /// No link has the code.
    #[error("no link has this code")]
    NotFound,
    /// The link is not in a state that the change requires.
    #[error("the link is at version {current}")]
    VersionMismatch {
        /// Its version.
        current: LinkVersion,
    },
    /// The services did not do it, or the outcome is unknown.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl From<ServiceError> for CreateError {
    fn from(error: ServiceError) -> Self {
        Self::Call(error.into())
    }
}

impl From<ServiceError> for ChangeError {
    fn from(error: ServiceError) -> Self {
        Self::Call(error.into())
    }
}

impl From<ReadError> for ChangeError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Denied(denied) => Self::Denied(denied),
            ReadError::Domain(unknown) => Self::Domain(unknown),
            ReadError::NotFound => Self::NotFound,
            ReadError::Call(error) => Self::Call(error),
        }
    }
}
