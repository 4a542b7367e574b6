//! Lists over all shards: which node answers for which shard, and how the pages of several nodes become one.
//!
//! Each shard is asked of one node that has all of its links in its catalog: this one if it can, otherwise the fewest others. What one cannot
//! answer is asked of the next that holds it. A shard for which nobody answers is named.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use parking_lot::Mutex;
use waypost_consensus::Groups;
use waypost_link_store::NodeCatalog;
use waypost_protocol::listing::{ListPosition, Matches, NodePage, NodeTags, PageRequest, TagCount};
use waypost_protocol::messages::LinkView;
use waypost_protocol::peer::{PeerError, Peers};
use waypost_protocol::peer_request::PeerRequest;
use waypost_protocol::{Domain, NodeId, ShardId};

use super::requests::{ListLinks, ListTags};
use crate::limits::{LIST_ANSWER_MAX, LIST_ROUNDS_MAX};

/// How long a node that did not answer in time is asked after all others.
const AVOIDED_FOR: Duration = Duration::from_secs(10);

/// A page of all shards.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// Its links.
    pub items: Vec<(ListPosition, LinkView)>,
    /// The next page begins behind this place; `None` = there is none. If no shard was answered for, it is the place behind which this one begins.
    pub next: Option<ListPosition>,
    /// How many links fit, if that was asked for.
    pub matches: Option<Matches>,
    /// Shards whose links are not in it.
    pub partial: BTreeSet<ShardId>,
}

impl Page {
    /// Adds what a round of questions behind `next` has found, up to `limit` links in all; returns whether another round may find more.
    ///
    /// A shard that the first round lacks is named, and the page goes on without it. A shard that only a later round lacks is in the page already:
    /// that round does not count, and the page ends before it.
    fn add(
        &mut self,
        is_first: bool,
        answers: Vec<NodePage>,
        missing: BTreeSet<ShardId>,
        descending: bool,
        limit: usize,
    ) -> bool {
        if !is_first && !missing.is_empty() {
            return false;
        }
        self.partial.extend(missing);
        if answers.is_empty() {
            return false;
        }
        for matches in answers.iter().filter_map(|answer| answer.matches) {
            self.matches = Some(self.matches.unwrap_or_default() + matches);
        }
        let (items, next) = merge(answers, descending, limit - self.items.len());
        self.items.extend(items);
        self.next = next;
        self.items.len() < limit && self.next.is_some()
    }
}

/// The tags of all shards.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AllTags {
    /// Each tag once, by its lower case.
    pub tags: Vec<TagCount>,
    /// There are more tags behind the last one.
    pub more: bool,
    /// Shards whose links are not counted.
    pub partial: BTreeSet<ShardId>,
}

/// A question about several shards, which the catalog of a node answers.
pub(super) trait AboutShards: PeerRequest {
    /// The same about other shards.
    fn about(&self, shards: Vec<ShardId>) -> Self;

    /// The answer of a node's own catalog.
    fn answered_by(self, catalog: &NodeCatalog, within: Duration) -> impl Future<Output = Self::Reply> + Send;

    /// The shards that an answer does not have.
    fn missing(reply: &Self::Reply) -> &[ShardId];

    /// The shard that no other node has either, if an answer says so.
    fn nobody_has(&self, reply: &Self::Reply) -> Option<ShardId>;
}

impl AboutShards for ListLinks {
    fn about(&self, shards: Vec<ShardId>) -> Self {
        Self { page: PageRequest { shards, ..self.page.clone() }, seen: self.seen }
    }

    async fn answered_by(self, catalog: &NodeCatalog, within: Duration) -> NodePage {
        catalog.page(self.page, self.seen, within).await
    }

    fn missing(reply: &NodePage) -> &[ShardId] {
        &reply.missing
    }

    fn nobody_has(&self, reply: &NodePage) -> Option<ShardId> {
        self.seen.map(|(shard, _)| shard).filter(|_| reply.unseen)
    }
}

impl AboutShards for ListTags {
    fn about(&self, shards: Vec<ShardId>) -> Self {
        Self { shards, ..self.clone() }
    }

    async fn answered_by(self, catalog: &NodeCatalog, within: Duration) -> NodeTags {
        catalog.tags(self.shards, self.domain, self.exclude_domains, within).await
    }

    fn missing(reply: &NodeTags) -> &[ShardId] {
        &reply.missing
    }

