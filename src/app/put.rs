//! Put: create the link of a code, or replace its specification.

use waypost_protocol::messages::{Changed, Created, EditLink};
use waypost_protocol::properties::PASSWORD;
use waypost_protocol::{CallError, Link, LinkPatch, LinkVersion, ServiceError, Site};

use super::links::set_password;
use super::{App, Consistency, CreateError, Denied, Guard, LinkName, NewLink, Permission, Principal, ReadError};

/// How often a put begins again because the link was changed between its read and its write. Each time somebody else has succeeded.
const TRIES_MAX: usize = 8;

/// What a put requires of the link that the code has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Condition {
    /// The link exists, in one of these states.
    pub matches: Option<Guard>,
    /// The link does not exist, or is in none of these states.
    pub matches_not: Option<Guard>,
}

impl Condition {
    fn allows(&self, current: Option<LinkVersion>) -> bool {
        let among = |guard: &Guard| match (guard, current) {
            (_, None) => false,
            (Guard::Any, Some(_)) => true,
            (Guard::OneOf(versions), Some(current)) => versions.contains(&current),
        };
        self.matches.as_ref().is_none_or(among) && !self.matches_not.as_ref().is_some_and(among)
    }
}

/// The result of a put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutLink {
    /// The code had no link.
    Created(Link),
    /// The link has the new specification now. If it had it before, it keeps its version.
    Replaced(Link),
}

/// Why a link was not put.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PutError {
    /// The link cannot be like this, or the services did not do it.
    #[error(transparent)]
    Link(#[from] CreateError),
    /// The condition does not hold.
    #[error("the link is not in a state that the request requires")]
    Condition {
        /// The version of the link; `None` = there is none.
        current: Option<LinkVersion>,
    },
}

impl From<Denied> for PutError {
    fn from(denied: Denied) -> Self {
        Self::Link(denied.into())
    }
}

impl From<CallError> for PutError {
    fn from(error: CallError) -> Self {
        Self::Link(error.into())
    }
}

impl App {
    /// Creates the link of a code, or replaces the specification of the one that exists, and nothing of it remains. `new.slug`,
    /// `new.find_existing` and `new.idempotency_key` are not used: a put can be repeated as it is.
    ///
    /// # Errors
    /// See [`PutError`]. After a [`CallError`] with an unknown outcome the link may have been created or replaced.
    pub async fn put_link(
        &self,
        principal: &Principal,
        name: LinkName<'_>,
        new: NewLink<'_>,
        condition: &Condition,
    ) -> Result<PutLink, PutError> {
        principal.require(Permission::WriteLinks)?;
        let new =
            NewLink { domain: name.domain, slug: Some(name.code), find_existing: false, idempotency_key: None, ..new };
        let site = self.site_named(name.domain).map_err(CreateError::from)?;
        let spec = self.spec_of(&new)?;
        self.writable().map_err(CreateError::from)?;
        self.supported(spec.level()).map_err(CreateError::from)?;
        for _ in 0..TRIES_MAX {
            let current = self.current(&site, name.code).await?;
            let version = current.as_ref().map(Link::link_version);
            if !condition.allows(version) {
                return Err(PutError::Condition { current: version });
            }
            let Some(link) = current else {
                let message = self.creation(principal, &new, None).await?;
                self.supported(message.level()).map_err(CreateError::from)?;
                match self.send_creation(message).await? {
                    Created::New(link) | Created::Existing(link) => return Ok(PutLink::Created(*link)),
                    Created::SlugTaken | Created::IdempotencyMismatch => continue,
                }
            };
            let mut spec = spec.clone();
            if let Some(password) = &new.password {
                // The same password keeps its hash, so that a repeated put changes nothing.
                match PASSWORD.of(&link.spec.fields) {
                    Some(hash) if self.parts.passwords.is_same(password, &hash).await? => {
                        set_password(&mut spec, &hash).map_err(CreateError::from)?;
                    }
                    _ => self.protect(&mut spec, password, None).await?,
                }
            }
            let patch = LinkPatch::between(&link.spec, &spec);
            if patch.is_empty() {
                return Ok(PutLink::Replaced(link));
            }
            let key = link.key;
            let by = Some(principal.number());
            let message = EditLink { shard: key.shard(self.shards), key: key.clone(), if_version: version, patch, by };
            match self.change(&key, message).await? {
                Changed::Edited(link) => return Ok(PutLink::Replaced(*link)),
                Changed::Refused(reason) => return Err(CreateError::from(reason).into()),
                Changed::VersionMismatch { .. } | Changed::NotFound | Changed::Deleted => {}
            }
        }
        let busy = "the link is changed all the time; this request changed nothing".to_owned();
        Err(CreateError::from(ServiceError::Unavailable(busy)).into())
    }

    /// The link of a code, as a quorum knows it.
    async fn current(&self, site: &Site, code: &str) -> Result<Option<Link>, PutError> {
        // A text that is no code has no link; why it cannot be one is said when it is to be created.
        let Some(key) = site.key_in(code) else {
            site.slug(code).map_err(CreateError::from)?;
            return Ok(None);
        };
        match self.read(key, Consistency::Strong).await {
            Ok(view) => Ok(Some(view.link)),
            Err(ReadError::Domain(unknown)) => Err(CreateError::from(unknown).into()),
            Err(ReadError::NotFound) => Ok(None),
            Err(ReadError::Denied(denied)) => Err(denied.into()),
            Err(ReadError::Call(error)) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_compares_with_the_link_that_is_there() {
        let [one, two] = [1, 2].map(|version| LinkVersion { version, written_at: 9 });
        let of = |matches, matches_not| Condition { matches, matches_not };
        let only = |version| Some(Guard::OneOf(vec![version]));
        for (condition, absent, at_one) in [
            (Condition::default(), true, true),
            (of(Some(Guard::Any), None), false, true),
            (of(only(one), None), false, true),
            (of(only(two), None), false, false),
            (of(None, Some(Guard::Any)), true, false),
            (of(None, only(one)), true, false),
            (of(None, only(two)), true, true),
            (of(only(one), Some(Guard::Any)), false, false),
        ] {
            assert_eq!((condition.allows(None), condition.allows(Some(one))), (absent, at_one), "{condition:?}");
        }
    }
}
