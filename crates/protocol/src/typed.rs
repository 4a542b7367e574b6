//! Finds the code in a text that somebody typed or pasted: a short URL with the punctuation of a sentence around it, or a whole URL.
//!
//! HTTP and the command line both use it. A redirect looks up the unchanged path first, and comes here only if
//! that is not a link.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use unicode_script::{Script, UnicodeScript};

use crate::code::SEGMENTS_MAX;
use crate::{Code, unicode_slug};

/// How often escapes are decoded: programs that rewrite links may escape an escaped link again.
const DECODINGS_MAX: usize = 3;

/// The code in a path, without the characters that no code begins or ends with (slashes, punctuation, quotes, brackets, white space, invisible
/// characters), escaped or not, and without a query or a fragment of which the first character was escaped or mistyped. `None` if the rest cannot be a
/// code.
pub fn code_in_path(path: &str) -> Option<Code> {
    let text = plain(path);
    let whole = without_query(&text);
    // Not by the rules for new slugs: they may become stricter, and a link is found by its letters.
    Code::from_path(whole)
}

/// As [`code_in_path`], on a domain whose slugs may have several segments.
pub fn segments_in_path(path: &str) -> Option<Code> {
    Code::from_segments(without_query(&plain(path)))
}

/// The codes of the first segments of a path, and what follows each of them as it came, with its first slash: the longest code first. For a domain
/// whose slugs may have several segments.
pub fn codes_above(path: &str) -> impl Iterator<Item = (Code, &str)> {
    let text = path.strip_prefix('/').unwrap_or_default();
    let slashes: Vec<usize> = text.match_indices('/').map(|(at, _)| at).take(SEGMENTS_MAX).collect();
    slashes.into_iter().rev().filter_map(move |at| Some((segments_of(&text[..at])?, &text[at..])))
}

/// The code of one or several segments that a text is, escaped or not, to the letter.
pub fn segments_of(text: &str) -> Option<Code> {
    Code::from_segments(&decoded(text).map_or(Cow::Borrowed(text), Cow::Owned))
}

/// The code in a path in which a word follows a code of ASCII without a space, in a language that is written without spaces or puts endings right after
/// a word. Only if nothing else can be meant: the letters before are ASCII, and all that follow are of such a script.
pub fn ascii_code_in_path(path: &str) -> Option<Code> {
    let text = plain(path);
    let whole = text.trim_matches(|c: char| !is_letter(c));
    let (code, word) = whole.split_at(whole.find(|c: char| !c.is_ascii())?);
    word.chars()
        .all(|c| c.is_alphabetic() && SPACELESS.contains(&c.script()))
        .then(|| Code::from_path(trimmed(code)))?
}

/// Scripts of languages in which a word may follow another one, or its ending a name, without a space. (`Common`: the long vowels of Kana.)
const SPACELESS: [Script; 9] = [
    Script::Han,
    Script::Hiragana,
    Script::Katakana,
    Script::Hangul,
    Script::Thai,
    Script::Lao,
    Script::Khmer,
    Script::Myanmar,
    Script::Common,
];

/// The code that a segment of a path is, escaped or not, to the letter.
pub fn code_of_segment(segment: &str) -> Option<Code> {
    Code::from_path(&decoded(segment).map_or(Cow::Borrowed(segment), Cow::Owned))
}

/// A path without what no code begins or ends with, up to a query or a fragment: programs that rewrite links escape the `?`, and people who add a
/// parameter write `&` instead.
fn without_query(path: &str) -> &str {
    let path = path.trim_start_matches(|c: char| !is_letter(c));
    let end = path.find(['?', '#', '&']).unwrap_or(path.len());
    let path = path[..end].trim_end_matches(|c: char| !is_letter(c) && c != '%');
    let path = without_cut_escape(path).trim_end_matches(|c: char| !is_letter(c));
    // A genitive.
    ["'s", "’s"].iter().find_map(|end| path.strip_suffix(end)).unwrap_or(path).trim_end_matches(|c: char| !is_letter(c))
}

/// A path without an escape at its end that was cut off, or is none.
fn without_cut_escape(path: &str) -> &str {
    match path.rsplit_once('%') {
        Some((before, rest)) if rest.len() <= 2 && rest.is_ascii() => before,
        _ => path,
    }
}

/// A text without percent-escapes.
fn plain(path: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(path);
    for _ in 0..DECODINGS_MAX {
        match decoded(&text) {
            Some(plain) => text = Cow::Owned(plain),
            None => break,
        }
    }
    text
}

/// The code in a text: a code, or a short URL with or without scheme, query, fragment and brackets around it.
pub fn code_in_text(text: &str) -> Option<Code> {
    without_host(text)?.rsplit(['/', '\\']).find(|part| part.contains(is_letter)).and_then(code_in_path)
}

/// As [`code_in_text`], for a domain whose slugs may have several segments. Without a scheme, all segments are of the code.
pub fn segments_in_text(text: &str) -> Option<Code> {
    let text = without_host(text)?.replace('\\', "/");
    // No code has a dot or a colon, so it is a host.
    let path =
        text.split_once('/').filter(|(first, _)| first.contains(['.', ':'])).map_or(text.as_str(), |(_, path)| path);
    segments_in_path(path)
}

