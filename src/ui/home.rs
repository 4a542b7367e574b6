//! The first page: a field for a URL, what becomes of it, and how the links fare.

use askama::Template;

use super::{Context, Form, LinkItem, Section, Theme};

/// A link that was just made, or found.
#[derive(Debug, Clone)]
pub struct Made {
    /// The link.
    pub link: LinkItem,
    /// Whether it was there before.
    pub existed: bool,
    /// Whether it is so new that it can be undone.
    pub undo: bool,
    /// Its QR code, as an address that has the image in it.
    pub qr: String,
}

/// The form for a new link, and what became of the last one.
#[derive(Debug, Clone, Default)]
pub struct Create {
    /// What was typed.
    pub form: Form,
    /// Identifies the form: sent twice, it makes one link.
    pub key: String,
    /// Whether the further fields are shown.
    pub more: bool,
    /// The hosts of the domains besides the default one.
    pub domains: Vec<String>,
    /// What was just made.
    pub made: Option<Made>,
}

/// The form alone: what replaces it when it was sent.
#[derive(Template)]
#[template(path = "create.html")]
pub struct CreateView {
    /// What every view needs.
    pub cx: Context,
    /// The form.
    pub create: Create,
}

/// Visits in a time, and in the time before that was as long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figure {
    /// In this time.
    pub now: u64,
    /// In the time before.
    pub before: u64,
}

/// How a figure has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trend {
    /// There is nothing to compare with.
    None,
    /// By less than one percent.
    Even,
    /// It rose by so many percent.
    Up(u64),
    /// It fell by so many percent.
    Down(u64),
}

impl Figure {
    /// How it has changed.
    pub fn trend(&self) -> Trend {
        let Some(percent) = (self.now.abs_diff(self.before).saturating_mul(100)).checked_div(self.before) else {
            return Trend::None;
        };
        match percent {
            0 => Trend::Even,
            _ if self.now > self.before => Trend::Up(percent),
            _ => Trend::Down(percent),
        }
    }
}

/// The visits of all links.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    /// Of the last 24 hours.
    pub day: Figure,
    /// Of the last 30 days.
    pub month: Figure,
    /// Whether newer visits may be missing.
    pub stale: bool,
}

/// Something that somebody should look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attention {
    /// Its class in the style sheet: `warn` or `bad`.
    pub class: &'static str,
    /// What it is.
    pub text: String,
    /// Where it is seen.
    pub href: String,
}

/// The first page.
#[derive(Template)]
#[template(path = "home.html")]
pub struct HomeView {
    /// What every view needs.
    pub cx: Context,
    /// The form.
    pub create: Create,
    /// The visits; `None` = they cannot be told now.
    pub figures: Option<Figures>,
    /// How many links there are.
    pub total: u64,
    /// The newest links.
    pub newest: Vec<LinkItem>,
    /// The most visited links.
    pub visited: Vec<LinkItem>,
    /// How many shards are missing.
    pub missing: u64,
    /// What needs attention.
    pub attention: Vec<Attention>,
}

impl HomeView {
    /// Whether there is no link yet.
    fn is_first_use(&self) -> bool {
        self.newest.is_empty() && self.missing == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(language: &str) -> HomeView {
        HomeView {
            cx: Context::example(language),
            create: Create { domains: vec!["go.example".to_owned()], ..Create::default() },
            figures: Some(Figures { day: Figure { now: 1500, before: 1000 }, ..Figures::default() }),
            total: 1234,
            newest: vec![LinkItem::hostile()],
            visited: vec![LinkItem::hostile()],
            missing: 0,
            attention: Vec::new(),
        }
    }

    #[test]
    fn a_trend_compares_with_the_time_before() {
        for (now, before, trend) in [
            (0, 0, Trend::None),
            (5, 0, Trend::None),
            (1000, 1000, Trend::Even),
            (1500, 1000, Trend::Up(50)),
            (0, 7, Trend::Down(100)),
            (u64::MAX, 1, Trend::Up(u64::MAX)),
        ] {
            assert_eq!(Figure { now, before }.trend(), trend, "{now} {before}");
        }
    }

    #[test]
    fn hostile_texts_stay_texts() {
        for language in ["en", "de"] {
            let mut view = view(language);
            view.create.made = Some(Made {
                link: LinkItem::hostile(),
                existed: false,
                undo: true,
                qr: "data:image/svg+xml,".to_owned(),
            });
            view.create.form.set("longUrl", "\"><script>alert(1)</script>");
            view.create.form.refuse("longUrl", "<b>no</b>");
            view.attention.push(Attention {
                class: "bad",
                text: "<i>n1</i>".to_owned(),
                href: "/ui/cluster".to_owned(),
            });
            let page = view.render().unwrap();
            for text in ["<script>alert", "<img src=x", "<b>", "<i>n1", "<script>\n"] {
                assert!(!page.contains(text), "{text} in {page}");
            }
            assert!(page.contains("aria-invalid=\"true\"") && page.contains("1,234,567") || language == "de");
        }
    }

    #[test]
    fn the_first_page_without_links_explains_itself_and_shows_no_empty_tables() {
        let page = HomeView { newest: Vec::new(), visited: Vec::new(), total: 0, ..view("en") }.render().unwrap();
        assert!(page.contains("class=\"empty\"") && !page.contains("class=\"figure"), "{page}");
        // Without some shards nobody knows whether there is a link.
        let page = HomeView { newest: Vec::new(), missing: 2, figures: None, ..view("en") }.render().unwrap();
        assert!(page.contains("2 shards") && !page.contains("class=\"empty\""), "{page}");
    }

    #[test]
    fn a_link_that_was_made_can_be_undone_and_one_that_was_found_cannot() {
        let create = |undo: bool| Create {
            made: Some(Made { link: LinkItem::hostile(), existed: !undo, undo, qr: String::new() }),
            ..Create::default()
        };
        let page =
            |existed: bool| CreateView { cx: Context::example("en"), create: create(!existed) }.render().unwrap();
        assert!(page(false).contains("/ui/links/undo") && !page(true).contains("/ui/links/undo"));
        assert!(page(false).contains("data-copy=\"https://go.example/m%C3%BCnchen/x\""));
    }
}
