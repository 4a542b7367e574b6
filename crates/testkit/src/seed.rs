//! Chance that can be had again: each run says its seed, and takes one that it is given.

use std::sync::{LazyLock, Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// The variable that gives the seed.
const VARIABLE: &str = "TEST_SEED";

static SOURCE: LazyLock<Mutex<StdRng>> = LazyLock::new(|| {
    let given = std::env::var(VARIABLE).ok();
    let seed = given.map_or_else(rand::random, |seed| seed.parse().expect("invariant: TEST_SEED is a number"));
    // Straight to the terminal of who runs a single test; the harness shows it with a failure otherwise.
    eprintln!("{VARIABLE}={seed} chooses the same faults at the same times again");
    Mutex::new(StdRng::seed_from_u64(seed))
});

/// Uses the source of chance of this run. Which of several tests draws when hangs on their threads: run one alone to replay it.
pub fn chance<T>(draw: impl FnOnce(&mut StdRng) -> T) -> T {
    draw(&mut SOURCE.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A number in a range.
pub fn pick(range: std::ops::Range<u64>) -> u64 {
    chance(|rng| rng.random_range(range))
}
