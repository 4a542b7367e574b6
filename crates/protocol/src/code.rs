//! Codes: the texts that identify links.
//!
//! A generated code has seven base62 characters or a form of `code_format.rs`; an alias is chosen by its owner within the rules below.
//! Both share one space and are compared as texts, never by a decoded number: base62 decodes "1" and "0000001"
//! alike, and they are two links.

use std::borrow::Borrow;
use std::fmt;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::Level;
use crate::unicode_slug::{self, LettersError};

/// The length of a generated code.
pub const GENERATED_LENGTH: usize = 7;

/// The longest alias, in bytes.
pub const SLUG_BYTES_MAX: usize = 64;

/// The most segments of a slug. Each path that is no link costs as many look-ups: one of its segments could forward the others.
pub const SEGMENTS_MAX: usize = 6;

/// First path segments of our own routes, present or future: they cannot be aliases, nor begin one of several segments.
const RESERVED: &[&str] = &[
    "abuse",
    "admin",
    "analytics",
    "api",
    "assets",
    "cluster",
    "docs",
    "favicon.ico",
    "generate-key",
    "health",
    "healthz",
    "login",
    "logout",
    "metrics",
    "openapi.json",
    "qr",
    "ready",
    "rest",
    "robots.txt",
    "settings",
    "shorten",
    "sitemap.xml",
    "static",
    "stats",
    "ui",
    "well-known",
];

/// Those of them that are one page and will have no paths below them, so that an alias of several segments may begin with them.
const PAGES: &[&str] = &["docs"];

/// The text of a code, exactly as in the URL. Up to 24 bytes are stored inline, without an allocation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Code(CompactString);

/// Why a text cannot be an alias, and what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// The text is empty.
    #[error("the slug is empty; give at least one character, or leave it out to have a code generated")]
    Empty,
    /// Too many bytes.
    #[error("the slug has {length} bytes; at most {max} are possible")]
    TooLong {
        /// Its length.
        length: usize,
        /// The largest length.
        max: usize,
    },
    /// A character that is not allowed.
    #[error(
        "the slug has {character:?} at position {position}; use letters and digits of one script, \"-\" and \"_\" only"
    )]
    BadCharacter {
        /// The character.
        character: char,
        /// Its position, counted from 1.
        position: usize,
    },
    /// It begins or ends with a punctuation mark, which is easily lost when a link is copied or printed.
    #[error("the slug begins or ends with \"-\" or \"_\"; begin and end it with a letter or a digit")]
    MarkAtEdge,
    /// Letters that look like another slug.
    #[error(transparent)]
    Letters(#[from] LettersError),
    /// It looks like a code with a check character that was mistyped.
    #[error(
        "the slug has as many characters as the codes that are generated for this domain, and not their check character; so it could be reached by mistyping one of them: use fewer or more characters"
    )]
    Mistyped,
    /// A segment is missing.
    #[error("the slug has an empty segment; put one \"/\" between two segments, and none at its begin or end")]
    EmptySegment,
    /// Too many segments.
    #[error("the slug has {count} segments; at most {max} are possible")]
    TooManySegments {
        /// How many it has.
        count: usize,
        /// The largest number.
        max: usize,
    },
    /// A reserved word.
    #[error("\"{word}\" is used by the server itself; choose another slug")]
    Reserved {
        /// The word.
        word: String,
    },
}

impl Code {
    /// Parses an alias: 1 to 64 bytes of letters, digits, `-` and `_`, beginning and ending with a letter or digit, and not a word of
    /// our own routes in any case. Letters of other scripts are composed (Unicode NFC), and refused where they look like another slug
    /// (`unicode_slug.rs`).
    ///
    /// # Errors
    /// [`CodeError`] says what to change.
    pub fn parse_slug(slug: &str) -> Result<Self, CodeError> {
        Self::parse_at_most(slug, 1)
    }

    /// Parses an alias of a domain whose slugs may have several segments: as [`Code::parse_slug`], and up to [`SEGMENTS_MAX`] of them with
    /// a `/` between two. Each is a slug by itself, except that the first one is not a word below which we have paths of our own.
    ///
    /// # Errors
    /// [`CodeError`] says what to change.
    pub fn parse_segments(slug: &str) -> Result<Self, CodeError> {
        Self::parse_at_most(slug, SEGMENTS_MAX)
    }

