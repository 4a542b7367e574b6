//! The form in which texts are compared: without case, without accents, compatible characters as one.

use std::borrow::Cow;

use icu_normalizer::properties::CanonicalCombiningClassMapBorrowed;
use icu_normalizer::{ComposingNormalizerBorrowed, DecomposingNormalizerBorrowed};
use percent_encoding::percent_decode_str;

/// Folds a text: compatibility decomposition (NFKD), no accents, lower case, composed again (NFC). White space and control characters become spaces.
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        let one = |c: char| if c.is_ascii_graphic() { c.to_ascii_lowercase() } else { ' ' };
        return text.chars().map(one).collect();
    }
    let classes = CanonicalCombiningClassMapBorrowed::new();
    let mut folded = String::with_capacity(text.len());
    for c in DecomposingNormalizerBorrowed::new_nfkd().normalize_iter(text.chars()) {
        match c {
            c if c.is_whitespace() || c.is_control() => folded.push(' '),
            c if is_accent(classes.get_u8(c)) => {}
            c => match spelled(c) {
                Some(letters) => folded.push_str(letters),
                None => folded.extend(c.to_lowercase()),
            },
        }
    }
    ComposingNormalizerBorrowed::new_nfc().normalize(&folded).into_owned()
}

/// Whether a mark of this class is an accent or a vowel point. Those that make another letter are not: nukta (7), the voicing of kana (8), virama (9).
fn is_accent(class: u8) -> bool {
    class > 9 || class == 1
}

/// Letters that have no decomposition, as people without them on their keyboards write them.
fn spelled(c: char) -> Option<&'static str> {
    Some(match c {
        'ß' | 'ẞ' => "ss",
        'æ' | 'Æ' => "ae",
        'œ' | 'Œ' => "oe",
        'ø' | 'Ø' => "o",
        'ł' | 'Ł' => "l",
        'đ' | 'Đ' | 'ð' | 'Ð' => "d",
        'þ' | 'Þ' => "th",
        'ħ' | 'Ħ' => "h",
        'ı' => "i",
        'ς' => "σ",
        _ => return None,
    })
}

/// A URL to be searched in: as it is, and as people read it, with its escapes decoded.
pub fn fold_url(url: &str) -> String {
    let mut folded = fold(url);
    if let Some(readable) = decoded(url) {
        folded.push(' ');
        folded.push_str(&fold(&readable));
    }
    folded
}

/// The text without percent-escapes; `None` if it has none, or if they are no text.
fn decoded(url: &str) -> Option<String> {
    match Cow::from(percent_decode_str(url)) {
        Cow::Borrowed(_) => None,
        Cow::Owned(bytes) => String::from_utf8(bytes).ok(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_people_take_for_the_same_is_folded_to_the_same() {
        for (text, folded) in [
            ("", ""),
            ("Ab-1", "ab-1"),
            ("a\tb\u{0}c", "a b c"),
            ("Été À LA Plage", "ete a la plage"),
            ("E\u{301}te\u{301}", "ete"),
            ("STRASSE straße ẞ", "strasse strasse ss"),
            ("Łódź Øre Æon ﬁn", "lodz ore aeon fin"),
            ("İstanbul ISPARTA ı", "istanbul isparta i"),
            ("ΟΔΟΣ οδός", "οδοσ οδοσ"),
            ("Ёлка й", "елка и"),
            ("ＡＢＣ ½", "abc 1⁄2"),
            ("がか", "がか"),
            ("한글", "한글"),
            ("שָׁלוֹם", "שלום"),
            ("a\u{a0}b\u{3000}c", "a b c"),
            ("क़", "क\u{93c}"),
            ("🎉", "🎉"),
        ] {
            assert_eq!(fold(text), folded, "{text:?}");
        }
    }

    #[test]
    fn a_url_is_found_as_it_is_and_as_people_read_it() {
        assert_eq!(fold_url("https://A.example/B"), "https://a.example/b");
        assert_eq!(fold_url("https://a.b/%C3%9Cber%2f"), "https://a.b/%c3%9cber%2f https://a.b/uber/");
        assert_eq!(fold_url("https://a.b/100%"), "https://a.b/100%");
        assert_eq!(fold_url("https://a.b/%ff%41"), "https://a.b/%ff%41");
    }

    proptest! {
        #[test]
        fn folding_twice_is_folding_once(text in "\\PC{0,20}") {
            prop_assert_eq!(fold(&fold(&text)), fold(&text));
        }
    }
}
