//! Recovery of a log before the engine sees it: what a crash in the middle of a purge, or between a snapshot and the purge behind
//! it, has left.
//!
//! Log and state are in one database, which comes back with a prefix of what was written. So a state may be ahead of its log (a
//! snapshot was installed, and the log it replaces was not purged yet), and a purge may be half done (it begins with the note of
//! where it ends). A log with entries that the state does not join on to must never reach the engine: it compares ids, in which a
//! later term counts more than a later index, and would take such entries for newer than the state.

use std::io;

use waypost_store::StoreError;

use crate::log_store::RaftLog;
use crate::types::LogId;

/// What a log holds.
#[derive(Debug, Clone, Copy)]
struct Held {
    /// Up to where entries were purged, or are to be.
    purged: Option<LogId>,
    /// Index of the first and the last entry.
    entries: Option<(u64, u64)>,
    /// The entry at the index that the state has reached.
    at_applied: Option<LogId>,
}

/// What has to be done to a log.
#[derive(Debug, PartialEq, Eq)]
enum Repair {
    /// Nothing: it joins on to the state.
    Sound,
    /// The entries up to this one go, and with it: they were purged already, or the state has replaced them.
    Purge(LogId),
    /// All entries go. They are of a leader that lost: another entry was committed at the index of this one.
    Replace(LogId),
    /// No crash leaves this.
    Damaged(&'static str),
}

fn index(id: Option<LogId>) -> Option<u64> {
    id.map(|id| id.index)
}

fn repair_for(held: Held, applied: Option<LogId>) -> Repair {
    let Held { purged, entries, at_applied } = held;
    if index(purged) > index(applied) {
        return Repair::Damaged("it was purged beyond what the state has");
    }
    let first_expected = index(purged).map_or(0, |purged| purged + 1);
    match (entries, applied) {
        (None, None) => Repair::Sound,
        (None, Some(applied)) if purged == Some(applied) => Repair::Sound,
        (None, Some(applied)) => Repair::Purge(applied),
        (Some((first, _)), _) if first > first_expected => Repair::Damaged("entries are missing at its beginning"),
        (Some((_, last)), Some(applied)) if last < applied.index => Repair::Purge(applied),
        // What was purged is known by its last entry only.
        (Some(_), Some(applied)) if applied.index >= first_expected && at_applied != Some(applied) => {
            Repair::Replace(applied)
        }
        (Some((first, _)), _) => match purged {
            Some(purged) if first <= purged.index => Repair::Purge(purged),
            _ => Repair::Sound,
        },
    }
}

impl RaftLog {
    /// Repairs what a crash has left, so that the log joins on to a state that has applied entries up to `applied`. To be called
    /// before the engine opens it. A crash in the middle is repaired by the next call.
    ///
    /// # Errors
    /// When the log is not one that a crash can leave, or the store fails.
    pub(crate) fn recover(&self, applied: Option<LogId>) -> io::Result<()> {
        let store = self.store();
        let purged = self.purged()?;
        let first = store.first_index().map_err(io::Error::other)?;
        let last = store.last_index().map_err(io::Error::other)?;
        let at_applied = match applied {
            Some(applied) => self.id_at(applied.index)?,
            None => None,
        };
        match repair_for(Held { purged, entries: first.zip(last), at_applied }, applied) {
            Repair::Sound => Ok(()),
            Repair::Purge(upto) => {
                tracing::warn!(
                    tree = store.name(),
                    upto = upto.index,
                    ?last,
                    "purging the rest of a log behind a snapshot"
                );
                self.purge_to(&upto)
            }
            Repair::Replace(upto) => {
                tracing::warn!(
                    tree = store.name(),
                    upto = upto.index,
                    ?last,
                    "removing entries that a snapshot has replaced"
                );
                // The last first: whatever is left when the process dies is still in the place of what was committed.
                store.truncate_from(0).map_err(io::Error::other)?;
                self.purge_to(&upto)
            }
            Repair::Damaged(detail) => Err(io::Error::other(StoreError::Corrupt {
                what: format!(
                    "the log {} (purged to {:?}, entries {first:?} to {last:?})",
                    store.name(),
                    index(purged)
                ),
                detail: detail.to_owned(),
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::LeaderId;

    fn id(term: u64, node: u64, index: u64) -> LogId {
        LogId { leader_id: LeaderId { term, node_id: node }, index }
    }

    fn held(purged: Option<LogId>, entries: Option<(u64, u64)>, at_applied: Option<LogId>) -> Held {
        Held { purged, entries, at_applied }
    }

    #[test]
    fn a_log_that_joins_on_to_its_state_is_left_alone() {
        let state = Some(id(2, 1, 9));
        for held in [
            held(None, Some((0, 9)), state),
            held(None, Some((0, 30)), state),
            held(Some(id(1, 1, 4)), Some((5, 12)), state),
            held(state, None, None),
            // Purged up to the state: its last entry is gone with the others.
            held(state, Some((10, 12)), None),
        ] {
            assert_eq!(repair_for(held, state), Repair::Sound, "{held:?}");
        }
        assert_eq!(repair_for(held(None, None, None), None), Repair::Sound);
        assert_eq!(repair_for(held(None, Some((0, 3)), None), None), Repair::Sound);
    }

    #[test]
    fn a_purge_that_was_begun_is_finished() {
        let purged = id(2, 1, 9);
        for entries in [(0, 5), (3, 9), (9, 9)] {
            let held = held(Some(purged), Some(entries), (entries.1 == 9).then_some(purged));
            assert_eq!(repair_for(held, Some(purged)), Repair::Purge(purged), "{entries:?}");
        }
        // The state has gone on since.
        let state = id(2, 1, 12);
        assert_eq!(repair_for(held(Some(purged), Some((4, 20)), Some(state)), Some(state)), Repair::Purge(purged));
    }

    #[test]
    fn a_log_that_ends_before_the_state_gives_way_to_it() {
        let state = id(6, 1, 100);
        assert_eq!(repair_for(held(None, Some((0, 50)), None), Some(state)), Repair::Purge(state));
        assert_eq!(repair_for(held(Some(id(1, 1, 7)), None, None), Some(state)), Repair::Purge(state));
        assert_eq!(repair_for(held(None, None, None), Some(state)), Repair::Purge(state));
    }

    #[test]
    fn entries_of_a_leader_that_lost_go_also_when_its_term_or_their_number_is_higher() {
        let state = id(6, 1, 100);
        for at_applied in [id(7, 2, 100), id(5, 1, 100), id(6, 0, 100)] {
            let held = held(Some(id(1, 1, 7)), Some((8, 130)), Some(at_applied));
            assert_eq!(repair_for(held, Some(state)), Repair::Replace(state), "{at_applied}");
        }
    }

    #[test]
    fn what_no_crash_leaves_is_refused() {
        let (state, later) = (id(2, 1, 9), id(2, 1, 10));
        for (held, applied) in [
            (held(Some(later), None, None), Some(state)),
            (held(Some(later), Some((11, 12)), None), Some(state)),
            (held(Some(later), None, None), None),
            (held(Some(id(1, 1, 4)), Some((6, 12)), Some(state)), Some(state)),
            (held(None, Some((1, 12)), Some(state)), Some(state)),
        ] {
            assert!(matches!(repair_for(held, applied), Repair::Damaged(_)), "{held:?}");
        }
    }
}
