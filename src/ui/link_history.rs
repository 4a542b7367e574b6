//! The history of a link.

use askama::Template;
use waypost_protocol::UnixMs;

use super::{Context, LinkHead, Section, Theme};

/// What one edit made of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub version: u32,
    /// Where the link led since then.
    pub target: String,
    /// When it was made; `None` = nobody knows any more.
    pub at: Option<UnixMs>,
    /// Who made it: the key of a text, and the number of a key.
    pub by: Option<(&'static str, Option<u64>)>,
    /// The keys of the names of what it changed.
    pub changed: Vec<&'static str>,
    /// Whether the link leads there now.
    pub is_current: bool,
    /// Whether it is how the link was before its first edit.
    pub is_first: bool,
}

impl Entry {
    /// Who made it.
    pub fn author(&self, cx: &Context) -> String {
        match self.by {
            None => cx.t("history.by.nobody").to_owned(),
            Some((key, None)) => cx.t(key).to_owned(),
            Some((key, Some(number))) => cx.with(key, &number.to_string()),
        }
    }
}

/// The history of a link.
#[derive(Template)]
#[template(path = "link_history.html")]
pub struct LinkHistoryView {
    /// What every view needs.
    pub cx: Context,
    /// What stands above.
    pub head: LinkHead,
    /// The entries, newest first.
    pub entries: Vec<Entry>,
    /// Why a target was not restored.
    pub refusal: Option<String>,
}
