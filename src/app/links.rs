//! Links: create, show, edit, delete.
//!
//! Callers read their own writes: after a change through this node, the node lets only the leader of the shard say what the link is, until
//! the staleness bound has passed.

use std::time::Instant;

use waypost_protocol::digest::IdempotencyKey;
use waypost_protocol::link::LinkCounts;
use waypost_protocol::messages::{
    Changed, CreateLink, Created, DeleteLink, EditLink, GetCreated, GetLink, LinkStore, LinkView, MayVisit, UseVisit,
};
use waypost_protocol::properties::{EXPIRED_URL, PASSWORD, RULES, TITLE, Title};
use waypost_protocol::rules::Rules;
use waypost_protocol::{
    CallError, FieldChanges, Fields, Level, Link, LinkKey, LinkPatch, LinkSpec, LinkState, LinkVersion, OwnHost,
    Password, PasswordHash, Request, ServiceError, SpecError, Target, TargetError, UnixMs,
};
use waypost_runtime::Destination;

use super::link_errors::{ChangeError, CreateError, ReadError, Taken};
use super::rules::{NewRule, RulesFault, rules_of};
use super::{App, LinkName, Permission, Principal};

/// The longest idempotency key, in bytes. Only a hash of it is kept.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// A link to create.
#[derive(Debug, Clone, Default)]
pub struct NewLink<'a> {
    /// The domain, as in [`LinkName`]; `None` = the default one.
    pub domain: Option<&'a str>,
    /// The target.
    pub url: &'a str,
    /// The requested alias; `None` = a generated code.
    pub slug: Option<&'a str>,
    /// Its end, if any.
    pub valid_until: Option<UnixMs>,
    /// Where visitors are sent after its end, if anywhere.
    pub expired_url: Option<&'a str>,
    /// Its rules, in the order in which they are tried.
    pub rules: Vec<NewRule<'a>>,
    /// Its other optional fields.
    pub fields: Fields,
    /// The password that visitors have to give, if any.
    pub password: Option<Password>,
    /// Whether to answer with an existing link to the same URL, if there is one with a generated code.
    pub find_existing: bool,
    /// The key that identifies repetitions of the same request.
    pub idempotency_key: Option<&'a str>,
    /// The hosts of this server: a link to one of them would be a loop.
    pub own_hosts: &'a [OwnHost],
}

/// The result of a create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CreatedLink {
    /// Created by this request (now, or when it was first sent).
    New(Link),
    /// The link existed already.
    Existing(Link),
}

/// The changes of a link.
#[derive(Debug, Clone, Default)]
pub struct LinkEdit<'a> {
    /// A new target.
    pub url: Option<&'a str>,
    /// A new end: `Some(None)` removes it.
    pub valid_until: Option<Option<UnixMs>>,
    /// A new URL for the time after its end: `Some(None)` removes it.
    pub expired_url: Option<Option<&'a str>>,
    /// New rules instead of the present ones; an empty list removes them.
    pub rules: Option<Vec<NewRule<'a>>>,
    /// A new password: `Some(None)` removes it.
    pub password: Option<Option<Password>>,
    /// Changes of its other optional fields.
    pub fields: FieldChanges,
    /// As for [`NewLink`].
    pub own_hosts: &'a [OwnHost],
}

/// The states of a link that a change requires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guard {
    /// Any state.
    Any,
    /// One of these; otherwise the change is refused.
    OneOf(Vec<LinkVersion>),
}

/// How a link is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Consistency {
    /// From this node's replica, including changes of the caller through this node.
    #[default]
    Local,
    /// From a quorum: includes every change that was acknowledged before, on any node.
    Strong,
}

/// What everybody may see of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkPreview {
    /// Where it leads. Not for those who have only the code of a link that has expired.
    pub target: Target,
    /// The time of its creation.
    pub created_at: UnixMs,
    /// Its title.
    pub title: Option<Title>,
    /// What visitors get.
    pub state: LinkState,
    /// The rules that lead some visitors elsewhere.
    pub rules: Option<Rules>,
    /// Whether visitors need a password, so that nothing else may be shown.
    pub protected: bool,
}

