//! A row: what the catalog keeps of a link.

use serde::{Deserialize, Serialize};
use waypost_protocol::link::LinkCounts;
use waypost_protocol::listing::{SortKey, SortValue};
use waypost_protocol::properties::{DISABLED, MAX_VISITS, NOTE, PASSWORD, TAGS, TITLE, Tags, VALID_SINCE};
use waypost_protocol::{Code, Domain, LinkKey, LinkState, ShardId, UnixMs};

use crate::error::CatalogError;
use crate::fold::{fold, fold_url};
use crate::types::Changed;

/// The largest number that an order knows: what SQLite can compare.
const NUMBER_MAX: u64 = i64::MAX as u64;

/// The most bytes of a text by which rows are ordered. A place in the order is in every cursor and in every row of an answer to another node,
/// and a title may become ten times as long when it is folded.
const ORDER_BYTES_MAX: usize = 256;

/// The characters of a text that are whole within its first bytes.
fn beginning(text: &str) -> &str {
    &text[..text.floor_char_boundary(ORDER_BYTES_MAX)]
}

/// The value of a row in an order, as [`SortValue`] is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value<'a> {
    /// A time or a number.
    Number(u64),
    /// A folded text.
    Text(&'a str),
}

impl<'a> Value<'a> {
    /// A value that is kept.
    pub fn of(value: &'a SortValue) -> Self {
        match value {
            SortValue::Number(number) => Self::Number(*number),
            SortValue::Text(text) => Self::Text(text),
        }
    }

    /// The value to be kept.
    pub fn kept(self) -> SortValue {
        match self {
            Self::Number(number) => SortValue::Number(number),
            Self::Text(text) => SortValue::Text(text.to_owned()),
        }
    }
}

/// A row. Everything but the counts stays as long as its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The hash of the link's key.
    pub hash: u64,
    /// Its shard.
    pub shard: u32,
    /// Its domain.
    pub domain: u32,
    /// Its code, as it is written.
    pub code: Code,
    /// When it was created.
    pub created: u64,
    /// When it was last edited, if that is another time; 0 = never.
    edited: u64,
    /// 0 = from the beginning.
    since: u64,
    /// The largest number = for ever.
    until: u64,
    limit: Option<u32>,
    used: u64,
    /// All its visits.
    pub visits: u64,
    /// The last visit by a person; 0 = never.
    pub last: u64,
    /// Whether it was switched off.
    pub disabled: bool,
    /// Whether it has a password.
    pub protected: bool,
    slug_bytes: u16,
    title_bytes: u16,
    /// What is searched in, folded: the slug, the title, the URL and the note, a line each.
    pub text: Box<str>,
    /// Its tags as they are written, separated by commas, which no tag has.
    tags: Box<str>,
}

impl Row {
    /// The row of a link.
    pub fn of(shard: ShardId, changed: &Changed) -> Self {
        let Changed { link, counts, edited_at } = changed;
        let fields = &link.spec.fields;
        let title = TITLE.of(fields).map(|title| fold(title.as_str())).unwrap_or_default();
        let note = NOTE.of(fields).map(|note| fold(note.as_str())).unwrap_or_default();
        let slug = fold(link.key.code.as_str());
        let (slug_bytes, title_bytes) = (slug.len() as u16, title.len() as u16);
        let text = [slug, title, fold_url(link.spec.target.as_str()), note].join("\n");
        let tags = TAGS.of(fields).map(|tags| tags.iter().collect::<Vec<_>>().join(",")).unwrap_or_default();
        let created = link.created_at.0.min(NUMBER_MAX);
        let mut row = Self {
            hash: link.key.hash().0,
            shard: shard.0,
            domain: link.key.domain.0,
            code: link.key.code.clone(),
            created,
            edited: edited_at.map(|at| at.0.min(NUMBER_MAX)).filter(|at| *at != created).unwrap_or(0),
            since: VALID_SINCE.of(fields).map_or(0, |at| at.0),
            until: link.spec.valid_until.map_or(u64::MAX, |at| at.0),
            limit: MAX_VISITS.of(fields).map(|limit| u32::try_from(limit.get()).unwrap_or(u32::MAX)),
            used: 0,
            visits: 0,
            last: 0,
            disabled: DISABLED.is_in(fields),
            protected: PASSWORD.is_in(fields),
            slug_bytes,
            title_bytes,
            text: text.into(),
            tags: tags.into(),
        };
        row.count(*counts);
        row
    }

    /// Sets its counts.
    pub fn count(&mut self, counts: LinkCounts) {
        self.used = counts.used;
        self.visits = counts.visits.total.saturating_add(counts.visits.bots).min(NUMBER_MAX);
        self.last = counts.visits.last.0.min(NUMBER_MAX);
    }

    /// This row with the counts of another one.
    #[must_use]
    pub fn counted_as(mut self, other: &Self) -> Self {
        (self.used, self.visits, self.last) = (other.used, other.visits, other.last);
        self
    }

