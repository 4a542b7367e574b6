//! What every view needs, from the request.

use actix_web::HttpRequest;
use actix_web::http::header::COOKIE;
use jiff::tz::TimeZone;

use super::BASE;
use crate::http::pages::languages;
use crate::http::state::NodeState;
use crate::ui::{Context, Section, Theme, language};

/// The time zone, which a script sets.
const ZONE: &str = "waypost_zone";
/// The theme that was chosen.
const THEME: &str = "waypost_theme";
/// The language that was chosen.
const LANGUAGE: &str = "waypost_language";
/// What came of the last change, by the key of its text.
const NOTICE: &str = "waypost_notice";

/// The context of a request.
pub(super) fn context(request: &HttpRequest, node: &NodeState, section: Section) -> Context {
    let zone = cookie(request, ZONE).and_then(|zone| TimeZone::get(zone).ok()).unwrap_or(TimeZone::UTC);
    Context {
        base: BASE.to_owned(),
        language: language(cookie(request, LANGUAGE), &languages(request)),
        zone,
        theme: cookie(request, THEME).map(Theme::of).unwrap_or_default(),
        now: (node.clock)(),
        section,
        notice: cookie(request, NOTICE).map(str::to_owned),
    }
}

/// The value of a cookie.
pub(super) fn cookie<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    let headers = request.headers().get_all(COOKIE).filter_map(|header| header.to_str().ok());
    headers.flat_map(|header| header.split(';')).find_map(|pair| {
        let (found, value) = pair.trim().split_once('=')?;
        (found == name).then_some(value)
    })
}
