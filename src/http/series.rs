//! Visits over time: the requested range, and its buckets in the client's time zone.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};
use serde::{Deserialize, Serialize};
use waypost_protocol::UnixMs;
use waypost_protocol::clicks::{Counts, HOUR_MS, Stats, Whose};

use super::problem::Problem;
use crate::times::{LAST_MS, read_time};

/// The most buckets of an answer.
const POINTS_MAX: usize = 10_000;

/// The most days that are read for one answer.
const DAYS_MAX: u32 = 3700;

/// The days of an answer without `from`.
const DAYS_DEFAULT: u64 = 30;

/// The length of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Interval {
    Hour,
    #[default]
    Day,
    Month,
}

/// Which visits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Bots {
    #[default]
    Exclude,
    Include,
    Only,
}

impl Bots {
    pub(super) fn whose(self) -> Whose {
        match self {
            Self::Exclude => Whose::People,
            Self::Include => Whose::All,
            Self::Only => Whose::Bots,
        }
    }

    pub(super) fn of(self, counts: Counts) -> u64 {
        self.whose().of(counts)
    }
}

/// The requested range, in whole hours.
pub(super) struct Range {
    zone: TimeZone,
    interval: Interval,
    /// Hours since 1970 UTC.
    pub(super) hours: std::ops::Range<u32>,
    /// The hour after the present one: there are no visits later.
    present: u32,
}

impl Range {
    /// Parses a range. A date alone means its midnight in the time zone, as an end the next midnight.
    pub(super) fn parse(
        from: Option<&str>,
        to: Option<&str>,
        zone: &str,
        interval: Interval,
        now: UnixMs,
    ) -> Result<Self, Problem> {
        let zone = match zone {
            "" | "UTC" => TimeZone::UTC,
            name => TimeZone::get(name).map_err(|_| {
                Problem::invalid("tz", format!("\"{name}\" is not a time zone; use a name such as Europe/Berlin"))
            })?,
        };
        let hour = |key: &'static str, text: &str, end: bool| {
            let wrong = || {
                Problem::invalid(
                    key,
                    format!(
                        "\"{text}\" is not a valid time; use 2026-11-21, 2026-11-21T10:00:00Z, or 2026-11-21T10:00:00+01:00 with the + written \
                         as %2B"
                    ),
                )
            };
            let ms = instant(text, &zone, end).ok_or_else(wrong)?;
            let seconds = ms.div_euclid(1000) + i64::from(end && ms % 1000 > 0);
            // The hours in which the range begins and ends are included.
            let hours = if end { (seconds + 3599).div_euclid(3600) } else { seconds.div_euclid(3600) };
            u32::try_from(hours).map_err(|_| wrong())
        };
        let present = (now.0 / HOUR_MS) as u32 + 1;
        let to = to.map_or(Ok(present), |text| hour("to", text, true))?;
        let default = || {
            let days = UnixMs(now.0.saturating_sub((DAYS_DEFAULT - 1) * 24 * HOUR_MS));
            let start = zoned(days.0 as i64, &zone).start_of_day().map(|start| start.timestamp().as_second());
            (start.unwrap_or(0).max(0) / 3600) as u32
        };
        let from = from.map_or_else(|| Ok(default()), |text| hour("from", text, false))?;
        if from >= to {
            return Err(Problem::invalid("from", "it has to be before \"to\""));
        }
        if (to - from) / 24 > DAYS_MAX {
            return Err(Problem::invalid("from", "at most ten years at a time"));
        }
        Ok(Self { zone, interval, hours: from..to, present })
    }

    pub(super) fn is_utc(&self) -> bool {
        self.zone == TimeZone::UTC
    }

    pub(super) fn zone_name(&self) -> String {
        self.zone.iana_name().unwrap_or("UTC").to_owned()
    }

    fn text(&self, hour: u32) -> String {
        text(&zoned(i64::from(hour) * HOUR_MS as i64, &self.zone))
    }

    pub(super) fn start_text(&self) -> String {
        self.text(self.hours.start)
    }

    /// The UTC days in which the range begins and ends, if it lacks some of their hours with visits.
    pub(super) fn whole_days(&self) -> Option<(String, String)> {
        let (start, end) = (self.hours.start / 24 * 24, self.hours.end.div_ceil(24) * 24);
        let whole = start == self.hours.start && (end == self.hours.end || self.hours.end >= self.present);
        (!whole).then(|| (self.text(start), self.text(end)))
    }

    pub(super) fn end_text(&self) -> String {
        self.text(self.hours.end)
    }

    /// The beginning of the bucket of a time.
    fn bucket(&self, ms: i64) -> Zoned {
        let at = zoned(ms, &self.zone);
        let begin = match self.interval {
            // Hours are stored in UTC: in a zone that is half an hour off, a bucket begins at half past.
            Interval::Hour => return at,
            Interval::Day => at.start_of_day(),
            Interval::Month => at.first_of_month().and_then(|first| first.start_of_day()),
        };
        begin.unwrap_or(at)
    }

    fn next(&self, bucket: &Zoned) -> Option<Zoned> {
        let span = match self.interval {
            Interval::Hour => Span::new().hours(1),
            Interval::Day => Span::new().days(1),
            Interval::Month => Span::new().months(1),
        };
        let next = bucket.checked_add(span).ok()?;
        // Midnight may not exist on the day that the clocks change.
        Some(self.bucket(next.timestamp().as_millisecond())).filter(|next| next > bucket)
    }
}

