//! What the store promises of the disk: what was committed is there after SIGKILL; the first failure is the last word.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "a child tells what is durable, a test what it skipped")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use waypost_store::{Db, DbOptions, LogStore, StoreError, VALUE_BYTES_MAX};
use waypost_telemetry::Metrics;

const CHILD: &str = "WAYPOST_TEST_STORE_CHILD";

fn open(dir: &Path) -> Result<Db, StoreError> {
    Db::open(dir, &DbOptions { cache_bytes: 8 << 20, ..DbOptions::default() }, &Metrics::new())
}

/// This test program again, running only the writer below on `dir`, perhaps under a tracer.
fn writer(dir: &Path, wrapper: &[&str]) -> Command {
    let program = std::env::current_exe().unwrap();
    let mut words: Vec<&std::ffi::OsStr> = wrapper.iter().map(|word| std::ffi::OsStr::new(*word)).collect();
    words.push(program.as_os_str());
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).args(["--exact", "writes_until_it_is_killed", "--nocapture"]);
    command.env(CHILD, dir).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Not a test by itself: the process that the others kill. Prints each number once it is durable.
#[test]
fn writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let db = open(Path::new(&dir)).unwrap();
    let calls = Arc::new(AtomicU32::new(0));
    let counted = calls.clone();
    db.on_failure(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    let tree = db.tree("numbers").unwrap();
    for number in 0u64..20_000 {
        let written = tree.insert(&number.to_be_bytes(), number.to_le_bytes().to_vec());
        if written.is_ok() && db.commit().wait_blocking().is_ok() {
            println!("durable {number}");
            continue;
        }
        // Failed: so does everything that follows, and the listener heard of it once.
        assert!(matches!(tree.insert(b"more", vec![1]), Err(StoreError::Failed(_))));
        assert!(db.commit().wait_blocking().is_err());
        assert!(db.failure().is_some());
        println!("failed, told {} time(s)", calls.load(Ordering::SeqCst));
        std::process::exit(9);
    }
}

fn durable(line: &str) -> Option<u64> {
    line.strip_prefix("durable ")?.parse().ok()
}

fn assert_all_there(dir: &Path, last: u64) {
    let db = open(dir).unwrap();
    let tree = db.tree("numbers").unwrap();
    for number in 0..=last {
        let value = tree.get(&number.to_be_bytes()).unwrap();
        assert_eq!(value.as_deref(), Some(&number.to_le_bytes()[..]), "{number} of {last}");
    }
}

#[test]
fn what_was_committed_survives_sigkill() {
    for target in [50, 300, 1000] {
        let dir = tempfile::tempdir().unwrap();
        let mut child = writer(dir.path(), &[]).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut last = 0;
        for number in lines.map_while(Result::ok).filter_map(|line| durable(&line)) {
            last = number;
            if number >= target {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(last >= target);
        assert_all_there(dir.path(), last);
    }
}

#[test]
fn the_first_failure_of_the_disk_is_final_and_nothing_acknowledged_is_lost() {
    if Command::new("strace").arg("-V").output().is_err() {
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci != "true"),
            "strace is not installed; under CI that is a failure"
        );
        println!("SKIPPED: strace is not installed");
        return;
    }
    for inject in ["inject=fdatasync:error=EIO:when=40+", "inject=pwrite64:error=ENOSPC:when=40+"] {
        let dir = tempfile::tempdir().unwrap();
        let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync,pwrite64", "-e", inject];
        let output = writer(dir.path(), &strace).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(9), "{inject}: {text}");
        assert!(text.contains("failed, told 1 time(s)"), "{inject}: {text}");
        let last = text.lines().filter_map(durable).next_back();
        assert_all_there(dir.path(), last.unwrap_or_else(|| panic!("{inject}: nothing was acknowledged")));
    }
}

#[test]
fn under_ci_the_test_of_a_failing_disk_fails_when_it_cannot_run() {
    for (ci, passes) in [("true", false), ("false", true)] {
        let mut again = Command::new(std::env::current_exe().unwrap());
        let again = again.args(["--exact", "the_first_failure_of_the_disk_is_final_and_nothing_acknowledged_is_lost"]);
        let ran = again.env("CI", ci).env("PATH", "").output().unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(said.contains("running 1 test"), "{said}");
        assert_eq!(ran.status.success(), passes, "CI={ci}: {said}");
    }
}

