//! Sweeps: one change of all links that fit a filter, however many these are.
//!
//! A sweep walks the list of these links in the order of their creation, which no change alters. It holds no more than a page of them, and nothing of it is stored: whoever
//! drives it calls [`App::sweep_step`] until it ends, and may stop at any time. To go on, the same sweep is begun again. Links that it has changed either fit no longer, or are
//! found to be as they should be already, so it needs no memory of where it was (docs/adr/0026).
//!
//! Each link is changed only in the state in which it was found to fit. If somebody else has changed it meanwhile, it is read and judged again.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use waypost_catalog::Fits;
use waypost_protocol::listing::{LinkFilter, ListPosition, Matches, Sort, SortKey};
use waypost_protocol::messages::{Changed, DeleteLink, EditLink, LinkView};
use waypost_protocol::properties::{PropertyError, TAGS, Tags};
use waypost_protocol::{CallError, Link, LinkKey, LinkPatch, ServiceError, ShardId};

use super::bulk::{BULK_AT_ONCE_MAX, PAUSE, TRIES_MAX};
use super::list::{ListError, ListRequest};
use super::{App, ChangeError, Consistency, LinkEdit, Permission, Principal, ReadError};

/// The links of a page: they wait in memory for their turn.
const PAGE_LINKS: usize = 500;

/// A list may lack a link for this long after it was created or changed.
const LISTED_WITHIN: Duration = Duration::from_secs(1);

/// The order of creation, oldest first.
const ORDER: Sort = Sort { key: SortKey::CreatedAt, descending: false };

/// What is done with each link.
#[derive(Debug, Clone)]
pub enum SweepChange<'a> {
    /// It is edited.
    Edit {
        /// The changes of its fields; may be none.
        edit: LinkEdit<'a>,
        /// The changes of single tags, after those of `edit`.
        tags: TagEdit,
    },
    /// It is deleted.
    Delete,
}

/// Changes of single tags of a link.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TagEdit {
    /// A tag, compared without case, with the one that takes its place; `None` removes it.
    pub replace: Vec<(String, Option<String>)>,
    /// Tags that the link gets, unless it has them.
    pub add: Vec<String>,
}

impl TagEdit {
    fn is_empty(&self) -> bool {
        self.replace.is_empty() && self.add.is_empty()
    }

    /// The tags that a link has afterwards. If two would differ in case only, the first stays.
    ///
    /// # Errors
    /// If a link cannot have these tags.
    pub fn of(&self, tags: Option<&Tags>) -> Result<Option<Tags>, PropertyError> {
        let mut texts: Vec<&str> = Vec::new();
        for tag in tags.into_iter().flat_map(Tags::iter) {
            let folded = Tags::folded(tag);
            match self.replace.iter().find(|(old, _)| Tags::folded(old) == folded) {
                None => texts.push(tag),
                Some((_, new)) => texts.extend(new.as_deref()),
            }
        }
        texts.extend(self.add.iter().map(String::as_str));
        Tags::parse(&texts)
    }
}

/// What is done with each link, parsed and checked once.
#[derive(Debug)]
enum Change {
    Edit { patch: LinkPatch, tags: TagEdit },
    Delete,
}

impl Change {
    /// The changes of one link; `None` if it is as it should be already.
    fn patch(&self, link: &Link) -> Result<Option<LinkPatch>, PropertyError> {
        let Self::Edit { patch, tags } = self else { return Ok(None) };
        let mut patch = patch.clone();
        let mut spec = link.spec.clone();
        patch.apply(&mut spec);
        if !tags.is_empty() {
            TAGS.change(&mut patch.fields, tags.of(TAGS.of(&spec.fields).as_ref())?.as_ref());
            patch.apply(&mut spec);
        }
        Ok((spec != link.spec).then_some(patch))
    }
}

