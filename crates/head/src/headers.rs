//! The headers of a request, whoever parsed them: actix-http for the `App`, or the fast path.

use std::borrow::Cow;

use actix_http::header::{HeaderMap, HeaderName, HeaderValue};

/// The headers of a request.
pub trait Headers {
    /// The first value of a header.
    fn first(&self, name: &HeaderName) -> Option<&[u8]>;

    /// All values of a header, in their order.
    fn all<'a>(&'a self, name: &HeaderName) -> impl Iterator<Item = &'a [u8]>;

    /// Whether there is such a header.
    fn has(&self, name: &HeaderName) -> bool {
        self.first(name).is_some()
    }

    /// The first value of a header, if it is visible ASCII.
    fn text(&self, name: &HeaderName) -> Option<&str> {
        visible(self.first(name)?)
    }

    /// All values of a header, as one list. A value that is not visible ASCII is replaced, so that it keeps its position.
    fn joined<'a>(&'a self, name: &HeaderName) -> Cow<'a, str> {
        let mut values = self.all(name).map(|value| visible(value).unwrap_or("?"));
        // Proxies send one value, which is not copied.
        let mut joined = Cow::Borrowed(values.next().unwrap_or_default());
        for value in values {
            let joined = joined.to_mut();
            joined.push(',');
            joined.push_str(value);
        }
        joined
    }
}

/// The text of a value, if it is visible ASCII.
pub fn visible(value: &[u8]) -> Option<&str> {
    let is_visible = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~');
    value.iter().all(is_visible).then(|| std::str::from_utf8(value).ok())?
}

impl Headers for HeaderMap {
    fn first(&self, name: &HeaderName) -> Option<&[u8]> {
        self.get(name).map(HeaderValue::as_bytes)
    }

    fn all<'a>(&'a self, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
        self.get_all(name).map(HeaderValue::as_bytes)
    }
}

/// The headers of a parsed head, in their order. They are few, so they are searched one by one.
pub struct Parsed<'a> {
    headers: &'a [httparse::Header<'a>],
    /// A bit for each length that a name has: most names that are looked for are not there, which this tells at once.
    lengths: u64,
}

impl<'a> Parsed<'a> {
    /// Headers as `httparse` leaves them.
    pub fn new(headers: &'a [httparse::Header<'a>]) -> Self {
        let lengths = headers.iter().fold(0, |lengths, header| lengths | length_bit(header.name.len()));
        Self { headers, lengths }
    }

    /// Names and values, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.headers.iter().map(|header| (header.name, header.value))
    }
}

fn length_bit(length: usize) -> u64 {
    1 << length.min(63)
}

impl Headers for Parsed<'_> {
    #[inline]
    fn first(&self, name: &HeaderName) -> Option<&[u8]> {
        self.all(name).next()
    }

    #[inline]
    fn all<'a>(&'a self, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
        let name = name.as_str();
        let headers: &[_] = if self.lengths & length_bit(name.len()) == 0 { &[] } else { self.headers };
        headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    }
}

#[cfg(test)]
mod tests {
    use actix_http::header::{ACCEPT, HOST, USER_AGENT};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_found_in_any_case_and_values_keep_their_order() {
        let headers = [
            httparse::Header { name: "hOST", value: b"a" },
            httparse::Header { name: "Host", value: b"b" },
            httparse::Header { name: "accept", value: b"\xff" },
        ];
        let parsed = Parsed::new(&headers);
        assert_eq!((parsed.first(&HOST), parsed.joined(&HOST)), (Some(&b"a"[..]), Cow::from("a,b")));
        assert_eq!((parsed.text(&ACCEPT), parsed.joined(&ACCEPT)), (None, Cow::from("?")));
        assert!(!parsed.has(&USER_AGENT));
    }

    proptest! {
        #[test]
        fn both_kinds_of_headers_tell_the_same(
            pairs in prop::collection::vec((prop::sample::select(vec!["host", "Host", "accept", "x-a", "user-agent"]), prop::collection::vec(any::<u8>().prop_filter("a value", |byte| *byte == b'\t' || *byte >= b' ' && *byte != 127), 0..8)), 0..8),
        ) {
            let headers: Vec<_> = pairs.iter().map(|(name, value)| httparse::Header { name, value }).collect();
            let parsed = Parsed::new(&headers);
            let mut map = HeaderMap::new();
            for (name, value) in &pairs {
                map.append(name.parse().unwrap(), HeaderValue::from_bytes(value).unwrap());
            }
            for name in [HOST, ACCEPT, USER_AGENT, HeaderName::from_static("x-a")] {
                prop_assert_eq!(parsed.first(&name), Headers::first(&map, &name));
                prop_assert_eq!(parsed.text(&name), map.get(&name).and_then(|value| value.to_str().ok()));
                prop_assert_eq!(parsed.joined(&name), map.joined(&name));
                prop_assert_eq!(parsed.has(&name), map.contains_key(&name));
            }
        }
    }
}
