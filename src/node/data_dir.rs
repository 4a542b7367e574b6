//! The data directory, checked before anything in it is opened. Problems of its location are reported with path and account, and are not
//! failures of the disk: a service manager may start the node again, and the operator knows what to change.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, faccessat};
use waypost_store::StoreError;

use crate::account::{self, Account};
use crate::limits::OPEN_FREE_BYTES_MIN;

/// The database, which makes a directory a data directory. A restore moves it last.
pub(crate) const STORE: &str = "store";

/// The catalog. A node starts without it, and whatever has become of it.
pub(super) const CATALOG: &str = "catalog";

/// The subdirectory in which a restore is built until it is complete.
pub(crate) const RESTORING: &str = ".restoring";

/// The files and directories that a node creates in its data directory, and has to write to.
const OWN: &[&str] = &[STORE, "journal", "snapshots", "committed", "admin-key"];

/// The file in the data directory with the key for the commands of the node's own account.
pub const CLI_KEY_FILE: &str = "cli.key";

/// The same while it is being written.
pub(super) const CLI_KEY_NEW: &str = "cli.key.new";

/// A directory that some file systems have in their root.
pub(crate) const LOST_AND_FOUND: &str = "lost+found";

/// Whether a node, or a restore, creates an entry of this name in a data directory. Others belong to somebody else.
pub(super) fn is_own(name: &OsStr) -> bool {
    let others = [CATALOG, RESTORING, CLI_KEY_FILE, CLI_KEY_NEW];
    OWN.iter().chain(&others).any(|own| name == *own)
}

/// Why a data directory cannot be used, with what to do.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It is not a directory, or cannot be created as one.
    #[error(
        "the data directory {} cannot be used: {why}. Give another one with --data-dir (WAYPOST_DATA_DIR). This process runs as {account}",
        dir.display()
    )]
    Place {
        /// The directory.
        dir: PathBuf,
        /// What is there.
        why: String,
        /// The account of this process.
        account: Account,
    },
    /// The account of the process lacks rights.
    #[error(
        "the data directory {} cannot be used: {} is not {wanted} for {account}{}. {}, or give another directory with --data-dir \
         (WAYPOST_DATA_DIR)",
        dir.display(), path.display(), owned_by(*owner), given(path, dir, account, *owner)
    )]
    Rights {
        /// The directory.
        dir: PathBuf,
        /// The path in it, or above it.
        path: PathBuf,
        /// The required access.
        wanted: &'static str,
        /// The account of this process.
        account: Account,
        /// The account that owns the path.
        owner: Option<u32>,
    },
    /// There is no space.
    #[error(
        "the data directory {} cannot be used: its file system has too little free space ({free} bytes and {files} files for {account}). Make \
         some, or give another directory with --data-dir (WAYPOST_DATA_DIR)",
        dir.display()
    )]
    Full {
        /// The directory.
        dir: PathBuf,
        /// The free bytes.
        free: u64,
        /// The number of files that can be created.
        files: u64,
        /// The account of this process.
        account: Account,
    },
    /// The system returns another error.
    #[error("the data directory {} cannot be used by {account}: {}", dir.display(), account::told(error))]
    Refused {
        /// The directory.
        dir: PathBuf,
        /// The system's error.
        error: io::Error,
        /// The account of this process.
        account: Account,
    },
    /// Another process uses it.
    #[error(
        "the data directory {} is in use by another process{}; stop that one, or give another directory with --data-dir (WAYPOST_DATA_DIR). \
         This process runs as {account}",
        dir.display(), holder.as_deref().map(|holder| format!(" ({holder})")).unwrap_or_default()
    )]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// That process, if it is known.
        holder: Option<String>,
        /// The account of this process.
        account: Account,
    },
}

fn owned_by(owner: Option<u32>) -> String {
    owner.map(|owner| format!(", it belongs to {}", Account::of(owner))).unwrap_or_default()
}

/// How to give an account the rights.
fn given(path: &Path, dir: &Path, account: &Account, owner: Option<u32>) -> String {
    let (uid, dir_shown) = (account.uid, dir.display());
    if owner == Some(uid) {
        return format!("It is closed to its owner, too: run `chmod u+rwX {}`", path.display());
    }
    match path.starts_with(dir) {
        true => format!("As root, run `chown -R {uid} {dir_shown}`; or start the node as the owner"),
        false => format!("As root, run `mkdir -p {dir_shown} && chown {uid} {dir_shown}`"),
    }
}

