//! The formats of generated codes: alphabet, length, prefix and check character.
//!
//! All formats map the same counter. A code of seven base62 characters is the default; another format has an alphabet and a length of its own,
//! and so a permutation of its own (`permutation.rs`) of another size. When the codes of a length are used up, the next ones are longer by one
//! character. [`CodeFormats`] knows from which counter on each format is used, and never gives one text to two counters.
//!
//! The check character is the weighted sum of the others modulo 31, as in the ISBN of ten digits (ISO 2108:1992, modulo 11). Since 31 is a prime and
//! all weights differ, one wrong character and two that changed places always change the sum. A slip keeps the length, so codes with a check character have a length
//! that no codes of another kind have ([`CodeFormats::has_room_for`]): otherwise a slip could make one of those.

use std::ops::{Range, RangeInclusive};

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::Code;
use crate::permutation::{CODES, Permutation};

/// The shortest and the longest generated code, in characters without prefix and check character.
pub const LENGTHS: RangeInclusive<u8> = 6..=12;
/// The longest prefix, in bytes.
pub const PREFIX_BYTES_MAX: usize = 16;
/// The most formats that a domain can have had: each is tried for each code that is made, so that no text is issued twice.
pub const FORMATS_MAX: usize = 16;

/// The characters of a generated code. The number is stored: it never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Alphabet {
    /// Digits, capital and small letters: 62 characters.
    Base62,
    /// Digits and small letters: 36 characters, for lookups that ignore case.
    Lowercase,
    /// Digits and small letters without 0, 1, i, l and o: 31 characters that are not taken for each other when they are read or typed.
    Unambiguous,
}

impl Alphabet {
    fn characters(self) -> &'static [u8] {
        match self {
            Self::Base62 => b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
            Self::Lowercase => b"0123456789abcdefghijklmnopqrstuvwxyz",
            Self::Unambiguous => b"23456789abcdefghjkmnpqrstuvwxyz",
        }
    }

    fn size(self) -> u128 {
        self.characters().len() as u128
    }

    /// The number of codes of a length.
    fn codes(self, length: u8) -> u128 {
        self.size().pow(length.into())
    }

    fn digit(self, character: u8) -> Option<u128> {
        self.characters().iter().position(|known| *known == character).map(|digit| digit as u128)
    }
}

/// Why a format is not possible, and what to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodeFormatError {
    /// Too short or too long.
    #[error("generated codes have {min} to {max} characters, not {0}", min = LENGTHS.start(), max = LENGTHS.end())]
    Length(u8),
    /// The prefix is too long.
    #[error("a prefix has at most {PREFIX_BYTES_MAX} characters")]
    PrefixTooLong,
    /// The prefix cannot begin a code.
    #[error("a prefix has letters, digits, \"-\" and \"_\" only, and begins with a letter or a digit")]
    PrefixCharacter,
    /// A check character needs an alphabet with a prime number of characters.
    #[error("a check character needs the unambiguous alphabet")]
    CheckAlphabet,
}

/// The format of generated codes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CodeFormat {
    alphabet: Alphabet,
    length: u8,
    prefix: CompactString,
    check: bool,
}

impl Default for CodeFormat {
    /// Seven base62 characters.
    fn default() -> Self {
        Self { alphabet: Alphabet::Base62, length: 7, prefix: CompactString::const_new(""), check: false }
    }
}

impl CodeFormat {
    /// A format of codes with `length` characters, not counting the prefix and the check character.
    ///
    /// # Errors
    /// If it is not possible.
    pub fn new(alphabet: Alphabet, length: u8, prefix: &str, check: bool) -> Result<Self, CodeFormatError> {
        let possible = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        match () {
            () if !LENGTHS.contains(&length) => Err(CodeFormatError::Length(length)),
            () if prefix.len() > PREFIX_BYTES_MAX => Err(CodeFormatError::PrefixTooLong),
            () if !prefix.bytes().all(possible) || prefix.starts_with(['-', '_']) => {
                Err(CodeFormatError::PrefixCharacter)
            }
            () if check && alphabet != Alphabet::Unambiguous => Err(CodeFormatError::CheckAlphabet),
            () => Ok(Self { alphabet, length, prefix: prefix.into(), check }),
        }
    }

