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

impl Writer {
    /// Begins a scan of a shard, which becomes incomplete.
    pub fn begin_scan(&mut self, tail: &RwLock<Tail>, shard: ShardId) -> Result<(), CatalogError> {
        self.set_position(tail, shard, None)?;
        self.scans.insert(shard.0, Seen::default());
        Ok(())
    }

    /// Some of the rows of a shard that its scan has not seen. Those in sealed chunks come first: once they are removed, their chunks have
    /// nothing left that is worth new numbers.
    fn unseen(&self, tail: &RwLock<Tail>, shard: ShardId) -> Result<Vec<i64>, CatalogError> {
        let seen = self.scans.get(&shard.0);
        let is_unseen = |id: &i64| !seen.is_some_and(|seen| seen.has(*id));
        let mut unseen = Vec::new();
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
            let ids = rows.iter().map(|doc| chunk * CHUNK + i64::from(doc)).filter(is_unseen);
            unseen.extend(ids.take(self.rows_at_once - unseen.len()));
            if unseen.len() == self.rows_at_once {
                return Ok(unseen);
            }
        }
        let tail = tail.read();
        let ids = tail.rows().filter(|(_, row)| row.shard == shard.0).map(|(id, _)| id).filter(is_unseen);
        unseen.extend(ids.take(self.rows_at_once - unseen.len()));
        Ok(unseen)
    }

    /// Removes some of the rows of a shard that its scan has not seen. Returns how many: none if there are none left.
    ///
    /// They are looked up for each transaction: rows get new numbers meanwhile, and a list of numbers would miss them.
    pub fn remove_unseen(&mut self, tail: &RwLock<Tail>, shard: ShardId) -> Result<u64, CatalogError> {
        self.refresh(tail)?;
        let unseen = self.unseen(tail, shard)?;
        if !unseen.is_empty() {
            self.change(tail, |_, changes| {
                for id in &unseen {
                    let row = changes.row(*id)?.ok_or_else(|| CatalogError::damaged("a row is missing"))?;
                    changes.remove(row.hash)?;
                }
                Ok(())
            })?;
        }
        Ok(unseen.len() as u64)
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
