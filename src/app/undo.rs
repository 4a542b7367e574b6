//! Deletes a link for a while, and brings it back.
//!
//! What identifies a deletion carries the link itself, sealed, so that each node can bring it back. A link that is too large for that is kept by the node that has deleted it alone.

use waypost_protocol::messages::{CreateLink, Created};
use waypost_protocol::{CallError, Link, LinkKey, LinkSpec, LinkVersion, UnixMs, codec};

use super::deleted::{Deletion, Kept};
use super::link_errors::{ChangeError, CreateError, ReadError, Taken};
use super::{App, Consistency, Denied, Guard, LinkName, Permission, Principal};
use crate::limits::DELETED_MS;

/// Random bytes that identify a deletion: nobody guesses them.
const TOKEN_BYTES: usize = 16;

/// The longest token that carries a link, in bytes: it is a part of an address, for which proxies have 8 KiB.
const CARRIED_BYTES_MAX: usize = 4096;

/// Why a link does not come back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UndoError {
    /// Its deletion is too long ago; or the link is too large to be carried, and was deleted through another node, or other deletions have taken its place.
    #[error("this node does not know the deletion, or not any more")]
    Gone,
    /// As for a new link. `SlugTaken` if another link has its code now.
    #[error(transparent)]
    Link(#[from] CreateError),
}

impl From<Denied> for UndoError {
    fn from(denied: Denied) -> Self {
        Self::Link(denied.into())
    }
}

impl From<CallError> for UndoError {
    fn from(error: CallError) -> Self {
        Self::Link(error.into())
    }
}

impl App {
    /// Deletes a link, and keeps it for a while, so that [`App::undo_delete`] can bring it back; returns what identifies the deletion. Asked for the
    /// same deletion again, it returns the same.
    ///
    /// # Errors
    /// See [`ChangeError`]. After a [`CallError`] with an unknown outcome the link may have been deleted; it is kept, and asking again tells.
    pub async fn delete_for_a_while(
        &self,
        principal: &Principal,
        name: LinkName<'_>,
        guard: Guard,
    ) -> Result<String, ChangeError> {
        principal.require(Permission::WriteLinks)?;
        let key = self.key_of(name)?.ok_or(ChangeError::NotFound)?;
        let known = |key: &LinkKey, versions: &[LinkVersion]| self.deleted.token_of(key, versions, self.now());
        let link = match (self.read(key.clone(), Consistency::Strong).await, &guard) {
            (Ok(view), _) => view.link,
            // The same form was sent before.
            (Err(ReadError::NotFound), Guard::OneOf(versions)) => {
                return known(&key, versions).ok_or(ChangeError::NotFound);
            }
            (Err(error), _) => return Err(error.into()),
        };
        let current = link.link_version();
        if let Guard::OneOf(versions) = &guard
            && !versions.contains(&current)
        {
            return Err(ChangeError::VersionMismatch { current });
        }
        let token = self.carried(&link.key, &link.spec).unwrap_or_else(|| {
            let random: [u8; TOKEN_BYTES] = rand::random();
            random.iter().map(|byte| format!("{byte:02x}")).collect()
        });
        // It is kept first: nobody may hear of the outcome. What is kept is what is deleted.
        self.deleted.keep(token.clone(), link.key, current, link.spec, self.now());
        match self.delete_link(principal, name, Guard::OneOf(vec![current])).await {
            Ok(()) => Ok(token),
            // The same form, sent twice, or this request, which has reached the shard twice, has deleted it since it was read.
            Err(ChangeError::NotFound) => {
                let first = known(&key, &[current]).ok_or(ChangeError::NotFound)?;
                if first != token {
                    self.deleted.forget(&token);
                }
                Ok(first)
            }
            Err(error) => {
                if !matches!(&error, ChangeError::Call(error) if error.outcome_unknown()) {
                    self.deleted.forget(&token);
                }
                Err(error)
            }
        }
    }

