//! Visits over time: the buckets that people see, in their own time zone.

use std::collections::BTreeMap;

use jiff::Zoned;
use waypost_protocol::clicks::{HOUR_MS, Stats, Whose};

use super::range::{PeriodError, Range};

/// The most buckets of an answer.
const POINTS_MAX: usize = 10_000;

/// The visits of an hour, a day or a month.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) begin: Zoned,
    /// The day since 1970 UTC in which it begins.
    pub(super) day: Option<u32>,
    pub(super) clicks: u64,
}

/// The buckets of a range, including empty ones.
pub(super) fn series(stats: &Stats, range: &Range, whose: Whose) -> Result<Vec<Bucket>, PeriodError> {
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
            bucket_of(i64::from(*hour) * HOUR_MS as i64, whose.of(*counts));
        }
        // The hours were folded long ago: the day counts in the bucket of its noon in UTC.
        if !any {
            bucket_of((i64::from(*day) * 24 + 12) * HOUR_MS as i64, whose.of(*counts));
        }
    }
    let mut points = Vec::new();
    let end = i64::from(range.hours.end) * HOUR_MS as i64;
    let mut at = Some(range.bucket(i64::from(range.hours.start) * HOUR_MS as i64));
    while let Some(bucket) = at.filter(|bucket| bucket.timestamp().as_millisecond() < end) {
        if points.len() >= POINTS_MAX {
            return Err(PeriodError::TooManyPoints { max: POINTS_MAX });
        }
        let ms = bucket.timestamp().as_millisecond();
        let day = u32::try_from(ms / (24 * HOUR_MS as i64)).ok();
        at = range.next(&bucket);
        points.push(Bucket { begin: bucket, day, clicks: found.remove(&ms).unwrap_or(0) });
    }
    Ok(points)
}

#[cfg(test)]
mod tests {
    use waypost_protocol::UnixMs;
    use waypost_protocol::clicks::Counts;

    use super::*;
    use crate::app::statistics::range::{Interval, Period};
    use crate::times::format_zoned;

    const NOW: UnixMs = UnixMs(1_795_255_200_000);

    fn range(from: &str, to: &str, zone: &str, interval: Interval) -> Range {
        Range::parse(&Period { from: Some(from), to: Some(to), zone, interval }, NOW).unwrap()
    }

    fn begin(bucket: &Bucket) -> String {
        format_zoned(&bucket.begin)
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
            let points = series(&one_an_hour(&range), &range, Whose::People).unwrap();
            assert_eq!(points.iter().map(|bucket| bucket.clicks).collect::<Vec<_>>(), hours);
            assert!(begin(&points[0]).starts_with(from), "{points:?}");
        }
        let range = range("2026-10-25", "2026-10-25", "Europe/Berlin", Interval::Hour);
        let points = series(&one_an_hour(&range), &range, Whose::People).unwrap();
        assert_eq!(points.len(), 25);
        assert_eq!(
            (begin(&points[2]).as_str(), begin(&points[3]).as_str()),
            ("2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00")
        );
    }

    #[test]
    fn zones_that_are_half_an_hour_off_lose_nothing() {
        for zone in ["Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe", "America/St_Johns", "America/Havana"] {
            for interval in [Interval::Hour, Interval::Day, Interval::Month] {
                let range = range("2026-01-01", "2026-12-31", zone, interval);
                let points = series(&one_an_hour(&range), &range, Whose::People).unwrap();
                let total: u64 = points.iter().map(|bucket| bucket.clicks).sum();
                assert_eq!(total, range.hours.len() as u64, "{zone} {interval:?}");
            }
        }
    }

    #[test]
    fn days_whose_hours_are_gone_count_as_a_whole() {
        let month = range("2026-01-01", "2026-01-31", "UTC", Interval::Month);
        let range = range("2026-01-01", "2026-01-31", "UTC", Interval::Day);
        let mut stats = one_an_hour(&range);
        stats.hours.clear();
        let points = series(&stats, &range, Whose::People).unwrap();
        assert_eq!((points.len(), points[30].clicks, begin(&points[30]).as_str()), (31, 24, "2026-01-31T00:00:00Z"));
        assert_eq!(series(&stats, &month, Whose::People).unwrap()[0].clicks, 31 * 24);
    }

    #[test]
    fn a_range_that_begins_or_ends_within_a_day_says_which_days_it_touches() {
        let days = |from, to, zone| {
            range(from, to, zone, Interval::Day).whole_days().map(|(from, to)| (format_zoned(&from), format_zoned(&to)))
        };
        assert_eq!(days("2026-11-01", "2026-11-03", ""), None);
        let two = Some(("2026-11-01T00:00:00Z".to_owned(), "2026-11-03T00:00:00Z".to_owned()));
        assert_eq!(days("2026-11-01T10:00:00Z", "2026-11-02", ""), two);
        assert_eq!(days("2026-11-01", "2026-11-02T10:00:00Z", ""), two);
        assert!(days("2026-11-01", "2026-11-02", "Europe/Berlin").is_some());
        // Today has no later hours.
        assert_eq!(Range::parse(&Period::default(), NOW).unwrap().whole_days(), None);
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
            let refused = Range::parse(&Period { from: Some(from), to: Some(to), ..Period::default() }, NOW).err();
            let expected = if to.starts_with('9') { PeriodError::TooLong } else { PeriodError::From(from.to_owned()) };
            assert_eq!(refused, Some(expected), "{from} {to}");
        }
    }

    #[test]
    fn the_last_thirty_days_are_the_default_and_nonsense_is_refused() {
        let default = Range::parse(&Period::default(), NOW).unwrap();
        assert_eq!(series(&Stats::default(), &default, Whose::People).unwrap().len(), 30);
        for (from, to, zone) in [
            ("yesterday", "2026-11-21", ""),
            ("2026-11-22", "2026-11-21", ""),
            ("1950-01-01", "2026-11-21", ""),
            ("2010-01-01", "2026-11-21", ""),
            ("2026-11-01", "2026-11-21", "Europe/Nowhere"),
        ] {
            assert!(
                Range::parse(&Period { from: Some(from), to: Some(to), zone, interval: Interval::Day }, NOW).is_err(),
                "{from} {to} {zone}"
            );
        }
    }
}
