//! The optional properties of a link: their tags, their types and their limits.
//!
//! Each is a field (`fields.rs`): a new one is a constant here, a name in the JSON of a link, and whatever it changes. Values are encoded
//! with postcard. They are stored, so a tag and the encoding of its value never change.
//!
//! Tags below 16 are not used: values of the format tests stand there. Tag 29 is not a property (`fields.rs`).

use std::marker::PhantomData;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::codec::{DecodeError, decode_exact, encode};
use crate::fields::Tag;
use crate::password::PasswordHash;
use crate::rules::Rules;
use crate::text::normal;
use crate::{FieldChanges, Fields, Target, UnixMs};

/// The longest title, in characters: more than a line on any screen.
pub const TITLE_CHARS_MAX: usize = 512;
/// The longest note, in characters: a page of text.
pub const NOTE_CHARS_MAX: usize = 4096;
/// The longest tag, in characters.
pub const TAG_CHARS_MAX: usize = 64;
/// The most tags of a link.
pub const TAGS_MAX: usize = 32;
/// The largest limit of visits: no link is visited so often, and a link with it is as good as one without a limit.
pub const MAX_VISITS_MAX: u32 = 1_000_000_000;

/// The title: what people call the link.
pub const TITLE: Property<Title> = Property::new(16);
/// The tags, by which links are grouped.
pub const TAGS: Property<Tags> = Property::new(17);
/// A note for those who manage the link.
pub const NOTE: Property<Note> = Property::new(18);
/// From when on the link leads to its target. Before, it answers `404`.
pub const VALID_SINCE: Property<UnixMs> = Property::new(19);
/// The status of the redirect.
pub const REDIRECT_STATUS: Property<RedirectStatus> = Property::new(20);
/// The visitor's query is added to the target's.
pub const FORWARD_QUERY: Property<Set> = Property::new(21);
/// What follows the code in the visitor's path is added to the target's.
pub const FORWARD_PATH: Property<Set> = Property::new(22);
/// Crawlers may follow the link: `robots.txt` lists it.
pub const CRAWLABLE: Property<Set> = Property::new(23);
/// Where visitors are sent while the link is expired or disabled.
pub const EXPIRED_URL: Property<Target> = Property::new(24);
/// The link answers `410`, until this is removed.
pub const DISABLED: Property<Set> = Property::new(25);
/// How many visitors are sent to the target, in the whole cluster. Then the link answers `410`.
pub const MAX_VISITS: Property<MaxVisits> = Property::new(26);
/// The password that visitors have to give, hashed.
pub const PASSWORD: Property<PasswordHash> = Property::new(27);
/// Where visitors are led, depending on who they are.
pub const RULES: Property<Rules> = Property::new(28);

/// A property whose value has the type `T`.
#[derive(Debug, Clone, Copy)]
pub struct Property<T> {
    tag: Tag,
    value: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> Property<T> {
    pub(crate) const fn new(tag: Tag) -> Self {
        Self { tag, value: PhantomData }
    }

    /// Its tag.
    pub const fn tag(&self) -> Tag {
        self.tag
    }

    /// Its value in some fields. A value that cannot be read counts as absent.
    pub fn of(&self, fields: &Fields) -> Option<T> {
        decode_exact(fields.get(self.tag)?).ok()
    }

    /// Its value in some fields, for a property that must not be ignored: its value may be one that only a later version understands.
    ///
    /// # Errors
    /// If there is a value that cannot be read.
    pub fn read(&self, fields: &Fields) -> Result<Option<T>, DecodeError> {
        fields.get(self.tag).map(decode_exact).transpose()
    }

    /// Whether some fields have it.
    pub fn is_in(&self, fields: &Fields) -> bool {
        fields.get(self.tag).is_some()
    }

    /// Adds a change of it: `None` removes it.
    pub fn change(&self, changes: &mut FieldChanges, value: Option<&T>) {
        changes.set(self.tag, value.map(encode));
    }
}

/// The value of a property that is either there or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Set;

/// Why a text or a number cannot be a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PropertyError {
    /// The title has too many characters.
    #[error("at most {TITLE_CHARS_MAX} characters are possible")]
    TitleTooLong,
    /// The title has a line break or another control character.
    #[error("line breaks and other control characters are not possible")]
    TitleControl,
    /// The note has too many characters.
    #[error("at most {NOTE_CHARS_MAX} characters are possible")]
    NoteTooLong,
    /// The note has a control character other than line breaks and tabs.
    #[error("control characters other than line breaks and tabs are not possible")]
    NoteControl,
    /// A tag is empty.
    #[error("a tag cannot be empty")]
    TagEmpty,
    /// A tag has too many characters.
    #[error("a tag has at most {TAG_CHARS_MAX} characters")]
    TagTooLong,
    /// A tag has a comma, which separates tags in lists, or a control character.
    #[error("a tag cannot have commas, line breaks or other control characters")]
    TagCharacter,
    /// There are too many tags.
    #[error("at most {TAGS_MAX} tags are possible")]
    TooManyTags,
    /// The number is not the status of a redirect.
    #[error("301, 302, 307 and 308 are possible")]
    RedirectStatus,
    /// The number cannot be a limit of visits.
    #[error("a whole number from 1 to {MAX_VISITS_MAX} is possible")]
    MaxVisits,
}

