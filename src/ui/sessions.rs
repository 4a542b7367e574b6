//! The list of sessions.

use askama::Template;

use super::{Context, Section, Theme};
use crate::app::{Author, SessionView};

/// A session, as a row.
pub struct SessionRow {
    /// Its public name in forms.
    pub id: String,
    /// Whether it is the one that the page is shown to.
    pub is_own: bool,
    /// What is known of it.
    pub view: SessionView,
}

impl SessionRow {
    /// Where it is used.
    fn device<'a>(&'a self, cx: &'a Context) -> &'a str {
        if self.view.device.is_empty() { cx.t("sessions.unknown") } else { &self.view.device }
    }

    /// How the person has signed in, by the key of the text.
    fn by(&self) -> &'static str {
        match self.view.author {
            Author::Account => "sessions.by-link",
            Author::Admin | Author::Key(_) => "sessions.by-key",
        }
    }
}

/// The list of sessions.
#[derive(Template)]
#[template(path = "sessions.html")]
pub struct SessionsView {
    /// What every view needs.
    pub cx: Context,
    /// The sessions, the one used last first.
    pub rows: Vec<SessionRow>,
}
