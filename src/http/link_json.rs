//! A link as JSON, and times as text.

use jiff::Timestamp;
use serde::Serialize;
use waypost_protocol::{Link, UnixMs};

use super::problem::Problem;

/// What the API says of a link.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LinkJson {
    /// Opaque and stable.
    pub(super) id: String,
    pub(super) short_code: String,
    pub(super) short_url: String,
    pub(super) long_url: String,
    pub(super) created_at: String,
    pub(super) valid_until: Option<String>,
}

impl LinkJson {
    pub(super) fn new(link: &Link, short_url: &str) -> Self {
        Self {
            id: format!("{}-{}", link.key.domain.0, link.key.code),
            short_code: link.key.code.to_string(),
            short_url: short_url.to_owned(),
            long_url: link.target.as_str().to_owned(),
            created_at: format_time(link.created_at),
            valid_until: link.valid_until.map(format_time),
        }
    }
}

/// RFC 3339 in UTC, to the millisecond.
pub(super) fn format_time(time: UnixMs) -> String {
    let milliseconds = i64::try_from(time.0).unwrap_or(i64::MAX);
    match Timestamp::from_millisecond(milliseconds) {
        Ok(timestamp) => format!("{timestamp:.3}"),
        Err(_) => format!("{:.3}", Timestamp::MAX),
    }
}

/// Reads an RFC 3339 time that lies in the future.
pub(super) fn parse_time(text: &str, now: UnixMs) -> Result<UnixMs, Problem> {
    let timestamp: Timestamp = text.parse().map_err(|_| {
        Problem::invalid("validUntil", "validUntil has to be a time like 2030-12-31T23:59:59Z (RFC 3339)")
    })?;
    match u64::try_from(timestamp.as_millisecond()) {
        Ok(milliseconds) if milliseconds > now.0 => Ok(UnixMs(milliseconds)),
        _ => Err(Problem::invalid("validUntil", "validUntil has to lie in the future")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back_as_they_went() {
        let now = UnixMs(1_700_000_000_000);
        let time = parse_time("2030-12-31T23:59:59.5+01:00", now).unwrap();
        assert_eq!(format_time(time), "2030-12-31T22:59:59.500Z");
        assert_eq!(parse_time(&format_time(time), now).unwrap(), time);
    }

    #[test]
    fn times_that_are_no_times_or_past_are_refused() {
        let now = UnixMs(1_700_000_000_000);
        for text in ["", "tomorrow", "2030-12-31", "2020-01-01T00:00:00Z", "1960-01-01T00:00:00Z", "9e9"] {
            assert!(parse_time(text, now).is_err(), "{text}");
        }
    }
}
