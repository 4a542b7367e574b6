//! A link as JSON, and the parser of its end.

use serde::Serialize;
use waypost_protocol::{Link, UnixMs};

use super::problem::Problem;
use crate::times::{ReadTime, format_time, read_time};

/// A link in the API.
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

/// Reads the end of a link. Whether it lies in the future is not for its text to say.
pub(super) fn parse_time(text: &str) -> Result<UnixMs, Problem> {
    let ms = read_time(text).and_then(ReadTime::unix_ms).ok_or_else(|| {
        Problem::invalid(
            "validUntil",
            "validUntil has to be a time like 2030-12-31T23:59:59Z or 2030-12-31T23:59:59+01:00 (RFC 3339)",
        )
    })?;
    // What lies before 1970 has passed, like its beginning.
    Ok(UnixMs(u64::try_from(ms).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_comes_back_as_it_went() {
        let time = parse_time("2030-12-31T23:59:59.5+01:00").unwrap();
        assert_eq!(format_time(time), "2030-12-31T22:59:59.500Z");
        assert_eq!(parse_time(&format_time(time)).unwrap(), time);
        let last = parse_time("9999-12-31T23:59:59Z").unwrap();
        assert_eq!(format_time(last), "9999-12-31T23:59:59.000Z");
        assert_eq!(parse_time("1960-01-01T00:00:00Z").unwrap(), UnixMs(0));
    }

    #[test]
    fn ends_that_are_no_times_are_refused() {
        for text in ["", "tomorrow", "2030-12-31", "2030-12-31T23:59:59", "9e9"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }
}
