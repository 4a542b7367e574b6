//! How the visitors of a split are spread over its targets: by a hash, so that no cookie is set and nothing about them is stored.

use std::net::IpAddr;

use waypost_protocol::KeyHash;

/// The secret by which the visitors of a split are spread over its targets: the same on all nodes of a cluster, so that a visitor gets the same target
/// from each.
#[derive(Clone)]
pub struct SplitKey([u8; 32]);

impl SplitKey {
    /// The key of a cluster, derived from its secret.
    pub fn of(secret: &[u8; 32]) -> Self {
        Self(blake3::derive_key("waypost 2026-11 splits", secret))
    }

    /// The lot of a visitor of a link. It is computed at each visit, and stored nowhere.
    pub(super) fn lot(&self, link: KeyHash, client: Option<IpAddr>, user_agent: &[u8]) -> u64 {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&link.0.to_le_bytes());
        match client {
            Some(IpAddr::V4(address)) => hasher.update(b"4").update(&address.octets()),
            Some(IpAddr::V6(address)) => hasher.update(b"6").update(&address.octets()),
            None => hasher.update(b"0"),
        };
        hasher.update(user_agent);
        let mut lot = [0; 8];
        lot.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        u64::from_le_bytes(lot)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::wire::client_of;
    use super::*;

    #[test]
    fn lots_are_spread_evenly_over_visitors_and_differ_from_link_to_link() {
        let key = SplitKey::of(&[7; 32]);
        let lot = |link: u64, visitor: u32, agent: &[u8]| {
            key.lot(KeyHash(link), Some(Ipv4Addr::from_bits(0x0A00_0000 + visitor).into()), agent)
        };
        const VISITORS: u32 = 20_000;
        for link in [1, 2] {
            let below = (0..VISITORS).filter(|visitor| lot(link, *visitor, b"x") < u64::MAX / 10 * 7).count();
            // Seven tenths, and six standard deviations of a binomial distribution on both sides.
            assert!((13_610..=14_390).contains(&below), "{below} of {VISITORS}");
        }
        let same = (0..VISITORS).filter(|visitor| {
            let [one, other] = [1, 2].map(|link| lot(link, *visitor, b"x") < u64::MAX / 2);
            one == other
        });
        let same = same.count();
        assert!((9_500..=10_500).contains(&same), "visitors of one link are mixed anew for another: {same}");
    }

    #[test]
    fn a_visitor_is_an_address_with_a_user_agent_and_has_the_same_lot_on_each_node() {
        let lot = |secret: u8, address: Option<&str>, agent: &[u8]| {
            let address = address.map(|address| client_of(address.parse().unwrap()));
            SplitKey::of(&[secret; 32]).lot(KeyHash(1), address, agent)
        };
        let one = lot(7, Some("192.0.2.1"), b"a");
        assert_eq!(one, lot(7, Some("::ffff:192.0.2.1"), b"a"));
        for other in [
            lot(8, Some("192.0.2.1"), b"a"),
            lot(7, Some("192.0.2.2"), b"a"),
            lot(7, Some("192.0.2.1"), b"b"),
            lot(7, None, b"a"),
        ] {
            assert_ne!(one, other);
        }
        // A host with IPv6 changes the second half of its address every day.
        assert_eq!(lot(7, Some("2001:db8::1"), b"a"), lot(7, Some("2001:db8::2"), b"a"));
        assert_ne!(lot(7, Some("2001:db8::1"), b"a"), lot(7, Some("2001:db8:1::1"), b"a"));
    }
}
