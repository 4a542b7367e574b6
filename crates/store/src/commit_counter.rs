//! The commit counter: how many commits the database has had, noted outside it.
//!
//! sled treats a damaged message as the torn end of its log and ignores everything after it, so a flipped byte
//! would silently undo acknowledged writes. The commit threads therefore count commits in a record of the database itself,
//! and after each sync write the count into a file of its own. A database that opens with a lower count than the file
//! has lost something, and is refused.
//!
//! The file is not synced with each commit: it may lag behind the database (after a power cut), but never leads it.
//!
//! ```text
//! file `<data_dir>/committed` = count u64 LE · count u64 LE, all bits inverted
//! ```

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::StoreError;

const NAME: &str = "committed";
const TREE: &str = "commits";
const KEY: &[u8] = b"n";

pub(crate) struct CommitCounter {
    tree: sled::Tree,
    count: u64,
}

/// The file with the count.
pub(crate) struct Noted {
    file: File,
    /// The highest number that was noted here; at first that of the database, which the file has or lags behind.
    count: u64,
}

impl CommitCounter {
    /// Compares the count in the file with that of the database.
    ///
    /// # Errors
    /// [`StoreError::Lost`] if the database has fewer commits than the file.
    pub(crate) fn open(data_dir: &Path, db: &sled::Db) -> Result<(Self, Noted), StoreError> {
        let path = data_dir.join(NAME);
        let tree = db.open_tree(TREE)?;
        let count = tree.get(KEY)?.and_then(|value| value.as_ref().try_into().ok()).map_or(0, u64::from_le_bytes);
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        match read(&mut file)? {
            Some(noted) if noted > count => return Err(StoreError::Lost { path, noted, found: count }),
            Some(_) => {}
            None => {
                if count > 0 {
                    tracing::warn!(path = %path.display(), "the file with the number of commits is missing or torn; it is created again");
                }
                note(&file, count)?;
                file.sync_all()?;
            }
        }
        Ok((Self { tree, count }, Noted { file, count }))
    }

    /// Counts a commit, and returns its number. Call this before its flush.
    pub(crate) fn count(&mut self) -> sled::Result<u64> {
        self.count += 1;
        self.tree.insert(KEY, &self.count.to_le_bytes()).map(|_| self.count)
    }
}

impl Noted {
    /// Writes the number of a commit into the file, unless a later one is there. Call this after the sync of the commit.
    pub(crate) fn note(&mut self, count: u64) -> io::Result<()> {
        if count > self.count {
            note(&self.file, count)?;
            self.count = count;
        }
        Ok(())
    }
}

fn note(file: &File, count: u64) -> io::Result<()> {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&count.to_le_bytes());
    bytes[8..].copy_from_slice(&(!count).to_le_bytes());
    file.write_all_at(&bytes, 0)
}

fn read(file: &mut File) -> io::Result<Option<u64>> {
    let mut bytes = [0; 16];
    match file.read_exact(&mut bytes) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let number = |from: usize| bytes[from..from + 8].try_into().map_or(0, u64::from_le_bytes);
    let (count, inverted) = (number(0), number(8));
    Ok((count == !inverted).then_some(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_that_ends_after_a_later_one_leaves_the_later_number_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        let mut noted = Noted { file: File::create(&path).unwrap(), count: 0 };
        noted.note(6).unwrap();
        noted.note(5).unwrap();
        assert_eq!(read(&mut File::open(&path).unwrap()).unwrap(), Some(6));
    }
}
