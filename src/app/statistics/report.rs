//! A report: the statistics of a period, summed up as people read them.

use std::collections::HashMap;

use jiff::Zoned;
use waypost_protocol::CallError;
use waypost_protocol::clicks::{Counts, Dimension, Ranking, Stats, Whose};

use super::range::{Interval, Period, PeriodError, Range};
use super::series::series;
use super::top::Top;
use super::{Answer, App, ReadError};
use crate::app::{Denied, LinkName, Permission, Principal, UnknownDomain};

/// Values of a dimension in a report.
const VALUES_MAX: usize = 1000;

/// What a report is to tell.
#[derive(Debug, Clone)]
pub struct ReportQuery<'a> {
    /// The link; `None` = all links.
    pub link: Option<LinkName<'a>>,
    /// The time.
    pub period: Period<'a>,
    /// Whose visits.
    pub whose: Whose,
    /// The dimensions by which they are broken down.
    pub by: Vec<Dimension>,
    /// Whether the most visited links are asked for, too.
    pub ranked: bool,
}

/// The statistics of a period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// When the period begins.
    pub start: Zoned,
    /// When it ends.
    pub end: Zoned,
    /// The name of its time zone.
    pub zone: String,
    /// Visits in the period.
    pub clicks: u64,
    /// Visits of bots in the period.
    pub bot_clicks: u64,
    /// Different people; `None` if only bots were asked for, which are not told apart.
    pub unique_visitors: Option<u64>,
    /// The days that visitors and values are of, if they are more than the period: both are kept by day.
    pub whole_days: Option<(Zoned, Zoned)>,
    /// Visits since the link was created, or its statistics were reset.
    pub total_clicks: u64,
    /// Visits over time.
    pub points: Vec<Point>,
    /// Visits by dimension, the most frequent values first.
    pub by: Vec<(Dimension, Vec<ValueCount>)>,
    /// The most visited links.
    pub top: Top,
}

/// The visits of an hour, a day or a month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// When it begins.
    pub time: Zoned,
    /// Visits.
    pub clicks: u64,
    /// Different people, if that is known: of the days of one link, in UTC.
    pub unique_visitors: Option<u64>,
}

/// The visits with one value of a dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueCount {
    /// The value; `None` = it is not known.
    pub value: Option<String>,
    /// Visits.
    pub clicks: u64,
}

/// Why there is no report.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// The principal may not see it.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The period cannot be answered for.
    #[error(transparent)]
    Period(#[from] PeriodError),
    /// There is no such domain.
    #[error(transparent)]
    Domain(#[from] UnknownDomain),
    /// No link has the code.
    #[error("no link has this code")]
    NotFound,
    /// The services do not answer.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl From<ReadError> for ReportError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Denied(denied) => Self::Denied(denied),
            ReadError::Domain(unknown) => Self::Domain(unknown),
            ReadError::NotFound => Self::NotFound,
            ReadError::Call(error) => Self::Call(error),
        }
    }
}

impl App {
    /// The statistics of a link, or of all links, in a period.
    ///
    /// # Errors
    /// See [`ReportError`].
    pub async fn report(&self, principal: &Principal, query: &ReportQuery<'_>) -> Result<Answer<Report>, ReportError> {
        principal.require(Permission::ReadStatistics)?;
        let range = Range::parse(&query.period, self.now())?;
        let hours = range.hours.clone();
        let Answer { value: stats, stale } = match query.link {
            None if !query.ranked => self.statistics_of_all(hours).await?,
            link => self.statistics(link, hours, query.whose).await?,
        };
        Ok(Answer { value: report(&stats, &range, query)?, stale })
    }
}

