//! The public address of the server: the beginning of `shortUrl`, and the check for loops.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::http::header::{HOST, ORIGIN};
use ipnet::IpNet;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use url::Url;
use waypost_head::Headers;
use waypost_protocol::domain::HostName;
use waypost_protocol::{Domains, OfHost, OwnHost, Site, bare_host};

use super::forwarded::{Asked, asked, url_of, visited_host};

/// The public address of a node.
#[derive(Debug, Clone)]
pub struct PublicAddress {
    configured: Option<Url>,
    /// The host of `configured`.
    own: Option<Own>,
    listener: SocketAddr,
    /// The listener, as the URL of who is told no other.
    listener_url: Url,
    trusted_proxies: Vec<IpNet>,
}

impl PublicAddress {
    /// `configured` is `[http] public_url`. Without it, the address is the one that `trusted_proxies` report, else the request's
    /// own host, and `listener` if that is not a valid host.
    pub fn new(configured: Option<Url>, listener: SocketAddr, trusted_proxies: Vec<IpNet>) -> Self {
        let own = configured.as_ref().and_then(|url| Own::of(url.host_str()?));
        // Without the scope that an IPv6 address may have: a URL has none.
        let plain = SocketAddr::new(listener.ip(), listener.port());
        let listener_url =
            Url::parse(&format!("http://{plain}/")).expect("invariant: an address and a port are the host of a URL");
        Self { configured, own, listener, listener_url, trusted_proxies }
    }

    /// The address of the public listener, as a URL for clients on this machine.
    pub(super) fn listener(&self) -> String {
        reachable(self.listener)
    }

    fn base(&self, request: &HttpRequest) -> Url {
        if let Some(url) = &self.configured {
            return url.clone();
        }
        self.forwarded(request).or_else(|| requested(request, "http")).unwrap_or_else(|| self.listener_url.clone())
    }

    /// Whether the header `Origin` of a request names this server as its browser sees it.
    pub(super) fn is_own_origin(&self, request: &HttpRequest, origin: &str) -> bool {
        let named = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
        let Some(origin) = Url::parse(origin).ok().filter(named) else { return false };
        let known = [self.configured.clone(), self.forwarded(request)];
        if known.iter().flatten().any(|own| own.origin() == origin.origin()) {
            return true;
        }
        // Who forwards the request without a word may have changed the scheme, and not what stands in `Host`. But where the host is known to use
        // https, a page that came by http may be anybody's.
        let by_https = |own: &Url| own.scheme() == "https" && own.host() == origin.host();
        let downgraded = origin.scheme() == "http" && known.iter().flatten().any(by_https);
        !downgraded && requested(request, origin.scheme()).is_some_and(|own| own.origin() == origin.origin())
    }

    /// Whether the browser that has sent a change uses https, as far as that can be told.
    pub(super) fn is_https(&self, request: &HttpRequest) -> bool {
        if let Some(origin) = request.headers().get(ORIGIN) {
            return origin.as_bytes().starts_with(b"https://");
        }
        let forwarded = self.forwarded(request);
        let at_public_url = || {
            let host = requested(request, "https")?;
            self.configured.clone().filter(|url| url.host() == host.host())
        };
        forwarded.or_else(at_public_url).is_some_and(|url| url.scheme() == "https")
    }

    /// The address that a trusted proxy reports.
    fn forwarded(&self, request: &HttpRequest) -> Option<Url> {
        let peer = request.peer_addr().map(|peer| peer.ip());
        let Asked { scheme, host, port } = asked(request.headers(), &self.trusted_proxies, peer)?;
        let scheme = scheme.unwrap_or("http");
        let mut url = match &host {
            Some(host) => url_of(scheme, host)?,
            None => requested(request, scheme)?,
        };
        // The default port of the other scheme belongs to a proxy in between, and not to the client's request.
        let other = if scheme == "https" { 80 } else { 443 };
        if url.port() == Some(other) {
            url.set_port(None).ok()?;
        }
        if let Some(port) = port.filter(|port| url.port().is_none() && *port != other) {
            url.set_port(Some(port)).ok()?;
        }
        Some(url)
    }

