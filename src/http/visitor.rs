//! The visitor of a request, from its headers, and whether the visit counts.

use std::net::{IpAddr, SocketAddr};

use actix_http::header::{ACCEPT_LANGUAGE, FORWARDED, HeaderName, REFERER, USER_AGENT};
use waypost_click_counter::Visitor;
use waypost_head::Headers;

use super::forwarded::{FORWARDED_FOR, PROXIES_MAX, address_in, is_in};
use super::wire::{client_of, is_exempt};
use crate::config::VisitorRules;

const SEC_PURPOSE: HeaderName = HeaderName::from_static("sec-purpose");
const PURPOSE: HeaderName = HeaderName::from_static("purpose");
const X_PURPOSE: HeaderName = HeaderName::from_static("x-purpose");
const X_MOZ: HeaderName = HeaderName::from_static("x-moz");
const DNT: HeaderName = HeaderName::from_static("dnt");
const SEC_GPC: HeaderName = HeaderName::from_static("sec-gpc");

/// The visitor; `None` if the visit must not be counted.
pub(super) fn visitor<'a>(
    rules: &VisitorRules,
    headers: &'a impl Headers,
    peer: Option<SocketAddr>,
    query: Option<&str>,
) -> Option<Visitor<'a>> {
    if !rules.no_track_parameter.is_empty()
        && let Some(query) = query
        && query.split('&').any(|pair| pair.split('=').next() == Some(&rules.no_track_parameter))
    {
        return None;
    }
    let visitor = described(rules, headers, peer);
    let excluded = visitor.address.is_some_and(|address| is_in(&rules.excluded, address));
    (!excluded).then_some(visitor)
}

/// The visitor, whether or not the visit is counted.
pub(super) fn described<'a>(rules: &VisitorRules, headers: &'a impl Headers, peer: Option<SocketAddr>) -> Visitor<'a> {
    let text = |name: &HeaderName| headers.first(name).unwrap_or_default();
    let anonymous = rules.respect_do_not_track && (text(&DNT) == b"1" || text(&SEC_GPC) == b"1");
    Visitor {
        address: address_of(rules, headers, peer),
        user_agent: text(&USER_AGENT),
        referrer: text(&REFERER),
        language: text(&ACCEPT_LANGUAGE),
        prefetch: [SEC_PURPOSE, PURPOSE, X_PURPOSE, X_MOZ].iter().any(|name| is_ahead(text(name))),
        anonymous,
    }
}

/// The address of the client: the peer, or the one that a trusted proxy reports.
pub(super) fn address_of(rules: &VisitorRules, headers: &impl Headers, peer: Option<SocketAddr>) -> Option<IpAddr> {
    match peer.map(|peer| peer.ip().to_canonical()) {
        Some(peer) if is_in(&rules.trusted_proxies, peer) => Some(client(rules, headers).unwrap_or(peer)),
        other => other,
    }
}

/// The client whose budgets a request uses; `None` if it has no limit: this machine, and a trusted proxy itself.
pub(super) fn limited_client(rules: &VisitorRules, headers: &impl Headers, peer: Option<SocketAddr>) -> Option<IpAddr> {
    let address = address_of(rules, headers, peer)?;
    (!is_exempt(&rules.trusted_proxies, address)).then(|| client_of(address))
}

/// Whether a purpose shows that nobody has asked for the page yet: `prefetch`, `prefetch;prerender`, `preview` and the like.
fn is_ahead(purpose: &[u8]) -> bool {
    purpose
        .split(|byte| !byte.is_ascii_alphanumeric())
        .any(|word| [&b"prefetch"[..], b"prerender", b"preview"].iter().any(|known| word.eq_ignore_ascii_case(known)))
}

/// The address that the nearest trusted proxy saw: from the right, the first that is not itself trusted.
fn client(rules: &VisitorRules, headers: &impl Headers) -> Option<IpAddr> {
    // A value that is not text is not an address, and must not make another value believed in its place.
    let has_separate = headers.has(&FORWARDED_FOR);
    let hops = if has_separate { headers.joined(&FORWARDED_FOR) } else { headers.joined(&FORWARDED) };
    let parse = if has_separate { address_in } else { forwarded_for };
    let mut last = None;
    for hop in hops.rsplit(',').take(PROXIES_MAX) {
        let address = parse(hop.trim())?;
        last = Some(address);
        if !is_in(&rules.trusted_proxies, address) {
            break;
        }
    }
    last
}

