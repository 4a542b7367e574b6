//! Finds operations of the database that do not end.
//!
//! sled consists of loops that end when another thread has done its part. A fault there leaves a thread in such a loop, and with it all that need
//! its locks, while the node goes on to say that it is ready. So each operation notes that it runs, and a thread looks whether one goes on for
//! long *and* uses the processor. One that waits for its turn on a busy machine does not. One that waits for the disk seldom does: in a few places sled waits in
//! a loop, so that a disk that stands still for a minute may end the process, too.
//!
//! Only calls through `guard` and `Tree::read`, and flushes, are watched: sled's own threads, its opening and its end are not.

use std::fs;
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long an operation may take. The longest ones wait for a disk; none should compute for more than seconds.
pub(crate) const ENDLESS_AFTER: Duration = Duration::from_secs(60);

/// The part of that time for which an endless operation uses the processor, at least: others may want it, too.
const PROCESSOR_PART: u32 = 6;

/// The threads of a node that use the database are seldom more. Two threads with the same slot can hide each other's endless operation.
const SLOTS: usize = 64;

/// What the kernel counts the time of threads in, in `/proc`: always hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

/// The operations of one thread. Alone in its cache line, because its thread writes to it at each operation.
#[derive(Default)]
#[repr(align(64))]
struct Slot {
    begun: AtomicU64,
    ended: AtomicU64,
    thread: AtomicU32,
    /// Set while another thread's operation may run, too: whose processor's time to look at is not known then.
    shared: AtomicBool,
}

/// The operations that run.
pub(crate) struct Running {
    slots: [Slot; SLOTS],
}

impl Default for Running {
    fn default() -> Self {
        Self { slots: std::array::from_fn(|_| Slot::default()) }
    }
}

/// An operation that runs. It ends when this is dropped.
pub(crate) struct Operation<'a>(&'a Slot);

impl Drop for Operation<'_> {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Release);
    }
}

thread_local! {
    /// The kernel's number of this thread.
    static THREAD: u32 = rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs();
}

impl Running {
    /// Begins an operation of this thread.
    pub(crate) fn begin(&self) -> Operation<'_> {
        self.begin_as(THREAD.with(|thread| *thread))
    }

    fn begin_as(&self, thread: u32) -> Operation<'_> {
        let slot = &self.slots[thread as usize % SLOTS];
        if slot.thread.load(Ordering::Relaxed) != thread {
            if slot.begun.load(Ordering::Acquire) != slot.ended.load(Ordering::Acquire) {
                slot.shared.store(true, Ordering::Release);
            }
            slot.thread.store(thread, Ordering::Relaxed);
        }
        slot.begun.fetch_add(1, Ordering::Release);
        Operation(slot)
    }
}

/// An operation that ran when it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    begun: u64,
    since: Instant,
    /// What its thread had used of the processor then.
    processor: Duration,
}

/// What is known of the operations.
pub(crate) struct Watch {
    seen: [Option<Seen>; SLOTS],
    endless_after: Duration,
}

impl Watch {
    pub(crate) fn new(endless_after: Duration) -> Self {
        Self { seen: [None; SLOTS], endless_after }
    }

    /// Looks at the operations. `processor` tells how much of the processor a thread has used, if that can be told. Returns how long an endless
    /// operation has run, if there is one.
    fn look(
        &mut self,
        running: &Running,
        now: Instant,
        processor: impl Fn(u32) -> Option<Duration>,
    ) -> Option<Duration> {
        for (slot, seen) in running.slots.iter().zip(&mut self.seen) {
            let (ended, begun) = (slot.ended.load(Ordering::Acquire), slot.begun.load(Ordering::Acquire));
            let thread = slot.thread.load(Ordering::Relaxed);
            if begun == ended {
                *seen = None;
                slot.shared.store(false, Ordering::Release);
                continue;
            }
            if slot.shared.load(Ordering::Acquire) {
                *seen = None;
                continue;
            }
            let Some(known) = seen.filter(|known| known.begun == begun) else {
                *seen = processor(thread).map(|processor| Seen { begun, since: now, processor });
                continue;
            };
            let took = now.saturating_duration_since(known.since);
            if took < self.endless_after {
                continue;
            }
            let Some(used) = processor(thread).map(|used| used.saturating_sub(known.processor)) else { continue };
            if used >= took / PROCESSOR_PART {
                return Some(took);
            }
        }
        None
    }

