//! The statistics of the links with a tag, added up.
//!
//! Statistics are kept by link, and not by tag: a link may get another tag, and its visits go with it. So each link of the tag is read, up to a bound.

use futures_util::stream::{StreamExt, iter};
use waypost_protocol::clicks::{Ranking, Stats};
use waypost_protocol::listing::{LinkFilter, Sort, SortKey};
use waypost_protocol::{CallError, LinkKey, ShardId};

use super::range::Range;
use super::report::report;
use super::{Answer, Report, ReportError, ReportQuery, Top, merge};
use crate::app::{App, ListError, ListRequest, Permission, Principal};

/// Links of a tag that are read: each is a question to the leader of its shard.
pub const TAGGED_LINKS_MAX: usize = 100;

/// How many of them are read at the same time: as many as leave other readers of the shards their turn.
const AT_ONCE: usize = 8;

/// The statistics of the links with a tag.
#[derive(Debug, Clone)]
pub struct TaggedReport {
    /// Their statistics, added up.
    pub report: Answer<Report>,
    /// How many links were read: those with the most visits.
    pub links: usize,
    /// Whether there are more links with the tag, which are left out.
    pub cut: bool,
    /// Shards of which no node could list the links.
    pub partial: Vec<ShardId>,
}

impl From<ListError> for ReportError {
    fn from(error: ListError) -> Self {
        match error {
            ListError::Denied(denied) => Self::Denied(denied),
            ListError::Call(error) => Self::Call(error),
        }
    }
}

impl App {
    /// The statistics of the links with a tag in a period, with the most visited ones of them. `query.link` is not used.
    ///
    /// # Errors
    /// See [`ReportError`]; never `NotFound`: a tag without links has no visits.
    pub async fn report_of_tag(
        &self,
        principal: &Principal,
        tag: &str,
        query: &ReportQuery<'_>,
    ) -> Result<TaggedReport, ReportError> {
        principal.require(Permission::ReadStatistics)?;
        let range = Range::parse(&query.period, self.now())?;
        let filter = LinkFilter { tags: vec![tag.to_owned()], ..LinkFilter::default() };
        let sort = Sort { key: SortKey::Visits, descending: true };
        let ask = ListRequest { filter, sort, after: None, limit: TAGGED_LINKS_MAX, count: false, seen: None };
        let listed = self.list_links(principal, ask).await?;
        let keys: Vec<LinkKey> = listed.items.into_iter().map(|(_, view)| view.link.key).collect();
        let links = keys.len();
        let hours = &range.hours;
        let read = iter(keys).map(|key| async move {
            let answer = self.statistics_of(&key, hours.clone()).await?;
            Ok::<_, CallError>((key, answer))
        });
        let answers: Vec<_> = read.buffer_unordered(AT_ONCE).collect().await;
        let mut stale = false;
        let mut all = Vec::with_capacity(links);
        for answer in answers {
            let (key, Answer { value, stale: is_stale }) = answer?;
            stale |= is_stale;
            // A link that was deleted meanwhile has none.
            all.extend(value.map(|stats| ranked(key, stats)));
        }
        let stats = merge::merged(all, query.whose);
        let value = report(&stats, &range, &ReportQuery { link: None, ..query.clone() })?;
        debug_assert!(matches!(value.top, Top::Links(_)), "invariant: each of the links was ranked");
        Ok(TaggedReport { report: Answer { value, stale }, links, cut: listed.next.is_some(), partial: listed.partial })
    }
}

/// The statistics of one link, as those of a shard that has only this link.
fn ranked(key: LinkKey, mut stats: Stats) -> Stats {
    let mut sum = waypost_protocol::clicks::Counts::default();
    stats.days.iter().for_each(|(_, counts, _)| sum.merge(*counts));
    stats.top = vec![(key, sum)];
    stats.ranking = Ranking::AsAsked;
    stats
}
