//! Metrics of the process itself, read from `/proc` at each scrape. They are absent on systems other than Linux.

/// Bytes of a page. Every Linux that we build for uses 4 KiB pages in `statm`.
const PAGE_BYTES: i64 = 4096;

/// What can be read of the process; `None` = the system does not say.
pub(crate) struct Process {
    pub(crate) resident_bytes: Option<i64>,
    /// When it began, in seconds since 1970.
    pub(crate) started: Option<i64>,
    pub(crate) open_files: Option<i64>,
}

impl Process {
    pub(crate) fn read() -> Self {
        let statm = std::fs::read_to_string("/proc/self/statm").ok();
        let pages = statm.and_then(|statm| statm.split_whitespace().nth(1)?.parse::<i64>().ok());
        Self {
            resident_bytes: pages.map(|pages| pages * PAGE_BYTES),
            started: started(),
            open_files: std::fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as i64),
        }
    }
}

/// The start time of the process: `/proc/self/stat` has it in ticks since the boot (a hundred a second on every Linux), `/proc/stat` the boot.
fn started() -> Option<i64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let ticks: i64 = stat.rsplit(')').next()?.split_whitespace().nth(19)?.parse().ok()?;
    let system = std::fs::read_to_string("/proc/stat").ok()?;
    let boot = system.lines().find_map(|line| line.strip_prefix("btime "))?;
    Some(boot.trim().parse::<i64>().ok()? + ticks / 100)
}
