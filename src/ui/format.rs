//! Numbers and times as people read them.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use waypost_protocol::UnixMs;

use super::texts::Language;

/// A number with separators between its thousands: 12,345 or 12.345.
pub(super) fn number(number: u64, language: &Language) -> String {
    let separator = language.text("format.thousands");
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push_str(separator);
        }
        text.push(digit);
    }
    text
}

/// The text of a key for a number of things: `KEY.one` or `KEY.other`, with the number in the place of `{}`.
pub(super) fn count(key: &str, things: u64, language: &Language) -> String {
    let form = if things == 1 { "one" } else { "other" };
    language.text(&format!("{key}.{form}")).replacen("{}", &number(things, language), 1)
}

/// A number of bytes, such as `12.3 GiB`.
pub(super) fn bytes(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// A time as a date with a time of day, to the minute, in the zone of the visitor.
pub(super) fn absolute(at: UnixMs, zone: &TimeZone, language: &Language) -> String {
    let Some(zoned) = zoned(at, zone) else { return crate::times::format_time(at) };
    zoned.strftime(language.text("format.time")).to_string()
}

fn zoned(at: UnixMs, zone: &TimeZone) -> Option<jiff::Zoned> {
    let at = Timestamp::from_millisecond(i64::try_from(at.0).ok()?).ok()?;
    Some(at.to_zoned(zone.clone()))
}

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// A time within a month relative to now, such as "3 hours ago"; others as a date.
pub(super) fn relative(at: UnixMs, now: UnixMs, zone: &TimeZone, language: &Language) -> String {
    let (distance, future) = match at.0.checked_sub(now.0) {
        Some(ahead) => (ahead, true),
        None => (now.0 - at.0, false),
    };
    let (key, things) = match (distance, future) {
        (0..MINUTE, _) => return language.text("format.now").to_owned(),
        (MINUTE..HOUR, false) => ("format.minutes-ago", distance / MINUTE),
        (MINUTE..HOUR, true) => ("format.in-minutes", distance / MINUTE),
        (HOUR..DAY, false) => ("format.hours-ago", distance / HOUR),
        (HOUR..DAY, true) => ("format.in-hours", distance / HOUR),
        (_, false) if distance < 31 * DAY => ("format.days-ago", distance / DAY),
        (_, true) if distance < 31 * DAY => ("format.in-days", distance / DAY),
        _ => {
            let Some(zoned) = zoned(at, zone) else { return crate::times::format_time(at) };
            return zoned.strftime(language.text("format.day")).to_string();
        }
    };
    count(key, things, language)
}

#[cfg(test)]
mod tests {
    use super::super::language;
    use super::*;

    #[test]
    fn numbers_are_written_as_the_language_writes_them() {
        for (value, en, de) in
            [(0, "0", "0"), (999, "999", "999"), (1_000, "1,000", "1.000"), (1_234_567, "1,234,567", "1.234.567")]
        {
            assert_eq!(number(value, language(Some("en"), "")), en);
            assert_eq!(number(value, language(Some("de"), "")), de);
        }
    }

    #[test]
    fn near_times_are_relative_and_far_ones_are_dates() {
        let (en, de) = (language(Some("en"), ""), language(Some("de"), ""));
        let (now, zone) = (1_790_000_000_000, TimeZone::get("Europe/Berlin").unwrap());
        let told = |at, language| relative(UnixMs(at), UnixMs(now), &zone, language);
        for (at, expected) in [
            (now - 30_000, "just now"),
            (now - 60_000, "1 minute ago"),
            (now - 3 * HOUR, "3 hours ago"),
            (now + 2 * DAY, "in 2 days"),
            (now - 40 * DAY, "Aug 12, 2026"),
        ] {
            assert_eq!(told(at, en), expected);
        }
        assert_eq!(told(now - 3 * HOUR, de), "vor 3 Stunden");
        assert_eq!(absolute(UnixMs(now), &zone, de), "21.09.2026, 16:13");
        assert_eq!(absolute(UnixMs(u64::MAX), &zone, en), crate::times::format_time(UnixMs(u64::MAX)));
    }
}
