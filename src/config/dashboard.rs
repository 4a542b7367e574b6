//! Checks of the table `[dashboard]`.

use waypost_protocol::Code;
use waypost_protocol::domain::HostName;

use super::check::Checker;
use super::valid::{DashboardConfig, DashboardListener};
use super::{ConfigError, raw};
use crate::limits;

/// Words that no link can have, and that no other route of ours begins with.
const WORDS: &[&str] = &["ui", "admin", "settings"];

/// The longest path, in bytes: it is in every address of the dashboard.
const PATH_BYTES_MAX: usize = 64;

/// The dashboard of a node; `None` = it serves none.
pub(super) fn dashboard(raw: &raw::Dashboard, check: &Checker<'_>) -> Result<Option<DashboardConfig>, ConfigError> {
    let config = DashboardConfig {
        path: path(&raw.path, check)?,
        listener: listener(&raw.listener, check)?,
        host: host(&raw.host, check)?,
        session_idle: check.seconds("[dashboard] session_idle_s", raw.session_idle_s, &limits::SESSION_SECONDS)?,
        session_max: check.seconds("[dashboard] session_max_s", raw.session_max_s, &limits::SESSION_SECONDS)?,
    };
    if config.session_max < config.session_idle {
        let message = "session_max_s has to be at least session_idle_s";
        return Err(check.invalid("[dashboard] session_max_s, session_idle_s", message));
    }
    Ok(Some(config).filter(|_| raw.enabled))
}

fn path(text: &str, check: &Checker<'_>) -> Result<String, ConfigError> {
    let invalid = |why: &str| {
        let right = "use one like \"/ui\", \"/admin\" or \"/-/ui\"";
        check.invalid("[dashboard] path", format!("\"{text}\" {why}; {right}"))
    };
    let is_segment = |segment: &str| {
        !segment.is_empty()
            && !segment.starts_with('.')
            && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte))
    };
    let segments = text.strip_prefix('/').unwrap_or_default();
    if text.len() > PATH_BYTES_MAX || !segments.split('/').all(is_segment) {
        return Err(invalid(
            "is not a path of letters, digits, \"-\", \"_\", \".\" and \"~\", without a slash at its end",
        ));
    }
    let first = segments.split('/').next().unwrap_or_default();
    // A short link, or a route of our own, may be below any other word.
    let is_free = WORDS.contains(&first) || first.contains('~') || is_marked(first);
    if is_free { Ok(text.to_owned()) } else { Err(invalid("could be the path of a link, or is used otherwise")) }
}

/// Whether a first segment begins or ends with a mark, so that no slug can be like that.
fn is_marked(first: &str) -> bool {
    let marked = first.starts_with(['-', '_']) || first.ends_with(['-', '_']);
    marked && Code::parse_slug(first).is_err()
}

fn listener(text: &str, check: &Checker<'_>) -> Result<DashboardListener, ConfigError> {
    match text {
        "public" => Ok(DashboardListener::Public),
        "admin" => Ok(DashboardListener::Admin),
        "both" => Ok(DashboardListener::Both),
        other => {
            let message = format!("\"{other}\" is not valid; use \"public\", \"admin\" or \"both\"");
            Err(check.invalid("[dashboard] listener", message))
        }
    }
}

fn host(text: &str, check: &Checker<'_>) -> Result<Option<HostName>, ConfigError> {
    if text.is_empty() {
        return Ok(None);
    }
    HostName::parse(text).map(Some).map_err(|error| check.invalid("[dashboard] host", format!("\"{text}\": {error}")))
}
