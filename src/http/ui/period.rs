//! The period that statistics are shown of, and the one that it is compared with.

use actix_web::HttpRequest;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};
use waypost_protocol::UnixMs;
use waypost_protocol::clicks::{HOUR_MS, Whose};

use crate::app::{Interval, Period, Report};
use crate::times::format_zoned;
use crate::ui::{Asked, Context, Form};

/// The longest period that is read by itself, in days: with more of them the report would be refused.
const DAYS_MAX: i64 = 3_600;

/// The period that was chosen.
pub(super) struct Chosen {
    from: Option<String>,
    to: Option<String>,
    pub(super) interval: Interval,
}

impl Chosen {
    pub(super) fn of(form: &Form, range: &str, cx: &Context, created: Option<UnixMs>) -> Self {
        let now = zoned(cx.now, &cx.zone);
        let day =
            |days: i64| now.checked_sub(Span::new().days(days)).ok().map(|at| at.strftime("%Y-%m-%d").to_string());
        // Days of the calendar: the one on which it was created counts as a whole.
        let days_since = |at: UnixMs| i64::from((now.date() - zoned(at, &cx.zone).date()).get_days());
        let (from, to, interval) = match range {
            "24h" => {
                let from = now.checked_sub(Span::new().hours(23)).ok().map(|at| format_zoned(&at));
                (from, None, Interval::Hour)
            }
            "7d" => (day(6), None, Interval::Day),
            "90d" => (day(89), None, Interval::Day),
            "12m" => {
                let first = now.first_of_month().and_then(|at| at.checked_sub(Span::new().months(11)));
                (first.ok().map(|at| at.strftime("%Y-%m-%d").to_string()), None, Interval::Month)
            }
            "all" => {
                let days = created.map_or(DAYS_MAX, days_since).clamp(0, DAYS_MAX);
                (day(days), None, interval_of(days))
            }
            "custom" => {
                let given = |name| form.given(name).map(str::to_owned);
                let date = |name: &str| form.given(name).and_then(|text| text.parse::<jiff::civil::Date>().ok());
                let from = date("from").or_else(|| now.date().checked_sub(Span::new().days(29)).ok());
                let days = from.map_or(30, |from| (date("to").unwrap_or(now.date()) - from).get_days().into());
                (given("from"), given("to"), interval_of(days))
            }
            _ => (day(29), None, Interval::Day),
        };
        let interval = match form.value("interval") {
            "hour" => Interval::Hour,
            "day" => Interval::Day,
            "month" => Interval::Month,
            _ => interval,
        };
        Self { from, to, interval }
    }

    pub(super) fn period<'a>(&'a self, zone: &'a str) -> Period<'a> {
        Period { from: self.from.as_deref(), to: self.to.as_deref(), zone, interval: self.interval }
    }

    pub(super) fn interval_name(&self) -> &'static str {
        match self.interval {
            Interval::Hour => "hour",
            Interval::Day => "day",
            Interval::Month => "month",
        }
    }
}

/// What the query of a page asks for.
pub(super) fn asked(request: &HttpRequest, cx: &Context, path: String) -> Asked {
    let form = Form::read(request.query_string().as_bytes());
    Asked { form, path, zone: cx.zone.iana_name().unwrap_or("UTC").to_owned() }
}

/// Whose visits a form asks for.
pub(super) fn chosen_whose(form: &Form) -> Whose {
    match form.value("bots") {
        "include" => Whose::All,
        "only" => Whose::Bots,
        _ => Whose::People,
    }
}

/// The length of a bar that suits so many days.
fn interval_of(days: i64) -> Interval {
    match days {
        ..=2 => Interval::Hour,
        3..=120 => Interval::Day,
        _ => Interval::Month,
    }
}

fn zoned(at: UnixMs, zone: &TimeZone) -> Zoned {
    let at = i64::try_from(at.0).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    at.unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(zone.clone())
}

