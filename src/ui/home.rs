//! The first page.

use askama::Template;

use super::{Context, Section, Theme};

/// The first page.
#[derive(Template)]
#[template(path = "home.html")]
pub struct HomeView {
    /// What every view needs.
    pub cx: Context,
}
