//! The account that this process runs as, and how errors of access are reported.

use std::fmt;
use std::io::{self, ErrorKind};

use nix::unistd::{Uid, User};

/// An account: number and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its number.
    pub uid: u32,
    /// Its name, if it has one.
    pub name: Option<String>,
}

impl Account {
    /// The account of this process.
    pub fn own() -> Self {
        Self::of(Uid::effective().as_raw())
    }

    /// The account with a number.
    pub fn of(uid: u32) -> Self {
        let name = User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name);
        Self { uid, name }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} (uid {})", self.uid),
            None => write!(f, "uid {}", self.uid),
        }
    }
}

/// The system's error text, without the error number; for a refusal, with the account that was refused.
pub fn told(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::PermissionDenied => format!("permission denied to {}", Account::own()),
        ErrorKind::ReadOnlyFilesystem => "the file system is read-only".to_owned(),
        ErrorKind::StorageFull => "no space is left on the file system".to_owned(),
        ErrorKind::QuotaExceeded => format!("the disk quota of {} is used up", Account::own()),
        _ => error.to_string(),
    }
}

/// Whether the environment is at fault (rights, space, the kind of a file), and not a failing disk.
pub fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::PermissionDenied
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::StorageFull
            | ErrorKind::QuotaExceeded
            | ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
            | ErrorKind::NotFound
            | ErrorKind::InvalidFilename
    )
}
