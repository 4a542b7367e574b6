//! Known faults of sled's recovery, repaired before it opens the database.

use std::fs;
use std::io;
use std::path::Path;

/// Removes incomplete snapshots. sled 0.34.7 treats `snap.X.generating` as newer than `snap.X` and then
/// refuses to open (sled issues 1527 and 1533). Returns the number of removed files.
pub(crate) fn remove_torn_snapshots(dir: &Path) -> io::Result<usize> {
    remove(dir, |name| name.starts_with("snap.") && name.ends_with(".generating"))
}

/// Removes all snapshots: sled then reads its whole log instead, which is slower, but correct.
pub(crate) fn remove_all_snapshots(dir: &Path) -> io::Result<usize> {
    remove(dir, |name| name.starts_with("snap."))
}

fn remove(dir: &Path, wanted: impl Fn(&str) -> bool) -> io::Result<usize> {
    let mut removed = 0;
    if !dir.exists() {
        return Ok(0);
    }
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(&wanted) {
            fs::remove_file(entry.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}