#[test]
fn many_who_wait_share_few_commits() {
    let dir = tempfile::tempdir().unwrap();
    let metrics = Metrics::new();
    let db = Db::open(dir.path(), &DbOptions::default(), &metrics).unwrap();
    let tree = db.tree("shared").unwrap();
    std::thread::scope(|scope| {
        for thread in 0..64u64 {
            let (tree, commit) = (tree.clone(), db.commit().clone());
            scope.spawn(move || {
                for number in 0..20u64 {
                    tree.insert(&(thread * 100 + number).to_be_bytes(), vec![1; 100]).unwrap();
                    commit.wait_blocking().unwrap();
                }
            });
        }
    });
    let commits = metrics.counter("waypost_commits_total", "Flushes and syncs").get();
    assert!((20..640).contains(&commits), "{commits} commits for 1280 writes");
}

#[test]
fn a_second_process_is_told_that_the_store_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let _db = open(dir.path()).unwrap();
    assert!(matches!(open(dir.path()), Err(StoreError::Locked { .. })));
}

#[test]
fn large_values_never_leave_the_synced_file() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path()).unwrap();
    let tree = db.tree("large").unwrap();
    for number in 0..400u32 {
        tree.insert(&number.to_be_bytes(), vec![7; VALUE_BYTES_MAX]).unwrap();
        if number % 50 == 0 {
            db.commit().wait_blocking().unwrap();
        }
    }
    db.commit().wait_blocking().unwrap();
    let blobs = std::fs::read_dir(dir.path().join("store/blobs")).map_or(0, Iterator::count);
    assert_eq!(blobs, 0, "sled moved pages into files that it never syncs");
    assert!(matches!(tree.insert(b"x", vec![7; VALUE_BYTES_MAX + 1]), Err(StoreError::TooLarge { .. })));
}

#[test]
fn a_torn_or_damaged_table_snapshot_is_repaired() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let status = writer(dir.path(), &["timeout", "-s", "KILL", "1"]).output().unwrap();
    let last = String::from_utf8_lossy(&status.stdout).lines().filter_map(durable).next_back().unwrap();
    std::fs::write(store.join("snap.FFFFFFFFFFFFFFF0.generating"), b"torn").unwrap();
    assert_all_there_in_child(dir.path(), last);
    for entry in std::fs::read_dir(&store).unwrap().flatten() {
        if entry.file_name().to_string_lossy().starts_with("snap.") {
            std::fs::write(entry.path(), b"damaged beyond use").unwrap();
        }
    }
    assert_all_there_in_child(dir.path(), last);
}

/// Reads in a copy: sled releases the lock of a directory some time after the last handle is gone.
fn assert_all_there_in_child(dir: &Path, last: u64) {
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(copy.path().join("store")).unwrap();
    for entry in std::fs::read_dir(dir.join("store")).unwrap().flatten() {
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), copy.path().join("store").join(entry.file_name())).unwrap();
        }
    }
    assert_all_there(copy.path(), last);
}

#[test]
fn a_log_keeps_its_entries_and_forgets_what_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path()).unwrap();
    let log = LogStore::open(&db, 3).unwrap();
    assert_eq!((log.first_index().unwrap(), log.last_index().unwrap()), (None, None));
    log.append((1..=1000).map(|index: u64| (index, index.to_le_bytes().to_vec()))).unwrap();
    log.put_meta("vote", b"me").unwrap();
    log.truncate_from(900).unwrap();
    log.purge_to(600).unwrap();
    assert_eq!((log.first_index().unwrap(), log.last_index().unwrap()), (Some(601), Some(899)));
    let read = log.read(0..2000, usize::MAX).unwrap();
    assert_eq!(read.len(), 299);
    assert!(read.iter().all(|(index, bytes)| *bytes == index.to_le_bytes()));
    assert_eq!(log.read(700..800, 1).unwrap().len(), 1);
    assert_eq!(log.get_meta("vote").unwrap().as_deref(), Some(&b"me"[..]));
    assert_eq!(log.get_meta("other").unwrap(), None);
    assert_eq!(log.verify().unwrap(), (300, Vec::new()));
    // The record of another place is not taken for this one's.
    let tree = db.tree("log/3").unwrap();
    let moved = tree.get(&[&b"e"[..], &700u64.to_be_bytes()].concat()).unwrap().unwrap();
    tree.insert(&[&b"e"[..], &701u64.to_be_bytes()].concat(), moved.to_vec()).unwrap();
    assert!(matches!(log.read(701..702, 100), Err(StoreError::Corrupt { .. })));
    assert_eq!(log.verify().unwrap().1.len(), 1);
}
