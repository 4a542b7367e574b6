//! Changes of many links: what is asked before, how far they are, and what came of them.

use askama::Template;

use super::{Context, Form, Section, Theme};

/// The bytes of the names of links that an undo may have: they come back in a form, whose length is bounded (`[http] body_max_bytes`, 64 KiB).
pub const UNDO_BYTES_MAX: usize = 40 << 10;

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
        }
    }

    /// The tag that it is about.
    pub fn tag(&self) -> &str {
        match self {
            Self::Tag(tag) | Self::Untag(tag) => tag,
            Self::Disable | Self::Enable | Self::Delete => "",
        }
    }

    /// What takes it back; `None` = nothing does.
    pub fn inverse(&self) -> Option<Self> {
        match self {
            Self::Tag(tag) => Some(Self::Untag(tag.clone())),
            Self::Untag(tag) => Some(Self::Tag(tag.clone())),
            Self::Disable => Some(Self::Enable),
            Self::Enable => Some(Self::Disable),
            Self::Delete => None,
        }
    }

    /// What is asked before.
    fn question(&self, cx: &Context, links: &u64) -> String {
        let key = match self {
            Self::Tag(_) => "bulk.ask-tag",
            Self::Untag(_) => "bulk.ask-untag",
            Self::Disable => "bulk.ask-disable",
            Self::Enable => "bulk.ask-enable",
            Self::Delete => "bulk.ask-delete",
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
        };
        cx.count(key, links).replacen("{tag}", self.tag(), 1)
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
    pub failures: Vec<(String, String)>,
    /// The names of those that were changed, for the undo; `None` = they are too many.
    pub names: Option<Vec<String>>,
    /// Why it ended before all links had their turn.
    pub stopped: Option<String>,
}

impl Outcome {
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
        let failures = vec![("<b>x</b>".to_owned(), "<i>no</i>".to_owned())];
        let outcome = Outcome { changed: 2, failed: 1, failures, names, ..Outcome::default() };
        let cx = Context::example("en");
        BulkDoneView { cx, action, outcome, back: "/ui/links?q=\"".to_owned() }.render().unwrap()
    }

    #[test]
    fn a_change_is_taken_back_by_its_inverse_for_the_links_that_it_changed() {
        let names = || Some(vec![" a".to_owned(), "go.example <script>".to_owned()]);
        let page = done(Action::Tag("<b>".to_owned()), names());
        assert!(page.contains("value=\"untag\"") && page.contains("value=\" a\""), "{page}");
        for text in ["<b>", "<i>", "go.example <script>"] {
            assert!(!page.contains(text), "{text} in {page}");
        }
        assert!(done(Action::Disable, names()).contains("value=\"enable\""));
        assert!(!done(Action::Delete, names()).contains("bulk-undo"));
        assert!(!done(Action::Disable, None).contains("bulk-undo"));
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
