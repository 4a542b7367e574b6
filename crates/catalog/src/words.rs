//! The words that are searched for, and the grams by which rows with them are found.
//!
//! The grams of a text are its single characters, and what begins at each character: three of them, or fewer and spaces at the end of a word. So one, two
//! or three characters are found by looking them up; a longer word by the rows that have all of its grams, which are then read.

use memchr::memmem::Finder;
use waypost_protocol::listing::{TEXT_BYTES_MAX, WORDS_MAX};

use crate::error::RequestError;
use crate::fold::fold;

/// The most different grams of a word that are considered: the rarest of them are looked up.
const GRAMS_CONSIDERED: usize = 64;

/// A word that rows have to have.
#[derive(Debug, Clone)]
pub struct Word {
    text: String,
    finder: Finder<'static>,
}

/// How rows with a word are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// These are the rows of a posting.
    Key(Vec<u8>),
    /// These are the rows of all postings whose keys begin so.
    Prefix(Vec<u8>),
    /// They are among the rows that are in all of these postings.
    Grams(Vec<Vec<u8>>),
}

impl Word {
    fn new(text: &str) -> Self {
        Self { text: text.to_owned(), finder: Finder::new(text).into_owned() }
    }

    /// Whether a folded text has it.
    pub fn is_in(&self, text: &str) -> bool {
        self.finder.find(text.as_bytes()).is_some()
    }

    /// How to find rows with it.
    pub fn look(&self) -> Look {
        let chars: Vec<char> = self.text.chars().take(TEXT_BYTES_MAX).collect();
        match chars.len() {
            1 | 3 => Look::Key(self.text.as_bytes().to_vec()),
            2 => Look::Prefix(self.text.as_bytes().to_vec()),
            length => {
                // From all parts of a long word.
                let step = (length - 2).div_ceil(GRAMS_CONSIDERED);
                let mut grams: Vec<Vec<u8>> =
                    chars.windows(3).step_by(step).map(|gram| gram.iter().collect::<String>().into_bytes()).collect();
                grams.sort_unstable();
                grams.dedup();
                Look::Grams(grams)
            }
        }
    }

    /// Whether rows that are found by its grams have to be read: they have the grams, but maybe elsewhere.
    pub fn needs_check(&self) -> bool {
        self.text.chars().nth(3).is_some()
    }
}

/// The words of a text: none only if it is blank. A scheme in front of one says nothing: a link is found with and without it.
pub fn words(text: &str) -> Result<Vec<Word>, RequestError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(RequestError::TextTooLong);
    }
    let folded = fold(text);
    let mut words: Vec<&str> = folded.split(' ').map(bare).filter(|word| !word.is_empty()).collect();
    words.sort_unstable();
    words.dedup();
    if words.len() > WORDS_MAX {
        return Err(RequestError::TooManyWords);
    }
    if words.is_empty() && !text.trim().is_empty() {
        return Err(RequestError::NoWord);
    }
    Ok(words.into_iter().map(Word::new).collect())
}

/// A word without the scheme in front of it, unless that is all it is.
fn bare(word: &str) -> &str {
    let rest = word.strip_prefix("https://").or_else(|| word.strip_prefix("http://"));
    rest.filter(|rest| !rest.is_empty()).unwrap_or(word)
}

/// A gram in a number: up to three characters of 21 bits.
pub type Gram = u64;

/// Calls `found` with each gram of a folded text: with those that are a character of ASCII once, with others as often as they are there.
pub fn each_gram(text: &str, mut found: impl FnMut(Gram)) {
    // A URL has each letter several times.
    let mut ascii = 0_u128;
    for word in text.split([' ', '\n']) {
        let mut chars = word.chars().map(u64::from);
        let (mut second, mut third) = (chars.next(), chars.next());
        while let Some(first) = second {
            second = third;
            third = chars.next();
            let space = u64::from(' ');
            let bit = 1_u128.checked_shl(first as u32).unwrap_or(0);
            if bit == 0 || ascii & bit == 0 {
                ascii |= bit;
                found(first << 42);
            }
            found(first << 42 | second.unwrap_or(space) << 21 | third.unwrap_or(space));
        }
    }
}

