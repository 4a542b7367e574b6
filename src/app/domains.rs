//! Domains: list, make, change and remove; and which of them a request means.

use std::sync::Arc;

use waypost_protocol::code_format::FORMATS_MAX;
use waypost_protocol::command::{
    AddDomain, AddDomainOutcome, RemoveDomain, RemoveDomainOutcome, SetDomain, SetDomainOutcome,
};
use waypost_protocol::domain::{
    BASE_URL, CASE_INSENSITIVE, CODE_FORMAT, DEFAULT_NAME, DEFAULT_STATUS, EXPIRED_URL, HostError, HostName,
    LEFT_TO_DEFAULT, MULTI_SEGMENT, UNKNOWN_HOST_REFUSED, UNKNOWN_URL,
};
use waypost_protocol::properties::{Property, RedirectStatus, Set};
use waypost_protocol::{
    Alphabet, CallError, CodeFormat, Domain, Domains, FieldChanges, Level, LinkKey, OwnHost, ServiceError, Site,
    Target, TargetError, bare_host,
};

use super::link_errors::{NotYetSupported, UnknownDomain};
use super::proposals::NotApplied;
use super::{App, Denied, Permission, Principal};

/// A link as a request names it.
#[derive(Debug, Clone, Copy, Default)]
pub struct LinkName<'a> {
    /// The host of its domain, or `DEFAULT`; `None` = the default domain.
    pub domain: Option<&'a str>,
    /// Its code.
    pub code: &'a str,
}

/// What to change of a domain. What is absent stays as it is.
#[derive(Debug, Clone, Default)]
pub struct DomainEdit<'a> {
    /// The status of links that ask for none: a temporary one; `Some(None)` = 302.
    pub default_status: Option<Option<RedirectStatus>>,
    /// Where visitors of `/` are sent.
    pub base_url: Option<Option<&'a str>>,
    /// Where visitors of unknown codes are sent.
    pub unknown_url: Option<Option<&'a str>>,
    /// Where visitors of links that are over are sent.
    pub expired_url: Option<Option<&'a str>>,
    /// Whether codes are compared without case: fixed when the domain is made.
    pub case_insensitive: Option<bool>,
    /// Whether slugs may have several segments: fixed when the domain is made.
    pub multi_segment: Option<bool>,
    /// The format of generated codes: `Some(None)` = the usual one.
    pub code_format: Option<Option<CodeFormat>>,
    /// Of the default domain: whether unknown hosts have no links.
    pub unknown_host_refused: Option<bool>,
    /// As for a link.
    pub own_hosts: &'a [OwnHost],
}

/// A setting that is a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DomainUrl {
    /// For `/`.
    Base,
    /// For unknown codes.
    Unknown,
    /// For links that are over.
    Expired,
}