pub(super) fn report(stats: &Stats, range: &Range, query: &ReportQuery<'_>) -> Result<Report, PeriodError> {
    let (whose, one_link) = (query.whose, query.link.is_some());
    let mut sum = Counts::default();
    stats.days.iter().for_each(|(_, counts, _)| sum.merge(*counts));
    let people = whose != Whose::Bots;
    let by_day = one_link && range.interval == Interval::Day && range.is_utc() && people;
    let uniques: HashMap<u32, u64> = stats.days.iter().map(|(day, _, uniques)| (*day, *uniques)).collect();
    let points = series(stats, range, whose)?.into_iter().map(|bucket| Point {
        time: bucket.begin,
        clicks: bucket.clicks,
        unique_visitors: by_day.then(|| bucket.day.and_then(|day| uniques.get(&day)).copied().unwrap_or(0)),
    });
    Ok(Report {
        start: range.start(),
        end: range.end(),
        zone: range.zone_name(),
        clicks: whose.of(sum),
        bot_clicks: sum.bots,
        unique_visitors: people.then(|| stats.visitors.count()),
        whole_days: range.whole_days(),
        total_clicks: whose.of(stats.total),
        points: points.collect(),
        by: query.by.iter().map(|by| (*by, values(stats, *by, sum, whose))).collect(),
        top: match stats.ranking {
            _ if one_link || !query.ranked => Top::None,
            Ranking::AsAsked => {
                Top::Links(stats.top.iter().map(|(key, counts)| (key.clone(), whose.of(*counts))).collect())
            }
            Ranking::TooMany => Top::TooManyLinks,
            Ranking::Lifetime => Top::OlderNode,
        },
    })
}

/// The values of a dimension. Visits without one add up with the others to `sum`, unless a day is asked for in part.
fn values(stats: &Stats, dimension: Dimension, sum: Counts, whose: Whose) -> Vec<ValueCount> {
    let of = stats.values.iter().filter(|(other, ..)| *other == dimension);
    let mut values: Vec<ValueCount> = of
        .map(|(_, text, counts)| ValueCount { value: Some(text.clone()), clicks: whose.of(*counts) })
        .filter(|value| value.clicks > 0)
        .collect();
    let known: u64 = values.iter().map(|value| value.clicks).sum();
    if let Some(unknown @ 1..) = whose.of(sum).checked_sub(known) {
        values.push(ValueCount { value: None, clicks: unknown });
    }
    values.sort_by(|one, other| other.clicks.cmp(&one.clicks).then_with(|| one.value.cmp(&other.value)));
    values.truncate(VALUES_MAX);
    values
}

#[cfg(test)]
mod tests {
    use waypost_protocol::UnixMs;

    use super::*;

    const NOW: UnixMs = UnixMs(1_795_255_200_000);

    fn of(ranking: Ranking, code: Option<&str>, whose: Whose) -> Report {
        let period = Period { from: Some("2026-11-20"), to: Some("2026-11-20"), ..Period::default() };
        let range = Range::parse(&period, NOW).unwrap();
        let value = |text: &str, people| (Dimension::Os, text.to_owned(), Counts { people, bots: 0 });
        let day = range.hours.start / 24;
        let stats = Stats {
            days: vec![(day, Counts { people: 9, bots: 4 }, 5)],
            values: vec![value("Linux", 2), value("iOS", 4), value("old", 0)],
            ranking,
            ..Stats::default()
        };
        report(
            &stats,
            &range,
            &ReportQuery {
                link: code.map(|code| LinkName { domain: None, code }),
                period,
                whose,
                by: vec![Dimension::Os],
                ranked: true,
            },
        )
        .unwrap()
    }

    #[test]
    fn values_come_in_order_and_what_is_not_known_makes_up_the_sum() {
        let report = of(Ranking::AsAsked, Some("code"), Whose::People);
        let count = |value: Option<&str>, clicks| ValueCount { value: value.map(str::to_owned), clicks };
        assert_eq!(report.by, [(Dimension::Os, vec![count(Some("iOS"), 4), count(None, 3), count(Some("Linux"), 2)])]);
        assert_eq!((report.clicks, report.bot_clicks, report.points.len()), (9, 4, 1));
        assert_eq!((report.points[0].unique_visitors, report.top), (Some(5), Top::None));
    }

    #[test]
    fn a_report_of_all_links_has_a_list_or_says_why_not_and_bots_are_no_visitors() {
        assert_eq!(of(Ranking::AsAsked, None, Whose::People).top, Top::Links(Vec::new()));
        assert_eq!(of(Ranking::TooMany, None, Whose::People).top, Top::TooManyLinks);
        let bots = of(Ranking::Lifetime, None, Whose::Bots);
        assert_eq!((bots.top, bots.unique_visitors, bots.clicks), (Top::OlderNode, None, 4));
        assert_eq!(bots.points[0].unique_visitors, None);
    }
}