/// Creates the data directory if it does not exist, and checks whether a node can use it: it is a directory, this account may write to
/// everything that a node created there, there is some space, and no other process uses it.
///
/// # Errors
/// [`Unusable`] with what to do.
pub(crate) fn prepare(dir: &Path) -> Result<(), Unusable> {
    let dir = &absolute(dir);
    if fs::metadata(dir).is_err() {
        waypost_store::create_durably(dir).map_err(|error| match error {
            StoreError::Io(error) => not_made(dir, &error),
            error => place(dir, error.to_string()),
        })?;
        // Something else has the name, such as a broken symbolic link.
        fs::metadata(dir).map_err(|error| not_made(dir, &error))?;
    }
    look(dir)
}

pub(super) fn absolute(dir: &Path) -> PathBuf {
    std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned())
}

/// Checks whether a node can use a directory, if it exists.
pub(super) fn look(dir: &Path) -> Result<(), Unusable> {
    match fs::metadata(dir) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => return Err(place(dir, "it is a file".to_owned())),
        Err(_) => return Ok(()),
    }
    usable(dir, dir)?;
    for own in OWN.iter().map(|name| dir.join(name)) {
        usable(dir, &own)?;
        // An entry that was removed meanwhile does not matter.
        for entry in fs::read_dir(&own).into_iter().flatten().flatten() {
            usable(dir, &entry.path())?;
        }
    }
    enough_space(dir)?;
    unlocked(dir)
}

/// Why a data directory could not be created.
pub(crate) fn not_made(dir: &Path, error: &io::Error) -> Unusable {
    let dir = &absolute(dir);
    let place = |why: String| place(dir, why);
    // The lowest existing parent is the one in which the missing part cannot be created.
    let above = dir.ancestors().find(|above| above.symlink_metadata().is_ok()).unwrap_or(Path::new("/"));
    match error.kind() {
        _ if above.is_symlink() && !above.exists() => {
            place(format!("{} is a symbolic link to what is not there", above.display()))
        }
        ErrorKind::NotADirectory => place(format!("{} is a file", above.display())),
        ErrorKind::PermissionDenied => rights(dir, above, "writable"),
        ErrorKind::ReadOnlyFilesystem => place(format!("the file system of {} is read-only", above.display())),
        ErrorKind::StorageFull => full(dir, above),
        _ => place(format!("it cannot be made by {}: {}", Account::own(), account::told(error))),
    }
}

fn place(dir: &Path, why: String) -> Unusable {
    Unusable::Place { dir: dir.to_owned(), why, account: Account::own() }
}

fn rights(dir: &Path, path: &Path, wanted: &'static str) -> Unusable {
    let owner = fs::metadata(path).ok().map(|found| found.uid());
    Unusable::Rights { dir: dir.to_owned(), path: path.to_owned(), wanted, account: Account::own(), owner }
}

/// Checks whether this account may use a file or directory as a node does.
fn usable(dir: &Path, path: &Path) -> Result<(), Unusable> {
    let may = |access: AccessFlags| faccessat(AT_FDCWD, path, access, AtFlags::AT_EACCESS);
    let directory = path.is_dir();
    let search = if directory { AccessFlags::X_OK } else { AccessFlags::empty() };
    match may(AccessFlags::R_OK | AccessFlags::W_OK | search) {
        Ok(()) | Err(nix::Error::ENOENT) => Ok(()),
        Err(nix::Error::EACCES | nix::Error::EPERM) => {
            let readable = may(AccessFlags::R_OK | search).is_ok();
            Err(rights(dir, path, if readable { "writable" } else { "readable" }))
        }
        Err(nix::Error::EROFS) => Err(place(dir, "its file system is read-only".to_owned())),
        Err(error) => Err(refused(dir, error.into())),
    }
}

pub(super) fn refused(dir: &Path, error: io::Error) -> Unusable {
    Unusable::Refused { dir: dir.to_owned(), error, account: Account::own() }
}

/// The free bytes of a file system, and the number of files that can be created; a file system that does not count files has enough.
fn free(path: &Path) -> Option<(u64, u64)> {
    let of = statvfs(path).ok()?;
    let bytes = of.blocks_available().saturating_mul(of.fragment_size());
    Some((bytes, if of.files() == 0 { u64::MAX } else { of.files_available() }))
}

