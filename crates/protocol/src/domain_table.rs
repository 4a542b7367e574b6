//! All domains, as the requests of a node look them up: in memory, without a lock.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, Guard};

use crate::domain::{
    BASE_URL, CASE_INSENSITIVE, DEFAULT_STATUS, DomainRecord, EXPIRED_URL, HOST_BYTES_MAX, HostName, LEFT_TO_DEFAULT,
    MULTI_SEGMENT, UNKNOWN_HOST_REFUSED, UNKNOWN_URL,
};
use crate::properties::RedirectStatus;
use crate::{Code, CodeError, CodeFormats, Domain, FieldChanges, Fields, LinkKey, Target, UnixMs, unicode_slug};

/// A domain with its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Its number.
    pub domain: Domain,
    /// Its host; `None` for the default domain.
    pub host: Option<HostName>,
    /// When it was made; `None` for the default domain without settings.
    pub created_at: Option<UnixMs>,
    /// The status of redirects of links that ask for none.
    pub default_status: RedirectStatus,
    /// Where visitors of `/` are sent.
    pub base_url: Option<Target>,
    /// Where visitors of unknown codes are sent.
    pub unknown_url: Option<Target>,
    /// Where visitors of links that are over are sent, if the link itself says nothing.
    pub expired_url: Option<Target>,
    /// Whether codes are compared without case.
    pub case_insensitive: bool,
    /// Whether slugs may have several segments.
    pub multi_segment: bool,
    /// The formats of its generated codes.
    pub code_formats: CodeFormats,
    /// Of the default domain: whether unknown hosts have no links.
    pub unknown_host_refused: bool,
    /// All settings, as they are stored.
    settings: Fields,
}

impl Default for Site {
    /// The default domain without settings.
    fn default() -> Self {
        Self {
            domain: Domain::default(),
            host: None,
            created_at: None,
            default_status: RedirectStatus::Found,
            base_url: None,
            unknown_url: None,
            expired_url: None,
            case_insensitive: false,
            multi_segment: false,
            code_formats: CodeFormats::default(),
            unknown_host_refused: false,
            settings: Fields::default(),
        }
    }
}

impl Site {
    /// The key of the link that a code in a request means.
    pub fn key(&self, code: Code) -> LinkKey {
        let code = if self.case_insensitive { code.folded() } else { code };
        LinkKey { domain: self.domain, code }
    }

    /// The key of the link that a text in a request means; `None` if no link can have it.
    pub fn key_in(&self, text: &str) -> Option<LinkKey> {
        let code = if self.multi_segment { Code::from_segments(text) } else { Code::from_path(text) };
        code.map(|code| self.key(code))
    }

    /// The code of a new alias.
    ///
    /// # Errors
    /// [`CodeError`] says what to change.
    pub fn slug(&self, text: &str) -> Result<Code, CodeError> {
        // Folded first: what is stored has to be a slug.
        let folded = self.case_insensitive.then(|| unicode_slug::folded(text));
        let text = folded.as_deref().unwrap_or(text);
        let code = if self.multi_segment { Code::parse_segments(text)? } else { Code::parse_slug(text)? };
        if self.code_formats.is_mistyped(code.as_str()) { Err(CodeError::Mistyped) } else { Ok(code) }
    }

    /// Whether it is as some changes would make it.
    pub fn has(&self, changes: &FieldChanges) -> bool {
        let mut changed = self.settings.clone();
        changed.change(changes);
        changed == self.settings
    }

    fn of(domain: Domain, record: &DomainRecord) -> Self {
        let DomainRecord { host, created_at, settings } = record;
        Self {
            domain,
            host: host.clone(),
            created_at: Some(*created_at),
            default_status: DEFAULT_STATUS.of(settings).unwrap_or(RedirectStatus::Found),
            base_url: BASE_URL.of(settings),
            unknown_url: UNKNOWN_URL.of(settings),
            expired_url: EXPIRED_URL.of(settings),
            case_insensitive: CASE_INSENSITIVE.is_in(settings),
            multi_segment: MULTI_SEGMENT.is_in(settings),
            code_formats: record.code_formats(),
            unknown_host_refused: UNKNOWN_HOST_REFUSED.is_in(settings),
            settings: settings.clone(),
        }
    }
}

/// A host as the key of a map that is searched by bytes.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key(HostName);

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        self.0.as_str()
    }
}

/// The domains of a host name.
#[derive(Debug, Clone)]
enum Named {
    Site(Arc<Site>),
    Removed,
}

/// All domains at one moment.
#[derive(Debug, Default)]
pub struct Domains {
    default: Arc<Site>,
    by_host: HashMap<Key, Named>,
    by_number: BTreeMap<Domain, Arc<Site>>,
    /// Also of those that were removed.
    hosts: BTreeMap<Domain, HostName>,
}

