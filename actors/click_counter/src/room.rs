//! Makes room in the journals: visits that a shard which accepts no clicks keeps from being released are moved into its spill, or given up.
//!
//! One piece at a time, of one journal and for one shard. Whether the spill has space is decided before anything is read: a shard
//! may be away for hours, and its clicks must not be read again and again for nothing.

use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use waypost_journal::Journal;
use waypost_protocol::ShardId;

use crate::drain::{Drain, Kept, READ_MAX};
use crate::spill::Spill;
use crate::spill_entries::Entries;
use crate::visit::Visit;

/// The most bytes that are moved into a spill at a time: they are in memory meanwhile.
pub(crate) const MOVE_BYTES_MAX: u64 = 2 << 20;

/// How long nothing is moved into spills after the disk has refused a spill.
const FAILED_PAUSE: Duration = Duration::from_secs(10);

/// The next step to make room.
struct Step {
    journal: Journal,
    shard: ShardId,
    /// The shard needs nothing of the journal before this position.
    from: u64,
    /// The position up to which the journal was read.
    read: u64,
    way: Way,
}

#[derive(Debug, PartialEq, Eq)]
enum Way {
    /// Move it into the spill, at most so many bytes.
    Spill(u64),
    GiveUp,
}

/// A piece that is being moved into a spill.
struct Move {
    shard: ShardId,
    entries: Entries,
    spill: Option<Spill>,
}

impl Drain {
    /// Makes room in a journal that is half full of the visits of stalled shards. Moves a piece of it into a spill. If the spills or
    /// the disk are full, and other shards soon need the room, gives the piece up. Returns whether there is more room now.
    pub(crate) async fn make_room(&self) -> bool {
        if self.spilling.get() {
            return false;
        }
        let Some(step) = self.next_step() else { return false };
        self.spilling.set(true);
        let gained = match step.way {
            Way::Spill(bytes) => self.spill(step, bytes).await,
            Way::GiveUp => self.give_up(&step),
        };
        self.spilling.set(false);
        gained
    }

    /// Whether room can be made now.
    #[cfg(test)]
    pub(crate) fn has_step(&self) -> bool {
        self.next_step().is_some()
    }

    fn next_step(&self) -> Option<Step> {
        let room = self.spill_room();
        let (outbox, read) = (self.outbox.borrow(), self.read.borrow());
        // Journals of earlier processes do not grow.
        for journal in self.journals().current() {
            let used = journal.head() - journal.released();
            let Some(read) = read.get(&journal.id()).copied().filter(|_| used >= journal.slots() / 2) else { continue };
            // The shard that holds back most.
            let holding = outbox.holding_back(journal.id(), read).into_iter().min_by_key(|(_, from)| *from);
            let Some((shard, from)) = holding else { continue };
            let way = if room >= Entries::ONE_BYTES_MAX {
                Way::Spill(room.min(MOVE_BYTES_MAX))
            } else if used > journal.slots() / 4 * 3 && !outbox.all_stalled() {
                Way::GiveUp
            } else {
                continue;
            };
            return Some(Step { journal, shard, from, read, way });
        }
        None
    }

    /// The number of bytes that may be spilled now.
    fn spill_room(&self) -> u64 {
        let failed = self.spill_failed.get().is_some_and(|since| since.elapsed() < FAILED_PAUSE);
        // Before level 1 a release that does not know spills may come back.
        if failed || self.seed.read_only.load(Ordering::Relaxed) || !(self.seed.is_level_one)() {
            return 0;
        }
        let taken: u64 = self.spills.borrow().values().filter_map(|kept| kept.spill.as_ref()).map(Spill::len).sum();
        // The visits may need a new file.
        self.seed.spill_bytes.saturating_sub(taken + Spill::START)
    }

