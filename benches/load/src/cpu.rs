//! CPU seconds of the server, from `/proc`: the processes named, all their threads, and all their descendants.

use std::{collections::HashMap, fs};

use crate::error::LoadError;

/// Linux reports process times to user space in hundredths of a second on every architecture (USER_HZ).
const TICKS_PER_SECOND: f64 = 100.0;

/// What one `/proc/PID/stat` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    parent: u32,
    /// User and system time of all threads, of those that ended, and of children that were waited for.
    ticks: u64,
}

/// CPU seconds used so far by `roots`, their threads and their descendants. Take it before and after and subtract.
///
/// # Errors
/// [`LoadError::Cpu`] when a root does not exist or its entry cannot be understood.
pub fn seconds(roots: &[u32]) -> Result<f64, LoadError> {
    let mut all = HashMap::new();
    let entries = fs::read_dir("/proc").map_err(|error| LoadError::Cpu { pid: 0, why: error.to_string() })?;
    for pid in entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        // A process that ended between listing and reading is no error unless it is a root.
        if let Some(stat) = fs::read_to_string(format!("/proc/{pid}/stat")).ok().as_deref().and_then(parse_stat) {
            all.insert(pid, stat);
        }
    }
    if let Some(&pid) = roots.iter().find(|pid| !all.contains_key(pid)) {
        return Err(LoadError::Cpu { pid, why: "no such process".to_owned() });
    }
    Ok(ticks_of_tree(&all, roots) as f64 / TICKS_PER_SECOND)
}

/// Sum over the processes that are a root or descend from one; each is counted once, also when roots overlap.
fn ticks_of_tree(all: &HashMap<u32, Stat>, roots: &[u32]) -> u64 {
    all.iter()
        .filter(|&(&pid, _)| {
            let mut at = pid;
            // Bounded by the number of processes: a snapshot in which ids were reused could otherwise hold a cycle.
            for _ in 0..all.len() {
                if roots.contains(&at) {
                    return true;
                }
                match all.get(&at) {
                    Some(stat) if stat.parent != 0 => at = stat.parent,
                    _ => return false,
                }
            }
            false
        })
        .map(|(_, stat)| stat.ticks)
        .sum()
}

/// Parent and times from the text of `/proc/PID/stat`; the name may hold blanks and brackets.
fn parse_stat(text: &str) -> Option<Stat> {
    let mut fields = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    // utime, stime, cutime and cstime are fields 14 to 17; the parent was field 4.
    let mut ticks = 0_u64;
    for (index, field) in fields.skip(9).take(4).enumerate() {
        let value: i64 = field.parse().ok()?;
        ticks += u64::try_from(value).ok()?;
        if index == 3 {
            return Some(Stat { parent, ticks });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::{
        process::{Command, Stdio},
        time::{Duration, Instant},
    };

    use super::*;

    #[test]
    fn a_stat_line_with_an_awkward_name_is_understood() {
        let text = "42 (a) b (c) S 7 42 42 0 -1 4194560 100 0 0 0 11 22 3 4 20 0 5 0 1000 1 1";
        assert_eq!(parse_stat(text), Some(Stat { parent: 7, ticks: 40 }));
        assert_eq!(parse_stat("42 (a) S 7 42"), None);
    }

    #[test]
    fn descendants_count_once_and_strangers_not_at_all() {
        let all = HashMap::from([
            (1, Stat { parent: 0, ticks: 1_000 }),
            (10, Stat { parent: 1, ticks: 1 }),
            (11, Stat { parent: 10, ticks: 2 }),
            (12, Stat { parent: 11, ticks: 4 }),
            (20, Stat { parent: 1, ticks: 8 }),
        ]);
        assert_eq!(ticks_of_tree(&all, &[10]), 7);
        assert_eq!(ticks_of_tree(&all, &[10, 11]), 7);
        assert_eq!(ticks_of_tree(&all, &[10, 20]), 15);
    }

    #[test]
    fn work_of_a_thread_shows_in_the_process() {
        let pid = std::process::id();
        let before = seconds(&[pid]).unwrap();
        std::thread::spawn(move || {
            let started = Instant::now();
            while seconds(&[pid]).unwrap() < before + 0.02 {
                assert!(started.elapsed() < Duration::from_secs(20), "no CPU time was accounted");
            }
        })
        .join()
        .unwrap();
        assert!(seconds(&[pid]).unwrap() >= before + 0.02);
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        let mut child = Command::new("true").stdout(Stdio::null()).spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        assert!(matches!(seconds(&[pid]), Err(LoadError::Cpu { .. })));
    }
}
