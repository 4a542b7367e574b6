//! Priorities of threads: workers, which answer requests, go before what can wait for some milliseconds.
//!
//! Among threads of the same priority, one that computes keeps the processor until the kernel's next tick, or longer, while a worker has requests to
//! answer: that made the slowest redirects. A worker that has something to do interrupts a thread of lower priority sooner.

use rustix::process::{getpriority_process, setpriority_process};
use rustix::thread::gettid;

/// The "nice" value (`setpriority(2)`) of threads of low priority. Each step is worth a fifth of the processor's time: on a core that is busy with
/// redirects they get a tenth. A heartbeat that waits for its turn there waits some tens of milliseconds, much less than an election takes.
const NICE: i32 = 10;

/// Lowers the priority of this thread, and of the threads that it starts from now on. One that is that low already stays as it is.
pub fn lower_priority() {
    let this = Some(gettid());
    let lowered = getpriority_process(this).and_then(|now| match now < NICE {
        true => setpriority_process(this, NICE),
        false => Ok(()),
    });
    if let Err(error) = lowered {
        tracing::debug!(%error, "the priority of a thread was not lowered");
    }
}

/// Calls `start` on a thread of low priority, so that the threads that it starts have a low priority, too.
///
/// # Errors
/// If the operating system cannot start a thread.
///
/// # Panics
/// If `start` does.
pub fn at_low_priority<T: Send>(start: impl FnOnce() -> T + Send) -> std::io::Result<T> {
    std::thread::scope(|scope| {
        let lowered = move || {
            lower_priority();
            start()
        };
        let thread = std::thread::Builder::new().spawn_scoped(scope, lowered)?;
        Ok(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nice() -> i32 {
        getpriority_process(Some(gettid())).unwrap()
    }

    #[test]
    fn a_thread_and_those_that_it_starts_are_lowered_and_no_others() {
        let before = nice();
        let both = at_low_priority(|| (nice(), std::thread::spawn(nice).join().unwrap())).unwrap();
        let lowered = before.max(NICE);
        assert_eq!((both, nice()), ((lowered, lowered), before));
    }

    #[test]
    fn a_thread_that_has_a_lower_priority_keeps_it() {
        let lowest = at_low_priority(|| {
            setpriority_process(Some(gettid()), NICE + 5).unwrap();
            lower_priority();
            nice()
        });
        assert!(lowest.unwrap() >= NICE + 5);
    }
}
