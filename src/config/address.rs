//! Where other nodes reach a node.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// A host and a port, written `host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerAddress {
    /// A name, or an IP address.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl PeerAddress {
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Some(Self { host: address.ip().to_string(), port: address.port() });
        }
        let (host, port) = text.rsplit_once(':')?;
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        let plain = !host.is_empty() && host.len() <= 253 && host.bytes().all(fits);
        Some(Self { host: host.to_owned(), port: port.parse().ok()? }).filter(|_| plain)
    }

    fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Whether it says where a node is.
    pub(super) fn can_be_reached(&self) -> bool {
        self.port != 0 && self.ip().is_none_or(|ip| !ip.is_unspecified())
    }

    /// Whether it cannot be reached from another machine.
    pub fn is_loopback(&self) -> bool {
        self.ip().map_or(self.host == "localhost", |ip| ip.is_loopback())
    }

    /// Where a node listens that is to be reached there.
    pub(super) fn listen(&self) -> SocketAddr {
        let everywhere = || if self.is_loopback() { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
        (self.ip().unwrap_or_else(|| everywhere().into()), self.port).into()
    }
}

impl std::fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.ip() {
            Some(ip) => SocketAddr::from((ip, self.port)).fmt(f),
            None => write!(f, "{}:{}", self.host, self.port),
        }
    }
}
