//! Repeatable randomness: each run prints its seed, and can be started with a given one.

use std::sync::{LazyLock, Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// The variable that gives the seed.
const VARIABLE: &str = "TEST_SEED";

static SOURCE: LazyLock<Mutex<StdRng>> = LazyLock::new(|| {
    let given = std::env::var(VARIABLE).ok();
    let seed = given.map_or_else(rand::random, |seed| seed.parse().expect("invariant: TEST_SEED is a number"));
    // Printed directly to the terminal; the test harness otherwise shows it only after a failure.
    eprintln!("{VARIABLE}={seed} chooses the same faults at the same times again");
    Mutex::new(StdRng::seed_from_u64(seed))
});

/// Uses the random generator of this run. With several tests, the order of draws depends on their threads: run a single test to replay it.
pub fn chance<T>(draw: impl FnOnce(&mut StdRng) -> T) -> T {
    draw(&mut SOURCE.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A number in a range.
pub fn pick(range: std::ops::Range<u64>) -> u64 {
    chance(|rng| rng.random_range(range))
}