    /// A token that carries a link; `None` if it is too large.
    fn carried(&self, key: &LinkKey, spec: &LinkSpec) -> Option<String> {
        let until = self.now().0.saturating_add(DELETED_MS);
        let link = codec::encode(&self.creation_again(key, spec, 0));
        let token = self.parts.sessions.seal.seal(&[&until.to_be_bytes()[..], &link].concat());
        (token.len() <= CARRIED_BYTES_MAX).then_some(token)
    }

    /// A deletion that this node knows, or that its token carries.
    fn known_deletion(&self, token: &str) -> Option<Kept> {
        let now = self.now();
        self.deleted.of(token, now).or_else(|| {
            let text = self.parts.sessions.seal.open(token).filter(|_| token.len() <= CARRIED_BYTES_MAX)?;
            let (until, link) = text.split_first_chunk()?;
            let until = UnixMs(u64::from_be_bytes(*until));
            let CreateLink { slug, spec, domain, .. } = codec::decode(link).ok()?;
            let key = LinkKey { domain, code: slug? };
            (until > now).then(|| Kept::carried(token.to_owned(), until, key, spec))
        })
    }

    /// What creates a deleted link again.
    fn creation_again(&self, key: &LinkKey, spec: &LinkSpec, created_by: u32) -> CreateLink {
        CreateLink {
            shard: key.shard(self.shards),
            slug: Some(key.code.clone()),
            spec: spec.clone(),
            find_existing: false,
            created_by,
            idempotency: None,
            domain: key.domain,
        }
    }

    /// A deletion that can be taken back.
    ///
    /// # Errors
    /// See [`UndoError`].
    pub fn deletion(&self, principal: &Principal, token: &str) -> Result<Deletion, UndoError> {
        principal.require(Permission::WriteLinks)?;
        let kept = self.known_deletion(token).filter(|kept| !kept.is_back);
        let Kept { until, key, spec, .. } = kept.ok_or(UndoError::Gone)?;
        Ok(Deletion { token: token.to_owned(), key, target: spec.target, until })
    }

    /// Creates a deleted link again, with the same code and all of its properties, also with an end that has passed. The code counts as one that was asked
    /// for, so find-existing does not find the link any more. If it is back already, as it was, this is a success as well.
    ///
    /// # Errors
    /// See [`UndoError`]. After a [`CallError`] with an unknown outcome the link may exist.
    pub async fn undo_delete(&self, principal: &Principal, token: &str) -> Result<Link, UndoError> {
        principal.require(Permission::WriteLinks)?;
        let Kept { key, spec, is_back, .. } = self.known_deletion(token).ok_or(UndoError::Gone)?;
        if is_back {
            // The same form, sent twice. What happened to the link after that is not to be undone.
            return self.as_it_was(&key, &spec).await.map_err(|_| UndoError::Gone);
        }
        self.writable().map_err(CreateError::from)?;
        self.supported(spec.level()).map_err(CreateError::from)?;
        let message = self.creation_again(&key, &spec, principal.number());
        match self.send_creation(message).await? {
            Created::New(link) | Created::Existing(link) => {
                self.deleted.came_back(token);
                Ok(*link)
            }
            Created::SlugTaken | Created::IdempotencyMismatch => {
                let link = self.as_it_was(&key, &spec).await;
                let link = link.map_err(|by| CreateError::SlugTaken { key, by })?;
                self.deleted.came_back(token);
                Ok(link)
            }
        }
    }

    /// The link that has a code, if it is as `spec` has it; else by which link the code is taken.
    async fn as_it_was(&self, key: &LinkKey, spec: &LinkSpec) -> Result<Link, Taken> {
        let link = self.read(key.clone(), Consistency::Strong).await.map_err(|_| Taken::Other)?.link;
        match Taken::by(&link.spec, spec) {
            Taken::Same => Ok(link),
            by => Err(by),
        }
    }
}
