//! How much of its log a group keeps behind a checkpoint.
//!
//! A replica that was away catches up from the log, if the leader still has the entries that it lacks. Otherwise it is sent a
//! snapshot, which costs as much as the whole state. A replica that is being sent a snapshot needs the entries after it; if they
//! are purged before it has installed the snapshot, it needs another one, and under load it would never catch up. So a group with other
//! members keeps a bounded part of the log that its checkpoint covers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::limits::{CATCH_UP_MIN, MARKS_PER_KEPT, SNAPSHOT_LENGTHS};

/// A checkpoint, as a position at which the log may be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// The last entry that the checkpoint covers.
    pub(crate) index: u64,
    /// The bytes of log that had been applied by then.
    pub(crate) bytes: u64,
}

/// Decides how far the log of a group is purged.
pub(crate) struct Retention {
    /// About how many bytes are kept for other members.
    keep: u64,
    /// The bytes of log that have been applied.
    bytes: AtomicU64,
    /// The last applied entry.
    index: AtomicU64,
    /// Oldest first.
    marks: Mutex<VecDeque<Mark>>,
    sending: Arc<Sending>,
}

impl Retention {
    /// Keeps about `keep` bytes. `marks` are those of the last process; `applied` is the position of the last checkpoint.
    pub(crate) fn new(keep: u64, marks: Vec<Mark>, applied: Option<u64>, sending: Arc<Sending>) -> Self {
        let bytes = marks.last().map_or(0, |mark| mark.bytes);
        let index = AtomicU64::new(applied.unwrap_or_default());
        let retention = Self { keep, bytes: AtomicU64::new(bytes), index, marks: Mutex::new(marks.into()), sending };
        applied.into_iter().for_each(|index| retention.checkpoint(index));
        retention
    }

    /// Entries of so many bytes were applied, up to an index.
    pub(crate) fn applied(&self, bytes: u64, index: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.index.store(index, Ordering::Relaxed);
    }

    /// The last entry that was applied.
    pub(crate) fn applied_index(&self) -> u64 {
        self.index.load(Ordering::Relaxed)
    }

    /// A checkpoint was written that covers the log up to an index.
    pub(crate) fn checkpoint(&self, index: u64) {
        let bytes = self.bytes.load(Ordering::Relaxed);
        let mut marks = self.marks.lock();
        let apart = self.keep / MARKS_PER_KEPT;
        if marks.len() >= 2 && bytes - marks[marks.len() - 2].bytes < apart {
            marks.pop_back();
        }
        if marks.back().is_none_or(|last| last.index < index) {
            marks.push_back(Mark { index, bytes });
        }
    }

    /// The entry up to and including which the log should be purged now. `alone`: the group has no other member.
    pub(crate) fn purge_to(&self, alone: bool, now: Instant) -> Option<u64> {
        let keep = match self.sending.snapshot_bytes(now) {
            _ if alone => 0,
            // If the log behind it is much longer than the snapshot, another snapshot costs less.
            Some(snapshot) => snapshot.saturating_mul(SNAPSHOT_LENGTHS).max(self.keep),
            None => self.keep,
        };
        let bytes = self.bytes.load(Ordering::Relaxed);
        let mut marks = self.marks.lock();
        let last = marks.iter().rposition(|mark| bytes - mark.bytes >= keep)?;
        // This mark stays as the first one: what follows it is kept.
        marks.drain(..last);
        marks.front().map(|mark| mark.index)
    }

    /// Whether a snapshot that is being sent holds back a part of the log.
    pub(crate) fn is_held(&self, now: Instant) -> bool {
        self.sending.snapshot_bytes(now).is_some()
    }

    /// The marks that the next process needs.
    pub(crate) fn marks(&self) -> Vec<Mark> {
        self.marks.lock().iter().copied().collect()
    }
}

/// The snapshots of the group that this replica is sending.
#[derive(Debug, Default)]
pub(crate) struct Sending(Mutex<Sends>);

#[derive(Debug, Default)]
struct Sends {
    now: usize,
    /// Until when the receivers of those that have ended may catch up.
    catch_up_until: Option<Instant>,
    /// The size of the largest one in progress.
    bytes: Option<u64>,
}

/// A snapshot that is being sent, until this is dropped.
pub(crate) struct OnItsWay {
    sending: Arc<Sending>,
    began: Instant,
    /// Whether it could be written: otherwise it has no receiver that catches up.
    is_written: bool,
}

impl OnItsWay {
    /// The snapshot is written, and has so many bytes.
    pub(crate) fn has_bytes(&mut self, bytes: u64) {
        self.is_written = true;
        let mut sends = self.sending.0.lock();
        sends.bytes = sends.bytes.max(Some(bytes));
    }
}

impl Sending {
    pub(crate) fn begin(self: &Arc<Self>) -> OnItsWay {
        self.0.lock().now += 1;
        OnItsWay { sending: self.clone(), began: Instant::now(), is_written: false }
    }

