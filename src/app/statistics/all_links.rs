//! The statistics of all links, without a ranking of them.
//!
//! Of each day each shard has a record, so that two months are a thousand records. The days that are over are kept (`past_days.rs`), and only today is read each time.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::try_join_all;
use waypost_protocol::clicks::{Counts, HOUR_MS, Stats, Whose};
use waypost_protocol::messages::GetStats;
use waypost_protocol::{CallError, ShardId};

use super::past_days::{Kept, Mark};
use super::{Answer, App, merge};

impl App {
    /// The statistics of all links within `hours` (since 1970 UTC), and in total.
    pub(super) async fn statistics_of_all(&self, hours: Range<u32>) -> Result<Answer<Stats>, CallError> {
        let present = (self.now().0 / HOUR_MS) as u32 + 1;
        let today = (present - 1) / 24 * 24;
        let past = hours.start..hours.end.min(today);
        if past.is_empty() {
            return self.read_all(hours).await;
        }
        // Read first: what is counted for another day from here on shows at the next mark.
        let Answer { value: now, stale } = self.read_all(today..present.max(hours.end)).await?;
        let mut of_today = Counts::default();
        now.days.iter().for_each(|(_, counts, _)| of_today.merge(*counts));
        let (total, mark) = (now.total, Mark { total: now.total, today: of_today });
        let mut stale = stale;
        let days = match self.past_days.get(&past, today, mark, Instant::now()) {
            Some(days) => days,
            None => {
                let since = Instant::now();
                let Answer { value, stale: is_stale } = self.read_all(past.clone()).await?;
                let days = Arc::new(Stats { total: Counts::default(), ..value });
                if !stale && !is_stale {
                    self.past_days.keep(Kept { hours: past, today, mark, since, days: days.clone() });
                }
                stale |= is_stale;
                days
            }
        };
        let mut parts = vec![Stats::clone(&days)];
        if hours.end >= present {
            parts.push(now);
        } else if hours.end > today {
            // Only a part of today is asked for.
            let Answer { value, stale: is_stale } = self.read_all(today..hours.end).await?;
            stale |= is_stale;
            parts.push(value);
        }
        Ok(Answer { value: Stats { total, ..merge::merged(parts, Whose::People) }, stale })
    }

    /// Reads some hours of all shards.
    async fn read_all(&self, hours: Range<u32>) -> Result<Answer<Stats>, CallError> {
        let (from, to, whose) = (hours.start, hours.end, Whose::People);
        let of = |shard| {
            let ask = move |from_leader| GetStats { shard, key: None, from, to, from_leader, whose, unranked: true };
            self.ask_leader(ask)
        };
        let answers = try_join_all((0..self.shards).map(ShardId).map(of)).await?;
        let stale = answers.iter().any(|answer| answer.stale);
        Ok(Answer {
            value: merge::merged(answers.into_iter().map(|answer| answer.value.unwrap_or_default()), whose),
            stale,
        })
    }
}
