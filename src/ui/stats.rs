//! Statistics: of a link, of all links, and of those with a tag.

use askama::Template;
use waypost_protocol::UnixMs;
use waypost_protocol::clicks::{Dimension, OTHER};

use super::{Chart, Context, Form, LinkHead, Section, Theme};

/// Values of a dimension that are shown at once.
const VALUES: usize = 10;
/// Values that are shown on demand; the rest is in the CSV.
const VALUES_MAX: usize = 100;
/// Links and paths that are shown at once.
const ROWS: usize = 20;

/// A number, with what it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatFigure {
    /// The key of what it counts.
    pub label: &'static str,
    /// The number.
    pub number: u64,
    /// The number in the period before, if it was compared.
    pub before: Option<u64>,
}

impl StatFigure {
    /// By how many percent it is more than in the period before, as a text; `None` if there was nothing before.
    pub fn change(&self) -> Option<String> {
        let before = self.before.filter(|before| *before > 0)?;
        let percent = (self.number as f64 - before as f64) / before as f64 * 100.0;
        Some(format!("{percent:+.0} %").replace('-', "\u{2212}"))
    }

    /// The class of the change.
    pub fn direction(&self) -> &'static str {
        if self.before.is_some_and(|before| self.number < before) { "change-down" } else { "change-up" }
    }
}

/// The visits with one value of a dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The value, as it is shown.
    pub text: String,
    /// What a script may translate: `region` or `language`; else empty.
    pub kind: &'static str,
    /// Visits.
    pub clicks: u64,
    /// Its part of the visits of the largest value, in percent.
    pub share: u64,
}

/// Visits by one dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breakdown {
    /// The key of its title.
    pub title: &'static str,
    /// The most frequent values.
    pub rows: Vec<Row>,
    /// Those after them.
    pub more: Vec<Row>,
    /// How many are not shown at all.
    pub left: u64,
}

impl Breakdown {
    /// The breakdown by a dimension; `values` come in their order, and `None` is what is not known.
    pub fn new(dimension: Dimension, values: &[(Option<String>, u64)], cx: &Context) -> Self {
        let largest = values.iter().map(|(_, clicks)| *clicks).max().unwrap_or(0).max(1);
        let row = |(value, clicks): &(Option<String>, u64)| {
            let (text, kind) = match (value.as_deref(), dimension) {
                (None, Dimension::Referrer) => (cx.t("stats.direct").to_owned(), ""),
                (None, _) => (cx.t("stats.unknown").to_owned(), ""),
                (Some(OTHER), _) => (cx.t("stats.others").to_owned(), ""),
                (Some(value), Dimension::Country) => (value.to_owned(), "region"),
                (Some(value), Dimension::Language) => (value.to_owned(), "language"),
                (Some(value), _) => (value.to_owned(), ""),
            };
            Row { text, kind, clicks: *clicks, share: clicks.saturating_mul(100) / largest }
        };
        let mut rows: Vec<Row> = values.iter().take(VALUES_MAX).map(row).collect();
        let more = rows.split_off(rows.len().min(VALUES));
        let left = values.len().saturating_sub(VALUES_MAX) as u64;
        Self { title: title_of(dimension), rows, more, left }
    }

    /// How many values are shown on demand.
    pub fn more_count(&self) -> u64 {
        self.more.len() as u64
    }
}

fn title_of(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::Country => "stats.by.country",
        Dimension::City => "stats.by.city",
        Dimension::Referrer => "stats.by.referrer",
        Dimension::Browser => "stats.by.browser",
        Dimension::Os => "stats.by.os",
        Dimension::Device => "stats.by.device",
        Dimension::Language => "stats.by.language",
    }
}

/// What the statistics of a period say.
#[derive(Debug, Clone, PartialEq)]
pub struct Stats {
    /// The numbers.
    pub figures: Vec<StatFigure>,
    /// Visits over time.
    pub chart: Chart,
    /// Visits by dimensions.
    pub breakdowns: Vec<Breakdown>,
    /// The period, as a text.
    pub period: String,
    /// The days that visitors and values are of, if they are more than the period.
    pub whole_days: Option<String>,
    /// Whether a replica without a leader has answered.
    pub stale: bool,
    /// The query of the CSV files of this period.
    pub csv: String,
}

/// A period that can be chosen with one click.
pub const RANGES: [(&str, &str); 6] = [
    ("24h", "stats.range.24h"),
    ("7d", "stats.range.7d"),
    ("30d", "stats.range.30d"),
    ("90d", "stats.range.90d"),
    ("12m", "stats.range.12m"),
    ("all", "stats.range.all"),
];

/// The period that is shown if none is chosen.
pub const RANGE_DEFAULT: &str = "30d";

/// What was asked for: the fields of the form, and the addresses that change one of them.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `range`, `from`, `to`, `interval`, `bots`, `tz`, `compare`, `domain`, `tag`.
    pub form: Form,
    /// The path of the page.
    pub path: String,
    /// The name of the zone.
    pub zone: String,
}

