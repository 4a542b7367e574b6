//! A sketch that estimates the number of unique visitors without storing them: HyperLogLog with 2^14 registers of six bits.
//!
//! After Flajolet et al. 2007, with the estimator of Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (2017),
//! which needs no table and is as good for small numbers as for large. The standard error is 0.8 %. A sketch with few registers
//! in use is a sorted list of them; two sketches of the same hash merge into that of both.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// Bits of a hash that choose the register.
const INDEX_BITS: u32 = 14;

/// The number of registers.
pub const REGISTERS: usize = 1 << INDEX_BITS;

/// The largest value of a register: the bits of a hash that are left, all zero, and one.
const RANK_MAX: u8 = (64 - INDEX_BITS) as u8 + 1;

/// With more registers in use than this, the packed form is shorter than the list of them.
pub const SPARSE_MAX: usize = 3000;

/// The effect of one visitor on a sketch: a register, and the least value that it then has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Register(pub u32);

impl Register {
    /// The register of a visitor, given by a hash with random-looking bits.
    pub fn of(hash: u64) -> Self {
        let index = (hash >> (64 - INDEX_BITS)) as u32;
        let rank = ((hash << INDEX_BITS).leading_zeros() + 1).min(RANK_MAX.into());
        Self(index << 6 | rank)
    }

    fn index(self) -> u32 {
        self.0 >> 6
    }

    fn is_valid(self) -> bool {
        (self.index() as usize) < REGISTERS && (1..=u32::from(RANK_MAX)).contains(&(self.0 & 63))
    }
}

/// The sketch of a set of visitors.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sketch {
    /// Sorted, one for each register in use.
    registers: SmallVec<[Register; 4]>,
}

impl Sketch {
    /// Adds visitors. Invalid registers are ignored.
    pub fn add(&mut self, visitors: impl IntoIterator<Item = Register>) {
        let before = self.registers.len();
        self.registers.extend(visitors.into_iter().filter(|register| register.is_valid()));
        if self.registers.len() == before {
            return;
        }
        // The largest value of each register counts: the last one, after sorting.
        self.registers.sort_unstable();
        self.registers.dedup_by(|later, kept| {
            let same = later.index() == kept.index();
            if same {
                *kept = *later;
            }
            same
        });
    }

    /// Adds all visitors of another sketch.
    pub fn merge(&mut self, other: &Self) {
        if self.registers.is_empty() {
            self.registers.clone_from(&other.registers);
        } else {
            self.add(other.registers.iter().copied());
        }
    }

    /// The registers in use, sorted.
    pub fn registers(&self) -> &[Register] {
        &self.registers
    }

    /// Whether no visitor was added.
    pub fn is_empty(&self) -> bool {
        self.registers.is_empty()
    }

    /// The estimated number of unique visitors.
    pub fn count(&self) -> u64 {
        let m = REGISTERS as f64;
        let q = usize::from(RANK_MAX) - 1;
        let mut counts = [0u32; 64];
        counts[0] = (REGISTERS - self.registers.len()) as u32;
        for register in &self.registers {
            counts[(register.0 & 63) as usize] += 1;
        }
        let mut z = m * tau(1.0 - f64::from(counts[q + 1]) / m);
        for count in counts[1..=q].iter().rev() {
            z = 0.5 * (z + f64::from(*count));
        }
        z += m * sigma(f64::from(counts[0]) / m);
        (m * m / (2.0 * std::f64::consts::LN_2) / z).round() as u64
    }

    /// Packs all registers, four of them in three bytes.
    pub fn pack(&self) -> Vec<u8> {
        let mut ranks = vec![0u8; REGISTERS];
        for register in &self.registers {
            ranks[register.index() as usize] = (register.0 & 63) as u8;
        }
        ranks
            .chunks(4)
            .flat_map(|four| {
                let bits = four.iter().fold(0u32, |bits, rank| bits << 6 | u32::from(*rank));
                [(bits >> 16) as u8, (bits >> 8) as u8, bits as u8]
            })
            .collect()
    }

