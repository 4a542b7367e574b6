//! What a node answers from its catalog: keys come from the catalog, links and counts from the shards.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use waypost_catalog::{Catalog, CatalogError, CatalogPage, TagsRequest};
use waypost_consensus::{Freshness, Groups, Standing};
use waypost_protocol::listing::{
    ListPosition, ListedRow, NodePage, NodeTags, PAGE_LINKS_MAX, PageRequest, SortValue, TagCount,
};
use waypost_protocol::messages::LinkView;
use waypost_protocol::{Domain, Link, ShardId};
use waypost_store::StoreError;

use super::reads::Reads;
use super::shared::{CatalogStatus, Losses, Shared};

/// How old the catalog's state of a shard may be without a look: with the age that a replica may have, links are listed a second after they
/// were created.
const SHOWS_WITHOUT_LOOK: Duration = Duration::from_millis(300);

/// How old it may be at most, if the indexer does not keep up.
const SHOWS_MAX: Duration = Duration::from_secs(1);

/// How long an answer waits for the indexer.
const INDEXER_MAX: Duration = Duration::from_millis(700);

/// How long an answer waits for a change that the caller has seen. One that nobody can have seen is not waited for.
pub const SEEN_MAX: Duration = Duration::from_secs(2);

/// How often it is looked while something is waited for.
const LOOK: Duration = Duration::from_millis(10);

/// Lists that are read at the same time. Each takes a core, and redirects need them too.
const READS_AT_ONCE: usize = 2;

/// The bytes of links in a page, about: an answer to another node has to fit into a frame. Links are a few hundred bytes, 20 KiB at most.
const PAGE_BYTES_MAX: usize = 4 << 20;

/// The tags that are read at once.
const TAGS_AT_ONCE: u32 = 1_000;

/// The most tags of a node. More are no help for anybody.
const TAGS_MAX: usize = 20_000;

/// The most bytes of the tags of a node, about: half a frame.
const TAGS_BYTES_MAX: usize = 4 << 20;

/// How often a page is read anew because a shard was lost meanwhile.
const TRIES_MAX: usize = 3;

/// Whether a node can answer for a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Can {
    Answer,
    No,
    /// Nobody can: the shard has not had yet what the caller says to have seen.
    Never,
}

/// The catalog of a node, as those see it who ask for lists. Also a node without one has this: it answers that all shards are missing.
pub struct NodeCatalog {
    groups: Arc<Groups>,
    fresh: Arc<Freshness>,
    shared: Arc<Shared>,
    engine: tokio::runtime::Handle,
    reads: Reads,
}

