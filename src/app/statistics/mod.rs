//! Statistics: of a link, of all links, and orphan visits.
//!
//! The leader of a shard answers, so that totals are monotonic for a reader that moves from node to node. Without a leader a replica
//! answers, and the answer says that it is stale.

mod all_links;
mod merge;
mod past_days;
mod range;
mod ranked;
mod recent;
mod report;
mod series;
mod tagged;
mod top;

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
pub(super) use past_days::PastDays;
pub use range::{Interval, Period, PeriodError};
pub use report::{Point, Report, ReportError, ReportQuery, ValueCount};
pub use tagged::TaggedReport;
pub use top::{Ranked, Top};
pub(super) use top::{RankedBefore, TaggedBefore};
use waypost_protocol::clicks::{Counts, HOUR_MS, Orphan, Stats, Whose};
use waypost_protocol::messages::{Changed, GetOrphans, GetStats, LinkStore, LinkView, ResetStats};
use waypost_protocol::properties::PASSWORD;
use waypost_protocol::{CallError, Code, Link, LinkKey, LinkState, Request, ServiceError, ShardId, UnixMs};

use super::links::Consistency;
use super::{App, ChangeError, Denied, LinkName, Permission, Principal, ReadError};
use crate::config::AnalyticsRule;

/// How long a leader is waited for: about an election. Then a replica answers.
const LEADERLESS_MAX: Duration = Duration::from_secs(2);

/// The number of days of a summary's recent visits, including today.
const SUMMARY_DAYS: u32 = 30;

/// The answer of one or more shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<T> {
    /// The answer.
    pub value: T,
    /// Whether a replica answered for a shard without a leader, so that the answer may lack what earlier answers had.
    pub stale: bool,
}

/// A summary of the statistics of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The code of the link.
    pub code: Code,
    /// The part for principals that may read links, unless `[http] analytics` shows it to everybody.
    pub details: Option<SummaryDetails>,
    /// Visits of people.
    pub clicks: u64,
    /// Visits of bots.
    pub bot_clicks: u64,
    /// Visits of people in the last 30 days.
    pub recent_clicks: u64,
    /// Unique visitors in the last 30 days.
    pub recent_visitors: u64,
    /// Whether the link has expired.
    pub expired: bool,
    /// What visitors get.
    pub state: LinkState,
}

/// The link, and the time of its last visit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SummaryDetails {
    /// The link.
    pub link: Link,
    /// The time of the last visit by a person; `None` = never.
    pub last_visit: Option<UnixMs>,
}