    /// Unpacks the bytes of [`Sketch::pack`]; `None` if they are something else.
    pub fn unpack(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != REGISTERS / 4 * 3 {
            return None;
        }
        let mut registers: SmallVec<[Register; 4]> = SmallVec::new();
        for (i, three) in bytes.chunks(3).enumerate() {
            let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
            for (j, shift) in [18, 12, 6, 0].into_iter().enumerate() {
                let rank = bits >> shift & 63;
                if rank != 0 {
                    registers.push(Register(((4 * i + j) as u32) << 6 | rank));
                }
            }
        }
        registers.iter().all(|register| register.is_valid()).then_some(Self { registers })
    }
}

fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

/// The largest value of each register of many visitors: adding one takes the same time however many there are.
#[derive(Debug, Clone, Default)]
pub struct Ranks {
    /// By register; empty until the first visitor.
    ranks: Vec<u8>,
}

impl Ranks {
    /// Adds a visitor. An invalid register is ignored.
    pub fn add(&mut self, register: Register) {
        if !register.is_valid() {
            return;
        }
        if self.ranks.is_empty() {
            self.ranks.resize(REGISTERS, 0);
        }
        let rank = &mut self.ranks[register.index() as usize];
        *rank = (*rank).max((register.0 & 63) as u8);
    }

    /// The registers in use, sorted.
    pub fn registers(&self) -> impl Iterator<Item = Register> + '_ {
        let of = |(index, rank): (usize, &u8)| (*rank > 0).then_some(Register((index as u32) << 6 | u32::from(*rank)));
        self.ranks.iter().enumerate().filter_map(of)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn visitor(number: u64) -> Register {
        let hash = blake3::hash(&number.to_le_bytes());
        Register::of(u64::from_le_bytes(hash.as_bytes()[..8].try_into().unwrap()))
    }

    fn sketch(numbers: impl IntoIterator<Item = u64>) -> Sketch {
        let mut sketch = Sketch::default();
        sketch.add(numbers.into_iter().map(visitor));
        sketch
    }

    #[test]
    fn the_count_is_within_two_percent_up_to_a_million() {
        assert_eq!(Sketch::default().count(), 0);
        for count in [1u64, 2, 3, 10, 50, 100, 1000, 5000, 20_000, 50_000, 100_000, 400_000, 1_000_000] {
            let found = sketch(0..count).count();
            let off = found.abs_diff(count) as f64 / count as f64;
            assert!(off <= 0.02, "{count} were counted as {found}");
        }
    }

    #[test]
    fn a_register_is_chosen_by_the_first_bits_of_a_hash_and_its_value_by_the_zeros_behind_them() {
        for (hash, index, rank) in [
            (0, 0, 51),
            (1, 0, 50),
            (1 << 49, 0, 1),
            (1 << 48, 0, 2),
            (1 << 50, 1, 51),
            (3 << 50 | 1 << 47 | 1, 3, 3),
            (1 << 63, 8192, 51),
            (u64::MAX, 16383, 1),
        ] {
            let register = Register::of(hash);
            assert_eq!((register, register.index()), (Register(index << 6 | rank), index), "{hash:#x}");
        }
    }

    #[test]
    fn only_registers_that_a_hash_can_have_are_added_and_of_each_the_largest_stays() {
        let mut sketch = Sketch::default();
        sketch.add([Register(16384 << 6 | 1), Register(7 << 6), Register(7 << 6 | 52), Register(u32::MAX)]);
        assert!(sketch.is_empty());
        sketch.add([
            Register(16383 << 6 | 51),
            Register(5 << 6 | 3),
            Register(5 << 6 | 9),
            Register(5 << 6 | 4),
            Register(1),
        ]);
        let expected = [Register(1), Register(5 << 6 | 9), Register(16383 << 6 | 51)];
        assert_eq!((sketch.registers(), sketch.is_empty()), (&expected[..], false));
        sketch.add([Register(0)]);
        let mut empty = Sketch::default();
        empty.merge(&sketch);
        assert_eq!(empty, sketch);
        empty.merge(&Sketch::default());
        assert_eq!(empty.registers(), expected);
    }