    /// The domain that a request of a visitor is for; `None` if there is none at its host.
    pub(super) fn site<'a>(
        &self,
        domains: &'a Domains,
        headers: &impl Headers,
        peer: Option<SocketAddr>,
    ) -> Option<&'a Arc<Site>> {
        let host = visited_host(headers, &self.trusted_proxies, peer.map(|peer| peer.ip()));
        let host = host.as_deref().unwrap_or_default();
        match domains.of_host(host) {
            OfHost::Site(site) => Some(site),
            // A host that was made a domain by mistake, and is the server's own.
            OfHost::Removed if self.configured.is_some() && self.is_default(host) => Some(domains.default_site()),
            OfHost::Removed => None,
            OfHost::Unknown => {
                let default = domains.default_site();
                (!default.unknown_host_refused || self.is_default(host)).then_some(default)
            }
        }
    }

    /// Whether a host that is no domain is the default domain's own: that of `public_url`, without which all addresses are.
    //
    // Redirects come here, so nothing is allocated.
    fn is_default(&self, host: &str) -> bool {
        let host = bare_host(host);
        match &self.own {
            Some(Own::Name(name)) => name.eq_ignore_ascii_case(host),
            Some(Own::Address(address)) => address_of(host) == Some(*address),
            None => host.eq_ignore_ascii_case("localhost") || address_of(host).is_some(),
        }
    }

    /// The port that clients use.
    pub(super) fn port(&self, request: &HttpRequest) -> Option<u16> {
        self.base(request).port_or_known_default()
    }

    /// The short URL of a code on a host; `None` = that of the default domain.
    pub(super) fn short_url(
        &self,
        request: &HttpRequest,
        domains: &Domains,
        host: Option<&HostName>,
        code: &str,
    ) -> String {
        let mut base = self.base(request);
        match host {
            // A name that was normalised by the same parser.
            Some(host) => {
                base.set_host(Some(host.as_str())).expect("invariant: the host of a domain is the host of a URL");
            }
            // Without `public_url`, the request may have come by the host of another domain, where the code means another link.
            None if self.configured.is_none() && base.host_str().is_some_and(|host| domains.has(host)) => {
                return format!("{}/{}", self.listener(), escaped(code));
            }
            None => {}
        }
        format!("{}/{}", base.as_str().trim_end_matches('/'), escaped(code))
    }

    /// The beginning of URLs of the API.
    pub(super) fn api_url(&self, request: &HttpRequest) -> String {
        format!("{}/api/v1", self.base(request).as_str().trim_end_matches('/'))
    }

    /// The hosts of this server: a link to one of them would be a loop.
    pub(super) fn own_hosts(&self, request: &HttpRequest) -> Vec<OwnHost> {
        // Also the host of the request itself: a client must not be able to hide it by writing other headers.
        let (forwarded, requested) = (self.forwarded(request), requested(request, "http"));
        let named = [self.configured.as_ref(), forwarded.as_ref(), requested.as_ref(), Some(&self.listener_url)];
        let mut own: Vec<OwnHost> = named.into_iter().flatten().filter_map(OwnHost::of_url).collect();
        let address = self.listener.ip();
        if address.is_loopback() || address.is_unspecified() {
            own.push(OwnHost::Loopback { port: self.listener.port() });
        }
        own
    }
}

/// A host of this server.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Own {
    Name(String),
    Address(IpAddr),
}

impl Own {
    fn of(host: &str) -> Option<Self> {
        let host = bare_host(host);
        Some(address_of(host).map_or_else(|| Self::Name(host.to_owned()), Self::Address))
    }
}

/// The address that a host without a port is, if it is one.
fn address_of(host: &str) -> Option<IpAddr> {
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match inner {
        Some(inner) => inner.parse().ok().map(IpAddr::V6),
        None => host.parse().ok().map(IpAddr::V4),
    }
}

/// What is escaped in a code that is one segment of a path: the slashes between its own segments, too.
const SEGMENT: &AsciiSet = &CONTROLS.add(b'/');

/// A code in a path of the API.
pub(super) fn escaped_segment(code: &str) -> Cow<'_, str> {
    utf8_percent_encode(code, SEGMENT).into()
}

/// A code in a URL: letters of other scripts are escaped.
pub(super) fn escaped(code: &str) -> Cow<'_, str> {
    utf8_percent_encode(code, CONTROLS).into()
}

/// A listener's address as a URL; a wildcard address is reached over loopback.
pub(crate) fn reachable(listener: SocketAddr) -> String {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, listener.port()))
}

