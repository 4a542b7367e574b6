//! Changes of many links: what is asked before, how far they are, and what came of them.

use askama::Template;
use waypost_protocol::listing::PAGE_LINKS_MAX;

use super::{Context, Form, Reason, Section, Theme};

/// The most links that one form may name. An undo is such a form.
pub const NAMED_LINKS_MAX: usize = PAGE_LINKS_MAX;

/// The bytes of a form that are kept for what is not a name of a link, such as the address of the list.
const FORM_REST_BYTES: usize = 24 << 10;

/// What is done with many links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// They get a tag.
    Tag(String),
    /// They lose a tag.
    Untag(String),
    /// They answer `410` for the time being.
    Disable,
    /// They lead to their targets again.
    Enable,
    /// They are deleted.
    Delete,
    /// They get another tag in the place of one.
    Rename {
        /// The tag.
        tag: String,
        /// The other one.
        with: String,
    },
}

impl Action {
    /// The action of a form; `None` if it names none, or the tag is missing.
    pub fn of(form: &Form) -> Option<Self> {
        let tag = || form.given("tag").map(str::to_owned);
        match form.value("action") {
            "tag" => tag().map(Self::Tag),
            "untag" => tag().map(Self::Untag),
            "disable" => Some(Self::Disable),
            "enable" => Some(Self::Enable),
            "delete" => Some(Self::Delete),
            _ => None,
        }
    }

    /// Its name in forms.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Tag(_) => "tag",
            Self::Untag(_) => "untag",
            Self::Disable => "disable",
            Self::Enable => "enable",
            Self::Delete => "delete",
            Self::Rename { .. } => "rename",
        }
    }

    /// The tag that it is about.
    pub fn tag(&self) -> &str {
        match self {
            Self::Tag(tag) | Self::Untag(tag) | Self::Rename { tag, .. } => tag,
            Self::Disable | Self::Enable | Self::Delete => "",
        }
    }

    /// The tag that takes its place.
    fn with(&self) -> Option<&str> {
        if let Self::Rename { with, .. } = self { Some(with) } else { None }
    }

    /// What takes it back; `None` = nothing does. Of two tags that became one, nobody remembers which link had which.
    pub fn inverse(&self) -> Option<Self> {
        match self {
            Self::Tag(tag) => Some(Self::Untag(tag.clone())),
            Self::Untag(tag) => Some(Self::Tag(tag.clone())),
            Self::Disable => Some(Self::Enable),
            Self::Enable => Some(Self::Disable),
            Self::Delete | Self::Rename { .. } => None,
        }
    }

    /// What is asked before.
    fn question(&self, cx: &Context, links: &u64) -> String {
        let key = match self {
            Self::Tag(_) => "bulk.ask-tag",
            Self::Untag(_) => "bulk.ask-untag",
            Self::Disable => "bulk.ask-disable",
            Self::Enable => "bulk.ask-enable",
            // Its form says all that there is to ask.
            Self::Delete | Self::Rename { .. } => "bulk.ask-delete",
        };
        cx.count(key, links).replacen("{tag}", self.tag(), 1)
    }

    /// What the button says that does it.
    fn button(&self) -> &'static str {
        match self {
            Self::Tag(_) => "bulk.tag",
            Self::Untag(_) => "bulk.untag",
            Self::Disable => "bulk.disable",
            Self::Enable => "bulk.enable",
            Self::Delete => "bulk.delete",
            Self::Rename { .. } => "tags.rename",
        }
    }

    /// What was done.
    fn done(&self, cx: &Context, links: &u64) -> String {
        let key = match self {
            Self::Tag(_) => "bulk.did-tag",
            Self::Untag(_) => "bulk.did-untag",
            Self::Disable => "bulk.did-disable",
            Self::Enable => "bulk.did-enable",
            Self::Delete => "bulk.did-delete",
            Self::Rename { .. } => "bulk.did-rename",
        };
        // The new tag first: a tag may contain what stands for the other one.
        cx.count(key, links).replacen("{tag}", self.with().unwrap_or(self.tag()), 1)
    }
}