    fn nobody_has(&self, _: &NodeTags) -> Option<ShardId> {
        None
    }
}

/// Asks the nodes of the cluster for lists.
pub struct Lists {
    groups: Arc<Groups>,
    catalog: Arc<NodeCatalog>,
    peers: Arc<dyn Peers>,
    /// Nodes that did not answer in time, and when.
    silent: Mutex<BTreeMap<NodeId, Instant>>,
}

/// The nodes that may answer for each shard, and were not asked yet.
type Holders = BTreeMap<ShardId, Vec<NodeId>>;

impl Lists {
    /// With the node's own catalog, and the way to the others.
    pub fn new(groups: Arc<Groups>, catalog: Arc<NodeCatalog>, peers: Arc<dyn Peers>) -> Self {
        Self { groups, catalog, peers, silent: Mutex::default() }
    }

    /// A page of all shards. `request` names none; `seen` is as for [`NodeCatalog::page`].
    pub async fn page(&self, request: PageRequest, seen: Option<(ShardId, u64)>, within: Duration) -> Page {
        let deadline = Instant::now() + within;
        let (limit, descending, count) = (request.limit as usize, request.sort.descending, request.count);
        let mut page = Page { next: request.after.clone(), ..Page::default() };
        let mut question = ListLinks { page: request, seen };
        // Links that are gone since they were found leave room for others.
        for round in 0..LIST_ROUNDS_MAX {
            question.page.after = page.next.clone();
            question.page.limit = (limit - page.items.len()) as u32;
            question.page.count = count && round == 0;
            let (answers, missing) = self.ask_all(&question, &page.partial, deadline).await;
            let goes_on = page.add(round == 0, answers, missing, descending, limit);
            if !goes_on || Instant::now() >= deadline {
                break;
            }
        }
        if count {
            let matches = page.matches.get_or_insert_default();
            matches.is_minimum |= !page.partial.is_empty();
        }
        page
    }

    /// The tags of all shards.
    pub async fn tags(&self, domain: Option<Domain>, exclude_domains: Vec<Domain>, within: Duration) -> AllTags {
        let question = ListTags { shards: Vec::new(), domain, exclude_domains };
        let (answers, partial) = self.ask_all(&question, &BTreeSet::new(), Instant::now() + within).await;
        let (tags, more) = merge_tags(answers);
        AllTags { tags, more, partial }
    }

    /// Asks about all shards except those that are left out. Returns the answers that are about any shard, and the shards for which there is none.
    async fn ask_all<Q: AboutShards>(
        &self,
        question: &Q,
        without: &BTreeSet<ShardId>,
        deadline: Instant,
    ) -> (Vec<Q::Reply>, BTreeSet<ShardId>) {
        let mut open = self.holders(without);
        let (mut answers, mut partial) = (Vec::new(), BTreeSet::new());
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            open.retain(|shard, holders| {
                let can_be_asked = !holders.is_empty() && !left.is_zero();
                if !can_be_asked {
                    partial.insert(*shard);
                }
                can_be_asked
            });
            if open.is_empty() {
                return (answers, partial);
            }
            let asked = assign(&open, self.groups.node(), &self.avoided());
            let asking = asked.iter().map(|(node, shards)| self.ask(question, *node, shards.clone(), left));
            let told = join_all(asking).await;
            for ((node, shards), answer) in asked.iter().zip(told) {
                if let Some(shard) = answer.as_ref().and_then(|answer| question.nobody_has(answer)) {
                    open.insert(shard, Vec::new());
                }
                let mut has_any = false;
                for shard in shards {
                    if answer.as_ref().is_some_and(|answer| !Q::missing(answer).contains(shard)) {
                        open.remove(shard);
                        has_any = true;
                    } else if let Some(holders) = open.get_mut(shard) {
                        holders.retain(|holder| holder != node);
                    }
                }
                answers.extend(answer.filter(|_| has_any));
            }
        }
    }

    /// Asks one node; `None` if it does not answer.
    async fn ask<Q: AboutShards>(
        &self,
        question: &Q,
        node: NodeId,
        shards: Vec<ShardId>,
        left: Duration,
    ) -> Option<Q::Reply> {
        let (question, within) = (question.about(shards), left.min(LIST_ANSWER_MAX));
        if node == self.groups.node() {
            return Some(question.answered_by(&self.catalog, within).await);
        }
        match self.peers.ask(node, 0, &question, within).await {
            Ok(answer) => {
                self.silent.lock().remove(&node);
                Some(answer)
            }
            Err(error) => {
                tracing::debug!(%error, node = node.0, request = Q::NAME, "a node does not answer");
                if matches!(error, PeerError::Timeout | PeerError::Lost | PeerError::Unreachable(_)) {
                    self.silent.lock().insert(node, Instant::now());
                }
                None
            }
        }
    }

    /// The nodes that did not answer lately.
    fn avoided(&self) -> BTreeSet<NodeId> {
        let mut silent = self.silent.lock();
        silent.retain(|_, since| since.elapsed() < AVOIDED_FOR);
        silent.keys().copied().collect()
    }

    /// The nodes that hold each shard.
    fn holders(&self, without: &BTreeSet<ShardId>) -> Holders {
        let own = self.groups.node();
        let shards = (0..self.groups.bootstrap().shards).map(ShardId).filter(|shard| !without.contains(shard));
        self.groups.cluster().read(|machine| {
            let of = |shard: ShardId| {
                let placed = machine.state().placement.get(&(shard.0 + 1)).into_iter().flatten().copied();
                let others = placed.filter(|node| *node != own);
                let here = self.groups.shard(shard).is_some().then_some(own);
                (shard, here.into_iter().chain(others).collect())
            };
            shards.map(of).collect()
        })
    }
}

