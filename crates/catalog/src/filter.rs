//! A filter as it is evaluated: what a row has to be.

use waypost_protocol::listing::{PageRequest, StateFilter};
use waypost_protocol::properties::Tags;
use waypost_protocol::{LinkState, UnixMs};

use crate::error::RequestError;
use crate::row::Row;
use crate::words::{Word, words};

/// What a row has to be.
#[derive(Debug, Clone)]
pub struct Filter {
    /// The shards, sorted; `None` = any.
    pub shards: Option<Vec<u32>>,
    /// The only key.
    pub key: Option<u64>,
    /// The only domain.
    pub domain: Option<u32>,
    /// Not these domains.
    pub exclude_domains: Vec<u32>,
    /// These tags, in lower case.
    pub tags: Vec<String>,
    /// All of them, not one.
    pub all_tags: bool,
    /// None of these tags, in lower case.
    pub exclude_tags: Vec<String>,
    /// The only state.
    pub state: Option<StateFilter>,
    /// Created at or after this time.
    pub from: Option<u64>,
    /// Created before this time.
    pub to: Option<u64>,
    /// All of these words.
    pub words: Vec<Word>,
    /// The time by which states are told.
    pub now: UnixMs,
}

impl Filter {
    /// The filter of a request to a catalog with rows of these shards.
    pub fn of(request: &PageRequest, known: &[u32]) -> Result<Self, RequestError> {
        let filter = &request.filter;
        let mut shards: Vec<u32> = request.shards.iter().map(|shard| shard.0).collect();
        shards.sort_unstable();
        let folded = |tags: &[String]| {
            let mut tags: Vec<String> = tags.iter().map(|tag| Tags::folded(tag)).collect();
            tags.sort_unstable();
            tags.dedup();
            tags
        };
        Ok(Self {
            shards: (!known.iter().all(|shard| shards.binary_search(shard).is_ok())).then_some(shards),
            key: filter.key.map(|key| key.0),
            domain: filter.domain.map(|domain| domain.0),
            exclude_domains: filter.exclude_domains.iter().map(|domain| domain.0).collect(),
            tags: folded(&filter.tags),
            all_tags: filter.all_tags,
            exclude_tags: folded(&filter.exclude_tags),
            state: filter.state,
            from: filter.created_from.map(|from| from.0),
            to: filter.created_to.map(|to| to.0),
            words: words(&filter.text)?,
            now: request.now,
        })
    }

    /// Whether every row is what it has to be.
    pub fn is_any(&self) -> bool {
        let Self {
            shards,
            key,
            domain,
            exclude_domains,
            tags,
            all_tags: _,
            exclude_tags,
            state,
            from,
            to,
            words,
            now: _,
        } = self;
        shards.is_none()
            && key.is_none()
            && domain.is_none()
            && exclude_domains.is_empty()
            && tags.is_empty()
            && exclude_tags.is_empty()
            && state.is_none()
            && from.is_none()
            && to.is_none()
            && words.is_empty()
    }

    /// Whether the postings find more rows than those that fit, so that each has to be read.
    pub fn needs_check(&self) -> bool {
        self.words.iter().any(Word::needs_check)
    }

    /// Whether a row that was found by the postings fits.
    pub fn checks(&self, row: &Row) -> bool {
        self.words.iter().all(|word| !word.needs_check() || word.is_in(&row.text))
    }

    /// Whether a row fits.
    pub fn fits(&self, row: &Row) -> bool {
        self.shards.as_ref().is_none_or(|shards| shards.binary_search(&row.shard).is_ok())
            && self.key.is_none_or(|key| key == row.hash)
            && self.domain.is_none_or(|domain| domain == row.domain)
            && !self.exclude_domains.contains(&row.domain)
            && self.from.is_none_or(|from| row.created >= from)
            && self.to.is_none_or(|to| row.created < to)
            && self.state.is_none_or(|state| is_in_state(row, state, self.now))
            && self.fits_tags(row)
            && self.words.iter().all(|word| word.is_in(&row.text))
    }

    fn fits_tags(&self, row: &Row) -> bool {
        if self.tags.is_empty() && self.exclude_tags.is_empty() {
            return true;
        }
        let of = |tag: &String| row.has_tag(tag);
        let wanted = match self.all_tags {
            true => self.tags.iter().all(of),
            false => self.tags.is_empty() || self.tags.iter().any(of),
        };
        wanted && !self.exclude_tags.iter().any(of)
    }
}

fn is_in_state(row: &Row, state: StateFilter, now: UnixMs) -> bool {
    let is = row.state(now);
    match state {
        StateFilter::Active => is == LinkState::Active,
        StateFilter::NotYet => is == LinkState::NotYet,
        StateFilter::Expired => is == LinkState::Expired,
        StateFilter::Exhausted => is == LinkState::Exhausted,
        StateFilter::Disabled => is == LinkState::Disabled,
        StateFilter::Protected => row.protected,
    }
}
