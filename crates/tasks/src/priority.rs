//! The priority of threads: what a request waits for comes first.

use rustix::process::{getpriority_process, setpriority_process};
use rustix::thread::gettid;

/// The nice value of threads whose work can wait for a moment, but not long, because others wait for its end: a third of the weight of a usual
/// thread, so a quarter of a core that one such thread keeps busy.
pub const LOW: i32 = 5;

/// The nice value of threads for whose work nobody waits: a tenth of the weight of a usual thread.
pub const LOWEST: i32 = 10;

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
