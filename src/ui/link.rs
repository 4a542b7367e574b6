//! One link: its head, its form, a conflict with somebody else, and its deletion.

use askama::Template;
use waypost_protocol::{LinkState, UnixMs};

use super::link_form::field_names;
use super::link_item::{State, escaped};
use super::{Context, Form, Section, Theme};

/// A view of one link, as its tabs have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tab {
    /// Its properties.
    Edit,
    /// Its rules.
    Rules,
    /// Its visits.
    Statistics,
    /// Its QR code.
    Qr,
    /// Its former targets.
    History,
}

impl Tab {
    /// All, with the keys of their names and the ends of their paths.
    const ALL: [(Self, &'static str, &'static str); 5] = [
        (Self::Edit, "link.tab.edit", ""),
        (Self::Rules, "link.tab.rules", "/rules"),
        (Self::Statistics, "link.tab.statistics", "/stats"),
        (Self::Qr, "link.tab.qr", "/qr"),
        (Self::History, "link.tab.history", "/history"),
    ];
}

/// What stands above all views of a link.
#[derive(Debug, Clone)]
pub struct LinkHead {
    /// The URL for visitors.
    pub short_url: String,
    /// The path of its views, such as `/ui/link/code`.
    pub path: String,
    /// The query that names its domain: empty, or such as `?domain=go.example`.
    pub query: String,
    /// The host of its domain; `None` = the default one.
    pub domain: Option<String>,
    /// Where it leads.
    pub target: String,
    /// Its title.
    pub title: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// What visitors get.
    pub state: State,
    /// When it begins and ends.
    pub since: Option<UnixMs>,
    /// When it ends.
    pub until: Option<UnixMs>,
    /// How many visits it may have.
    pub limit: Option<u64>,
    /// Whether visitors need a password.
    pub protected: bool,
    /// How many rules it has.
    pub rules: u64,
    /// Visits of people.
    pub people: u64,
    /// Visits of bots.
    pub bots: u64,
    /// When it was created.
    pub created_at: UnixMs,
    /// How often it was edited.
    pub edits: u64,
    /// Identifies this state of the link.
    pub version: String,
    /// The view that is shown.
    pub tab: Tab,
}

impl LinkHead {
    /// The address of a view of the link: `end` is such as `/stats`.
    pub fn at(&self, end: &str) -> String {
        format!("{}{end}{}", self.path, self.query)
    }

    /// The name of each view, its address, and whether it is shown.
    pub fn tabs(&self) -> impl Iterator<Item = (&'static str, String, bool)> {
        Tab::ALL.into_iter().map(|(tab, name, end)| (name, self.at(end), tab == self.tab))
    }

    /// The title, or else the short URL without its scheme.
    pub fn name(&self) -> &str {
        self.title
            .as_deref()
            .unwrap_or_else(|| self.short_url.split_once("://").map_or(&self.short_url, |(_, url)| url))
    }

    /// The address of the links with a tag.
    pub fn tag_address(&self, cx: &Context, tag: &str) -> String {
        format!("{}/links?tags={}", cx.base, escaped(tag))
    }

    /// Why visitors do not get the target, with a time or a number.
    pub fn why(&self, cx: &Context) -> Option<String> {
        match self.state.0 {
            LinkState::Active => None,
            LinkState::NotYet => self.since.map(|at| cx.with("link.why.not-yet", &cx.absolute(&at))),
            LinkState::Expired => self.until.map(|at| cx.with("link.why.expired", &cx.absolute(&at))),
            LinkState::Exhausted => self.limit.map(|limit| cx.with("link.why.exhausted", &cx.number(&limit))),
            LinkState::Disabled => Some(cx.t("link.why.disabled").to_owned()),
        }
    }

    /// Whether somebody has disabled it.
    pub fn is_disabled(&self) -> bool {
        self.state.0 == LinkState::Disabled
    }
}

/// The form of a link.
#[derive(Template)]
#[template(path = "link_edit.html")]
pub struct LinkEditView {
    /// What every view needs.
    pub cx: Context,
    /// What stands above.
    pub head: LinkHead,
    /// What stands in the form, and why it was refused.
    pub form: Form,
    /// The prints of the form as it was when it was first shown.
    pub base: String,
    /// The name of the zone of its times.
    pub zone: String,
}

