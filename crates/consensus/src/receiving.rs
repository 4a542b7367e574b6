//! A snapshot on its way in, piece by piece.

use std::io;
use std::path::PathBuf;

use waypost_store::SpaceWatch;

use crate::state_machine::SnapshotFiles;
use crate::wire::SnapshotPiece;

/// A snapshot on its way in. Who holds its lock takes a piece, or installs what came.
#[derive(Default)]
pub(crate) struct Receiving {
    id: u64,
    have: u64,
    /// The last that was installed in this life: it may be sent again, if the answer was lost.
    installed: Option<u64>,
}

/// What a piece makes of a transfer.
pub(crate) enum Taken {
    /// So many bytes are there now.
    Part(u64),
    /// All are; the file.
    Whole(PathBuf),
}

impl Receiving {
    /// After an installation: `installed` is the id of the snapshot, if it worked.
    pub(crate) fn ended(installed: Option<u64>) -> Self {
        Self { installed, ..Self::default() }
    }

    /// Whether the snapshot with an id was the last that was installed.
    pub(crate) fn has_installed(&self, id: u64) -> bool {
        self.installed == Some(id)
    }

    /// Stores a piece, if it is the next one. On a thread that may block.
    pub(crate) fn take(&mut self, piece: &SnapshotPiece, files: &SnapshotFiles) -> io::Result<Taken> {
        if self.id != piece.id || piece.offset == 0 && self.have == 0 {
            *self = Self { id: piece.id, ..Self::default() };
            files.incoming.clear().map_err(io::Error::other)?;
        }
        if piece.offset != self.have {
            return Ok(Taken::Part(self.have));
        }
        let free = SpaceWatch::new(&files.dir).check()?.free_bytes;
        check_room(free, files.free_min, piece.total, self.have)?;
        files.incoming.write(piece.offset, &piece.bytes).map_err(io::Error::other)?;
        self.have += piece.bytes.len() as u64;
        if self.have < piece.total {
            return Ok(Taken::Part(self.have));
        }
        files.incoming.complete().map(Taken::Whole).map_err(io::Error::other)
    }
}

/// A snapshot needs room for the rest of its file, and for as much again when it is imported. The database does not survive a
/// full disk, so one that does not fit above the watermark is refused before its first byte.
fn check_room(free: u64, free_min: u64, total: u64, have: u64) -> io::Result<()> {
    let needed = free_min.saturating_add(total.saturating_sub(have)).saturating_add(total);
    if free >= needed {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::StorageFull,
        format!("the disk has too little free space for a snapshot: {free} bytes are free and {needed} are needed"),
    ))
}

#[cfg(test)]
mod tests {
    use super::check_room;

    #[test]
    fn a_snapshot_is_taken_only_when_it_fits_twice_above_the_watermark() {
        assert!(check_room(300, 100, 100, 0).is_ok());
        assert!(check_room(299, 100, 100, 0).is_err());
        // What came already takes no more room.
        assert!(check_room(260, 100, 100, 40).is_ok());
        assert!(check_room(259, 100, 100, 40).is_err());
        assert!(check_room(u64::MAX - 1, 100, u64::MAX, 0).is_err());
    }
}