    /// The characters.
    pub fn alphabet(&self) -> Alphabet {
        self.alphabet
    }

    /// The number of characters, without prefix and check character.
    pub fn length(&self) -> u8 {
        self.length
    }

    /// What each code begins with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether each code ends with a check character.
    pub fn has_check(&self) -> bool {
        self.check
    }

    /// Whether a text has the form of a code with a check character, but the wrong one.
    fn is_mistyped(&self, text: &str) -> bool {
        let length = text.len().checked_sub(self.prefix.len() + 1).and_then(|length| u8::try_from(length).ok());
        let has_length = length.is_some_and(|length| (self.length..=self.longest()).contains(&length));
        self.check && has_length && self.checked(text).is_none()
    }

    /// The length of the code of a counter: the configured one, or the first longer one that has enough codes.
    fn length_for(&self, counter: u64) -> u8 {
        (self.length..).find(|length| u128::from(counter) < self.alphabet.codes(*length)).unwrap_or(u8::MAX)
    }

    /// The length of the last codes.
    fn longest(&self) -> u8 {
        self.length_for(CODES - 1)
    }

    /// The lengths of the codes of some counters, with prefix and check character.
    fn text_lengths(&self, counters: &Range<u64>) -> RangeInclusive<usize> {
        let around = self.prefix.len() + usize::from(self.check);
        let of = |counter| around + usize::from(self.length_for(counter));
        of(counters.start)..=of(counters.end.saturating_sub(1))
    }

    /// Whether a code of one format that was mistyped is never a code of the other, although they have as many characters: neither is ever checked, or both are in the
    /// same way.
    fn is_checked_like(&self, other: &Self) -> bool {
        match (self.check, other.check) {
            (false, false) => true,
            (true, true) => self.prefix == other.prefix,
            _ => false,
        }
    }

    /// What stands between the prefix and the check character, if the latter is right.
    fn checked<'a>(&self, text: &'a str) -> Option<&'a [u8]> {
        let rest = text.strip_prefix(self.prefix.as_str())?.as_bytes();
        if !self.check {
            return Some(rest);
        }
        let (check, body) = rest.split_last()?;
        (self.check_character(body)? == *check).then_some(body)
    }

    /// The check character of some characters; `None` if one is not of the alphabet.
    fn check_character(&self, body: &[u8]) -> Option<u8> {
        let mut sum = 0;
        // The check character itself has the weight 1.
        for (weight, character) in (2..).zip(body.iter().rev()) {
            sum += weight * self.alphabet.digit(*character)?;
        }
        let size = self.alphabet.size();
        let check = (size - sum % size) % size;
        self.alphabet.characters().get(check as usize).copied()
    }

    /// The permutation of the codes of a length.
    fn permutation(&self, key: &[u8; 32], length: u8) -> Permutation {
        if self.alphabet == Alphabet::Base62 && length == 7 {
            return Permutation::new(*key);
        }
        let mut material = key.to_vec();
        material.extend([self.alphabet.size() as u8, length]);
        Permutation::of_size(blake3::derive_key("waypost 2026-11 codes", &material), self.alphabet.codes(length))
    }

    /// The code of a counter below [`CODES`].
    fn code(&self, key: &[u8; 32], counter: u64) -> Option<Code> {
        let length = self.length_for(counter);
        let mut number = self.permutation(key, length).image(counter.into())?;
        let mut body = vec![0; length.into()];
        for character in body.iter_mut().rev() {
            *character = self.alphabet.characters()[(number % self.alphabet.size()) as usize];
            number /= self.alphabet.size();
        }
        let check = if self.check { Some(self.check_character(&body)?) } else { None };
        let mut text = self.prefix.clone();
        text.extend(body.into_iter().chain(check).map(char::from));
        Some(Code::formatted(text))
    }

    /// The counter of which a text is the code in this format.
    fn counter(&self, key: &[u8; 32], text: &str) -> Option<u64> {
        let body = self.checked(text)?;
        let length = u8::try_from(body.len()).ok().filter(|length| (self.length..=self.longest()).contains(length))?;
        let mut number = 0;
        for character in body {
            number = number * self.alphabet.size() + self.alphabet.digit(*character)?;
        }
        let counter = self.permutation(key, length).origin(number)?;
        u64::try_from(counter).ok().filter(|counter| *counter < CODES && self.length_for(*counter) == length)
    }
}

