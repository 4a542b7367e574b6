//! Metrics of the process itself, read from `/proc` when somebody asks. Elsewhere than on Linux they are absent.

use crate::Metrics;

/// Bytes of a page. Every Linux that we build for uses 4 KiB pages for what `statm` counts.
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
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        metrics.gauge("process_open_fds", "Open file descriptors").set(files.count() as i64);
    }
}
