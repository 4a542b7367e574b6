//! Which links a path may mean: a code with something typed around it, a slug of several segments, or a code with a path below it.

use waypost_protocol::typed::{ascii_code_in_path, code_in_path, code_of_segment, codes_above, segments_in_path};
use waypost_protocol::{Code, Site};

/// Whether a path has a code of this domain with the wrong check character.
pub(super) fn is_mistyped(site: &Site, path: &str) -> bool {
    let code = if site.multi_segment { segments_in_path(path) } else { code_in_path(path) };
    code.is_some_and(|code| site.code_formats.is_mistyped(site.key(code).code.as_str()))
}

/// The code of a path, and what follows it if that may be meant for the target; and whether no link is meant without the rest.
pub(super) fn asked<'a>(site: &Site, path: &'a str) -> (Option<(Code, Option<&'a str>)>, bool) {
    if site.multi_segment {
        return asked_of_segments(path);
    }
    let below = below_a_code(path);
    match code_in_path(path) {
        // What follows may be typed by mistake, or a path in letters of another script.
        Some(code) => {
            let rest = below.filter(|(first, _)| *first == code).and_then(|(_, rest)| rest);
            (Some((code, rest.filter(|rest| *rest != "/"))), false)
        }
        None => (below.clone(), below.is_some()),
    }
}

/// As [`asked`], on a domain whose slugs may have several segments: the whole path if it can be one, so that the exact slug wins over links that forward
/// the path.
pub(super) fn asked_of_segments(path: &str) -> (Option<(Code, Option<&str>)>, bool) {
    let mut above = codes_above(path).filter(|(code, _)| !code.is_reserved());
    match segments_in_path(path).filter(|code| !code.is_reserved()) {
        Some(code) => {
            let rest = above.find(|(above, _)| *above == code).map(|(_, rest)| rest);
            (Some((code, rest.filter(|rest| *rest != "/"))), false)
        }
        None => {
            let first = above.next();
            let is_below = first.is_some();
            (first.map(|(code, rest)| (code, Some(rest))), is_below)
        }
    }
}

/// What else a path may mean if it is not the link that was asked for first: links that forward the rest of the path, the longest code first; and the
/// code before a word in a script without spaces. Each is looked up by itself, because the links of the longer codes win.
pub(super) fn others<'a>(site: &Site, path: &'a str) -> Vec<(Code, Option<&'a str>)> {
    let mut others = Vec::new();
    if site.multi_segment {
        let first = asked_of_segments(path).0.map(|(code, _)| code);
        let above = codes_above(path).filter(|(code, _)| !code.is_reserved() && Some(code) != first.as_ref());
        others.extend(above.map(|(code, rest)| (code, Some(rest))));
    }
    others.extend(ascii_code_in_path(path).map(|code| (code, None)));
    others
}

/// The code in the first segment of a path, and the rest of the path as it came.
pub(super) fn below_a_code(path: &str) -> Option<(Code, Option<&str>)> {
    let (first, _) = path.strip_prefix('/')?.split_once('/')?;
    let code = code_of_segment(first).filter(|code| !code.is_reserved())?;
    Some((code, path.get(1 + first.len()..)))
}

/// Whether a path may be one below a code: its first segment is not one of our own words.
pub(super) fn may_be_below_a_code(path: &str) -> bool {
    let first = path.split('/').nth(1).unwrap_or_default();
    code_of_segment(first).is_none_or(|code| !code.is_reserved())
}