impl LinkEditView {
    /// The statuses that can be chosen.
    pub fn statuses(&self) -> [(&'static str, &'static str); 5] {
        [
            ("", "link.status.default"),
            ("302", "link.status.302"),
            ("307", "link.status.307"),
            ("301", "link.status.301"),
            ("308", "link.status.308"),
        ]
    }

    /// What is to happen to the password, as it was chosen.
    pub fn password_change(&self) -> &str {
        self.form.given("passwordChange").unwrap_or("keep")
    }

    /// What can happen to the password.
    pub fn passwords(&self) -> Vec<(&'static str, &'static str)> {
        match self.head.protected {
            true => vec![
                ("keep", "link.password.keep"),
                ("set", "link.password.replace"),
                ("remove", "link.password.remove"),
            ],
            false => vec![("keep", "link.password.none"), ("set", "link.password.set")],
        }
    }

    /// The boxes to tick, with the keys of their names and of what they mean.
    pub fn boxes(&self) -> [(&'static str, &'static str, &'static str); 4] {
        [
            ("forwardQuery", "link.field.query", "link.hint.query"),
            ("forwardPath", "link.field.path", "link.hint.path"),
            ("crawlable", "link.field.crawlable", "link.hint.crawlable"),
            ("disabled", "link.field.disabled", "link.hint.disabled"),
        ]
    }
}

/// A field that two people have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clash {
    /// Its name.
    pub name: &'static str,
    /// The key of its label.
    pub label: &'static str,
    /// What stands there now.
    pub theirs: String,
    /// What was typed.
    pub mine: String,
    /// Whether what stands there was chosen before it was changed once more.
    pub picks_theirs: bool,
}

/// The link was changed meanwhile: both versions, to choose from.
#[derive(Template)]
#[template(path = "link_conflict.html")]
pub struct LinkConflictView {
    /// What every view needs.
    pub cx: Context,
    /// What stands above.
    pub head: LinkHead,
    /// The fields that both have changed.
    pub clashes: Vec<Clash>,
    /// All fields as they were typed, and as they are now if nobody here has changed them.
    pub form: Form,
    /// The prints of the link as it is now.
    pub base: String,
    /// The name of the zone of its times.
    pub zone: String,
    /// Whether a password was typed, which has to be typed again.
    pub password_lost: bool,
}

impl LinkConflictView {
    /// All fields with what was typed.
    pub fn typed(&self) -> impl Iterator<Item = (&'static str, &str)> {
        field_names().map(|name| (name, self.form.value(name)))
    }
}

/// Asks whether a link is to be deleted.
#[derive(Template)]
#[template(path = "link_delete.html")]
pub struct LinkDeleteView {
    /// What every view needs.
    pub cx: Context,
    /// What stands above.
    pub head: LinkHead,
    /// Whether it was changed since this was asked before.
    pub changed: bool,
}

/// A link that was deleted, and can come back.
#[derive(Template)]
#[template(path = "link_deleted.html")]
pub struct LinkDeletedView {
    /// What every view needs.
    pub cx: Context,
    /// Identifies the deletion.
    pub token: String,
    /// Its short URL.
    pub short_url: String,
    /// Where it led.
    pub target: String,
    /// Until when it can come back.
    pub until: UnixMs,
    /// Why it did not come back.
    pub refusal: Option<String>,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::ui::link_form::prints;

    const HOSTILE: &str = "\"><script>alert(1)</script>'\u{202e}\u{5d0}\u{1f600}";

    pub(crate) fn head() -> LinkHead {
        LinkHead {
            short_url: "https://go.example/code".to_owned(),
            path: "/ui/link/a%2Fb".to_owned(),
            query: "?domain=go.example".to_owned(),
            domain: Some("go.example".to_owned()),
            target: HOSTILE.to_owned(),
            title: Some(HOSTILE.to_owned()),
            tags: vec![HOSTILE.to_owned()],
            state: State(LinkState::Expired),
            since: None,
            until: Some(UnixMs(1_790_000_000_000)),
            limit: Some(5),
            protected: true,
            rules: 2,
            people: 12_345,
            bots: 1,
            created_at: UnixMs(1_780_000_000_000),
            edits: 2,
            version: "3-9".to_owned(),
            tab: Tab::Edit,
        }
    }

