//! The priority of threads: what a request waits for comes first.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, scope};

use rustix::process::{getpriority_process, setpriority_process};
use rustix::thread::gettid;

use crate::panic_text;

/// The nice value of threads whose work can wait for a moment, but not long, because others wait for its end: a third of the weight of a usual
/// thread, so one of them has a quarter of a core that a usual one keeps busy.
pub const LOW: i32 = 5;

/// The nice value of threads for whose work nobody waits: a tenth of the weight of a usual thread.
pub const LOWEST: i32 = 10;

/// Does work on a thread of its own, with [`LOW`] priority and this name, and waits for its end. If the system starts no thread just now, this one does the work.
///
/// # Errors
/// If the work panics.
pub fn at_low_priority<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    let done = on_thread(Builder::new().name(name.to_owned()), work);
    done.map_err(|panic| io::Error::other(format!("a {name} panicked: {}", panic_text(&*panic))))
}

fn on_thread<T: Send>(thread: Builder, work: impl FnOnce() -> T + Send) -> std::thread::Result<T> {
    // A thread that is not started takes with it what it was to do.
    let work = Mutex::new(Some(work));
    let take = || work.lock().unwrap_or_else(PoisonError::into_inner).take().expect("invariant: it is done once");
    let lowered = || {
        lower_priority(LOW);
        take()()
    };
    scope(|scope| match thread.spawn_scoped(scope, lowered) {
        Ok(thread) => thread.join(),
        Err(_) => catch_unwind(AssertUnwindSafe(take())),
    })
}

/// Lowers the priority of this thread, unless it is lower. Where that is not allowed it works as it is.
pub fn lower_priority(nice: i32) {
    let own = Some(gettid());
    if getpriority_process(own).is_ok_and(|now| now < nice) {
        let _ = setpriority_process(own, nice);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> i32 {
        getpriority_process(Some(gettid())).unwrap()
    }

    #[test]
    fn work_of_low_priority_is_waited_for_and_its_panics_are_errors() {
        assert_eq!(at_low_priority("sum", || (own(), 1 + 1)).unwrap(), (LOW.max(own()), 2));
        let error = at_low_priority("sum", || assert_eq!(1, 2, "too much")).unwrap_err().to_string();
        assert!(error.starts_with("a sum panicked: ") && error.contains("too much"), "{error}");
    }

    #[test]
    fn without_another_thread_the_work_is_done_by_this_one() {
        let no_thread = || Builder::new().stack_size(usize::MAX / 4);
        assert!(no_thread().spawn(|| {}).is_err());
        let before = own();
        assert_eq!(on_thread(no_thread(), || (own(), 1 + 1)).unwrap(), (before, 2));
        assert!(on_thread(no_thread(), || panic!("too much")).is_err());
    }

    #[test]
    fn only_the_thread_that_asks_gets_another_priority_and_never_a_higher_one() {
        // A process may have a low one from its start.
        let before = own();
        let lowered = std::thread::spawn(|| {
            lower_priority(LOW);
            let low = own();
            lower_priority(LOWEST);
            let lowest = own();
            lower_priority(LOW);
            [low, lowest, own()]
        });
        assert_eq!(lowered.join().unwrap(), [LOW, LOWEST, LOWEST].map(|nice| nice.max(before)));
        assert_eq!(own(), before);
    }
}
