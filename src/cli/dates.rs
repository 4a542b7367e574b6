//! Dates and times as people type them on the command line, in the caller's time zone (`TZ`).

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};

use super::client::Failed;
use super::exit;

/// What the user should write instead of an invalid time.
const EXAMPLES: &str = "write one like 2030-12-31, 2030-12-31T18:00, 2030-12-31T18:00:00+01:00 or +30d";

/// As [`EXAMPLES`], for options whose times usually lie in the past.
const FORMER_EXAMPLES: &str = "write one like 2026-11-01, 2026-11-01T10:00, 2026-11-01T10:00:00+01:00 or -7d";

/// The meaning of a date without a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// The first moment of that day.
    Begin,
    /// The last moment of that day.
    End,
    /// The date itself: the server knows the days of the requested zone.
    Day,
}

/// The present time in the caller's zone.
pub(super) fn here() -> Result<Zoned, Failed> {
    let zone = TimeZone::try_system().map_err(|error| match std::env::var("TZ") {
        Ok(zone) if !zone.is_empty() => {
            Failed::new(exit::USAGE, format!("TZ: \"{zone}\" is not a time zone; use a name such as Europe/Berlin"))
        }
        _ => Failed::new(
            exit::USAGE,
            format!("the time zone of this machine is unknown: {error}; set TZ, such as TZ=UTC"),
        ),
    })?;
    Ok(Timestamp::now().to_zoned(zone))
}

/// Converts a time to the server's format: UTC, with milliseconds. `option` is the option that holds the text.
///
/// A time without an offset is in the zone of `now`; `+30d` and `-2h` are relative to `now`.
pub(super) fn read(option: &str, text: &str, of: Of, now: &Zoned) -> Result<String, Failed> {
    let text = text.trim();
    let examples = if of == Of::Day || option.starts_with("--created") { FORMER_EXAMPLES } else { EXAMPLES };
    let wrong = || Failed::new(exit::USAGE, format!("{option}: \"{text}\" is not a valid time; {examples}"));
    if let Some(span) = span(text) {
        return now.checked_add(span).map(|at| utc(at.timestamp())).map_err(|_| wrong());
    }
    absolute(text, of, now.time_zone()).ok_or_else(wrong)
}

/// Like [`read`], without relative times: for files.
pub(super) fn absolute(text: &str, of: Of, zone: &TimeZone) -> Option<String> {
    let text = text.trim();
    if let Ok(date) = text.parse::<Date>()
        && !text.contains([':', 'T', 't', ' '])
    {
        return match of {
            Of::Day => Some(date.to_string()),
            Of::Begin => civil(date.at(0, 0, 0, 0), zone),
            Of::End => civil(date.at(23, 59, 59, 999_000_000), zone),
        };
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(utc(at));
    }
    // The last hours of RFC 3339 are out of range here, but the server accepts them.
    if has_offset(text) {
        return is_time_of_rfc_3339(text).then(|| text.to_owned());
    }
    civil(text.parse().ok()?, zone)
}

fn civil(at: DateTime, zone: &TimeZone) -> Option<String> {
    match zone.to_timestamp(at) {
        Ok(at) => Some(utc(at)),
        // Beyond the last time that is known here: the zone makes no difference.
        Err(_) if at.year() == 9999 => Some(format!("{}Z", at.strftime("%Y-%m-%dT%H:%M:%S"))),
        Err(_) => None,
    }
}

fn utc(at: Timestamp) -> String {
    match at.subsec_nanosecond() {
        0 => format!("{at:.0}"),
        _ => format!("{at:.3}"),
    }
}

/// A span from now, with its sign: `+30d`, `-2h`, `+1h 30m`.
fn span(text: &str) -> Option<Span> {
    let rest = text.strip_prefix(['+', '-'])?.trim_start();
    let span: Span = rest.parse().ok()?;
    Some(if text.starts_with('-') { span.negate() } else { span })
}

fn has_offset(text: &str) -> bool {
    let Some((_, time)) = text.split_once(['T', 't', ' ']) else { return false };
    time.ends_with(['Z', 'z']) || time.contains(['+', '-'])
}