/// The idempotency key of a request; `part` is its part of a request that creates many.
fn idempotency_key(owner: u32, text: &str, part: Option<u64>) -> Result<IdempotencyKey, CreateError> {
    let readable = text.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte));
    if text.is_empty() || text.len() > IDEMPOTENCY_KEY_BYTES_MAX || !readable {
        return Err(CreateError::IdempotencyKey);
    }
    Ok(match part {
        None => IdempotencyKey::of(owner, text),
        // No client's key has a line end.
        Some(part) => IdempotencyKey::of(owner, &format!("{text}\n{part}")),
    })
}

/// Protects a link with a hashed password.
pub(super) fn set_password(spec: &mut LinkSpec, hash: &PasswordHash) -> Result<(), SpecError> {
    let mut changes = FieldChanges::default();
    PASSWORD.change(&mut changes, Some(hash));
    spec.fields.change(&changes);
    spec.consistent()
}

impl App {
    /// Creates a link, or finds an existing one.
    ///
    /// # Errors
    /// See [`CreateError`]. After a [`CallError`] with an unknown outcome the link may exist.
    pub async fn create_link(&self, principal: &Principal, new: NewLink<'_>) -> Result<CreatedLink, CreateError> {
        self.create_part(principal, new, None).await
    }

    /// Creates a link, as a part of a request that creates many: the same part of the same request, by its idempotency key, creates no
    /// second one.
    pub(super) async fn create_part(
        &self,
        principal: &Principal,
        new: NewLink<'_>,
        part: Option<u64>,
    ) -> Result<CreatedLink, CreateError> {
        principal.require(Permission::WriteLinks)?;
        let message = self.creation(principal, &new, part).await?;
        match message.spec.check(self.now()) {
            Ok(()) => {}
            // If the request was in time when it was first sent, it gets the same answer again.
            Err(SpecError::EndPast) => {
                let before = self.created_before(&message).await?;
                return before.map(CreatedLink::New).ok_or(SpecError::EndPast.into());
            }
            Err(error) => return Err(error.into()),
        }
        self.writable()?;
        self.supported(message.level())?;
        let (domain, slug, spec) = (message.domain, message.slug.clone(), message.spec.clone());
        match (self.send_creation(message).await?, slug) {
            (Created::New(link), _) => Ok(CreatedLink::New(*link)),
            (Created::Existing(link), _) => Ok(CreatedLink::Existing(*link)),
            (Created::IdempotencyMismatch, _) => Err(CreateError::IdempotencyKeyReused),
            (Created::SlugTaken, Some(slug)) => {
                // Read with a strong read, so that the conflicting link is seen.
                let key = LinkKey { domain, code: slug };
                let other = self.read(key.clone(), Consistency::Strong).await;
                let by = other.map_or(Taken::Other, |view| Taken::by(&view.link.spec, &spec));
                Err(CreateError::SlugTaken { key, by })
            }
            (Created::SlugTaken, None) => {
                Err(ServiceError::Unavailable("the generated code was taken; nothing was changed".to_owned()).into())
            }
        }
    }

    /// The link that the same request, by its idempotency key, has created before.
    async fn created_before(&self, message: &CreateLink) -> Result<Option<Link>, CallError> {
        let Some((key, fingerprint)) = message.idempotency.filter(|_| self.supported(Level::THREE).is_ok()) else {
            return Ok(None);
        };
        let message = GetCreated { shard: message.shard, key, fingerprint };
        self.parts.links.call(message, self.parts.timeout).await
    }

    /// The specification of a link, within its limits.
    pub(super) fn spec_of(&self, new: &NewLink<'_>) -> Result<LinkSpec, CreateError> {
        let spec = self.spec_given(new)?;
        spec.check(self.now())?;
        Ok(spec)
    }

    /// The specification of a link, which may not be within its limits.
    fn spec_given(&self, new: &NewLink<'_>) -> Result<LinkSpec, CreateError> {
        let target = Target::parse(new.url, new.own_hosts, self.parts.url_max_bytes)?;
        let mut spec = LinkSpec { target, valid_until: new.valid_until, fields: new.fields.clone() };
        if let Some(changes) =
            self.expired_url(new.expired_url.map(Some), new.own_hosts).map_err(CreateError::ExpiredUrl)?
        {
            spec.fields.change(&changes);
        }
        spec.fields.change(&self.rules(&new.rules, new.own_hosts)?);
        Ok(spec)
    }