impl NodeCatalog {
    pub(super) fn new(
        groups: Arc<Groups>,
        fresh: Arc<Freshness>,
        shared: Arc<Shared>,
        engine: tokio::runtime::Handle,
    ) -> Self {
        let reads = Reads::new(engine.clone(), READS_AT_ONCE);
        Self { groups, fresh, shared, engine, reads }
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The state of the catalog; `None` = this node keeps none.
    pub fn status(&self) -> Option<CatalogStatus> {
        self.shared.is_kept.then(|| self.shared.status(&self.groups))
    }

    /// A page of the links in this node's replicas. `seen` is an index of a shard's log: that shard is missing if its links up to there cannot be
    /// answered within [`SEEN_MAX`], or as soon as it is known that its log does not reach there. `within` bounds the whole.
    pub async fn page(&self, request: PageRequest, seen: Option<(ShardId, u64)>, within: Duration) -> NodePage {
        let deadline = Instant::now() + within;
        let mut request = PageRequest { limit: request.limit.clamp(1, PAGE_LINKS_MAX as u32), ..request };
        let before = self.shared.losses();
        let (mut missing, unseen) = self.leave_out_missing(&mut request.shards, seen, deadline).await;
        let rest = |missing: Vec<ShardId>, request: PageRequest| NodePage {
            missing: [missing, request.shards].concat(),
            unseen,
            ..NodePage::default()
        };
        for _ in 0..TRIES_MAX {
            if request.shards.is_empty() {
                break;
            }
            let asked = request.clone();
            let Some(CatalogPage { rows, matches, more }) =
                self.read(deadline, move |catalog| catalog.page(&asked)).await
            else {
                break;
            };
            let Some(mut page) = self.with_links(rows, more, deadline).await else { break };
            // What was read of a shard that was lost meanwhile is in doubt.
            let lost = self.leave_out_lost(&mut request.shards, &before);
            if lost.is_empty() {
                page.matches = matches;
                (page.missing, page.unseen) = (missing, unseen);
                return page;
            }
            missing.extend(lost);
        }
        rest(missing, request)
    }

    /// The tags of the links in this node's replicas.
    pub async fn tags(
        &self,
        mut shards: Vec<ShardId>,
        domain: Option<Domain>,
        exclude_domains: Vec<Domain>,
        within: Duration,
    ) -> NodeTags {
        let deadline = Instant::now() + within;
        let before = self.shared.losses();
        let (mut missing, _) = self.leave_out_missing(&mut shards, None, deadline).await;
        if !shards.is_empty() {
            let asked =
                TagsRequest { shards: shards.clone(), domain, exclude_domains, after: None, limit: TAGS_AT_ONCE };
            let tags = self.read(deadline, move |catalog| all_tags(catalog, asked)).await;
            let lost = self.leave_out_lost(&mut shards, &before);
            if let Some(tags) = tags
                && lost.is_empty()
            {
                return NodeTags { missing, ..tags };
            }
            missing.extend(lost);
            missing.extend(shards);
        }
        NodeTags { missing, ..NodeTags::default() }
    }

    /// Takes out the shards that this node cannot answer for. Returns them, and whether one of them has not had what the caller says to have seen.
    async fn leave_out_missing(
        &self,
        shards: &mut Vec<ShardId>,
        seen: Option<(ShardId, u64)>,
        deadline: Instant,
    ) -> (Vec<ShardId>, bool) {
        // No shard twice, whatever was asked for.
        shards.sort_unstable();
        shards.dedup();
        let can = join_all(shards.iter().map(|shard| {
            let seen = seen.filter(|(of, _)| of == shard).map(|(_, index)| index);
            self.can_answer(*shard, seen, deadline)
        }));
        let can = can.await;
        let unseen = can.contains(&Can::Never);
        let mut can = can.iter();
        (leave_out(shards, |_| can.next() != Some(&Can::Answer)), unseen)
    }

    /// Takes out the shards that the catalog has lost since `before`, also those that it has again.
    fn leave_out_lost(&self, shards: &mut Vec<ShardId>, before: &Losses) -> Vec<ShardId> {
        leave_out(shards, |shard| !self.shared.has_kept(shard, before))
    }

    /// Whether this node's replica of a shard is up to date, and the catalog has what it has.
    async fn can_answer(&self, shard: ShardId, seen: Option<u64>, deadline: Instant) -> Can {
        let arrived = Instant::now();
        if self.shared.reached(shard).is_none() || !self.groups.holds(shard) {
            return Can::No;
        }
        if !matches!(self.fresh.sure(shard).await, Standing::Fresh(_)) {
            return Can::No;
        }
        let Some(group) = self.groups.shard(shard) else { return Can::No };
        let (asked, applied) = (Instant::now(), group.applied());
        let mut rounds = self.shared.rounds();
        let wait = if seen.is_some() { SEEN_MAX } else { INDEXER_MAX };
        let until = deadline.min(asked + wait);
        loop {
            let Some(reached) = self.shared.reached(shard) else { return Can::No };
            let now = Instant::now();
            let has_seen = seen.is_none_or(|index| reached.index >= index);
            // The state is about to be another one.
            if group.is_installing() {
                return Can::No;
            }
            if has_seen && reached.shows(applied, now, SHOWS_WITHOUT_LOOK) {
                return Can::Answer;
            }
            // What the caller has seen was acknowledged before it asked.
            let is_made_up = |committed| seen.is_some_and(|index| index > committed);
            if !has_seen && self.fresh.committed_since(shard, arrived).is_some_and(is_made_up) {
                return Can::Never;
            }
            if now >= until {
                return if has_seen && reached.shows(applied, now, SHOWS_MAX) { Can::Answer } else { Can::No };
            }
            self.shared.hurry();
            let _ = tokio::time::timeout(LOOK, rounds.changed()).await;
        }
    }

    /// Reads from the catalog; `None` if that fails, or not in time.
    async fn read<T: Send + 'static>(
        &self,
        deadline: Instant,
        read: impl FnOnce(&Catalog) -> Result<T, CatalogError> + Send + 'static,
    ) -> Option<T> {
        let before = self.shared.losses();
        let catalog = self.shared.catalog.read().clone()?;
        let catalog = catalog.until(deadline);
        match self.reads.run(deadline, move || read(&catalog)).await? {
            Ok(value) => Some(value),
            Err(error @ (CatalogError::Request(_) | CatalogError::OutOfTime)) => {
                tracing::debug!(%error, "a list cannot be answered");
                None
            }
            Err(error) => {
                tracing::warn!(%error, "the catalog cannot be read");
                // What was replaced meanwhile says nothing of what is there now.
                if error.is_damage() && self.shared.losses() == before {
                    self.shared.is_damaged(error.to_string());
                }
                None
            }
        }
    }

