//! Metrics of the process itself, read from `/proc` at each scrape. They are absent on systems other than Linux.

use crate::Metrics;

/// Bytes of a page. Every Linux that we build for uses 4 KiB pages in `statm`.
const PAGE_BYTES: i64 = 4096;

pub(crate) fn observe(metrics: &Metrics) {
    metrics
        .gauge_vec("waypost_build_info", "1; the label tells the version", &["version"])
        .with_label_values(&[env!("CARGO_PKG_VERSION")])
        .set(1);
    let resident = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|statm| statm.split_whitespace().nth(1)?.parse::<i64>().ok());
    if let Some(pages) = resident {
        metrics.gauge("process_resident_memory_bytes", "Memory of the process in RAM").set(pages * PAGE_BYTES);
    }
    if let Some(started) = started() {
        metrics.gauge("process_start_time_seconds", "When the process began, in seconds since 1970").set(started);
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        metrics.gauge("process_open_fds", "Open file descriptors").set(files.count() as i64);
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