    async fn spill(&self, step: Step, bytes: u64) -> bool {
        let (entries, upto) = self.gather(&step, bytes).await;
        let Step { journal, shard, from, .. } = step;
        let spill = self.spills.borrow_mut().get_mut(&shard).and_then(|kept| kept.spill.take());
        let next = Move { shard, entries, spill };
        let directory = self.journals().directory().to_owned();
        let (lives, life) = (self.journals().lives(), self.life);
        // If a later life has opened the file, nothing is written, and this life has nothing more to do.
        let written = apart(move || lives.write(life, || next.write(&directory))).await.flatten();
        let Some((Move { spill, .. }, failed)) = written else { return false };
        let mut spills = self.spills.borrow_mut();
        match spill {
            Some(spill) => {
                let kept = spills.entry(shard).or_insert(Kept { spill: None, at: Spill::START });
                kept.spill = Some(spill);
            }
            None => drop(spills.remove(&shard)),
        }
        if let Some(error) = failed {
            tracing::error!(shard = shard.0, %error, "clicks of a stalled shard cannot be spilled");
            self.spill_failed.set(Some(Instant::now()));
            return false;
        }
        self.outbox.borrow_mut().spilled(shard, journal.id(), upto);
        upto > from
    }

    /// Reads the visits of a step's shard, up to so many bytes in the spill. Returns the position up to which it has read.
    async fn gather(&self, step: &Step, bytes: u64) -> (Entries, u64) {
        let (mut entries, id) = (Entries::default(), step.journal.id());
        let mut at = step.journal.released().max(step.from);
        let (mut upto, mut full) = (at, false);
        while at < step.read && !full {
            let next = step.journal.read(at, (at + READ_MAX).min(step.read), |position, words, text| {
                let own = !full && self.outbox.borrow().shard_of(&Visit::of(words), text) == step.shard;
                full |= own && entries.len() + Entries::bytes_of(text) > bytes;
                if full {
                    return;
                }
                if own {
                    entries.push(id, position, words, text);
                }
                upto = position;
            });
            if next == at {
                break;
            }
            at = next;
            // Let other actors of the thread run.
            tokio::task::yield_now().await;
        }
        (entries, upto)
    }

    /// Gives up a piece of the visits of a step's shard, because no space is left for them and others need the room.
    fn give_up(&self, Step { journal, shard, from, read, .. }: &Step) -> bool {
        let mut outbox = self.outbox.borrow_mut();
        let (id, added) = (journal.id(), outbox.added(*shard, journal.id()));
        let at = journal.released().max(*from);
        let mut lost = 0;
        let upto = journal.read(at, (at + READ_MAX).min(*read), |position, words, text| {
            // Visits in a batch are still in memory.
            lost += u64::from(position > added && outbox.shard_of(&Visit::of(words), text) == *shard);
        });
        if lost > 0 {
            tracing::warn!(shard = shard.0, clicks = lost, "clicks of a stalled shard are lost");
        }
        self.journals().note_lost(lost);
        outbox.give_up(*shard, id, upto, lost);
        upto > *from
    }
}

/// Runs a blocking operation in a thread of its own; `None` when the process ends. A panic in it counts as the caller's: the actor
/// is rebuilt, and finds on the disk what the panicked operation left.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Some(done),
        Err(error) => error.try_into_panic().ok().and_then(|panic| std::panic::resume_unwind(panic)),
    }
}

impl Move {
    fn write(mut self, directory: &Path) -> (Self, Option<io::Error>) {
        if self.entries.is_empty() {
            return (self, None);
        }
        let spill = match self.spill.take() {
            Some(spill) => Ok(spill),
            None => Spill::create(directory, self.shard),
        };
        let written = spill.and_then(|mut spill| {
            let written = spill.append(&self.entries);
            self.spill = Some(spill);
            written
        });
        (self, written.err())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    #[should_panic(expected = "the spill is in my hands")]
    async fn a_panic_while_a_spill_is_written_is_one_of_the_actor() {
        apart(|| -> () { panic!("the spill is in my hands") }).await;
    }
}
