//! The most visited links of a period, and what is kept of answers that take long.

use std::ops::Range;
use std::sync::Arc;

use waypost_protocol::clicks::{Stats, Whose};
use waypost_protocol::{LinkKey, UnixMs};

use super::recent::Recent;

/// The most visited links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Top {
    /// The report is of one link, or nobody asked for them.
    None,
    /// These, with their visits.
    Links(Vec<(LinkKey, u64)>),
    /// Too many links have visits to be compared over so many days.
    TooManyLinks,
    /// A node of an older version cannot rank links by a period.
    OlderNode,
}

/// The most visited links of a period, as they were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranked {
    /// These, or why there are none.
    pub top: Top,
    /// When they were found.
    pub at: UnixMs,
}

/// Those that were found a moment ago, by the hours of the period and by whose visits count.
pub(crate) type RankedBefore = Recent<(Range<u32>, Whose), Top>;

/// The statistics of the links with a tag that were added up a moment ago: by the tag, the hours and whose visits count. With how many links they are of, and whether there are more.
pub(crate) type TaggedBefore = Recent<(String, Range<u32>, Whose), (Arc<Stats>, usize, bool)>;
