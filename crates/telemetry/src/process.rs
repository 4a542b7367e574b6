//! Metrics of the process itself, read from `/proc` at each scrape. They are absent on systems other than Linux.

/// What can be read of the process; `None` = the system does not say.
pub(crate) struct Process {
    pub(crate) resident_bytes: Option<i64>,
    /// When it began, in seconds since 1970.
    pub(crate) started: Option<i64>,
    pub(crate) open_files: Option<i64>,
}

impl Process {
    pub(crate) fn read() -> Self {
        Self {
            resident_bytes: memory("VmRSS:").and_then(|bytes| bytes.try_into().ok()),
            started: started(),
            open_files: std::fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as i64),
        }
    }
}

/// A figure of `/proc/self/status`, in bytes. It has KiB, whatever the size of a page is: arm64 has kernels with 4, 16 and 64 KiB.
pub(crate) fn memory(name: &str) -> Option<u64> {
    kibibytes(&std::fs::read_to_string("/proc/self/status").ok()?, name)
}

/// The figure with a name in the form of `/proc/self/status` and `/proc/meminfo`, in bytes.
pub(crate) fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let figure = text.lines().find_map(|line| line.strip_prefix(name))?;
    figure.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The start time of the process: `/proc/self/stat` has it in ticks since the boot (a hundred a second on every Linux), `/proc/stat` the boot.
fn started() -> Option<i64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let ticks: i64 = stat.rsplit(')').next()?.split_whitespace().nth(19)?.parse().ok()?;
    let system = std::fs::read_to_string("/proc/stat").ok()?;
    let boot = system.lines().find_map(|line| line.strip_prefix("btime "))?;
    Some(boot.trim().parse::<i64>().ok()? + ticks / 100)
}