/// A sweep that is under way.
#[derive(Debug)]
pub struct Sweep {
    filter: LinkFilter,
    /// Judges by the same filter.
    fits: Fits,
    change: Change,
    /// The links of the current page whose turn has not come.
    page: std::vec::IntoIter<LinkView>,
    /// Behind which link the next page begins.
    after: Option<ListPosition>,
    /// The current walk has read its last page.
    walked: bool,
    /// When it began, if the links that no list shows yet are to be found, too: in a second walk.
    twice: Option<Instant>,
    matches: Option<Matches>,
    partial: BTreeSet<ShardId>,
}

impl Sweep {
    fn new(filter: LinkFilter, fits: Fits, change: Change) -> Self {
        Self {
            filter,
            fits,
            change,
            page: Vec::new().into_iter(),
            after: None,
            walked: false,
            twice: None,
            matches: None,
            partial: BTreeSet::new(),
        }
    }

    /// Also changes links that were created or edited so shortly before that no list shows them yet. The sweep then takes a second at least.
    #[must_use]
    pub(super) fn with_latest(mut self) -> Self {
        self.twice = Some(Instant::now());
        self
    }

    /// How many links fitted when it began; `None` before the first step.
    pub fn matches(&self) -> Option<Matches> {
        self.matches
    }

    /// The shards whose links it has not seen, or not all of them.
    pub fn partial(&self) -> impl Iterator<Item = ShardId> {
        self.partial.iter().copied()
    }
}

/// What a step has done.
#[derive(Debug, Default)]
pub struct SweepStep {
    /// Links that were changed: some dozens at most.
    pub changed: Vec<LinkKey>,
    /// Links that are as they should be already, or that do not fit any more.
    pub unchanged: u64,
    /// Links that were not changed, and why.
    pub failed: Vec<(LinkKey, ChangeError)>,
}

/// What became of one link.
enum Swept {
    Changed,
    Unchanged,
}

impl App {
    /// Begins a sweep. Nothing is changed yet. A filter that lets all links through is refused unless `all` says that they are meant: it is the
    /// filter as it is evaluated that counts, not what it was made of.
    ///
    /// # Errors
    /// See [`ChangeError`]. Only mistakes that concern every link are told here, such as a URL that is not a valid target.
    pub async fn sweep(
        &self,
        principal: &Principal,
        filter: LinkFilter,
        all: bool,
        change: SweepChange<'_>,
    ) -> Result<Sweep, ChangeError> {
        principal.require(Permission::WriteLinks)?;
        let fits = Fits::of(&filter)?;
        if fits.fits_all() && !all {
            return Err(ChangeError::AllLinks);
        }
        let change = match change {
            SweepChange::Delete => {
                self.writable()?;
                Change::Delete
            }
            SweepChange::Edit { edit, tags } => {
                let mut patch = self.patch_given(&edit)?;
                if patch.is_empty() && edit.password.is_none() && tags.is_empty() {
                    return Err(ChangeError::Nothing);
                }
                // They have to be tags, whatever other tags a link has.
                let given = tags.replace.iter().filter_map(|(_, new)| new.as_ref()).chain(&tags.add);
                let given = Tags::parse(&given.collect::<Vec<_>>()).map_err(ChangeError::Tags)?;
                let mut tagged = LinkPatch::default();
                TAGS.change(&mut tagged.fields, given.as_ref());
                self.supported(tagged.level())?;
                self.complete_patch(&mut patch, edit.password.as_ref()).await?;
                Change::Edit { patch, tags }
            }
        };
        Ok(Sweep::new(filter, fits, change))
    }

