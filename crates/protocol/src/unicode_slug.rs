//! Slugs in letters of other scripts: which are possible, so that no two slugs look alike and each is shown in one direction.
//!
//! The rules are those of identifiers in Unicode Technical Standard 39 (Unicode Security Mechanisms): characters of the type "recommended", scripts
//! that are written together ("highly restrictive"), and no slug that looks like one of Latin letters without being one: its skeleton is ASCII,
//! also without the marks on its letters.

use icu_normalizer::ComposingNormalizerBorrowed;
use unicode_script::{Script, UnicodeScript};
use unicode_security::confusable_detection::skeleton;
use unicode_security::general_security_profile::IdentifierType;
use unicode_security::{GeneralSecurityProfile, RestrictionLevel, RestrictionLevelDetection};

/// A text in composed characters (Unicode NFC): what looks the same is the same.
pub(crate) fn composed(text: &str) -> String {
    ComposingNormalizerBorrowed::new_nfc().normalize(text).into_owned()
}

/// A text in lower case and composed characters. Each letter by itself, whatever stands around it, so that all spellings become one: a sigma is the
/// same letter at the end of a word.
pub(crate) fn folded(text: &str) -> String {
    let lower: String = text.chars().flat_map(char::to_lowercase).map(|c| if c == 'ς' { 'σ' } else { c }).collect();
    composed(&lower)
}

/// Whether a character that is not ASCII can be in a slug: letters, their marks and digits.
pub(crate) fn is_possible(c: char) -> bool {
    !c.is_ascii() && c.identifier_type() == Some(IdentifierType::Recommended)
}

/// Why letters cannot be a slug, and what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LettersError {
    /// It begins with a mark that belongs to the letter before it.
    #[error("the slug begins with a mark that needs a letter before it; begin it with a letter or a digit")]
    MarkFirst,
    /// Letters of scripts that are not written together.
    #[error(
        "the slug mixes letters of several scripts, which can look like another slug; use the letters of one script"
    )]
    MixedScripts,
    /// Letters of another script that look like ASCII.
    #[error(
        "the slug looks like \"{ascii}\" but has letters of another script; write it in the letters that it looks like, or choose another slug"
    )]
    LooksLike {
        /// What it looks like.
        ascii: String,
    },
    /// Letters from right to left, and digits or marks that are shown in the other direction.
    #[error(
        "the slug has letters that are written from right to left, and other characters that are not; use such letters only"
    )]
    Bidirectional,
}

/// Checks a composed slug that has other characters than ASCII.
pub(crate) fn check(slug: &str) -> Result<(), LettersError> {
    if !slug.starts_with(char::is_alphanumeric) {
        return Err(LettersError::MarkFirst);
    }
    let letters: String = skeleton(slug).collect();
    let looks_like: String = letters.chars().filter(|c| c.script() != Script::Inherited).collect();
    let is_latin = slug.chars().any(|c| c.script() == Script::Latin);
    match () {
        () if slug.detect_restriction_level() > RestrictionLevel::HighlyRestrictive => Err(LettersError::MixedScripts),
        () if letters.is_ascii() || looks_like.is_ascii() && !is_latin => {
            Err(LettersError::LooksLike { ascii: looks_like })
        }
        () if is_right_to_left(slug) && slug.chars().any(|c| c.is_ascii() || c.is_numeric()) => {
            Err(LettersError::Bidirectional)
        }
        () => Ok(()),
    }
}

/// Whether a slug has letters that are written from right to left.
pub(crate) fn is_right_to_left(slug: &str) -> bool {
    // The blocks of the scripts that Unicode's bidirectional algorithm (UAX 9) has as R and AL, with those that are reserved for more of them.
    slug.chars().any(|c| matches!(c, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{feff}' | '\u{10800}'..='\u{10fff}' | '\u{1e800}'..='\u{1efff}'))
}