    /// The change of the URL for the time after the end.
    fn expired_url(
        &self,
        given: Option<Option<&str>>,
        own_hosts: &[OwnHost],
    ) -> Result<Option<FieldChanges>, TargetError> {
        let Some(given) = given else { return Ok(None) };
        let parse = |url| Target::parse(url, own_hosts, self.parts.url_max_bytes);
        let url = given.map(parse).transpose()?;
        let mut changes = FieldChanges::default();
        EXPIRED_URL.change(&mut changes, url.as_ref());
        Ok(Some(changes))
    }

    /// The change of the rules.
    fn rules(&self, given: &[NewRule<'_>], own_hosts: &[OwnHost]) -> Result<FieldChanges, RulesFault> {
        let mut changes = FieldChanges::default();
        RULES.change(&mut changes, rules_of(given, own_hosts, self.parts.url_max_bytes)?.as_ref());
        Ok(changes)
    }

    /// Hashes the password of a link into its specification. `request` identifies a request that may be repeated.
    pub(super) async fn protect(
        &self,
        spec: &mut LinkSpec,
        password: &Password,
        request: Option<&IdempotencyKey>,
    ) -> Result<(), CreateError> {
        self.supported(Level::THREE)?;
        let hash = self.parts.passwords.hash(password, request).await?;
        Ok(set_password(spec, &hash)?)
    }

    /// Whether a password is the one that was hashed. Like the redirect, it needs no permission: the dialect limits how often somebody tries.
    ///
    /// # Errors
    /// If too many passwords are checked at the same time.
    pub async fn is_password(&self, password: &Password, hash: &PasswordHash) -> Result<bool, CallError> {
        self.parts.passwords.check(password, hash).await
    }

    /// The message that creates a link. Its specification is not checked yet.
    pub(super) async fn creation(
        &self,
        principal: &Principal,
        new: &NewLink<'_>,
        part: Option<u64>,
    ) -> Result<CreateLink, CreateError> {
        let site = self.site_named(new.domain)?;
        let mut spec = self.spec_given(new)?;
        let slug = new.slug.map(|slug| site.slug(slug)).transpose()?;
        if slug.is_some() && new.find_existing {
            return Err(CreateError::FindExistingWithSlug);
        }
        if new.password.is_some() && new.find_existing {
            return Err(CreateError::FindExistingWithPassword);
        }
        let created_by = principal.number();
        let idempotency = new.idempotency_key.map(|text| idempotency_key(created_by, text, part)).transpose()?;
        if let Some(password) = &new.password {
            self.protect(&mut spec, password, idempotency.as_ref()).await?;
        }
        let print = spec.fingerprint(site.domain, slug.as_ref(), new.find_existing);
        Ok(CreateLink {
            shard: CreateLink::shard_for(site.domain, slug.as_ref(), &spec.target, self.shards),
            slug,
            spec,
            find_existing: new.find_existing,
            created_by,
            idempotency: idempotency.map(|key| (key, print)),
            domain: site.domain,
        })
    }

    /// Sends a create. Afterwards this node never answers with the state before it.
    pub(super) async fn send_creation(&self, message: CreateLink) -> Result<Created, CallError> {
        let (domain, slug) = (message.domain, message.slug.clone());
        let (created, destination) = self.parts.links.call_with_destination(message, self.parts.timeout).await?;
        if let Some(code) = slug.filter(|_| destination != Destination::Local) {
            self.claimed_elsewhere(&LinkKey { domain, code });
        }
        Ok(created)
    }

    /// An alias was claimed through this node, and a leader on another node has applied that. If the code named another link before, this
    /// node may not know the change yet.
    fn claimed_elsewhere(&self, key: &LinkKey) {
        let shard = key.shard(self.shards);
        let own = self.parts.groups.shard(shard).filter(|_| self.parts.groups.holds(shard));
        // If the own replica cannot be read, the leader answers.
        let clean = own.is_some_and(|group| matches!(group.read(|machine| machine.get(key)), Ok(None)));
        if !clean {
            self.parts.view.changed_here(key, Instant::now());
        }
    }

    /// Shows a link.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn link(
        &self,
        principal: &Principal,
        name: LinkName<'_>,
        consistency: Consistency,
    ) -> Result<LinkView, ReadError> {
        principal.require(Permission::ReadLinks)?;
        let key = self.key_of(name)?.ok_or(ReadError::NotFound)?;
        self.read(key, consistency).await
    }

