//! How much memory the process has taken, and how much it can have: its control group's, or the machine's.
//!
//! What is taken is the anonymous memory. Pages of files, such as those of the click journals, do not count: the kernel takes them back when it
//! needs memory.

use std::fs;
use std::path::Path;

use crate::process::{kibibytes, memory};

/// A limit above this is none: version 1 of control groups writes a huge number for "no limit".
const LIMIT_MAX: u64 = 1 << 60;

/// The anonymous memory of the process, in bytes; `None` = the system does not say.
pub fn memory_taken() -> Option<u64> {
    memory("RssAnon:")
}

/// The memory that the process can have, in bytes: the lowest limit of its control groups, or the memory of the machine; `None` = unknown.
pub fn memory_limit() -> Option<u64> {
    limit(Path::new("/proc"), Path::new("/sys/fs/cgroup"))
}

fn limit(proc: &Path, cgroup: &Path) -> Option<u64> {
    let groups = fs::read_to_string(proc.join("self/cgroup")).unwrap_or_default();
    let of_groups = groups.lines().filter_map(|line| {
        // number : controllers : path. Version 2 has the number 0 and no controllers.
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let path = path.trim_start_matches('/');
        match controllers {
            "" => lowest(cgroup, path, &["memory.max", "memory.high"]),
            _ if controllers.split(',').any(|name| name == "memory") => {
                lowest(&cgroup.join("memory"), path, &["memory.limit_in_bytes"])
            }
            _ => None,
        }
    });
    of_groups.chain(machine(proc)).min()
}

/// The lowest of the limits in these files, of a group and of those above it. A container may see its own group only, as the topmost one.
fn lowest(root: &Path, path: &str, files: &[&str]) -> Option<u64> {
    let groups = Path::new(path).ancestors().map(|group| root.join(group));
    let limits = groups.flat_map(|group| files.iter().map(move |file| group.join(file)));
    limits
        .filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok())
        .filter(|limit| *limit < LIMIT_MAX)
        .min()
}

/// The memory of the machine.
fn machine(proc: &Path) -> Option<u64> {
    kibibytes(&fs::read_to_string(proc.join("meminfo")).ok()?, "MemTotal:")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file system with these files.
    fn system(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    fn limit_of(files: &[(&str, &str)]) -> Option<u64> {
        let dir = system(files);
        limit(&dir.path().join("proc"), &dir.path().join("cgroup"))
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:       24683872 kB\nMemFree:        1000 kB\n");
    const MACHINE: u64 = 24_683_872 * 1024;

    #[test]
    fn memory_of_files_does_not_count_as_taken() {
        let status = "VmRSS:\t   20000 kB\nRssAnon:\t   15200 kB\nRssFile:\t    4800 kB\n";
        assert_eq!(kibibytes(status, "RssAnon:"), Some(15_200 * 1024));
        assert_eq!((kibibytes("RssAnon:\t many kB\n", "RssAnon:"), kibibytes("", "RssAnon:")), (None, None));
        assert!(memory_taken().is_some_and(|bytes| bytes > 0));
    }

    #[test]
    fn without_control_groups_the_limit_is_the_memory_of_the_machine() {
        assert_eq!(limit_of(&[MEMINFO]), Some(MACHINE));
        assert_eq!(limit_of(&[]), None);
        assert!(memory_limit().is_some_and(|bytes| bytes > 0));
    }

    #[test]
    fn the_lowest_limit_of_the_group_and_of_those_above_it_counts() {
        let groups = ("proc/self/cgroup", "0::/system.slice/waypost.service\n");
        let above = ("cgroup/system.slice/memory.max", "2147483648\n");
        let unlimited = ("cgroup/system.slice/waypost.service/memory.max", "max\n");
        assert_eq!(limit_of(&[MEMINFO, groups, unlimited]), Some(MACHINE));
        assert_eq!(limit_of(&[MEMINFO, groups, unlimited, above]), Some(2 << 30));
        let own = ("cgroup/system.slice/waypost.service/memory.high", "1073741824\n");
        assert_eq!(limit_of(&[MEMINFO, groups, unlimited, above, own]), Some(1 << 30));
    }

    #[test]
    fn a_container_finds_its_limit_at_the_top_of_what_it_sees() {
        let own = ("cgroup/memory.max", "536870912");
        assert_eq!(limit_of(&[MEMINFO, ("proc/self/cgroup", "0::/"), own]), Some(512 << 20));
        assert_eq!(limit_of(&[MEMINFO, ("proc/self/cgroup", "0::/docker/0123"), own]), Some(512 << 20));
    }

    #[test]
    fn limits_of_version_1_are_read_and_its_number_for_no_limit_is_none() {
        let groups = ("proc/self/cgroup", "5:cpu,cpuacct:/a\n4:memory:/a/b\n1:name=systemd:/a\n");
        let file = "cgroup/memory/a/b/memory.limit_in_bytes";
        assert_eq!(limit_of(&[MEMINFO, groups, (file, "268435456\n")]), Some(256 << 20));
        assert_eq!(limit_of(&[MEMINFO, groups, (file, "9223372036854771712\n")]), Some(MACHINE));
    }
}