    fn edit(refused: Option<(&str, &str)>) -> String {
        let mut form = Form::default();
        for name in ["longUrl", "title", "tags", "note", "expiredUrl", "validSince", "maxVisits"] {
            form.set(name, HOSTILE);
        }
        let base = prints(&form);
        if let Some((field, text)) = refused {
            form.refuse(field, text);
        }
        let view =
            LinkEditView { cx: Context::example("de"), head: head(), base, form, zone: "Europe/Berlin".to_owned() };
        view.render().unwrap()
    }

    #[test]
    fn hostile_values_are_texts_in_the_form_and_in_the_head() {
        let html = edit(Some(("title", HOSTILE)));
        assert!(!html.contains("<script>alert") && !html.contains("\"><script"), "{html}");
        assert!(html.matches("alert(1)").count() > 8);
    }

    #[test]
    fn the_form_has_its_version_what_was_refused_stands_beside_its_field_and_in_the_summary() {
        let html = edit(Some(("maxVisits", "too many")));
        assert!(html.contains("name=\"version\" value=\"3-9\""));
        assert!(html.contains("href=\"#maxVisits\"") && html.contains("id=\"maxVisits-error\""));
        assert!(html.contains("aria-invalid=\"true\"") && html.matches("too many").count() == 2);
        assert!(!edit(None).contains("aria-invalid"));
        assert!(html.contains("action=\"/ui/link/a%2Fb?domain=go.example\""));
    }

    #[test]
    fn a_state_has_its_reason() {
        let of = |state| {
            LinkHead { state: State(state), since: Some(UnixMs(1_790_000_000_000)), ..head() }
                .why(&Context::example("en"))
        };
        assert_eq!(of(LinkState::Active), None);
        for (state, part) in [
            (LinkState::NotYet, "Sep 21, 2026"),
            (LinkState::Expired, "Sep 21, 2026"),
            (LinkState::Exhausted, "5"),
            (LinkState::Disabled, "disabled"),
        ] {
            assert!(of(state).is_some_and(|why| why.contains(part)), "{state:?}");
        }
    }

    #[test]
    fn a_conflict_shows_both_and_keeps_what_was_typed() {
        let mut form = Form::default();
        form.set("title", HOSTILE);
        let clash = Clash {
            name: "title",
            label: "link.field.title",
            theirs: "theirs".to_owned(),
            mine: HOSTILE.to_owned(),
            picks_theirs: true,
        };
        let view = LinkConflictView {
            cx: Context::example("en"),
            head: head(),
            clashes: vec![clash],
            base: prints(&form),
            form,
            zone: "UTC".to_owned(),
            password_lost: true,
        };
        let html = view.render().unwrap();
        assert!(
            html.contains("name=\"pick.title\" value=\"mine\">")
                && html.contains("name=\"pick.title\" value=\"theirs\" checked>")
        );
        assert!(html.contains("type=\"hidden\" name=\"title\"") && html.contains(">theirs<"));
        assert!(!html.contains("<script>alert"));
    }

    #[test]
    fn a_deletion_says_what_is_lost_and_what_comes_back() {
        let html = LinkDeleteView { cx: Context::example("en"), head: head(), changed: true }.render().unwrap();
        assert!(html.contains("method=\"post\"") && html.contains("12,345"), "{html}");
        let deleted = LinkDeletedView {
            cx: Context::example("en"),
            token: "0a".to_owned(),
            short_url: "https://go.example/code".to_owned(),
            target: HOSTILE.to_owned(),
            until: UnixMs(1_790_000_600_000),
            refusal: None,
        };
        let html = deleted.render().unwrap();
        assert!(html.contains("action=\"/ui/deleted/0a\"") && !html.contains("<script>alert"));
    }
}
