//! Times as text: written as RFC 3339 in UTC, and parsed as RFC 3339 and in the common variants.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};
use waypost_protocol::UnixMs;

/// The last millisecond of RFC 3339, since 1970 UTC: 9999-12-31T23:59:59.999Z. (The last `Timestamp` is a day earlier.)
pub(super) const LAST_MS: i64 = UnixMs::LAST.0 as i64;

const DAY_MS: i64 = 24 * 3_600_000;

const EPOCH: Date = Date::constant(1970, 1, 1);

/// A date and a time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReadTime {
    /// Milliseconds since 1970 on the local clock.
    pub(super) local_ms: i64,
    /// How far that clock is ahead of UTC; `None` if the text has no offset.
    pub(super) offset_ms: Option<i64>,
}

impl ReadTime {
    /// Milliseconds since 1970 UTC, if the text has an offset.
    pub(super) fn unix_ms(self) -> Option<i64> {
        self.offset_ms.map(|offset| self.local_ms - offset)
    }
}

/// Formats a time as RFC 3339 in UTC, to the millisecond. Times after the year 9999 become its end.
pub(super) fn format_time(time: UnixMs) -> String {
    let ms = i64::try_from(time.0).unwrap_or(LAST_MS).min(LAST_MS);
    let date = EPOCH.saturating_add(SignedDuration::from_hours(ms / DAY_MS * 24));
    let ms = ms % DAY_MS;
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("{date}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1000)
}

/// Parses a date with a time of day: RFC 3339 (`T` and `Z` in either case, a space for the `T`, any number of digits of a second, 60 as
/// the leap second), also without seconds or offset, with `+0100` or `+01`, and with a space for the plus, as in an unescaped query.
pub(super) fn read_time(text: &str) -> Option<ReadTime> {
    let text = text.trim();
    own_form(text).or_else(|| {
        // Other forms of ISO 8601 and RFC 9557.
        let other = text.contains('[') || text.as_bytes().get(4) != Some(&b'-');
        let at: Timestamp = text.parse().ok().filter(|_| other)?;
        Some(ReadTime { local_ms: at.as_millisecond(), offset_ms: Some(0) })
    })
}

fn own_form(text: &str) -> Option<ReadTime> {
    if !text.is_ascii() || text.len() < 16 {
        return None;
    }
    let (date, rest) = text.split_at(10);
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let date = Date::new(year as i16, month as i8, day as i8).ok()?;
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let end = rest.find(['Z', 'z', '+', '-', ' ']).unwrap_or(rest.len());
    let (time, zone) = rest.split_at(end);
    let offset_ms = if zone.is_empty() { None } else { Some(offset(zone)?) };
    let (time, fraction) = time.split_once(['.', ',']).unwrap_or((time, "0"));
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2]).or_else(|| {
        let [hour, minute] = numbers(time, ':', [2, 2])?;
        Some([hour, minute, 0])
    })?;
    let digits = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
    if hour > 23 || minute > 59 || second > 60 || !digits {
        return None;
    }
    let fraction = format!("{fraction:0<3}")[..3].parse::<i64>().ok()?;
    // Computer clocks have no leap second: it counts as the second before.
    let seconds = hour * 3600 + minute * 60 + second.min(59);
    let days = date.duration_since(EPOCH).as_hours() / 24;
    Some(ReadTime { local_ms: days * DAY_MS + seconds * 1000 + fraction, offset_ms })
}

/// Numbers of fixed lengths with a separator between them.
fn numbers<const N: usize>(text: &str, separator: char, lengths: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(separator);
    let mut found = [0; N];
    for (number, length) in found.iter_mut().zip(lengths) {
        let part =
            parts.next().filter(|part| part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit()))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(found)
}

/// The offset at the end of a time, in milliseconds.
fn offset(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, text) = zone.split_at(1);
    let sign = match sign {
        "-" => -1,
        "+" | " " => 1,
        _ => return None,
    };
    let [hours, minutes] = numbers(text, ':', [2, 2])
        .or_else(|| numbers(text, ':', [2]).map(|[hours]| [hours, 0]))
        .or_else(|| numbers(text, ':', [4]).map(|[both]| [both / 100, both % 100]))?;
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes) * 60_000)
}