    /// Its link.
    pub fn key(&self) -> LinkKey {
        LinkKey { domain: Domain(self.domain), code: self.code.clone() }
    }

    /// The slug, folded.
    pub fn slug(&self) -> &str {
        self.text.get(..self.slug_bytes.into()).unwrap_or_default()
    }

    /// The title, folded; empty without one.
    pub fn title(&self) -> &str {
        let begin = usize::from(self.slug_bytes) + 1;
        // Most links have none, and need no look at the text.
        if self.title_bytes == 0 {
            ""
        } else {
            self.text.get(begin..begin + usize::from(self.title_bytes)).unwrap_or_default()
        }
    }

    /// When it was last edited, if that is another time than its creation.
    pub fn edited(&self) -> Option<u64> {
        (self.edited > 0).then_some(self.edited)
    }

    /// From when on it leads to its target.
    pub fn since(&self) -> Option<u64> {
        (self.since > 0).then_some(self.since)
    }

    /// From when on it does not.
    pub fn until(&self) -> Option<u64> {
        (self.until < u64::MAX).then_some(self.until)
    }

    /// Whether as many visitors as it has for were sent to its target.
    pub fn is_exhausted(&self) -> bool {
        self.limit.is_some_and(|limit| self.used >= limit.into())
    }

    /// What visitors get: as [`LinkSpec::state`](waypost_protocol::LinkSpec::state) says it of the link.
    pub fn state(&self, now: UnixMs) -> LinkState {
        match LinkState::of(self.since().map(UnixMs), self.until().map(UnixMs), self.disabled, now) {
            LinkState::Active if self.is_exhausted() => LinkState::Exhausted,
            state => state,
        }
    }

    /// Its tags, as they are written.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.tags.split(',').filter(|tag| !tag.is_empty())
    }

    /// Its tags in lower case, which is what tags are compared by.
    pub fn folded_tags(&self) -> impl Iterator<Item = String> {
        self.tags().map(Tags::folded)
    }

    /// Whether it has a tag, which is given in lower case.
    pub fn has_tag(&self, folded: &str) -> bool {
        self.tags().any(|tag| match tag.is_ascii() {
            true => tag.eq_ignore_ascii_case(folded),
            false => Tags::folded(tag) == folded,
        })
    }

    /// Its value in an order. Texts are compared by their first bytes; rows with the same are ordered by their hashes.
    pub fn value(&self, key: SortKey) -> Value<'_> {
        match key {
            SortKey::CreatedAt => Value::Number(self.created),
            SortKey::EditedAt => Value::Number(self.edited().unwrap_or(self.created)),
            SortKey::Title => Value::Text(beginning(self.title())),
            SortKey::Slug => Value::Text(beginning(self.slug())),
            SortKey::Visits => Value::Number(self.visits),
            SortKey::LastVisit => Value::Number(self.last),
        }
    }

    /// About the memory that it takes.
    pub fn bytes(&self) -> usize {
        // With the table that finds it, and what is lost between pieces of memory.
        size_of::<Self>() + 80 + self.text.len() + self.tags.len()
    }

    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("invariant: a row has no shape that postcard refuses")
    }

    /// The row in a stored form.
    pub fn decode(stored: &[u8]) -> Result<Self, CatalogError> {
        postcard::from_bytes(stored).map_err(|_| CatalogError::damaged("a row that cannot be read"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use waypost_protocol::properties::Title;
    use waypost_protocol::{FieldChanges, Link, LinkSpec, Target};

    use super::*;

    fn row(title: &str) -> Row {
        let mut spec = LinkSpec::to(Target::parse("https://example.com/a", &[], 8192).unwrap());
        let mut changes = FieldChanges::default();
        TITLE.change(&mut changes, Title::parse(title).unwrap().as_ref());
        spec.fields.change(&changes);
        let key = LinkKey::new(Code::parse_slug("abc").unwrap());
        let link =
            Link { key, spec, created_at: UnixMs(1), version: 1, written_at: 1, created_by: 0, generated: false };
        Row::of(ShardId(0), &Changed { link: Arc::new(link), counts: LinkCounts::default(), edited_at: None })
    }

    #[test]
    fn a_long_title_is_searched_in_whole_and_ordered_by_its_beginning() {
        // This one character becomes 18.
        let long = row(&"\u{fdfa}".repeat(512));
        assert!(long.title().len() > 10_000);
        let Value::Text(text) = long.value(SortKey::Title) else { panic!("a title is a text") };
        assert!(text.len() <= ORDER_BYTES_MAX && text.len() > ORDER_BYTES_MAX - 4, "{}", text.len());
        assert!(long.title().starts_with(text));
        assert_eq!(row("Äpfel").value(SortKey::Title), Value::Text("apfel"));
        let exact = "x".repeat(ORDER_BYTES_MAX);
        assert_eq!(row(&exact).value(SortKey::Title), Value::Text(&exact));
        assert_eq!(row(&format!("{exact}y")).value(SortKey::Title), Value::Text(&exact));
    }
}