/// Asks before many links are changed.
#[derive(Template)]
#[template(path = "bulk_ask.html")]
pub struct BulkAskView {
    /// What every view needs.
    pub cx: Context,
    /// What is to be done.
    pub action: Action,
    /// How many links are meant.
    pub links: u64,
    /// Whether there may be more.
    pub is_minimum: bool,
    /// How many shards are missing.
    pub missing: u64,
    /// The links that are meant, by their names in forms; empty = all of the filter.
    pub names: Vec<String>,
    /// The filter.
    pub filter: Form,
    /// Where one came from.
    pub back: String,
}

impl BulkAskView {
    /// How many changed links the next page can take back.
    fn undo_max(&self) -> u64 {
        NAMED_LINKS_MAX as u64
    }
}

/// How far it is: each of these takes the place of the one before.
#[derive(Template)]
#[template(path = "bulk_step.html")]
pub struct BulkStepView<'a> {
    /// What every view needs.
    pub cx: &'a Context,
    /// How many links had their turn.
    pub done: u64,
    /// How many are meant.
    pub links: u64,
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// How many links were changed.
    pub changed: u64,
    /// How many were as they should be already.
    pub unchanged: u64,
    /// How many could not be changed.
    pub failed: u64,
    /// Some of these, and why.
    pub failures: Vec<(String, Reason)>,
    /// The names of those that were changed, for the undo; `None` = they are too many.
    names: Option<Vec<String>>,
    /// The bytes that further names may have as they are sent.
    room: usize,
    /// Why it ended before all links had their turn.
    pub stopped: Option<String>,
}

impl Outcome {
    /// Nothing is done yet. A form may have `body_max_bytes` bytes: an undo that would have more is not offered.
    pub fn new(body_max_bytes: usize) -> Self {
        let room = body_max_bytes.saturating_sub(FORM_REST_BYTES);
        Self { names: Some(Vec::new()), room, ..Self::default() }
    }

    /// Notes a link that was changed, by its name in forms; for the undo, too, as long as one form can name them all.
    pub fn change(&mut self, name: String) {
        self.changed += 1;
        let bytes = "&link=".len() + form_urlencoded::byte_serialize(name.as_bytes()).map(str::len).sum::<usize>();
        let names = self.names.take().filter(|names| names.len() < NAMED_LINKS_MAX && bytes <= self.room);
        self.names = names.map(|mut names| {
            self.room -= bytes;
            names.push(name);
            names
        });
    }

    /// Whether there would be a way back if they were fewer.
    fn is_too_large(&self, action: &Action) -> bool {
        self.names.is_none() && self.changed > 0 && action.inverse().is_some()
    }

    /// The form that takes an action back, if there is a way.
    fn undo(&self, action: &Action) -> Option<(Action, &[String])> {
        let names = self.names.as_deref().filter(|names| !names.is_empty())?;
        Some((action.inverse()?, names))
    }
}

/// What came of a change of many links.
#[derive(Template)]
#[template(path = "bulk_done.html")]
pub struct BulkDoneView {
    /// What every view needs.
    pub cx: Context,
    /// What was done.
    pub action: Action,
    /// What came of it.
    pub outcome: Outcome,
    /// Where one came from.
    pub back: String,
}

/// The same as a part of a page: below the steps.
#[derive(Template)]
#[template(path = "bulk_outcome.html")]
pub struct BulkOutcomeView {
    /// What every view needs.
    pub cx: Context,
    /// What was done.
    pub action: Action,
    /// What came of it.
    pub outcome: Outcome,
    /// Where one came from.
    pub back: String,
}

/// The frame of the steps; where they come, it has [`STEPS`].
#[derive(Template)]
#[template(path = "bulk_steps.html")]
pub struct BulkStepsView {
    /// What every view needs.
    pub cx: Context,
    /// What is done.
    pub action: Action,
}

/// Where the steps come.
pub const STEPS: &str = "<!-- steps -->";

#[cfg(test)]
mod tests {
    use super::*;

    fn done(action: Action, names: Option<Vec<String>>) -> String {
        let failures = vec![("<b>x</b>".to_owned(), "<i>no</i>".into())];
        let stopped = Some("It ended <early>.".to_owned());
        let outcome = Outcome { changed: 2, failed: 1, failures, names, stopped, ..Outcome::default() };
        let cx = Context::example("en");
        BulkDoneView { cx, action, outcome, back: "/ui/links?q=\"".to_owned() }.render().unwrap()
    }

