//! Files that only the node's account may read: its data directory, and the key that it makes for its own commands.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::data_dir::{CLI_KEY_FILE, CLI_KEY_NEW, LOST_AND_FOUND, is_own};
use crate::app::CLI_KEY_PREFIX;

/// The depth to which an entry of the data directory is examined: the node's own directories are two deep.
const DEPTH_MAX: u32 = 3;

/// Makes every file that this process creates accessible to its own account only.
pub fn keep_to_oneself() {
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
}

/// Closes the data directory, and what the node has in it, to other accounts. Files of somebody else in it stay as they are; then the directory itself
/// does, too.
pub(super) fn close(data_dir: &Path) {
    match data_dir.canonicalize().and_then(|dir| close_own(&dir)) {
        Ok(None) => {}
        Ok(Some(foreign)) => tracing::warn!(
            path = %data_dir.display(), foreign = %foreign.display(),
            "the data directory holds other files too, so only the node's own are closed to other accounts; give the node a directory of its own"
        ),
        // A volume with another owner, such as one of Kubernetes, decides for itself.
        Err(error) => {
            tracing::warn!(%error, path = %data_dir.display(), "the data directory cannot be closed to other accounts")
        }
    }
}

/// Returns an entry that is not the node's, if there is one.
fn close_own(dir: &Path) -> io::Result<Option<PathBuf>> {
    let mut foreign = None;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if is_own(&entry.file_name()) {
            close_below(&entry.path(), DEPTH_MAX)?;
        } else if entry.file_name() != LOST_AND_FOUND {
            foreign = Some(entry.path());
        }
    }
    if foreign.is_none() {
        close_one(dir)?;
    }
    Ok(foreign)
}

/// Closes a file or a directory.
fn close_one(path: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    if found.mode() & 0o077 != 0 && (found.is_dir() || found.is_file()) {
        fs::set_permissions(path, Permissions::from_mode(found.mode() & 0o700))?;
    }
    Ok(())
}

/// Closes a file or a directory, and everything in it that belongs to this account.
fn close_below(path: &Path, depth: u32) -> io::Result<()> {
    let closed = fs::symlink_metadata(path).and_then(|found| {
        if found.uid() != rustix::process::geteuid().as_raw() {
            return Ok(());
        }
        close_one(path)?;
        if found.is_dir() && depth > 0 {
            fs::read_dir(path)?.try_for_each(|entry| close_below(&entry?.path(), depth - 1))?;
        }
        Ok(())
    });
    match closed {
        // It was removed meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Writes a new key into `DATA/cli.key`, in place of that of the last start. A reader gets one or the other, complete.
///
/// # Errors
/// If the file cannot be written. Then there is no key for the commands.
pub(super) fn renew_cli_key(data_dir: &Path) -> io::Result<String> {
    let key = format!("{CLI_KEY_PREFIX}{}", random_base62());
    let new = data_dir.join(CLI_KEY_NEW);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    writeln!(file, "{key}")?;
    // It need not survive a power cut: the next start makes another one.
    fs::rename(&new, data_dir.join(CLI_KEY_FILE))?;
    Ok(key)
}

/// 43 characters of base62: 256 random bits.
pub(super) fn random_base62() -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    (0..43).map(|_| char::from(DIGITS[rand::random_range(0..DIGITS.len())])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn what_an_earlier_version_left_open_is_closed_to_others() {
        let dir = tempfile::tempdir().unwrap();
        let (inner, file) = (dir.path().join("store/blobs"), dir.path().join("store/blobs/1"));
        fs::create_dir_all(&inner).unwrap();
        fs::write(&file, "x").unwrap();
        for (path, open) in [(dir.path(), 0o755), (&inner, 0o755), (&file, 0o644)] {
            fs::set_permissions(path, Permissions::from_mode(open)).unwrap();
        }
        close(dir.path());
        assert_eq!((mode(dir.path()), mode(&inner), mode(&file)), (0o700, 0o700, 0o600));
    }

    #[test]
    fn files_of_somebody_else_in_the_data_directory_stay_as_open_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let [store, theirs, script] = ["store", "theirs", "theirs/run.sh"].map(|name| dir.path().join(name));
        fs::create_dir(&store).unwrap();
        fs::create_dir(&theirs).unwrap();
        fs::write(&script, "x").unwrap();
        for (path, open) in [(dir.path(), 0o777), (&store, 0o755), (&theirs, 0o755), (&script, 0o755)] {
            fs::set_permissions(path, Permissions::from_mode(open)).unwrap();
        }
        close(dir.path());
        let modes = [dir.path(), &store, &theirs, &script].map(mode);
        assert_eq!(modes, [0o777, 0o700, 0o755, 0o755]);
        // With nothing but what some file systems have in their root it is the node's.
        fs::remove_dir_all(&theirs).unwrap();
        fs::create_dir(dir.path().join("lost+found")).unwrap();
        close(dir.path());
        assert_eq!(mode(dir.path()), 0o700);
    }

    #[test]
    fn each_key_for_the_commands_is_another_and_is_readable_by_its_account_only() {
        let dir = tempfile::tempdir().unwrap();
        let (one, path) = (renew_cli_key(dir.path()).unwrap(), dir.path().join(CLI_KEY_FILE));
        // The file of an interrupted start does not matter.
        fs::write(dir.path().join("cli.key.new"), "half").unwrap();
        let other = renew_cli_key(dir.path()).unwrap();
        assert_ne!(one, other);
        assert_eq!(fs::read_to_string(&path).unwrap().trim(), other);
        assert_eq!(mode(&path), 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
