//! A link as JSON, and its end as it is read.

use serde::Serialize;
use waypost_protocol::{Link, UnixMs};

use super::problem::Problem;
use super::times::{LAST_MS, ReadTime, format_time, read_time};

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

/// Reads the end of a link: a time that lies in the future.
pub(super) fn parse_time(text: &str, now: UnixMs) -> Result<UnixMs, Problem> {
    let wrong = |detail: &str| Problem::invalid("validUntil", detail);
    let ms = read_time(text).and_then(ReadTime::unix_ms).ok_or_else(|| {
        wrong("validUntil has to be a time like 2030-12-31T23:59:59Z or 2030-12-31T23:59:59+01:00 (RFC 3339)")
    })?;
    if ms > LAST_MS {
        return Err(wrong(
            "validUntil can be 9999-12-31T23:59:59.999Z at the latest; leave it out for a link without an end",
        ));
    }
    match u64::try_from(ms) {
        Ok(ms) if ms > now.0 => Ok(UnixMs(ms)),
        _ => Err(wrong("validUntil has to lie in the future")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_comes_back_as_it_went() {
        let now = UnixMs(1_700_000_000_000);
        let time = parse_time("2030-12-31T23:59:59.5+01:00", now).unwrap();
        assert_eq!(format_time(time), "2030-12-31T22:59:59.500Z");
        assert_eq!(parse_time(&format_time(time), now).unwrap(), time);
        let last = parse_time("9999-12-31T23:59:59Z", now).unwrap();
        assert_eq!(format_time(last), "9999-12-31T23:59:59.000Z");
    }

    #[test]
    fn ends_that_are_no_times_or_past_or_cannot_be_written_are_refused() {
        let now = UnixMs(1_700_000_000_000);
        for text in [
            "",
            "tomorrow",
            "2030-12-31",
            "2030-12-31T23:59:59",
            "2020-01-01T00:00:00Z",
            "1960-01-01T00:00:00Z",
            "9e9",
            "9999-12-31T23:59:59-01:00",
        ] {
            assert!(parse_time(text, now).is_err(), "{text}");
        }
    }
}
