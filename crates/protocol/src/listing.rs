//! What a list of links asks for, and what a page of it is: the language between the API, the nodes and the catalog.

use serde::{Deserialize, Serialize};

use crate::messages::LinkView;
use crate::{Domain, KeyHash, LinkKey, ShardId, UnixMs};

/// The most links of a page.
pub const PAGE_LINKS_MAX: usize = 1_000;
/// A search by text counts its matches exactly up to this number. Counting all matches of a common word would cost more than finding a page of them.
pub const COUNTED_MATCHES_MAX: u64 = 10_000;
/// The longest text that is searched for, in bytes: room for a whole URL.
pub const TEXT_BYTES_MAX: usize = 8_192;
/// The most words of a text that is searched for. Each of them is looked up.
pub const WORDS_MAX: usize = 16;

/// How near the end of a link is that ends soon, in milliseconds: a week, within which somebody looks.
pub const ENDS_SOON_MS: u64 = 7 * 24 * 3_600_000;

/// Which links a list has.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct LinkFilter {
    /// Each of its words, separated by white space, is a part of the slug, the URL, the title or the note, whatever the case and the accents. Empty = any link.
    pub text: String,
    /// The only link, by the hash of its key: that of a short URL that was searched for.
    pub key: Option<KeyHash>,
    /// Tags, compared without case.
    pub tags: Vec<String>,
    /// Whether a link needs all of `tags`. Otherwise one is enough. Without `tags`, any link fits.
    pub all_tags: bool,
    /// A link with one of these tags does not fit.
    pub exclude_tags: Vec<String>,
    /// The only domain.
    pub domain: Option<Domain>,
    /// Links of these domains do not fit: those that were removed, whose links stay stored and are not shown. At most as many as a cluster has domains.
    pub exclude_domains: Vec<Domain>,
    /// The only state.
    pub state: Option<StateFilter>,
    /// Created at or after this time.
    pub created_from: Option<UnixMs>,
    /// Created before this time.
    pub created_to: Option<UnixMs>,
}

/// A state by which links are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StateFilter {
    /// Visitors are led to the target.
    Active,
    /// It begins later.
    NotYet,
    /// Its end has passed.
    Expired,
    /// As many visitors as it has for were sent to its target.
    Exhausted,
    /// It was switched off.
    Disabled,
    /// It has a password, whatever its state is otherwise.
    Protected,
    /// Visitors are led to the target, and its end comes within [`ENDS_SOON_MS`]. The first nodes with lists refuse a request with it, as one for any state that they do not know: then
    /// another node is asked, or the answer names the shard.
    EndsSoon,
}

/// The property that orders a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SortKey {
    /// The time of creation.
    CreatedAt,
    /// The time of the last edit; that of the creation if there was none.
    EditedAt,
    /// The title, without case and accents. Links without one come first.
    Title,
    /// The slug, without case and accents.
    Slug,
    /// All visits, of people and bots. May be up to a minute old.
    Visits,
    /// The last visit by a person. May be up to a minute old. Links without one come first.
    LastVisit,
}

/// The order of a list. Links that are equal by the key are ordered by the hash of their keys, in the same direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Sort {
    /// The property.
    pub key: SortKey,
    /// Whether the largest comes first.
    pub descending: bool,
}

impl Default for Sort {
    fn default() -> Self {
        Self { key: SortKey::CreatedAt, descending: true }
    }
}

/// The value of a link by which it is ordered. Values of one order are of one kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SortValue {
    /// A time or a number.
    Number(u64),
    /// A text without case and accents, compared byte by byte.
    Text(String),
}

/// The place of a link in the order of a list. A page begins behind one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ListPosition {
    /// The value by which it is ordered.
    pub value: SortValue,
    /// The hash of its key.
    pub hash: KeyHash,
}

/// Asks a catalog for a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageRequest {
    /// The shards whose links it has.
    pub shards: Vec<ShardId>,
    /// Which links.
    pub filter: LinkFilter,
    /// In which order.
    pub sort: Sort,
    /// It begins behind this place; `None` = at the first.
    pub after: Option<ListPosition>,
    /// How many links it has at most: 1 to [`PAGE_LINKS_MAX`].
    pub limit: u32,
    /// The time by which states are told.
    pub now: UnixMs,
    /// Whether all links that fit are counted.
    pub count: bool,
}

/// A row of a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedRow {
    /// Its place in the order.
    pub position: ListPosition,
    /// Its link.
    pub key: LinkKey,
}

/// How many links fit a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Matches {
    /// So many.
    pub total: u64,
    /// There may be more.
    pub is_minimum: bool,
}

impl std::ops::Add for Matches {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { total: self.total + other.total, is_minimum: self.is_minimum || other.is_minimum }
    }
}

/// A tag, with how many links have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagCount {
    /// As one of its links writes it.
    pub tag: String,
    /// In lower case: two tags with the same are one.
    pub folded: String,
    /// The number of its links.
    pub links: u64,
}

/// A page as one node answers it, of the shards of which its catalog is complete.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NodePage {
    /// The links in the order of the list, as their shards have them.
    pub rows: Vec<(ListPosition, LinkView)>,
    /// Behind this place there may be more. `None` = there are none.
    pub more_behind: Option<ListPosition>,
    /// How many links fit, if that was asked for.
    pub matches: Option<Matches>,
    /// The shards that were asked for and are not in the page.
    pub missing: Vec<ShardId>,
    /// One of them is missing because it has not had the change yet that the caller says to have seen: no other node can answer for it either.
    pub unseen: bool,
}

/// The tags of the links of some shards, as one node answers them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NodeTags {
    /// Each tag once, by [`TagCount::folded`] in ascending order.
    pub tags: Vec<TagCount>,
    /// The shards that were asked for and are not counted.
    pub missing: Vec<ShardId>,
    /// There are more tags behind the last one.
    pub more: bool,
}