/// The instant of a date, of a time of day in a zone, or of a time with its offset, in milliseconds since 1970 UTC. A date alone
/// is its midnight, as an end the next one.
fn instant(text: &str, zone: &TimeZone, end: bool) -> Option<i64> {
    let last = |date: Result<Zoned, _>| date.map_or(LAST_MS, |at: Zoned| at.timestamp().as_millisecond());
    if let Some(read) = read_time(text) {
        return read.unix_ms().or_else(|| {
            let local = Timestamp::from_millisecond(read.local_ms).ok()?.to_zoned(TimeZone::UTC).datetime();
            Some(local.to_zoned(zone.clone()).ok()?.timestamp().as_millisecond())
        });
    }
    let text = text.trim();
    // The parser would ignore a time of day after a date.
    let date: Date = Some(text).filter(|text| text.len() <= 10)?.parse().ok()?;
    if !end {
        return Some(last(date.to_zoned(zone.clone())));
    }
    Some(date.tomorrow().map_or(LAST_MS, |next| last(next.to_zoned(zone.clone()))))
}

fn zoned(ms: i64, zone: &TimeZone) -> Zoned {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(zone.clone())
}

fn text(at: &Zoned) -> String {
    if *at.time_zone() == TimeZone::UTC {
        return at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    }
    at.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// The visits of each bucket, including empty ones: its beginning, its day since 1970 UTC, and the number of visits.
pub(super) fn series(stats: &Stats, range: &Range, bots: Bots) -> Result<Vec<(String, Option<u32>, u64)>, Problem> {
    let mut found: BTreeMap<i64, u64> = BTreeMap::new();
    let mut bucket_of = |ms: i64, clicks: u64| {
        *found.entry(range.bucket(ms).timestamp().as_millisecond()).or_default() += clicks;
    };
    for (day, counts, _) in &stats.days {
        let first = stats.hours.partition_point(|(hour, _)| *hour < day * 24);
        let hours = stats.hours[first..].iter().take_while(|(hour, _)| *hour < (day + 1) * 24);
        let mut any = false;
        for (hour, counts) in hours {
            any = true;
            bucket_of(i64::from(*hour) * HOUR_MS as i64, bots.of(*counts));
        }
        // The hours were folded long ago: the day counts in the bucket of its noon in UTC.
        if !any {
            bucket_of((i64::from(*day) * 24 + 12) * HOUR_MS as i64, bots.of(*counts));
        }
    }
    let mut points = Vec::new();
    let end = i64::from(range.hours.end) * HOUR_MS as i64;
    let mut at = Some(range.bucket(i64::from(range.hours.start) * HOUR_MS as i64));
    while let Some(bucket) = at.filter(|bucket| bucket.timestamp().as_millisecond() < end) {
        if points.len() >= POINTS_MAX {
            return Err(Problem::invalid(
                "interval",
                format!("more than {POINTS_MAX} points; ask for less time, or for a longer interval"),
            ));
        }
        let ms = bucket.timestamp().as_millisecond();
        let day = u32::try_from(ms / (24 * HOUR_MS as i64)).ok();
        points.push((text(&bucket), day, found.remove(&ms).unwrap_or(0)));
        at = range.next(&bucket);
    }
    Ok(points)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_795_255_200_000);

    fn range(from: &str, to: &str, zone: &str, interval: Interval) -> Range {
        Range::parse(Some(from), Some(to), zone, interval, NOW).unwrap()
    }

    /// One visit an hour.
    fn one_an_hour(range: &Range) -> Stats {
        let one = Counts { people: 1, bots: 0 };
        let mut days: BTreeMap<u32, Counts> = BTreeMap::new();
        range.hours.clone().for_each(|hour| days.entry(hour / 24).or_default().merge(one));
        Stats {
            hours: range.hours.clone().map(|hour| (hour, one)).collect(),
            days: days.into_iter().map(|(day, counts)| (day, counts, 0)).collect(),
            ..Stats::default()
        }
    }

    #[test]
    fn a_day_has_as_many_hours_as_the_clocks_say() {
        // In Berlin, summer time began on 29 March 2026 and ended on 25 October.
        for (from, to, hours) in
            [("2026-03-28", "2026-03-30", [24, 23, 24]), ("2026-10-24", "2026-10-26", [24, 25, 24])]
        {
            let range = range(from, to, "Europe/Berlin", Interval::Day);
            let points = series(&one_an_hour(&range), &range, Bots::Exclude).unwrap();
            assert_eq!(points.iter().map(|(.., clicks)| *clicks).collect::<Vec<_>>(), hours);
            assert!(points[0].0.starts_with(from), "{points:?}");
        }
        let range = range("2026-10-25", "2026-10-25", "Europe/Berlin", Interval::Hour);
        let points = series(&one_an_hour(&range), &range, Bots::Exclude).unwrap();
        assert_eq!(points.len(), 25);
        assert_eq!((&points[2].0[..], &points[3].0[..]), ("2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00"));
    }

    #[test]
    fn zones_that_are_half_an_hour_off_lose_nothing() {
        for zone in ["Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe", "America/St_Johns", "America/Havana"] {
            for interval in [Interval::Hour, Interval::Day, Interval::Month] {
                let range = range("2026-01-01", "2026-12-31", zone, interval);
                let points = series(&one_an_hour(&range), &range, Bots::Exclude).unwrap();
                let total: u64 = points.iter().map(|(.., clicks)| clicks).sum();
                assert_eq!(total, range.hours.len() as u64, "{zone} {interval:?}");
            }
        }
    }

    #[test]
    fn days_whose_hours_are_gone_count_as_a_whole() {
        let range = range("2026-01-01", "2026-01-31", "UTC", Interval::Day);
        let mut stats = one_an_hour(&range);
        stats.hours.clear();
        let points = series(&stats, &range, Bots::Exclude).unwrap();
        assert_eq!((points.len(), points[30].2, &points[30].0[..]), (31, 24, "2026-01-31T00:00:00Z"));
        let month = Range { interval: Interval::Month, ..range };
        assert_eq!(series(&stats, &month, Bots::Exclude).unwrap()[0].2, 31 * 24);
    }

    #[test]
    fn a_range_that_begins_or_ends_within_a_day_says_which_days_it_touches() {
        let days = |from, to, zone| range(from, to, zone, Interval::Day).whole_days();
        assert_eq!(days("2026-11-01", "2026-11-03", ""), None);
        let two = Some(("2026-11-01T00:00:00Z".to_owned(), "2026-11-03T00:00:00Z".to_owned()));
        assert_eq!(days("2026-11-01T10:00:00Z", "2026-11-02", ""), two);
        assert_eq!(days("2026-11-01", "2026-11-02T10:00:00Z", ""), two);
        assert!(days("2026-11-01", "2026-11-02", "Europe/Berlin").is_some());
        // Today has no later hours.
        assert_eq!(Range::parse(None, None, "", Interval::Day, NOW).unwrap().whole_days(), None);
    }

    #[test]
    fn times_are_read_also_where_a_plus_has_become_a_space() {
        let hours = |from: &str, zone: &str| range(from, "2026-11-22", zone, Interval::Hour).hours.start % 24;
        for from in [
            "2026-11-21T10:00:00+01:00",
            "2026-11-21T10:00:00 01:00",
            "2026-11-21 10:00:00 01:00",
            "2026-11-21t10:00:00 0100",
            "2026-11-21T09:00:00z",
            "2026-11-21T04:00:00-05:00",
            "2026-11-21T09:59:59.999999999999Z",
        ] {
            assert_eq!(hours(from, ""), 9, "{from}");
        }
        // Without an offset it is a time in the zone.
        assert_eq!(hours("2026-11-21T10:00:00", "Europe/Berlin"), 9);
        assert_eq!(hours("2026-11-21T10:00", "Europe/Berlin"), 9);
        assert_eq!(hours("2026-11-21", "Europe/Berlin"), 23);
        for (from, to) in
            [("2026-11-21T10", "2026-11-22"), ("2026-11-21T10:00:00 1:00", "2026-11-22"), ("2026-11-21", "9999-12-31")]
        {
            let refused =
                Range::parse(Some(from), Some(to), "", Interval::Day, NOW).err().map(|problem| problem.to_string());
            let hint = if to.starts_with('9') { "ten years" } else { "%2B" };
            assert!(refused.as_ref().is_some_and(|text| text.contains(hint)), "{from} {to}: {refused:?}");
        }
    }

    #[test]
    fn the_last_thirty_days_are_the_default_and_nonsense_is_refused() {
        let default = Range::parse(None, None, "", Interval::Day, NOW).unwrap();
        assert_eq!(series(&Stats::default(), &default, Bots::Exclude).unwrap().len(), 30);
        for (from, to, zone) in [
            ("yesterday", "2026-11-21", ""),
            ("2026-11-22", "2026-11-21", ""),
            ("1950-01-01", "2026-11-21", ""),
            ("2010-01-01", "2026-11-21", ""),
            ("2026-11-01", "2026-11-21", "Europe/Nowhere"),
        ] {
            assert!(Range::parse(Some(from), Some(to), zone, Interval::Day, NOW).is_err(), "{from} {to} {zone}");
        }
    }
}
