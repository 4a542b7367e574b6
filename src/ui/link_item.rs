//! A link as lists and cards show it.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use waypost_protocol::link::LinkCounts;
use waypost_protocol::listing::ENDS_SOON_MS;
use waypost_protocol::properties::{NOTE, PASSWORD, TAGS, TITLE};
use waypost_protocol::{Link, LinkState, Site, UnixMs};

use super::Context;

/// What of a code or a value is escaped in an address.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Writes a value as a part of an address.
pub fn escaped(value: &str) -> String {
    utf8_percent_encode(value, ESCAPED).to_string()
}

/// What visitors of a link get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State(pub LinkState);

impl State {
    /// The key of its name.
    pub fn text(self) -> &'static str {
        match self.0 {
            LinkState::Active => "state.active",
            LinkState::NotYet => "state.not-yet",
            LinkState::Expired => "state.expired",
            LinkState::Exhausted => "state.exhausted",
            LinkState::Disabled => "state.disabled",
        }
    }

    /// Its class in the style sheet.
    pub fn class(self) -> &'static str {
        match self.0 {
            LinkState::Active => "good",
            LinkState::NotYet => "info",
            LinkState::Expired | LinkState::Exhausted => "bad",
            LinkState::Disabled => "warn",
        }
    }
}

/// A link as lists and cards show it.
#[derive(Debug, Clone)]
pub struct LinkItem {
    /// Its code.
    pub code: String,
    /// The host of its domain; `None` for the default domain.
    pub host: Option<String>,
    /// The URL for visitors.
    pub short_url: String,
    /// Where it leads.
    pub target: String,
    /// What people call it.
    pub title: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// The note for those who manage it.
    pub note: Option<String>,
    /// What visitors get.
    pub state: State,
    /// Whether visitors need a password.
    pub protected: bool,
    /// When it was created.
    pub created_at: UnixMs,
    /// When it ends, if ever.
    pub valid_until: Option<UnixMs>,
    /// Whether that is near.
    pub ends_soon: bool,
    /// Visits of people.
    pub clicks: u64,
    /// Visits of bots.
    pub bots: u64,
    /// The last visit of a person, if there was one.
    pub last_visit: Option<UnixMs>,
    /// The state of the link that a change refers to.
    pub version: String,
}

impl LinkItem {
    /// The item of a link of a domain.
    pub fn of(link: &Link, counts: LinkCounts, short_url: String, site: &Site, now: UnixMs) -> Self {
        let fields = &link.spec.fields;
        let state = link.spec.state(counts.used, now);
        let ends_soon = |until: UnixMs| until.0 <= now.0.saturating_add(ENDS_SOON_MS);
        Self {
            code: link.key.code.to_string(),
            host: site.host.as_ref().map(ToString::to_string),
            short_url,
            target: link.spec.target.as_str().to_owned(),
            title: TITLE.of(fields).map(|title| title.as_str().to_owned()),
            tags: TAGS.of(fields).iter().flat_map(|tags| tags.iter().map(str::to_owned)).collect(),
            note: NOTE.of(fields).map(|note| note.as_str().to_owned()),
            state: State(state),
            protected: PASSWORD.is_in(fields),
            created_at: link.created_at,
            valid_until: link.spec.valid_until,
            ends_soon: state == LinkState::Active && link.spec.valid_until.is_some_and(ends_soon),
            clicks: counts.visits.total,
            bots: counts.visits.bots,
            last_visit: (counts.visits.total > 0).then_some(counts.visits.last),
            version: link.link_version().to_string(),
        }
    }

    /// What it is called: its title, else its short URL without the scheme.
    pub fn name(&self) -> Cow<'_, str> {
        self.title.as_deref().map_or_else(|| self.short(), Cow::Borrowed)
    }

    /// Its short URL without the scheme, with the letters of the code as people read and type them.
    pub fn short(&self) -> Cow<'_, str> {
        let rest = self.short_url.split_once("://").map_or(self.short_url.as_str(), |(_, rest)| rest);
        percent_decode_str(rest).decode_utf8().unwrap_or(Cow::Borrowed(rest))
    }

    /// The address of its page, or with `/stats` and the like that of a part.
    pub fn page(&self, context: &Context, part: &str) -> String {
        let domain = self.host.as_ref().map(|host| format!("?domain={}", escaped(host))).unwrap_or_default();
        format!("{}/link/{}{part}{domain}", context.base, escaped(&self.code))
    }

    /// An id in the page.
    pub fn anchor(&self) -> String {
        format!("l-{}-{}", self.host.as_deref().map(escaped).unwrap_or_default(), escaped(&self.code))
    }

    /// Names it in a form: the host of its domain, if any, and its code, with a space between.
    pub fn name_in_forms(&self) -> String {
        format!("{} {}", self.host.as_deref().unwrap_or_default(), self.code)
    }
}

#[cfg(test)]
impl LinkItem {
    /// A link whose texts try to be more than texts.
    pub fn hostile() -> Self {
        Self {
            code: "münchen/x".to_owned(),
            host: Some("go.example".to_owned()),
            short_url: "https://go.example/m%C3%BCnchen/x".to_owned(),
            target: "https://example.com/?q=\"><script>alert(1)</script>&'".to_owned(),
            title: Some("\u{202e}<img src=x onerror=alert(1)> {{ x }}".to_owned()),
            tags: vec!["<b>".to_owned(), "\"'&".to_owned(), "😀 עברית".to_owned()],
            note: Some("</textarea><script>".to_owned()),
            state: State(LinkState::Active),
            protected: true,
            created_at: UnixMs(1_789_000_000_000),
            valid_until: Some(UnixMs(1_790_100_000_000)),
            ends_soon: true,
            clicks: 1_234_567,
            bots: 1,
            last_visit: None,
            version: "1-2a".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_named_by_its_title_and_its_page_by_its_code_and_domain() {
        let context = Context::example("en");
        let mut item = LinkItem::hostile();
        assert_eq!(item.page(&context, "/stats"), "/ui/link/m%C3%BCnchen%2Fx/stats?domain=go.example");
        assert_eq!(item.anchor(), "l-go.example-m%C3%BCnchen%2Fx");
        item.title = None;
        assert_eq!(item.name(), "go.example/münchen/x");
        item.host = None;
        assert_eq!(item.page(&context, ""), "/ui/link/m%C3%BCnchen%2Fx");
        assert_eq!(item.name_in_forms(), " münchen/x");
    }
}
