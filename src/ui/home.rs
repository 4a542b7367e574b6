//! The first page.

use askama::Template;

use super::{Context, Section};

/// The first page.
#[derive(Template)]
#[template(path = "home.html")]
pub struct HomeView {
    /// What every view needs.
    pub cx: Context,
}
