//! Leased numbers and the codes made from them: pure decisions, no actor.

use std::collections::VecDeque;
use std::ops::Range;

use waypost_protocol::permutation::Permutation;
use waypost_protocol::{Code, LinkKey, ShardId};

/// The size of a lease. A crash wastes at most two leases, out of 3.5 · 10¹² numbers.
pub const LEASE: u64 = 4096;

/// A new lease is fetched when fewer numbers than this are left.
const LOW: u64 = LEASE / 4;

/// The most codes in stock for a shard. Further ones are skipped: the space is large.
const POOL_MAX: usize = 256;

/// Numbers that belong to this node alone, and a stock of codes made from them.
///
/// Invariant: a number is taken out of `ranges` before its code is returned or kept in stock, so no code comes out twice.
#[derive(Debug)]
pub struct Leases {
    permutation: Permutation,
    shards: u32,
    ranges: VecDeque<Range<u64>>,
    pools: Vec<Vec<Code>>,
}

impl Leases {
    /// No numbers yet.
    pub fn new(permutation: Permutation, shards: u32) -> Self {
        Self { permutation, shards, ranges: VecDeque::new(), pools: vec![Vec::new(); shards.max(1) as usize] }
    }

    /// Adds the numbers `start .. start + count`.
    pub fn add(&mut self, start: u64, count: u64) {
        self.ranges.push_back(start..start + count);
    }

    /// Whether a new lease should be fetched.
    pub fn low(&self) -> bool {
        self.ranges.iter().map(|range| range.end - range.start).sum::<u64>() < LOW
    }

    /// Takes `count` codes that fall into `shard` (any shard for `None`), or `None` if the leases do not yield that many. Codes for other
    /// shards that come up meanwhile are kept in stock for the next call.
    pub fn take(&mut self, shard: Option<ShardId>, count: usize) -> Option<Vec<Code>> {
        match shard {
            Some(shard) => self.take_for(shard, count),
            None => {
                let left: u64 = self.ranges.iter().map(|range| range.end - range.start).sum();
                (left >= count as u64).then(|| (0..count).filter_map(|_| self.next()).collect())
            }
        }
    }

    fn take_for(&mut self, shard: ShardId, count: usize) -> Option<Vec<Code>> {
        let wanted = shard.index();
        while self.pools.get(wanted)?.len() < count {
            let code = self.next()?;
            let owner = LinkKey::new(code.clone()).shard(self.shards).index();
            let pool = &mut self.pools[owner];
            if owner == wanted || pool.len() < POOL_MAX {
                pool.push(code);
            }
        }
        let pool = &mut self.pools[wanted];
        Some(pool.split_off(pool.len() - count))
    }

    fn next(&mut self) -> Option<Code> {
        loop {
            let range = self.ranges.front_mut()?;
            match range.next() {
                Some(counter) => match self.permutation.code(counter) {
                    Some(code) if code.is_reserved() => {}
                    code => return code,
                },
                None => {
                    self.ranges.pop_front();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn leases() -> Leases {
        let mut leases = Leases::new(Permutation::new([7; 32]), 16);
        leases.add(0, LEASE);
        leases
    }

    #[test]
    fn a_code_falls_into_the_shard_that_was_asked_for() {
        let mut leases = leases();
        for shard in 0..16 {
            for code in leases.take(Some(ShardId(shard)), 5).unwrap() {
                assert_eq!(LinkKey::new(code).shard(16), ShardId(shard));
            }
        }
    }

    #[test]
    fn no_code_comes_out_twice_whoever_asks() {
        let mut leases = leases();
        let mut seen = HashSet::new();
        for round in 0..100 {
            let shard = (round % 3 != 0).then_some(ShardId(round % 16));
            for code in leases.take(shard, 4).unwrap() {
                assert!(seen.insert(code.clone()), "{code} came out twice");
            }
        }
    }

    #[test]
    fn an_empty_lease_answers_none_and_a_new_one_goes_on() {
        let mut leases = leases();
        while leases.take(None, 64).is_some() {}
        assert!(leases.low());
        assert_eq!(leases.take(None, 64), None);
        leases.add(LEASE, LEASE);
        assert!(!leases.low());
        assert_eq!(leases.take(None, 64).unwrap().len(), 64);
    }
}