    /// Looks again and again, until the database is closed. Returns how long an endless operation has run, once there is one.
    pub(crate) fn run(&mut self, running: &Weak<Running>) -> Option<Duration> {
        let pause = (self.endless_after / 8).min(Duration::from_secs(1));
        while let Some(running) = running.upgrade() {
            let endless = self.look(&running, Instant::now(), processor);
            if endless.is_some() {
                return endless;
            }
            drop(running);
            std::thread::sleep(pause);
        }
        None
    }
}

/// The processor's time of a thread of this process (proc_pid_stat(5): fields 14 and 15, behind a name that may have anything in it).
fn processor(thread: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/self/task/{thread}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let ticks = |field: Option<&str>| field?.parse::<u32>().ok();
    Some(TICK * ticks(fields.next())?.checked_add(ticks(fields.next())?)?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// Looks twice, a minute apart, at an operation that runs all the while, and whose thread uses so much of the processor.
    fn after_a_minute(used: Option<Duration>, between: impl FnOnce(&Running)) -> Option<Duration> {
        let (running, mut watch, now) = (Running::default(), Watch::new(ENDLESS_AFTER), Instant::now());
        let operation = running.begin();
        assert_eq!(watch.look(&running, now, |_| Some(MINUTE)), None);
        between(&running);
        let found = watch.look(&running, now + MINUTE, |_| used.map(|used| MINUTE + used));
        drop(operation);
        assert_eq!(watch.look(&running, now + 3 * MINUTE, |_| Some(9 * MINUTE)), None, "it has ended");
        found
    }

    #[test]
    fn an_operation_that_computes_for_a_minute_is_endless_and_one_that_waits_is_not() {
        assert_eq!(after_a_minute(Some(MINUTE / 5), |_| ()), Some(MINUTE));
        assert_eq!(after_a_minute(Some(MINUTE / 7), |_| ()), None);
        assert_eq!(after_a_minute(None, |_| ()), None);
    }

    #[test]
    fn a_thread_that_ends_operations_and_begins_others_is_busy_and_not_stuck() {
        let next = |running: &Running| drop(running.begin());
        assert_eq!(after_a_minute(Some(MINUTE), next), None);
    }

    #[test]
    fn the_processors_time_of_another_thread_with_the_same_slot_makes_no_operation_endless() {
        let (running, mut watch, now) = (Running::default(), Watch::new(ENDLESS_AFTER), Instant::now());
        let waits_for_the_disk = running.begin_as(1);
        drop(running.begin_as(1 + SLOTS as u32));
        assert_eq!(watch.look(&running, now, |_| Some(MINUTE)), None);
        assert_eq!(watch.look(&running, now + MINUTE, |_| Some(2 * MINUTE)), None);
        drop(waits_for_the_disk);
        assert_eq!(watch.look(&running, now + MINUTE, |_| Some(2 * MINUTE)), None);
        let _endless = running.begin_as(1);
        assert_eq!(watch.look(&running, now + MINUTE, |_| Some(2 * MINUTE)), None);
        assert_eq!(
            watch.look(&running, now + 2 * MINUTE, |_| Some(3 * MINUTE)),
            Some(MINUTE),
            "the slot is its own again"
        );
    }

    #[test]
    fn an_operation_that_goes_round_in_circles_is_found_and_none_is_when_the_database_is_closed() {
        let running = Arc::new(Running::default());
        let (watched, stop) = (Arc::downgrade(&running), AtomicBool::new(false));
        std::thread::scope(|threads| {
            threads.spawn(|| {
                let _operation = running.begin();
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
            let endless_after = Duration::from_millis(200);
            let took = Watch::new(endless_after).run(&watched);
            stop.store(true, Ordering::Relaxed);
            assert!(took.is_some_and(|took| took >= endless_after), "{took:?}");
        });
        drop(running);
        assert_eq!(Watch::new(ENDLESS_AFTER).run(&watched), None);
    }

    #[test]
    fn the_processors_time_of_a_thread_is_read_and_that_of_none_is_not() {
        let own = THREAD.with(|thread| *thread);
        let before = processor(own).unwrap();
        let mut rounds = 0;
        while processor(own).unwrap() == before {
            rounds += 1;
            assert!(rounds < 10_000_000, "it does not grow");
        }
        assert_eq!(processor(u32::MAX / 2), None);
    }
}