/// Why domains were not listed or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DomainError {
    /// The principal has no permission.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Not all nodes of the cluster know domains.
    #[error(transparent)]
    NotYet(#[from] NotYetSupported),
    /// There is no such domain.
    #[error(transparent)]
    Unknown(#[from] UnknownDomain),
    /// The text is not a host.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The host is the one of `public_url`, which is the default domain.
    #[error("\"{0}\" is the host of this server's public_url, so its links are those of the default domain")]
    IsDefault(HostName),
    /// The request came by this host, which has the links of the default domain, because there is no `public_url`.
    #[error(
        "the request came by \"{0}\", where the links of the default domain are and would be lost: set [http] public_url to the host that they are to have, or send the request to another address of the server"
    )]
    IsOwn(HostName),
    /// A URL is not a valid target.
    #[error("{1}")]
    Url(DomainUrl, TargetError),
    /// The status is a permanent one.
    #[error("a permanent redirect is asked for by each link: 302 or 307")]
    PermanentStatus,
    /// Only the default domain has the setting.
    #[error("what unknown hosts get is a setting of the default domain")]
    OnlyDefault,
    /// The edit changes nothing.
    #[error("the edit names nothing to change")]
    Nothing,
    /// There is such a domain, with other settings.
    #[error("there is a domain \"{0}\" already")]
    Exists(HostName),
    /// The setting is fixed.
    #[error("whether codes are compared without case and have several segments is fixed when a domain is made")]
    Fixed,
    /// The cluster has as many domains as it may have.
    #[error("a cluster has at most {max} domains, with those that were removed")]
    TooMany {
        /// How many that are.
        max: u32,
    },
    /// The format of generated codes has capital letters, which a domain that compares without case does not have.
    #[error(
        "a domain that compares codes without case needs an alphabet without capital letters: lowercase or unambiguous"
    )]
    FormatHasCase,
    /// The format of generated codes was changed too often.
    #[error("the format of generated codes was changed {FORMATS_MAX} times; it stays as it is")]
    TooManyFormats,
    /// Codes of the format could be mistyped codes of another one that the domain has had, or the other way round.
    #[error(
        "codes with a check character need a length that no other codes of the domain have, so that no slip leads to another link; choose another length, or a longer or shorter prefix"
    )]
    FormatTooClose,
    /// The default domain cannot be removed.
    #[error("the default domain cannot be removed")]
    DefaultStays,
    /// The cluster did not do it, or the outcome is unknown.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl From<ServiceError> for DomainError {
    fn from(error: ServiceError) -> Self {
        Self::Call(error.into())
    }
}

impl From<NotApplied> for DomainError {
    fn from(error: NotApplied) -> Self {
        match error {
            NotApplied::NotYet(error) => error.into(),
            NotApplied::Call(error) => error.into(),
        }
    }
}

/// The format of generated codes of a domain; `None` = the usual one.
fn format_for(asked: Option<CodeFormat>, folds: bool) -> Result<Option<CodeFormat>, DomainError> {
    let Some(format) = asked else {
        // Eight characters of 36 are about as many codes as seven of 62.
        let lowercase =
            || CodeFormat::new(Alphabet::Lowercase, 8, "", false).expect("invariant: eight characters are possible");
        return Ok(folds.then(lowercase));
    };
    if folds && (format.alphabet() == Alphabet::Base62 || format.prefix().bytes().any(|byte| byte.is_ascii_uppercase()))
    {
        return Err(DomainError::FormatHasCase);
    }
    Ok(Some(format).filter(|format| *format != CodeFormat::default()))
}

/// Whether a host is among those of the server.
fn is_named(own_hosts: &[OwnHost], host: &HostName) -> bool {
    own_hosts.iter().any(|own| matches!(own, OwnHost::Named { host: own, .. } if bare_host(own) == host.as_str()))
}

impl App {
    /// All domains: the default one first, then the others in the order in which they were made.
    ///
    /// # Errors
    /// Only `Denied`.
    pub fn domains(&self, principal: &Principal) -> Result<Vec<Arc<Site>>, DomainError> {
        principal.require(Permission::ReadLinks)?;
        let domains = self.parts.groups.domains().load();
        Ok(std::iter::once(domains.default_site()).chain(domains.with_hosts()).cloned().collect())
    }

    /// A domain by its host, or `DEFAULT`.
    ///
    /// # Errors
    /// `Denied` and `Unknown`.
    pub fn domain(&self, principal: &Principal, name: &str) -> Result<Arc<Site>, DomainError> {
        principal.require(Permission::ReadLinks)?;
        Ok(self.site_named(Some(name))?)
    }

    /// The domain with a number; the default one if there is none any more.
    pub fn site(&self, domain: Domain) -> Arc<Site> {
        let domains = self.parts.groups.domains().load();
        domains.site(domain).unwrap_or(domains.default_site()).clone()
    }

    /// All domains at this moment.
    pub fn all_domains(&self) -> Arc<Domains> {
        Arc::clone(&self.parts.groups.domains().load())
    }