    fn parse_at_most(slug: &str, segments_max: usize) -> Result<Self, CodeError> {
        if slug.is_empty() {
            return Err(CodeError::Empty);
        }
        let composed = (!slug.is_ascii()).then(|| unicode_slug::composed(slug));
        let slug = composed.as_deref().unwrap_or(slug);
        if slug.len() > SLUG_BYTES_MAX {
            return Err(CodeError::TooLong { length: slug.len(), max: SLUG_BYTES_MAX });
        }
        let possible = |c: char| is_code_char(c) || c == '/' && segments_max > 1;
        if let Some((position, character)) = slug.chars().enumerate().find(|(_, c)| !possible(*c)) {
            return Err(CodeError::BadCharacter { character, position: position + 1 });
        }
        let code = Self(CompactString::new(slug));
        let first = slug.split('/').next().unwrap_or(slug);
        if code.is_reserved() {
            return Err(CodeError::Reserved { word: first.to_owned() });
        }
        let count = slug.split('/').count();
        if count > segments_max {
            return Err(CodeError::TooManySegments { count, max: segments_max });
        }
        for segment in slug.split('/') {
            if segment.is_empty() {
                return Err(CodeError::EmptySegment);
            }
            if segment.starts_with(is_mark) || segment.ends_with(is_mark) {
                return Err(CodeError::MarkAtEdge);
            }
            if !segment.is_ascii() {
                unicode_slug::check(segment)?;
            }
        }
        // Segments from right to left would be shown in the opposite order.
        if count > 1 && composed.is_some() && unicode_slug::is_right_to_left(slug) {
            return Err(LettersError::Bidirectional.into());
        }
        Ok(code)
    }

    /// Whether a path with this code is one of our own, so that no link could be reached by it.
    pub fn is_reserved(&self) -> bool {
        let among = |words: &[&str], text: &str| words.iter().any(|word| word.eq_ignore_ascii_case(text));
        match self.0.split_once('/') {
            None => among(RESERVED, &self.0),
            Some((first, _)) => among(RESERVED, first) && !among(PAGES, first),
        }
    }

    /// A code for looking up the text of a request; `None` if the text cannot be a code.
    pub fn from_path(text: &str) -> Option<Self> {
        if !text.is_ascii() {
            let text = unicode_slug::composed(text);
            let possible = text.len() <= SLUG_BYTES_MAX && text.chars().all(is_code_char);
            return possible.then(|| Self(CompactString::new(text)));
        }
        let possible = !text.is_empty() && text.len() <= SLUG_BYTES_MAX && text.bytes().all(|b| is_code_char(b.into()));
        possible.then(|| Self(CompactString::new(text)))
    }

    /// A code of one or several segments for looking up the text of a request; `None` if the text cannot be one.
    pub fn from_segments(text: &str) -> Option<Self> {
        if !text.contains('/') {
            return Self::from_path(text);
        }
        let composed = (!text.is_ascii()).then(|| unicode_slug::composed(text));
        let text = composed.as_deref().unwrap_or(text);
        let possible = |segment: &str| !segment.is_empty() && segment.chars().all(is_code_char);
        let fits = text.len() <= SLUG_BYTES_MAX && text.split('/').count() <= SEGMENTS_MAX;
        (fits && text.split('/').all(possible)).then(|| Self(CompactString::new(text)))
    }

    /// The level that a cluster needs for a link with this code: earlier versions do not find letters of other scripts in a path, nor
    /// several segments.
    pub fn level(&self) -> Level {
        if self.0.is_ascii() && !self.0.contains('/') { Level::BASE } else { Level::THREE }
    }

    /// The code of a number below 62^7: base62, padded on the left to seven characters.
    pub(crate) fn generated(number: u128) -> Self {
        let digits = base62::encode(number);
        let mut text = CompactString::with_capacity(GENERATED_LENGTH);
        for _ in digits.len()..GENERATED_LENGTH {
            text.push('0');
        }
        text.push_str(&digits);
        Self(text)
    }

    /// The number of a generated code; `None` for a text that cannot be one.
    pub(crate) fn number(&self) -> Option<u128> {
        if self.0.len() != GENERATED_LENGTH {
            return None;
        }
        base62::decode(self.0.as_bytes()).ok()
    }

    /// A code in a format of `code_format.rs`, which has only characters of codes.
    pub(crate) fn formatted(text: CompactString) -> Self {
        Self(text)
    }