/// What stands for a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfHost<'a> {
    /// A domain.
    Site(&'a Arc<Site>),
    /// A domain that was removed.
    Removed,
    /// No domain.
    Unknown,
}

impl Domains {
    /// The domains of these records.
    pub fn new(records: &BTreeMap<Domain, DomainRecord>) -> Self {
        let mut domains = Self::default();
        for (domain, record) in records {
            let named = match record.is_removed() {
                true => Named::Removed,
                false => Named::Site(Arc::new(Site::of(*domain, record))),
            };
            if let Named::Site(site) = &named {
                domains.by_number.insert(*domain, site.clone());
                if *domain == Domain::default() {
                    domains.default = site.clone();
                }
            }
            if let Some(host) = &record.host {
                let is_left = matches!(named, Named::Removed) && LEFT_TO_DEFAULT.is_in(&record.settings);
                if !is_left {
                    domains.by_host.insert(Key(host.clone()), named);
                }
                domains.hosts.insert(*domain, host.clone());
            }
        }
        domains
    }

    /// The default domain.
    pub fn default_site(&self) -> &Arc<Site> {
        &self.default
    }

    /// The domain of a host as a request names it: in any case, with or without a port.
    pub fn of_host(&self, host: &str) -> OfHost<'_> {
        // On the stack: nothing is allocated for a redirect.
        let mut buffer = [0; HOST_BYTES_MAX];
        let host = bare_host(host);
        let Some(lower) = buffer.get_mut(..host.len()) else { return OfHost::Unknown };
        lower.copy_from_slice(host.as_bytes());
        lower.make_ascii_lowercase();
        let named = std::str::from_utf8(lower).ok().and_then(|host| self.by_host.get(host));
        match named {
            Some(Named::Site(site)) => OfHost::Site(site),
            Some(Named::Removed) => OfHost::Removed,
            None => OfHost::Unknown,
        }
    }

    /// Whether a host is that of a domain other than the default one.
    pub fn has(&self, host: &str) -> bool {
        matches!(self.of_host(host), OfHost::Site(_))
    }

    /// The domain with a number, unless it was removed.
    pub fn site(&self, domain: Domain) -> Option<&Arc<Site>> {
        if domain == Domain::default() { Some(&self.default) } else { self.by_number.get(&domain) }
    }

    /// The domain of a host, unless it was removed.
    pub fn named(&self, host: &HostName) -> Option<&Arc<Site>> {
        match self.by_host.get(host.as_str()) {
            Some(Named::Site(site)) => Some(site),
            Some(Named::Removed) | None => None,
        }
    }

    /// The host of a domain, also of one that was removed.
    pub fn host(&self, domain: Domain) -> Option<&HostName> {
        self.hosts.get(&domain)
    }

    /// The domains that were removed. Their links stay stored.
    pub fn removed(&self) -> impl Iterator<Item = Domain> {
        self.hosts.keys().copied().filter(|domain| self.site(*domain).is_none())
    }

    /// All domains that have a host, in the order of their numbers.
    pub fn with_hosts(&self) -> impl Iterator<Item = &Arc<Site>> {
        self.by_number.values().filter(|site| site.host.is_some())
    }
}

