//! Scans: a shard is written anew while it changes, and what was not written by the end is removed.

use parking_lot::RwLock;
use rusqlite::params;
use waypost_protocol::ShardId;

use crate::bits::{Bits, CHUNK};
use crate::changes::Changed;
use crate::error::CatalogError;
use crate::keys::Key;
use crate::tail::Tail;
use crate::writer::{Seen, Writer, know};

/// The most rows that are removed in one transaction: other writers wait for no longer.
const REMOVED: usize = 2_048;

impl Writer {
    /// Begins a scan of a shard, which becomes incomplete.
    pub fn begin_scan(&mut self, tail: &RwLock<Tail>, shard: ShardId) -> Result<(), CatalogError> {
        self.set_position(tail, shard, None)?;
        self.scans.insert(shard.0, Seen::default());
        Ok(())
    }

    /// The rows of a shard that its scan has not seen; without a scan, all.
    pub fn unseen(&mut self, tail: &RwLock<Tail>, shard: ShardId) -> Result<Vec<i64>, CatalogError> {
        self.refresh(tail)?;
        let mut unseen: Vec<i64> =
            tail.read().rows().filter(|(_, row)| row.shard == shard.0).map(|(id, _)| id).collect();
        let mut read = self.conn.prepare_cached("SELECT docs FROM postings WHERE chunk = ?1 AND key = ?2")?;
        for chunk in self.chunks.iter().filter(|(_, fill)| fill.links > 0).map(|(chunk, _)| *chunk) {
            let mut found = Vec::new();
            for key in [Key::Live, Key::Shard(shard.0)] {
                let mut bits = Bits::none();
                let mut rows = read.query(params![chunk, key.bytes()])?;
                while let Some(row) = rows.next()? {
                    bits.or_stored(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?)?;
                }
                found.push(bits);
            }
            let mut rows = found.swap_remove(0);
            rows.and(&found[0]);
            unseen.extend(rows.iter().map(|doc| chunk * CHUNK + i64::from(doc)));
        }
        let seen = self.scans.get(&shard.0);
        unseen.retain(|id| !seen.is_some_and(|seen| seen.has(*id)));
        Ok(unseen)
    }

    /// Removes the last of some rows, unless they were written meanwhile. Returns how many.
    pub fn remove_unseen(
        &mut self,
        tail: &RwLock<Tail>,
        shard: ShardId,
        rows: &mut Vec<i64>,
    ) -> Result<u64, CatalogError> {
        let mut some = rows.split_off(rows.len().saturating_sub(REMOVED));
        let seen = self.scans.get(&shard.0);
        some.retain(|id| !seen.is_some_and(|seen| seen.has(*id)));
        let mut removed = 0;
        let removing = self.change(tail, |_, changes| {
            for id in &some {
                // A row that changed meanwhile has another number.
                if let Some(row) = changes.row(*id)? {
                    changes.remove(row.hash)?;
                    removed += 1;
                }
            }
            Ok(())
        });
        if removing.is_err() {
            rows.append(&mut some);
        }
        removing.map(|_| removed)
    }

    /// Ends a scan: the shard is complete up to this position.
    pub fn end_scan(&mut self, tail: &RwLock<Tail>, shard: ShardId, position: u64) -> Result<(), CatalogError> {
        self.set_position(tail, shard, Some(position))?;
        self.scans.remove(&shard.0);
        Ok(())
    }

    fn set_position(&mut self, tail: &RwLock<Tail>, shard: ShardId, position: Option<u64>) -> Result<(), CatalogError> {
        self.refresh(tail)?;
        let next_id = self.next_id;
        self.transaction(tail, |conn, _| {
            know(conn, shard)?;
            let position = position.map(|position| position as i64);
            conn.prepare_cached("UPDATE shards SET position = ?2 WHERE shard = ?1")?
                .execute(params![shard.0, position])?;
            Ok(Changed { next_id, ..Changed::default() })
        })?;
        Ok(())
    }

    /// Forgets that there is a shard. It has no rows any more.
    pub fn forget(&mut self, tail: &RwLock<Tail>, shard: ShardId) -> Result<(), CatalogError> {
        self.refresh(tail)?;
        let next_id = self.next_id;
        self.transaction(tail, |conn, _| {
            conn.prepare_cached("DELETE FROM shards WHERE shard = ?1")?.execute([shard.0])?;
            Ok(Changed { next_id, ..Changed::default() })
        })?;
        Ok(())
    }
}