/// A title. Invariant: not empty, one line, at most [`TITLE_CHARS_MAX`] characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Title(String);

impl Title {
    /// The title in a text; `None` if the text is empty.
    ///
    /// # Errors
    /// If it is too long, or has control characters.
    pub fn parse(text: &str) -> Result<Option<Self>, PropertyError> {
        let text = normal(text);
        match () {
            () if text.is_empty() => Ok(None),
            () if text.chars().count() > TITLE_CHARS_MAX => Err(PropertyError::TitleTooLong),
            () if text.chars().any(char::is_control) => Err(PropertyError::TitleControl),
            () => Ok(Some(Self(text))),
        }
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A note. Invariant: not empty, at most [`NOTE_CHARS_MAX`] characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Note(String);

impl Note {
    /// The note in a text; `None` if the text is empty.
    ///
    /// # Errors
    /// If it is too long, or has control characters other than line breaks and tabs.
    pub fn parse(text: &str) -> Result<Option<Self>, PropertyError> {
        let text = normal(text);
        match () {
            () if text.is_empty() => Ok(None),
            () if text.chars().count() > NOTE_CHARS_MAX => Err(PropertyError::NoteTooLong),
            () if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) => {
                Err(PropertyError::NoteControl)
            }
            () => Ok(Some(Self(text))),
        }
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The tags of a link, in the order in which they were given. Invariant: at least one, at most [`TAGS_MAX`]; no two differ in case only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tags(Vec<String>);

impl Tags {
    /// The tags in some texts; `None` if there are none. Of those that differ in case only, the first stays.
    ///
    /// # Errors
    /// If one cannot be a tag, or there are too many.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Option<Self>, PropertyError> {
        let mut tags: Vec<String> = Vec::new();
        // In the form in which tags are compared.
        let mut known = std::collections::BTreeSet::new();
        for text in texts {
            let text = normal(text.as_ref());
            if text.is_empty() {
                return Err(PropertyError::TagEmpty);
            }
            if text.chars().count() > TAG_CHARS_MAX {
                return Err(PropertyError::TagTooLong);
            }
            if text.chars().any(|c| c.is_control() || c == ',') {
                return Err(PropertyError::TagCharacter);
            }
            if known.insert(Self::folded(&text)) {
                tags.push(text);
            }
            if tags.len() > TAGS_MAX {
                return Err(PropertyError::TooManyTags);
            }
        }
        Ok((!tags.is_empty()).then_some(Self(tags)))
    }

    /// Their texts.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// The form in which tags are compared: composed characters in lower case, without white space at the ends.
    pub fn folded(tag: &str) -> String {
        normal(tag).to_lowercase()
    }
}

/// The status of a redirect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub enum RedirectStatus {
    /// 301: permanent; the method may change to `GET`.
    MovedPermanently,
    /// 302: temporary; the method may change to `GET`. The default.
    #[default]
    Found,
    /// 307: temporary; the method stays.
    TemporaryRedirect,
    /// 308: permanent; the method stays.
    PermanentRedirect,
}

impl RedirectStatus {
    /// Whether browsers may keep the answer.
    pub fn is_permanent(self) -> bool {
        matches!(self, Self::MovedPermanently | Self::PermanentRedirect)
    }

    /// The status that does the same, and that no browser keeps.
    pub fn temporary(self) -> Self {
        match self {
            Self::MovedPermanently | Self::Found => Self::Found,
            Self::TemporaryRedirect | Self::PermanentRedirect => Self::TemporaryRedirect,
        }
    }
}

impl TryFrom<u16> for RedirectStatus {
    type Error = PropertyError;

