//! Deletes a link for a while, and brings it back.

use waypost_protocol::messages::{CreateLink, Created};
use waypost_protocol::{CallError, Link};

use super::deleted::{Deletion, Kept};
use super::link_errors::{ChangeError, CreateError, Taken};
use super::{App, Consistency, Denied, Guard, LinkName, Permission, Principal};

/// Random bytes that identify a deletion: nobody guesses them.
const TOKEN_BYTES: usize = 16;

/// Why a link does not come back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UndoError {
    /// Its deletion is too long ago, or was made through another node, or other deletions have taken its place.
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
    /// Deletes a link, and keeps it for a while, so that [`App::undo_delete`] can bring it back; returns what identifies the deletion.
    ///
    /// # Errors
    /// See [`ChangeError`]. After a [`CallError`] with an unknown outcome the link may have been deleted.
    pub async fn delete_for_a_while(
        &self,
        principal: &Principal,
        name: LinkName<'_>,
        guard: Guard,
    ) -> Result<String, ChangeError> {
        principal.require(Permission::WriteLinks)?;
        let key = self.key_of(name)?.ok_or(ChangeError::NotFound)?;
        let link = self.read(key, Consistency::Strong).await?.link;
        let current = link.link_version();
        if let Guard::OneOf(versions) = &guard
            && !versions.contains(&current)
        {
            return Err(ChangeError::VersionMismatch { current });
        }
        // What is kept is what is deleted.
        self.delete_link(principal, name, Guard::OneOf(vec![current])).await?;
        let random: [u8; TOKEN_BYTES] = rand::random();
        let token: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        self.deleted.keep(token.clone(), link.key, link.spec, self.now());
        Ok(token)
    }

    /// A deletion that can be taken back.
    ///
    /// # Errors
    /// See [`UndoError`].
    pub fn deletion(&self, principal: &Principal, token: &str) -> Result<Deletion, UndoError> {
        principal.require(Permission::WriteLinks)?;
        let Kept { until, key, spec, .. } = self.deleted.of(token, self.now()).ok_or(UndoError::Gone)?;
        Ok(Deletion { token: token.to_owned(), key, target: spec.target, until })
    }

    /// Creates a deleted link again, with the same code and all of its properties, also with an end that has passed. The code counts as one that was asked
    /// for, so find-existing does not find the link any more.
    ///
    /// # Errors
    /// See [`UndoError`]. After a [`CallError`] with an unknown outcome the link may exist.
    pub async fn undo_delete(&self, principal: &Principal, token: &str) -> Result<Link, UndoError> {
        principal.require(Permission::WriteLinks)?;
        let Kept { key, spec, .. } = self.deleted.of(token, self.now()).ok_or(UndoError::Gone)?;
        self.writable().map_err(CreateError::from)?;
        self.supported(spec.level()).map_err(CreateError::from)?;
        let message = CreateLink {
            shard: key.shard(self.shards),
            slug: Some(key.code.clone()),
            spec: spec.clone(),
            find_existing: false,
            created_by: principal.number(),
            idempotency: None,
            domain: key.domain,
        };
        match self.send_creation(message).await? {
            Created::New(link) | Created::Existing(link) => {
                self.deleted.forget(token);
                Ok(*link)
            }
            Created::SlugTaken | Created::IdempotencyMismatch => {
                let other = self.read(key.clone(), Consistency::Strong).await;
                let by = other.map_or(Taken::Other, |view| Taken::by(&view.link.spec, &spec));
                Err(CreateError::SlugTaken { key, by }.into())
            }
        }
    }
}
