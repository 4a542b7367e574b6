//! The time that statistics are of, in the caller's time zone.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};
use waypost_protocol::UnixMs;
use waypost_protocol::clicks::HOUR_MS;

use crate::times::{LAST_MS, read_time};

/// The most days that are read for one answer.
const DAYS_MAX: u32 = 3700;

/// The days of an answer without `from`.
const DAYS_DEFAULT: u64 = 30;

/// The length of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Interval {
    /// An hour of UTC.
    Hour,
    /// A day of the time zone.
    #[default]
    Day,
    /// A month of the time zone.
    Month,
}

/// The time that a caller asks for, as texts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Period<'a> {
    /// Its begin: a date, a time of day in the zone, or a time with its offset; `None` = 29 days ago.
    pub from: Option<&'a str>,
    /// Its end, in the same forms, where a date alone means the end of that day; `None` = now.
    pub to: Option<&'a str>,
    /// The IANA name of the time zone; empty = UTC.
    pub zone: &'a str,
    /// How long the buckets are.
    pub interval: Interval,
}

/// Why a period cannot be answered for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeriodError {
    /// The time zone does not exist.
    #[error("\"{0}\" is not a time zone; use a name such as Europe/Berlin")]
    Zone(String),
    /// The begin is no time.
    #[error("\"{0}\" is not a valid time")]
    From(String),
    /// The end is no time.
    #[error("\"{0}\" is not a valid time")]
    To(String),
    /// It ends before it begins.
    #[error("the begin has to be before the end")]
    Order,
    /// It has more days than one answer may look at.
    #[error("at most ten years at a time")]
    TooLong,
    /// It has more buckets than one answer may have.
    #[error("more than {max} points; ask for less time, or for a longer interval")]
    TooManyPoints {
        /// How many it may have.
        max: usize,
    },
}

/// The requested range, in whole hours.
pub(super) struct Range {
    zone: TimeZone,
    pub(super) interval: Interval,
    /// Hours since 1970 UTC.
    pub(super) hours: std::ops::Range<u32>,
    /// The hour after the present one: there are no visits later.
    present: u32,
}

impl Range {
    /// Parses a range. A date alone means its midnight in the time zone, as an end the next midnight.
    pub(super) fn parse(period: &Period<'_>, now: UnixMs) -> Result<Self, PeriodError> {
        let Period { from, to, zone, interval } = *period;
        let zone = match zone {
            "" | "UTC" => TimeZone::UTC,
            name => TimeZone::get(name).map_err(|_| PeriodError::Zone(name.to_owned()))?,
        };
        let hour = |text: &str, end: bool| {
            let wrong = || if end { PeriodError::To(text.to_owned()) } else { PeriodError::From(text.to_owned()) };
            let ms = instant(text, &zone, end).ok_or_else(wrong)?;
            let seconds = ms.div_euclid(1000) + i64::from(end && ms % 1000 > 0);
            // The hours in which the range begins and ends are included.
            let hours = if end { (seconds + 3599).div_euclid(3600) } else { seconds.div_euclid(3600) };
            u32::try_from(hours).map_err(|_| wrong())
        };
        let present = (now.0 / HOUR_MS) as u32 + 1;
        let to = to.map_or(Ok(present), |text| hour(text, true))?;
        let default = || {
            let days = UnixMs(now.0.saturating_sub((DAYS_DEFAULT - 1) * 24 * HOUR_MS));
            let start = zoned(days.0 as i64, &zone).start_of_day().map(|start| start.timestamp().as_second());
            (start.unwrap_or(0).max(0) / 3600) as u32
        };
        let from = from.map_or_else(|| Ok(default()), |text| hour(text, false))?;
        if from >= to {
            return Err(PeriodError::Order);
        }
        if (to - from) / 24 > DAYS_MAX {
            return Err(PeriodError::TooLong);
        }
        Ok(Self { zone, interval, hours: from..to, present })
    }

    pub(super) fn is_utc(&self) -> bool {
        self.zone == TimeZone::UTC
    }

    pub(super) fn zone_name(&self) -> String {
        self.zone.iana_name().unwrap_or("UTC").to_owned()
    }

    fn at(&self, hour: u32) -> Zoned {
        zoned(i64::from(hour) * HOUR_MS as i64, &self.zone)
    }

    pub(super) fn start(&self) -> Zoned {
        self.at(self.hours.start)
    }

    pub(super) fn end(&self) -> Zoned {
        self.at(self.hours.end)
    }

    /// The UTC days in which the range begins and ends, if it lacks some of their hours with visits.
    pub(super) fn whole_days(&self) -> Option<(Zoned, Zoned)> {
        let (start, end) = (self.hours.start / 24 * 24, self.hours.end.div_ceil(24) * 24);
        let whole = start == self.hours.start && (end == self.hours.end || self.hours.end >= self.present);
        (!whole).then(|| (self.at(start), self.at(end)))
    }

    /// The beginning of the bucket of a time.
    pub(super) fn bucket(&self, ms: i64) -> Zoned {
        let at = zoned(ms, &self.zone);
        let begin = match self.interval {
            // Hours are stored in UTC: in a zone that is half an hour off, a bucket begins at half past.
            Interval::Hour => return at,
            Interval::Day => at.start_of_day(),
            Interval::Month => at.first_of_month().and_then(|first| first.start_of_day()),
        };
        begin.unwrap_or(at)
    }

    pub(super) fn next(&self, bucket: &Zoned) -> Option<Zoned> {
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
