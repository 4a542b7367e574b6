//! Links: create, or find one that exists.

use std::time::Instant;

use waypost_protocol::digest::IdempotencyKey;
use waypost_protocol::messages::{CreateLink, Created, GetCreated};
use waypost_protocol::{
    CallError, Fields, Level, Link, LinkKey, LinkSpec, OwnHost, Password, ServiceError, SpecError, Target, UnixMs,
};
use waypost_runtime::Destination;

use super::link_errors::{CreateError, Taken};
use super::rules::NewRule;
use super::{App, Consistency, Permission, Principal};

/// The longest idempotency key, in bytes. Only a hash of it is kept.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// A link to create.
#[derive(Debug, Clone, Default)]
pub struct NewLink<'a> {
    /// The domain, as in [`super::LinkName`]; `None` = the default one.
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
                let before = Box::pin(self.created_before(&message)).await?;
                return before.map(CreatedLink::New).ok_or(SpecError::EndPast.into());
            }
            Err(error) => return Err(error.into()),
        }
        self.writable()?;
        self.supported(message.level())?;
        let (domain, claimed) = (message.domain, message.slug.clone().map(|slug| (slug, message.spec.clone())));
        match (self.send_creation(message).await?, claimed) {
            (Created::New(link), _) => Ok(CreatedLink::New(*link)),
            (Created::Existing(link), _) => Ok(CreatedLink::Existing(*link)),
            (Created::IdempotencyMismatch, _) => Err(CreateError::IdempotencyKeyReused),
            (Created::SlugTaken, Some((slug, spec))) => {
                // Read with a strong read, so that the conflicting link is seen.
                let key = LinkKey { domain, code: slug };
                let other = Box::pin(self.read(key.clone(), Consistency::Strong)).await;
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
            Box::pin(self.protect(&mut spec, password, idempotency.as_ref())).await?;
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
