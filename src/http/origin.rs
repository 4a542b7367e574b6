//! Under which address visitors reach the server: what `shortUrl` begins with, and which targets would be loops.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use actix_web::HttpRequest;
use actix_web::http::header::HOST;
use url::Url;
use waypost_protocol::target::OwnHost;

/// The public address of a node.
#[derive(Debug, Clone)]
pub struct PublicAddress {
    configured: Option<Url>,
    listener: SocketAddr,
}

impl PublicAddress {
    /// `configured` is `[http] public_url`; without it the request's own host is used, and `listener` if that is no host.
    pub fn new(configured: Option<Url>, listener: SocketAddr) -> Self {
        Self { configured, listener }
    }

    /// The address of the public listener, as a URL that can be asked from this machine.
    pub(super) fn listener(&self) -> String {
        reachable(self.listener)
    }

    fn base(&self, request: &HttpRequest) -> Url {
        if let Some(url) = &self.configured {
            return url.clone();
        }
        requested(request).unwrap_or_else(|| {
            Url::parse(&format!("http://{}/", self.listener)).expect("invariant: a socket address is a host and a port")
        })
    }

    /// The short URL of a code.
    pub(super) fn short_url(&self, request: &HttpRequest, code: &str) -> String {
        let base = self.base(request);
        format!("{}/{code}", base.as_str().trim_end_matches('/'))
    }

    /// The hosts that are this server: a link that leads there would be a loop.
    pub(super) fn own_hosts(&self, request: &HttpRequest) -> Vec<OwnHost> {
        let listener = Url::parse(&format!("http://{}/", self.listener)).ok();
        let named = [self.configured.clone(), requested(request), listener];
        let mut own: Vec<OwnHost> = named.into_iter().flatten().filter_map(|url| OwnHost::of_url(&url)).collect();
        let address = self.listener.ip();
        if address.is_loopback() || address.is_unspecified() {
            own.push(OwnHost::Loopback { port: self.listener.port() });
        }
        own
    }
}

/// A listener's address as a URL; one that listens everywhere is reached here.
pub(super) fn reachable(listener: SocketAddr) -> String {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, listener.port()))
}

/// The host that the request was sent to, if its `Host` header is one: anybody can write anything there.
fn requested(request: &HttpRequest) -> Option<Url> {
    let host = request.headers().get(HOST)?.to_str().ok()?;
    let plain = host.len() <= 255
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']'));
    if !plain {
        return None;
    }
    Url::parse(&format!("http://{host}/")).ok()
}
