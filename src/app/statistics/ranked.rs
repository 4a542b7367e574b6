//! Finds the most visited links of a period, unless they were found a moment ago (`recent.rs`).

use std::time::Instant;

use super::range::Range as Asked;
use super::report::{ReportError, ReportQuery, report};
use super::top::Ranked;
use super::{Answer, App};
use crate::app::{Permission, Principal};

impl App {
    /// The most visited links of a period, if they were found a moment ago.
    ///
    /// # Errors
    /// See [`ReportError`]; only for invalid parameters and a missing permission.
    pub fn most_visited_before(
        &self,
        principal: &Principal,
        query: &ReportQuery<'_>,
    ) -> Result<Option<Ranked>, ReportError> {
        principal.require(Permission::ReadStatistics)?;
        let range = Asked::parse(&query.period, self.now())?;
        let found = self.ranked.get(&(range.hours, query.whose), Instant::now());
        Ok(found.map(|(top, at)| Ranked { top, at }))
    }

    /// The most visited links of a period. `query.link` is not used. They may have been found a moment ago.
    ///
    /// # Errors
    /// See [`ReportError`]; never `NotFound`.
    pub async fn most_visited(&self, principal: &Principal, query: &ReportQuery<'_>) -> Result<Ranked, ReportError> {
        if let Some(ranked) = self.most_visited_before(principal, query)? {
            return Ok(ranked);
        }
        let (began, at) = (Instant::now(), self.now());
        let range = Asked::parse(&query.period, at)?;
        let query = ReportQuery { link: None, by: Vec::new(), ranked: true, ..query.clone() };
        let Answer { value: stats, stale } = self.statistics(None, range.hours.clone(), query.whose).await?;
        let top = report(&stats, &range, &query)?.top;
        if !stale {
            let question = (range.hours, query.whose);
            self.ranked.keep(question, top.clone(), (at, Instant::now()), began.elapsed());
        }
        Ok(Ranked { top, at })
    }
}
