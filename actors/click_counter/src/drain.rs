//! Moves clicks from the journals to the shards: reads the journals, fills the outbox, and releases what was counted.
//!
//! Nothing here waits for a shard. `room.rs` makes room when a shard that accepts nothing for long keeps a journal from being released.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;
use waypost_journal::{Journal, JournalError};
use waypost_protocol::ShardId;
use waypost_protocol::messages::EndJournals;
use waypost_telemetry::{Counter, Gauge};

use crate::outbox::Outbox;
use crate::recorder::Journals;
use crate::spill::{Pass, Spill};
use crate::visit::Visit;
use crate::{RETRY_PAUSE, Seed};

/// The number of journal slots that are read at a time from all journals, in some hundred microseconds. Then other actors of the thread run, and other
/// threads.
const PIECE: u64 = 1024;

/// The least number of slots of a journal in a piece, since each journal that is looked at costs something.
const PIECE_OF_JOURNAL_MIN: u64 = 64;

/// The number of slots that are read again at a time, in some milliseconds.
pub(crate) const READ_MAX: u64 = 32 * 1024;

/// How long a shard may take to answer that journals have ended.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// The pause before the shards are told again.
const END_PAUSE: Duration = Duration::from_secs(10);

/// The pause before unreadable spills are looked for again.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

pub(crate) struct Drain {
    pub(crate) seed: Seed,
    pub(crate) outbox: RefCell<Outbox>,
    /// The position up to which each journal was read.
    pub(crate) read: RefCell<HashMap<u64, u64>>,
    /// For each shard, the time since when a batch is being sent.
    pub(crate) sending: RefCell<Vec<Option<Instant>>>,
    pub(crate) spills: RefCell<HashMap<ShardId, Kept>>,
    /// Whether the spills of earlier processes were found, and when the last search failed.
    found: Cell<bool>,
    looked: Cell<Option<Instant>>,
    /// Set while a piece is being moved into a spill; there is one at a time.
    pub(crate) spilling: Cell<bool>,
    /// When the disk last refused a spill.
    pub(crate) spill_failed: Cell<Option<Instant>>,
    ending: Cell<bool>,
    /// When the shards could last not be told about ended journals.
    end_tried: Cell<Option<Instant>>,
    /// The number of this actor among those of the process.
    pub(crate) life: u64,
    pub(crate) delivered: Counter,
    recorded: Counter,
    waiting: Gauge,
    spilled: Gauge,
}

/// The state of a spill; it has its file here while it is not being written.
pub(crate) struct Kept {
    pub(crate) spill: Option<Spill>,
    /// The offset at which reading continues.
    pub(crate) at: u64,
}

impl Drain {
    /// Starts with the journals and spills that earlier processes left behind.
    pub(crate) fn new(seed: &Seed) -> Self {
        Self {
            outbox: RefCell::new(Outbox::new(seed.node, seed.shards)),
            read: RefCell::default(),
            sending: RefCell::new(vec![None; seed.shards.max(1) as usize]),
            spills: RefCell::default(),
            found: Cell::default(),
            looked: Cell::default(),
            spilling: Cell::default(),
            spill_failed: Cell::default(),
            ending: Cell::default(),
            end_tried: Cell::default(),
            life: seed.journals.lives().begin(),
            recorded: seed.metrics.counter("waypost_clicks_recorded_total", "Visits read from the journals"),
            delivered: seed.metrics.counter("waypost_clicks_delivered_total", "Visits that the shards have counted"),
            waiting: seed
                .metrics
                .gauge("waypost_clicks_waiting", "Visits read from the journals and not yet acknowledged by a shard"),
            spilled: seed.metrics.gauge("waypost_clicks_spilled", "Visits in the spills of shards that accept none"),
            seed: seed.clone(),
        }
    }

    /// Whether this is the latest counter of the process. A counter that was rebuilt after a panic opens the same files. The former one may
    /// still send what it has, since a shard counts a position once, but must change no file.
    pub(crate) fn is_latest(&self) -> bool {
        self.journals().lives().is_latest(self.life)
    }

    /// Whether the spills of earlier processes were found. Before that nothing is read from the journals: a shard that gets later
    /// visits of a journal counts the earlier ones, which are in a spill, as counted.
    pub(crate) fn has_found_spills(&self) -> bool {
        if self.is_latest()
            && !self.found.get()
            && self.looked.get().is_none_or(|looked| looked.elapsed() >= LOOK_PAUSE)
        {
            match self.find_spills() {
                Ok(()) => self.found.set(true),
                Err(error) => {
                    tracing::error!(%error, "spilled clicks cannot be read; no clicks are counted until they can")
                }
            }
            self.looked.set(Some(Instant::now()));
        }
        self.found.get()
    }