/// The key of a gram's posting.
pub fn gram_key(gram: Gram) -> Vec<u8> {
    let part = |shift: u32| char::from_u32((gram >> shift & 0x1f_ffff) as u32).filter(|c| *c != '\0');
    [part(42), part(21), part(0)].into_iter().flatten().collect::<String>().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Result<Vec<String>, RequestError> {
        words(text).map(|words| words.into_iter().map(|word| word.text).collect())
    }

    #[test]
    fn a_text_is_words_without_case_accents_and_schemes() {
        assert_eq!(texts(""), Ok(vec![]));
        assert_eq!(texts(" \u{a0}\n"), Ok(vec![]));
        assert_eq!(texts("Café  bar CAFE"), Ok(vec!["bar".to_owned(), "cafe".to_owned()]));
        assert_eq!(texts("HTTPS://Example.com/a"), Ok(vec!["example.com/a".to_owned()]));
        assert_eq!(texts("http:// https"), Ok(vec!["http://".to_owned(), "https".to_owned()]));
        assert_eq!(texts(&"x".repeat(TEXT_BYTES_MAX)).map(|words| words.len()), Ok(1));
        assert_eq!(texts(&"x".repeat(TEXT_BYTES_MAX + 1)), Err(RequestError::TextTooLong));
        let many = |count: usize| (0..count).map(|number| format!("w{number} ")).collect::<String>();
        assert_eq!(texts(&many(WORDS_MAX)).map(|words| words.len()), Ok(WORDS_MAX));
        assert_eq!(texts(&many(WORDS_MAX + 1)), Err(RequestError::TooManyWords));
    }

    #[test]
    fn a_text_of_which_nothing_is_left_is_refused_rather_than_found_everywhere() {
        for text in ["\u{b4}", "\u{a8}", "\u{b8}", "\u{301}", "\0", " \u{301} \0"] {
            assert_eq!(texts(text), Err(RequestError::NoWord), "{text:?}");
        }
        assert_eq!(texts("\u{b4} a\u{301}"), Ok(vec!["a".to_owned()]));
    }

    #[test]
    fn short_words_are_looked_up_and_long_ones_by_their_grams() {
        let look = |text: &str| Word::new(text).look();
        assert_eq!(look("é"), Look::Key("é".into()));
        assert_eq!(look("ab"), Look::Prefix("ab".into()));
        assert_eq!(look("abc"), Look::Key("abc".into()));
        assert_eq!(look("abcabc"), Look::Grams(["abc", "bca", "cab"].map(Into::into).to_vec()));
        let Look::Grams(many) = look(&('a'..='z').cycle().take(8000).collect::<String>()) else { panic!() };
        assert!(many.len() <= GRAMS_CONSIDERED && many.len() >= 13);
        assert_eq!(
            ["a", "abc", "äöü", "abcd", "äöüx"].map(|text| Word::new(text).needs_check()),
            [false, false, false, true, true]
        );
    }

    #[test]
    fn the_grams_of_a_text_are_its_characters_and_what_begins_at_each() {
        let mut grams = Vec::new();
        each_gram("abcd é", |gram| grams.push(String::from_utf8(gram_key(gram)).unwrap()));
        assert_eq!(grams, ["a", "abc", "b", "bcd", "c", "cd ", "d", "d  ", "é", "é  "]);
        grams.clear();
        each_gram("aba éa", |gram| grams.push(String::from_utf8(gram_key(gram)).unwrap()));
        assert_eq!(grams, ["a", "aba", "b", "ba ", "a  ", "é", "éa ", "a  "]);
        each_gram("", |_| panic!());
    }
}
