//! From numbers to codes: a keyed permutation of the code space.
//!
//! Numbers never repeat, so neither do the codes. An observer of codes cannot compute the numbers, and so not the neighbours
//! either. The permutation is a balanced Feistel network (Luby and Rackoff, 1988) over 42 bits with keyed BLAKE3 as round
//! function, repeated until the result is below 62^7 (cycle walking: Black and Rogaway, 2002). Codes of another alphabet or length
//! (`code_format.rs`) have spaces of other sizes.

use crate::Code;

/// The number of codes of seven base62 characters.
pub const CODES: u64 = 62u64.pow(7);

/// Ten rounds: a small domain needs more than the four of the proof.
const ROUNDS: u8 = 10;

/// The permutation of a cluster. Its key is made when the cluster is created, and never changes.
#[derive(Clone)]
pub struct Permutation {
    key: [u8; 32],
    half_bits: u32,
    size: u128,
}

impl std::fmt::Debug for Permutation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key is a secret.
        f.debug_struct("Permutation").field("size", &self.size).finish_non_exhaustive()
    }
}

impl Permutation {
    /// The permutation of all codes of seven base62 characters under a key.
    pub fn new(key: [u8; 32]) -> Self {
        Self::of_size(key, CODES.into())
    }

    /// A permutation of `0 .. size`, for a size from 2 to 2^126.
    pub(crate) fn of_size(key: [u8; 32], size: u128) -> Self {
        let bits = u128::BITS - (size - 1).leading_zeros();
        Self { key, half_bits: bits.div_ceil(2), size }
    }

    /// The code of a number; `None` when all codes have been used.
    pub fn code(&self, counter: u64) -> Option<Code> {
        self.image(counter.into()).map(Code::generated)
    }

    /// The number of a generated code; `None` if the text is not a generated code.
    pub fn counter(&self, code: &Code) -> Option<u64> {
        code.number().and_then(|number| self.origin(number)).and_then(|counter| u64::try_from(counter).ok())
    }

    /// Where a number goes; `None` if it is not below the size.
    pub(crate) fn image(&self, number: u128) -> Option<u128> {
        (number < self.size).then(|| self.walk(number, Self::forward))
    }

    /// Where a number comes from; `None` if it is not below the size.
    pub(crate) fn origin(&self, number: u128) -> Option<u128> {
        (number < self.size).then(|| self.walk(number, Self::backward))
    }

    fn walk(&self, start: u128, step: fn(&Self, u128) -> u128) -> u128 {
        let mut value = step(self, start);
        while value >= self.size {
            value = step(self, value);
        }
        value
    }

    fn forward(&self, value: u128) -> u128 {
        let (mut left, mut right) = self.split(value);
        for round in 0..ROUNDS {
            (left, right) = (right, left ^ self.round(round, right));
        }
        self.join(left, right)
    }

    fn backward(&self, value: u128) -> u128 {
        let (mut left, mut right) = self.split(value);
        for round in (0..ROUNDS).rev() {
            (left, right) = (right ^ self.round(round, left), left);
        }
        self.join(left, right)
    }

    /// Both halves: each has at most 63 bits.
    fn split(&self, value: u128) -> (u64, u64) {
        ((value >> self.half_bits) as u64, value as u64 & self.mask())
    }

    fn join(&self, left: u64, right: u64) -> u128 {
        u128::from(left) << self.half_bits | u128::from(right)
    }

    fn mask(&self) -> u64 {
        (1 << self.half_bits) - 1
    }

    fn round(&self, round: u8, half: u64) -> u64 {
        let mut input = [0u8; 9];
        input[0] = round;
        input[1..].copy_from_slice(&half.to_le_bytes());
        let hash = blake3::keyed_hash(&self.key, &input);
        let mut head = [0u8; 8];
        head.copy_from_slice(&hash.as_bytes()[..8]);
        u64::from_le_bytes(head) & self.mask()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_is_a_bijection_on_a_small_domain() {
        let size = 62u128.pow(3);
        let permutation = Permutation::of_size([9; 32], size);
        let mut seen = vec![false; size as usize];
        for value in 0..size {
            let image = permutation.walk(value, Permutation::forward);
            assert!(image < size);
            assert!(!std::mem::replace(&mut seen[image as usize], true), "{value} and another go to {image}");
            assert_eq!(permutation.walk(image, Permutation::backward), value);
        }
    }

    #[test]
    fn codes_keep_their_golden_values() {
        let permutation = Permutation::new([42; 32]);
        let codes: Vec<String> =
            (0..4).filter_map(|counter| permutation.code(counter)).map(|c| c.to_string()).collect();
        assert_eq!(codes, GOLDEN);
    }

    const GOLDEN: [&str; 4] = ["8WDhKVh", "xw9xaXg", "OnEVWAh", "zITTdy2"];

    #[test]
    fn the_space_ends() {
        let permutation = Permutation::new([1; 32]);
        assert!(permutation.code(CODES - 1).is_some());
        assert_eq!(permutation.code(CODES), None);
    }

    #[test]
    fn neighbours_do_not_look_like_neighbours() {
        let permutation = Permutation::new([5; 32]);
        let numbers: Vec<u128> = (0..64).map(|counter| permutation.walk(counter, Permutation::forward)).collect();
        let step = numbers[1].wrapping_sub(numbers[0]);
        let repeated = numbers.windows(2).filter(|pair| pair[1].wrapping_sub(pair[0]) == step).count();
        assert!(repeated <= 2);
    }

    proptest! {
        #[test]
        fn a_code_leads_back_to_its_counter(counter in 0..CODES, key in any::<[u8; 32]>()) {
            let permutation = Permutation::new(key);
            let code = permutation.code(counter).unwrap();
            prop_assert_eq!(code.as_str().len(), 7);
            prop_assert!(code.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric()));
            prop_assert_eq!(permutation.counter(&code), Some(counter));
        }
    }
}
