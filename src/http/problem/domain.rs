//! Errors of the application layer, and of calls to services. A variant of an error identifies a field; here it gets its name in JSON.

use actix_web::http::StatusCode;
use waypost_protocol::{CallError, CodeError, LinkKey, LinkVersion, ServiceError, SpecError, TargetError};

use super::Problem;
use crate::app::{
    BackupRefused, CODES_PER_CALL_MAX, ChangeError, ClusterError, CodesError, CreateError, Denied, HistoryError,
    IDEMPOTENCY_KEY_BYTES_MAX, KeyNeeded, ListError, NotYetSupported, PeriodError, PutError, ReadError, ReportError,
    RulesFault, Taken, Unintended,
};
use crate::http::if_match::TagFault;
use crate::http::link_json::field_name;

impl Problem {
    /// A key is needed, or the key is wrong. `key_is_set` is whether the cluster has an admin key.
    fn key_needed(reason: KeyNeeded, key_is_set: bool) -> Self {
        let (name, why) = match reason {
            KeyNeeded::Missing => ("missing", "this needs the admin key"),
            KeyNeeded::Unknown => ("unknown", "the API key is not known to this server"),
            KeyNeeded::Always => {
                ("always", "backups, changes of the cluster and links to the dashboard always need a key")
            }
            KeyNeeded::PassedOn => ("passed-on", "the request came through a proxy, so it needs a key"),
            KeyNeeded::OtherAccount => {
                ("other-account", "the request comes from another account than the server's, so it needs a key")
            }
            KeyNeeded::UnknownAccount => (
                "unknown-account",
                "the server cannot tell which account of this machine the request comes from, so it needs a key",
            ),
        };
        let how = match key_is_set {
            true => "send it as `X-Api-Key: …` or `Authorization: Bearer …`",
            false => {
                "none is set: start the server with WAYPOST_ADMIN_KEY, or with [http] public_url, which prints a new one, and \
                 send it as `X-Api-Key: …` or `Authorization: Bearer …`"
            }
        };
        // Commands of the server's own account find the key that the server has made for them.
        let near =
            if reason == KeyNeeded::Always { "; on the server's machine, its commands take `--data-dir`" } else { "" };
        let mut problem =
            Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "An API key is needed", format!("{why}; {how}{near}"));
        problem.reason = Some(name);
        problem
    }

    /// The request is refused whatever key it carries.
    pub(super) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "The request is refused", detail)
    }

    /// The URL cannot be a target.
    pub(super) fn bad_url(field: &'static str, error: &TargetError) -> Self {
        Self::bad_url_at(field, format!("{error} ({})", error.code()))
    }

    fn bad_url_at(field: &'static str, detail: String) -> Self {
        let mut problem =
            Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-url", "The URL cannot be shortened", detail);
        problem.field = Some(field);
        problem
    }

    /// The slug cannot be used.
    fn bad_slug(error: &CodeError) -> Self {
        let mut problem =
            Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-slug", "The slug cannot be used", error.to_string());
        problem.field = Some("customSlug");
        problem
    }

    /// The slug names a link already.
    fn slug_taken(key: &LinkKey, by: &Taken, short_url: impl FnOnce(&LinkKey) -> String) -> Self {
        let (slug, same) = (&key.code, (*by == Taken::Same).then(|| short_url(key)));
        let detail = match (&same, by) {
            (None, Taken::Differs(tags)) => {
                let names: Vec<&str> = tags.iter().filter_map(|tag| field_name(*tag)).collect();
                format!(
                    "\"{slug}\" already names a link to this URL, which differs in {}; change that link, or choose another slug",
                    names.join(", ")
                )
            }
            (None, _) => format!("\"{slug}\" already names another link; choose another slug, or leave it out"),
            (Some(short_url), _) => {
                format!("\"{slug}\" already names a link to this URL, so there is nothing to create; use {short_url}")
            }
        };
        let mut problem = Self::new(StatusCode::CONFLICT, "slug-taken", "The slug is taken", detail);
        problem.field = Some("customSlug");
        problem.short_url = same;
        problem
    }

    /// A link was not created. `short_url` says under which URL a code is reached.
    pub(in crate::http) fn of_creation(error: CreateError, short_url: impl FnOnce(&LinkKey) -> String) -> Self {
        match error {
            CreateError::Denied(denied) => denied.into(),
            CreateError::Domain(unknown) => Self::invalid(
                "domain",
                format!("{unknown}; `waypost domains list`, or GET /api/v1/domains, lists them"),
            ),
            CreateError::Url(error) => Self::bad_url("longUrl", &error),
            CreateError::ExpiredUrl(error) => Self::bad_url("expiredUrl", &error),
            CreateError::Rules(error) => error.into(),
            CreateError::Slug(error) => Self::bad_slug(&error),
            CreateError::Spec(error) => error.into(),
            CreateError::NotYet(error) => error.into(),
            CreateError::FindExistingWithSlug => Self::invalid(
                "findIfExists",
                "findIfExists finds links with generated codes; leave it out when you ask for a customSlug",
            ),
            CreateError::FindExistingWithPassword => Self::invalid(
                "findIfExists",
                "findIfExists finds no protected links; leave it out when you give a password",
            ),
            CreateError::IdempotencyKey => Self::malformed(format!(
                "Idempotency-Key has to be 1 to {IDEMPOTENCY_KEY_BYTES_MAX} visible ASCII characters"
            )),
            CreateError::SlugTaken { key, by } => Self::slug_taken(&key, &by, short_url),
            CreateError::IdempotencyKeyReused => Self::idempotency_mismatch(),
            CreateError::Call(error) => error.into(),
        }
    }

    /// A link was not changed. `fault` is what is wrong with the entity tags that the request came with.
    pub(in crate::http) fn of_change(error: ChangeError, fault: Option<TagFault>) -> Self {
        match error {
            ChangeError::Denied(denied) => denied.into(),
            ChangeError::Nothing => {
                Self::malformed("nothing to change: send what is to be changed, like longUrl or title")
            }
            ChangeError::Url(error) => Self::bad_url("longUrl", &error),
            ChangeError::ExpiredUrl(error) => Self::bad_url("expiredUrl", &error),
            ChangeError::Rules(error) => error.into(),
            ChangeError::AllLinks => Self::invalid(
                "all",
                "the query has no filter, so all links are meant: say what is meant by parameters such as tags or q, or set \"all\" to true",
            ),
            ChangeError::Filter(error) => Self::invalid("q", format!("q: {error}")),
            ChangeError::Tags(error) => Self::invalid("tags", format!("tags: {error}")),
            ChangeError::Spec(error) => error.into(),
            ChangeError::NotYet(error) => error.into(),
            ChangeError::Domain(unknown) => unknown.into(),
            ChangeError::NotFound => Self::unknown_link(),
            ChangeError::VersionMismatch { current } => match fault {
                Some(fault) => Self::unusable_tag(fault, current),
                None => Self::precondition_failed(current),
            },
            ChangeError::Call(error) => error.into(),
        }
    }

    /// A history was not shown, or a target not restored. `fault` is as for [`Problem::of_change`].
    pub(in crate::http) fn of_history(error: HistoryError, fault: Option<TagFault>) -> Self {
        match error {
            HistoryError::Link(error) => Self::of_change(error, fault),
            HistoryError::NoEntry => Self::new(
                StatusCode::NOT_FOUND,
                "history-entry-not-found",
                "There is no such entry",
                "the history of this link has no entry with this id; old entries go when there are many",
            ),
        }
    }

    /// A link was not put. `fault` is what is wrong with the entity tags of `If-Match`.
    /// `wants_none`: whether the request asks, by `If-None-Match: *`, for a link that is not there yet.
    pub(in crate::http) fn of_put(error: PutError, fault: Option<TagFault>, wants_none: bool) -> Self {
        match (error, fault) {
            (PutError::Condition { current: Some(current) }, None) if wants_none => Self::new(
                StatusCode::PRECONDITION_FAILED,
                "version-mismatch",
                "The link was changed meanwhile",
                format!(
                    "If-None-Match asks for no link, and there is one, at version \"{current}\": leave If-None-Match out to replace it, or choose \
                     another code"
                ),
            ),
            // The code is the link's own, and the condition was checked, so it is not taken by another.
            (PutError::Link(error), _) => Self::of_creation(error, |key| key.code.to_string()),
            (PutError::Condition { current: Some(current) }, Some(fault)) => Self::unusable_tag(fault, current),
            (PutError::Condition { current: Some(current) }, None) => Self::precondition_failed(current),
            (PutError::Condition { current: None }, _) => Self::new(
                StatusCode::PRECONDITION_FAILED,
                "version-mismatch",
                "The link was changed meanwhile",
                "If-Match requires a link, and no link has this code; leave If-Match out to create it",
            ),
        }
    }

    /// The idempotency key was used for something else.
    fn idempotency_mismatch() -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency-key-reused",
            "The idempotency key was used before",
            "this Idempotency-Key came with a different request; send a new key with a new request",
        )
    }

    /// The link was changed since the caller read it.
    fn precondition_failed(current: LinkVersion) -> Self {
        Self::new(
            StatusCode::PRECONDITION_FAILED,
            "version-mismatch",
            "The link was changed meanwhile",
            format!("the link is at version \"{current}\"; read it again and repeat the change"),
        )
    }

    /// `If-Match` has nothing that could ever match, so reading the link again would not help.
    fn unusable_tag(fault: TagFault, current: LinkVersion) -> Self {
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

    /// The cluster has no such node.
    fn unknown_node(name: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "node-not-found",
            "There is no such node",
            format!("the cluster has no node \"{name}\"; `waypost cluster status` lists them"),
        )
    }

    /// The request does not fit what there is.
    pub(in crate::http) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", "The request conflicts with the present state", detail)
    }

    /// The node is not ready to answer.
    pub(in crate::http) fn not_ready(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", "The server is not ready", detail)
    }

    /// Parts of the cluster do not answer.
    pub(in crate::http) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The server cannot answer now", detail)
    }

    /// Something went wrong here.
    pub(in crate::http) fn internal(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something went wrong", detail)
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::KeyNeeded { reason, key_is_set } => Self::key_needed(reason, key_is_set),
            Denied::Unintended(Unintended::HostName) => Self::forbidden(
                "without a key an open server answers only requests to localhost or 127.0.0.1; use that address, or start the \
                 server with WAYPOST_ADMIN_KEY and send the key",
            ),
            Denied::Unintended(Unintended::OtherOrigin) => {
                Self::forbidden("a page of another origin may not use an open server")
            }
            Denied::OnPublicListener => {
                Self::forbidden("the cluster is changed, and backups are taken, on the dashboard of the admin listener")
            }
        }
    }
}

