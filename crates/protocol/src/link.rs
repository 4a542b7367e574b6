//! The link, and its stored form.
//!
//! Later fields go into the optional fields at the end (`fields.rs`): a reader keeps those that it does not know, so a link
//! written by a newer version survives an edit by an older one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Domain, Fields, LinkKey, LinkSpec, UnixMs};

/// A link as it is stored and replicated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Domain and code.
    pub key: LinkKey,
    /// Its target, its end and its optional fields.
    pub spec: LinkSpec,
    /// The time of its creation, by the proposer's clock.
    pub created_at: UnixMs,
    /// Increases by one with each edit.
    pub version: u32,
    /// The log index of the shard's group that last wrote it.
    pub written_at: u64,
    /// The number of the API key that created it; 0 = open access.
    pub created_by: u32,
    /// Whether the code was generated. Only such links are found by find-existing.
    pub generated: bool,
}

/// Stored in this order: the parts of the spec stand where they did before there was one.
impl Serialize for Link {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { key, spec, created_at, version, written_at, created_by, generated } = self;
        let LinkSpec { target, valid_until, fields } = spec;
        (key, target, created_at, valid_until, version, written_at, created_by, generated, fields).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Link {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (key, target, created_at, valid_until, version, written_at, created_by, generated, fields) =
            Deserialize::deserialize(from)?;
        let spec = LinkSpec { target, valid_until, fields };
        Ok(Self { key, spec, created_at, version, written_at, created_by, generated })
    }
}

/// Identifies one state of one link: the value of `ETag` and `If-Match`.
///
/// It includes the log index because a code may be deleted and claimed again: the new link then begins at version 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkVersion {
    /// The link's version.
    pub version: u32,
    /// The log index that wrote it.
    pub written_at: u64,
}

impl fmt::Display for LinkVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:x}", self.version, self.written_at)
    }
}

impl FromStr for LinkVersion {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (version, written_at) = text.split_once('-').ok_or(())?;
        let version = version.parse().map_err(|_| ())?;
        let written_at = u64::from_str_radix(written_at, 16).map_err(|_| ())?;
        Ok(Self { version, written_at })
    }
}

/// What an index needs of a stored link, with the texts where they are stored: reading it copies nothing.
#[derive(Debug)]
pub struct LinkHead<'a> {
    /// Its domain.
    pub domain: Domain,
    /// Its code.
    pub code: &'a str,
    /// Its target.
    pub target: &'a str,
    /// Its end.
    pub valid_until: Option<UnixMs>,
    /// Whether the code was generated.
    pub generated: bool,
    /// Its optional fields.
    pub fields: Fields,
}

impl<'de: 'a, 'a> Deserialize<'de> for LinkHead<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        type Stored<'a> = ((Domain, &'a str), &'a str, UnixMs, Option<UnixMs>, u32, u64, u32, bool, Fields);
        let ((domain, code), target, _created_at, valid_until, _version, _written_at, _created_by, generated, fields) =
            Stored::deserialize(from)?;
        Ok(Self { domain, code, target, valid_until, generated, fields })
    }
}

impl Link {
    /// The identity of this state of the link.
    pub fn link_version(&self) -> LinkVersion {
        LinkVersion { version: self.version, written_at: self.written_at }
    }

    /// Whether the link has expired at `now`.
    pub fn expired(&self, now: UnixMs) -> bool {
        self.spec.valid_until.is_some_and(|until| until <= now)
    }
}

/// The totals of a link's visits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Visits {
    /// Redirects that were sent to people.
    pub total: u64,
    /// Redirects that were sent to bots.
    pub bots: u64,
    /// The time of the last visit by a person; 0 = never.
    pub last: UnixMs,
}

/// What is counted of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LinkCounts {
    /// Its visits.
    pub visits: Visits,
    /// How many of the visits of its limit (`maxVisits`) are used; 0 without a limit.
    pub used: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Code, KeyHash, Target};

    #[test]
    fn a_version_is_written_as_two_numbers_and_read_back() {
        let version = LinkVersion { version: 12, written_at: 255 };
        assert_eq!((version.to_string(), "12-ff".parse()), ("12-ff".to_owned(), Ok(version)));
        for wrong in ["", "12", "12-", "-ff", "x-1", "1-g", "1-1-1", "4294967296-1"] {
            assert_eq!(wrong.parse::<LinkVersion>(), Err(()), "{wrong}");
        }
    }

    #[test]
    fn the_head_of_a_stored_link_is_read_from_its_bytes() {
        let mut fields = Fields::default();
        fields.set(7, Some(vec![1, 2]));
        let target = Target::parse("https://example.com/a", &[], 8192).unwrap();
        let link = Link {
            key: LinkKey { domain: Domain(300), code: Code::parse_slug("code").unwrap() },
            spec: LinkSpec { target, valid_until: Some(UnixMs(9)), fields },
            created_at: UnixMs(1),
            version: 3,
            written_at: 400,
            created_by: 5,
            generated: true,
        };
        let bytes = postcard::to_stdvec(&link).unwrap();
        let head: LinkHead<'_> = postcard::from_bytes(&bytes).unwrap();
        assert_eq!((head.domain, head.code, head.target), (Domain(300), "code", "https://example.com/a"));
        assert_eq!((head.valid_until, head.generated), (Some(UnixMs(9)), true));
        assert_eq!(head.fields, link.spec.fields);
        assert_eq!(KeyHash::of(head.domain, head.code), link.key.hash());
        assert!(postcard::from_bytes::<LinkHead<'_>>(&bytes[..bytes.len() - 1]).is_err());
    }

    #[test]
    fn a_link_ends_with_the_millisecond_that_it_names_and_tells_its_version() {
        let link = |valid_until| Link {
            key: LinkKey::new(Code::parse_slug("code").unwrap()),
            spec: LinkSpec { valid_until, ..LinkSpec::to(Target::parse("https://example.com", &[], 8192).unwrap()) },
            created_at: UnixMs(1),
            version: 3,
            written_at: 9,
            created_by: 0,
            generated: false,
        };
        let ends = link(Some(UnixMs(100)));
        assert_eq!([99, 100, 101].map(|now| ends.expired(UnixMs(now))), [false, true, true]);
        assert!(!link(None).expired(UnixMs(u64::MAX)));
        assert_eq!(ends.link_version(), LinkVersion { version: 3, written_at: 9 });
    }
}