    /// The code in lower case, by which domains that compare without case know it.
    #[must_use]
    pub fn folded(mut self) -> Self {
        if !self.0.is_ascii() {
            return Self(unicode_slug::folded(&self.0).into());
        }
        self.0.make_ascii_lowercase();
        self
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

fn is_code_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || is_mark(c) || unicode_slug::is_possible(c)
}

fn is_mark(c: char) -> bool {
    c == '-' || c == '_'
}

impl Borrow<str> for Code {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_of_a_request_is_a_code_only_if_its_length_and_all_its_characters_are_possible() {
        let longest = "x".repeat(SLUG_BYTES_MAX);
        for (text, possible) in [
            ("", false),
            ("a", true),
            (longest.as_str(), true),
            (&format!("{longest}x"), false),
            ("a b", false),
            ("a/b", false),
            (&format!("{longest}/"), false),
        ] {
            assert_eq!(
                Code::from_path(text).is_some_and(|code| code.as_bytes() == text.as_bytes()),
                possible,
                "{text}"
            );
        }
    }

    #[test]
    fn a_slug_is_taken_as_it_is_written() {
        for slug in ["a", "Spring-Sale_2026", "0000001", "1", &"x".repeat(64)] {
            assert_eq!(Code::parse_slug(slug).unwrap().as_str(), slug);
        }
    }

    #[test]
    fn bad_slugs_are_refused_for_the_right_reason() {
        assert_eq!(Code::parse_slug(""), Err(CodeError::Empty));
        assert_eq!(Code::parse_slug(&"x".repeat(65)), Err(CodeError::TooLong { length: 65, max: 64 }));
        for (slug, character, position) in [
            ("a/b", '/', 2),
            ("..", '.', 1),
            ("a№", '№', 2),
            ("a\u{202e}b", '\u{202e}', 2),
            ("a\u{200b}", '\u{200b}', 2),
            ("ａ", 'ａ', 1),
            ("東京‐2026", '‐', 3),
            ("ab·c", '·', 3),
            ("a b", ' ', 2),
            ("🚀", '🚀', 1),
            ("a\0", '\0', 2),
            ("a%2f", '%', 2),
        ] {
            assert_eq!(Code::parse_slug(slug), Err(CodeError::BadCharacter { character, position }), "{slug}");
        }
        for slug in ["shorten", "API", "Health"] {
            assert!(matches!(Code::parse_slug(slug), Err(CodeError::Reserved { .. })), "{slug}");
        }
        assert_eq!(Code::parse_slug("-a"), Err(CodeError::MarkAtEdge));
        assert_eq!(Code::parse_slug("a_"), Err(CodeError::MarkAtEdge));
    }

    #[test]
    fn letters_of_other_scripts_are_composed() {
        for (slug, code) in [
            ("münchen", "münchen"),
            ("mu\u{308}nchen", "münchen"),
            ("日本語", "日本語"),
            ("東京-2026", "東京-2026"),
            ("tokyo東京", "tokyo東京"),
            ("привет", "привет"),
            ("שלום", "שלום"),
            ("مرحبا", "مرحبا"),
            ("नमस्ते", "नमस्ते"),
        ] {
            assert_eq!(Code::parse_slug(slug).unwrap().as_str(), code);
            assert_eq!(Code::from_path(slug).unwrap().as_str(), code);
        }
        assert_eq!(Code::parse_slug(&"ü".repeat(33)), Err(CodeError::TooLong { length: 66, max: 64 }));
    }

    #[test]
    fn slugs_that_look_like_others_are_refused() {
        // Cyrillic letters alone, and among Latin ones; Greek among Latin ones.
        assert_eq!(Code::parse_slug("аре"), Err(LettersError::LooksLike { ascii: "ape".to_owned() }.into()));
        // A mark on a letter does not make it another one; on Latin letters it does.
        assert_eq!(Code::parse_slug("рарё"), Err(LettersError::LooksLike { ascii: "pape".to_owned() }.into()));
        assert!(Code::parse_slug("papë").is_ok() && Code::parse_slug("ёлка").is_ok());
        assert_eq!(Code::parse_slug("\u{308}a"), Err(LettersError::MarkFirst.into()));
        assert_eq!(Code::parse_slug("pаypal"), Err(LettersError::MixedScripts.into()));
        assert_eq!(Code::parse_slug("οpen"), Err(LettersError::MixedScripts.into()));
        // The digits of a right-to-left slug are shown on its other side.
        assert_eq!(Code::parse_slug("שלום2026"), Err(LettersError::Bidirectional.into()));
        assert!(matches!(Code::parse_slug("aשלום"), Err(CodeError::Letters(_))));
    }

