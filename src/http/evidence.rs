//! The evidence of an HTTP request about its sender, for the application layer.

use std::net::SocketAddrV4;

use actix_web::HttpRequest;
use actix_web::http::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, ORIGIN};
use url::{Host, Url};

use super::account::Connection;
use crate::app::{Credential, Evidence, PeerAccount, Unintended};

/// A request as evidence of its sender.
pub(super) struct Sender<'a>(pub(super) &'a HttpRequest);

impl Evidence for Sender<'_> {
    fn credential(&self) -> Credential<'_> {
        credential(self.0.headers())
    }

    fn is_over_loopback(&self) -> bool {
        self.0.peer_addr().is_some_and(|peer| peer.ip().to_canonical().is_loopback())
    }

    fn is_forwarded(&self) -> bool {
        self.0.headers().keys().any(|name| is_of_a_proxy(name.as_str()))
    }

    /// A page in a browser on this machine must not be able to create links unnoticed: neither across origins, nor under
    /// a name of its own that resolves to this machine.
    fn unintended(&self) -> Option<Unintended> {
        let text = |name: HeaderName| self.0.headers().get(name).map(|value| value.to_str().unwrap_or_default());
        if text(HOST).is_some_and(|host| !is_this_machine(host)) {
            return Some(Unintended::HostName);
        }
        let foreign = text(ORIGIN).is_some_and(|origin| {
            origin.split_once("://").is_none_or(|(_, host)| !is_this_machine(host) || Some(host) != text(HOST))
        });
        let site = text(HeaderName::from_static("sec-fetch-site"));
        let foreign = foreign || site.is_some_and(|site| !matches!(site, "same-origin" | "none"));
        foreign.then_some(Unintended::OtherOrigin)
    }

    fn account(&self) -> PeerAccount {
        let connection = self.0.conn_data::<Connection>();
        connection.zip(self.0.peer_addr()).map_or(PeerAccount::Unknown, |(connection, peer)| connection.owner(peer))
    }
}

/// Headers in which proxies describe their client, in lower case. Recognised by rule, because each product has names of its own.
fn is_of_a_proxy(name: &str) -> bool {
    const NAMES: &[&str] =
        &["forwarded", "via", "x-forwarded", "x-real-ip", "client-ip", "cdn-loop", "front-end-https", "x-arr-ssl"];
    const BEGINNINGS: &[&str] = &[
        "forwarded-",
        "x-forwarded-",
        "x-original-",
        "x-originating-",
        "x-envoy-",
        "x-azure-",
        "x-proxy",
        "cf-",
        "fastly-",
        "tailscale-",
        "x-remote-",
        "x-ssl-",
        "x-vercel-",
        "fly-",
    ];
    const ENDS: &[&str] = &["-client-ip", "-real-ip", "-forwarded-for"];
    NAMES.contains(&name)
        || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
        || ENDS.iter().any(|end| name.ends_with(end))
}

/// Whether a `Host` names this machine as seen from itself.
pub(super) fn is_this_machine(host: &str) -> bool {
    // The usual case, without a parser of URLs.
    if let Ok(address) = host.parse::<SocketAddrV4>() {
        return address.ip().is_loopback();
    }
    let Ok(url) = Url::parse(&format!("http://{host}/")) else { return false };
    is_loopback(&url)
}

/// Whether a URL's host is a loopback address or `localhost`.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.trim_end_matches('.') == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        None => false,
    }
}

/// The key in `X-Api-Key`, or in `Authorization` with the scheme `Bearer`.
fn credential(headers: &HeaderMap) -> Credential<'_> {
    let own = headers.get("x-api-key");
    let Some(value) = own.or_else(|| headers.get(AUTHORIZATION)) else { return Credential::None };
    let text = value.to_str().ok();
    let key = match own {
        Some(_) => text,
        None => text
            .and_then(|text| text.split_once(' '))
            .and_then(|(scheme, key)| scheme.eq_ignore_ascii_case("bearer").then_some(key)),
    };
    key.map_or(Credential::Unreadable, |key| Credential::Key(key.trim()))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    #[test]
    fn a_key_is_read_from_either_header_and_one_of_another_scheme_is_unreadable() {
        for (name, value, expected) in [
            ("x-api-key", " k ", Credential::Key("k")),
            ("authorization", "Bearer k", Credential::Key("k")),
            ("authorization", "bearer  k", Credential::Key("k")),
            ("authorization", "Basic azo=", Credential::Unreadable),
            ("authorization", "k", Credential::Unreadable),
            ("x-api-key", "\u{e9}", Credential::Unreadable),
            ("accept", "k", Credential::None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap());
            assert_eq!(credential(&headers), expected, "{name}: {value}");
        }
    }

    #[test]
    fn a_host_that_is_an_address_names_this_machine_as_a_url_with_it_does() {
        for host in [
            "127.0.0.1:80",
            "127.0.0.1:00080",
            "127.0.0.1:",
            "127.0.0.1",
            "127.1:80",
            "0127.0.0.1:80",
            "127.0.0.1:99999",
            "a@127.0.0.1:80",
            "127.255.255.255:1",
            "128.0.0.1:80",
            "10.0.0.1:80",
            "0.0.0.0:80",
            "[::1]:80",
            "[::ffff:127.0.0.1]:80",
            " 127.0.0.1:80",
            "127.0.0.1:80/",
        ] {
            let by_url = Url::parse(&format!("http://{host}/")).is_ok_and(|url| is_loopback(&url));
            assert_eq!(is_this_machine(host), by_url, "{host}");
        }
    }

    #[test]
    fn the_headers_of_proxies_are_known_by_rule() {
        for name in [
            "forwarded",
            "via",
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-forwarded-port",
            "x-forwarded-server",
            "x-forwarded-anything",
            "x-real-ip",
            "x-original-url",
            "x-original-forwarded-for",
            "x-envoy-external-address",
            "x-envoy-original-path",
            "x-azure-clientip",
            "x-azure-fdid",
            "cf-connecting-ip",
            "cf-ray",
            "true-client-ip",
            "x-client-ip",
            "x-cluster-client-ip",
            "fastly-client-ip",
            "client-ip",
            "cdn-loop",
            "front-end-https",
            "forwarded-for",
            "tailscale-user-login",
            "wl-proxy-client-ip",
        ] {
            assert!(is_of_a_proxy(name), "{name}");
        }
        for name in [
            "host",
            "accept",
            "accept-language",
            "user-agent",
            "content-type",
            "content-length",
            "authorization",
            "x-api-key",
            "x-request-id",
            "traceparent",
            "idempotency-key",
            "if-match",
            "origin",
            "referer",
            "sec-fetch-site",
            "connection",
            "cookie",
            "x-forward",
            "device",
            "cfg",
        ] {
            assert!(!is_of_a_proxy(name), "{name}");
        }
    }
}