/// A code, or the path of a short URL; `None` for a URL without one.
fn without_host(text: &str) -> Option<&str> {
    let text = text.trim_matches(|c: char| !is_letter(c));
    // The text after a query or a fragment may be a URL itself.
    let text = before_query(text);
    match text.split_once("://") {
        // Only a host: its last label is not a code.
        Some((_, rest)) => Some(rest.split_once(['/', '\\'])?.1),
        None => Some(text),
    }
}

/// A text up to a query or a fragment, whose first character may be mistyped, or escaped once or twice. Nothing else is decoded: an escaped slash separates no
/// segments.
fn before_query(text: &str) -> &str {
    let begins = |at: usize| {
        let rest = &text.as_bytes()[at..];
        let escaped = rest.strip_prefix(b"%25").or_else(|| rest.strip_prefix(b"%"));
        matches!(rest[0], b'?' | b'#' | b'&')
            || escaped.is_some_and(|code| {
                [&b"3f"[..], b"23", b"26"].iter().any(|sign| code.len() >= 2 && code[..2].eq_ignore_ascii_case(sign))
            })
    };
    // Each of these signs is one byte, so the text is cut between characters.
    &text[..(0..text.len()).find(|at| begins(*at)).unwrap_or(text.len())]
}

/// Codes begin and end with a letter or a digit (`Code::parse_slug`, `Code::generated`).
fn is_letter(c: char) -> bool {
    c.is_ascii_alphanumeric() || unicode_slug::is_possible(c)
}

/// The part of a text from the first to the last letter or digit of ASCII.
fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| !c.is_ascii_alphanumeric())
}