/// The formats that the codes of a domain have had, and from which counter on each is used.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CodeFormats(Vec<(u64, CodeFormat)>);

/// A domain has changed its format too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the format of generated codes was changed {FORMATS_MAX} times; it can no longer be changed")]
pub struct TooManyFormats;

impl CodeFormats {
    /// The format that is used now.
    pub fn current(&self) -> CodeFormat {
        self.0.last().map(|(_, format)| format.clone()).unwrap_or_default()
    }

    /// The counter from which on the present format is used.
    pub fn begin(&self) -> u64 {
        self.0.last().map_or(0, |(from, _)| *from)
    }

    /// Whether a format can be used from a counter on, so that nobody who mistypes a code with a check character gets to a link with a code of another format: codes
    /// that are checked have a length that no codes have that are not, or are checked in another way.
    pub fn has_room_for(&self, from: u64, format: &CodeFormat) -> bool {
        let lengths = format.text_lengths(&(from..CODES));
        let apart = |of: RangeInclusive<usize>| of.end() < lengths.start() || lengths.end() < of.start();
        self.used_until(from)
            .all(|(other, counters)| other.is_checked_like(format) || apart(other.text_lengths(&counters)))
    }

    /// The formats, each with the counters below `end` that it is used for.
    fn used_until(&self, end: u64) -> impl Iterator<Item = (CodeFormat, Range<u64>)> {
        let all = std::iter::once((0, CodeFormat::default())).chain(self.0.iter().cloned());
        let ends = self.0.iter().map(|(from, _)| *from).chain([end]);
        all.zip(ends).map(|((from, format), end)| (format, from..end)).filter(|(_, counters)| !counters.is_empty())
    }

    /// Uses a format from a counter on, which is not below that of an earlier change.
    ///
    /// # Errors
    /// After [`FORMATS_MAX`] changes.
    pub fn change(&mut self, from: u64, format: CodeFormat) -> Result<(), TooManyFormats> {
        if self.current() == format {
            return Ok(());
        }
        if self.0.len() >= FORMATS_MAX {
            return Err(TooManyFormats);
        }
        self.0.push((from, format));
        Ok(())
    }

    /// Whether a text has the form of a code with a check character, in any of the formats that there have been, but the wrong one: a code that was
    /// mistyped. No link may have such a slug, so that a slip never opens another link. Case counts.
    pub fn is_mistyped(&self, text: &str) -> bool {
        let is_right = |format: &CodeFormat| format.check && format.checked(text).is_some();
        self.0.iter().any(|(_, format)| format.is_mistyped(text)) && !self.0.iter().any(|(_, format)| is_right(format))
    }

    /// The format of a counter, and when it began: its place in the list.
    fn at(&self, counter: u64) -> Option<usize> {
        self.0.iter().rposition(|(from, _)| *from <= counter)
    }

    /// The code of a counter under the key of the cluster. `None` if an earlier counter has had the same text in another format, and for counters that
    /// are too large.
    pub fn code(&self, key: &[u8; 32], counter: u64) -> Option<Code> {
        if counter >= CODES {
            return None;
        }
        let own = self.at(counter);
        let default = CodeFormat::default();
        let format = |at: Option<usize>| at.map_or(&default, |at| &self.0[at].1);
        let code = format(own).code(key, counter)?;
        let others = std::iter::once(None).chain((0..self.0.len()).map(Some)).filter(|other| *other != own);
        for other in others {
            let earlier = format(other).counter(key, code.as_str()).filter(|earlier| *earlier < counter);
            if earlier.is_some_and(|earlier| self.at(earlier) == other) {
                return None;
            }
        }
        Some(code)
    }
}

#[cfg(test)]
mod tests;
