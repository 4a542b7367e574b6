//! The last time of which a node was sure: kept in its data directory, for its next start.

use waypost_protocol::UnixMs;
use waypost_store::{Db, StoreError};

const NAME: &[u8] = b"seen";

/// The recorded time; `None` if there is none.
///
/// # Errors
/// If the store fails or the record is damaged.
pub fn last_seen(db: &Db) -> Result<Option<UnixMs>, StoreError> {
    let Some(value) = db.tree("node")?.get(NAME)? else { return Ok(None) };
    let corrupt = |detail: String| StoreError::Corrupt { what: "the node's last time".to_owned(), detail };
    let (_, payload) = waypost_protocol::open(NAME, &value).map_err(|error| corrupt(error.to_string()))?;
    let bytes = payload.try_into().map_err(|_| corrupt("it is not a number".to_owned()))?;
    Ok(Some(UnixMs(u64::from_be_bytes(bytes))))
}

/// Records that the node is sure that it is `now`. Durable with the next commit: an older time only makes a start more careful.
///
/// # Errors
/// If the store fails.
pub fn note_seen(db: &Db, now: UnixMs) -> Result<(), StoreError> {
    db.tree("node")?.insert(NAME, waypost_protocol::seal(NAME, 1, &now.0.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use waypost_store::DbOptions;
    use waypost_telemetry::Metrics;

    use super::*;

    #[test]
    fn the_last_time_is_read_back_and_has_golden_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path(), &DbOptions::default(), &Metrics::new()).unwrap();
        assert_eq!(last_seen(&db).unwrap(), None);
        note_seen(&db, UnixMs(1)).unwrap();
        note_seen(&db, UnixMs(1_800_000_000_000)).unwrap();
        assert_eq!(last_seen(&db).unwrap(), Some(UnixMs(1_800_000_000_000)));
        let stored = db.tree("node").unwrap().get(NAME).unwrap().unwrap();
        assert_eq!(waypost_protocol::open(NAME, &stored).unwrap(), (1, &[0, 0, 1, 0xa3, 0x18, 0x5c, 0x50, 0][..]));
    }
}