    /// The links of rows as their shards have them. Those that are gone are left out.
    async fn with_links(&self, rows: Vec<ListedRow>, more: bool, deadline: Instant) -> Option<NodePage> {
        if Instant::now() >= deadline {
            return None;
        }
        let groups = self.groups.clone();
        let reading = self.engine.spawn_blocking(move || views(&groups, rows, more));
        // The store has failed otherwise, which stops the process.
        reading.await.ok()?.ok()
    }
}

/// Takes out the shards for which `out` holds.
fn leave_out(shards: &mut Vec<ShardId>, mut out: impl FnMut(ShardId) -> bool) -> Vec<ShardId> {
    let (gone, left) = shards.iter().partition(|shard| out(**shard));
    *shards = left;
    gone
}

fn views(groups: &Groups, rows: Vec<ListedRow>, more: bool) -> Result<NodePage, StoreError> {
    let shards = groups.bootstrap().shards;
    let mut page = NodePage::default();
    let mut bytes = 0;
    let mut last = None;
    for ListedRow { position, key } in rows {
        if bytes >= PAGE_BYTES_MAX {
            page.more_behind = last;
            return Ok(page);
        }
        last = Some(position.clone());
        let Some(group) = groups.shard(key.shard(shards)) else { continue };
        let now = group.read_in_turn(|machine| machine.view_by_hash(key.hash()))?;
        let Some((link, counts)) = now.filter(|(link, _)| link.key == key) else { continue };
        bytes += bytes_of(&position, &link);
        page.rows.push((position, LinkView { link: (*link).clone(), counts }));
    }
    page.more_behind = last.filter(|_| more);
    Ok(page)
}

/// About the bytes that a row takes in an answer.
fn bytes_of(position: &ListPosition, link: &Link) -> usize {
    let place = match &position.value {
        SortValue::Number(_) => 0,
        SortValue::Text(text) => text.len(),
    };
    // The other fields are short, beside those that are counted in full.
    128 + place + link.spec.target.as_str().len() + link.spec.fields.bytes()
}

/// The tags of a catalog, as many as there may be.
fn all_tags(catalog: &Catalog, mut request: TagsRequest) -> Result<NodeTags, CatalogError> {
    let (mut all, mut bytes) = (NodeTags::default(), 0);
    loop {
        let page = catalog.tags(&request)?;
        request.after = page.tags.last().map(|tag| tag.folded.clone());
        all.more = !add_tags(&mut all.tags, &mut bytes, page.tags);
        if all.more || !page.more || request.after.is_none() {
            return Ok(all);
        }
    }
}

/// Adds tags to those that are there; returns whether there was room for all of them.
fn add_tags(all: &mut Vec<TagCount>, bytes: &mut usize, tags: Vec<TagCount>) -> bool {
    for tag in tags {
        // The lengths of both texts, and the number of links.
        *bytes += 16 + tag.tag.len() + tag.folded.len();
        if all.len() == TAGS_MAX || *bytes > TAGS_BYTES_MAX {
            return false;
        }
        all.push(tag);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(numbers: std::ops::Range<usize>, width: usize) -> Vec<TagCount> {
        let tag = |number| format!("{number:0width$}");
        numbers.map(|number| TagCount { tag: tag(number), folded: tag(number), links: 1 }).collect()
    }

    #[test]
    fn tags_for_which_there_is_no_room_are_left_out_and_that_is_told() {
        let (mut all, mut bytes) = (Vec::new(), 0);
        assert!(add_tags(&mut all, &mut bytes, tags(0..TAGS_MAX, 6)));
        assert!(add_tags(&mut all, &mut bytes, Vec::new()), "there are just as many as there may be");
        assert!(!add_tags(&mut all, &mut bytes, tags(TAGS_MAX..TAGS_MAX + 1, 6)));
        assert_eq!(all.len(), TAGS_MAX);
        // The longest there are: 64 characters of four bytes.
        let (mut all, mut bytes) = (Vec::new(), 0);
        assert!(!add_tags(&mut all, &mut bytes, tags(0..TAGS_MAX, 256)));
        let sent: usize = all.iter().map(|tag| tag.tag.len() + tag.folded.len() + 16).sum();
        assert!(sent <= TAGS_BYTES_MAX && sent > TAGS_BYTES_MAX - 600, "{sent}");
    }
}
