//! The wall clock: the only place that reads it for what the product stores.

use std::time::{SystemTime, UNIX_EPOCH};

use waypost_protocol::UnixMs;

/// The time by the clock of this machine.
pub fn wall_clock() -> UnixMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMs(since.as_millis() as u64)
}