impl Asked {
    /// Parameters that go from page to page.
    const KEPT: [&str; 7] = ["from", "to", "interval", "bots", "compare", "domain", "tag"];

    /// The periods, with the keys of their names, their addresses, and whether they are shown.
    pub fn ranges(&self) -> Vec<(&'static str, String, bool)> {
        let shown = self.range();
        RANGES.map(|(range, name)| (name, self.with("range", range), range == shown)).to_vec()
    }

    /// The period that is shown: the name of a choice, or `custom`.
    pub fn range(&self) -> &str {
        match self.form.given("range") {
            Some(range) => range,
            None if self.form.given("from").or(self.form.given("to")).is_some() => "custom",
            None => RANGE_DEFAULT,
        }
    }

    /// The address of the page with another value of a parameter. With another range, begin, end and interval are left out.
    pub fn with(&self, name: &str, value: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for kept in Self::KEPT.into_iter().chain(["range"]) {
            let outdated = name == "range" && matches!(kept, "from" | "to" | "interval");
            if let Some(old) = self.form.given(kept).filter(|_| kept != name && !outdated) {
                query.append_pair(kept, old);
            }
        }
        if !value.is_empty() {
            query.append_pair(name, value);
        }
        format!("{}?{}", self.path, query.finish())
    }

    /// What can be chosen as the length of a bar.
    pub fn intervals(&self) -> [(&'static str, &'static str); 4] {
        [
            ("", "stats.interval.auto"),
            ("hour", "stats.interval.hour"),
            ("day", "stats.interval.day"),
            ("month", "stats.interval.month"),
        ]
    }

    /// Whose visits can be chosen.
    pub fn whose(&self) -> [(&'static str, &'static str); 3] {
        [("", "stats.whose.people"), ("include", "stats.whose.all"), ("only", "stats.whose.bots")]
    }

    /// Parameters that the form carries without showing them.
    pub fn hidden(&self) -> Vec<(&'static str, &str)> {
        ["domain", "tag"].into_iter().filter_map(|name| Some((name, self.form.given(name)?))).collect()
    }
}

/// The statistics of a link.
#[derive(Template)]
#[template(path = "link_stats.html")]
pub struct LinkStatsView {
    /// What every view needs.
    pub cx: Context,
    /// What stands above.
    pub head: LinkHead,
    /// What was asked for.
    pub asked: Asked,
    /// The answer; `None` if there is none, and the form says why.
    pub stats: Option<Stats>,
}

/// A link with its visits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopLink {
    /// Its short URL without the scheme.
    pub text: String,
    /// The address of its page.
    pub address: String,
    /// Visits.
    pub clicks: u64,
    /// Its part of the visits of the first one, in percent.
    pub share: u64,
}

/// The most visited links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopList {
    /// These.
    Links {
        /// The links.
        links: Vec<TopLink>,
        /// When they were found, if that is not now.
        at: Option<UnixMs>,
    },
    /// There are none, for this reason: the key of a text.
    Omitted(&'static str),
    /// They take longer than the page may.
    Later {
        /// The address of the list alone.
        part: String,
        /// The address of the page with the list.
        page: String,
    },
}

/// The list of the most visited links, alone.
#[derive(Template)]
#[template(path = "stats_top.html")]
pub struct TopView {
    /// What every view needs.
    pub cx: Context,
    /// The list.
    pub top: TopList,
}

/// A path that is no link, with its visits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrphanRow {
    /// The path, with the host of its domain if that is not the default one.
    pub path: String,
    /// Visits.
    pub clicks: u64,
    /// The time of the last one.
    pub last: UnixMs,
}

/// Links whose statistics are added up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tagged {
    /// The tag.
    pub tag: String,
    /// How many links were added up.
    pub links: u64,
    /// Whether there are more links with the tag.
    pub cut: bool,
    /// How many shards could not be reached.
    pub partial: u64,
    /// When they were added up.
    pub at: UnixMs,
}

/// The statistics of all links, or of those with a tag.
#[derive(Template)]
#[template(path = "statistics.html")]
pub struct StatisticsView {
    /// What every view needs.
    pub cx: Context,
    /// What was asked for.
    pub asked: Asked,
    /// The answer; `None` if there is none, and the form says why.
    pub stats: Option<Stats>,
    /// The most visited links.
    pub top: TopList,
    /// Visits to paths that are no links; not for a tag.
    pub orphans: Vec<OrphanRow>,
    /// The links, if they are those with a tag.
    pub tagged: Option<Tagged>,
    /// The tags that can be chosen.
    pub tags: Vec<String>,
}

impl StatisticsView {
    /// The orphan visits that are shown at once.
    pub fn orphans_first(&self) -> &[OrphanRow] {
        &self.orphans[..self.orphans.len().min(ROWS)]
    }

    /// Those after them.
    pub fn orphans_more(&self) -> &[OrphanRow] {
        &self.orphans[self.orphans.len().min(ROWS)..]
    }

