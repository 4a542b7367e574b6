//! Leased numbers and the codes made from them: pure decisions, no actor.

use std::collections::VecDeque;
use std::ops::Range;

use waypost_protocol::{Code, CodeFormats, Domain, LinkKey, ShardId};

/// The size of a lease. A crash wastes at most two leases, out of 3.5 · 10¹² numbers.
pub const LEASE: u64 = 4096;

/// A new lease is fetched when fewer numbers than this are left.
const LOW: u64 = LEASE / 4;

/// The most codes in stock for a shard. Further ones are skipped: the space is large.
const POOL_MAX: usize = 256;

/// Numbers that belong to this node alone, and a stock of codes made from them for the default domain.
///
/// Invariant: a number is taken out of `ranges` before its code is returned or kept in stock, so no code comes out twice.
pub struct Leases {
    /// The key of the permutations of the cluster.
    key: [u8; 32],
    shards: u32,
    ranges: VecDeque<Range<u64>>,
    pools: Vec<Vec<Code>>,
    /// Those of the default domain, in which the stock is.
    formats: CodeFormats,
}

impl Leases {
    /// No numbers yet.
    pub fn new(key: [u8; 32], shards: u32) -> Self {
        let pools = vec![Vec::new(); shards.max(1) as usize];
        Self { key, shards, ranges: VecDeque::new(), pools, formats: CodeFormats::default() }
    }

    /// Sets the formats of codes of the default domain. Codes in stock of another one are dropped.
    pub fn set_default(&mut self, formats: &CodeFormats) {
        if self.formats != *formats {
            self.formats = formats.clone();
            self.pools.iter_mut().for_each(Vec::clear);
        }
    }

    /// Adds the numbers `start .. start + count`.
    pub fn add(&mut self, start: u64, count: u64) {
        self.ranges.push_back(start..start + count);
    }

    /// Whether a new lease should be fetched.
    pub fn low(&self) -> bool {
        self.left() < LOW
    }

    fn left(&self) -> u64 {
        self.ranges.iter().map(|range| range.end - range.start).sum()
    }

    /// Takes `count` codes of the default domain that fall into `shard` (any shard for `None`), or `None` if the leases do not yield that many.
    /// Codes for other shards that come up meanwhile are kept in stock for the next call.
    pub fn take(&mut self, shard: Option<ShardId>, count: usize) -> Option<Vec<Code>> {
        match shard {
            Some(shard) => self.take_for(shard, count),
            None if self.left() < count as u64 => None,
            None => {
                let mut codes = Vec::with_capacity(count);
                while codes.len() < count {
                    codes.push(self.next_code()?);
                }
                Some(codes)
            }
        }
    }

    fn take_for(&mut self, shard: ShardId, count: usize) -> Option<Vec<Code>> {
        let wanted = shard.index();
        while self.pools.get(wanted)?.len() < count {
            let code = self.next_code()?;
            let owner = LinkKey::new(code.clone()).shard(self.shards).index();
            let pool = &mut self.pools[owner];
            if owner == wanted || pool.len() < POOL_MAX {
                pool.push(code);
            }
        }
        let pool = &mut self.pools[wanted];
        Some(pool.split_off(pool.len() - count))
    }

    /// Takes `count` codes of another domain, with formats of its own, as [`Leases::take`]. Numbers whose codes are not used there are kept in stock for the
    /// default domain.
    pub fn take_of(
        &mut self,
        domain: Domain,
        formats: &CodeFormats,
        shard: Option<ShardId>,
        count: usize,
    ) -> Option<Vec<Code>> {
        let mut taken: Vec<(u64, Code)> = Vec::with_capacity(count);
        while taken.len() < count {
            let Some(number) = self.next_number() else {
                // Nobody has seen their codes.
                taken.into_iter().for_each(|(number, _)| self.ranges.push_back(number..number + 1));
                return None;
            };
            let fits = |code: &Code| {
                let owner = LinkKey { domain, code: code.clone() }.shard(self.shards);
                shard.is_none_or(|shard| owner == shard)
            };
            match code_of(formats, &self.key, number).filter(fits) {
                Some(code) => taken.push((number, code)),
                None => self.keep(number),
            }
        }
        Some(taken.into_iter().map(|(_, code)| code).collect())
    }

