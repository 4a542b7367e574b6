//! Lists of links, and of tags: from the catalogs of the nodes, over all shards.

use std::time::Duration;

use waypost_protocol::listing::{LinkFilter, ListPosition, Matches, PAGE_LINKS_MAX, PageRequest, Sort, TagCount};
use waypost_protocol::messages::LinkView;
use waypost_protocol::{CallError, Domain, LinkKey, LinkVersion, ServiceError, ShardId};

use super::{App, Denied, Permission, Principal};
use crate::cluster::{AllTags, Page};
use crate::limits::LIST_MARGIN;

/// Asks for a page of a list.
#[derive(Debug, Clone)]
pub struct ListRequest {
    /// Which links. Those of domains that were removed are left out, whatever it says of domains.
    pub filter: LinkFilter,
    /// In which order.
    pub sort: Sort,
    /// It begins behind this place; `None` = at the first.
    pub after: Option<ListPosition>,
    /// How many links it has at most; [`PAGE_LINKS_MAX`] is the most.
    pub limit: usize,
    /// Whether all links that fit are counted.
    pub count: bool,
    /// A link as the caller has seen it: the page is not older. It waits for that, two seconds at most. A state that no link can have had is not waited for:
    /// its shard is missing then.
    pub seen: Option<(LinkKey, LinkVersion)>,
}

/// A page of a list.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Its links, as their shards have them, each with its place. Short of the limit there may be more all the same: `next` tells.
    pub items: Vec<(ListPosition, LinkView)>,
    /// The next page begins behind this place; `None` = there is none.
    pub next: Option<ListPosition>,
    /// How many links fit, if that was asked for. Without some shards it is a minimum.
    pub matches: Option<Matches>,
    /// Shards of which no node could answer. Their links are not in it.
    pub partial: Vec<ShardId>,
}

/// All tags.
#[derive(Debug, Clone)]
pub struct ListedTags {
    /// Each tag once, by its lower case.
    pub tags: Vec<TagCount>,
    /// There are more tags than a list has: those behind the last one are left out.
    pub more: bool,
    /// Shards of which no node could answer. Their links are not counted.
    pub partial: Vec<ShardId>,
}

/// Why there is no list.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ListError {
    /// The principal has no permission.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The node has as many lists to make as it may have, or a walk cannot go on.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl App {
    /// A page of the links that fit a filter. Whoever goes on behind `next`, page by page, gets each link that was there throughout once.
    ///
    /// # Errors
    /// See [`ListError`]. That shards cannot be reached is no error: the page says so. But a walk cannot go on behind a page if none can be reached.
    pub async fn list_links(&self, principal: &Principal, request: ListRequest) -> Result<Listed, ListError> {
        principal.require(Permission::ReadLinks)?;
        let _turn = self.list_turn()?;
        let ListRequest { mut filter, sort, after, limit, count, seen } = request;
        filter.exclude_domains = self.removed_domains();
        let limit = limit.clamp(1, PAGE_LINKS_MAX) as u32;
        let goes_on = after.is_some();
        let page = PageRequest { shards: Vec::new(), filter, sort, after, limit, now: self.now(), count };
        let seen = seen.map(|(key, version)| (key.shard(self.shards), version.written_at));
        let Page { items, next, matches, partial } = self.parts.lists.page(page, seen, self.list_time()).await;
        if goes_on && partial.len() >= self.shards as usize {
            let nobody = "no node could answer for any shard; ask for the same page again".to_owned();
            return Err(CallError::from(ServiceError::Unavailable(nobody)).into());
        }
        Ok(Listed { items, next, matches, partial: partial.into_iter().collect() })
    }

    /// All tags of the links, or of those of a domain.
    ///
    /// # Errors
    /// See [`ListError`].
    pub async fn list_tags(&self, principal: &Principal, domain: Option<Domain>) -> Result<ListedTags, ListError> {
        principal.require(Permission::ReadLinks)?;
        let _turn = self.list_turn()?;
        let AllTags { tags, more, partial } =
            self.parts.lists.tags(domain, self.removed_domains(), self.list_time()).await;
        Ok(ListedTags { tags, more, partial: partial.into_iter().collect() })
    }

    /// The right to make a list.
    fn list_turn(&self) -> Result<tokio::sync::SemaphorePermit<'_>, CallError> {
        self.list_turns.try_acquire().map_err(|_| CallError::Overloaded { service: "lists" })
    }

    /// How long a list may take. What is there by then is answered.
    fn list_time(&self) -> Duration {
        self.parts.timeout.saturating_sub(LIST_MARGIN).max(self.parts.timeout / 2)
    }

    fn removed_domains(&self) -> Vec<Domain> {
        self.all_domains().removed().collect()
    }
}