impl From<SpecError> for Problem {
    fn from(error: SpecError) -> Self {
        let detail = match error {
            SpecError::BeginAfterEnd => {
                return Self::invalid("validSince", "validSince has to lie before validUntil");
            }
            SpecError::BeginTooLate => {
                return Self::invalid("validSince", "validSince can be 9999-12-31T23:59:59.999Z at the latest");
            }
            SpecError::PermanentWithRules => {
                return Self::invalid(
                    "redirectStatus",
                    "redirectStatus has to be 302 or 307 for a link with rules: a browser would keep a permanent redirect to one of the targets",
                );
            }
            SpecError::PermanentLimited => {
                return Self::invalid(
                    "maxVisits",
                    "maxVisits and a permanent redirectStatus (301, 308) exclude each other: browsers keep such a redirect, so their further \
                     visits are not seen",
                );
            }
            SpecError::PermanentProtected => {
                return Self::invalid(
                    "password",
                    "password and a permanent redirectStatus (301, 308) exclude each other: browsers keep such a redirect, so nobody is asked \
                     for the password again",
                );
            }
            SpecError::EndPast => "validUntil has to lie in the future",
            SpecError::EndTooLate => {
                "validUntil can be 9999-12-31T23:59:59.999Z at the latest; leave it out for a link without an end"
            }
        };
        Self::invalid("validUntil", detail)
    }
}