    /// The domain that a request names.
    pub(super) fn site_named(&self, name: Option<&str>) -> Result<Arc<Site>, UnknownDomain> {
        let domains = self.parts.groups.domains().load();
        let Some(name) = name else { return Ok(domains.default_site().clone()) };
        if name.eq_ignore_ascii_case(DEFAULT_NAME) {
            return Ok(domains.default_site().clone());
        }
        let unknown = || UnknownDomain(name.to_owned());
        let host = HostName::parse(name).map_err(|_| unknown())?;
        match domains.named(&host) {
            Some(site) => Ok(site.clone()),
            None if self.is_public(&host) => Ok(domains.default_site().clone()),
            None => Err(unknown()),
        }
    }

    /// The key of a link that a request names; `None` if no link can have it.
    pub fn key_of(&self, name: LinkName<'_>) -> Result<Option<LinkKey>, UnknownDomain> {
        Ok(self.site_named(name.domain)?.key_in(name.code))
    }

    fn is_public(&self, host: &HostName) -> bool {
        self.parts.public_host.as_ref() == Some(host)
    }

    /// Makes a domain, or makes one again that was removed, with the links that it had. Returns it as it is then.
    ///
    /// # Errors
    /// See [`DomainError`]. After a [`CallError`] with an unknown outcome it may exist.
    pub async fn add_domain(
        &self,
        principal: &Principal,
        host: &str,
        edit: &DomainEdit<'_>,
    ) -> Result<Arc<Site>, DomainError> {
        principal.require(Permission::WriteDomains)?;
        let host = HostName::parse(host)?;
        if self.is_public(&host) {
            return Err(DomainError::IsDefault(host));
        }
        let is_known = self.parts.groups.domains().load().named(&host).is_some();
        if self.parts.public_host.is_none() && !is_known && is_named(edit.own_hosts, &host) {
            return Err(DomainError::IsOwn(host));
        }
        if edit.unknown_host_refused.is_some() {
            return Err(DomainError::OnlyDefault);
        }
        // Its own host is not among the domains yet.
        let own = [edit.own_hosts, &[OwnHost::Named { host: host.to_string(), port: None }]].concat();
        let folds = edit.case_insensitive == Some(true);
        let code_format = format_for(edit.code_format.clone().flatten(), folds)?;
        let mut settings =
            self.domain_changes(&DomainEdit { own_hosts: &own, code_format: Some(code_format), ..edit.clone() })?;
        settings.retain_set();
        self.writable()?;
        self.supported(Level::THREE)?;
        match self.propose(AddDomain { host: host.clone(), settings }, self.parts.timeout).await? {
            AddDomainOutcome::Done => {}
            AddDomainOutcome::DomainExists => return Err(DomainError::Exists(host)),
            AddDomainOutcome::DomainFixed => return Err(DomainError::Fixed),
            AddDomainOutcome::TooManyFormats => return Err(DomainError::TooManyFormats),
            AddDomainOutcome::FormatTooClose => return Err(DomainError::FormatTooClose),
            AddDomainOutcome::TooManyDomains { max } => return Err(DomainError::TooMany { max }),
        }
        Ok(self.heard(|| self.all_domains().named(&host).cloned()).await?)
    }

    /// Changes settings of a domain, by its host or `DEFAULT`. Returns it as it is then.
    ///
    /// # Errors
    /// See [`DomainError`]. After a [`CallError`] with an unknown outcome it may have been changed.
    pub async fn edit_domain(
        &self,
        principal: &Principal,
        name: &str,
        edit: &DomainEdit<'_>,
    ) -> Result<Arc<Site>, DomainError> {
        principal.require(Permission::WriteDomains)?;
        let before = self.site_named(Some(name))?;
        if edit.unknown_host_refused.is_some() && before.host.is_some() {
            return Err(DomainError::OnlyDefault);
        }
        let mut edit = edit.clone();
        if let Some(format) = edit.code_format.take() {
            edit.code_format = Some(format_for(format, before.case_insensitive)?);
        }
        let changes = self.domain_changes(&edit)?;
        if changes.is_empty() {
            return Err(DomainError::Nothing);
        }
        self.writable()?;
        self.supported(Level::THREE)?;
        let domain = before.domain;
        match self.propose(SetDomain { domain, changes: changes.clone() }, self.parts.timeout).await? {
            SetDomainOutcome::Done => {}
            SetDomainOutcome::NotFound => return Err(UnknownDomain(name.to_owned()).into()),
            SetDomainOutcome::DomainFixed => return Err(DomainError::Fixed),
            SetDomainOutcome::TooManyFormats => return Err(DomainError::TooManyFormats),
            SetDomainOutcome::FormatTooClose => return Err(DomainError::FormatTooClose),
        }
        Ok(self.heard(|| self.all_domains().site(domain).filter(|site| site.has(&changes)).cloned()).await?)
    }

