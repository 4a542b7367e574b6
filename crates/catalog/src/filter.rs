//! A filter as it is evaluated: what a row has to be.

use std::sync::Arc;

use waypost_protocol::link::LinkCounts;
use waypost_protocol::listing::{ENDS_SOON_MS, LinkFilter, PageRequest, Sort, StateFilter};
use waypost_protocol::properties::Tags;
use waypost_protocol::{Link, LinkState, ShardId, UnixMs};

use crate::error::RequestError;
use crate::row::Row;
use crate::types::Changed;
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
        self.fits_at(row, self.now)
    }

    /// Whether a row fits at another time.
    fn fits_at(&self, row: &Row, now: UnixMs) -> bool {
        self.shards.as_ref().is_none_or(|shards| shards.binary_search(&row.shard).is_ok())
            && self.key.is_none_or(|key| key == row.hash)
            && self.domain.is_none_or(|domain| domain == row.domain)
            && !self.exclude_domains.contains(&row.domain)
            && self.from.is_none_or(|from| row.created >= from)
            && self.to.is_none_or(|to| row.created < to)
            && self.state.is_none_or(|state| is_in_state(row, state, now))
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
        StateFilter::EndsSoon => {
            is == LinkState::Active && row.until().is_some_and(|until| until <= now.0.saturating_add(ENDS_SOON_MS))
        }
    }
}
/// Judges single links by a filter, as a list of them does: for a caller that changes what it has found.
#[derive(Debug, Clone)]
pub struct Fits(Filter);

impl Fits {
    /// The judge of a filter.
    ///
    /// # Errors
    /// If a list with this filter is refused.
    pub fn of(filter: &LinkFilter) -> Result<Self, RequestError> {
        let (filter, sort, now) = (filter.clone(), Sort::default(), UnixMs(0));
        let request = PageRequest { shards: Vec::new(), filter, sort, after: None, limit: 1, now, count: false };
        // Of whichever shard a link is.
        Filter::of(&request, &[]).map(Self)
    }

    /// Whether every link fits.
    pub fn fits_all(&self) -> bool {
        self.0.is_any()
    }

    /// Whether a link fits at `now`.
    pub fn fits(&self, link: &Link, counts: LinkCounts, now: UnixMs) -> bool {
        let link = Changed { link: Arc::new(link.clone()), counts, edited_at: None };
        self.0.fits_at(&Row::of(ShardId(0), &link), now)
    }
}

#[cfg(test)]
mod tests {
    use waypost_protocol::properties::{NOTE, Note, TAGS, Tags};
    use waypost_protocol::{Code, Domain, FieldChanges, KeyHash, LinkKey, LinkSpec, Target};

    use super::*;

    #[test]
    fn a_link_is_judged_as_a_list_would() {
        let mut spec = LinkSpec::to(Target::parse("https://example.com/%C3%9Cber", &[], 8192).unwrap());
        let mut changes = FieldChanges::default();
        TAGS.change(&mut changes, Tags::parse(&["Sale"]).unwrap().as_ref());
        NOTE.change(&mut changes, Note::parse("for Zoë").unwrap().as_ref());
        spec.fields.change(&changes);
        spec.valid_until = Some(UnixMs(2000));
        let key = LinkKey::new(Code::parse_slug("abc").unwrap());
        let link =
            Link { key, spec, created_at: UnixMs(1000), version: 1, written_at: 1, created_by: 0, generated: false };
        let fits = |filter: LinkFilter, now| Fits::of(&filter).unwrap().fits(&link, LinkCounts::default(), UnixMs(now));
        let all = LinkFilter::default;
        let text = |text: &str| LinkFilter { text: text.to_owned(), ..all() };
        let tags = |tag: &str| LinkFilter { tags: vec![tag.to_owned()], ..all() };
        let state = |state| LinkFilter { state: Some(state), ..all() };
        for (filter, now, fit) in [
            (all(), 0, true),
            (text("ABC zoe über"), 0, true),
            (text("abc zoe unter"), 0, false),
            (tags("sale"), 0, true),
            (tags("x"), 0, false),
            (state(StateFilter::Active), 1999, true),
            (state(StateFilter::Active), 2000, false),
            (state(StateFilter::Expired), 2000, true),
            (state(StateFilter::EndsSoon), 1999, true),
            (state(StateFilter::EndsSoon), 2000, false),
            (LinkFilter { key: Some(link.key.hash()), ..all() }, 0, true),
            (LinkFilter { key: Some(KeyHash(1)), ..all() }, 0, false),
            (LinkFilter { created_to: Some(UnixMs(1000)), ..all() }, 0, false),
        ] {
            assert_eq!(fits(filter.clone(), now), fit, "{filter:?} {now}");
        }
        for (filter, fits_all) in [
            (all(), true),
            (LinkFilter { all_tags: true, ..all() }, true),
            (text(" "), true),
            (text("a"), false),
            (tags("x"), false),
            (LinkFilter { exclude_tags: vec!["x".to_owned()], ..all() }, false),
            (state(StateFilter::Active), false),
            (LinkFilter { key: Some(KeyHash(1)), ..all() }, false),
            (LinkFilter { domain: Some(Domain(0)), ..all() }, false),
            (LinkFilter { created_from: Some(UnixMs(0)), ..all() }, false),
        ] {
            assert_eq!(Fits::of(&filter).unwrap().fits_all(), fits_all, "{filter:?}");
        }
        let many: String = (0..17).map(|n| format!("w{n} ")).collect();
        assert!(matches!(Fits::of(&text(&many)), Err(RequestError::TooManyWords)));
    }
}
