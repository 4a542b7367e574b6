//! The level of a cluster: which commands and records all of its members understand.
//!
//! Nodes of two versions run side by side while a cluster is upgraded. A node must never receive a log entry, a record of a snapshot, or a
//! command that it does not understand: replicas would diverge, or stop. So each change of that kind belongs to a level:
//!
//! | level | what it adds |
//! |---|---|
//! | 0 | everything that version 0.1 (commit f8b06c4) reads and writes |
//! | 1 | batches that carry their level; optional fields in commands; separate records in group 0, `AdmitNode`, `RetireNode`, `RaiseLevel`; positions of journals by node, kept until `EndJournals`; times of commands may step back; the last node that stores links is not drained |
//! | 2 | the first properties of links in `properties.rs` |
//! | 3 | limited, protected and ruled links; domains and their settings; the history of targets; codes in letters of other scripts; sessions of the dashboard; batches of clicks in columns |
//!
//! Group 0 records the level of the cluster. Its leader raises it (`RaiseLevel`) once every member has reported that it
//! understands a higher one. The level never goes down, and a node that understands less is not admitted. The proposer stamps each
//! batch of commands with the level. A state machine acts by the highest level that its log has shown it, so all replicas change their
//! behaviour at the same entry, and store in the formats of that level from then on.
//!
//! To change something: add the new variant, field or meaning under the next level (this release's, if it is not published yet), test
//! `level >= …` in `apply`, and add it to the table above.

use std::sync::atomic::{AtomicU8, Ordering};

use serde::{Deserialize, Serialize};

/// A level: what a node understands, or what a cluster uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Level(pub u8);

impl Level {
    /// The level of version 0.1. Nodes that do not report a level have this one.
    pub const BASE: Self = Self(0);
    /// Optional fields in commands, and separate records of group 0.
    pub const ONE: Self = Self(1);
    /// The first optional properties of links.
    pub const TWO: Self = Self(2);
    /// Limited, protected and ruled links, domains, histories, sessions.
    pub const THREE: Self = Self(3);
    /// A level that no cluster of this version reaches: what it would need is not understood here.
    pub const NEVER: Self = Self(u8::MAX);
    /// The highest level that this version understands.
    pub const CURRENT: Self = Self::THREE;
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The level of the cluster as this node knows it, shared by all proposers. It only rises.
#[derive(Debug, Default)]
pub struct ClusterLevel(AtomicU8);

impl ClusterLevel {
    /// The level.
    pub fn get(&self) -> Level {
        Level(self.0.load(Ordering::Acquire))
    }

    /// Records that the cluster has reached a level.
    pub fn raise(&self, level: Level) {
        self.0.fetch_max(level.0, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_of_a_cluster_never_goes_down() {
        let level = ClusterLevel::default();
        assert_eq!(level.get(), Level::BASE);
        level.raise(Level(3));
        level.raise(Level(2));
        assert_eq!(level.get(), Level(3));
    }
}