/// Which node is asked about which shards: this one about all that it can have, the others so that few are asked. Those to be avoided come last.
fn assign(open: &Holders, own: NodeId, avoided: &BTreeSet<NodeId>) -> BTreeMap<NodeId, Vec<ShardId>> {
    let mut left: Vec<(ShardId, &Vec<NodeId>)> = open.iter().map(|(shard, holders)| (*shard, holders)).collect();
    let mut assigned: BTreeMap<NodeId, Vec<ShardId>> = BTreeMap::new();
    loop {
        let mut shards_of: BTreeMap<NodeId, usize> = BTreeMap::new();
        left.iter().flat_map(|(_, holders)| holders.iter()).for_each(|node| *shards_of.entry(*node).or_default() += 1);
        // Among equals not the same one for all who ask.
        let rank = |(node, shards): &(NodeId, usize)| {
            let answers = !avoided.contains(node);
            (*node == own, answers, *shards, node.0 ^ own.0)
        };
        let Some((node, _)) = shards_of.into_iter().max_by_key(rank) else { return assigned };
        let (its, others): (Vec<_>, Vec<_>) = left.into_iter().partition(|(_, holders)| holders.contains(&node));
        assigned.insert(node, its.into_iter().map(|(shard, _)| shard).collect());
        left = others;
    }
}

/// Merges the pages of nodes into one of at most `limit` links. Returns it with the place behind which there may be more.
fn merge(
    pages: Vec<NodePage>,
    descending: bool,
    limit: usize,
) -> (Vec<(ListPosition, LinkView)>, Option<ListPosition>) {
    let order = |one: &ListPosition, other: &ListPosition| {
        if descending { other.cmp(one) } else { one.cmp(other) }
    };
    // Up to there it is known of each node what it has.
    let known = pages.iter().filter_map(|page| page.more_behind.clone()).min_by(|one, other| order(one, other));
    let mut items: Vec<(ListPosition, LinkView)> = pages.into_iter().flat_map(|page| page.rows).collect();
    items.sort_unstable_by(|(one, _), (other, _)| order(one, other));
    if let Some(known) = &known {
        items.retain(|(position, _)| order(position, known).is_le());
    }
    if items.len() > limit {
        items.truncate(limit);
        let last = items.last().map(|(position, _)| position.clone());
        return (items, last);
    }
    (items, known)
}

/// Adds up the tags of nodes. Each tag is written as one of its links writes it, the same one whichever node answers first. Returns them with whether there are
/// more: behind the last tag of a node that has more, nobody knows how many links a tag has.
fn merge_tags(answers: Vec<NodeTags>) -> (Vec<TagCount>, bool) {
    let last = |answer: &NodeTags| answer.tags.last().map(|tag| tag.folded.clone()).unwrap_or_default();
    let known = answers.iter().filter(|answer| answer.more).map(last).min();
    let mut all: BTreeMap<String, TagCount> = BTreeMap::new();
    for tag in answers.into_iter().flat_map(|answer| answer.tags) {
        match all.get_mut(&tag.folded) {
            Some(known) => {
                known.links += tag.links;
                if tag.tag < known.tag {
                    known.tag = tag.tag;
                }
            }
            None => drop(all.insert(tag.folded.clone(), tag)),
        }
    }
    if let Some(known) = &known {
        all.retain(|folded, _| folded <= known);
    }
    (all.into_values().collect(), known.is_some())
}

