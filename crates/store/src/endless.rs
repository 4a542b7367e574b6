//! Finds operations of the database that do not end.
//!
//! sled consists of loops that end when another thread has done its part. A fault there leaves a thread in such a loop, and with it all that need
//! its locks, while the node goes on to say that it is ready. So each operation notes that it runs, and once a second a thread looks
//! whether one goes on and has used the processor. At sixty such looks, which need not follow each other, it counts as endless. While a thread of the process waits for the disk, nothing is concluded: others may wait for it in a loop.
//!
//! Only calls through `guard` and `Tree::read`, and flushes, are watched: sled's own threads, its opening and its end are not.

use std::cell::{LazyCell, RefCell};
use std::collections::HashMap;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

/// The pause between two looks.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// An operation is endless after so many looks that saw it use the processor. None should compute for more than seconds.
pub(crate) const LOOKS: u32 = 60;

/// The part of the time between two looks for which an endless operation uses the processor, at least: others may want it, too.
const PROCESSOR_PART: u32 = 6;

/// What the kernel counts the time of threads in, in `/proc`: always hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

/// The operations of one thread, which alone writes here. Alone in its cache line, because that is at each operation.
#[repr(align(64))]
struct Slot {
    /// The kernel's number of the thread.
    thread: u32,
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Slot {
    /// Adds one to a counter that no other thread changes.
    fn count(counter: &AtomicU64) {
        counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Release);
    }
}

/// The operations that run.
#[derive(Default)]
pub(crate) struct Running {
    /// Those of all threads that have had one, until they end.
    slots: Mutex<Vec<Weak<Slot>>>,
}

thread_local! {
    /// This thread's slot of the database that it used last.
    static OWN: RefCell<Option<(Weak<Running>, Arc<Slot>)>> = const { RefCell::new(None) };
}

/// An operation that runs. It ends when this is dropped.
pub(crate) struct Operation(Option<Arc<Slot>>);

impl Drop for Operation {
    fn drop(&mut self) {
        if let Some(slot) = &self.0 {
            Slot::count(&slot.ended);
        }
    }
}

impl Running {
    /// Begins an operation of this thread.
    pub(crate) fn begin(self: &Arc<Self>) -> Operation {
        // A thread that ends has no slot any more, and is not watched.
        let slot = OWN.try_with(|own| {
            let mut own = own.borrow_mut();
            match &*own {
                Some((of, slot)) if of.as_ptr() == Arc::as_ptr(self) => slot.clone(),
                _ => {
                    let slot = self.slot_of_this_thread();
                    *own = Some((Arc::downgrade(self), slot.clone()));
                    slot
                }
            }
        });
        if let Ok(slot) = &slot {
            Slot::count(&slot.begun);
        }
        Operation(slot.ok())
    }

    fn slot_of_this_thread(&self) -> Arc<Slot> {
        let thread = rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs();
        let slot = Arc::new(Slot { thread, begun: AtomicU64::new(0), ended: AtomicU64::new(0) });
        self.slots.lock().push(Arc::downgrade(&slot));
        slot
    }

    /// The slots of the threads that still run.
    fn slots(&self) -> Vec<Arc<Slot>> {
        let mut slots = self.slots.lock();
        slots.retain(|slot| slot.strong_count() > 0);
        slots.iter().filter_map(Weak::upgrade).collect()
    }
}

/// An operation that ran when it was looked at.
#[derive(Clone, Copy)]
struct Seen {
    begun: u64,
    /// What its thread had used of the processor then.
    processor: Duration,
    /// How many looks saw it use the processor.
    looks: u32,
}

/// What the kernel tells of the threads of a process.
trait Threads {
    /// The processor's time that a thread has used.
    fn processor(&self, thread: u32) -> Option<Duration>;
    /// Whether any thread waits for a disk.
    fn wait_for_disk(&self) -> bool;
}

/// What is known of the operations.
pub(crate) struct Watch {
    /// By the number of their thread.
    seen: HashMap<u32, Seen>,
    look_every: Duration,
    looks: u32,
}

impl Watch {
    pub(crate) fn new(look_every: Duration, looks: u32) -> Self {
        Self { seen: HashMap::new(), look_every, looks }
    }

    /// Looks at the operations. Returns whether one of them is endless.
    fn look(&mut self, running: &Running, threads: &impl Threads) -> bool {
        let before = std::mem::take(&mut self.seen);
        let wait_for_disk = LazyCell::new(|| threads.wait_for_disk());
        for slot in running.slots() {
            let (ended, begun) = (slot.ended.load(Ordering::Acquire), slot.begun.load(Ordering::Acquire));
            if begun == ended {
                continue;
            }
            let Some(processor) = threads.processor(slot.thread) else { continue };
            let looks = before.get(&slot.thread).filter(|known| known.begun == begun).map_or(0, |known| {
                let computes = processor.saturating_sub(known.processor) >= self.look_every / PROCESSOR_PART;
                known.looks + u32::from(computes && !*wait_for_disk)
            });
            if looks >= self.looks {
                return true;
            }
            self.seen.insert(slot.thread, Seen { begun, processor, looks });
        }
        false
    }

    /// Looks again and again, until the database is closed. Returns whether there is an endless operation.
    pub(crate) fn run(&mut self, running: &Weak<Running>) -> bool {
        while let Some(running) = running.upgrade() {
            if self.look(&running, &Proc) {
                return true;
            }
            drop(running);
            std::thread::sleep(self.look_every);
        }
        false
    }
}

/// The threads of this process, by `/proc` (proc_pid_stat(5)).
struct Proc;

