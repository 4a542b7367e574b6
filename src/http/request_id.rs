//! The id and the trace of a request: the caller's, or generated here.

use actix_http::header::{HeaderMap, HeaderName, HeaderValue};
use rand::RngExt;
use waypost_head::Headers;
use waypost_runtime::{ORIGIN_BYTES_MAX, Origin};

/// The header with the id, in the request and in its answer.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The origin from the headers. An id that is too long, or has more than letters, digits, `-`, `_`, `.` and `:`, is replaced.
pub(super) fn origin(headers: &impl Headers) -> Origin {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    let given =
        headers.text(&REQUEST_ID).filter(|id| (1..=ORIGIN_BYTES_MAX).contains(&id.len()) && id.bytes().all(plain));
    let request = given.map_or_else(|| format!("{:016x}", rand::rng().random::<u64>()), str::to_owned);
    let trace = headers.text(&TRACEPARENT).and_then(parent).map_or_else(String::new, |parent| parent.trace.to_owned());
    Origin { request, trace, span: 0 }
}

/// The caller's own trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parent<'a> {
    /// The trace, 32 hexadecimal digits.
    pub(super) trace: &'a str,
    /// The caller's span in it.
    pub(super) span: u64,
}

/// The caller's span, if its headers name one.
pub(super) fn caller(headers: &HeaderMap) -> Option<Parent<'_>> {
    parent(headers.get(&TRACEPARENT)?.to_str().ok()?)
}

/// Parses a `traceparent` (W3C Trace Context, version 00 and later ones).
fn parent(traceparent: &str) -> Option<Parent<'_>> {
    let mut parts = traceparent.split('-');
    let hex = |part: &&str, length: usize| part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    parts.next().filter(|version| hex(version, 2) && *version != "ff")?;
    let trace = parts.next().filter(|trace| hex(trace, 32) && trace.bytes().any(|byte| byte != b'0'))?;
    let span = parts.next().filter(|parent| hex(parent, 16))?;
    Some(Parent { trace, span: u64::from_str_radix(span, 16).ok()? })
}

/// The id as a header.
pub(super) fn header(origin: &Origin) -> HeaderValue {
    HeaderValue::from_str(&origin.request).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&HeaderName, &str)]) -> Origin {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert((*name).clone(), HeaderValue::from_str(value).unwrap());
        }
        origin(&headers)
    }

    #[test]
    fn a_sound_id_is_taken_over_and_another_replaced() {
        assert_eq!(of(&[(&REQUEST_ID, "abc-1.2:3_x")]).request, "abc-1.2:3_x");
        for bad in ["", "a b", "<script>", &"x".repeat(65)] {
            let made = of(&[(&REQUEST_ID, bad)]).request;
            assert!(made.len() == 16 && made != bad, "{made}");
        }
        assert_ne!(of(&[]).request, of(&[]).request);
    }

    #[test]
    fn the_trace_is_that_of_a_valid_traceparent() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let whole = format!("00-{trace}-00f067aa0ba902b7-01");
        assert_eq!(of(&[(&TRACEPARENT, &whole)]).trace, trace);
        assert_eq!(parent(&whole), Some(Parent { trace, span: 0x00f0_67aa_0ba9_02b7 }));
        for bad in [
            &format!("ff-{trace}-00f067aa0ba902b7-01"),
            &format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            "00-xyz-1-1",
            trace,
        ] {
            assert_eq!(of(&[(&TRACEPARENT, bad)]).trace, "", "{bad}");
        }
    }
}
