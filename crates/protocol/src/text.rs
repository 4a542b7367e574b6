//! Texts that people type: the same to the eye is the same to the store.

use icu_normalizer::ComposingNormalizerBorrowed;

/// Composed characters (Unicode NFC), without white space at the ends: what looks the same is the same.
pub(crate) fn normal(text: &str) -> String {
    ComposingNormalizerBorrowed::new_nfc().normalize(text.trim()).into_owned()
}