/// A host as a request names it, without its port and without the dot that may end it.
pub fn bare_host(host: &str) -> &str {
    let name = match host.rsplit_once(':') {
        // An address in brackets has colons, and is no domain.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name.strip_suffix('.').unwrap_or(name)
}

/// The domains as this node knows them: what its replica of group 0 has applied.
#[derive(Debug)]
pub struct DomainTable {
    /// There is nothing but the default domain without settings, so nobody needs to look.
    plain: AtomicBool,
    current: ArcSwap<Domains>,
}

impl Default for DomainTable {
    fn default() -> Self {
        Self { plain: AtomicBool::new(true), current: ArcSwap::default() }
    }
}

impl DomainTable {
    /// Whether every request is for the default domain, which has no settings.
    pub fn is_plain(&self) -> bool {
        self.plain.load(Ordering::Acquire)
    }

    /// The domains.
    pub fn load(&self) -> Guard<Arc<Domains>> {
        self.current.load()
    }

    /// Replaces all of them.
    pub fn publish(&self, records: &BTreeMap<Domain, DomainRecord>) {
        self.current.store(Arc::new(Domains::new(records)));
        // In this order: who sees that there are domains finds them.
        self.plain.store(records.is_empty(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::REMOVED;
    use crate::properties::Set;

    fn record(host: Option<&str>, changes: impl FnOnce(&mut FieldChanges)) -> DomainRecord {
        let (mut settings, mut of) = (Fields::default(), FieldChanges::default());
        changes(&mut of);
        settings.change(&of);
        DomainRecord { host: host.map(|host| HostName::parse(host).unwrap()), created_at: UnixMs(1), settings }
    }

    #[test]
    fn a_request_finds_its_domain_by_the_host_in_any_spelling() {
        let records = BTreeMap::from([
            (Domain(1), record(Some("a.example"), |_| ())),
            (Domain(2), record(Some("b.example"), |of| REMOVED.change(of, Some(&Set)))),
        ]);
        let domains = Domains::new(&records);
        let of = |host: &str| match domains.of_host(host) {
            OfHost::Site(site) => Some(site.domain.0),
            OfHost::Removed => Some(0),
            OfHost::Unknown => None,
        };
        for host in ["a.example", "A.Example", "a.example.", "a.example:8080", "a.example.:80", "a.example:"] {
            assert_eq!(of(host), Some(1), "{host}");
        }
        assert_eq!(of("b.example"), Some(0));
        for host in ["", "c.example", "xa.example", "a.example:x", "[::1]", "[::1]:80", ":80", "ä", &"a".repeat(300)] {
            assert_eq!(of(host), None, "{host}");
        }
        assert!(domains.site(Domain(2)).is_none() && domains.site(Domain(1)).is_some());
        assert_eq!(domains.with_hosts().count(), 1);
        assert_eq!(domains.removed().collect::<Vec<_>>(), [Domain(2)]);
    }

    #[test]
    fn the_host_of_a_removed_domain_can_be_left_to_the_default_one() {
        let removed = |of: &mut FieldChanges| REMOVED.change(of, Some(&Set));
        let left = |of: &mut FieldChanges| {
            removed(of);
            LEFT_TO_DEFAULT.change(of, Some(&Set));
        };
        let records = BTreeMap::from([
            (Domain(1), record(Some("a.example"), left)),
            (Domain(2), record(Some("b.example"), removed)),
            (Domain(3), record(Some("c.example"), |of| LEFT_TO_DEFAULT.change(of, Some(&Set)))),
        ]);
        let domains = Domains::new(&records);
        assert_eq!((domains.of_host("a.example"), domains.of_host("b.example")), (OfHost::Unknown, OfHost::Removed));
        assert!(domains.has("c.example") && !domains.has("a.example"));
        assert!(domains.site(Domain(1)).is_none() && domains.host(Domain(1)).is_some());
    }

    #[test]
    fn only_a_domain_of_slugs_with_several_segments_knows_such_a_code() {
        let settings = |of: &mut FieldChanges| {
            MULTI_SEGMENT.change(of, Some(&Set));
            CASE_INSENSITIVE.change(of, Some(&Set));
        };
        let records = BTreeMap::from([(Domain(1), record(Some("a.example"), settings))]);
        let domains = Domains::new(&records);
        let (multi, default) = (domains.site(Domain(1)).unwrap(), domains.default_site());
        assert_eq!(multi.slug("Docs/Setup").unwrap().as_str(), "docs/setup");
        assert_eq!(multi.key_in("DOCS/setup").unwrap().code.as_str(), "docs/setup");
        assert_eq!(multi.key_in("docs").unwrap().code.as_str(), "docs");
        assert_eq!(default.key_in("docs/setup"), None);
        assert!(default.slug("docs/setup").is_err());
    }

    #[test]
    fn a_site_knows_whether_changes_would_change_it() {
        let status = |status: Option<RedirectStatus>| {
            let mut changes = FieldChanges::default();
            DEFAULT_STATUS.change(&mut changes, status.as_ref());
            changes
        };
        let (temporary, found) = (RedirectStatus::TemporaryRedirect, RedirectStatus::Found);
        let records = BTreeMap::from([(Domain(1), record(Some("a.example"), |of| of.extend(status(Some(temporary)))))]);
        let domains = Domains::new(&records);
        let site = domains.site(Domain(1)).unwrap();
        assert!(site.has(&FieldChanges::default()) && site.has(&status(Some(temporary))));
        assert!(!site.has(&status(Some(found))) && !site.has(&status(None)));
        assert!(domains.default_site().has(&status(None)) && !domains.default_site().has(&status(Some(found))));
        let host = |of: u32| domains.host(Domain(of)).map(HostName::as_str);
        assert_eq!((host(1), host(2)), (Some("a.example"), None));
        let named = |host: &str| domains.named(&HostName::parse(host).unwrap()).map(|site| site.domain);
        assert_eq!((named("a.example"), named("b.example")), (Some(Domain(1)), None));
    }

    #[test]
    fn a_table_is_plain_until_there_is_a_record() {
        let table = DomainTable::default();
        assert!(table.is_plain());
        assert_eq!(**table.load().default_site(), Site::default());
        let status = RedirectStatus::TemporaryRedirect;
        table.publish(&BTreeMap::from([(Domain(0), record(None, |of| DEFAULT_STATUS.change(of, Some(&status))))]));
        assert!(!table.is_plain());
        assert_eq!(table.load().default_site().default_status, status);
        assert_eq!(table.load().site(Domain(0)).unwrap().default_status, status);
        table.publish(&BTreeMap::new());
        assert!(table.is_plain());
    }
}
