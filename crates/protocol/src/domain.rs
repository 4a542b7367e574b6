//! Domains: hosts with short links of their own, and their settings.
//!
//! Group 0 has a record of each. A setting is an optional field (`fields.rs`) with a tag of this file: a new one is a constant here, a name in
//! the JSON of a domain, and whatever it changes. Values are encoded with postcard. They are stored, so a tag and the encoding of its
//! value never change.

use std::fmt;

use serde::{Deserialize, Serialize};
use url::Host;

use crate::fields::Tag;
use crate::properties::{Property, RedirectStatus, Set};
use crate::{CodeFormat, CodeFormats, FieldChanges, Fields, Level, Target, UnixMs};

/// The most domains of a cluster, with those that were removed: every node keeps all of them in memory, a few hundred bytes each, and
/// reads the whole table when one is changed.
pub const DOMAINS_MAX: usize = 1000;

/// The longest host, in bytes (RFC 1035).
pub const HOST_BYTES_MAX: usize = 253;

/// The longest label of a host, in bytes (RFC 1035).
const LABEL_BYTES_MAX: usize = 63;

/// The name of the default domain in the API. No host can have it.
pub const DEFAULT_NAME: &str = "DEFAULT";

/// The status of redirects of links that ask for none. A temporary one: a permanent one is asked for by each link.
pub const DEFAULT_STATUS: Property<RedirectStatus> = Property::new(1);
/// Where visitors of `/` are sent.
pub const BASE_URL: Property<Target> = Property::new(2);
/// Where visitors of unknown codes are sent.
pub const UNKNOWN_URL: Property<Target> = Property::new(3);
/// Where visitors of links that are over are sent, if the link itself says nothing.
pub const EXPIRED_URL: Property<Target> = Property::new(4);
/// Codes are compared without case. Fixed when the domain is made.
pub const CASE_INSENSITIVE: Property<Set> = Property::new(5);
/// Slugs may have several segments. Fixed when the domain is made.
pub const MULTI_SEGMENT: Property<Set> = Property::new(6);
/// Of the default domain: other hosts than those of domains and its own have no links.
pub const UNKNOWN_HOST_REFUSED: Property<Set> = Property::new(7);
/// The format of generated codes. With a change, group 0 notes from which counter on it is used: [`CODE_FORMATS`].
pub const CODE_FORMAT: Property<CodeFormat> = Property::new(8);
/// The formats that generated codes have had. Group 0 writes it.
pub const CODE_FORMATS: Property<CodeFormats> = Property::new(10);
/// The domain was removed: it answers nothing, and its number stays its own.
pub const REMOVED: Property<Set> = Property::new(9);

/// Of a domain that was removed: its host has the links of the default domain, and not none.
pub const LEFT_TO_DEFAULT: Property<Set> = Property::new(11);

/// The tags of this version that a command may have.
const KNOWN: &[Tag] = &[1, 2, 3, 4, 5, 6, 7, 8, 11];

/// The settings that say which link a path means: with another value, links that exist could not be reached, or be reached by other paths.
const FIXED: &[Tag] = &[5, 6];

/// The host of a domain in its normal form: lower case, in ASCII (punycode), without a port and without the dot that may end it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostName(String);

/// Why a text cannot be the host of a domain, and what to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// It is not a name of a host.
    #[error("it has to be the name of a host, like go.example, without a scheme, a port or a path")]
    NoName,
    /// It is an address.
    #[error("an IP address cannot be a domain; give the name of a host, like go.example")]
    Address,
    /// It or a part of it is too long.
    #[error(
        "a host has at most {HOST_BYTES_MAX} bytes, and {LABEL_BYTES_MAX} between two dots, in the form that is sent to a resolver"
    )]
    TooLong,
    /// It is the name of the default domain.
    #[error("{DEFAULT_NAME} is the name of the default domain")]
    Default,
}