pub(super) fn full(dir: &Path, path: &Path) -> Unusable {
    let (free, files) = free(path).unwrap_or((0, 0));
    Unusable::Full { dir: dir.to_owned(), free, files, account: Account::own() }
}

pub(super) fn enough_space(dir: &Path) -> Result<(), Unusable> {
    match free(dir) {
        Some((bytes, files)) if bytes < OPEN_FREE_BYTES_MIN || files == 0 => Err(full(dir, dir)),
        _ => Ok(()),
    }
}

/// Checks whether another process has the database open, before known faults of its files are repaired. The database takes the
/// lock itself when it opens, so this one is released at once.
fn unlocked(dir: &Path) -> Result<(), Unusable> {
    let path = dir.join(STORE).join("db");
    let file = match OpenOptions::new().read(true).write(true).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(refused(dir, error)),
    };
    match file.try_lock() {
        Ok(()) => file.unlock().map_err(|error| refused(dir, error)),
        Err(fs::TryLockError::WouldBlock) => Err(in_use(dir)),
        Err(fs::TryLockError::Error(error)) => Err(refused(dir, error)),
    }
}

pub(super) fn in_use(dir: &Path) -> Unusable {
    let path = dir.join(STORE).join("db");
    Unusable::InUse { dir: dir.to_owned(), holder: holder(&path), account: Account::own() }
}

/// The process that has locked a file, from the kernel's list of locks.
fn holder(path: &Path) -> Option<String> {
    let inode = File::open(path).ok()?.metadata().ok()?.ino().to_string();
    let locks = fs::read_to_string("/proc/locks").ok()?;
    // `1: FLOCK ADVISORY WRITE 1234 08:01:5678 0 EOF`
    let of_file = locks.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find(|words| {
        words.get(1) == Some(&"FLOCK") && words.get(5).is_some_and(|place| place.rsplit(':').next() == Some(&inode))
    })?;
    let pid: u32 = of_file.get(4)?.parse().ok().filter(|pid| *pid != 0)?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(format!("{} with process id {pid}", name.trim()).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn refusal(dir: &Path) -> String {
        prepare(dir).unwrap_err().to_string()
    }

    #[test]
    fn a_place_that_cannot_become_a_data_directory_is_told_with_its_path() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        fs::write(&file, b"").unwrap();
        assert!(
            refusal(&file).contains(&format!("{} cannot be used: it is a file", file.display())),
            "{}",
            refusal(&file)
        );
        let below = file.join("data/deep");
        assert!(refusal(&below).contains(&format!("{} is a file", file.display())), "{}", refusal(&below));
        let link = place.path().join("link");
        symlink(place.path().join("nothing"), &link).unwrap();
        for below in [link.clone(), link.join("data")] {
            let told = format!("{} is a symbolic link to what is not there", link.display());
            assert!(refusal(&below).contains(&told), "{}", refusal(&below));
        }
        let long = place.path().join("x".repeat(300));
        assert!(refusal(&long).contains("cannot be made by"), "{}", refusal(&long));
        assert!(prepare(&place.path().join("new/data")).is_ok());
    }

    #[test]
    fn an_owner_without_rights_is_told_to_give_them_to_itself_and_another_account_to_become_the_owner() {
        let (dir, account) = (Path::new("/srv/data"), Account { uid: 7, name: None });
        assert!(given(&dir.join("store"), dir, &account, Some(7)).ends_with("run `chmod u+rwX /srv/data/store`"));
        for owner in [Some(8), None] {
            assert!(given(&dir.join("store"), dir, &account, owner).contains("chown -R 7 /srv/data"));
        }
    }

    #[test]
    fn a_data_directory_that_is_in_use_is_told_with_the_process_that_has_it() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("store")).unwrap();
        let file = File::create(place.path().join("store/db")).unwrap();
        assert!(prepare(place.path()).is_ok());
        file.lock().unwrap();
        let refusal = refusal(place.path());
        assert!(refusal.contains("in use by another process") && refusal.contains("(uid "), "{refusal}");
        assert!(refusal.contains(&format!("process id {}", std::process::id())), "{refusal}");
    }
}