    /// Removes a domain. Its links stay until it is made again. From then on its host answers nothing, or with `left_to_default`, as before the domain was
    /// made, the links of the default domain: for a host that was made a domain by mistake.
    ///
    /// # Errors
    /// See [`DomainError`]. After a [`CallError`] with an unknown outcome it may have been removed.
    pub async fn remove_domain(
        &self,
        principal: &Principal,
        name: &str,
        left_to_default: bool,
    ) -> Result<(), DomainError> {
        principal.require(Permission::WriteDomains)?;
        let site = self.site_named(Some(name))?;
        if site.host.is_none() {
            return Err(DomainError::DefaultStays);
        }
        self.writable()?;
        let domain = site.domain;
        // Noted first: it has no effect until the domain is removed.
        let mut changes = FieldChanges::default();
        LEFT_TO_DEFAULT.change(&mut changes, left_to_default.then_some(&Set));
        if !site.has(&changes) {
            match self.propose(SetDomain { domain, changes }, self.parts.timeout).await? {
                SetDomainOutcome::Done => {}
                SetDomainOutcome::NotFound => return Err(UnknownDomain(name.to_owned()).into()),
                SetDomainOutcome::DomainFixed => return Err(DomainError::Fixed),
                SetDomainOutcome::TooManyFormats => return Err(DomainError::TooManyFormats),
                SetDomainOutcome::FormatTooClose => return Err(DomainError::FormatTooClose),
            }
        }
        match self.propose(RemoveDomain { domain }, self.parts.timeout).await? {
            RemoveDomainOutcome::Done => {}
            RemoveDomainOutcome::NotFound => return Err(UnknownDomain(name.to_owned()).into()),
        }
        Ok(self.heard(|| self.all_domains().site(domain).is_none().then_some(())).await?)
    }

    fn domain_changes(&self, edit: &DomainEdit<'_>) -> Result<FieldChanges, DomainError> {
        let mut changes = FieldChanges::default();
        if let Some(status) = edit.default_status {
            if status.is_some_and(RedirectStatus::is_permanent) {
                return Err(DomainError::PermanentStatus);
            }
            let status = status.filter(|status| *status != RedirectStatus::Found);
            DEFAULT_STATUS.change(&mut changes, status.as_ref());
        }
        for (property, which, given) in [
            (BASE_URL, DomainUrl::Base, edit.base_url),
            (UNKNOWN_URL, DomainUrl::Unknown, edit.unknown_url),
            (EXPIRED_URL, DomainUrl::Expired, edit.expired_url),
        ] {
            if let Some(given) = given {
                let parse = |url| Target::parse(url, edit.own_hosts, self.parts.url_max_bytes);
                let url = given.map(parse).transpose().map_err(|error| DomainError::Url(which, error))?;
                property.change(&mut changes, url.as_ref());
            }
        }
        let mut flag = |property: Property<Set>, given: Option<bool>| {
            if let Some(given) = given {
                property.change(&mut changes, given.then_some(&Set));
            }
        };
        flag(CASE_INSENSITIVE, edit.case_insensitive);
        flag(MULTI_SEGMENT, edit.multi_segment);
        flag(UNKNOWN_HOST_REFUSED, edit.unknown_host_refused);
        if let Some(format) = &edit.code_format {
            CODE_FORMAT.change(&mut changes, format.as_ref());
        }
        Ok(changes)
    }
}