    /// Keeps the code of a number in the stock of the default domain.
    fn keep(&mut self, number: u64) {
        let Some(code) = code_of(&self.formats, &self.key, number) else { return };
        let owner = LinkKey::new(code.clone()).shard(self.shards).index();
        let pool = &mut self.pools[owner];
        if pool.len() < POOL_MAX {
            pool.push(code);
        }
    }

    fn next_code(&mut self) -> Option<Code> {
        loop {
            let number = self.next_number()?;
            if let Some(code) = code_of(&self.formats, &self.key, number) {
                return Some(code);
            }
        }
    }

    fn next_number(&mut self) -> Option<u64> {
        loop {
            match self.ranges.front_mut()?.next() {
                Some(number) => return Some(number),
                None => drop(self.ranges.pop_front()),
            }
        }
    }
}

/// The code of a number in the present format; `None` if it is skipped: for a word of our own routes, and if the number was leased before the format was
/// changed.
fn code_of(formats: &CodeFormats, key: &[u8; 32], number: u64) -> Option<Code> {
    if number < formats.begin() {
        return None;
    }
    formats.code(key, number).filter(|code| !code.is_reserved())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use waypost_protocol::{Alphabet, CodeFormat};

    use super::*;

    fn leases() -> Leases {
        let mut leases = Leases::new([7; 32], 16);
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
    fn a_code_for_another_domain_falls_into_the_shard_that_it_has_there_and_has_its_format() {
        let mut leases = leases();
        let mut formats = CodeFormats::default();
        formats.change(0, CodeFormat::new(Alphabet::Lowercase, 8, "", false).unwrap()).unwrap();
        for shard in 0..16 {
            for code in leases.take_of(Domain(3), &formats, Some(ShardId(shard)), 5).unwrap() {
                assert!(code.as_str().len() == 8 && code.clone().folded() == code, "{code}");
                assert_eq!(LinkKey { domain: Domain(3), code }.shard(16), ShardId(shard));
            }
        }
    }

    #[test]
    fn no_code_comes_out_twice_whoever_asks() {
        let mut leases = leases();
        let mut seen = HashSet::new();
        for round in 0..100 {
            let shard = (round % 3 != 0).then_some(ShardId(round % 16));
            let codes = match round % 2 {
                0 => leases.take(shard, 4),
                _ => leases.take_of(Domain(round), &CodeFormats::default(), shard, 4),
            };
            for code in codes.unwrap() {
                assert!(seen.insert(code.clone()), "{code} came out twice");
            }
        }
    }

    #[test]
    fn codes_of_a_format_that_was_left_are_not_given_out() {
        let mut leases = leases();
        assert_eq!(leases.take(Some(ShardId(3)), 4).unwrap()[0].as_str().len(), 7);
        let mut formats = CodeFormats::default();
        formats.change(LEASE, CodeFormat::new(Alphabet::Unambiguous, 9, "", true).unwrap()).unwrap();
        leases.set_default(&formats);
        assert_eq!(leases.take(Some(ShardId(3)), 4), None, "the numbers were leased before");
        leases.add(LEASE, LEASE);
        assert!(leases.take(Some(ShardId(3)), 4).unwrap().iter().all(|code| code.as_str().len() == 10));
        assert!(leases.take(None, 4).unwrap().iter().all(|code| code.as_str().len() == 10));
    }

    #[test]
    fn numbers_are_not_lost_when_there_are_too_few_of_them() {
        let mut leases = Leases::new([7; 32], 16);
        leases.add(0, 3);
        assert_eq!(leases.take_of(Domain(1), &CodeFormats::default(), None, 4), None);
        leases.add(3, 1);
        assert_eq!(leases.take_of(Domain(1), &CodeFormats::default(), None, 4).unwrap().len(), 4);
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
