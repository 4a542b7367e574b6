//! Threads: how many do what, and their names, as `ps -T`, `top -H` and profilers show them.

use std::ffi::CString;

/// The most threads for the shards, and for replication. A create spends four or five tenths of its time on the processor in an HTTP worker, two or three in
/// replication, and less than one in its shard, so they need fewer than there are workers.
const STORE_THREADS_MAX: usize = 8;

/// The threads that the shards are spread over, of a node with so many HTTP workers; none if the node has no shards.
pub(crate) fn for_shards(workers: usize, shards: usize) -> usize {
    workers.clamp(1, STORE_THREADS_MAX).min(shards)
}

/// The threads of replication, of a node with so many HTTP workers. At least two: one may be held up by applying what was replicated, and heartbeats
/// must go on.
pub(crate) fn for_replication(workers: usize) -> usize {
    workers.clamp(2, STORE_THREADS_MAX)
}

/// The kernel keeps so many bytes of a name.
const NAME_BYTES_MAX: usize = 15;

/// Names the current thread. actix gives all its threads the same name, so each is named from inside when its work begins.
pub(crate) fn name_current(name: &str) {
    debug_assert!(name.len() <= NAME_BYTES_MAX, "the kernel cuts off \"{name}\"");
    let named = CString::new(name).map_err(std::io::Error::from).and_then(|name| Ok(nix::sys::prctl::set_name(&name)?));
    if let Err(error) = named {
        tracing::debug!(name, %error, "a thread was not named");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_grow_with_the_workers_within_bounds() {
        let counts = |workers| (for_shards(workers, 16), for_replication(workers));
        assert_eq!([1, 2, 4, 8, 256].map(counts), [(1, 2), (2, 2), (4, 4), (8, 8), (8, 8)]);
        assert_eq!([3, 0].map(|shards| for_shards(8, shards)), [3, 0], "a thread without a shard");
    }
}
