//! The page that stands for another one that cannot be shown.

use askama::Template;

use super::{Context, Section, Theme};

/// Why a page cannot be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// There is no such page, or no such link.
    NotFound,
    /// This node does not know the deletion that is to be taken back.
    DeletionGone,
    /// Nobody has signed in.
    SignedOut,
    /// Who has signed in may not, or the request does not come from a page of the dashboard.
    Forbidden,
    /// The request cannot be understood.
    Malformed,
    /// The form is longer than the server reads.
    TooLarge,
    /// The server has too much to do, or its services do not answer.
    Busy,
    /// Nobody knows whether a change was made.
    Unknown,
    /// The server takes no changes.
    ReadOnly,
    /// Something went wrong in the server.
    Broken,
}

impl Failure {
    fn title(self) -> &'static str {
        match self {
            Self::NotFound => "failure.not-found",
            Self::DeletionGone => "failure.deletion-gone",
            Self::SignedOut => "failure.signed-out",
            Self::Forbidden => "failure.forbidden",
            Self::Malformed => "failure.malformed",
            Self::TooLarge => "failure.too-large",
            Self::Busy => "failure.busy",
            Self::Unknown => "failure.unknown",
            Self::ReadOnly => "failure.read-only",
            Self::Broken => "failure.broken",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::NotFound => "failure.not-found-text",
            Self::DeletionGone => "failure.deletion-gone-text",
            Self::SignedOut => "failure.signed-out-text",
            Self::Forbidden => "failure.forbidden-text",
            Self::Malformed => "failure.malformed-text",
            Self::TooLarge => "failure.too-large-text",
            Self::Busy => "failure.busy-text",
            Self::Unknown => "failure.unknown-text",
            Self::ReadOnly => "failure.read-only-text",
            Self::Broken => "failure.broken-text",
        }
    }

    /// Whether the same request may be answered in a moment.
    fn passes(self) -> bool {
        matches!(self, Self::Busy | Self::DeletionGone)
    }
}

/// The page that stands for another one.
#[derive(Template)]
#[template(path = "failure.html")]
pub struct FailureView {
    /// What every view needs.
    pub cx: Context,
    /// Why.
    pub failure: Failure,
    /// What exactly is wrong, in English, for those who can change it; may be empty.
    pub detail: String,
}

impl FailureView {
    /// What went wrong, in one line.
    pub fn line(&self) -> String {
        self.cx.t(self.failure.title()).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_can_be_done_and_shows_its_detail_as_text() {
        let view = |failure, detail: &str| {
            FailureView { cx: Context::example("en"), failure, detail: detail.to_owned() }.render().unwrap()
        };
        let busy = view(Failure::Busy, "\"><script>alert(1)</script>");
        assert!(busy.contains("href=\"/ui/\"") && !busy.contains("<script>alert"), "{busy}");
        let other = view(Failure::NotFound, "");
        assert!(!other.contains("class=\"detail"), "{other}");
    }

    #[test]
    fn the_frame_has_the_language_the_theme_and_the_notice() {
        let mut cx = Context::example("de");
        cx.theme = Theme::Dark;
        cx.notice = Some("<b>Gespeichert</b>".to_owned());
        let page = FailureView { cx, failure: Failure::NotFound, detail: String::new() }.render().unwrap();
        assert!(page.contains("<html lang=\"de\" dir=\"ltr\" data-theme=\"dark\">"), "{page}");
        assert!(page.contains("&#60;b&#62;Gespeichert") || page.contains("&lt;b&gt;Gespeichert"), "{page}");
        assert!(page.contains("Europe/Berlin"), "{page}");
        // Without navigation there is nothing to go to.
        let cx = Context { section: Section::None, ..Context::example("en") };
        let page = FailureView { cx, failure: Failure::SignedOut, detail: String::new() }.render().unwrap();
        assert!(!page.contains("<nav"), "{page}");
    }
}