impl From<RulesFault> for Problem {
    fn from(fault: RulesFault) -> Self {
        match fault {
            RulesFault::Url { .. } => Self::bad_url_at("rules", fault.to_string()),
            RulesFault::Limits(_) => Self::invalid("rules", fault.to_string()),
        }
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Denied(denied) => denied.into(),
            ReadError::Domain(unknown) => unknown.into(),
            ReadError::NotFound => Self::unknown_link(),
            ReadError::Call(error) => error.into(),
        }
    }
}

impl From<ListError> for Problem {
    fn from(error: ListError) -> Self {
        match error {
            ListError::Denied(denied) => denied.into(),
            ListError::Call(error) => error.into(),
        }
    }
}

impl From<PeriodError> for Problem {
    fn from(error: PeriodError) -> Self {
        let no_time = |field, text: &str| {
            Self::invalid(
                field,
                format!(
                    "\"{text}\" is not a valid time; use 2026-11-21, 2026-11-21T10:00:00Z, or 2026-11-21T10:00:00+01:00 with the + written \
                     as %2B"
                ),
            )
        };
        match &error {
            PeriodError::Zone(_) => Self::invalid("tz", error.to_string()),
            PeriodError::From(text) => no_time("from", text),
            PeriodError::To(text) => no_time("to", text),
            PeriodError::Order => Self::invalid("from", "it has to be before \"to\""),
            PeriodError::TooLong => Self::invalid("from", error.to_string()),
            PeriodError::TooManyPoints { .. } => Self::invalid("interval", error.to_string()),
        }
    }
}