    fn find_spills(&self) -> Result<(), JournalError> {
        let (found, lost) = Spill::open_all(self.journals().directory())?;
        self.journals().note_lost(lost);
        let (mut outbox, mut spills) = (self.outbox.borrow_mut(), self.spills.borrow_mut());
        for spill in found {
            let shard = spill.shard();
            if shard.0 >= self.seed.shards {
                tracing::warn!(shard = shard.0, "spilled clicks belong to an unknown shard; they are left alone");
                continue;
            }
            tracing::info!(
                shard = shard.0,
                clicks = spill.count(),
                "spilled clicks are counted as soon as the shard takes them"
            );
            outbox.begin_spilled(shard, spill.count(), spill.upto());
            spills.insert(shard, Kept { spill: Some(spill), at: Spill::START });
        }
        Ok(())
    }

    pub(crate) fn journals(&self) -> &Journals {
        &self.seed.journals
    }

    fn all(&self) -> impl Iterator<Item = Journal> {
        self.journals().left().into_iter().chain(self.journals().current())
    }

    /// Journals of which more can be read: each with the position up to which it was read, and its head.
    fn unread(&self) -> Vec<(Journal, u64, u64)> {
        let read = self.read.borrow();
        let of = |journal: Journal| {
            let from = read.get(&journal.id()).copied().unwrap_or_else(|| journal.released());
            let head = journal.head();
            // Also one that is not known yet: its beginning has to be noted.
            (head > from || !read.contains_key(&journal.id())).then_some((journal, from, head))
        };
        self.all().filter_map(of).collect()
    }

    /// The number of slots that can be read now.
    pub(crate) fn unread_slots(&self) -> u64 {
        self.unread().iter().map(|(_, from, head)| head - from).sum()
    }

    /// Reads a piece of the journals while the outbox has room. Returns the number of slots.
    pub(crate) fn read_on(&self) -> u64 {
        if !self.has_found_spills() {
            return 0;
        }
        let unread = self.unread();
        let mut outbox = self.outbox.borrow_mut();
        let mut positions = self.read.borrow_mut();
        let piece = (PIECE / unread.len().max(1) as u64).max(PIECE_OF_JOURNAL_MIN);
        let mut slots = 0;
        for (journal, from, head) in unread {
            let id = journal.id();
            positions.entry(id).or_insert_with(|| {
                outbox.begin(id, from);
                from
            });
            if !outbox.has_room() {
                break;
            }
            let (mut start, mut count) = (from, 0);
            let upto = journal.read(from, head.min(from + piece), |position, words, text| {
                count += 1;
                outbox.add(id, (start, position), &Visit::of(words), text, None);
                start = position;
            });
            self.recorded.inc_by(count);
            positions.insert(id, upto);
            slots += upto - from;
        }
        self.waiting.set(outbox.waiting() as i64);
        slots
    }

    /// Reads again what was skipped for a shard that now has room: first its spill, then the journals.
    pub(crate) fn read_again(&self, shard: ShardId) {
        let mut outbox = self.outbox.borrow_mut();
        // Not while its spill is being written.
        if self.spills.borrow().get(&shard).is_some_and(|kept| kept.spill.is_none()) {
            return;
        }
        let Some(behind) = outbox.read_again(shard) else { return };
        let mut added = self.read_spill(&mut outbox, shard);
        let read = self.read.borrow();
        for journal in self.all() {
            let id = journal.id();
            let (Some(from), Some(upto)) = (behind.get(&id), read.get(&id)) else { continue };
            // Released visits are in the spill, or counted.
            let mut at = journal.released().max(*from);
            while at < *upto {
                let mut start = at;
                let next = journal.read(at, (at + READ_MAX).min(*upto), |position, words, text| {
                    added += u64::from(outbox.add(id, (start, position), &Visit::of(words), text, Some(shard)));
                    start = position;
                });
                if next == at {
                    break;
                }
                if outbox.is_behind(shard, id) {
                    break;
                }
                at = next;
            }
        }
        outbox.has_read_again(shard, added);
    }

    fn read_spill(&self, outbox: &mut Outbox, shard: ShardId) -> u64 {
        let mut spills = self.spills.borrow_mut();
        let Some(Kept { spill: Some(spill), at }) = spills.get_mut(&shard) else { return 0 };
        let mut added = 0;
        let next = spill.read_from(*at, |entry| {
            let visit = Visit::of(entry.words);
            added += u64::from(outbox.add(entry.journal, (0, entry.position), &visit, entry.text, Some(shard)));
            !outbox.is_behind(shard, entry.journal)
        });
        match next {
            Ok(Pass { next, damaged }) => {
                *at = next;
                if damaged > 0 {
                    self.note_damage(spill);
                }
                if next < spill.len() {
                    // In the order of the visits: nothing from the journals before the rest of the spill.
                    outbox.stay_behind(shard, spill.upto().map(|(journal, _)| journal));
                }
            }
            Err(error) => {
                tracing::error!(shard = shard.0, %error, "spilled clicks cannot be read; they stay in their file");
                outbox.stay_behind(shard, spill.upto().map(|(journal, _)| journal));
            }
        }
        added
    }

    /// Counts damage in a spill that was sound when it was found.
    fn note_damage(&self, spill: &mut Spill) {
        match spill.check() {
            Ok(lost) => self.journals().note_lost(lost),
            Err(error) => {
                tracing::error!(shard = spill.shard().0, %error, "damaged spilled clicks cannot be examined")
            }
        }
    }