    /// Does the next links of a sweep, some dozens at the same time; `None` if there are no more.
    ///
    /// # Errors
    /// If the next links cannot be listed. The step may be tried again.
    pub async fn sweep_step(&self, principal: &Principal, sweep: &mut Sweep) -> Result<Option<SweepStep>, ListError> {
        principal.require(Permission::WriteLinks)?;
        if sweep.page.len() == 0 && !self.next_page(principal, sweep).await? {
            return Ok(None);
        }
        let views: Vec<LinkView> = sweep.page.by_ref().take(BULK_AT_ONCE_MAX).collect();
        let keys: Vec<LinkKey> = views.iter().map(|view| view.link.key.clone()).collect();
        let swept = join_all(views.into_iter().map(|view| self.sweep_link(principal, sweep, view))).await;
        let mut step = SweepStep::default();
        for (key, swept) in keys.into_iter().zip(swept) {
            match swept {
                Ok(Swept::Changed) => step.changed.push(key),
                Ok(Swept::Unchanged) => step.unchanged += 1,
                Err(error) => step.failed.push((key, error)),
            }
        }
        Ok(Some(step))
    }

    /// Reads the next page; returns whether there was one.
    async fn next_page(&self, principal: &Principal, sweep: &mut Sweep) -> Result<bool, ListError> {
        if sweep.walked {
            let Some(since) = sweep.twice.take() else { return Ok(false) };
            tokio::time::sleep(LISTED_WITHIN.saturating_sub(since.elapsed())).await;
            (sweep.after, sweep.walked) = (None, false);
            sweep.partial.clear();
        }
        let request = ListRequest {
            filter: sweep.filter.clone(),
            sort: ORDER,
            after: sweep.after.clone(),
            limit: PAGE_LINKS,
            count: sweep.matches.is_none(),
            seen: None,
        };
        let listed = self.list_links(principal, request).await?;
        if sweep.matches.is_none() {
            sweep.matches = listed.matches;
        }
        sweep.partial.extend(listed.partial);
        sweep.walked = listed.next.is_none();
        sweep.after = listed.next;
        let views: Vec<LinkView> = listed.items.into_iter().map(|(_, view)| view).collect();
        sweep.page = views.into_iter();
        Ok(true)
    }

    async fn sweep_link(&self, principal: &Principal, sweep: &Sweep, mut view: LinkView) -> Result<Swept, ChangeError> {
        for tries in 1..=TRIES_MAX {
            if !sweep.fits.fits(&view.link, view.counts, self.now()) {
                return Ok(Swept::Unchanged);
            }
            match self.sweep_once(principal, &sweep.change, &view.link).await {
                Ok(Some(swept)) => return Ok(swept),
                Ok(None) => {
                    let key = view.link.key.clone();
                    view = match self.read(key, Consistency::Strong).await {
                        Ok(view) => view,
                        Err(ReadError::NotFound) => return Ok(Swept::Unchanged),
                        Err(error) => return Err(error.into()),
                    };
                }
                Err(ChangeError::Call(CallError::Overloaded { .. })) if tries < TRIES_MAX => {
                    tokio::time::sleep(PAUSE * tries).await;
                }
                Err(error) => return Err(error),
            }
        }
        let busy = "the link is changed all the time; this request changed nothing of it".to_owned();
        Err(ServiceError::Unavailable(busy).into())
    }