/// The `for` of one element of `Forwarded` (RFC 7239).
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let (_, value) = element
        .split(';')
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| name.eq_ignore_ascii_case("for"))?;
    address_in(value.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use actix_http::header::{HeaderMap, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    fn rules() -> VisitorRules {
        VisitorRules {
            trusted_proxies: vec!["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()],
            excluded: vec!["192.0.2.0/24".parse().unwrap()],
            respect_do_not_track: true,
            no_track_parameter: "no-track".to_owned(),
        }
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn address(peer: &str, pairs: &[(&'static str, &str)]) -> Option<String> {
        let headers = headers(pairs);
        let visitor = visitor(&rules(), &headers, Some(format!("{peer}:1").parse().unwrap()), None)?;
        visitor.address.map(|address| address.to_string())
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let client = "203.0.113.7";
        for (peer, pairs, expected) in [
            ("198.51.100.1", vec![("x-forwarded-for", client)], "198.51.100.1"),
            ("127.0.0.1", vec![], "127.0.0.1"),
            ("127.0.0.1", vec![("x-forwarded-for", client)], client),
            // The client's own value comes first, and is not believed.
            ("127.0.0.1", vec![("x-forwarded-for", "1.2.3.4, 203.0.113.7, 10.1.1.1")], client),
            ("127.0.0.1", vec![("x-forwarded-for", "1.2.3.4"), ("x-forwarded-for", client)], client),
            ("127.0.0.1", vec![("x-forwarded-for", "nonsense")], "127.0.0.1"),
            ("127.0.0.1", vec![("forwarded", "for=1.2.3.4, for=\"[2001:db8::9]:4711\";proto=https")], "2001:db8::9"),
            ("127.0.0.1", vec![("forwarded", "proto=http;For=203.0.113.7")], client),
            ("127.0.0.1", vec![("x-forwarded-for", "::ffff:203.0.113.7")], client),
        ] {
            assert_eq!(address(peer, &pairs).as_deref(), Some(expected), "{peer} {pairs:?}");
        }
    }

    #[test]
    fn visits_that_are_not_to_be_counted_are_not() {
        assert_eq!(address("192.0.2.5", &[]), None);
        assert_eq!(address("127.0.0.1", &[("x-forwarded-for", "192.0.2.9")]), None);
        let none = HeaderMap::new();
        for (query, counted) in
            [("no-track", false), ("a=b&no-track=1", false), ("no-tracks", true), ("a=no-track", true), ("", true)]
        {
            assert_eq!(visitor(&rules(), &none, None, Some(query)).is_some(), counted, "{query}");
        }
    }

    #[test]
    fn a_wish_not_to_be_tracked_and_a_prefetch_are_heard() {
        let of = |pairs: &[(&'static str, &str)]| {
            let headers = headers(pairs);
            let visitor = visitor(&rules(), &headers, None, None).unwrap();
            (visitor.anonymous, visitor.prefetch)
        };
        assert_eq!(of(&[("dnt", "1")]), (true, false));
        assert_eq!(of(&[("sec-gpc", "1")]), (true, false));
        assert_eq!(of(&[("dnt", "0"), ("sec-purpose", "prefetch;prerender")]), (false, true));
        for name in ["sec-purpose", "purpose", "x-purpose", "x-moz"] {
            for value in [
                "prefetch",
                "Prefetch",
                "preview",
                "prerender",
                "prefetch;prerender",
                "prefetch;anonymous-client-ip",
                "a, preview",
            ] {
                assert_eq!(of(&[(name, value)]), (false, true), "{name}: {value}");
            }
            for value in ["", "view", "previewed", "no-prefetching"] {
                assert_eq!(of(&[(name, value)]), (false, false), "{name}: {value}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(one in "[ -~]{0,80}", two in "[ -~]{0,80}") {
            address("127.0.0.1", &[("x-forwarded-for", &one), ("forwarded", &two)]);
            address("127.0.0.1", &[("forwarded", &two)]);
        }
    }
}