    #[test]
    fn the_packed_form_has_the_documented_bytes_and_nothing_else_is_unpacked() {
        let mut sketch = Sketch::default();
        sketch.add(
            [(0, 1), (1, 2), (2, 51), (3, 4), (4, 33), (16382, 9), (16383, 5)].map(|(i, rank)| Register(i << 6 | rank)),
        );
        let packed = sketch.pack();
        assert_eq!(packed.len(), 12288);
        assert_eq!(packed[..6], [0b00000100, 0b00101100, 0b11000100, 0b10000100, 0, 0]);
        assert_eq!(packed[12284..], [0, 0, 0b00000010, 0b01000101]);
        assert!(packed[6..12284].iter().all(|byte| *byte == 0));
        assert_eq!(Sketch::unpack(&packed), Some(sketch));
        for wrong in [&packed[1..], &[&packed[..], &[0]].concat(), &[]] {
            assert_eq!(Sketch::unpack(wrong), None);
        }
        // No hash leaves more than 51 in a register.
        for (rank, sound) in [(51u8, true), (52, false)] {
            let mut bytes = vec![0; 12288];
            bytes[0] = rank << 2;
            assert_eq!(Sketch::unpack(&bytes).is_some(), sound, "{rank}");
        }
    }

    #[test]
    fn the_count_of_known_sketches_is_known() {
        let counts = [1u64, 2, 7, 1000, 30_000, 200_000].map(|count| sketch(0..count).count());
        assert_eq!(counts, [1, 2, 7, 995, 29_584, 200_356]);
        // Registers with the largest value of all have a share of their own.
        let mut full = Sketch::default();
        full.add((0..REGISTERS as u32).map(|index| Register(index << 6 | if index % 3 == 0 { 51 } else { 40 })));
        // By the formula of the paper, computed elsewhere; the last digits are beyond a float.
        let expected = 19_490_165_237_514_108;
        assert!(full.count().abs_diff(expected) < expected >> 40, "{}", full.count());
        full.add((0..REGISTERS as u32).map(|index| Register(index << 6 | 51)));
        assert_eq!(full.count(), u64::MAX);
    }

    #[test]
    fn who_comes_again_is_not_counted_again() {
        let once = sketch(0..5000);
        assert_eq!(sketch((0..5000).chain(0..5000).chain(1000..2000)), once);
    }

    proptest! {
        #[test]
        fn merging_is_the_same_as_adding_all(one in prop::collection::vec(0u64..500, 0..200), two in prop::collection::vec(0u64..500, 0..200)) {
            let mut merged = sketch(one.iter().copied());
            merged.merge(&sketch(two.iter().copied()));
            prop_assert_eq!(merged, sketch(one.into_iter().chain(two)));
        }

        #[test]
        fn ranks_of_visitors_make_the_same_sketch(numbers in prop::collection::vec(0u64..500, 0..200), any_registers in prop::collection::vec(any::<u32>().prop_map(Register), 0..50)) {
            let visitors: Vec<Register> = numbers.into_iter().map(visitor).chain(any_registers).collect();
            let mut ranks = Ranks::default();
            visitors.iter().for_each(|visitor| ranks.add(*visitor));
            let mut sketch = Sketch::default();
            sketch.add(visitors);
            prop_assert_eq!(ranks.registers().collect::<Vec<_>>(), sketch.registers());
        }

        #[test]
        fn what_is_packed_is_unpacked(numbers in prop::collection::vec(any::<u64>(), 0..3000)) {
            let sketch = sketch(numbers);
            prop_assert_eq!(Sketch::unpack(&sketch.pack()), Some(sketch));
        }

        #[test]
        fn no_bytes_make_it_panic(registers in prop::collection::vec(any::<u32>().prop_map(Register), 0..50), bytes in prop::collection::vec(any::<u8>(), 12288)) {
            let mut sketch = Sketch::default();
            sketch.add(registers);
            sketch.count();
            if let Some(sketch) = Sketch::unpack(&bytes) {
                sketch.count();
            }
        }
    }
}