    /// A shard has counted up to other positions than expected: what it lacks is read again.
    pub(crate) fn start_again(&self, shard: ShardId, reached: &[(u64, u64)]) {
        self.outbox.borrow_mut().start_again(shard, reached);
        if let Some(kept) = self.spills.borrow_mut().get_mut(&shard) {
            kept.at = Spill::START;
        }
        self.read_again(shard);
    }

    /// Releases the journals up to the position that every shard has counted, or has in its spill.
    pub(crate) fn release(&self) {
        if !self.is_latest() {
            return;
        }
        self.end_spills();
        let mut outbox = self.outbox.borrow_mut();
        let read = self.read.borrow();
        for journal in self.journals().current() {
            let Some(upto) = read.get(&journal.id()) else { continue };
            journal.release(outbox.released(journal.id(), *upto));
        }
        for journal in self.journals().left() {
            let id = journal.id();
            let Some(upto) = read.get(&id) else { continue };
            journal.release(outbox.released(id, *upto));
        }
        outbox.keep(&self.all().map(|journal| journal.id()).collect::<BTreeSet<_>>());
    }

    /// Ends the journals of earlier processes that were counted to their ends, and with `last` also those of this process. The shards are
    /// told before a journal is deleted: until then they keep its position, so that visits that are sent again do not count again. If the
    /// process dies in between, the next one finds the journal, released to its end, and tells them again.
    pub(crate) async fn end_journals(&self, last: bool) {
        while last && self.ending.get() {
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        let soon = self.end_tried.get().is_some_and(|tried| tried.elapsed() < END_PAUSE);
        if self.ending.get() || soon && !last || !self.is_latest() {
            return;
        }
        let ended = self.ended(last);
        if ended.is_empty() {
            return;
        }
        self.ending.set(true);
        let told = self.tell_ended(&ended).await;
        self.ending.set(false);
        if let Err(error) = told {
            self.end_tried.set(Some(Instant::now()));
            tracing::warn!(%error, "shards could not be told about ended click journals; the journals are kept until then");
            return;
        }
        for journal in ended {
            self.journals().finish(journal.id());
            self.read.borrow_mut().remove(&journal.id());
            if let Err(error) = journal.remove() {
                tracing::warn!(%error, "a counted click journal could not be deleted");
            }
        }
    }

    fn ended(&self, last: bool) -> Vec<Journal> {
        let (read, outbox) = (self.read.borrow(), self.outbox.borrow());
        let mut ended = self.journals().left();
        ended.extend(self.journals().current().into_iter().filter(|_| last));
        let counted = |journal: &Journal| read.contains_key(&journal.id()) && journal.released() >= journal.head();
        // Clicks in a spill name their journal, too.
        ended.retain(|journal| counted(journal) && !outbox.is_spilled(journal.id()));
        ended.truncate(EndJournals::MAX);
        ended
    }

    async fn tell_ended(&self, ended: &[Journal]) -> Result<(), String> {
        if !(self.seed.is_level_one)() {
            return Ok(());
        }
        // A power cut must not undo a release that the shards were told about.
        let journals = ended.to_vec();
        let synced = tokio::task::spawn_blocking(move || journals.iter().try_for_each(Journal::sync)).await;
        synced.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        let journals: Vec<u64> = ended.iter().map(Journal::id).collect();
        let tell = |shard| {
            let journals = journals.clone();
            self.seed.links.call(EndJournals { shard: ShardId(shard), journals }, END_TIMEOUT)
        };
        let told = join_all((0..self.seed.shards).map(tell)).await;
        told.into_iter().collect::<Result<Vec<()>, _>>().map(drop).map_err(|error| error.to_string())
    }

    /// Deletes the spills whose clicks the shards have all counted.
    fn end_spills(&self) {
        let (mut outbox, mut spills) = (self.outbox.borrow_mut(), self.spills.borrow_mut());
        let counted = |(shard, kept): (&ShardId, &Kept)| {
            kept.spill.as_ref().is_some_and(|spill| outbox.has_counted(*shard, spill.upto())).then_some(*shard)
        };
        for shard in spills.iter().filter_map(counted).collect::<Vec<_>>() {
            let Some(Kept { spill: Some(spill), .. }) = spills.remove(&shard) else { continue };
            outbox.end_spill(shard);
            if let Err(error) = spill.remove() {
                tracing::warn!(shard = shard.0, %error, "a counted spill could not be deleted");
            }
        }
        let count = |kept: &Kept| kept.spill.as_ref().map_or(0, Spill::count) as i64;
        if !self.spilling.get() {
            self.spilled.set(spills.values().map(count).sum());
        }
    }

    /// Notes which shards have not answered for long.
    pub(crate) fn note_stalled(&self, after: Duration) {
        let mut outbox = self.outbox.borrow_mut();
        for (index, since) in self.sending.borrow().iter().enumerate() {
            if since.is_some_and(|since| since.elapsed() >= after) {
                outbox.set_stalled(ShardId(index as u32), true);
            }
        }
    }
}
