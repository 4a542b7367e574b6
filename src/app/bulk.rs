//! Many changes of links in one request.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;
use waypost_protocol::{CallError, Code, Link};

use super::{
    App, ChangeError, Condition, CreateError, CreatedLink, Guard, LinkEdit, LinkName, NewLink, Principal, PutError,
    PutLink,
};

/// The most changes of one request that are made at the same time: they share syncs, and leave most permits of the shards to others.
pub const BULK_AT_ONCE_MAX: usize = 64;

/// How often a change is tried again that a shard refused because it had no permit left.
pub(super) const TRIES_MAX: u32 = 8;

/// The first pause before another try; each is longer by as much.
pub(super) const PAUSE: Duration = Duration::from_millis(10);

/// One of many changes.
#[derive(Debug, Clone)]
pub enum BulkChange<'a> {
    /// Creates a link.
    Create(NewLink<'a>),
    /// Creates the link of a code, or replaces it.
    Put {
        /// The link.
        name: LinkName<'a>,
        /// The link.
        new: NewLink<'a>,
        /// What it requires.
        condition: Condition,
    },
    /// Changes a link.
    Edit {
        /// The link.
        name: LinkName<'a>,
        /// The changes.
        edit: LinkEdit<'a>,
        /// What it requires.
        guard: Guard,
    },
    /// Deletes a link.
    Delete {
        /// The link.
        name: LinkName<'a>,
        /// What it requires.
        guard: Guard,
    },
}

impl BulkChange<'_> {
    /// The code that it names.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Create(new) => new.slug,
            Self::Put { name, .. } | Self::Edit { name, .. } | Self::Delete { name, .. } => Some(name.code),
        }
    }
}

/// What a change did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BulkDone {
    /// Created the link, now or when the request was first sent.
    Created(Link),
    /// The link is like this now: it was found, edited, or replaced.
    Is(Link),
    /// Deleted the link.
    Deleted,
}

/// Why a change was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BulkError {
    /// Not created.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// Not put.
    #[error(transparent)]
    Put(#[from] PutError),
    /// Not edited, or not deleted.
    #[error(transparent)]
    Change(#[from] ChangeError),
}

impl BulkError {
    /// Whether nothing was done, and another try may succeed in a moment.
    fn is_overload(&self) -> bool {
        let (Self::Create(CreateError::Call(error))
        | Self::Put(PutError::Link(CreateError::Call(error)))
        | Self::Change(ChangeError::Call(error))) = self
        else {
            return false;
        };
        matches!(error, CallError::Overloaded { .. })
    }
}

impl App {
    /// Makes changes, each with its index in the whole request. Those of one code are made one after the other; of all others the order
    /// is not defined. `key` is the idempotency key of the whole request: the same create of the same request creates nothing again. A create may have one of its own instead.
    /// Returns a result for each change, in their order.
    pub async fn bulk(
        &self,
        principal: &Principal,
        changes: Vec<(u64, BulkChange<'_>)>,
        key: Option<&str>,
    ) -> Vec<Result<BulkDone, BulkError>> {
        let mut results = Vec::with_capacity(changes.len());
        let mut rest = changes.as_slice();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(together(rest));
            results
                .extend(join_all(now.iter().map(|(part, change)| self.bulk_one(principal, *part, change, key))).await);
            rest = later;
        }
        results
    }

    async fn bulk_one(
        &self,
        principal: &Principal,
        part: u64,
        change: &BulkChange<'_>,
        key: Option<&str>,
    ) -> Result<BulkDone, BulkError> {
        let mut tries = 1;
        loop {
            let done = self.bulk_once(principal, part, change.clone(), key).await;
            if tries == TRIES_MAX || !done.as_ref().is_err_and(BulkError::is_overload) {
                return done;
            }
            tokio::time::sleep(PAUSE * tries).await;
            tries += 1;
        }
    }

    async fn bulk_once<'a>(
        &self,
        principal: &Principal,
        part: u64,
        change: BulkChange<'a>,
        key: Option<&'a str>,
    ) -> Result<BulkDone, BulkError> {
        Ok(match change {
            BulkChange::Create(new) => {
                // An item with a key of its own is what it would be alone.
                let (new, part) = match new.idempotency_key {
                    Some(_) => (new, None),
                    None => (NewLink { idempotency_key: key, ..new }, Some(part)),
                };
                match self.create_part(principal, new, part).await? {
                    CreatedLink::New(link) => BulkDone::Created(link),
                    CreatedLink::Existing(link) => BulkDone::Is(link),
                }
            }
            BulkChange::Put { name, new, condition } => match self.put_link(principal, name, new, &condition).await? {
                PutLink::Created(link) => BulkDone::Created(link),
                PutLink::Replaced(link) => BulkDone::Is(link),
            },
            BulkChange::Edit { name, edit, guard } => BulkDone::Is(self.edit_link(principal, name, edit, guard).await?),
            BulkChange::Delete { name, guard } => {
                self.delete_link(principal, name, guard).await?;
                BulkDone::Deleted
            }
        })
    }
}

/// How many of the first changes can be made at the same time: they name different codes, whatever their domains are, also without case.
fn together(changes: &[(u64, BulkChange<'_>)]) -> usize {
    let mut codes = HashSet::new();
    let first = changes.iter().take(BULK_AT_ONCE_MAX);
    first.take_while(|(_, change)| change.code().is_none_or(|code| codes.insert(spelling(code)))).count()
}

/// A code in the spelling in which every domain takes it for the same.
fn spelling(code: &str) -> String {
    Code::from_segments(code).map_or_else(|| code.to_owned(), |code| code.folded().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_one_code_are_not_made_at_the_same_time() {
        let delete = |code| (0, BulkChange::Delete { name: LinkName { domain: None, code }, guard: Guard::Any });
        let create = || (0, BulkChange::Create(NewLink::default()));
        assert_eq!(together(&[]), 0);
        assert_eq!(together(&[delete("a"), create(), create(), delete("b"), delete("A"), delete("c")]), 4);
        assert_eq!(together(&[delete("mu\u{308}"), delete("MÜ")]), 1);
        assert_eq!(together(&[delete("docs/a"), delete("docs/b"), delete("Docs/A")]), 2);
        assert_eq!(together(&vec![create(); 1000]), BULK_AT_ONCE_MAX);
    }
}