impl From<ReportError> for Problem {
    fn from(error: ReportError) -> Self {
        match error {
            ReportError::Denied(denied) => denied.into(),
            ReportError::Period(error) => error.into(),
            ReportError::Domain(unknown) => unknown.into(),
            ReportError::NotFound => Self::unknown_link(),
            ReportError::Call(error) => error.into(),
        }
    }
}

impl From<BackupRefused> for Problem {
    fn from(error: BackupRefused) -> Self {
        match error {
            BackupRefused::Denied(denied) => denied.into(),
            BackupRefused::Busy | BackupRefused::NoAnswer | BackupRefused::Failed(_) => {
                Self::not_ready(error.to_string())
            }
        }
    }
}

impl From<ClusterError> for Problem {
    fn from(error: ClusterError) -> Self {
        match error {
            ClusterError::Denied(denied) => denied.into(),
            ClusterError::UnknownNode(name) => Self::unknown_node(&name),
            ClusterError::LastToStore
            | ClusterError::OnlyStore
            | ClusterError::HoldsLinks
            | ClusterError::Needed(_)
            | ClusterError::Stays(_)
            | ClusterError::NotAVoter { .. } => Self::conflict(error.to_string()),
            ClusterError::NoLeader(_) | ClusterError::Undecided(_) => Self::not_ready(error.to_string()),
        }
    }
}

impl From<NotYetSupported> for Problem {
    fn from(_: NotYetSupported) -> Self {
        // Not 503: proxies and clients would take it for an overload, and try again for nothing.
        Self::new(
            StatusCode::CONFLICT,
            "not-yet-supported",
            "Not all nodes support this yet",
            "the request has what is new in this version, and not all nodes of the cluster run this version yet; \
             nothing was changed, and `waypost cluster status` names the nodes that are to be upgraded",
        )
    }
}

impl From<CodesError> for Problem {
    fn from(error: CodesError) -> Self {
        match error {
            CodesError::Denied(denied) => denied.into(),
            CodesError::Domain(unknown) => unknown.into(),
            CodesError::Count => {
                Self::invalid("count", format!("count has to be a number from 1 to {CODES_PER_CALL_MAX}"))
            }
            CodesError::Call(error) => error.into(),
        }
    }
}

impl From<CallError> for Problem {
    fn from(error: CallError) -> Self {
        let unavailable = |kind, title, detail: String| Self::new(StatusCode::SERVICE_UNAVAILABLE, kind, title, detail);
        match error {
            CallError::Overloaded { .. } => {
                unavailable("overloaded", "The server is overloaded", "nothing was changed; try again".to_owned())
            }
            CallError::Deadline { .. } => Self::new(
                StatusCode::GATEWAY_TIMEOUT,
                "timeout",
                "There was no answer in time",
                "it is unknown whether the request took effect; repeat it with the same Idempotency-Key",
            ),
            CallError::Unavailable { .. } | CallError::Service(ServiceError::OutcomeUnknown(_)) => unavailable(
                "outcome-unknown",
                "The answer was lost",
                "it is unknown whether the request took effect; repeat it with the same Idempotency-Key".to_owned(),
            ),
            CallError::Service(ServiceError::ReadOnly(why)) => Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "read-only",
                "The server accepts no changes",
                format!("{why}; redirects go on, and changes are accepted again when there is enough"),
            ),
            CallError::Service(ServiceError::TooLarge(why)) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "link-too-large", "The link is too large", why)
            }
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
