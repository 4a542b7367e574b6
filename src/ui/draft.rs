//! A form that arrived when nobody was signed in any more: what was typed is kept in the pages on which one signs in, and offered again afterwards.

use askama::Template;

use super::{Context, Form, Section, Theme, field_label, field_names};

/// What the names of its fields begin with where they are kept.
const KEPT: &str = "draft.";
/// The field that names where it was sent.
const ACTION: &str = "draft-action";
/// The fields that are not kept, because they are secrets: they have to be typed again.
const SECRETS: [&str; 1] = ["password"];
/// What a kept field takes beyond its name and its value, and the rest of the form with the key, in bytes as they are sent.
const FIELD_BYTES: usize = KEPT.len();
const REST_BYTES: usize = 16 << 10;

/// A form that was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Where it was sent: a path of the dashboard, with its query.
    pub action: String,
    fields: Vec<(String, String)>,
}

impl Draft {
    /// Keeps a form that was sent to `action` and has `bytes` as it was sent; `None` if a form that can have `bytes_max` has no room for it.
    pub fn of(action: String, form: &Form, bytes: usize, bytes_max: usize) -> Option<Self> {
        let fields: Vec<_> = form.pairs().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let sent = bytes + fields.len() * FIELD_BYTES + REST_BYTES;
        (!fields.is_empty() && sent <= bytes_max).then(|| Self { action, fields: without_secrets(fields) })
    }

    /// The form that the page on which one signs in has kept, if it has. `ours` makes a path of the dashboard of any text.
    pub fn kept(form: &Form, ours: impl FnOnce(&str) -> String) -> Option<Self> {
        let action = ours(form.given(ACTION)?);
        let kept =
            form.pairs().filter_map(|(name, value)| Some((name.strip_prefix(KEPT)?.to_owned(), value.to_owned())));
        Some(Self { action, fields: without_secrets(kept.collect()) })
    }

    /// The hidden fields that keep it in another form.
    pub fn as_kept(&self) -> impl Iterator<Item = (String, &str)> {
        let fields = self.fields.iter().map(|(name, value)| (format!("{KEPT}{name}"), value.as_str()));
        std::iter::once((ACTION.to_owned(), self.action.as_str())).chain(fields)
    }

    /// The fields as they were sent, but for those that have to be typed again.
    pub fn again(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields
            .iter()
            .filter(|(name, value)| !is_typed_again(name, value))
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The names of the fields that have to be typed again.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().filter(|(name, value)| is_typed_again(name, value)).map(|(name, _)| name.as_str())
    }

    /// What was typed of a link: the label of each field, by its key, and its text.
    pub fn typed(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let typed = self
            .fields
            .iter()
            .filter(|(name, value)| !value.is_empty() && field_names().any(|of_link| of_link == name));
        typed.map(|(name, value)| (field_label(name), value.as_str()))
    }
}

/// What stands for a secret that was typed.
const TYPED: &str = "typed";

fn is_typed_again(name: &str, value: &str) -> bool {
    SECRETS.contains(&name) && value == TYPED
}

/// The fields with a mark in the place of each secret.
fn without_secrets(mut fields: Vec<(String, String)>) -> Vec<(String, String)> {
    for (_, value) in fields.iter_mut().filter(|(name, value)| SECRETS.contains(&name.as_str()) && !value.is_empty()) {
        TYPED.clone_into(value);
    }
    fields
}

/// Offers a form again to somebody who has signed in anew.
#[derive(Template)]
#[template(path = "draft.html")]
pub struct DraftView {
    /// What every view needs.
    pub cx: Context,
    /// The form.
    pub draft: Draft,
    /// The page to go to without sending it.
    pub next: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(body: &[u8]) -> Draft {
        Draft::of("/ui/link/a".to_owned(), &Form::read(body), body.len(), 64 << 10).unwrap()
    }

    #[test]
    fn a_form_is_kept_whole_in_another_form_and_no_secret_is() {
        let first = draft(b"title=a%0D%0Ab&tags=x&tags=y&password=night+ferry&passwordChange=set&empty=");
        let carried = Form::of(
            first.as_kept().map(|(name, value)| (name, value.to_owned())).chain([("key".to_owned(), "k".to_owned())]),
        );
        assert!(carried.pairs().all(|(_, value)| !value.contains("night")), "{carried:?}");
        let second = Draft::kept(&carried, str::to_owned).unwrap();
        assert_eq!(second, first);
        let again: Vec<_> = second.again().collect();
        assert_eq!(
            again,
            [("title", "a\r\nb"), ("tags", "x"), ("tags", "y"), ("passwordChange", "set"), ("empty", "")]
        );
        assert_eq!(second.secrets().collect::<Vec<_>>(), ["password"]);
        assert_eq!(second.typed().next(), Some(("link.field.title", "a\r\nb")));
        // None was typed, so none is asked for.
        assert_eq!(draft(b"password=&title=a").secrets().count(), 0);
    }

    #[test]
    fn what_would_not_fit_into_the_next_form_is_not_kept_and_without_a_form_there_is_nothing_to_keep() {
        let body = format!("title={}", "x".repeat(100));
        let of = |bytes_max| Draft::of(String::new(), &Form::read(body.as_bytes()), body.len(), bytes_max);
        assert!(
            of(body.len() + FIELD_BYTES + REST_BYTES).is_some()
                && of(body.len() + FIELD_BYTES + REST_BYTES - 1).is_none()
        );
        assert_eq!(Draft::of(String::new(), &Form::default(), 0, 1 << 20), None);
        assert_eq!(Draft::kept(&Form::read(b"key=k&next=/ui/"), str::to_owned), None);
    }

    #[test]
    fn a_form_that_is_offered_again_is_shown_and_not_run() {
        let hostile = form_urlencoded::byte_serialize(b"\"><script>alert(1)</script>").collect::<String>();
        let draft = draft(format!("title={hostile}&{hostile}={hostile}&password={hostile}").as_bytes());
        let html = DraftView { cx: Context::example("de"), draft, next: "/ui/".to_owned() }.render().unwrap();
        assert!(!html.contains("<script>alert") && html.contains("type=\"password\" name=\"password\""), "{html}");
        assert!(html.contains("action=\"/ui/link/a\"") && html.matches("alert(1)").count() >= 3, "{html}");
    }
}
