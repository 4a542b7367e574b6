//! The scheme and the host that a client requested, as a trusted proxy reports them.
//!
//! A proxy appends to a header, or replaces it. So the value of the first trusted proxy counts, read from the right;
//! values to the left of it come from the client itself, and are not believed. `X-Forwarded-For` tells how many proxies there were.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use actix_http::header::{FORWARDED, HOST, HeaderName};
use ipnet::IpNet;
use url::Url;
use waypost_head::{Headers, visible};

/// The most proxies that a request may have passed; earlier values are ignored.
pub(super) const PROXIES_MAX: usize = 16;

/// The longest `Forwarded` that is parsed, in bytes.
const FORWARDED_BYTES_MAX: usize = 4096;

/// The longest host with its port, in bytes.
const HOST_BYTES_MAX: usize = 260;

pub(super) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// The request of the proxies' client, as far as the proxies report it in a valid form.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    /// `http` or `https`.
    pub(super) scheme: Option<&'static str>,
    /// A host, with or without a port.
    pub(super) host: Option<String>,
    /// The port, if the host has none.
    pub(super) port: Option<u16>,
}

pub(super) fn is_in(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

/// The values of the proxies, if `peer` is trusted.
pub(super) fn asked(headers: &impl Headers, trusted: &[IpNet], peer: Option<IpAddr>) -> Option<Asked> {
    peer.map(|peer| peer.to_canonical()).filter(|peer| is_in(trusted, *peer))?;
    let own = [FORWARDED_FOR, FORWARDED_PROTO, FORWARDED_HOST, FORWARDED_PORT];
    // A proxy that sets one of these may pass on a `Forwarded` that it does not know.
    if own.iter().any(|name| headers.has(name)) {
        return Some(of_separate_headers(headers, trusted));
    }
    Some(of_forwarded(&headers.joined(&FORWARDED), trusted).unwrap_or_default())
}

/// The host that a visitor asked for, with or without a port: what a trusted proxy reports, else the request's own. Allocates nothing unless
/// several proxies are involved, or one with the header `Forwarded`.
pub(super) fn visited_host<'a>(
    headers: &'a impl Headers,
    trusted: &[IpNet],
    peer: Option<IpAddr>,
) -> Option<Cow<'a, str>> {
    let own = || headers.text(&HOST).map(Cow::Borrowed);
    let is_trusted = !trusted.is_empty() && peer.is_some_and(|peer| is_in(trusted, peer.to_canonical()));
    if !is_trusted {
        return own();
    }
    let name = FORWARDED_HOST;
    let mut named = headers.all(&name);
    match (named.next().and_then(visible), named.next()) {
        (Some(host), None) if !host.contains(',') && !host.trim().is_empty() => Some(Cow::Borrowed(host.trim())),
        (None, None) if !headers.has(&FORWARDED) => own(),
        _ => asked(headers, trusted, peer).and_then(|asked| asked.host).map(Cow::Owned).or_else(own),
    }
}

fn of_separate_headers(headers: &impl Headers, trusted: &[IpNet]) -> Asked {
    let clients = headers.joined(&FORWARDED_FOR);
    let hops = clients.rsplit(',').take(PROXIES_MAX - 1).map(|client| address_in(client.trim()));
    let behind = hops.take_while(|client| client.is_some_and(|client| is_in(trusted, client))).count();
    let written = |name: &HeaderName| {
        let values = headers.joined(name);
        let value = values.rsplit(',').take(behind + 1).last().map(str::trim).unwrap_or_default();
        value.to_owned()
    };
    Asked {
        scheme: scheme(&written(&FORWARDED_PROTO)),
        host: host(&written(&FORWARDED_HOST)),
        port: written(&FORWARDED_PORT).parse().ok().filter(|port| *port > 0),
    }
}

/// `None` if the header does not have the form of RFC 7239.
fn of_forwarded(text: &str, trusted: &[IpNet]) -> Option<Asked> {
    let elements = elements(text)?;
    let mut chosen = None;
    for element in elements.iter().rev().take(PROXIES_MAX) {
        chosen = Some(element);
        let client = element.client.as_deref().and_then(address_in);
        if !client.is_some_and(|client| is_in(trusted, client)) {
            break;
        }
    }
    let Element { proto, host: named, .. } = chosen?;
    Some(Asked { scheme: proto.as_deref().and_then(scheme), host: named.as_deref().and_then(host), port: None })
}

/// The element that one proxy has added to `Forwarded`.
#[derive(Debug, Default)]
struct Element {
    client: Option<String>,
    proto: Option<String>,
    host: Option<String>,
}