    /// The size of the largest snapshot that is being sent, or whose receiver catches up. While a snapshot is being written, no checkpoint
    /// is, so the log that follows it stays anyway.
    fn snapshot_bytes(&self, now: Instant) -> Option<u64> {
        let mut sends = self.0.lock();
        if sends.now == 0 && sends.catch_up_until.is_none_or(|until| now >= until) {
            sends.bytes = None;
        }
        sends.bytes
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        let mut sends = self.sending.0.lock();
        sends.now -= 1;
        if self.is_written {
            let now = Instant::now();
            let until = now + now.saturating_duration_since(self.began).max(CATCH_UP_MIN);
            sends.catch_up_until = sends.catch_up_until.max(Some(until));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn retention(keep: u64) -> (Retention, Arc<Sending>) {
        let sending = Arc::<Sending>::default();
        (Retention::new(keep, Vec::new(), None, sending.clone()), sending)
    }

    /// Ten bytes of log in each entry, and a checkpoint after every tenth.
    fn grow(retention: &Retention, checkpoints: std::ops::RangeInclusive<u64>) {
        for number in checkpoints {
            retention.applied(100, 10 * number);
            retention.checkpoint(10 * number);
        }
    }

    #[test]
    fn a_group_without_other_members_keeps_nothing_and_one_with_members_what_was_asked_for() {
        let (retention, _) = retention(500);
        let now = Instant::now();
        grow(&retention, 1..=4);
        assert_eq!(retention.purge_to(false, now), None, "all of it is shorter than what is kept");
        grow(&retention, 5..=12);
        assert_eq!(retention.purge_to(false, now), Some(70), "five hundred bytes follow the seventh");
        grow(&retention, 13..=13);
        assert_eq!(retention.purge_to(false, now), Some(80));
        assert_eq!(retention.purge_to(true, now), Some(130));
    }

    #[test]
    fn while_a_snapshot_is_on_its_way_twice_as_much_is_kept_as_it_is_long() {
        let (retention, sending) = retention(200);
        grow(&retention, 1..=10);
        let mut first = sending.begin();
        assert!(!retention.is_held(Instant::now()), "it is being written");
        first.has_bytes(350);
        assert_eq!(retention.purge_to(false, Instant::now()), Some(30));
        drop(first);
        let now = Instant::now();
        grow(&retention, 11..=11);
        assert_eq!(retention.purge_to(false, now), Some(40), "its receiver catches up");
        assert_eq!(retention.purge_to(false, now + CATCH_UP_MIN), Some(90));
        assert_eq!(retention.purge_to(false, now + CATCH_UP_MIN), Some(90), "what it has said before it says again");
    }

    #[test]
    fn whoever_took_long_for_a_snapshot_has_as_long_for_what_follows_it() {
        let (retention, sending) = retention(200);
        grow(&retention, 1..=10);
        let mut way = sending.begin();
        way.has_bytes(350);
        let minute = Duration::from_secs(60);
        way.began = Instant::now().checked_sub(minute).unwrap();
        drop(way);
        // A fast one to another replica does not cut that short, and neither does one that cannot be written.
        let mut fast = sending.begin();
        fast.has_bytes(350);
        drop(fast);
        drop(sending.begin());
        assert_eq!(retention.purge_to(false, Instant::now() + minute - CATCH_UP_MIN), Some(30));
        assert_eq!(retention.purge_to(false, Instant::now() + minute + CATCH_UP_MIN), Some(80));
    }

    #[test]
    fn snapshots_that_cannot_be_written_hold_nothing_back() {
        let (retention, sending) = retention(200);
        for number in 1..=10 {
            grow(&retention, number..=number);
            drop(sending.begin());
        }
        assert_eq!(retention.purge_to(false, Instant::now()), Some(80));
    }

    #[test]
    fn marks_are_bounded_and_survive_the_process() {
        let (retention, sending) = retention(1600);
        for index in 1..=10_000 {
            retention.applied(1, index);
            retention.checkpoint(index);
        }
        let marks = retention.marks();
        let first = retention.purge_to(false, Instant::now()).unwrap();
        assert!((8_200..=8_400).contains(&first), "{first}");
        assert!(retention.marks().len() <= MARKS_PER_KEPT as usize + 2, "{}", retention.marks().len());
        let again = Retention::new(1600, marks, Some(10_000), sending.clone());
        assert_eq!(again.purge_to(false, Instant::now()), Some(first));
        // Log of unknown size is counted from here on.
        let unknown = Retention::new(1600, Vec::new(), Some(10_000), sending);
        assert_eq!(unknown.purge_to(false, Instant::now()), None);
        unknown.applied(1600, 10_001);
        assert_eq!(unknown.purge_to(false, Instant::now()), Some(10_000));
    }
}