/// The text with its percent-escapes decoded once; `None` if it has none. Invalid UTF-8 becomes a character that is in no code.
fn decoded(text: &str) -> Option<String> {
    match Cow::from(percent_decode_str(text)) {
        Cow::Borrowed(_) => None,
        Cow::Owned(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_no_code_begins_or_ends_with_is_dropped_from_a_path() {
        for path in [
            "CODE",
            "/CODE",
            "//CODE",
            "CODE/",
            "CODE//",
            "CODE.",
            "CODE,",
            "CODE;",
            "CODE:",
            "CODE!",
            "CODE)",
            "(CODE)",
            "CODE]",
            "[CODE]",
            "CODE>",
            "<CODE>",
            "CODE'",
            "\"CODE\"",
            "CODE\"",
            "CODE*",
            "**CODE**",
            "_CODE_",
            "CODE-",
            "CODE%20",
            "CODE%09",
            "CODE%0A",
            "CODE%0D%0A",
            "CODE%3F",
            "CODE%22",
            "CODE%3E",
            "CODE%C2%A0",
            "CODE%E2%80%8B",
            "CODE%EF%BB%BF",
            "CODE…",
            "CODE»",
            "«CODE»",
            "“CODE”",
            "CODE’",
            "CODE。",
            "CODE、",
            "CODE）",
            "（CODE）",
            "CODE\u{a0}",
            "CODE\u{200b}",
            "\u{feff}CODE",
            "CODE\u{2069}",
            "CODE).",
            "CODE/.",
            "/CODE/)!",
            "CODE%2E",
            "CODE%2f",
            "CODE%2520",
            "CODE%ff",
            "CODE%",
            "CODE&",
            "CODE=",
            "CODE+",
            "CODE\\",
            "CODE|",
            "CODE`",
            "CODE~",
            "CODE$",
            "CODE's",
            "CODE’s.",
            "CODE%2",
            "CODE%zz",
            "CODE%3Futm=1",
            "CODE%3Futm_source%3Da%26b",
            "CODE/%253Futm=1",
            "CODE&utm=1",
            "CODE%26utm=1/x",
            "CODE%23part.two",
        ] {
            assert_eq!(code_in_path(path).map(|code| code.to_string()).as_deref(), Some("CODE"), "{path:?}");
        }
        let marked = code_in_path("/spring-sale_2026.").unwrap();
        assert_eq!(marked.as_str(), "spring-sale_2026");
    }

    #[test]
    fn letters_of_other_scripts_are_a_part_of_the_slug_or_follow_it() {
        let found = |path: &str| code_in_path(path).map(|code| code.to_string());
        for path in ["/münchen", "/m%C3%BCnchen", "/mu%CC%88nchen.", "(münchen)", "münchen。", "m%25C3%25BCnchen"] {
            assert_eq!(found(path).as_deref(), Some("münchen"), "{path}");
            assert_eq!(ascii_code_in_path(path).map(|code| code.to_string()).as_deref(), None, "{path}");
        }
        assert_eq!(code_in_text("http://h.example/m%C3%BCnchen?x").unwrap().as_str(), "münchen");
        // Either could be meant.
        assert_eq!(found("/CODEです").as_deref(), Some("CODEです"));
        for path in ["/CODEです", "/CODEデータ。", "/CODE에서", "/CODEครับ"] {
            assert_eq!(ascii_code_in_path(path).map(|code| code.to_string()).as_deref(), Some("CODE"), "{path}");
        }
        // These may be slugs of their own, so they lead to no other link.
        for path in ["/CODEпривет", "/café", "/über-uns", "/東京-2026", "/CODEです2", "/CODE"] {
            assert_eq!(ascii_code_in_path(path), None, "{path}");
        }
        assert_eq!(code_of_segment("m%C3%BCnchen").unwrap().as_str(), "münchen");
        assert_eq!(code_of_segment("CODE."), None);
    }

    #[test]
    fn a_code_of_several_segments_is_found_in_what_people_type() {
        for path in ["/docs/setup", "/docs/setup/", "docs/setup.", "(docs/setup)", "/docs%2Fsetup", "/docs/setup%20"] {
            assert_eq!(segments_in_path(path).map(|code| code.to_string()).as_deref(), Some("docs/setup"), "{path}");
        }
        for path in ["/a.b/c", "/a//b", "/", "/a/b/c/d/e/f/g"] {
            assert_eq!(segments_in_path(path), None, "{path}");
        }
        for text in [
            "docs/setup",
            "https://h.example/docs/setup?x=a/b",
            "<http://h.example:80/docs/setup/>",
            "/docs/setup",
            "h.example/docs/setup",
            "//h.example:80/docs/setup",
        ] {
            assert_eq!(segments_in_text(text).map(|code| code.to_string()).as_deref(), Some("docs/setup"), "{text}");
        }
        assert_eq!(segments_in_text("https://h.example"), None);
    }

    #[test]
    fn what_follows_a_code_of_several_segments_comes_with_the_longest_code_first() {
        let above =
            |path: &'static str| codes_above(path).map(|(code, rest)| (code.to_string(), rest)).collect::<Vec<_>>();
        let code = |text: &str| text.to_owned();
        assert_eq!(above("/a/b%2fc/d.e"), [(code("a/b/c"), "/d.e"), (code("a"), "/b%2fc/d.e")]);
        assert_eq!(above("/a/b/"), [(code("a/b"), "/"), (code("a"), "/b/")]);
        assert_eq!(above("/a//b"), [(code("a"), "//b")]);
        assert_eq!(above("/a"), []);
        assert_eq!(above("a/b"), []);
        assert_eq!(above("/1/2/3/4/5/6/7/8").len(), SEGMENTS_MAX);
    }

    #[test]
    fn what_is_left_has_to_be_a_code() {
        for path in
            ["", "/", "...", "a/b", "/CODE/x", "CODE.x", "CODE%2Fx", "CODE x", "CO\u{200b}DE", "%", "%%%", "CODE=x?y"]
        {
            assert_eq!(code_in_path(path), None, "{path:?}");
        }
        assert_eq!(code_in_path(&format!("/{}/", "x".repeat(65))), None);
    }

    #[test]
    fn a_whole_short_url_is_its_code() {
        for text in [
            "CODE",
            " CODE\n",
            "/CODE",
            "http://h.example/CODE",
            "https://h.example:8080/CODE",
            "HTTPS://H.EXAMPLE/CODE",
            "http://h.example/CODE/",
            "http://h.example//CODE",
            "http://h.example/CODE?utm=1",
            "http://h.example/CODE#x",
            "http://h.example/CODE/?to=http://other.example/path#x",
            "http://h.example/CODE&u=1/x",
            "s.example/CODE%3Fu=1/x",
            "CODE&u=https://b.example/x",
            "http://h.example/CODE%253fu=1/x",
            "http://h.example/CODE.",
            "<http://h.example/CODE>",
            "<http://h.example/CODE>,",
            "(see http://h.example/CODE)",
            "[spring](http://h.example/CODE)",
            "\"http://h.example/CODE?a=b\"",
            "h.example/CODE",
            "h.example:8080/CODE?x",
            "//h.example/CODE",
            "http://127.0.0.1:8080/CODE%20",
            "http:\\\\h.example\\CODE",
            "http://h.example/\u{200b}CODE\u{200b}",
            "\u{feff}http://h.example/CODE",
        ] {
            assert_eq!(code_in_text(text).map(|code| code.to_string()).as_deref(), Some("CODE"), "{text:?}");
        }
    }

    #[test]
    fn a_url_without_a_code_has_none() {
        for text in [
            "",
            "?",
            "http://h.example",
            "http://h.example/",
            "http://h.example/?CODE",
            "h.example",
            "two words",
            "http://h.example/a.b",
            "http://h.example/a%2Fb",
        ] {
            assert_eq!(code_in_text(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_a_code_is_itself(text in "\\PC{0,80}", code in "[0-9A-Za-z]([0-9A-Za-z_-]{0,20}[0-9A-Za-z])?") {
            code_in_text(&text);
            code_in_path(&text);
            segments_in_path(&text);
            segments_in_text(&text);
            codes_above(&text).count();
            prop_assert_eq!(code_in_path(&code), Code::from_path(&code));
            prop_assert_eq!(code_in_text(&code), Code::from_path(&code));
        }
    }
}
