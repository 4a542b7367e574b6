//! Free space: the node turns read-only before the disk is full, because the database does not survive a full disk.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::Statvfs;

/// The space of a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// The bytes that this process can still write.
    pub free_bytes: u64,
    /// The size of the file system.
    pub total_bytes: u64,
}

/// Whether there is enough space to accept writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpaceState {
    /// Writes are accepted.
    Writable,
    /// Changes are refused. Redirects go on, and so do writes that a leader or the node itself needs.
    ReadOnly,
    /// Nothing is added to a log any more, not even entries of a leader.
    Exhausted,
}

/// The divisor of the low mark below which only necessary writes are made: votes, checkpoints, removing purged entries.
const RESERVE: u64 = 4;

impl SpaceState {
    /// The next state: read-only below `low` bytes, writable again above `high`; exhausted below a quarter of `low`, until
    /// half of it is free again.
    #[must_use]
    pub fn next(self, free: u64, low: u64, high: u64) -> Self {
        match self {
            _ if free < low / RESERVE => Self::Exhausted,
            Self::Exhausted if free < low / 2 => Self::Exhausted,
            Self::Writable if free < low => Self::ReadOnly,
            Self::ReadOnly | Self::Exhausted if free >= high.max(low) => Self::Writable,
            Self::Exhausted => Self::ReadOnly,
            same => same,
        }
    }
}

/// Watches the file system of a directory.
#[derive(Debug, Clone)]
pub struct SpaceWatch {
    path: PathBuf,
}

impl SpaceWatch {
    /// Watches the file system that holds `path`.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Reads the free space.
    ///
    /// # Errors
    /// If the operating system returns an error.
    pub fn check(&self) -> io::Result<Space> {
        Ok(Space::from(nix::sys::statvfs::statvfs(&self.path)?))
    }
}

impl Space {
    /// Reads the free space of the file system that holds an open file.
    ///
    /// # Errors
    /// If the operating system returns an error.
    pub fn of(file: &File) -> io::Result<Self> {
        Ok(Self::from(nix::sys::statvfs::fstatvfs(file)?))
    }
}

impl From<Statvfs> for Space {
    fn from(stat: Statvfs) -> Self {
        let unit = stat.fragment_size();
        Self { free_bytes: stat.blocks_available() * unit, total_bytes: stat.blocks() * unit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_turns_read_only_below_the_low_mark_and_back_above_the_high_one() {
        let mut state = SpaceState::Writable;
        for (free, expected) in [
            (150, SpaceState::Writable),
            (100, SpaceState::Writable),
            (99, SpaceState::ReadOnly),
            (150, SpaceState::ReadOnly),
            (200, SpaceState::Writable),
            (150, SpaceState::Writable),
        ] {
            state = state.next(free, 100, 200);
            assert_eq!(state, expected, "at {free}");
        }
    }

    #[test]
    fn it_is_exhausted_below_a_quarter_of_the_low_mark_until_half_of_it_is_free() {
        let mut state = SpaceState::Writable;
        for (free, expected) in [
            (25, SpaceState::ReadOnly),
            (24, SpaceState::Exhausted),
            (25, SpaceState::Exhausted),
            (49, SpaceState::Exhausted),
            (50, SpaceState::ReadOnly),
            (24, SpaceState::Exhausted),
            (200, SpaceState::Writable),
            (0, SpaceState::Exhausted),
            (199, SpaceState::ReadOnly),
        ] {
            state = state.next(free, 100, 200);
            assert_eq!(state, expected, "at {free}");
        }
    }

    #[test]
    fn the_space_of_a_directory_can_be_read() {
        let space = SpaceWatch::new(Path::new("/")).check().unwrap();
        assert!(space.free_bytes <= space.total_bytes && space.total_bytes > 0);
    }
}
