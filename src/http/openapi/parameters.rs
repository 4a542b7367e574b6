//! Parameters that several operations take. The handlers read most of them by other means: these types are for the document only.

use serde::Deserialize;
use utoipa::IntoParams;

use crate::app::LinkName;

/// A link of the path.
#[expect(dead_code, reason = "for the document only")]
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(in crate::http) struct OfLink {
    /// The code of the link. The slashes of one with several segments are escaped (`%2F`).
    #[param(min_length = 1, example = "handbook")]
    code: String,
}

/// An entry of a link's history, in the path.
#[expect(dead_code, reason = "for the document only")]
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(in crate::http) struct OfEntry {
    /// The code of the link.
    #[param(min_length = 1, example = "handbook")]
    code: String,
    /// The `id` of the entry.
    #[param(minimum = 1, example = 1)]
    id: u32,
}

/// A path below a link.
#[expect(dead_code, reason = "for the document only")]
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(in crate::http) struct BelowLink {
    /// What is added to the path of the target: any number of segments.
    #[param(min_length = 1, example = "more")]
    rest: String,
}

/// A request that may be repeated.
#[expect(dead_code, reason = "for the document only")]
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(in crate::http) struct RetrySafely {
    /// Identifies the request: a repeated one within a day gets the same answer, and creates nothing.
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 255, pattern = "^[\\t -~]*$")]
    idempotency_key: Option<String>,
}

/// The states of a link that a change requires.
#[expect(dead_code, reason = "for the document only")]
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(in crate::http) struct OnlyIf {
    /// The `ETag` of the state to change, several of them, or `*` for any; otherwise `412`. Without it the last change wins.
    #[param(rename = "If-Match", example = "\"1-2a\"")]
    if_match: Option<String>,
}

/// The states of a link that the client has.
#[expect(dead_code, reason = "for the document only")]
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(in crate::http) struct UnlessKnown {
    /// The `ETag` of a state, several of them, or `*` for any. A read answers `304` if the link is in such a state, a change `412`.
    #[param(rename = "If-None-Match", example = "\"1-2a\"")]
    if_none_match: Option<String>,
}

/// The domain of a link.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct OfDomain {
    /// The host of the link's domain; without it the default domain.
    #[param(example = "go.example")]
    pub(in crate::http) domain: Option<String>,
}

impl OfDomain {
    /// A link of the domain.
    pub(in crate::http) fn name<'a>(&'a self, code: &'a str) -> LinkName<'a> {
        LinkName { domain: self.domain.as_deref(), code }
    }
}

/// A domain of the path.
#[expect(dead_code, reason = "for the document only")]
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(in crate::http) struct OfHost {
    /// The host of the domain, or `DEFAULT` for the default one.
    #[param(min_length = 1, example = "go.example")]
    host: String,
}
