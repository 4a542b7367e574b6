//! The list of links.

use askama::Template;

use super::{Context, Form, LinkItem, Section, Theme};

/// A column of the list that can be left out. The link itself is always there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// Its tags.
    Tags,
    /// What visitors get.
    State,
    /// Visits of people.
    Clicks,
    /// Visits of bots.
    Bots,
    /// The last visit of a person.
    LastVisit,
    /// When it was created.
    Created,
    /// When it ends.
    End,
    /// The host of its domain.
    Domain,
    /// The note for those who manage it.
    Note,
}

impl Column {
    /// All of them, in their order.
    pub const ALL: &[Self] = &[
        Self::Tags,
        Self::State,
        Self::Clicks,
        Self::Bots,
        Self::LastVisit,
        Self::Created,
        Self::End,
        Self::Domain,
        Self::Note,
    ];

    /// Those that are shown unless others are chosen.
    pub const USUAL: &[Self] = &[Self::Tags, Self::State, Self::Clicks, Self::Created];

    /// Its name in forms and in the cookie.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tags => "tags",
            Self::State => "state",
            Self::Clicks => "clicks",
            Self::Bots => "bots",
            Self::LastVisit => "lastVisit",
            Self::Created => "created",
            Self::End => "end",
            Self::Domain => "domain",
            Self::Note => "note",
        }
    }

    /// The key of its head.
    pub fn text(self) -> &'static str {
        match self {
            Self::Tags => "column.tags",
            Self::State => "column.state",
            Self::Clicks => "column.clicks",
            Self::Bots => "column.bots",
            Self::LastVisit => "column.last-visit",
            Self::Created => "column.created",
            Self::End => "column.end",
            Self::Domain => "column.domain",
            Self::Note => "column.note",
        }
    }

    /// The order of the API by this column, if there is one.
    fn sort(self) -> Option<&'static str> {
        match self {
            Self::Clicks => Some("visits"),
            Self::LastVisit => Some("lastVisit"),
            Self::Created => Some("createdAt"),
            Self::Tags | Self::State | Self::Bots | Self::End | Self::Domain | Self::Note => None,
        }
    }

    /// Whether it has numbers.
    fn is_number(self) -> bool {
        matches!(self, Self::Clicks | Self::Bots)
    }

    /// The columns that a choice names, with dots between; the usual ones if it names none.
    pub fn chosen(text: &str) -> Vec<Self> {
        let named = |column: &Self| text.split('.').any(|name| name == column.name());
        let chosen: Vec<Self> = Self::ALL.iter().copied().filter(named).collect();
        if chosen.is_empty() { Self::USUAL.to_vec() } else { chosen }
    }
}

/// The states by which links are found: the name in the API, and the key of the text.
pub const STATES: &[(&str, &str)] = &[
    ("active", "state.active"),
    ("endsSoon", "state.ends-soon"),
    ("notYet", "state.not-yet"),
    ("expired", "state.expired"),
    ("exhausted", "state.exhausted"),
    ("disabled", "state.disabled"),
    ("protected", "state.protected"),
];

/// The orders of a list: the name in the API, and the key of the text.
pub const SORTS: &[(&str, &str)] = &[
    ("-createdAt", "sort.newest"),
    ("createdAt", "sort.oldest"),
    ("-visits", "sort.most-visited"),
    ("-lastVisit", "sort.last-visited"),
    ("-editedAt", "sort.last-edited"),
    ("title", "sort.title"),
    ("slug", "sort.slug"),
];

/// A page of the list.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// What is asked for, without the place of the page: the parameters of the API, and dates as they were typed.
    pub asked: Form,
    /// The place behind which the page begins.
    pub cursor: Option<String>,
    /// The place behind which the next one begins; `None` = this is the last one.
    pub next: Option<String>,
    /// The links.
    pub items: Vec<LinkItem>,
    /// How many links fit; `None` = they were not counted for this page.
    pub total: Option<u64>,
    /// Whether there may be more.
    pub is_minimum: bool,
    /// How many shards are missing.
    pub missing: u64,
    /// Why this cannot be asked for.
    pub refused: Option<String>,
    /// The columns.
    pub columns: Vec<Column>,
}

/// The head of a column.
pub struct Head {
    /// The key of its text.
    text: &'static str,
    /// The list in this order; `None` = there is none.
    href: Option<String>,
    /// The present order, as `aria-sort` has it; empty = it is another one.
    sorted: &'static str,
    class: &'static str,
}

