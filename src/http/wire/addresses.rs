//! The number of open connections of each client.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ipnet::IpNet;
use parking_lot::Mutex;

/// Counts connections by client, for all workers. It remembers only clients with open connections, which bounds its memory.
#[derive(Debug)]
pub struct Addresses {
    max: usize,
    exempt: Vec<IpNet>,
    open: Mutex<HashMap<IpAddr, Arc<AtomicUsize>>>,
}

/// One connection of a client; dropping it reduces the count.
#[derive(Debug)]
pub(super) struct Seat {
    addresses: Arc<Addresses>,
    client: IpAddr,
    count: Arc<AtomicUsize>,
}

impl Addresses {
    /// At most `max` connections for each client, except for those in the networks of `exempt`: proxies that forward requests of many clients.
    pub fn new(max: usize, exempt: Vec<IpNet>) -> Arc<Self> {
        Arc::new(Self { max, exempt, open: Mutex::default() })
    }

    /// Admits a connection from this address; `None` if its client has too many. An exempt client is not counted.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Option<Seat>> {
        if is_exempt(&self.exempt, address) {
            return Some(None);
        }
        let client = client_of(address);
        let mut open = self.open.lock();
        let count = open.entry(client).or_default().clone();
        if count.load(Ordering::Relaxed) >= self.max {
            return None;
        }
        count.fetch_add(1, Ordering::Relaxed);
        Some(Some(Seat { addresses: self.clone(), client, count }))
    }
}

impl Seat {
    /// Whether its client uses more than half of its connections.
    pub(super) fn is_crowded(&self) -> bool {
        self.count.load(Ordering::Relaxed) > self.addresses.max / 2
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.addresses.open.lock();
        if self.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            open.remove(&self.client);
        }
    }
}

/// Whether an address has no limits: this machine, and trusted proxies.
pub(in crate::http) fn is_exempt(trusted: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    address.is_loopback() || trusted.iter().any(|network| network.contains(&address))
}

/// What counts as one client: an IPv4 address, or the /64 that a host with IPv6 is usually given.
pub(in crate::http) fn client_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_client_has_so_many_connections_and_no_more_until_one_ends() {
        let addresses = Addresses::new(2, vec!["10.0.0.0/8".parse().unwrap()]);
        let enter = |address| addresses.enter(ip(address));
        let (first, second) = (enter("203.0.113.7").unwrap().unwrap(), enter("::ffff:203.0.113.7").unwrap());
        assert!(first.is_crowded() && enter("203.0.113.7").is_none());
        let other = enter("203.0.113.8").unwrap().unwrap();
        assert!(!other.is_crowded());
        drop(second);
        let again = enter("203.0.113.7");
        assert!(again.is_some() && enter("203.0.113.7").is_none());
        drop((first, again, other));
        assert!(addresses.open.lock().is_empty(), "nobody is remembered who is gone");
    }

    #[test]
    fn a_network_of_64_bits_is_one_client() {
        let addresses = Addresses::new(1, Vec::new());
        let _first = addresses.enter(ip("2001:db8::1")).unwrap();
        assert!(addresses.enter(ip("2001:db8::ffff:1:2:3")).is_none());
        assert!(addresses.enter(ip("2001:db8:0:1::1")).is_some());
    }

    #[test]
    fn this_machine_and_trusted_proxies_have_no_limit() {
        let addresses = Addresses::new(1, vec!["10.0.0.0/8".parse().unwrap()]);
        for address in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "10.1.2.3", "::ffff:10.1.2.3"] {
            let seats: Vec<_> = (0..10).map(|_| addresses.enter(ip(address))).collect();
            assert!(seats.iter().all(|seat| matches!(seat, Some(None))), "{address}");
        }
    }
}
