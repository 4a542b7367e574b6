//! The statistics of the links with a tag, added up.
//!
//! Statistics are kept by link, and not by tag: a link may get another tag, and its visits go with it. So each link of the tag is read, up to a bound.

use std::sync::Arc;

use futures_util::stream::{StreamExt, iter};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};
use waypost_protocol::clicks::{Ranking, Stats};
use waypost_protocol::listing::{LinkFilter, Sort, SortKey};
use waypost_protocol::properties::Tags;
use waypost_protocol::{LinkKey, ShardId, UnixMs};

use super::range::Range;
use super::report::report;
use super::{Answer, Report, ReportError, ReportQuery, Top, merge};
use crate::app::{App, ListError, ListRequest, Permission, Principal};
use crate::limits::LIST_MARGIN;

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
    /// Shards of which no node could list the links, or tell their statistics in time.
    pub partial: Vec<ShardId>,
    /// When they were read.
    pub at: UnixMs,
}

/// The statistics of a link, if it is still there; or the shard that does not answer.
type OfLink = Result<Answer<Option<Stats>>, ShardId>;

/// What was read of some links.
#[derive(Debug, Default)]
struct Read {
    stats: Vec<Stats>,
    /// How many of the links these are of. A link that was deleted meanwhile has none, and is not missing.
    links: usize,
    stale: bool,
}

impl Read {
    /// Takes the answers: those of links of shards that do not answer are `Err`, and those shards are noted in `partial`.
    fn of(answers: Vec<(LinkKey, OfLink)>, partial: &mut Vec<ShardId>) -> Self {
        let mut read = Self::default();
        for (key, answer) in answers {
            match answer {
                Ok(Answer { value, stale }) => {
                    read.links += 1;
                    read.stale |= stale;
                    read.stats.extend(value.map(|stats| ranked(key, stats)));
                }
                Err(shard) if !partial.contains(&shard) => partial.push(shard),
                Err(_) => {}
            }
        }
        read
    }
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
    /// The statistics of the links with a tag in a period, with the most visited ones of them. `query.link` is not used. What does not answer is
    /// missing, and named.
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
        let end = Instant::now() + self.parts.timeout.saturating_sub(LIST_MARGIN);
        let (began, at) = (Instant::now(), self.now());
        let range = Range::parse(&query.period, at)?;
        let query = ReportQuery { link: None, ranked: true, ..query.clone() };
        let question = (Tags::folded(tag), range.hours.clone(), query.whose);
        if let Some(((stats, links, cut), at)) = self.tagged.get(&question, began.into_std()) {
            let report = Answer { value: report(&stats, &range, &query)?, stale: false };
            return Ok(TaggedReport { report, links, cut, partial: Vec::new(), at });
        }
        let filter = LinkFilter { tags: vec![tag.to_owned()], ..LinkFilter::default() };
        let sort = Sort { key: SortKey::Visits, descending: true };
        let ask = ListRequest { filter, sort, after: None, limit: TAGGED_LINKS_MAX, count: false, seen: None };
        let listed = self.list_links(principal, ask).await?;
        let mut partial = listed.partial;
        let (hours, silent) = (&range.hours, &Mutex::new(Vec::new()));
        let read = iter(listed.items).map(|(_, view)| async move {
            let key = view.link.key;
            let shard = key.shard(self.shards);
            // A shard that was waited for once in vain is not waited for again.
            if silent.lock().contains(&shard) {
                return (key, Err(shard));
            }
            match timeout_at(end, self.statistics_of(&key, hours.clone())).await {
                Ok(Ok(answer)) => (key, Ok(answer)),
                Ok(Err(_)) | Err(_) => {
                    silent.lock().push(shard);
                    (key, Err(shard))
                }
            }
        });
        let answers: Vec<_> = read.buffer_unordered(AT_ONCE).collect().await;
        let Read { stats, links, stale } = Read::of(answers, &mut partial);
        let stats = merge::merged(stats, query.whose);
        let value = report(&stats, &range, &query)?;
        debug_assert!(matches!(value.top, Top::Links(_)), "invariant: each of the links was ranked");
        let cut = listed.next.is_some();
        if partial.is_empty() && !stale {
            let now = (at, Instant::now().into_std());
            self.tagged.keep(question, (Arc::new(stats), links, cut), now, began.elapsed());
        }
        Ok(TaggedReport { report: Answer { value, stale }, links, cut, partial, at })
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

#[cfg(test)]
mod tests {
    use waypost_protocol::Code;

    use super::*;

    #[test]
    fn links_of_a_shard_that_does_not_answer_are_missing_and_the_others_count() {
        let key = |code: &str| LinkKey::new(Code::parse_slug(code).unwrap());
        let answer = |value, stale| Ok(Answer { value, stale });
        let answers = vec![
            (key("one"), answer(Some(Stats::default()), false)),
            (key("two"), Err(ShardId(3))),
            (key("deleted"), answer(None, true)),
            (key("other"), Err(ShardId(3))),
            (key("unlisted"), Err(ShardId(1))),
        ];
        let mut partial = vec![ShardId(1)];
        let read = Read::of(answers, &mut partial);
        assert_eq!((read.links, read.stats.len(), read.stale), (2, 1, true));
        assert_eq!(read.stats[0].top[0].0, key("one"));
        assert_eq!(partial, [ShardId(1), ShardId(3)]);
    }
}
