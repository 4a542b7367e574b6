//! The priority of threads: what a request waits for comes first.

use rustix::process::{getpriority_process, setpriority_process};
use rustix::thread::{Pid, gettid};

/// The nice value of threads whose work can wait for a moment, but not long, because others wait for its end: a third of the weight of a usual
/// thread, so a quarter of a core that one such thread keeps busy.
pub const LOW: i32 = 5;

/// The nice value of threads for whose work nobody waits: a tenth of the weight of a usual thread.
pub const LOWEST: i32 = 10;

/// Lowers the priority of this thread, unless it is lower. Where that is not allowed it works as it is.
pub fn lower_priority(nice: i32) {
    lower(gettid(), nice);
}

fn lower(thread: Pid, nice: i32) {
    if getpriority_process(Some(thread)).is_ok_and(|now| now < nice) {
        let _ = setpriority_process(Some(thread), nice);
    }
}

/// Lowers the priority of all threads of this process with a name, which were started by code that is not ours. Returns how many there are; 0 also where
/// the system does not tell.
pub fn lower_priority_of(name: &str, nice: i32) -> usize {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return 0 };
    let is_named = |thread: &std::fs::DirEntry| {
        std::fs::read_to_string(thread.path().join("comm")).is_ok_and(|known| known.trim_end() == name)
    };
    let number = |thread: std::fs::DirEntry| thread.file_name().to_str()?.parse().ok().and_then(Pid::from_raw);
    let meant = threads.flatten().filter(is_named).filter_map(number);
    meant.inspect(|thread| lower(*thread, nice)).count()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn only_the_thread_that_asks_gets_another_priority() {
        let before = getpriority_process(Some(gettid())).unwrap();
        let lowered = std::thread::spawn(|| {
            lower_priority(LOWEST);
            let lowest = getpriority_process(Some(gettid())).unwrap();
            lower_priority(LOW);
            (lowest, getpriority_process(Some(gettid())).unwrap())
        });
        // A process may have a lower one from its start.
        let lowest = LOWEST.max(before);
        assert_eq!(lowered.join().unwrap(), (lowest, lowest));
        assert_eq!(getpriority_process(Some(gettid())).unwrap(), before);
    }

    #[test]
    fn threads_are_found_by_their_name() {
        let (go, wait) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        let named = std::thread::Builder::new().name("some-helper".to_owned()).spawn(move || {
            tell.send(()).unwrap();
            wait.recv().unwrap();
            getpriority_process(Some(gettid())).unwrap()
        });
        told.recv().unwrap();
        assert_eq!((lower_priority_of("some-helper", LOW), lower_priority_of("no-helper", LOW)), (1, 0));
        go.send(()).unwrap();
        assert!(named.unwrap().join().unwrap() >= LOW);
    }
}
