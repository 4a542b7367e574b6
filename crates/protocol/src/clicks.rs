//! Visits, on their way from the redirect to the statistics of a link.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::sketch::{Register, Sketch};
use crate::{KeyHash, LinkKey, NodeId, UnixMs};

/// Milliseconds of an hour.
pub const HOUR_MS: u64 = 3_600_000;

/// By what visits are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Dimension {
    /// Two letters of ISO 3166.
    Country,
    /// The name of the city.
    City,
    /// The host of the page that had the link.
    Referrer,
    /// The family of the browser, or the kind of bot.
    Browser,
    /// The family of the operating system.
    Os,
    /// What kind of device.
    Device,
    /// The language that the visitor prefers, two or three letters.
    Language,
}

impl Dimension {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Country, Self::City, Self::Referrer, Self::Browser, Self::Os, Self::Device, Self::Language];

    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// As it is written in a request.
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

/// The value of a dimension for what came after its bound on different values was reached.
pub const OTHER: &str = "(other)";

/// Visits counted on one node since its last batch for this shard.
///
/// Named by the journals that it comes from and how far in each it reaches: a batch counts only if each of its spans begins where the
/// last one of that journal ended, so one that is sent again, also by a later life of the node, counts once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClickBatch {
    /// Who counted.
    pub node: NodeId,
    /// What was read of each journal.
    pub spans: Vec<JournalSpan>,
    /// The values of dimensions, and paths, by number; 0 stands for none.
    pub strings: Vec<String>,
    /// Visits by link and hour.
    pub deltas: Vec<ClickDelta>,
    /// Visits to what is no link.
    pub orphans: Vec<OrphanDelta>,
}

/// A part of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalSpan {
    /// The journal's random number.
    pub journal: u64,
    /// The position after what was counted before.
    pub from: u64,
    /// The position after what is counted now.
    pub upto: u64,
}

/// Visits of one link within an hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClickDelta {
    /// Which link, by the hash of its key: a quarter of the key's bytes, and nothing to hash again when it is applied.
    pub link: KeyHash,
    /// Hours since 1970 UTC.
    pub hour: u32,
    /// When the last visit of a person was; 0 = there was none.
    pub last: UnixMs,
    /// How many, by what they have in common.
    pub tallies: Tallies,
    /// Who the people were, about.
    pub visitors: Visitors,
}

/// Most links have visits of one kind in a batch: these need no allocation.
pub type Tallies = SmallVec<[Tally; 1]>;

/// Most links have one or two visitors in a batch.
pub type Visitors = SmallVec<[Register; 2]>;

/// Visits that are alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Whether they were a program's and no person's.
    pub bot: bool,
    /// The value of each dimension, by its number in the batch.
    pub values: [u16; Dimension::COUNT],
    /// How many.
    pub count: u32,
}

/// Visits to what is no link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrphanDelta {
    /// The path, by its number in the batch.
    pub path: u16,
    /// How many.
    pub count: u32,
    /// When the last was.
    pub last: UnixMs,
}

/// Visits of people and of bots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Of people.
    pub people: u64,
    /// Of bots.
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

/// Whose visits are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Whose {
    /// Those of people.
    #[default]
    People,
    /// Those of people and bots.
    All,
    /// Those of bots.
    Bots,
}

impl Whose {
    /// How many of some visits are meant.
    pub fn of(self, counts: Counts) -> u64 {
        match self {
            Self::People => counts.people,
            Self::All => counts.people.saturating_add(counts.bots),
            Self::Bots => counts.bots,
        }
    }
}

/// What the links with the most visits are ranked by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Ranking {
    /// All visits of people since the link was made: what nodes answer that do not know [`Whose`].
    #[default]
    Lifetime,
    /// The visits that were asked for, in the time that was asked for.
    AsAsked,
    /// The links with visits are too many to be compared over so many days; none is told.
    TooMany,
}

/// Statistics of a link, or of all links of a shard, over some days.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stats {
    /// By hour since 1970 UTC, as far back as hours are kept.
    pub hours: Vec<(u32, Counts)>,
    /// By day since 1970 UTC, with the number of different people.
    pub days: Vec<(u32, Counts, u64)>,
    /// By dimension and value.
    pub values: Vec<(Dimension, String, Counts)>,
    /// The different people of all these days.
    pub visitors: Sketch,
    /// All visits ever.
    pub total: Counts,
    /// The links with the most visits, ranked by `ranking`; only for all links.
    pub top: Vec<(LinkKey, Counts)>,
    /// When the last visit of a person was, of one link; 0 = there was none, or a node of an older version answers.
    pub last: UnixMs,
    /// What `top` is ranked by.
    pub ranking: Ranking,
}

/// Visits to a path that is no link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orphan {
    /// The path, or [`OTHER`].
    pub path: String,
    /// How many.
    pub count: u64,
    /// When the last was.
    pub last: UnixMs,
}

#[cfg(test)]
mod tests {
    use super::*;

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
