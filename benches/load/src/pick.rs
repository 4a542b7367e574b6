//! Which code is asked for next: uniform, by popularity (Zipf), or each exactly once.

/// Draws indices below a number of codes.
#[derive(Debug)]
pub enum Pick {
    /// Each code equally often.
    Uniform {
        /// Number of codes.
        len: u32,
        /// Source of the draws.
        random: Random,
    },
    /// Draws made before the run and repeated, because a Zipf draw costs more than a request may.
    Drawn {
        /// The draws.
        draws: Vec<u32>,
        /// Position of the next one.
        at: usize,
    },
    /// Every code once, in order.
    Once {
        /// Number of codes.
        len: u32,
        /// The next one.
        at: u32,
    },
}

/// Draws kept for Zipf: 16 MiB, and at 100,000 requests/s 42 s until the sequence repeats.
const DRAWS: usize = 1 << 22;

impl Pick {
    /// Uniform draws below `len`, repeatable by `seed`.
    #[must_use]
    pub fn uniform(len: u32, seed: u64) -> Self {
        Self::Uniform { len, random: Random(seed) }
    }

    /// Each index below `len` once.
    #[must_use]
    pub fn once(len: u32) -> Self {
        Self::Once { len, at: 0 }
    }

    /// Draws in which rank `r` (from 1, the order of the file) has the weight `r^-exponent`.
    #[must_use]
    pub fn zipf(len: u32, exponent: f64, seed: u64) -> Self {
        let mut sum = 0.0;
        let cumulated: Vec<f64> = (1..=len)
            .map(|rank| {
                sum += f64::from(rank).powf(-exponent);
                sum
            })
            .collect();
        let mut random = Random(seed);
        let draws = (0..DRAWS)
            .map(|_| {
                let point = random.unit() * sum;
                (cumulated.partition_point(|edge| *edge < point) as u32).min(len - 1)
            })
            .collect();
        Self::Drawn { draws, at: 0 }
    }

    /// The next index; `None` when all were used once.
    pub fn draw(&mut self) -> Option<u32> {
        match self {
            Self::Uniform { len, random } => Some(random.below(*len)),
            Self::Drawn { draws, at } => {
                let drawn = draws[*at];
                *at = if *at + 1 == draws.len() { 0 } else { *at + 1 };
                Some(drawn)
            }
            Self::Once { len, at } => {
                let next = *at;
                (next < *len).then(|| {
                    *at += 1;
                    next
                })
            }
        }
    }
}

/// SplitMix64: a few instructions a draw, and good enough to choose links.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, len: u32) -> u32 {
        (((self.next() >> 32) * u64::from(len)) >> 32) as u32
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uniform_draws_reach_every_code_about_equally() {
        let mut pick = Pick::uniform(10, 7);
        let mut counts = [0_u32; 10];
        for _ in 0..100_000 {
            counts[pick.draw().unwrap() as usize] += 1;
        }
        assert!(counts.iter().all(|count| (9_000..11_000).contains(count)), "{counts:?}");
    }

    #[test]
    fn zipf_prefers_the_first_ranks_by_the_right_factor() {
        let mut pick = Pick::zipf(1_000, 1.0, 7);
        let mut counts = vec![0_u32; 1_000];
        for _ in 0..1_000_000 {
            counts[pick.draw().unwrap() as usize] += 1;
        }
        let factor = f64::from(counts[0]) / f64::from(counts[9]);
        assert!((8.0..12.5).contains(&factor), "{factor}");
    }

    #[test]
    fn once_gives_each_code_once_and_then_ends() {
        let mut pick = Pick::once(3);
        let drawn: Vec<u32> = std::iter::from_fn(|| pick.draw()).collect();
        assert_eq!(drawn, [0, 1, 2]);
        assert_eq!(pick.draw(), None);
    }
}