#[cfg(test)]
mod tests {
    use waypost_protocol::link::LinkCounts;
    use waypost_protocol::listing::SortValue;
    use waypost_protocol::{Code, KeyHash, Link, LinkKey, LinkSpec, Target, UnixMs};

    use super::*;

    fn position(value: u64, hash: u64) -> ListPosition {
        ListPosition { value: SortValue::Number(value), hash: KeyHash(hash) }
    }

    fn row(value: u64) -> (ListPosition, LinkView) {
        let link = Link {
            key: LinkKey::new(Code::parse_slug("code").unwrap()),
            spec: LinkSpec::to(Target::parse("https://example.com", &[], 8192).unwrap()),
            created_at: UnixMs(1),
            version: 1,
            written_at: 1,
            created_by: 0,
            generated: false,
        };
        (position(value, 7), LinkView { link, counts: LinkCounts::default() })
    }

    fn page(values: &[u64], more_behind: Option<u64>) -> NodePage {
        NodePage {
            rows: values.iter().copied().map(row).collect(),
            more_behind: more_behind.map(|value| position(value, 7)),
            ..NodePage::default()
        }
    }

    fn merged(pages: &[NodePage], descending: bool, limit: usize) -> (Vec<u64>, Option<u64>) {
        let number = |position: &ListPosition| match &position.value {
            SortValue::Number(number) => *number,
            SortValue::Text(_) => unreachable!("there are numbers only"),
        };
        let (items, next) = merge(pages.to_vec(), descending, limit);
        (items.iter().map(|(position, _)| number(position)).collect(), next.as_ref().map(number))
    }

    #[test]
    fn pages_become_one_in_the_order_of_the_list() {
        let pages = [page(&[1, 4, 9], None), page(&[2, 3], None), page(&[], None)];
        assert_eq!(merged(&pages, false, 10), (vec![1, 2, 3, 4, 9], None));
        assert_eq!(merged(&pages, false, 5), (vec![1, 2, 3, 4, 9], None));
        assert_eq!(merged(&pages, false, 3), (vec![1, 2, 3], Some(3)));
        let pages = [page(&[9, 4, 1], None), page(&[3, 2], None)];
        assert_eq!(merged(&pages, true, 4), (vec![9, 4, 3, 2], Some(2)));
        assert_eq!(merged(&[], true, 4), (vec![], None));
    }

    #[test]
    fn nothing_is_taken_from_behind_the_place_up_to_which_all_nodes_have_told_what_they_have() {
        // The first has more behind 4, which may come before 9.
        let pages = [page(&[1, 4], Some(4)), page(&[2, 9], None)];
        assert_eq!(merged(&pages, false, 10), (vec![1, 2, 4], Some(4)));
        // Its links up to 5 are all gone.
        let pages = [page(&[], Some(5)), page(&[2, 9], Some(9))];
        assert_eq!(merged(&pages, false, 10), (vec![2], Some(5)));
        let pages = [page(&[9, 4], Some(4)), page(&[8, 2], Some(2))];
        assert_eq!(merged(&pages, true, 10), (vec![9, 8, 4], Some(4)));
    }

    #[test]
    fn links_with_equal_values_are_ordered_by_their_hashes_in_the_direction_of_the_list() {
        let one = |hash| NodePage { rows: vec![(position(5, hash), row(5).1)], ..NodePage::default() };
        let hashes = |descending| {
            let (items, _) = merge(vec![one(1), one(3), one(2)], descending, 10);
            items.iter().map(|(position, _)| position.hash.0).collect::<Vec<_>>()
        };
        assert_eq!((hashes(false), hashes(true)), (vec![1, 2, 3], vec![3, 2, 1]));
    }

