//! The limits of the connections between nodes, each with its reason, and what one owes to another.

use std::time::Duration;

use waypost_protocol::command::NODES_MAX;

// What a peer may send.

/// The longest message of a handshake, which a stranger can send.
pub(crate) const MESSAGE_BYTES_MAX: usize = 1024;
/// The longest frame: it bounds what a peer can make this node allocate. Log entries are sent a mebibyte at a time.
pub const FRAME_BYTES_MAX: usize = 8 << 20;

const _: () = assert!(MESSAGE_BYTES_MAX < FRAME_BYTES_MAX);

// A connection to a peer.

/// Requests that may wait for a link to write them.
pub(crate) const QUEUE_MAX: usize = 1024;
/// How long a connection, with its handshake, may take to come up.
pub(crate) const CONNECT_MAX: Duration = Duration::from_secs(2);
/// The pause after the first failure; it doubles with each further one.
pub(crate) const PAUSE_FIRST: Duration = Duration::from_millis(50);
/// The longest pause: a node that comes back is found within this time.
pub(crate) const PAUSE_MAX: Duration = Duration::from_secs(1);
/// A peer that was silent for this long gets a ping.
pub(crate) const PING_AFTER: Duration = Duration::from_secs(1);
/// A peer that was silent for this long counts as gone, and the connection is closed.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(5);

// Connections from peers.

/// Two connections for each node that a cluster may have, and some spare ones for single requests and reconnects.
const SESSIONS_MAX: usize = 640;
/// The number of different refusals that are logged in `session::TELL_AGAIN`. A reason contains the name that the peer stated, so a stranger can invent more.
pub(crate) const TOLD_MAX: usize = 16;

const _: () = assert!(SESSIONS_MAX >= 2 * NODES_MAX + 64);
const _: () = assert!(PING_AFTER.as_millis() < SILENCE_MAX.as_millis(), "a peer that lives answers a ping in time");

/// The bounds of the peer port.
#[derive(Debug, Clone, Copy)]
pub struct SessionLimits {
    /// Open connections of nodes. A cluster needs two for each other node.
    pub sessions_max: usize,
    /// Handshakes in progress, whose peers are not known yet.
    pub handshakes_max: usize,
    /// Handshakes in progress from one address.
    pub handshakes_per_address_max: usize,
    /// Requests of one connection that may be in progress.
    pub requests_max: usize,
    /// How long a handshake may take.
    pub handshake_max: Duration,
    /// How long a connection may be silent. Peers ping every second.
    pub silence_max: Duration,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            sessions_max: SESSIONS_MAX,
            handshakes_max: 128,
            handshakes_per_address_max: 32,
            requests_max: 4096,
            handshake_max: Duration::from_secs(5),
            silence_max: Duration::from_secs(15),
        }
    }
}
