//! A file in memory, seen as words that two threads may use at once.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicU64;

use memmap2::{MmapOptions, MmapRaw};

/// A mapped file. Dropping it ends the mapping.
pub(crate) struct Map {
    mapped: MmapRaw,
}

impl Map {
    /// Creates a file of `words` zero words, with its blocks on disk reserved.
    pub(crate) fn create(path: &Path, words: usize) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        // A write into a mapped hole on a full disk would kill the process.
        nix::fcntl::posix_fallocate(&file, 0, (words * 8) as i64)?;
        file.sync_all()?;
        Self::of(&file)
    }

    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Self::of(&OpenOptions::new().read(true).write(true).open(path)?)
    }

    fn of(file: &File) -> io::Result<Self> {
        if file.metadata()?.len() == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is empty"));
        }
        Ok(Self { mapped: MmapOptions::new().map_raw(file)? })
    }

    /// All words of the file.
    #[expect(unsafe_code, reason = "a mapping is only reachable by its address")]
    pub(crate) fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is page-aligned, has the stated length, lives as long as `self`, and is only ever used through these
        // atomic words. This process holds the lock of the data directory, so nobody truncates the file meanwhile.
        unsafe { std::slice::from_raw_parts(self.mapped.as_mut_ptr().cast(), self.mapped.len() / 8) }
    }

    pub(crate) fn flush(&self) -> io::Result<()> {
        self.mapped.flush()
    }

    pub(crate) fn flush_range(&self, from: usize, length: usize) -> io::Result<()> {
        self.mapped.flush_range(from, length)
    }
}