impl Head {
    /// Its link in the page, so that it keeps the focus when the list is replaced.
    fn id(&self) -> String {
        self.text.replace('.', "-")
    }
}

impl Listing {
    /// The address of a list with these parameters.
    fn address(cx: &Context, asked: &Form) -> String {
        let query = asked.query();
        if query.is_empty() { format!("{}/links", cx.base) } else { format!("{}/links?{query}", cx.base) }
    }

    /// The address of this page.
    pub fn here(&self, cx: &Context) -> String {
        Self::address(cx, &self.asked.with("cursor", self.cursor.as_deref()))
    }

    /// The address of the first page.
    pub fn first(&self, cx: &Context) -> String {
        Self::address(cx, &self.asked)
    }

    /// The address of the next page.
    fn next_page(&self, cx: &Context) -> Option<String> {
        self.next.as_deref().map(|next| Self::address(cx, &self.asked.with("cursor", Some(next))))
    }

    /// The address of the whole list as CSV.
    fn export(&self, cx: &Context) -> String {
        format!("{}/links/export?{}", cx.base, self.asked.query())
    }

    /// The list of all links with a tag.
    fn of_tag(&self, cx: &Context, tag: &str) -> String {
        Self::address(cx, &Form::default().with("tags", Some(tag)))
    }

    fn head(&self, cx: &Context, text: &'static str, sort: Option<&'static str>, class: &'static str) -> Head {
        let (present, descending) = match self.asked.given("sort").unwrap_or("-createdAt") {
            sort if sort.starts_with('-') => (&sort[1..], true),
            sort => (sort, false),
        };
        let is_present = sort == Some(present);
        let href = sort.map(|sort| {
            // Texts begin with the first, numbers and times with the largest.
            let down = if is_present { !descending } else { sort != "title" };
            let sort = format!("{}{sort}", if down { "-" } else { "" });
            Self::address(cx, &self.asked.with("sort", Some(&sort)))
        });
        let sorted = match (is_present, descending) {
            (false, _) => "",
            (true, true) => "descending",
            (true, false) => "ascending",
        };
        Head { text, href, sorted, class }
    }

    /// The heads of all columns.
    fn heads(&self, cx: &Context) -> Vec<Head> {
        let mut heads = vec![self.head(cx, "column.link", Some("title"), "")];
        heads.extend(
            self.columns
                .iter()
                .map(|column| self.head(cx, column.text(), column.sort(), if column.is_number() { "num" } else { "" })),
        );
        heads
    }

    /// The present order, if it is none of those that can be chosen, as those of the heads.
    fn other_sort(&self) -> Option<&str> {
        let sort = self.asked.given("sort").filter(|_| self.refused.is_none())?;
        SORTS.iter().all(|(name, _)| *name != sort).then_some(sort)
    }

    /// How many links there are, in words.
    fn total_text(&self, cx: &Context) -> String {
        match self.total {
            None => String::new(),
            Some(total) if self.is_minimum => cx.count("links.at-least", &total),
            Some(total) => cx.count("links.total", &total),
        }
    }

    /// Whether only some links are asked for.
    fn is_filtered(&self) -> bool {
        self.asked.pairs().any(|(name, value)| name != "sort" && !value.trim().is_empty())
    }

    /// Whether further fields of the filter are filled.
    fn has_more(&self) -> bool {
        ["excludeTags", "domain", "createdFrom", "createdTo"].iter().any(|name| self.asked.given(name).is_some())
    }
}

/// The page of the list.
#[derive(Template)]
#[template(path = "links.html")]
pub struct LinksView {
    /// What every view needs.
    pub cx: Context,
    /// A page of the list.
    pub list: Listing,
    /// The hosts of the domains besides the default one.
    pub domains: Vec<String>,
}

/// The list alone: what replaces it when somebody searches.
#[derive(Template)]
#[template(path = "list_part.html")]
pub struct ListView {
    /// What every view needs.
    pub cx: Context,
    /// A page of the list.
    pub list: Listing,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(query: &str) -> Listing {
        Listing {
            asked: Form::read(query.as_bytes()),
            items: vec![LinkItem::hostile()],
            total: Some(12_345),
            columns: Column::ALL.to_vec(),
            ..Listing::default()
        }
    }

