//! Janitor: upkeep. It holds no data, and every sweep can be repeated.

use serde::{Deserialize, Serialize};

use crate::message::{Class, Kind, Request, Retry, Service};

/// The service that removes what is no longer wanted and looks for damage.
#[derive(Debug)]
pub struct Janitor;

impl Service for Janitor {
    const NAME: &'static str = "janitor";
}

/// Does one bounded round of upkeep over all shards now, instead of at the next interval.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sweep;

/// What one round of upkeep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Swept {
    /// Expired links that were removed.
    pub expired: u64,
    /// Blocks whose checksum was verified.
    pub scrubbed: u64,
    /// Blocks that were found damaged.
    pub damaged: u64,
    /// Shards that could not be reached, or did not finish in time.
    pub failed: u64,
}

impl Request for Sweep {
    type Service = Janitor;
    type Reply = Swept;
    const KIND: Kind = Kind(0x0501);
    const NAME: &'static str = "sweep";
    const CLASS: Class = Class::Control;
    const RETRY: Retry = Retry::Always;
}