    /// How many these are.
    pub fn orphans_more_count(&self) -> u64 {
        self.orphans_more().len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::ChartPoint;

    fn asked(query: &str) -> Asked {
        Asked {
            form: Form::read(query.as_bytes()),
            path: "/ui/link/a/stats".to_owned(),
            zone: "Europe/Berlin".to_owned(),
        }
    }

    #[test]
    fn a_change_is_told_in_percent_unless_there_was_nothing_before() {
        let figure = |number, before| StatFigure { label: "stats.clicks", number, before };
        for (number, before, change, direction) in [
            (150, Some(100), Some("+50 %"), "change-up"),
            (50, Some(100), Some("\u{2212}50 %"), "change-down"),
            (5, Some(0), None, "change-up"),
            (5, None, None, "change-up"),
        ] {
            assert_eq!(figure(number, before).change().as_deref(), change);
            assert_eq!(figure(number, before).direction(), direction);
        }
    }

    #[test]
    fn ten_values_are_shown_more_on_demand_and_the_rest_is_counted() {
        let values: Vec<(Option<String>, u64)> = (0..250).map(|at| (Some(format!("v{at}")), 250 - at)).collect();
        let breakdown = Breakdown::new(Dimension::City, &values, &Context::example("en"));
        assert_eq!((breakdown.rows.len(), breakdown.more_count(), breakdown.left), (10, 90, 150));
        assert_eq!((breakdown.rows[0].share, breakdown.more[0].share), (100, 96));
        let cx = Context::example("en");
        let values = [(None, 2), (Some("CH".to_owned()), 1), (Some(OTHER.to_owned()), 1)];
        let countries = Breakdown::new(Dimension::Country, &values, &cx);
        assert_eq!(countries.rows.iter().map(|row| row.kind).collect::<Vec<_>>(), ["", "region", ""]);
        assert_eq!(countries.rows[0].text, "Unknown");
        assert!(Breakdown::new(Dimension::Os, &[], &cx).rows.is_empty());
    }

    #[test]
    fn an_address_keeps_what_was_chosen_and_another_range_drops_the_dates() {
        let asked = asked("range=7d&compare=on&domain=go.example&from=2026-01-01&x=1");
        assert_eq!(asked.with("range", "90d"), "/ui/link/a/stats?compare=on&domain=go.example&range=90d");
        let other = asked.with("compare", "");
        assert_eq!(other, "/ui/link/a/stats?from=2026-01-01&domain=go.example&range=7d");
        assert_eq!((asked.range(), self::asked("").range(), self::asked("to=x").range()), ("7d", "30d", "custom"));
    }

    #[test]
    fn hostile_values_of_visitors_are_texts() {
        const HOSTILE: &str = "\"><script>alert(1)</script>";
        let cx = Context::example("de");
        let value = |of: &str| vec![(Some(of.to_owned()), 3)];
        let breakdowns = Dimension::ALL.map(|dimension| Breakdown::new(dimension, &value(HOSTILE), &cx)).to_vec();
        let points = [ChartPoint { clicks: 1, ..ChartPoint::default() }];
        let mut asked = asked("from=%22%3E%3Cscript%3Ealert(1)&tag=%22%3E%3Cscript%3E");
        asked.form.refuse("from", HOSTILE);
        let stats = Stats {
            figures: vec![StatFigure { label: "stats.clicks", number: 1, before: Some(2) }],
            chart: Chart::new("x".to_owned(), &points, &cx),
            breakdowns,
            period: HOSTILE.to_owned(),
            whole_days: Some(HOSTILE.to_owned()),
            stale: true,
            csv: "from=2026".to_owned(),
        };
        let view = StatisticsView {
            cx,
            asked,
            stats: Some(stats),
            top: TopList::Links {
                links: vec![TopLink {
                    text: HOSTILE.to_owned(),
                    address: "/ui/link/a".to_owned(),
                    clicks: 1,
                    share: 100,
                }],
                at: Some(UnixMs(1)),
            },
            orphans: vec![OrphanRow { path: format!("/{HOSTILE}"), clicks: 2, last: UnixMs(1) }],
            tagged: Some(Tagged { tag: HOSTILE.to_owned(), links: 1, cut: true, partial: 1, at: UnixMs(1) }),
            tags: vec![HOSTILE.to_owned()],
        };
        let html = view.render().unwrap();
        assert!(!html.contains("<script>alert") && !html.contains("\"><script"), "{html}");
        assert!(html.matches("alert(1)").count() > 10);
    }

    #[test]
    fn a_list_that_takes_longer_is_asked_for_by_a_script_or_by_a_link() {
        let top =
            TopList::Later { part: "/ui/statistics/top?tag=%22".to_owned(), page: "/ui/statistics?top=on".to_owned() };
        let html = TopView { cx: Context::example("en"), top }.render().unwrap();
        assert!(
            html.contains("hx-get=\"/ui/statistics/top?tag=%22\"") && html.contains("href=\"/ui/statistics?top=on\""),
            "{html}"
        );
        let html = TopView { cx: Context::example("en"), top: TopList::Omitted("stats.top-older") }.render().unwrap();
        assert!(!html.contains("hx-get") && !html.contains("aria-busy"), "{html}");
    }
}
