//! The access log: one in a number of requests, or none. While it is off it costs a redirect one comparison.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Selects one in a number of requests of one worker.
pub(super) struct OneOf {
    every: u32,
    seen: Cell<u32>,
}

impl OneOf {
    /// Selects one in `every`; 0 = none.
    pub(super) fn new(every: u32) -> Self {
        Self { every, seen: Cell::new(0) }
    }

    /// Whether this request is selected.
    pub(super) fn takes(&self) -> bool {
        if self.every == 0 {
            return false;
        }
        let seen = self.seen.get() + 1;
        self.seen.set(if seen < self.every { seen } else { 0 });
        seen >= self.every
    }
}

/// The access log of one worker.
pub struct AccessLog {
    one_of: OneOf,
}

impl AccessLog {
    /// Logs one in `every` requests; 0 = none.
    pub fn new(every: u32) -> Self {
        Self { one_of: OneOf::new(every) }
    }

    /// Logs an answered request, if it is selected.
    pub fn note(&self, method: &str, path: &str, status: u16, peer: Option<SocketAddr>) {
        if self.one_of.takes() {
            Self::write(method, path, status, peer);
        }
    }

    /// The same, for the path of a code.
    pub(super) fn note_code(&self, method: &str, code: &str, status: u16, peer: Option<SocketAddr>) {
        if self.one_of.takes() {
            Self::write(method, &format!("/{code}"), status, peer);
        }
    }

    fn write(method: &str, path: &str, status: u16, peer: Option<SocketAddr>) {
        let network = peer.map(|peer| network(peer.ip()).to_string()).unwrap_or_default();
        tracing::info!(method, path, status, network, "request");
    }
}

/// The network of an address, as far as it may be logged: 24 bits of an IPv4 address, 48 of an IPv6 address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            Ipv4Addr::new(a, b, c, 0).into()
        }
        IpAddr::V6(address) => {
            let [a, b, c, ..] = address.segments();
            Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_address_only_the_network_is_kept() {
        for (address, kept) in [
            ("203.0.113.77", "203.0.113.0"),
            ("2001:db8:1:2::3", "2001:db8:1::"),
            ("::ffff:203.0.113.77", "203.0.113.0"),
        ] {
            assert_eq!(network(address.parse().unwrap()).to_string(), kept);
        }
    }

    #[test]
    fn one_of_so_many_requests_is_taken() {
        let third = OneOf::new(3);
        let taken: Vec<bool> = (0..6).map(|_| third.takes()).collect();
        assert_eq!(taken, [false, false, true, false, false, true]);
        let (none, all) = (OneOf::new(0), OneOf::new(1));
        assert!((0..5).all(|_| !none.takes() && all.takes()));
    }
}