    #[test]
    fn slugs_of_several_segments_are_slugs_with_slashes_between() {
        let longest = format!("{}/{}", "x".repeat(31), "y".repeat(32));
        for slug in ["a/b", "docs/setup", "2026/Spring_sale/a-1", "a/b/c/d/e/f", "plain", "docs/設定", longest.as_str()]
        {
            assert_eq!(Code::parse_segments(slug).map(|code| code.to_string()), Ok(slug.to_owned()));
            assert_eq!(Code::from_segments(slug).map(|code| code.to_string()).as_deref(), Some(slug));
        }
        assert_eq!(Code::parse_segments("mu\u{308}nchen/a").unwrap().as_str(), "m\u{fc}nchen/a");
        for slug in ["/a", "a/", "a//b", "/"] {
            assert_eq!(Code::parse_segments(slug), Err(CodeError::EmptySegment), "{slug}");
            assert_eq!(Code::from_segments(slug), None, "{slug}");
        }
        let seven = "a/b/c/d/e/f/g";
        assert_eq!(Code::parse_segments(seven), Err(CodeError::TooManySegments { count: 7, max: 6 }));
        assert_eq!(Code::from_segments(seven), None);
        assert_eq!(Code::parse_segments(&format!("{longest}z")), Err(CodeError::TooLong { length: 65, max: 64 }));
        assert_eq!(Code::from_segments(&format!("{longest}z")), None);
        for slug in ["a/-b", "a_/b", "a/b-"] {
            assert_eq!(Code::parse_segments(slug), Err(CodeError::MarkAtEdge), "{slug}");
        }
        assert_eq!(Code::parse_segments("a/.."), Err(CodeError::BadCharacter { character: '.', position: 3 }));
        assert_eq!(Code::from_segments("a/.."), None);
        assert_eq!(Code::parse_slug("a/b"), Err(CodeError::BadCharacter { character: '/', position: 2 }));
        // Each segment by itself: Latin and Cyrillic words may stand side by side.
        assert!(Code::parse_segments("docs/\u{43f}\u{440}\u{438}\u{432}\u{435}\u{442}").is_ok());
        let ape = "\u{430}\u{440}\u{435}";
        let looks_like = Err(LettersError::LooksLike { ascii: "ape".to_owned() }.into());
        assert_eq!(Code::parse_segments(&format!("docs/{ape}")), looks_like);
        // Two segments from right to left would change places.
        let shalom = "\u{5e9}\u{5dc}\u{5d5}\u{5dd}";
        assert!(Code::parse_segments(shalom).is_ok());
        for slug in [format!("{shalom}/{shalom}"), format!("a/{shalom}")] {
            assert_eq!(Code::parse_segments(&slug), Err(LettersError::Bidirectional.into()));
        }
    }

    #[test]
    fn a_slug_of_several_segments_begins_with_no_word_below_which_we_have_paths() {
        for slug in ["api/x", "API/v1/links", "analytics/a", "health/live", "cluster/x", "docs", "Docs", "shorten/x"] {
            assert!(matches!(Code::parse_segments(slug), Err(CodeError::Reserved { .. })), "{slug}");
        }
        for slug in ["docs/setup", "a/api", "apis/x"] {
            assert!(Code::parse_segments(slug).is_ok(), "{slug}");
        }
        assert_eq!(Code::parse_segments("a/b").unwrap().level(), Level::THREE);
        assert_eq!(Code::parse_segments("a").unwrap().level(), Level::BASE);
    }

    #[test]
    fn codes_are_told_apart_by_their_text_and_not_by_their_number() {
        assert_eq!(base62::decode("1"), base62::decode("0000001"));
        assert_ne!(Code::parse_slug("1").unwrap(), Code::parse_slug("0000001").unwrap());
        assert_eq!(Code::generated(1).as_str(), "0000001");
        assert_eq!(Code::parse_slug("1").unwrap().number(), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parsers_panic(text in ".*") {
            let slug = Code::parse_slug(&text);
            let path = Code::from_path(&text);
            if let Ok(slug) = slug {
                prop_assert_eq!(Some(slug), path);
            }
            if let Ok(slug) = Code::parse_segments(&text) {
                prop_assert_eq!(Some(slug), Code::from_segments(&text));
            }
        }
    }
}
