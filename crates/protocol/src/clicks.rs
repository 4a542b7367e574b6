//! Clicks: visits on their way from the redirect to the statistics of a link.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::sketch::{Register, Sketch};
use crate::{Domain, KeyHash, LinkKey, NodeId, UnixMs};

/// Milliseconds of an hour.
pub const HOUR_MS: u64 = 3_600_000;

/// The breakdown dimensions of visits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Dimension {
    /// The country: two letters of ISO 3166.
    Country,
    /// The name of the city.
    City,
    /// The host of the page that contained the link.
    Referrer,
    /// The family of the browser, or the kind of bot.
    Browser,
    /// The family of the operating system.
    Os,
    /// The kind of device.
    Device,
    /// The preferred language, two or three letters.
    Language,
}

impl Dimension {
    /// All dimensions.
    pub const ALL: [Self; 7] =
        [Self::Country, Self::City, Self::Referrer, Self::Browser, Self::Os, Self::Device, Self::Language];

    /// The number of dimensions.
    pub const COUNT: usize = Self::ALL.len();

    /// The name of the dimension in requests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Country => "country",
            Self::City => "city",
            Self::Referrer => "referrer",
            Self::Browser => "browser",
            Self::Os => "os",
            Self::Device => "device",
            Self::Language => "language",
        }
    }
}

/// The value that sums up all values beyond a dimension's bound.
pub const OTHER: &str = "(other)";

/// Clicks of one node since its last batch for this shard.
///
/// A batch is identified by its journals and its range of positions in each. It counts only if each of its spans begins where the
/// last one of that journal ended. So a batch that is sent again, even by a later process of the node, counts once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClickBatch {
    /// The node that recorded the visits.
    pub node: NodeId,
    /// The range of each journal.
    pub spans: Vec<JournalSpan>,
    /// The values of dimensions, and paths, by number; number 0 stands for no value.
    pub strings: Vec<String>,
    /// Clicks by link and hour.
    pub deltas: Vec<ClickDelta>,
    /// Orphan visits.
    pub orphans: Vec<OrphanDelta>,
}

/// A range of positions in a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalSpan {
    /// The journal's random id.
    pub journal: u64,
    /// The position after the clicks that were counted before.
    pub from: u64,
    /// The position after the clicks of this batch.
    pub upto: u64,
}

/// Clicks of one link within an hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClickDelta {
    /// The hash of the link's key: a quarter of the key's bytes, and `apply` need not hash again.
    pub link: KeyHash,
    /// Hours since 1970 UTC.
    pub hour: u32,
    /// The time of the last visit by a person; 0 = none.
    pub last: UnixMs,
    /// The counts, by dimension values.
    pub tallies: Tallies,
    /// The registers of the visitors in a sketch.
    pub visitors: Visitors,
}

/// Most links have visits of one kind in a batch: these need no allocation.
pub type Tallies = SmallVec<[Tally; 1]>;

/// Most links have one or two visitors in a batch.
pub type Visitors = SmallVec<[Register; 2]>;

/// Visits with the same dimension values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Whether they were by bots and not by people.
    pub bot: bool,
    /// The value of each dimension, by its number in the batch.
    pub values: [u16; Dimension::COUNT],
    /// The number of visits.
    pub count: u32,
}

/// Orphan visits to one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrphanDelta {
    /// The path, by its number in the batch.
    pub path: u16,
    /// The number of visits.
    pub count: u32,
    /// The time of the last visit.
    pub last: UnixMs,
}

/// Visits of people and of bots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// The visits of people.
    pub people: u64,
    /// The visits of bots.
    pub bots: u64,
}

impl Counts {
    /// Adds visits of one kind.
    pub fn add(&mut self, bot: bool, count: u64) {
        let place = if bot { &mut self.bots } else { &mut self.people };
        *place = place.saturating_add(count);
    }

    /// Adds other counts.
    pub fn merge(&mut self, other: Self) {
        self.add(false, other.people);
        self.add(true, other.bots);
    }
}

/// Which visits a query counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Whose {
    /// The visits of people.
    #[default]
    People,
    /// The visits of people and bots.
    All,
    /// The visits of bots.
    Bots,
}

impl Whose {
    /// The number of selected visits.
    pub fn of(self, counts: Counts) -> u64 {
        match self {
            Self::People => counts.people,
            Self::All => counts.people.saturating_add(counts.bots),
            Self::Bots => counts.bots,
        }
    }
}

/// How the links with the most visits are ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Ranking {
    /// By all visits of people since the link was created: the answer of nodes that do not know [`Whose`].
    #[default]
    Lifetime,
    /// By the requested visits in the requested range.
    AsAsked,
    /// Not ranked: too many links have visits in the range to compare them.
    TooMany,
}

/// Statistics of a link, or of all links of a shard, over some days.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stats {
    /// By hour since 1970 UTC, as far back as hours are kept.
    pub hours: Vec<(u32, Counts)>,
    /// By day since 1970 UTC, with the number of unique visitors.
    pub days: Vec<(u32, Counts, u64)>,
    /// By dimension and value.
    pub values: Vec<(Dimension, String, Counts)>,
    /// The sketch of the unique visitors of all these days.
    pub visitors: Sketch,
    /// All visits ever.
    pub total: Counts,
    /// The links with the most visits, ranked by `ranking`; only for all links.
    pub top: Vec<(LinkKey, Counts)>,
    /// The time of the last visit by a person, of one link; 0 = none, or the answering node runs an older version.
    pub last: UnixMs,
    /// How `top` is ranked.
    pub ranking: Ranking,
}

/// Orphan visits to one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orphan {
    /// What [`orphan_text`] says, or [`OTHER`].
    pub path: String,
    /// The number of visits.
    pub count: u64,
    /// The time of the last visit.
    pub last: UnixMs,
}

/// The text under which an orphan visit is counted: its path, and before that the number of its domain if that is not the default one.
pub fn orphan_text(domain: Domain, path: &str) -> Cow<'_, str> {
    // A path begins with a slash, so a text that begins with a digit has a number.
    if domain == Domain::default() { Cow::Borrowed(path) } else { Cow::Owned(format!("{}{path}", domain.0)) }
}

/// The domain and the path of what [`orphan_text`] says.
pub fn orphan_of(text: &str) -> (Domain, &str) {
    let numbered = text.find('/').and_then(|at| Some((text.get(..at)?.parse().ok()?, text.get(at..)?)));
    numbered.map_or((Domain::default(), text), |(number, path)| (Domain(number), path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orphan_visits_of_domains_are_told_apart() {
        for (domain, path, text) in [(0, "/a/b", "/a/b"), (0, "/", "/"), (12, "/a/b", "12/a/b"), (12, "/3/x", "12/3/x")]
        {
            assert_eq!(orphan_text(Domain(domain), path), text);
            assert_eq!(orphan_of(text), (Domain(domain), path));
        }
        assert_eq!(orphan_of(OTHER), (Domain(0), OTHER));
    }

    #[test]
    fn dimensions_are_named_as_in_requests() {
        let names = Dimension::ALL.map(Dimension::as_str);
        assert_eq!(names, ["country", "city", "referrer", "browser", "os", "device", "language"]);
    }

    #[test]
    fn counts_keep_people_and_bots_apart_and_stop_at_the_largest_number() {
        let mut counts = Counts { people: 1, bots: 10 };
        counts.add(false, 2);
        counts.add(true, 5);
        assert_eq!(counts, Counts { people: 3, bots: 15 });
        counts.merge(Counts { people: 100, bots: u64::MAX });
        assert_eq!(counts, Counts { people: 103, bots: u64::MAX });
    }
}