    /// What is counted of a link that the caller has just written; `None` if it cannot be told now.
    pub async fn counts(&self, link: &Link) -> Option<LinkCounts> {
        self.read(link.key.clone(), Consistency::Local).await.ok().map(|view| view.counts)
    }

    /// Whether a visitor may be sent to the target of a link with a limit of visits, by the leader of its shard. `uses_up`: this visit counts
    /// against the limit. Like the redirect, it needs no permission.
    ///
    /// # Errors
    /// If the leader does not answer. With an unknown outcome a visit may be used.
    pub async fn may_visit(&self, key: LinkKey, uses_up: bool) -> Result<MayVisit, CallError> {
        self.parts.links.call(UseVisit { shard: key.shard(self.shards), key, uses_up }, self.parts.timeout).await
    }

    /// Shows what a redirect tells everybody of a link, and its age. Like the redirect, it needs no permission.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn preview(&self, key: LinkKey) -> Result<LinkPreview, ReadError> {
        let LinkView { link, counts } = self.read(key, Consistency::Local).await?;
        let (state, title) = (link.spec.state(counts.used, self.now()), TITLE.of(&link.spec.fields));
        let rules = RULES.read(&link.spec.fields).map_err(|_| {
            let later = "the link has rules of a later version, which this node does not understand".to_owned();
            CallError::from(ServiceError::Unavailable(later))
        })?;
        let protected = PASSWORD.is_in(&link.spec.fields);
        Ok(LinkPreview { protected, target: link.spec.target, created_at: link.created_at, title, state, rules })
    }

    /// Reads a link and its visits, including changes of the caller through this node.
    pub(super) async fn read(&self, key: LinkKey, consistency: Consistency) -> Result<LinkView, ReadError> {
        let leader = self.parts.view.only_leader(&key, Instant::now());
        let strong = consistency == Consistency::Strong;
        let message = GetLink { shard: key.shard(self.shards), key, strong, leader };
        self.parts.links.call(message, self.parts.timeout).await?.ok_or(ReadError::NotFound)
    }

    /// Changes the target or the end of a link; returns the changed link.
    ///
    /// # Errors
    /// See [`ChangeError`]. After a [`CallError`] with an unknown outcome the link may have been changed.
    pub async fn edit_link(
        &self,
        principal: &Principal,
        name: LinkName<'_>,
        edit: LinkEdit<'_>,
        guard: Guard,
    ) -> Result<Link, ChangeError> {
        principal.require(Permission::WriteLinks)?;
        let site = self.site_named(name.domain)?;
        let mut patch = self.patch_given(&edit)?;
        if patch.is_empty() && edit.password.is_none() {
            return Err(ChangeError::Nothing);
        }
        self.complete_patch(&mut patch, edit.password.as_ref()).await?;
        let key = site.key_in(name.code).ok_or(ChangeError::NotFound)?;
        let if_version = self.expected(&key, guard).await?;
        let by = Some(principal.number());
        let message = EditLink { shard: key.shard(self.shards), key: key.clone(), if_version, patch, by };
        match self.change(&key, message).await? {
            Changed::Edited(link) => Ok(*link),
            Changed::VersionMismatch { current } => Err(ChangeError::VersionMismatch { current }),
            Changed::Refused(reason) => Err(reason.into()),
            Changed::NotFound | Changed::Deleted => Err(ChangeError::NotFound),
        }
    }

    /// The changes that an edit names, parsed, except for its password.
    pub(super) fn patch_given(&self, edit: &LinkEdit<'_>) -> Result<LinkPatch, ChangeError> {
        let parse = |url| Target::parse(url, edit.own_hosts, self.parts.url_max_bytes);
        let target = edit.url.map(parse).transpose()?;
        let mut patch = LinkPatch { target, valid_until: edit.valid_until, fields: edit.fields.clone() };
        if let Some(changes) = self.expired_url(edit.expired_url, edit.own_hosts).map_err(ChangeError::ExpiredUrl)? {
            patch.fields.extend(changes);
        }
        if let Some(rules) = &edit.rules {
            patch.fields.extend(self.rules(rules, edit.own_hosts)?);
        }
        Ok(patch)
    }

    /// Checks changes, whatever link they are of, and adds that of its password.
    pub(super) async fn complete_patch(
        &self,
        patch: &mut LinkPatch,
        password: Option<&Option<Password>>,
    ) -> Result<(), ChangeError> {
        patch.check(self.now())?;
        self.writable()?;
        self.supported(patch.level())?;
        if let Some(password) = password {
            self.supported(Level::THREE)?;
            let hash = match password {
                None => None,
                Some(password) => Some(self.parts.passwords.hash(password, None).await?),
            };
            PASSWORD.change(&mut patch.fields, hash.as_ref());
            patch.check(self.now())?;
        }
        Ok(())
    }

    /// Deletes a link.
    ///
    /// # Errors
    /// See [`ChangeError`]. After a [`CallError`] with an unknown outcome the link may have been deleted.
    pub async fn delete_link(
        &self,
        principal: &Principal,
        name: LinkName<'_>,
        guard: Guard,
    ) -> Result<(), ChangeError> {
        principal.require(Permission::WriteLinks)?;
        let key = self.key_of(name)?.ok_or(ChangeError::NotFound)?;
        let if_version = self.expected(&key, guard).await?;
        self.writable()?;
        let message = DeleteLink { shard: key.shard(self.shards), key: key.clone(), if_version };
        match self.change(&key, message).await? {
            Changed::Deleted => Ok(()),
            Changed::VersionMismatch { current } => Err(ChangeError::VersionMismatch { current }),
            Changed::NotFound | Changed::Edited(_) | Changed::Refused(_) => Err(ChangeError::NotFound),
        }
    }

    /// The version that the change requires; `None` = any.
    async fn expected(&self, key: &LinkKey, guard: Guard) -> Result<Option<LinkVersion>, ChangeError> {
        let versions = match guard {
            Guard::Any => return Ok(None),
            Guard::OneOf(versions) => versions,
        };
        if let [version] = versions[..] {
            return Ok(Some(version));
        }
        // None or several: the present version decides which one is meant, and the change then requires that.
        let current = self.read(key.clone(), Consistency::Strong).await?.link.link_version();
        if versions.contains(&current) { Ok(Some(current)) } else { Err(ChangeError::VersionMismatch { current }) }
    }

    /// Sends a change. Afterwards this node never answers with the state before it.
    pub(super) async fn change<M: Request<Service = LinkStore>>(
        &self,
        key: &LinkKey,
        message: M,
    ) -> Result<M::Reply, CallError> {
        let reply = self.parts.links.call(message, self.parts.timeout).await?;
        // Even if the own replica has applied it: another node may lead or hold the shard at the next request.
        self.parts.view.changed_here(key, Instant::now());
        Ok(reply)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idempotency_key_is_a_short_text_and_each_owner_has_its_own() {
        for bad in ["", "ä", "a\nb", "\u{7f}", &"x".repeat(256)] {
            assert_eq!(idempotency_key(1, bad, None), Err(CreateError::IdempotencyKey), "{bad:?}");
        }
        let longest = "x".repeat(IDEMPOTENCY_KEY_BYTES_MAX);
        assert!(idempotency_key(1, &longest, None).is_ok());
        assert_ne!(idempotency_key(1, "a b", None), idempotency_key(0, "a b", None));
        let parts = [None, Some(0), Some(1)].map(|part| idempotency_key(1, "a", part).unwrap());
        assert!(parts[0] != parts[1] && parts[1] != parts[2] && parts[0] != parts[2]);
        assert_eq!(idempotency_key(1, "a", Some(1)), idempotency_key(1, "a", Some(1)));
    }
}
