//! The thread of the database that nobody waits for. A process of its own: it has the threads of one database only.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use waypost_store::{Db, DbOptions};
use waypost_telemetry::Metrics;

/// The nice value in a line of a thread's `stat`.
fn nice_in(stat: &str) -> i32 {
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(16).unwrap().parse().unwrap()
}

/// The nice values of the threads with a name.
fn nice_of(name: &str) -> Vec<i32> {
    let threads = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let stats = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok());
    stats.filter(|stat| stat.contains(&format!("({name})"))).map(|stat| nice_in(&stat)).collect()
}

#[test]
fn the_thread_that_rewrites_pages_gives_way_to_others_and_the_one_that_commits_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), &DbOptions::default(), &Metrics::new()).unwrap();
    // The process may have a low priority as a whole.
    let usual = nice_in(&std::fs::read_to_string("/proc/thread-self/stat").unwrap());
    let (since, low) = (Instant::now(), usual.max(waypost_tasks::LOW));
    while nice_of("log flusher") != [low] || nice_of("group-commit") != [usual] {
        assert!(since.elapsed() < Duration::from_secs(60), "{:?}", (nice_of("log flusher"), nice_of("group-commit")));
        std::thread::yield_now();
    }
    db.close().unwrap();
}