impl HostName {
    /// Reads a host as people write it.
    ///
    /// # Errors
    /// See [`HostError`].
    pub fn parse(text: &str) -> Result<Self, HostError> {
        let text = text.trim();
        if text.eq_ignore_ascii_case(DEFAULT_NAME) {
            return Err(HostError::Default);
        }
        // The URL parser would decode escapes.
        if text.contains('%') {
            return Err(HostError::NoName);
        }
        let name = match Host::parse(text).map_err(|_| HostError::NoName)? {
            Host::Domain(name) => name,
            Host::Ipv4(_) | Host::Ipv6(_) => return Err(HostError::Address),
        };
        let name = name.strip_suffix('.').unwrap_or(&name);
        let possible = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.split('.').any(|label| label.is_empty() || !label.bytes().all(possible)) {
            return Err(HostError::NoName);
        }
        if name.len() > HOST_BYTES_MAX || name.split('.').any(|label| label.len() > LABEL_BYTES_MAX) {
            return Err(HostError::TooLong);
        }
        Ok(Self(name.to_owned()))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A domain, as group 0 has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainRecord {
    /// Its host; `None` for the default domain.
    pub host: Option<HostName>,
    /// When it was made, or the default domain got its first setting.
    pub created_at: UnixMs,
    /// Its settings, also those that this version does not know.
    pub settings: Fields,
}

impl DomainRecord {
    /// The formats of its generated codes.
    pub fn code_formats(&self) -> CodeFormats {
        CODE_FORMATS.of(&self.settings).unwrap_or_default()
    }

    /// Whether it was removed.
    pub fn is_removed(&self) -> bool {
        REMOVED.is_in(&self.settings)
    }
}

/// The lowest level at which these settings may be changed: those that this version does not know belong to a later one.
pub fn level_of(changes: &FieldChanges) -> Level {
    if changes.tags().all(|tag| KNOWN.contains(&tag)) { Level::THREE } else { Level::NEVER }
}

/// Whether two lists of settings agree in those that are fixed when a domain is made.
pub fn same_fixed(one: &Fields, other: &Fields) -> bool {
    FIXED.iter().all(|tag| one.get(*tag) == other.get(*tag))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Alphabet;

    #[test]
    fn a_host_is_read_as_people_write_it() {
        for (text, host) in [
            ("go.example", "go.example"),
            (" Go.EXAMPLE. ", "go.example"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("localhost", "localhost"),
            ("a-b.c1", "a-b.c1"),
        ] {
            assert_eq!(HostName::parse(text).map(|host| host.to_string()), Ok(host.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_no_name_of_a_host_is_refused_with_the_reason() {
        for text in
            ["", ".", "a..b", "https://go.example", "go.example:80", "go.example/x", "a b", "a_b.c", "%61.b", "a*b"]
        {
            assert_eq!(HostName::parse(text), Err(HostError::NoName), "{text}");
        }
        for text in ["127.0.0.1", "[::1]", "0x7f.1"] {
            assert_eq!(HostName::parse(text), Err(HostError::Address), "{text}");
        }
        assert_eq!(HostName::parse("default"), Err(HostError::Default));
        let label = |length| "a".repeat(length);
        assert!(HostName::parse(&format!("{}.example", label(63))).is_ok());
        assert_eq!(HostName::parse(&format!("{}.example", label(64))), Err(HostError::TooLong));
        let long = [label(63), label(63), label(63), label(62)].join(".");
        assert_eq!(HostName::parse(&long), Err(HostError::TooLong));
    }

    #[test]
    fn a_setting_of_a_later_version_is_not_proposed() {
        let mut changes = FieldChanges::default();
        assert_eq!(level_of(&changes), Level::THREE);
        CASE_INSENSITIVE.change(&mut changes, Some(&Set));
        MULTI_SEGMENT.change(&mut changes, Some(&Set));
        assert_eq!(level_of(&changes), Level::THREE);
        changes.set(200, None);
        assert_eq!(level_of(&changes), Level::NEVER);
    }

    #[test]
    fn settings_have_golden_bytes() {
        let url = Target::parse("https://a.b/", &[], 100).unwrap();
        let mut changes = FieldChanges::default();
        DEFAULT_STATUS.change(&mut changes, Some(&RedirectStatus::TemporaryRedirect));
        BASE_URL.change(&mut changes, Some(&url));
        UNKNOWN_URL.change(&mut changes, Some(&url));
        EXPIRED_URL.change(&mut changes, Some(&url));
        CASE_INSENSITIVE.change(&mut changes, Some(&Set));
        MULTI_SEGMENT.change(&mut changes, Some(&Set));
        UNKNOWN_HOST_REFUSED.change(&mut changes, Some(&Set));
        REMOVED.change(&mut changes, Some(&Set));
        let format = CodeFormat::new(Alphabet::Unambiguous, 8, "p-", true).unwrap();
        let mut formats = CodeFormats::default();
        formats.change(300, format.clone()).unwrap();
        CODE_FORMAT.change(&mut changes, Some(&format));
        CODE_FORMATS.change(&mut changes, Some(&formats));
        LEFT_TO_DEFAULT.change(&mut changes, Some(&Set));
        let mut settings = Fields::default();
        settings.change(&changes);
        let url = [&[12][..], b"https://a.b/"].concat();
        let format = [&[2, 8, 2][..], b"p-", &[1]].concat();
        let formats = [&[1, 0xac, 2][..], &format].concat();
        let expected: [(Tag, &[u8]); 11] = [
            (1, &[0xb3, 2]),
            (2, &url),
            (3, &url),
            (4, &url),
            (5, &[]),
            (6, &[]),
            (7, &[]),
            (8, &format),
            (9, &[]),
            (10, &formats),
            (11, &[]),
        ];
        assert_eq!(settings.iter().collect::<Vec<_>>(), expected);
        let record = DomainRecord {
            host: Some(HostName::parse("go.example").unwrap()),
            created_at: UnixMs(300),
            settings: Fields::default(),
        };
        let bytes = postcard::to_stdvec(&record).unwrap();
        assert_eq!(bytes, [&[1, 10][..], b"go.example", &[0xac, 2, 0]].concat());
        assert_eq!(postcard::from_bytes(&bytes), Ok(record));
    }
}