fn elements(text: &str) -> Option<Vec<Element>> {
    if text.len() > FORWARDED_BYTES_MAX {
        return None;
    }
    let mut elements = vec![Element::default()];
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = rest.find(['=', ',', ';'])?;
        let (name, after) = rest.split_at(end);
        if let Some(after) = after.strip_prefix('=') {
            let (value, after) = value(after)?;
            let element = elements.last_mut().expect("invariant: there is one from the start");
            let place = match name.trim().to_ascii_lowercase().as_str() {
                "for" => Some(&mut element.client),
                "proto" => Some(&mut element.proto),
                "host" => Some(&mut element.host),
                _ => None,
            };
            if let Some(place) = place
                && place.replace(value).is_some()
            {
                return None;
            }
            rest = after.trim_start();
        } else if name.trim().is_empty() {
            rest = after;
        } else {
            return None;
        }
        match rest.chars().next() {
            None => break,
            Some(',') => elements.push(Element::default()),
            Some(';') => {}
            Some(_) => return None,
        }
        rest = rest[1..].trim_start();
    }
    Some(elements)
}

/// A token or a quoted string, and the rest.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ';']).unwrap_or(text.len());
        return Some((text[..end].trim_end().to_owned(), &text[end..]))
            .filter(|(value, _)| !value.contains(['"', ' ']));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

fn scheme(text: &str) -> Option<&'static str> {
    ["http", "https"].into_iter().find(|scheme| scheme.eq_ignore_ascii_case(text))
}

fn host(text: &str) -> Option<String> {
    url_of("http", text).map(|_| text.to_owned())
}

/// The URL of a host with or without a port, if it is valid: anybody can send any header.
pub(super) fn url_of(scheme: &str, host: &str) -> Option<Url> {
    let plain = !host.is_empty()
        && host.len() <= HOST_BYTES_MAX
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte));
    if !plain {
        return None;
    }
    Url::parse(&format!("{scheme}://{host}/")).ok()
}

