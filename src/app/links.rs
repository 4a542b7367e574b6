//! Links: show, edit, delete; `create.rs` creates them.
//!
//! Callers read their own writes: after a change through this node, the node lets only the leader of the shard say what the link is, until
//! the staleness bound has passed.

use std::time::Instant;

use waypost_protocol::digest::IdempotencyKey;
use waypost_protocol::link::LinkCounts;
use waypost_protocol::messages::{Changed, DeleteLink, EditLink, GetLink, LinkStore, LinkView, MayVisit, UseVisit};
use waypost_protocol::properties::{EXPIRED_URL, PASSWORD, RULES, TITLE, Title};
use waypost_protocol::rules::Rules;
use waypost_protocol::{
    CallError, FieldChanges, Level, Link, LinkKey, LinkPatch, LinkSpec, LinkState, LinkVersion, OwnHost, Password,
    PasswordHash, Request, ServiceError, SpecError, Target, TargetError, UnixMs,
};

use super::link_errors::{ChangeError, CreateError, ReadError};
use super::rules::{NewRule, RulesFault, rules_of};
use super::{App, LinkName, Permission, Principal};

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
    /// As for [`super::NewLink`].
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

/// Protects a link with a hashed password.
pub(super) fn set_password(spec: &mut LinkSpec, hash: &PasswordHash) -> Result<(), SpecError> {
    let mut changes = FieldChanges::default();
    PASSWORD.change(&mut changes, Some(hash));
    spec.fields.change(&changes);
    spec.consistent()
}

impl App {
    /// The change of the URL for the time after the end.
    pub(super) fn expired_url(
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
    pub(super) fn rules(&self, given: &[NewRule<'_>], own_hosts: &[OwnHost]) -> Result<FieldChanges, RulesFault> {
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