/// The fields of a thread from the third on, behind a name that may have anything in it.
fn fields(stat: &str) -> Option<impl Iterator<Item = &str>> {
    Some(stat.rsplit_once(')')?.1.split_ascii_whitespace())
}

impl Threads for Proc {
    fn processor(&self, thread: u32) -> Option<Duration> {
        let stat = fs::read_to_string(format!("/proc/self/task/{thread}/stat")).ok()?;
        // Fields 14 and 15: in the process, and in the kernel for it.
        let mut fields = fields(&stat)?.skip(11);
        let ticks = |field: Option<&str>| field?.parse::<u32>().ok();
        Some(TICK * ticks(fields.next())?.checked_add(ticks(fields.next())?)?)
    }

    fn wait_for_disk(&self) -> bool {
        let Ok(threads) = fs::read_dir("/proc/self/task") else { return false };
        let waits = |thread: fs::DirEntry| {
            // A thread may end while it is looked at.
            let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            fields(&stat).and_then(|mut fields| fields.next().map(|state| state == "D")).unwrap_or(false)
        };
        threads.flatten().any(waits)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::atomic::AtomicBool;

    use super::*;

    /// All threads have used as much.
    #[derive(Default)]
    struct Told {
        used: Cell<Duration>,
        wait_for_disk: bool,
        none: bool,
    }

    impl Threads for Told {
        fn processor(&self, _: u32) -> Option<Duration> {
            (!self.none).then_some(self.used.get())
        }

        fn wait_for_disk(&self) -> bool {
            self.wait_for_disk
        }
    }

    /// The number of the first look that finds an endless operation of this thread, if one of so many does, when it uses `part` of the processor.
    fn found_at(threads: &Told, part: f64, looks: u32, mut between: impl FnMut(u32, &Arc<Running>)) -> Option<u32> {
        let (running, mut watch) = (Arc::new(Running::default()), Watch::new(LOOK_EVERY, LOOKS));
        let _operation = running.begin();
        (0..looks).find(|number| {
            between(*number, &running);
            threads.used.set(threads.used.get() + LOOK_EVERY.mul_f64(part));
            watch.look(&running, threads)
        })
    }

    #[test]
    fn an_operation_that_computes_at_sixty_looks_is_endless() {
        assert_eq!(found_at(&Told::default(), 1.0, 100, |_, _| ()), Some(LOOKS));
        assert_eq!(found_at(&Told::default(), 0.2, 100, |_, _| ()), Some(LOOKS));
    }

    #[test]
    fn an_operation_that_waits_is_not_endless_and_neither_is_one_that_waits_in_a_loop_for_the_disk() {
        assert_eq!(found_at(&Told::default(), 0.1, 100, |_, _| ()), None);
        assert_eq!(found_at(&Told { wait_for_disk: true, ..Told::default() }, 1.0, 100, |_, _| ()), None);
        assert_eq!(found_at(&Told { none: true, ..Told::default() }, 1.0, 100, |_, _| ()), None);
    }

    #[test]
    fn a_time_in_which_nobody_looked_counts_as_one_look() {
        let threads = Told::default();
        let pause = |number, _: &Arc<Running>| {
            if number == 1 {
                threads.used.set(threads.used.get() + 100 * LOOK_EVERY);
            }
        };
        assert_eq!(found_at(&threads, 0.0, 100, pause), None);
    }

    #[test]
    fn a_thread_that_ends_operations_and_begins_others_is_busy_and_not_stuck() {
        let next = |number, running: &Arc<Running>| {
            if number % 50 == 49 {
                drop(running.begin());
            }
        };
        assert_eq!(found_at(&Told::default(), 1.0, 200, next), None);
    }

    #[test]
    fn what_other_threads_and_other_databases_do_hides_no_endless_operation() {
        let other = Arc::new(Running::default());
        let others = |_, running: &Arc<Running>| {
            std::thread::scope(|threads| {
                threads.spawn(|| drop(running.begin()));
            });
            // In this thread, so that its slot is another one for a while.
            drop(other.begin());
        };
        assert_eq!(found_at(&Told::default(), 1.0, 100, others), Some(LOOKS));
    }

    #[test]
    fn threads_that_have_ended_leave_nothing() {
        let running = Arc::new(Running::default());
        for _ in 0..10 {
            std::thread::scope(|threads| {
                threads.spawn(|| drop(running.begin()));
            });
        }
        // The scope may return a moment before the thread's own memory is gone.
        let since = std::time::Instant::now();
        while !running.slots().is_empty() {
            assert!(since.elapsed() < Duration::from_secs(60));
            std::thread::yield_now();
        }
        assert!(running.slots.lock().is_empty());
    }

    #[test]
    fn a_thread_in_an_endless_loop_is_found_and_none_is_when_the_database_is_closed() {
        let running = Arc::new(Running::default());
        let (watched, stop) = (Arc::downgrade(&running), AtomicBool::new(false));
        let mut watch = Watch::new(Duration::from_millis(60), 5);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                let _operation = running.begin();
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
            assert!(watch.run(&watched));
            stop.store(true, Ordering::Relaxed);
        });
        drop(running);
        assert!(!watch.run(&watched));
    }

    #[test]
    fn the_kernel_tells_of_the_threads_of_this_process_only() {
        let own = rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs();
        let before = Proc.processor(own).unwrap();
        let mut rounds = 0;
        while Proc.processor(own).unwrap() == before {
            rounds += 1;
            assert!(rounds < 10_000_000, "it does not grow");
        }
        assert_eq!(Proc.processor(u32::MAX / 2), None);
        let stat = "12 (a) D) D 1 2";
        assert_eq!(fields(stat).unwrap().next(), Some("D"));
    }
}
