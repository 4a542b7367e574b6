//! The limit of open files and connections, and how it is divided: some are reserved for other nodes and the store,
//! and the rest is for visitors.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::error::NodeError;
use crate::config::Config;
use crate::limits::{ADMIN_CONNECTIONS_MAX, CONNECTIONS_MIN, HANDSHAKE_FILES, PEER_FILES, STORE_FILES, WORKER_FILES};

/// The descriptors that are reserved for other purposes than connections of visitors.
fn reserve(workers: u64, nodes: u64) -> u64 {
    STORE_FILES + WORKER_FILES * workers + ADMIN_CONNECTIONS_MAX as u64 + HANDSHAKE_FILES + PEER_FILES * nodes.max(8)
}

/// The number of connections for each worker with a limit of `limit` open files; `None` if there are too few to serve anybody.
fn fit(limit: u64, workers: u64, nodes: u64, wanted: u64) -> Option<u64> {
    let fits = limit.saturating_sub(reserve(workers, nodes)) / workers.max(1);
    (fits >= CONNECTIONS_MIN.min(wanted)).then_some(fits.min(wanted))
}

/// Raises the limit of open files as far as possible. Returns the number of connections for each worker.
pub(super) fn connections(config: &Config) -> Result<usize, NodeError> {
    let refused = |error: nix::Error| NodeError::Io(error.into());
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(refused)?;
    let limit = if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft };
    let (workers, nodes, wanted) = (config.workers as u64, config.nodes.len() as u64, config.connections_max as u64);
    let needed = reserve(workers, nodes) + workers * wanted;
    let Some(fits) = fit(limit, workers, nodes, wanted) else {
        return Err(NodeError::Unsupported(format!(
            "the system lets the process open {limit} files, and {} of these are kept for the store, other nodes and the admin \
             listener, so there are too few for visitors; raise the limit (`ulimit -n {needed}`, LimitNOFILE= of the systemd unit), \
             or lower [http] workers",
            reserve(workers, nodes)
        )));
    };
    if fits < wanted {
        tracing::warn!(
            limit,
            needed,
            connections_max = fits,
            "the system lets the process open fewer files than [http] connections_max asks for, so it is lowered; raise the limit \
             (`ulimit -n`, LimitNOFILE= of the systemd unit), or lower connections_max"
        );
    }
    Ok(fits as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_lowered_and_the_reserve_stays() {
        assert_eq!(fit(1 << 20, 2, 1, 20_000), Some(20_000));
        let lowered = fit(4096, 2, 3, 20_000).unwrap();
        assert!((1000..2000).contains(&lowered) && reserve(2, 3) + 2 * lowered <= 4096, "{lowered}");
        assert!(reserve(2, 200) > reserve(2, 3) + 1000, "a large cluster needs more for its nodes");
    }

    #[test]
    fn a_limit_with_no_room_for_visitors_is_refused_and_a_small_wish_is_not() {
        assert_eq!(fit(256, 2, 1, 20_000), None);
        assert_eq!(fit(reserve(1, 1) + 4, 1, 1, 4), Some(4));
    }
}
