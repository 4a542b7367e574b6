//! Free space: the node turns read-only before the disk is full, because the database does not survive a full disk.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::Statvfs;

/// The space of a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// What can still be written by this process.
    pub free_bytes: u64,
    /// Its size.
    pub total_bytes: u64,
}

/// Whether there is enough space to accept writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpaceState {
    /// Writes are accepted.
    Writable,
    /// Writes are refused; redirects go on.
    ReadOnly,
}

impl SpaceState {
    /// The state that follows: read-only below `low` bytes, writable again above `high`.
    #[must_use]
    pub fn next(self, free: u64, low: u64, high: u64) -> Self {
        match self {
            Self::Writable if free < low => Self::ReadOnly,
            Self::ReadOnly if free >= high.max(low) => Self::Writable,
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
    /// Watches the file system that `path` lies on.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Reads its space now.
    ///
    /// # Errors
    /// When the operating system does not tell.
    pub fn check(&self) -> io::Result<Space> {
        Ok(Space::from(nix::sys::statvfs::statvfs(&self.path)?))
    }
}

impl Space {
    /// That of the file system that an open file lies on.
    ///
    /// # Errors
    /// When the operating system does not tell.
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
    fn the_space_of_a_directory_can_be_read() {
        let space = SpaceWatch::new(Path::new("/")).check().unwrap();
        assert!(space.free_bytes <= space.total_bytes && space.total_bytes > 0);
    }
}