    /// Changes a link in exactly this state; `None` if it has another one.
    async fn sweep_once(
        &self,
        principal: &Principal,
        change: &Change,
        link: &Link,
    ) -> Result<Option<Swept>, ChangeError> {
        let key = &link.key;
        let (shard, if_version) = (key.shard(self.shards), Some(link.link_version()));
        let changed = match change {
            Change::Delete => self.change(key, DeleteLink { shard, key: key.clone(), if_version }).await?,
            Change::Edit { .. } => {
                let patch = change.patch(link).map_err(ChangeError::Tags)?;
                let Some(patch) = patch else { return Ok(Some(Swept::Unchanged)) };
                let by = Some(principal.number());
                self.change(key, EditLink { shard, key: key.clone(), if_version, patch, by }).await?
            }
        };
        match changed {
            Changed::Edited(_) | Changed::Deleted => Ok(Some(Swept::Changed)),
            Changed::NotFound => Ok(Some(Swept::Unchanged)),
            Changed::VersionMismatch { .. } => Ok(None),
            Changed::Refused(reason) => Err(reason.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use waypost_protocol::properties::{DISABLED, Set};
    use waypost_protocol::{Code, FieldChanges, LinkSpec, Target, UnixMs};

    use super::*;

    fn link(tags: &[&str]) -> Link {
        let mut spec = LinkSpec::to(Target::parse("https://example.com/a", &[], 8192).unwrap());
        let mut changes = FieldChanges::default();
        TAGS.change(&mut changes, Tags::parse(tags).unwrap().as_ref());
        spec.fields.change(&changes);
        let key = LinkKey::new(Code::parse_slug("abc").unwrap());
        Link { key, spec, created_at: UnixMs(1), version: 1, written_at: 1, created_by: 0, generated: false }
    }

    fn texts(tags: &[&str]) -> Vec<String> {
        tags.iter().map(|tag| (*tag).to_owned()).collect()
    }

    /// The tags that a link has after a change; `None` = nothing is to be changed.
    fn tagged(before: &[&str], tags: TagEdit) -> Option<Vec<String>> {
        let mut link = link(before);
        let change = Change::Edit { patch: LinkPatch::default(), tags };
        change.patch(&link).unwrap()?.apply(&mut link.spec);
        Some(TAGS.of(&link.spec.fields).map(|tags| tags.iter().map(str::to_owned).collect()).unwrap_or_default())
    }

    #[test]
    fn a_tag_is_renamed_where_it_stands_and_two_that_become_one_are_merged() {
        let rename = |before: &[&str], from: &str, to: &str| {
            tagged(before, TagEdit { replace: vec![(from.to_owned(), Some(to.to_owned()))], ..TagEdit::default() })
        };
        assert_eq!(rename(&["x", "Sale", "y"], "sale", "Spring"), Some(texts(&["x", "Spring", "y"])));
        assert_eq!(rename(&["x", "sale", "SPRING"], "sale", "x"), Some(texts(&["x", "SPRING"])));
        assert_eq!(rename(&["spring", "sale"], "sale", "Spring"), Some(texts(&["spring"])));
        assert_eq!(rename(&["sale"], "sale", "SALE"), Some(texts(&["SALE"])));
        assert_eq!(rename(&["SALE"], "sale", "SALE"), None);
        assert_eq!(rename(&["x"], "sale", "spring"), None);
    }

    #[test]
    fn tags_are_removed_and_added_and_all_others_stay() {
        let of = |before: &[&str], gone: &[&str], add: &[&str]| {
            tagged(
                before,
                TagEdit { replace: texts(gone).into_iter().map(|tag| (tag, None)).collect(), add: texts(add) },
            )
        };
        assert_eq!(of(&["a", "B"], &["b"], &[]), Some(texts(&["a"])));
        assert_eq!(of(&["a"], &["A"], &[]), Some(vec![]));
        assert_eq!(of(&["a"], &["a"], &["c", "d"]), Some(texts(&["c", "d"])));
        assert_eq!(of(&["a"], &["x"], &["A"]), None);
        assert_eq!(of(&[], &[], &["a"]), Some(texts(&["a"])));
        let full: Vec<String> = (0..32).map(|n| n.to_string()).collect();
        let full = link(&full.iter().map(String::as_str).collect::<Vec<_>>());
        let change =
            Change::Edit { patch: LinkPatch::default(), tags: TagEdit { add: texts(&["a"]), ..TagEdit::default() } };
        assert_eq!(change.patch(&full), Err(PropertyError::TooManyTags));
    }

    #[test]
    fn a_link_that_is_as_it_should_be_is_left_alone_so_that_a_sweep_can_be_repeated() {
        let mut patch = LinkPatch::default();
        DISABLED.change(&mut patch.fields, Some(&Set));
        let change = Change::Edit { patch, tags: TagEdit { add: texts(&["a"]), ..TagEdit::default() } };
        let mut link = link(&["b"]);
        let patch = change.patch(&link).unwrap().unwrap();
        patch.apply(&mut link.spec);
        assert!(DISABLED.is_in(&link.spec.fields));
        assert_eq!(change.patch(&link), Ok(None));
    }
}
