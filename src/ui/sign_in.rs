//! The pages on which people sign in.

use askama::Template;

use super::{Context, Draft, Section, Theme};

/// The page with the field for the admin key, and what to do on the machine of the server.
#[derive(Template)]
#[template(path = "sign_in.html")]
pub struct SignInView {
    /// What every view needs.
    pub cx: Context,
    /// Whether there is an admin key.
    pub has_key: bool,
    /// The page to go on to.
    pub next: String,
    /// What went wrong, by the key of its text.
    pub error: Option<&'static str>,
    /// The form that was sent when nobody was signed in any more.
    pub draft: Option<Draft>,
}

/// The page of a one-time link.
#[derive(Template)]
#[template(path = "one_time.html")]
pub struct OneTimeView {
    /// What every view needs.
    pub cx: Context,
    /// The secret of the link.
    pub secret: String,
}
