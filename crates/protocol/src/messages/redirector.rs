//! Redirector: where a code leads, for the requests that its cache could not answer.

use serde::{Deserialize, Serialize};

use crate::message::{AnsweredBy, Class, Kind, Request, Retry, Service};
use crate::{Fields, LinkKey, Target, UnixMs, list};

/// The service that owns the link cache.
#[derive(Debug)]
pub struct Redirector;

impl Service for Redirector {
    const NAME: &'static str = "redirector";
    type Messages = list![Resolve];
}

/// Asks where a key leads. Sent only when the cache does not know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Resolve {
    /// Which link.
    pub key: LinkKey,
}

/// Where a key leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resolution {
    /// To this target, until then.
    Found {
        /// Where the visitor is sent.
        target: Target,
        /// From when on it answers `410`.
        valid_until: Option<UnixMs>,
        /// Its optional fields.
        fields: Fields,
    },
    /// There is no such link.
    Unknown,
}

impl Request for Resolve {
    type Service = Redirector;
    type Reply = Resolution;
    const KIND: Kind = Kind(0x0301);
    const NAME: &'static str = "resolve";
    const CLASS: Class = Class::Interactive;
    const RETRY: Retry = Retry::Always;
    const ANSWERED_BY: AnsweredBy = AnsweredBy::ThisNode;
}
