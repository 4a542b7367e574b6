//! Orphan visits: visits to paths that are not links.

use std::collections::BTreeMap;

use waypost_protocol::clicks::{HOUR_MS, OTHER, Orphan, OrphanDelta};
use waypost_protocol::{Level, UnixMs};

use super::record::{decode, encode, open_record, seal_record};
use crate::{Batch, StoreError, Tree};

/// The number of paths that are counted separately; further ones are counted as [`OTHER`].
const ORPHANS_MAX: usize = 150;

/// A path that was not visited for this long may be forgotten.
const ORPHAN_MS: u64 = 30 * 24 * HOUR_MS;

/// Orphan visits by path: the most recent paths, bounded.
#[derive(Default)]
pub(super) struct Orphans {
    paths: BTreeMap<String, (u64, UnixMs)>,
    dirty: bool,
}

const ORPHANS_KEY: &[u8] = b"o";

impl Orphans {
    pub(super) fn open(tree: &Tree) -> Result<Self, StoreError> {
        let Some(value) = tree.get(ORPHANS_KEY)? else { return Ok(Self::default()) };
        let paths: Vec<(String, u64, UnixMs)> = decode("orphans", open_record(tree, ORPHANS_KEY, &value)?)?;
        Ok(Self { paths: paths.into_iter().map(|(path, count, last)| (path, (count, last))).collect(), dirty: false })
    }

    /// Adds visits at `now`. Paths that were not visited for long make space.
    pub(super) fn add(&mut self, delta: &OrphanDelta, strings: &[String], now: UnixMs, level: Level) {
        // Before level 1 all old paths are removed at once.
        if self.paths.len() >= ORPHANS_MAX && level < Level::ONE {
            self.paths.retain(|_, (_, last)| last.saturating_add_ms(ORPHAN_MS) > now);
        }
        let path = usize::from(delta.path).checked_sub(1).and_then(|at| strings.get(at));
        let path = path.map_or(OTHER, String::as_str);
        if level >= Level::ONE && self.paths.len() >= ORPHANS_MAX && !self.paths.contains_key(path) {
            self.make_room(now);
        }
        let known = self.paths.contains_key(path) || self.paths.len() < ORPHANS_MAX;
        let (count, last) = self.paths.entry(if known { path } else { OTHER }.to_owned()).or_default();
        *count = count.saturating_add(delta.count.into());
        *last = (*last).max(delta.last);
        self.dirty = true;
    }

    /// Forgets the path with the oldest last visit, if that is long ago. Each new path replaces only one, so a proposer whose clock jumps
    /// ahead for a moment cannot empty the list.
    fn make_room(&mut self, now: UnixMs) {
        let oldest = self.paths.iter().min_by_key(|(path, (_, last))| (*last, *path));
        if let Some((path, (_, last))) = oldest
            && last.saturating_add_ms(ORPHAN_MS) <= now
        {
            let path = path.clone();
            self.paths.remove(&path);
        }
    }

    pub(super) fn write(&mut self, tree: &Tree, batch: &mut Batch) {
        if std::mem::take(&mut self.dirty) {
            let paths: Vec<(&str, u64, UnixMs)> =
                self.paths.iter().map(|(path, (count, last))| (path.as_str(), *count, *last)).collect();
            batch.insert(ORPHANS_KEY, seal_record(tree, ORPHANS_KEY, &encode(&paths)));
        }
    }

    /// The paths with visits in the last thirty days.
    pub(super) fn list(&self, now: UnixMs) -> Vec<Orphan> {
        let recent = self.paths.iter().filter(|(_, (_, last))| last.saturating_add_ms(ORPHAN_MS) > now);
        recent.map(|(path, (count, last))| Orphan { path: path.clone(), count: *count, last: *last }).collect()
    }
}