    #[test]
    fn a_change_is_taken_back_by_its_inverse_for_the_links_that_it_changed() {
        let names = || Some(vec![" a".to_owned(), "go.example <script>".to_owned()]);
        let page = done(Action::Tag("<b>".to_owned()), names());
        assert!(page.contains("value=\"untag\"") && page.contains("value=\" a\""), "{page}");
        // Also of what was done before it ended early.
        assert!(page.contains("It ended &#60;early&#62;."), "{page}");
        for text in ["<b>", "<i>", "go.example <script>"] {
            assert!(!page.contains(text), "{text} in {page}");
        }
        assert!(done(Action::Disable, names()).contains("value=\"enable\""));
        assert!(!done(Action::Delete, names()).contains("bulk-undo"));
        let page = done(Action::Disable, None);
        assert!(!page.contains("bulk-undo") && page.contains("cannot be taken back here"), "{page}");
        assert!(!done(Action::Delete, None).contains("cannot be taken back here"));
    }

    #[test]
    fn an_undo_names_as_many_links_as_one_form_may_and_never_only_some_of_them() {
        let undo = |links: usize, body_max_bytes: usize, name: &str| {
            let mut outcome = Outcome::new(body_max_bytes);
            (0..links).for_each(|_| outcome.change(name.to_owned()));
            assert_eq!(outcome.changed, links as u64);
            outcome.undo(&Action::Disable).map(|(_, names)| names.to_vec())
        };
        assert_eq!(undo(NAMED_LINKS_MAX, 64 << 10, " abcdefg").unwrap().len(), NAMED_LINKS_MAX);
        assert!(undo(NAMED_LINKS_MAX + 1, 64 << 10, " abcdefg").is_none());
        // Letters that are three bytes in a form, or six.
        let long = format!(" {}", "ü".repeat(20));
        let names = undo(300, 64 << 10, &long).unwrap();
        let form = Form::of(names.into_iter().map(|name| ("link".to_owned(), name))).query();
        assert!(form.len() <= 40 << 10, "{}", form.len());
        assert!(undo(350, 64 << 10, &long).is_none());
        assert!(undo(1, 16 << 10, " abc").is_none());
    }

    #[test]
    fn a_question_says_how_many_links_are_meant_and_what_is_lost() {
        let ask = |action, names: Vec<String>| {
            let filter = Form::read(b"q=%3Cb%3E&state=expired");
            let cx = Context::example("en");
            BulkAskView {
                cx,
                action,
                links: 1234,
                is_minimum: false,
                missing: 0,
                names,
                filter,
                back: "/ui/links".to_owned(),
            }
            .render()
            .unwrap()
        };
        let page = ask(Action::Delete, Vec::new());
        assert!(
            page.contains("1,234") && page.contains("name=\"confirmed\"") && page.contains("&#60;b&#62;"),
            "{page}"
        );
        assert!(page.contains("name=\"filter\" value=\"q=%3Cb%3E&#38;state=expired\""), "{page}");
        let page = ask(Action::Tag("x\"y".to_owned()), vec![" a".to_owned()]);
        assert!(page.contains("name=\"link\" value=\" a\"") && !page.contains("x\"y"), "{page}");
    }

    #[test]
    fn a_form_without_a_tag_names_no_action() {
        let of = |body: &str| Action::of(&Form::read(body.as_bytes()));
        assert_eq!(of("action=tag&tag=+a+"), Some(Action::Tag("a".to_owned())));
        assert_eq!((of("action=tag&tag="), of("action=untag"), of("action=x")), (None, None, None));
        for action in ["disable", "enable", "delete"] {
            assert_eq!(of(&format!("action={action}")).unwrap().name(), action);
        }
    }

    #[test]
    fn the_frame_of_the_steps_has_one_place_for_them() {
        let view = BulkStepsView { cx: Context::example("de"), action: Action::Disable }.render().unwrap();
        assert_eq!(view.matches(STEPS).count(), 1);
        let cx = Context::example("en");
        let step = BulkStepView { cx: &cx, done: 64, links: 1000 }.render().unwrap();
        assert!(step.contains("max=\"1000\"") && step.contains("64"), "{step}");
    }
}