/// The period before a report: as many hours, days or months earlier. Where the report ends within a day or a month, so does the
/// period before it, so that a day that is not over is not compared with a whole one.
pub(super) fn period_before(now: &Report, interval: Interval) -> Option<(String, String)> {
    let count = i64::try_from(now.points.len()).ok()?;
    let span = match interval {
        Interval::Hour => Span::new().try_hours(count),
        Interval::Day => Span::new().try_days(count),
        Interval::Month => Span::new().try_months(count),
    };
    let span = span.ok()?;
    let from = now.start.checked_sub(span).ok()?;
    let to = now.end.checked_sub(span).ok()?.min(now.start.clone());
    Some((format_zoned(&from), format_zoned(&to)))
}

/// About how many of the visits of an earlier hour came before it was as old as the present one is: statistics are kept by hour.
pub(super) fn until_now(visits: u64, now: UnixMs) -> u64 {
    visits.saturating_mul(now.0 % HOUR_MS) / HOUR_MS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::{Point, Top};

    /// A time in Berlin.
    fn at(text: &str) -> UnixMs {
        let time: Zoned = format!("{text}[Europe/Berlin]").parse().unwrap();
        UnixMs(time.timestamp().as_millisecond() as u64)
    }

    #[test]
    fn all_begins_on_the_day_of_the_creation_in_the_zone_of_the_page() {
        let cx = Context { now: at("2026-11-26T00:30"), ..Context::example("de") };
        let begin = |created| Chosen::of(&Form::default(), "all", &cx, created).from;
        for (created, day) in [
            ("2026-11-26T00:10", "2026-11-26"),
            ("2026-11-25T23:50", "2026-11-25"),
            ("2026-11-20T23:59", "2026-11-20"),
            ("2026-11-20T00:00", "2026-11-20"),
            // A clock that was ahead.
            ("2026-11-27T00:00", "2026-11-26"),
        ] {
            assert_eq!(begin(Some(at(created))).as_deref(), Some(day), "{created}");
        }
        assert_eq!(begin(None).as_deref(), Some("2017-01-17"), "as long as a report may be");
    }
    #[test]
    fn a_day_that_is_not_over_is_compared_with_as_much_of_an_earlier_one() {
        let time = |text: &str| -> Zoned { format!("{text}[Europe/Berlin]").parse().unwrap() };
        let before = |from: &str, to: &str, points: usize, interval| {
            let point = Point { time: time(from), clicks: 0, unique_visitors: None };
            let report = Report {
                start: time(from),
                end: time(to),
                zone: "Europe/Berlin".to_owned(),
                clicks: 0,
                bot_clicks: 0,
                unique_visitors: None,
                whole_days: None,
                total_clicks: 0,
                points: vec![point; points],
                by: Vec::new(),
                top: Top::None,
            };
            period_before(&report, interval).unwrap()
        };
        let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        assert_eq!(
            before("2026-11-20T00:00", "2026-11-26T15:00", 7, Interval::Day),
            pair("2026-11-13T00:00:00+01:00", "2026-11-19T15:00:00+01:00")
        );
        // Summer time has ended in between.
        assert_eq!(
            before("2026-10-24T00:00", "2026-10-31T00:00", 7, Interval::Day),
            pair("2026-10-17T00:00:00+02:00", "2026-10-24T00:00:00+02:00")
        );
        assert_eq!(
            before("2026-10-01T00:00", "2026-11-26T15:00", 2, Interval::Month),
            pair("2026-08-01T00:00:00+02:00", "2026-09-26T15:00:00+02:00")
        );
        // No month before has a 31st, and the periods do not overlap.
        assert_eq!(
            before("2026-03-01T00:00", "2026-03-31T15:00", 1, Interval::Month),
            pair("2026-02-01T00:00:00+01:00", "2026-02-28T15:00:00+01:00")
        );
        assert_eq!(
            before("2026-11-25T16:00", "2026-11-26T15:00", 23, Interval::Hour),
            pair("2026-11-24T17:00:00+01:00", "2026-11-25T16:00:00+01:00")
        );
    }

    #[test]
    fn of_an_hour_as_much_counts_as_the_present_one_has_gone() {
        assert_eq!(until_now(60, at("2026-11-26T15:20")), 20);
        assert_eq!(until_now(60, at("2026-11-26T15:00")), 0);
    }
}
