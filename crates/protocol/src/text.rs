//! Texts that people type: the same to the eye is the same to the store.

use icu_normalizer::ComposingNormalizerBorrowed;

/// Composed characters (Unicode NFC): what looks the same is the same.
pub(crate) fn composed(text: &str) -> String {
    ComposingNormalizerBorrowed::new_nfc().normalize(text).into_owned()
}

/// Composed characters without white space at the ends.
pub(crate) fn normal(text: &str) -> String {
    composed(text.trim())
}