    #[test]
    fn a_later_round_that_lacks_a_shard_ends_the_page_before_it() {
        let missing = |shards: &[u32]| shards.iter().copied().map(ShardId).collect::<BTreeSet<_>>();
        let mut page = Page::default();
        let first = vec![self::page(&[1, 2], Some(4)), self::page(&[3], Some(9))];
        assert!(page.add(true, first, missing(&[7]), false, 10), "there is room, and there are more links");
        let before = page.clone();
        assert_eq!((page.items.len(), &page.next, &page.partial), (3, &Some(position(4, 7)), &missing(&[7])));
        assert!(!page.add(false, vec![self::page(&[9], None)], missing(&[1]), false, 10));
        assert_eq!(page, before, "the next page begins where this round did");
        assert!(!page.add(false, vec![], missing(&[0, 1]), false, 10));
        assert_eq!(page, before);
        assert!(!page.add(false, vec![self::page(&[5, 9], None)], missing(&[]), false, 10));
        assert_eq!((page.items.len(), &page.next, &page.partial), (5, &None, &missing(&[7])));
    }

    #[test]
    fn a_page_that_nobody_answers_stays_where_it_begins() {
        let all: BTreeSet<ShardId> = [ShardId(0), ShardId(1)].into();
        let mut page = Page { next: Some(position(4, 7)), ..Page::default() };
        assert!(!page.add(true, vec![], all.clone(), false, 10));
        assert_eq!(page, Page { next: Some(position(4, 7)), partial: all, ..Page::default() });
    }

    fn holders(of: &[(u32, &[u64])]) -> Holders {
        of.iter().map(|(shard, nodes)| (ShardId(*shard), nodes.iter().copied().map(NodeId).collect())).collect()
    }

    fn assigned(open: &Holders, own: u64, avoided: &[u64]) -> Vec<(u64, Vec<u32>)> {
        let avoided = avoided.iter().copied().map(NodeId).collect();
        let assigned = assign(open, NodeId(own), &avoided);
        assigned.into_iter().map(|(node, shards)| (node.0, shards.iter().map(|shard| shard.0).collect())).collect()
    }

    #[test]
    fn a_node_asks_itself_first_and_few_others() {
        let open = holders(&[(0, &[1, 2]), (1, &[2, 3]), (2, &[2, 3]), (3, &[3, 1]), (4, &[3, 4])]);
        assert_eq!(assigned(&open, 1, &[]), [(1, vec![0, 3]), (3, vec![1, 2, 4])]);
        assert_eq!(assigned(&open, 9, &[]), [(2, vec![0]), (3, vec![1, 2, 3, 4])].to_vec());
        assert_eq!(assigned(&Holders::new(), 1, &[]), []);
    }

    #[test]
    fn a_node_that_did_not_answer_is_asked_only_for_what_nobody_else_has() {
        let open = holders(&[(0, &[2, 3]), (1, &[2, 3]), (2, &[2])]);
        assert_eq!(assigned(&open, 9, &[2]), [(2, vec![2]), (3, vec![0, 1])]);
        assert_eq!(assigned(&open, 2, &[2]), [(2, vec![0, 1, 2])], "a node answers itself");
    }

    #[test]
    fn shards_of_which_no_holder_is_left_are_asked_of_nobody() {
        assert_eq!(assigned(&holders(&[(0, &[]), (1, &[2])]), 1, &[]), [(2, vec![1])]);
    }

    #[test]
    fn the_links_of_a_tag_are_added_up_however_it_is_written() {
        let tags = |tags: &[(&str, u64)]| NodeTags {
            tags: tags
                .iter()
                .map(|(tag, links)| TagCount { tag: (*tag).to_owned(), folded: tag.to_lowercase(), links: *links })
                .collect(),
            ..NodeTags::default()
        };
        let merged = |answers: Vec<NodeTags>| {
            let (all, more) = merge_tags(answers);
            (all.into_iter().map(|tag| (tag.tag, tag.links)).collect::<Vec<_>>(), more)
        };
        let pairs =
            |tags: &[(&str, u64)]| tags.iter().map(|(tag, links)| ((*tag).to_owned(), *links)).collect::<Vec<_>>();
        let both = [tags(&[("a", 2), ("sale", 1)]), tags(&[("Sale", 4), ("z", 1)])];
        assert_eq!(merged(both.to_vec()), (pairs(&[("a", 2), ("Sale", 5), ("z", 1)]), false));
        // The first may have links with "z", too.
        let [first, second] = both;
        let cut = NodeTags { more: true, ..first };
        assert_eq!(merged(vec![cut.clone(), second.clone()]), (pairs(&[("a", 2), ("Sale", 5)]), true));
        assert_eq!(
            merged(vec![cut, NodeTags { more: true, ..tags(&[("b", 1)]) }, second]),
            (pairs(&[("a", 2), ("b", 1)]), true)
        );
    }
}
