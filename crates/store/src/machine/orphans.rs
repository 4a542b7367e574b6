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

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_700_000_000_000);
    const THIRTY_DAYS: u64 = 2_592_000_000;

    /// Visits of one path each, all at once.
    fn visit(orphans: &mut Orphans, path: &str, at: UnixMs, level: Level) {
        orphans.add(&OrphanDelta { path: 1, count: 2, last: at }, &[path.to_owned()], at, level);
    }

    /// As many paths as are counted separately, all visited at one time.
    fn full(at: UnixMs) -> Orphans {
        let mut orphans = Orphans::default();
        (0..150).for_each(|number| visit(&mut orphans, &format!("/{number}"), at, Level::ONE));
        orphans
    }

    fn count(orphans: &Orphans, path: &str) -> Option<u64> {
        orphans.paths.get(path).map(|(count, _)| *count)
    }

    #[test]
    fn a_hundred_and_fifty_paths_are_counted_separately_and_the_others_together() {
        let mut orphans = full(NOW);
        assert_eq!(orphans.paths.len(), 150);
        visit(&mut orphans, "/149", NOW, Level::ONE);
        visit(&mut orphans, "/more", NOW, Level::ONE);
        visit(&mut orphans, "/even-more", NOW, Level::ONE);
        let counts = ["/149", "/more", OTHER].map(|path| count(&orphans, path));
        assert_eq!(counts, [Some(4), None, Some(4)]);
        // A visit without a path, and one with a path that its batch does not have.
        for path in [0, 2] {
            orphans.add(&OrphanDelta { path, count: 1, last: NOW }, &["/x".to_owned()], NOW, Level::ONE);
        }
        assert_eq!((count(&orphans, OTHER), count(&orphans, "/x")), (Some(6), None));
    }

    #[test]
    fn a_new_path_replaces_one_that_was_not_visited_for_thirty_days() {
        for (after, replaced) in [(THIRTY_DAYS - 1, false), (THIRTY_DAYS, true)] {
            let mut orphans = full(NOW);
            visit(&mut orphans, "/0", UnixMs(NOW.0 + 5), Level::ONE);
            visit(&mut orphans, "/new", UnixMs(NOW.0 + after), Level::ONE);
            assert_eq!(count(&orphans, "/new").is_some(), replaced, "after {after} ms");
            // The first by name of those with the oldest visit.
            assert_eq!(count(&orphans, "/1").is_none(), replaced);
            assert_eq!(count(&orphans, "/0"), Some(4));
        }
        // Before level 1 all of them go at once.
        for (after, left) in [(THIRTY_DAYS - 1, 151), (THIRTY_DAYS, 1)] {
            let mut orphans = full(NOW);
            visit(&mut orphans, "/new", UnixMs(NOW.0 + after), Level::BASE);
            assert_eq!(orphans.paths.len(), left, "after {after} ms");
        }
    }

    #[test]
    fn the_list_has_the_paths_of_the_last_thirty_days_with_their_last_visits() {
        let mut orphans = Orphans::default();
        visit(&mut orphans, "/a", NOW, Level::ONE);
        visit(&mut orphans, "/a", UnixMs(NOW.0 - 7), Level::ONE);
        visit(&mut orphans, "/b", UnixMs(NOW.0 + 1), Level::ONE);
        let listed =
            |now| orphans.list(UnixMs(now)).into_iter().map(|of| (of.path, of.count, of.last.0)).collect::<Vec<_>>();
        let (a, b) = (("/a".to_owned(), 4, NOW.0), ("/b".to_owned(), 2, NOW.0 + 1));
        assert_eq!(listed(NOW.0 + THIRTY_DAYS - 1), [a, b.clone()]);
        assert_eq!(listed(NOW.0 + THIRTY_DAYS), [b]);
        assert!(listed(NOW.0 + THIRTY_DAYS + 1).is_empty());
    }
}
