//! The history of a link: its former targets, who changed what, and the way back.

use waypost_protocol::fields::Tag;
use waypost_protocol::messages::{Changed, EditLink, GetHistory, LinkHistory};
use waypost_protocol::{CallError, Level, Link, LinkKey, LinkPatch, OwnHost, ServiceError, Target, UnixMs};

use super::link_errors::ChangeError;
use super::{App, Author, Denied, Guard, LinkName, Permission, Principal};

/// How often a restore begins again because the link was changed between its read and its write. Each time somebody else has succeeded.
const TRIES_MAX: usize = 8;

/// What one edit made of a link, or how the link was before the first one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// The version of the link that the edit made.
    pub version: u32,
    /// The target of the link since then.
    pub target: Target,
    /// When it was made; `None` = nobody knows any more.
    pub at: Option<UnixMs>,
    /// Who made it; `None` = nobody knows any more.
    pub by: Option<Author>,
    /// Whether it changed the target.
    pub target_changed: bool,
    /// The tags of the other fields that it changed.
    pub changed: Vec<Tag>,
}

/// Why a history was not shown, or a target not restored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// As for an edit.
    #[error(transparent)]
    Link(#[from] ChangeError),
    /// The history of the link has no such entry, or not any more.
    #[error("the history has no such entry")]
    NoEntry,
}

impl From<Denied> for HistoryError {
    fn from(denied: Denied) -> Self {
        Self::Link(denied.into())
    }
}

impl From<CallError> for HistoryError {
    fn from(error: CallError) -> Self {
        Self::Link(error.into())
    }
}

impl App {
    /// The history of a link, newest first. It is never empty: a link that was never edited has the entry of its creation.
    ///
    /// # Errors
    /// See [`HistoryError`].
    pub async fn history(&self, principal: &Principal, name: LinkName<'_>) -> Result<Vec<Revision>, HistoryError> {
        principal.require(Permission::ReadLinks)?;
        let key = self.key_of(name).map_err(ChangeError::from)?.ok_or(ChangeError::NotFound)?;
        let LinkHistory { link, history } = self.read_history(&key).await?;
        let history = history.or_first(&link);
        let first = history.entries().first().map(|entry| entry.version);
        let mut revisions: Vec<Revision> = history
            .targets()
            .map(|(entry, target)| Revision {
                version: entry.version,
                target: target.clone(),
                at: entry.at,
                by: entry.by.map(Author::of),
                target_changed: entry.target.is_some() && Some(entry.version) != first,
                changed: entry.changed.clone(),
            })
            .collect();
        revisions.reverse();
        Ok(revisions)
    }

    /// Lets a link lead where it led after the edit that made `version`; returns the link. That is an edit like any other. If the link
    /// leads there already, nothing is changed.
    ///
    /// # Errors
    /// See [`HistoryError`]. After a [`CallError`] with an unknown outcome the link may have been changed.
    pub async fn restore_target(
        &self,
        principal: &Principal,
        name: LinkName<'_>,
        version: u32,
        guard: &Guard,
        own_hosts: &[OwnHost],
    ) -> Result<Link, HistoryError> {
        principal.require(Permission::WriteLinks)?;
        self.writable().map_err(ChangeError::from)?;
        let key = self.key_of(name).map_err(ChangeError::from)?.ok_or(ChangeError::NotFound)?;
        for _ in 0..TRIES_MAX {
            let LinkHistory { link, history } = self.read_history(&key).await?;
            let current = link.link_version();
            if let Guard::OneOf(versions) = guard
                && !versions.contains(&current)
            {
                return Err(ChangeError::VersionMismatch { current }.into());
            }
            let history = history.or_first(&link);
            let target = history.target_at(version).ok_or(HistoryError::NoEntry)?;
            // The hosts of this server may have become others since.
            let target =
                Target::parse(target.as_str(), own_hosts, self.parts.url_max_bytes).map_err(ChangeError::Url)?;
            if target == link.spec.target {
                return Ok(link);
            }
            let message = EditLink {
                shard: key.shard(self.shards),
                key: key.clone(),
                if_version: Some(current),
                patch: LinkPatch { target: Some(target), ..LinkPatch::default() },
                by: Some(principal.number()),
            };
            match self.change(&key, message).await? {
                Changed::Edited(link) => return Ok(*link),
                Changed::Refused(reason) => return Err(ChangeError::from(reason).into()),
                Changed::VersionMismatch { .. } => {}
                Changed::NotFound | Changed::Deleted => return Err(ChangeError::NotFound.into()),
            }
        }
        let busy = "the link is changed all the time; this request changed nothing".to_owned();
        Err(ChangeError::from(ServiceError::Unavailable(busy)).into())
    }

    /// The link and its history, as the leader of the shard knows them.
    async fn read_history(&self, key: &LinkKey) -> Result<LinkHistory, HistoryError> {
        self.supported(Level::THREE).map_err(ChangeError::from)?;
        let message = GetHistory { shard: key.shard(self.shards), key: key.clone() };
        Ok(self.parts.links.call(message, self.parts.timeout).await?.ok_or(ChangeError::NotFound)?)
    }
}
