//! What every view of the dashboard needs.

use jiff::tz::TimeZone;
use waypost_protocol::UnixMs;

use super::texts::Language;
use super::{assets, format};

/// A part of the dashboard, as in its navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// The first page.
    Home,
    /// The list of links, and one link.
    Links,
    /// Statistics of all links.
    Statistics,
    /// The tags.
    Tags,
    /// The domains.
    Domains,
    /// The nodes and shards.
    Cluster,
    /// The sessions.
    Sessions,
    /// A page of no part.
    Elsewhere,
    /// A page without navigation.
    None,
}

/// Dark or light.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Theme {
    /// As the system of the visitor has it.
    #[default]
    Auto,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

impl Theme {
    /// All of them, as they are offered.
    pub const ALL: &[Self] = &[Self::Auto, Self::Light, Self::Dark];

    /// The key of its name for people.
    pub fn text(self) -> &'static str {
        match self {
            Self::Auto => "layout.theme-auto",
            Self::Light => "layout.theme-light",
            Self::Dark => "layout.theme-dark",
        }
    }

    /// Its name in cookies and in HTML.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// The theme of a name; `Auto` for others.
    pub fn of(name: &str) -> Self {
        match name {
            "light" => Self::Light,
            "dark" => Self::Dark,
            _ => Self::Auto,
        }
    }
}

/// What every view needs.
#[derive(Debug, Clone)]
pub struct Context {
    /// The path of the dashboard, such as `/ui`: it ends without a slash.
    pub base: String,
    /// The language.
    pub language: &'static Language,
    /// The time zone of the visitor.
    pub zone: TimeZone,
    /// Dark or light.
    pub theme: Theme,
    /// The time at which the request came.
    pub now: UnixMs,
    /// The part that is shown.
    pub section: Section,
    /// The path and query of the page to come back to.
    pub here: String,
    /// Whether single keys do something.
    pub keys: bool,
    /// A text that tells what came of a change.
    pub notice: Option<String>,
}

impl Context {
    /// The context of a page in a language, for tests of views.
    #[cfg(test)]
    pub fn example(language: &str) -> Self {
        Self {
            base: "/ui".to_owned(),
            language: super::language(Some(language), ""),
            zone: TimeZone::get("Europe/Berlin").expect("invariant: the zone is part of the program"),
            theme: Theme::Auto,
            now: UnixMs(1_790_000_000_000),
            section: Section::Home,
            here: "/ui/".to_owned(),
            keys: true,
            notice: None,
        }
    }

    /// The text of a key.
    pub fn t<'a>(&'a self, key: &'a str) -> &'a str {
        self.language.text(key)
    }

    /// The text of a key, with a value in the place of `{}`.
    pub fn with(&self, key: &str, value: &str) -> String {
        self.t(key).replacen("{}", value, 1)
    }

    /// The text of a key for a number of things: `KEY.one` or `KEY.other`, with the number in the place of `{}`.
    pub fn count(&self, key: &str, number: &u64) -> String {
        format::count(key, *number, self.language)
    }

    /// A number with separators between its thousands.
    pub fn number(&self, number: &u64) -> String {
        format::number(*number, self.language)
    }

    /// A time, as it is shown: near ones relative to now.
    pub fn time(&self, at: &UnixMs) -> String {
        format::relative(*at, self.now, &self.zone, self.language)
    }

    /// A time as a date with a time of day in the zone of the visitor.
    pub fn absolute(&self, at: &UnixMs) -> String {
        format::absolute(*at, &self.zone, self.language)
    }

    /// A time for `<time datetime>`.
    pub fn datetime(&self, at: &UnixMs) -> String {
        crate::times::format_time(*at)
    }

    /// The address of an asset.
    pub fn asset(&self, name: &str) -> String {
        format!("{}/assets/{}", self.base, assets::path_of(name))
    }

    /// Whether a part is the one that is shown.
    pub fn is(&self, section: Section) -> bool {
        self.section == section
    }

    /// The languages that there are.
    pub fn languages(&self) -> &'static [Language] {
        Language::all()
    }

    /// In which time zone times are shown.
    pub fn zone_text(&self) -> String {
        self.with("layout.zone", self.zone.iana_name().unwrap_or("UTC"))
    }

    /// The version of the program.
    pub fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }
}