/// RFC 3339 to the second, in the time zone of the time.
pub(crate) fn format_zoned(at: &Zoned) -> String {
    if *at.time_zone() == TimeZone::UTC {
        return at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    }
    at.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str) -> Option<String> {
        let ms = read_time(text)?.unix_ms()?;
        Some(format_time(UnixMs(u64::try_from(ms).ok()?)))
    }

    #[test]
    fn times_are_read_however_rfc_3339_is_written() {
        for (text, expected) in [
            ("2030-12-31T23:59:59Z", "2030-12-31T23:59:59.000Z"),
            ("2030-12-31t23:59:59z", "2030-12-31T23:59:59.000Z"),
            ("2030-12-31 23:59:59Z", "2030-12-31T23:59:59.000Z"),
            (" 2030-12-31T23:59:59Z\n", "2030-12-31T23:59:59.000Z"),
            ("2030-12-31T23:59:59.5+01:00", "2030-12-31T22:59:59.500Z"),
            ("2030-12-31T23:59:59-08:00", "2031-01-01T07:59:59.000Z"),
            ("2030-12-31T23:59:59+0100", "2030-12-31T22:59:59.000Z"),
            ("2030-12-31T23:59:59+01", "2030-12-31T22:59:59.000Z"),
            ("2030-12-31T23:59:59-00:00", "2030-12-31T23:59:59.000Z"),
            ("2030-12-31T23:59:59+23:59", "2030-12-31T00:00:59.000Z"),
            ("2030-12-31T23:59:59.123456789Z", "2030-12-31T23:59:59.123Z"),
            ("2030-12-31T23:59:59.123456789123456Z", "2030-12-31T23:59:59.123Z"),
            ("2030-12-31T23:59:59.1Z", "2030-12-31T23:59:59.100Z"),
            ("2030-12-31T23:59:60Z", "2030-12-31T23:59:59.000Z"),
            ("2030-12-31T23:59Z", "2030-12-31T23:59:00.000Z"),
            // A plus in a query that was decoded to a space.
            ("2030-12-31T23:59:59 01:00", "2030-12-31T22:59:59.000Z"),
            ("2030-12-31 23:59:59 01:00", "2030-12-31T22:59:59.000Z"),
            ("2030-12-31T23:59:59.5 0100", "2030-12-31T22:59:59.500Z"),
            ("20301231T235959Z", "2030-12-31T23:59:59.000Z"),
            // The last time that can be written.
            ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59.000Z"),
            ("9999-12-31t23:59:59.999z", "9999-12-31T23:59:59.999Z"),
            ("9999-12-31T23:59:60Z", "9999-12-31T23:59:59.000Z"),
            ("9999-12-31T23:59:59+14:00", "9999-12-31T09:59:59.000Z"),
            ("9999-12-30T22:00:01Z", "9999-12-30T22:00:01.000Z"),
            ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z"),
            ("2028-02-29T12:00:00Z", "2028-02-29T12:00:00.000Z"),
        ] {
            assert_eq!(written(text).as_deref(), Some(expected), "{text:?}");
        }
        let without = read_time("2030-12-31T23:59:59").unwrap();
        assert_eq!((without.offset_ms, without.unix_ms()), (None, None));
    }

    #[test]
    fn what_is_no_time_is_not_read() {
        for text in [
            "",
            "now",
            "2030-12-31",
            "2030-13-01T00:00:00Z",
            "2030-02-29T00:00:00Z",
            "2030-12-31T24:00:00Z",
            "2030-12-31T23:60:00Z",
            "2030-12-31T23:59:61Z",
            "2030-12-31T23:59:59+24:00",
            "2030-12-31T23:59:59+01:60",
            "2030-12-31T23:59:59.Z",
            "2030-12-31T23:59:59Zx",
            "2030-12-31T23:59:59 ",
            "10000-01-01T00:00:00Z",
            "2030-1-1T00:00:00Z",
            "2030-12-31T23:59:59ZZ",
            "２030-12-31T23:59:59Z",
        ] {
            assert_eq!(written(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_lies_after_the_year_9999_is_written_as_its_end() {
        for ms in [LAST_MS as u64, LAST_MS as u64 + 1, u64::MAX] {
            assert_eq!(format_time(UnixMs(ms)), "9999-12-31T23:59:59.999Z");
        }
    }

    proptest! {
        #[test]
        fn a_time_comes_back_as_it_was_written(ms in 0..=LAST_MS, text in "\\PC{0,40}") {
            read_time(&text);
            prop_assert_eq!(read_time(&format_time(UnixMs(ms as u64))).and_then(ReadTime::unix_ms), Some(ms));
        }
    }
}