/// The host of the request's `Host` header, if it is valid.
fn requested(request: &HttpRequest, scheme: &str) -> Option<Url> {
    url_of(scheme, request.headers().get(HOST)?.to_str().ok()?)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn short_url(peer: &str, headers: &[(&'static str, &'static str)]) -> String {
        let trusted = vec!["10.0.0.0/8".parse().unwrap()];
        let address = PublicAddress::new(None, "127.0.0.1:8080".parse().unwrap(), trusted);
        let request = TestRequest::default().peer_addr(format!("{peer}:1").parse().unwrap());
        let request = headers.iter().fold(request, |request, header| request.insert_header(*header));
        address.short_url(&request.to_http_request(), &Domains::default(), None, "code")
    }

    #[test]
    fn a_listener_with_an_ipv6_scope_has_an_address_without_it() {
        let address = PublicAddress::new(None, "[fe80::1%2]:8080".parse().unwrap(), Vec::new());
        let request = TestRequest::default().to_http_request();
        assert_eq!(address.base(&request).as_str(), "http://[fe80::1]:8080/");
    }

    #[test]
    fn short_urls_are_what_the_client_of_a_trusted_proxy_asked_for() {
        let host = ("host", "inner:8080");
        let (proto, named) = (("x-forwarded-proto", "https"), ("x-forwarded-host", "go.example"));
        for (peer, headers, expected) in [
            ("192.0.2.1", vec![host, proto, named], "http://inner:8080/code"),
            ("10.0.0.1", vec![host, proto, named], "https://go.example/code"),
            ("10.0.0.1", vec![host, named], "http://go.example/code"),
            ("10.0.0.1", vec![("host", "go.example"), proto], "https://go.example/code"),
            // The port at which a proxy took the request of another one.
            ("10.0.0.1", vec![("host", "go.example:80"), proto], "https://go.example/code"),
            ("10.0.0.1", vec![host, ("x-forwarded-host", "go.example:443")], "http://go.example/code"),
            ("10.0.0.1", vec![host, proto, named, ("x-forwarded-port", "8443")], "https://go.example:8443/code"),
            ("10.0.0.1", vec![host, proto, named, ("x-forwarded-port", "443")], "https://go.example/code"),
            ("10.0.0.1", vec![host, proto, named, ("x-forwarded-port", "80")], "https://go.example/code"),
            (
                "10.0.0.1",
                vec![host, proto, ("x-forwarded-host", "go.example:444"), ("x-forwarded-port", "443")],
                "https://go.example:444/code",
            ),
            (
                "10.0.0.1",
                vec![host, ("forwarded", "for=x;proto=https;host=\"go.example:8443\"")],
                "https://go.example:8443/code",
            ),
            ("10.0.0.1", vec![host, ("forwarded", "proto=https;host=\"evil/path\"")], "https://inner:8080/code"),
            ("10.0.0.1", vec![host, ("x-forwarded-host", "a b<x>")], "http://inner:8080/code"),
            ("10.0.0.1", vec![host, ("x-forwarded-proto", "javascript"), named], "http://go.example/code"),
            ("10.0.0.1", vec![host], "http://inner:8080/code"),
            ("10.0.0.1", vec![], "http://127.0.0.1:8080/code"),
        ] {
            assert_eq!(short_url(peer, &headers), expected, "{peer} {headers:?}");
        }
    }

    #[test]
    fn the_own_host_is_known_in_every_spelling() {
        let address = |url: Option<&str>| {
            PublicAddress::new(url.map(|url| Url::parse(url).unwrap()), "127.0.0.1:8080".parse().unwrap(), Vec::new())
        };
        for (url, own, others) in [
            (
                Some("https://Go.example/"),
                &["go.example", "GO.example.", "go.example.:443", "go.example:"][..],
                &["", "xgo.example", "go.example:x", "127.0.0.1", "localhost", "go.example.."][..],
            ),
            (Some("http://[::1]:8080/"), &["[::1]", "[0:0::1]:80"], &["::1", "[::2]", "127.0.0.1", "[::1"]),
            (Some("http://127.0.0.1/"), &["127.0.0.1:81"], &["127.0.0.2", "[::1]", "localhost"]),
            (
                None,
                &["10.1.1.1", "[::1]:80", "LOCALHOST.:80"],
                &["", "go.example", "1.2.3", "256.1.1.1", "[go.example]"],
            ),
        ] {
            own.iter().for_each(|host| assert!(address(url).is_default(host), "{url:?} {host}"));
            others.iter().for_each(|host| assert!(!address(url).is_default(host), "{url:?} {host}"));
        }
    }

    fn seen(
        public_url: Option<&str>,
        peer: &str,
        headers: &[(&'static str, &'static str)],
    ) -> (PublicAddress, HttpRequest) {
        let (public_url, trusted) =
            (public_url.map(|url| Url::parse(url).unwrap()), vec!["10.0.0.0/8".parse().unwrap()]);
        let address = PublicAddress::new(public_url, "127.0.0.1:8080".parse().unwrap(), trusted);
        let request = TestRequest::default().peer_addr(format!("{peer}:1").parse().unwrap());
        let request = headers.iter().fold(request, |request, header| request.insert_header(*header));
        (address, request.to_http_request())
    }

    #[test]
    fn the_own_origin_is_the_one_that_the_browser_sees() {
        let (inner, named) = (("host", "inner:8080"), ("x-forwarded-host", "go.example"));
        let (proto, public) = (("x-forwarded-proto", "https"), Some("https://go.example"));
        for (public_url, peer, headers, origin, expected) in [
            (None, "192.0.2.1", vec![inner], "http://inner:8080", true),
            (None, "192.0.2.1", vec![inner], "http://inner", false),
            (None, "192.0.2.1", vec![inner], "http://evil.example", false),
            (None, "192.0.2.1", vec![("host", "go.example")], "https://go.example", true),
            (None, "192.0.2.1", vec![("host", "go.example:443")], "https://go.example", true),
            (None, "192.0.2.1", vec![("host", "go.example")], "https://go.example:444", false),
            (None, "192.0.2.1", vec![inner, named, proto], "https://go.example", false),
            (None, "10.0.0.1", vec![inner, named, proto], "https://go.example", true),
            (None, "10.0.0.1", vec![inner, named, proto], "http://go.example", false),
            (public, "192.0.2.1", vec![inner], "https://go.example", true),
            (public, "192.0.2.1", vec![inner], "http://go.example", false),
            (public, "192.0.2.1", vec![("host", "go.example")], "http://go.example", false),
            (public, "192.0.2.1", vec![("host", "go.example")], "https://go.example", true),
            (public, "192.0.2.1", vec![inner], "http://inner:8080", true),
            (public, "192.0.2.1", vec![inner], "https://xgo.example", false),
            (None, "192.0.2.1", vec![("host", "[::1]:8080")], "http://[::1]:8080", true),
            (public, "192.0.2.1", vec![inner], "null", false),
            (public, "192.0.2.1", vec![inner], "", false),
            (public, "192.0.2.1", vec![inner], "file://go.example", false),
        ] {
            let (address, request) = seen(public_url, peer, &headers);
            assert_eq!(address.is_own_origin(&request, origin), expected, "{public_url:?} {peer} {headers:?} {origin}");
        }
    }

    #[test]
    fn https_is_seen_by_the_origin_else_by_the_proxy_else_by_the_public_url() {
        let (host, proto, public) =
            (("host", "go.example"), ("x-forwarded-proto", "https"), Some("https://go.example"));
        for (public_url, peer, headers, expected) in [
            (None, "192.0.2.1", vec![host], false),
            (None, "192.0.2.1", vec![host, ("origin", "https://go.example")], true),
            (public, "10.0.0.1", vec![host, proto, ("origin", "http://go.example")], false),
            (None, "192.0.2.1", vec![host, proto], false),
            (None, "10.0.0.1", vec![host, proto], true),
            (public, "10.0.0.1", vec![host, ("x-forwarded-proto", "http")], false),
            (public, "192.0.2.1", vec![host], true),
            (public, "192.0.2.1", vec![("host", "127.0.0.1:8080")], false),
        ] {
            let (address, request) = seen(public_url, peer, &headers);
            assert_eq!(address.is_https(&request), expected, "{public_url:?} {peer} {headers:?}");
        }
    }

    #[test]
    fn a_loop_by_way_of_a_proxy_is_seen_whatever_it_says() {
        let address = PublicAddress::new(None, "127.0.0.1:8080".parse().unwrap(), vec!["10.0.0.0/8".parse().unwrap()]);
        let request = TestRequest::default()
            .peer_addr("10.0.0.1:1".parse().unwrap())
            .insert_header(("host", "inner:8080"))
            .insert_header(("x-forwarded-proto", "https"))
            .insert_header(("x-forwarded-host", "go.example"))
            .to_http_request();
        let own = address.own_hosts(&request);
        for url in ["https://go.example/x", "http://inner:8080/x", "http://127.0.0.1:8080/x"] {
            let refused = waypost_protocol::Target::parse(url, &own, 8192).unwrap_err();
            assert_eq!(refused.code(), "own-host", "{url}");
        }
        assert!(waypost_protocol::Target::parse("https://other.example/x", &own, 8192).is_ok());
    }
}
