//! `If-Match` and `If-None-Match`: the state of a link that a change requires.

use actix_web::http::header::{HeaderMap, IF_MATCH, IF_NONE_MATCH};
use waypost_protocol::LinkVersion;

use crate::app::{Condition, Guard};

/// The states that the header names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct IfMatch {
    /// Tags that were never ours are left out: they match nothing.
    pub(super) guard: Guard,
    /// The fault of a tag that could never match, however often the link is read again.
    pub(super) fault: Option<TagFault>,
}

/// The fault of an entity tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TagFault {
    /// `W/"…"`: `If-Match` compares strongly (RFC 9110), and a weak tag is equal to none.
    Weak,
    /// It is not in double quotes.
    Unquoted,
    /// The tag is empty.
    Empty,
}

/// What proxies that compress an answer add to its tag: `-gzip` (Apache), `--gzip` (Jetty), `;gzip` and alike.
const CODINGS: [&str; 5] = ["gzip", "br", "zstd", "deflate", "df"];

/// The version that a tag names, whatever a proxy has added to it: it tells apart representations of the same state.
fn version(tag: &str) -> Option<LinkVersion> {
    let coded = || {
        let bare = CODINGS.into_iter().find_map(|coding| tag.strip_suffix(coding))?;
        let plain = bare.trim_end_matches(['-', ';']);
        (plain != bare).then(|| plain.parse().ok())?
    };
    tag.parse().ok().or_else(coded)
}

impl IfMatch {
    /// The guard of a request.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let values: Vec<&str> = headers.get_all(IF_MATCH).map(|value| value.to_str().unwrap_or_default()).collect();
        Self::read(&values)
    }

    /// What a put requires, and the fault of a tag in `If-Match`.
    pub(super) fn condition(headers: &HeaderMap) -> (Condition, Option<TagFault>) {
        let Self { guard, fault } = Self::of(headers);
        let matches = headers.contains_key(IF_MATCH).then_some(guard);
        (Condition { matches, matches_not: none_match(headers) }, fault)
    }

    /// The guard of a value of the header, which an item of a bulk request has in its own place.
    pub(super) fn of_text(value: Option<&str>) -> Self {
        Self::read(value.as_slice())
    }

    /// Reads the values of all `If-Match` headers.
    fn read(values: &[&str]) -> Self {
        let mut tags = values.iter().flat_map(|value| value.split(',')).map(str::trim);
        if values.is_empty() || tags.clone().any(|tag| tag == "*") {
            return Self { guard: Guard::Any, fault: None };
        }
        let strong = |tag: &str| tag.strip_prefix('"')?.strip_suffix('"').map(str::to_owned);
        let versions = tags.clone().filter_map(strong).filter_map(|tag| version(&tag)).collect();
        let fault = if tags.clone().all(str::is_empty) {
            Some(TagFault::Empty)
        } else if tags.clone().any(|tag| tag.starts_with("W/") || tag.starts_with("w/")) {
            Some(TagFault::Weak)
        } else {
            tags.any(|tag| !tag.is_empty() && strong(tag).is_none()).then_some(TagFault::Unquoted)
        };
        Self { guard: Guard::OneOf(versions), fault }
    }
}

/// The states that `If-None-Match` names; `None` without the header. It compares weakly (RFC 9110), so `W/` makes no difference.
pub(super) fn none_match(headers: &HeaderMap) -> Option<Guard> {
    let mut values = headers.get_all(IF_NONE_MATCH).map(|value| value.to_str().unwrap_or_default()).peekable();
    values.peek()?;
    let tags: Vec<&str> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
    if tags.contains(&"*") {
        return Some(Guard::Any);
    }
    let known = |tag: &&str| version(tag.trim_start_matches("W/").strip_prefix('"')?.strip_suffix('"')?);
    Some(Guard::OneOf(tags.iter().filter_map(known).collect()))
}

/// Whether `If-None-Match` names the tag of an answer that is no state of a link, such as an image.
pub(super) fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let values = headers.get_all(IF_NONE_MATCH).filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|one| one == "*" || one.trim_start_matches("W/") == tag)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn if_none_match_compares_weakly() {
        let read = |values: &[&'static str]| {
            let request = values
                .iter()
                .fold(TestRequest::default(), |request, value| request.append_header((IF_NONE_MATCH, *value)));
            none_match(request.to_http_request().headers())
        };
        let version = LinkVersion { version: 2, written_at: 11 };
        assert_eq!(read(&[]), None);
        for any in [&["*"][..], &["\"x\", *"], &["\"2-b\"", "*"]] {
            assert_eq!(read(any), Some(Guard::Any), "{any:?}");
        }
        for (values, versions) in [
            (&["\"2-b\""][..], vec![version]),
            (&["W/\"2-b\""], vec![version]),
            (&["\"2-b-gzip\""], vec![version]),
            (&["\"2-b--gzip\""], vec![version]),
            (&["W/\"2-b;br\""], vec![version]),
            (&["\"2-bgzip\""], vec![]),
            (&["\"x\", W/\"2-b\""], vec![version]),
            (&["2-b"], vec![]),
            (&[""], vec![]),
        ] {
            assert_eq!(read(values), Some(Guard::OneOf(versions)), "{values:?}");
        }
    }

    #[test]
    fn a_tag_that_can_never_match_is_told_from_one_that_matches_no_more() {
        let version = LinkVersion { version: 2, written_at: 11 };
        for (values, versions, fault) in [
            (&["\"2-b\""][..], vec![version], None),
            (&["\"3\""], vec![], None),
            (&["\"x\", \"2-b\""], vec![version], None),
            (&["\"x\"", "\"2-b\""], vec![version], None),
            (&["W/\"2-b\""], vec![], Some(TagFault::Weak)),
            (&["w/\"2-b\""], vec![], Some(TagFault::Weak)),
            (&["W/\"1-a\", \"2-b\""], vec![version], Some(TagFault::Weak)),
            (&["2-b"], vec![], Some(TagFault::Unquoted)),
            (&["\"2-b"], vec![], Some(TagFault::Unquoted)),
            (&["'2-b'"], vec![], Some(TagFault::Unquoted)),
            (&[""], vec![], Some(TagFault::Empty)),
            (&[" , "], vec![], Some(TagFault::Empty)),
            (&["\"*\""], vec![], None),
        ] {
            assert_eq!(IfMatch::read(values), IfMatch { guard: Guard::OneOf(versions), fault }, "{values:?}");
        }
        for any in [&[][..], &["*"], &["\"x\", *"]] {
            assert_eq!(IfMatch::read(any).guard, Guard::Any, "{any:?}");
        }
    }
}