/// An address, with or without brackets and a port.
pub(super) fn address_in(text: &str) -> Option<IpAddr> {
    let plain = text.strip_prefix('[').and_then(|rest| rest.split(']').next()).unwrap_or(text);
    let address = plain.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use actix_http::header::{HeaderMap, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    fn says(peer: &str, pairs: &[(&'static str, &str)]) -> Option<(Option<&'static str>, Option<String>, Option<u16>)> {
        let trusted: Vec<IpNet> = vec!["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        asked(&headers, &trusted, Some(peer.parse().unwrap())).map(|asked| (asked.scheme, asked.host, asked.port))
    }

    const PROTO: &str = "x-forwarded-proto";
    const HOST: &str = "x-forwarded-host";
    const FOR: &str = "x-forwarded-for";

    #[test]
    fn only_a_trusted_proxy_is_heard() {
        let pairs = [(PROTO, "https"), (HOST, "go.example")];
        assert_eq!(says("203.0.113.1", &pairs), None);
        let heard = Some((Some("https"), Some("go.example".to_owned()), None));
        assert_eq!(says("127.0.0.1", &pairs), heard);
        assert_eq!(says("::ffff:127.0.0.1", &pairs), heard);
        assert_eq!(says("127.0.0.1", &[("forwarded", "proto=https;host=go.example")]), heard);
        assert_eq!(says("203.0.113.1", &[("forwarded", "proto=https;host=go.example")]), None);
    }

    #[test]
    fn a_visitor_is_on_the_host_that_a_trusted_proxy_reports_else_on_that_of_the_request() {
        let visited = |peer: &str, pairs: &[(&'static str, &str)]| {
            let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
            }
            visited_host(&headers, &trusted, Some(peer.parse().unwrap())).map(Cow::into_owned)
        };
        let own = ("host", "inner:8080");
        for (peer, pairs, expected) in [
            ("192.0.2.1", vec![own, (HOST, "go.example")], "inner:8080"),
            ("10.0.0.1", vec![own, (HOST, "go.example")], "go.example"),
            ("10.0.0.1", vec![own, (HOST, " go.example:80 ")], "go.example:80"),
            ("10.0.0.1", vec![own, (HOST, "")], "inner:8080"),
            ("10.0.0.1", vec![own, (PROTO, "https")], "inner:8080"),
            ("10.0.0.1", vec![own, (HOST, "evil.example, go.example")], "go.example"),
            ("10.0.0.1", vec![own, (HOST, "evil.example"), (HOST, "go.example")], "go.example"),
            ("10.0.0.1", vec![own, (FOR, "203.0.113.7, 10.1.1.1"), (HOST, "go.example, inner")], "go.example"),
            ("10.0.0.1", vec![own, ("forwarded", "for=203.0.113.7;host=go.example")], "go.example"),
        ] {
            assert_eq!(visited(peer, &pairs).as_deref(), Some(expected), "{peer} {pairs:?}");
        }
        assert_eq!(visited("10.0.0.1", &[]), None);
    }

    #[test]
    fn what_a_client_has_written_itself_is_not_believed() {
        for (pairs, scheme, host) in [
            (vec![(PROTO, "HTTPS")], Some("https"), None),
            // The only proxy has appended to the value of its client.
            (vec![(PROTO, "https, http"), (HOST, "evil.example, go.example")], Some("http"), Some("go.example")),
            (vec![(PROTO, "https"), (PROTO, "http")], Some("http"), None),
            // Two trusted proxies: the outer one reports the visitor.
            (
                vec![(FOR, "203.0.113.7, 10.1.1.1"), (PROTO, "https, http"), (HOST, "go.example, inner")],
                Some("https"),
                Some("go.example"),
            ),
            (vec![(FOR, "1.1.1.1, 203.0.113.7, 10.1.1.1"), (PROTO, "ftp, https, http")], Some("https"), None),
            // The inner one has kept the value of the outer one.
            (
                vec![(FOR, "203.0.113.7, 10.1.1.1"), (PROTO, "https"), (HOST, "go.example")],
                Some("https"),
                Some("go.example"),
            ),
            // A proxy that sets these does not know `Forwarded`.
            (vec![(FOR, "203.0.113.7"), ("forwarded", "host=evil.example;proto=https")], None, None),
            (
                vec![("forwarded", "for=1.1.1.1;host=evil.example, for=203.0.113.7;host=go.example;proto=https")],
                Some("https"),
                Some("go.example"),
            ),
            (
                vec![("forwarded", "for=203.0.113.7;host=go.example;proto=https, for=10.1.1.1;host=inner;proto=http")],
                Some("https"),
                Some("go.example"),
            ),
            (
                vec![
                    ("forwarded", "for=203.0.113.7;host=go.example;proto=https"),
                    ("forwarded", "for=\"10.1.1.1:80\""),
                ],
                Some("https"),
                Some("go.example"),
            ),
            (
                vec![("forwarded", "For=\"[2001:db8::9]:4711\"; Host=\"go.example:8443\" ;PROTO=\"https\";by=x")],
                Some("https"),
                Some("go.example:8443"),
            ),
            (vec![("forwarded", "host=\"g\\o.example\"")], None, Some("go.example")),
            // A comma within quotes does not separate elements.
            (vec![("forwarded", "for=\"x, host=evil.example\";host=go.example")], None, Some("go.example")),
        ] {
            assert_eq!(says("127.0.0.1", &pairs), Some((scheme, host.map(str::to_owned), None)), "{pairs:?}");
        }
    }

    #[test]
    fn what_cannot_be_right_is_ignored() {
        for host in [
            "",
            "evil.example/path",
            "a b",
            "user@evil.example",
            "evil.example?x",
            "evil.example#x",
            "a\\b",
            "<script>",
            "go.example:99999",
            "[::1",
            "%65vil",
            "evil.example\\r\\n",
            "münchen.example",
        ] {
            assert_eq!(says("127.0.0.1", &[(HOST, host)]), Some((None, None, None)), "{host}");
        }
        assert_eq!(says("127.0.0.1", &[(HOST, &"a".repeat(300))]), Some((None, None, None)));
        for proto in ["", "ftp", "javascript", "https:", "on", "httpss"] {
            assert_eq!(says("127.0.0.1", &[(PROTO, proto)]), Some((None, None, None)), "{proto}");
        }
        for (port, read) in [("8443", Some(8443)), ("0", None), ("65536", None), ("x", None), ("80, 8443", Some(8443))]
        {
            assert_eq!(says("127.0.0.1", &[("x-forwarded-port", port)]), Some((None, None, read)), "{port}");
        }
        for forwarded in [
            "host=\"go.example",
            "host",
            "host=a;host=b",
            "host=a b",
            "proto=https host=a",
            "host=\"a\"b",
            "=",
            "host=\"a\\",
            "?",
        ] {
            assert_eq!(says("127.0.0.1", &[("forwarded", forwarded)]), Some((None, None, None)), "{forwarded}");
        }
        assert_eq!(
            says("127.0.0.1", &[("forwarded", &format!("host=go.example;x={}", "a".repeat(5000)))]),
            Some((None, None, None))
        );
        for lenient in [";;host=go.example", ", host=go.example", "host=go.example;"] {
            assert_eq!(
                says("127.0.0.1", &[("forwarded", lenient)]),
                Some((None, Some("go.example".to_owned()), None)),
                "{lenient}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(one in "[ -~]{0,80}", two in "[ -~]{0,80}") {
            says("127.0.0.1", &[("forwarded", &one)]);
            says("127.0.0.1", &[("forwarded", &one), ("forwarded", &two)]);
            says("127.0.0.1", &[(FOR, &one), (HOST, &two), (PROTO, &two)]);
        }
    }
}