    fn page(list: Listing) -> String {
        LinksView { cx: Context::example("en"), list, domains: vec!["go.example".to_owned()] }.render().unwrap()
    }

    #[test]
    fn hostile_texts_stay_texts_in_every_column_and_every_field() {
        let page = page(listing("q=%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E&tags=%3Cb%3E&createdFrom=%22%3E%3Cb%3E"));
        for text in ["<script>alert", "<img src=x", "<b>", "</textarea><script"] {
            assert!(!page.contains(text), "{text} in {page}");
        }
        assert!(page.contains("12,345 links"), "{page}");
    }

    #[test]
    fn columns_are_those_that_are_chosen_and_heads_turn_the_order_round() {
        assert_eq!(Column::chosen("x.note.tags"), [Column::Tags, Column::Note]);
        assert_eq!(Column::chosen(""), Column::USUAL);
        let cx = Context::example("en");
        let heads = listing("q=a&sort=visits").heads(&cx);
        let of = |text: &str| heads.iter().find(|head| head.text == text).unwrap();
        assert_eq!(of("column.clicks").href.as_deref(), Some("/ui/links?q=a&sort=-visits"));
        assert_eq!((of("column.clicks").sorted, of("column.created").sorted), ("ascending", ""));
        assert_eq!(of("column.created").href.as_deref(), Some("/ui/links?q=a&sort=-createdAt"));
        assert_eq!(of("column.link").href.as_deref(), Some("/ui/links?q=a&sort=title"));
        assert!(of("column.note").href.is_none());
    }

    #[test]
    fn an_order_that_a_head_chose_stays_chosen_when_the_list_is_replaced() {
        let part = |list| ListView { cx: Context::example("en"), list }.render().unwrap();
        for (query, option) in [
            ("q=a&sort=-visits", "<option value=\"-visits\" selected>"),
            ("q=a&sort=visits", "<option value=\"visits\" selected>"),
        ] {
            assert_eq!(page(listing(query)).matches(option).count(), 1, "{query}");
            let part = part(listing(query));
            let sort = part.find("<div id=\"sort\" hx-swap-oob=\"innerHTML\">").unwrap();
            assert_eq!(part[sort..].matches(" selected>").count(), 1, "{part}");
            assert!(part[sort..].contains(option) && part.contains("id=\"column-clicks\""), "{part}");
            // So do the ways back to this page.
            let back = format!("name=\"back\" value=\"/ui/links?{}\"", query.replace('&', "&#38;"));
            for id in ["columns-back", "here"] {
                assert!(part.contains(&format!("{back} id=\"{id}\" hx-swap-oob=\"true\"")), "{part}");
            }
            assert!(part.contains("<p id=\"list-status\" hx-swap-oob=\"innerHTML\">12,345 links</p>"), "{part}");
        }
        let further = part(Listing { cursor: Some("x".to_owned()), ..listing("sort=visits") });
        assert!(!further.contains("hx-swap-oob"), "{further}");
        let refused = page(Listing { refused: Some("no such order".to_owned()), ..listing("sort=x") });
        assert!(!refused.contains("<option value=\"x\""), "{refused}");
    }

    #[test]
    fn the_next_page_keeps_the_filter_and_the_last_one_has_none() {
        let mut list = listing("q=a&sort=slug");
        assert!(!page(list.clone()).contains("rel=\"next\""));
        list.next = Some("abc".to_owned());
        assert!(page(list.clone()).contains("/ui/links?q=a&#38;sort=slug&#38;cursor=abc"), "{}", page(list));
    }

    #[test]
    fn an_empty_list_says_whether_the_filter_is_why() {
        let empty = |query| page(Listing { items: Vec::new(), total: Some(0), ..listing(query) });
        assert!(empty("").contains("No links yet") && empty("q=x").contains("No link fits"));
        let partial = page(Listing { items: Vec::new(), missing: 16, total: None, ..listing("") });
        assert!(partial.contains("16 shards") && !partial.contains("No links yet"), "{partial}");
        let refused = page(Listing { items: Vec::new(), refused: Some("<b>state</b>".to_owned()), ..listing("") });
        assert!(refused.contains("role=\"alert\"") && !refused.contains("<b>state"), "{refused}");
        let minimum = page(Listing { is_minimum: true, ..listing("q=a") });
        assert!(minimum.contains("at least 12,345"), "{minimum}");
    }
}
