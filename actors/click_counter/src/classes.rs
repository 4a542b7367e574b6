//! The classes of a visitor that are recorded instead of address and user agent. Each worker remembers them.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use siphasher::sip::SipHasher13;
use waypost_journal::TEXT_BYTES_MAX;
use waypost_protocol::UnixMs;
use waypost_protocol::clicks::HOUR_MS;

use crate::agent::Agent;
use crate::geo::{Geo, Location};
use crate::visit::Visit;

/// The number of user agents, and of addresses, whose classes a worker remembers.
const REMEMBERED_MAX: usize = 4096;

/// How long one key of the visitors' hash is used: about a month. After that the same person counts as another one.
const VISITOR_KEY_MS: u64 = 30 * 24 * HOUR_MS;

/// What a request says about its visitor.
#[derive(Debug, Clone, Copy, Default)]
pub struct Visitor<'a> {
    /// Where the request came from.
    pub address: Option<IpAddr>,
    /// `User-Agent`.
    pub user_agent: &'a [u8],
    /// `Referer`.
    pub referrer: &'a [u8],
    /// `Accept-Language`.
    pub language: &'a [u8],
    /// Whether the browser loads the page in advance, or shows a preview.
    pub prefetch: bool,
    /// Whether only the fact of a visit may be recorded.
    pub anonymous: bool,
}

/// What a worker remembers.
#[derive(Default)]
pub(crate) struct Memory {
    agents: HashMap<u64, Agent>,
    places: HashMap<IpAddr, Location>,
    geo_version: u64,
    /// The period of the key of the visitors' hash, and the key.
    visitor_key: (u64, [u64; 2]),
    /// The present second, and the number of orphan visits in it.
    pub(crate) orphans: (u64, u32),
    pub(crate) text: Vec<u8>,
}

impl Memory {
    /// The class of a visitor.
    pub(crate) fn agent(&mut self, hash: u64, visitor: &Visitor<'_>) -> Agent {
        if visitor.prefetch { Agent::PREFETCH } else { self.agent_of(hash, visitor.user_agent) }
    }

    /// The class of a user agent with this hash.
    pub(crate) fn agent_of(&mut self, hash: u64, user_agent: &[u8]) -> Agent {
        if user_agent.is_empty() {
            return Agent::UNNAMED;
        }
        if let Some(agent) = self.agents.get(&hash) {
            return *agent;
        }
        if self.agents.len() >= REMEMBERED_MAX {
            self.agents.clear();
        }
        let agent = Agent::of(&String::from_utf8_lossy(user_agent));
        self.agents.insert(hash, agent);
        agent
    }

    pub(crate) fn visitor_key(&mut self, secret: &[u8; 32], at: UnixMs) -> [u64; 2] {
        let period = at.0 / VISITOR_KEY_MS + 1;
        if self.visitor_key.0 != period {
            let digest = blake3::keyed_hash(secret, &period.to_le_bytes());
            let word = |i: usize| u64::from_le_bytes(std::array::from_fn(|byte| digest.as_bytes()[8 * i + byte]));
            self.visitor_key = (period, [word(0), word(1)]);
        }
        self.visitor_key.1
    }

    /// The location of an address; `None` without a database.
    pub(crate) fn place_of(&mut self, geo: &Geo, address: IpAddr) -> Option<&Location> {
        let version = geo.version();
        if version == 0 {
            return None;
        }
        if self.geo_version != version || self.places.len() >= REMEMBERED_MAX {
            self.places.clear();
            self.geo_version = version;
        }
        Some(self.places.entry(address).or_insert_with(|| geo.locate(address)))
    }

    /// Adds the location of an address to a visit.
    pub(crate) fn locate(&mut self, geo: &Geo, address: IpAddr, visit: &mut Visit) {
        let Some(location) = self.place_of(geo, address).cloned() else { return };
        visit.country = location.country;
        if !location.city.is_empty() && self.text.len() + 1 + location.city.len() <= TEXT_BYTES_MAX {
            self.text.push(b'\n');
            self.text.extend_from_slice(location.city.as_bytes());
        }
    }
}

pub(crate) fn hash(key: [u64; 2], what: &impl Hash) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(key[0], key[1]);
    what.hash(&mut hasher);
    hasher.finish()
}

/// The host in a `Referer`, without `www.`; empty if there is none.
pub(crate) fn referrer_host(referrer: &[u8]) -> &[u8] {
    let Some(start) = referrer.windows(3).take(16).position(|three| three == b"://") else { return b"" };
    let rest = &referrer[start + 3..];
    let rest = &rest[..rest.len().min(512)];
    let end = rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len());
    let host = &rest[..end];
    let host = host.iter().rposition(|byte| *byte == b'@').map_or(host, |at| &host[at + 1..]);
    let host = match host.iter().rposition(|byte| *byte == b':') {
        Some(colon) if host[colon + 1..].iter().all(u8::is_ascii_digit) => &host[..colon],
        _ => host,
    };
    let host = host.strip_prefix(b"www.").unwrap_or(host);
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_[]:".contains(byte);
    if host.len() <= 72 && host.iter().all(plain) { host } else { b"" }
}

/// The first language of an `Accept-Language`, if it has two letters.
pub(crate) fn language(header: &[u8]) -> [u8; 2] {
    match header {
        [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
            [a.to_ascii_lowercase(), b.to_ascii_lowercase()]
        }
        [a, b, next, ..] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() && b"-,; _".contains(next) => {
            [a.to_ascii_lowercase(), b.to_ascii_lowercase()]
        }
        _ => [0; 2],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_referrer_only_the_host_is_kept() {
        for (referrer, host) in [
            ("https://www.Example.com/a/page?q=1", "Example.com"),
            ("https://news.example.org", "news.example.org"),
            ("http://user:secret@example.com:8080/x", "example.com"),
            ("android-app://com.google.android.gm/", "com.google.android.gm"),
            ("https://[2001:db8::1]:443/", "[2001:db8::1]"),
            ("https://xn--bcher-kva.example/?x#y", "xn--bcher-kva.example"),
            ("about:blank", ""),
            ("", ""),
            ("https://<script>/", ""),
            ("https://bücher.example/", ""),
        ] {
            assert_eq!(referrer_host(referrer.as_bytes()), host.as_bytes(), "{referrer}");
        }
        assert_eq!(referrer_host(format!("https://{}/", "a".repeat(600)).as_bytes()), b"");
    }

    #[test]
    fn the_first_language_counts() {
        for (header, first) in [
            ("de-CH,de;q=0.9,en;q=0.8", "de"),
            ("EN", "en"),
            ("fr;q=0.5", "fr"),
            ("pt_BR", "pt"),
            ("*", ""),
            ("haw", ""),
        ] {
            let expected: [u8; 2] = first.as_bytes().try_into().unwrap_or([0; 2]);
            assert_eq!(language(header.as_bytes()), expected, "{header}");
        }
    }
}
