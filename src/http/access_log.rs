//! The access log: one of so many requests, or none. A redirect pays a comparison for it as long as it is off.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Counts the requests of one worker.
pub struct AccessLog {
    every: u32,
    seen: Cell<u32>,
}

impl AccessLog {
    /// Logs one of `every` requests; 0 = none.
    pub fn new(every: u32) -> Self {
        Self { every, seen: Cell::new(0) }
    }

    /// A request was answered.
    pub fn note(&self, method: &str, path: &str, status: u16, peer: Option<SocketAddr>) {
        if self.every == 0 {
            return;
        }
        let seen = self.seen.get() + 1;
        if seen < self.every {
            self.seen.set(seen);
            return;
        }
        self.seen.set(0);
        let network = peer.map(|peer| network(peer.ip()).to_string()).unwrap_or_default();
        tracing::info!(method, path, status, network, "request");
    }
}

/// The network of an address, as much as may be kept of it: 24 bits of an IPv4 address, 48 of an IPv6 address.
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
    fn one_of_so_many_requests_is_logged() {
        let log = AccessLog::new(3);
        let left: Vec<u32> = (0..6)
            .map(|_| {
                log.note("GET", "/x", 302, None);
                log.seen.get()
            })
            .collect();
        assert_eq!(left, [1, 2, 0, 1, 2, 0]);
    }
}