    fn try_from(number: u16) -> Result<Self, PropertyError> {
        match number {
            301 => Ok(Self::MovedPermanently),
            302 => Ok(Self::Found),
            307 => Ok(Self::TemporaryRedirect),
            308 => Ok(Self::PermanentRedirect),
            _ => Err(PropertyError::RedirectStatus),
        }
    }
}

impl From<RedirectStatus> for u16 {
    fn from(status: RedirectStatus) -> u16 {
        match status {
            RedirectStatus::MovedPermanently => 301,
            RedirectStatus::Found => 302,
            RedirectStatus::TemporaryRedirect => 307,
            RedirectStatus::PermanentRedirect => 308,
        }
    }
}

/// A limit of visits. Invariant: from 1 to [`MAX_VISITS_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct MaxVisits(u32);

impl MaxVisits {
    /// The number.
    pub fn get(self) -> u64 {
        self.0.into()
    }
}

impl TryFrom<u64> for MaxVisits {
    type Error = PropertyError;

    fn try_from(number: u64) -> Result<Self, PropertyError> {
        let limit = u32::try_from(number).ok().filter(|limit| (1..=MAX_VISITS_MAX).contains(limit));
        limit.map(Self).ok_or(PropertyError::MaxVisits)
    }
}

impl From<MaxVisits> for u64 {
    fn from(limit: MaxVisits) -> u64 {
        limit.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Level;
    use crate::rules::{Condition, Device, Leads, Rule};

    fn fields<T: Serialize + DeserializeOwned>(property: &Property<T>, value: &T) -> Fields {
        let (mut fields, mut changes) = (Fields::default(), FieldChanges::default());
        property.change(&mut changes, Some(value));
        fields.change(&changes);
        fields
    }

    fn golden<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(
        property: Property<T>,
        value: &T,
        tag: Tag,
        bytes: &[u8],
    ) {
        let fields = fields(&property, value);
        assert_eq!(fields.iter().collect::<Vec<_>>(), [(tag, bytes)]);
        assert_eq!(property.of(&fields).as_ref(), Some(value));
        assert!(property.is_in(&fields) && !property.is_in(&Fields::default()));
        let (mut cleared, mut changes) = (fields, FieldChanges::default());
        property.change(&mut changes, None);
        cleared.change(&changes);
        assert!(cleared.is_empty());
    }

    #[test]
    fn tags_and_values_have_golden_bytes() {
        golden(TITLE, &Title::parse("Aé").unwrap().unwrap(), 16, &[3, b'A', 0xc3, 0xa9]);
        golden(TAGS, &Tags::parse(&["a", "bc"]).unwrap().unwrap(), 17, &[2, 1, b'a', 2, b'b', b'c']);
        golden(NOTE, &Note::parse("n").unwrap().unwrap(), 18, &[1, b'n']);
        golden(VALID_SINCE, &UnixMs(300), 19, &[0xac, 2]);
        golden(REDIRECT_STATUS, &RedirectStatus::PermanentRedirect, 20, &[0xb4, 2]);
        golden(FORWARD_QUERY, &Set, 21, &[]);
        golden(FORWARD_PATH, &Set, 22, &[]);
        let target = Target::parse("http://a.b/", &[], 100).unwrap();
        golden(EXPIRED_URL, &target, 24, b"\x0bhttp://a.b/");
        golden(DISABLED, &Set, 25, &[]);
        golden(CRAWLABLE, &Set, 23, &[]);
        golden(MAX_VISITS, &MaxVisits(1000), 26, &[0xe8, 7]);
        golden(PASSWORD, &PasswordHash::new("$a"), 27, &[2, b'$', b'a']);
        let rule = Rule { conditions: vec![Condition::Device(Device::Android)], leads: Leads::To(target) };
        let rules = Rules::new(vec![rule]).unwrap().unwrap();
        golden(RULES, &rules, 28, b"\x01\x01\x00\x01\x00\x0bhttp://a.b/");
    }

    #[test]
    fn a_property_is_set_at_the_level_that_added_it() {
        let three = [(23..=23, Level::THREE), (26..=27, Level::THREE), (28..=28, Level::THREE)];
        for (tags, level) in [(16..=22, Level::TWO), (24..=25, Level::TWO)].into_iter().chain(three) {
            for tag in tags {
                let mut fields = Fields::default();
                fields.set(tag, Some(Vec::new()));
                assert_eq!(fields.level(), level, "{tag}");
            }
        }
    }

    #[test]
    fn a_property_of_a_later_version_is_not_proposed() {
        for tag in [31, 32, 200] {
            let mut fields = Fields::default();
            fields.set(tag, Some(Vec::new()));
            assert_eq!(fields.level(), Level::NEVER, "{tag}");
        }
    }

    #[test]
    fn a_value_that_cannot_be_read_counts_as_absent() {
        let mut fields = Fields::default();
        fields.set(20, Some(vec![0xc8, 1]));
        fields.set(16, Some(vec![9, b'x']));
        assert_eq!((REDIRECT_STATUS.of(&fields), TITLE.of(&fields)), (None, None));
        assert!(TITLE.read(&fields).is_err());
        assert_eq!(NOTE.read(&fields), Ok(None));
    }

    #[test]
    fn texts_are_trimmed_and_composed_and_have_limits() {
        let title = |text: &str| Title::parse(text).map(|title| title.map(|title| title.as_str().to_owned()));
        // An e and a combining accent become one character.
        assert_eq!(title(" Cafe\u{301} "), Ok(Some("Café".to_owned())));
        assert_eq!(title(" \t "), Ok(None));
        assert_eq!(title("a\nb"), Err(PropertyError::TitleControl));
        assert!(title(&"ä".repeat(TITLE_CHARS_MAX)).is_ok());
        assert_eq!(title(&"ä".repeat(TITLE_CHARS_MAX + 1)), Err(PropertyError::TitleTooLong));
        assert_eq!(Note::parse(" a\nb\tc").unwrap().unwrap().as_str(), "a\nb\tc");
        assert_eq!(Note::parse("a\0b"), Err(PropertyError::NoteControl));
        assert!(Note::parse(&"ä".repeat(NOTE_CHARS_MAX)).is_ok());
        assert_eq!(Note::parse(&"x".repeat(NOTE_CHARS_MAX + 1)), Err(PropertyError::NoteTooLong));
    }

    #[test]
    fn tags_are_compared_without_case_and_shown_as_first_written() {
        let of = |tags: Tags| tags.iter().map(str::to_owned).collect::<Vec<_>>();
        let tags = |texts: &[&str]| Tags::parse(texts).map(|tags| tags.map(of));
        assert_eq!(tags(&[" Été", "été", "b", "B "]), Ok(Some(vec!["Été".to_owned(), "b".to_owned()])));
        assert_eq!(tags(&[]), Ok(None));
        assert_eq!(tags(&["a", " "]), Err(PropertyError::TagEmpty));
        assert_eq!(tags(&["a,b"]), Err(PropertyError::TagCharacter));
        assert!(tags(&[&"ä".repeat(TAG_CHARS_MAX)]).is_ok());
        assert_eq!(tags(&[&"x".repeat(TAG_CHARS_MAX + 1)]), Err(PropertyError::TagTooLong));
        let many: Vec<String> = (0..=TAGS_MAX).map(|number| number.to_string()).collect();
        assert!(Tags::parse(&many[1..]).is_ok());
        assert_eq!(Tags::parse(&many), Err(PropertyError::TooManyTags));
    }

    #[test]
    fn a_limit_of_visits_is_at_least_one() {
        let limit = |number: u64| MaxVisits::try_from(number).map(u64::from);
        assert_eq!([1, 1_000_000_000].map(limit), [Ok(1), Ok(1_000_000_000)]);
        assert_eq!([0, 1_000_000_001, u64::MAX].map(limit), [Err(PropertyError::MaxVisits); 3]);
    }

    #[test]
    fn a_status_is_one_of_four() {
        for number in [301, 302, 307, 308] {
            assert_eq!(RedirectStatus::try_from(number).map(u16::from), Ok(number));
            assert!(!RedirectStatus::try_from(number).unwrap().temporary().is_permanent());
        }
        // The method stays with 307 and 308 only.
        let temporary = |number: u16| u16::from(RedirectStatus::try_from(number).unwrap().temporary());
        assert_eq!([301, 302, 307, 308].map(temporary), [302, 302, 307, 307]);
        for number in [0, 200, 300, 303, 304, 404] {
            assert_eq!(RedirectStatus::try_from(number), Err(PropertyError::RedirectStatus));
        }
    }
}