impl App {
    /// All visits that were counted of a link, or of all links.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn totals(&self, principal: &Principal, link: Option<LinkName<'_>>) -> Result<Answer<Counts>, ReadError> {
        principal.require(Permission::ReadStatistics)?;
        let Answer { value, stale } = self.statistics(link, 0..0, Whose::People).await?;
        Ok(Answer { value: value.total, stale })
    }

    /// The statistics of a link, or of all links added up: within `hours` (since 1970 UTC), and in total. `whose` visits decide which
    /// links are the most visited.
    async fn statistics(
        &self,
        link: Option<LinkName<'_>>,
        hours: Range<u32>,
        whose: Whose,
    ) -> Result<Answer<Stats>, ReadError> {
        if let Some(name) = link {
            let key = self.key_of(name)?.ok_or(ReadError::NotFound)?;
            let Answer { value, stale } = self.statistics_of(&key, hours).await?;
            return Ok(Answer { value: value.ok_or(ReadError::NotFound)?, stale });
        }
        let (from, to) = (hours.start, hours.end);
        let of = |shard| {
            let ask = move |from_leader| GetStats { shard, key: None, from, to, from_leader, whose, unranked: false };
            self.ask_leader(ask)
        };
        let answers = try_join_all((0..self.shards).map(ShardId).map(of)).await?;
        let stale = answers.iter().any(|answer| answer.stale);
        let shards = answers.into_iter().filter_map(|answer| answer.value);
        Ok(Answer { value: merge::merged(shards, whose), stale })
    }

    /// Deletes the statistics of a link.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn reset_statistics(&self, principal: &Principal, name: LinkName<'_>) -> Result<(), ChangeError> {
        principal.require(Permission::WriteLinks)?;
        self.writable()?;
        let key = self.key_of(name)?.ok_or(ChangeError::NotFound)?;
        let message = ResetStats { shard: key.shard(self.shards), key };
        match self.parts.links.call(message, self.parts.timeout).await? {
            Changed::Edited(_) => Ok(()),
            Changed::Deleted | Changed::NotFound | Changed::Refused(_) | Changed::VersionMismatch { .. } => {
                Err(ChangeError::NotFound)
            }
        }
    }

    /// Orphan visits of the last 30 days, the most frequent paths first.
    ///
    /// # Errors
    /// See [`ReadError`]; never `NotFound`.
    pub async fn orphans(&self, principal: &Principal) -> Result<Answer<Vec<Orphan>>, ReadError> {
        principal.require(Permission::ReadStatistics)?;
        let of = |shard| self.ask_leader(move |from_leader| GetOrphans { shard, from_leader });
        let answers = try_join_all((0..self.shards).map(ShardId).map(of)).await?;
        let stale = answers.iter().any(|answer| answer.stale);
        let mut paths: BTreeMap<String, (u64, UnixMs)> = BTreeMap::new();
        for Orphan { path, count, last } in answers.into_iter().flat_map(|answer| answer.value) {
            let (sum, latest) = paths.entry(path).or_default();
            *sum += count;
            *latest = last.max(*latest);
        }
        let mut orphans: Vec<Orphan> =
            paths.into_iter().map(|(path, (count, last))| Orphan { path, count, last }).collect();
        // The paths are in order, and the sort is stable.
        orphans.sort_by_key(|orphan| std::cmp::Reverse(orphan.count));
        Ok(Answer { value: orphans, stale })
    }

    /// A summary of the statistics of a link. By `[http] analytics`, everybody may see a part of it.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn summary(&self, principal: &Principal, name: LinkName<'_>) -> Result<Answer<Summary>, ReadError> {
        let shows_details = self.shows_details(principal)?;
        let key = self.key_of(name)?.ok_or(ReadError::NotFound)?;
        let LinkView { link, counts } = self.read(key, Consistency::Local).await?;
        // Where a protected link leads is for those who may read it, and for visitors with the password.
        let shows_details =
            shows_details && (!PASSWORD.is_in(&link.spec.fields) || principal.require(Permission::ReadLinks).is_ok());
        let now = self.now();
        let end = (now.0 / HOUR_MS) as u32 + 1;
        let start = (end.saturating_sub(1) / 24).saturating_sub(SUMMARY_DAYS - 1) * 24;
        let Answer { value: stats, stale } = self.statistics_of(&link.key, start..end).await?;
        let stats = stats.unwrap_or_default();
        // Nodes of version 0.1 do not send it.
        let last = stats.last.max(counts.visits.last);
        let value = Summary {
            code: link.key.code.clone(),
            clicks: stats.total.people,
            bot_clicks: stats.total.bots,
            recent_clicks: stats.days.iter().map(|(_, counts, _)| counts.people).sum(),
            recent_visitors: stats.visitors.count(),
            expired: link.expired(now),
            state: link.spec.state(counts.used, now),
            details: shows_details
                .then(|| SummaryDetails { link, last_visit: (stats.total.people > 0).then_some(last) }),
        };
        Ok(Answer { value, stale })
    }

    /// Whether a principal sees the link in a summary, or only the numbers.
    fn shows_details(&self, principal: &Principal) -> Result<bool, Denied> {
        let allowed = principal.require(Permission::ReadStatistics);
        match self.parts.analytics {
            AnalyticsRule::Full => Ok(true),
            AnalyticsRule::Key => allowed.map(|()| true),
            // A wrong key is an error: otherwise its owner would not notice that the answer is incomplete.
            AnalyticsRule::Totals if principal.presents_key() => allowed.map(|()| true),
            AnalyticsRule::Totals => Ok(allowed.is_ok()),
        }
    }

    /// The statistics of a link, as its shard has them.
    async fn statistics_of(&self, key: &LinkKey, hours: Range<u32>) -> Result<Answer<Option<Stats>>, CallError> {
        let (from, to, shard) = (hours.start, hours.end, key.shard(self.shards));
        let whose = Whose::People;
        let ask =
            |from_leader| GetStats { shard, key: Some(key.clone()), from, to, from_leader, whose, unranked: true };
        self.ask_leader(ask).await
    }

    /// Asks the leader of a shard; without one, any replica. `ask` makes the message for either.
    async fn ask_leader<M: Request<Service = LinkStore>>(
        &self,
        ask: impl Fn(bool) -> M,
    ) -> Result<Answer<M::Reply>, CallError> {
        let since = Instant::now();
        let (links, timeout) = (&self.parts.links, self.parts.timeout);
        match links.call_while_nobody(ask(true), timeout, LEADERLESS_MAX.min(timeout / 2)).await {
            Err(CallError::Service(ServiceError::NotHere { .. }) | CallError::Unreachable { .. }) => {
                let value = links.call(ask(false), timeout.saturating_sub(since.elapsed())).await?;
                Ok(Answer { value, stale: true })
            }
            answer => Ok(Answer { value: answer?, stale: false }),
        }
    }
}