fn is_time_of_rfc_3339(text: &str) -> bool {
    let bare = text.trim_end_matches(['Z', 'z']);
    let bare = bare.rfind(['+', '-']).filter(|at| *at > 10).map_or(bare, |at| &bare[..at]);
    bare.parse::<DateTime>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn berlin() -> Zoned {
        "2026-11-25T12:00:00+01:00[Europe/Berlin]".parse().unwrap()
    }

    fn until(text: &str) -> Result<String, String> {
        read("--valid-until", text, Of::End, &berlin()).map_err(|failed| failed.message)
    }

    #[test]
    fn a_date_is_the_end_of_that_day_where_the_caller_is() {
        for (text, time) in [
            ("2026-12-31", "2026-12-31T22:59:59.999Z"),
            ("2026-07-01", "2026-07-01T21:59:59.999Z"),
            (" 2028-02-29 ", "2028-02-29T22:59:59.999Z"),
            ("9999-12-31", "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(until(text).as_deref(), Ok(time), "{text}");
        }
    }

    #[test]
    fn a_time_without_an_offset_is_one_of_the_caller_and_one_with_an_offset_is_itself() {
        for (text, time) in [
            ("2026-12-31T18:00", "2026-12-31T17:00:00Z"),
            ("2026-12-31 18:00:30", "2026-12-31T17:00:30Z"),
            ("2026-12-31T18:00:00Z", "2026-12-31T18:00:00Z"),
            ("2026-12-31t18:00:00z", "2026-12-31T18:00:00Z"),
            ("2026-12-31 18:00:00-05:00", "2026-12-31T23:00:00Z"),
            ("2026-12-31T18:00:00.25+01:00", "2026-12-31T17:00:00.250Z"),
            ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(until(text).as_deref(), Ok(time), "{text}");
        }
    }

    #[test]
    fn a_span_is_that_long_from_now() {
        for (text, time) in [
            ("+30d", "2026-12-25T11:00:00Z"),
            ("+2w", "2026-12-09T11:00:00Z"),
            ("+12h", "2026-11-25T23:00:00Z"),
            ("+1h30m", "2026-11-25T12:30:00Z"),
            ("+6 months", "2027-05-25T10:00:00Z"),
            ("+P1Y", "2027-11-25T11:00:00Z"),
            ("-2d", "2026-11-23T11:00:00Z"),
        ] {
            assert_eq!(until(text).as_deref(), Ok(time), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused_with_examples() {
        for text in [
            "",
            "tomorrow",
            "31.12.2026",
            "12/31/2026",
            "2026-13-01",
            "2026-02-30",
            "2026-12",
            "30d",
            "+",
            "+30",
            "24:00",
            "1798675200",
        ] {
            let refused = until(text).unwrap_err();
            assert!(
                refused.contains("--valid-until: \"")
                    && refused.contains("2030-12-31T18:00")
                    && refused.contains("+30d"),
                "{text}: {refused}"
            );
        }
    }

    #[test]
    fn a_day_of_statistics_is_left_to_the_zone_that_they_are_asked_for() {
        assert_eq!(read("--from", "2026-11-01", Of::Day, &berlin()).ok().as_deref(), Some("2026-11-01"));
        assert_eq!(
            read("--from", "2026-11-01T10:00", Of::Day, &berlin()).ok().as_deref(),
            Some("2026-11-01T09:00:00Z")
        );
        let refused = read("--from", "yesterday", Of::Day, &berlin()).unwrap_err().message;
        assert!(refused.contains("-7d") && !refused.contains("2030"), "{refused}");
    }

    #[test]
    fn a_day_on_which_something_begins_is_its_first_moment() {
        for (text, time) in [
            ("2026-12-31", "2026-12-30T23:00:00Z"),
            // The last day that can be written has no begin in zones before UTC.
            ("9999-12-31", "9999-12-31T00:00:00Z"),
            ("2026-12-31T18:00", "2026-12-31T17:00:00Z"),
            ("+30d", "2026-12-25T11:00:00Z"),
        ] {
            assert_eq!(read("--valid-since", text, Of::Begin, &berlin()).ok().as_deref(), Some(time), "{text}");
        }
    }

    #[test]
    fn a_file_says_when_and_not_how_long_from_now() {
        let zone = berlin().time_zone().clone();
        assert_eq!(absolute("2026-12-31", Of::End, &zone).as_deref(), Some("2026-12-31T22:59:59.999Z"));
        assert_eq!(absolute("+30d", Of::End, &zone), None);
    }
}
