//! The limits of this floor, each with its reason, and what one owes to another. How often something is looked at is no limit: such
//! intervals stand where they are used. The limits of an actor are in its `spec`, those of a crate in the crate.

use std::ops::RangeInclusive;
use std::time::Duration;

use waypost_consensus::{ANSWER_MAX, FRESH};
use waypost_link_store::SEEN_MAX;
use waypost_protocol::command::NODES_MAX;
use waypost_protocol::target::TARGET_BYTES_MAX;

/// The values that are possible.
pub type Range = RangeInclusive<u64>;

// What cluster.toml may ask for. The lower ends keep a node usable, the upper ends catch a wrong unit.

/// Shards of a new cluster: each is a group with a log of its own on every node that holds it.
pub const SHARDS: Range = 1..=256;
/// Copies of a shard.
pub const REPLICAS: Range = 1..=7;
/// Groups whose members change at a time.
pub const MOVES: Range = 1..=64;
/// How old an answer may be, in milliseconds.
pub const STALE_AFTER_MS: Range = 1..=HOUR_MS;
/// HTTP workers; 0 = one for each core.
pub const WORKERS: Range = 0..=256;
/// Bytes of a request body.
pub const BODY_BYTES: Range = 1 << 10..=16 << 20;
/// Bytes of a URL.
pub const URL_BYTES: Range = 64..=TARGET_BYTES_MAX as u64;
/// Open connections of a worker, or of a client address.
pub const CONNECTIONS: Range = 1..=1_000_000;
/// Seconds that an idle connection stays open, or that open requests may take to end.
pub const HTTP_SECONDS: Range = 1..=3600;
/// Milliseconds of the parts of a request.
pub const HTTP_MS: Range = 100..=HOUR_MS;
/// Bytes of the link cache.
pub const CACHE_BYTES: Range = 1 << 20..=1 << 45;
/// Milliseconds between two rounds of a background task.
pub const INTERVAL_MS: Range = 10..=HOUR_MS;
/// Bytes of clicks that wait beside the journals.
pub const SPILL_BYTES: Range = 0..=1 << 40;
/// Clicks in the journal of a worker.
pub const JOURNAL_RECORDS: Range = 1000..=1 << 30;
/// Bytes of memory for pages of the database.
pub const STORE_CACHE_BYTES: Range = 8 << 20..=1 << 45;
/// Changed bytes at which a checkpoint is due.
pub const CHECKPOINT_BYTES: Range = 64 << 10..=64 << 20;
/// Bytes of log behind a checkpoint that each group of a cluster keeps.
pub const LOG_KEPT_BYTES: Range = 0..=1 << 30;
/// Free bytes below which a node is read-only.
pub const FREE_SPACE: Range = 1 << 20..=1 << 50;
/// Bytes of memory that a node may take: an idle one has some tens of megabytes.
pub const MEMORY: Range = 16 << 20..=1 << 45;
/// Microseconds of wait before a sync.
pub const COMMIT_DELAY_US: Range = 0..=1_000_000;
/// Requests that a shard holds.
pub const SHARD_INFLIGHT: Range = 1..=4096;
/// Questions about statistics that a shard holds.
pub const SHARD_STATISTICS: Range = 1..=1024;
/// Unknown codes that a client may ask for in a second; 0 = no limit.
pub const UNKNOWN_CODES: Range = 0..=1_000_000;

const HOUR_MS: u64 = 3_600_000;

const _: () = assert!(*BODY_BYTES.end() > *URL_BYTES.end(), "a body can hold the longest URL");
const _: () = assert!(*STORE_CACHE_BYTES.end() <= *FREE_SPACE.end());

// The cluster.

/// The most voters of group 0: each of them takes part in every lease of codes.
pub const CLUSTER_VOTERS_MAX: usize = 5;
/// The number of groups in one question.
pub const GROUPS_ASKED_MAX: usize = 1024;
/// How long one group may take to answer where its log is.
pub const GROUP_ANSWER_MAX: Duration = Duration::from_millis(100);
/// Bytes of each text in what a node tells of itself: a host name has at most 253 characters.
pub const NODE_TEXT_BYTES_MAX: usize = 300;
/// How long a node may take to say what it is, while a new one looks for its cluster.
pub const PROBE_MAX: Duration = Duration::from_secs(2);
/// How long the cluster may take to admit a new node: a command of group 0, perhaps through another node.
pub const JOIN_MAX: Duration = Duration::from_secs(6);
/// How long the cluster may take to note what changed of a node.
pub const NOTE_NODE_MAX: Duration = Duration::from_secs(5);
/// How long a node may take to tell of itself before it counts as down.
pub const STATUS_MAX: Duration = Duration::from_secs(1);
/// How long a node may take to report its time. A slow answer says little about now.
pub const CLOCK_ANSWER_MAX: Duration = Duration::from_secs(1);
/// How long a leader may take to hand over its group.
pub const HAND_OVER_MAX: Duration = Duration::from_secs(3);
/// How long a leader that is asked to hand over may take to answer.
pub const HAND_OVER_ANSWER_MAX: Duration = Duration::from_secs(4);
/// The number of chunks of a backup that wait for a slow reader.
pub const BACKUP_CHUNKS_WAITING: usize = 4;
/// How long the reader of a backup may take for a chunk. A leader closes its file after that time as well.
pub const BACKUP_READER_MAX: Duration = Duration::from_secs(60);

const _: () =
    assert!((*SHARDS.end() as usize) < GROUPS_ASKED_MAX, "one message asks for all groups, group 0 among them");
const _: () =
    assert!(2 * GROUP_ANSWER_MAX.as_millis() < ANSWER_MAX.as_millis(), "the asking node waits for all groups");
const _: () = assert!(HAND_OVER_MAX.as_millis() < HAND_OVER_ANSWER_MAX.as_millis());
const _: () = assert!(JOIN_MAX.as_millis() >= NOTE_NODE_MAX.as_millis());
const _: () = assert!(CLUSTER_VOTERS_MAX <= NODES_MAX);

// Lists.

/// Lists that a node makes for its clients at the same time: each holds some pages of links, a few megabytes at most.
pub const LISTS_AT_ONCE: usize = 32;
/// How long a node may take to answer for its shards, before another one is asked: the time for which it waits for a change that the client has seen, and
/// the search.
pub const LIST_ANSWER_MAX: Duration = Duration::from_millis(2_500);
/// How often a page of which links are gone is filled up.
pub const LIST_ROUNDS_MAX: usize = 4;
/// How long before the end of its request a list is answered with what is there.
pub const LIST_MARGIN: Duration = Duration::from_millis(500);

const _: () = assert!(LIST_ANSWER_MAX.as_millis() > SEEN_MAX.as_millis());

// A node that leaves the cluster. The parts follow each other.

/// How long the other nodes may take to be fit to go on without it.
pub const SETTLE_MAX: Duration = Duration::from_secs(4);
/// How long its open requests may take to end.
pub const LEAVE_REQUESTS_MAX: Duration = Duration::from_secs(4);
/// How long its clicks may take to reach their shards.
pub const LEAVE_CLICKS_MAX: Duration = Duration::from_secs(10);
/// How long the whole may take, for the node that asks for it.
pub const LEAVE_MAX: Duration = Duration::from_secs(22);
/// How often a decision is tried again when the members have changed meanwhile.
pub const LEAVE_TRIES_MAX: u32 = 5;
/// A voter has nearly everything when it has all but so many of its leader's entries: those that are under way while all are asked.
pub const ENTRIES_BEHIND_MAX: u64 = 1000;

const _: () = assert!(
    LEAVE_MAX.as_secs() >= 2 * SETTLE_MAX.as_secs() + LEAVE_REQUESTS_MAX.as_secs() + LEAVE_CLICKS_MAX.as_secs(),
    "it is looked twice whether the others can go on"
);

// A node that starts or stops.

/// How long the cluster may take to note the admin key.
pub const NOTE_KEY_MAX: Duration = Duration::from_secs(60);
/// How long the cluster may take to know of a node that starts, before it says that it is ready all the same.
pub const KNOWN_MAX: Duration = Duration::from_secs(3);
/// How long a starting node waits for its replicas to catch up before it says that it is there. `/health/ready` goes on to say no.
pub const CATCH_UP_MAX: Duration = Duration::from_secs(60);
/// How long the last clicks may take to reach the shards, and requests that are still in work to end, when the node stops.
pub const FLUSH_MAX: Duration = Duration::from_secs(20);
/// The shortest bound on how old an answer may be: what a replica needs to be told of, and a quarter of a second for a node without one.
pub const BOUND_MIN: Duration = Duration::from_secs(1);
/// With less free space than this nothing is opened: the database does not survive a completely full disk.
pub const OPEN_FREE_BYTES_MIN: u64 = 1 << 20;

const _: () = assert!(BOUND_MIN.as_millis() >= FRESH.as_millis() + 250, "a replica and a node without one");
const _: () =
    assert!(OPEN_FREE_BYTES_MIN <= *FREE_SPACE.start(), "a node that opens can become read-only before it fails");

// Passwords of links.

/// Passwords that are hashed or checked at the same time: each takes a core and 19 MiB for some 20 ms, and redirects need the cores too.
pub const PASSWORDS_AT_ONCE: usize = 2;
/// Those of them that are hashed for links that are created or changed: fewer, so that many of these in bulk leave visitors at least every other turn.
pub const HASHES_AT_ONCE: usize = 1;
/// Those of visitors that wait, and as many others: a second's work, after which nobody waits gladly. A bulk request makes as many at the same time.
pub const PASSWORDS_WAITING_MAX: usize = 64;
/// Passwords of a client that are checked at once, right ones, too: a class behind one address.
pub const CHECKS_OF_CLIENT: u32 = 60;
/// How often one more is checked after that: a twentieth of a core for each client.
pub const CHECK_OF_CLIENT_EVERY: Duration = Duration::from_millis(500);
/// Wrong passwords of a client at once: typing errors, and those of others behind the same address.
pub const GUESSES_OF_CLIENT: u32 = 10;
/// How often a client may be wrong after that.
pub const GUESS_OF_CLIENT_EVERY: Duration = Duration::from_secs(10);
/// Wrong passwords of all clients of a link at once, on one node. Whoever uses them up locks others out for a while, so there are more.
pub const GUESSES_OF_LINK: u32 = 60;
/// How often all clients of a link may be wrong after that: 14,400 times a day.
pub const GUESS_OF_LINK_EVERY: Duration = Duration::from_secs(6);

const _: () = assert!(HASHES_AT_ONCE < PASSWORDS_AT_ONCE, "a visitor has a turn while passwords are hashed");
const _: () = assert!(GUESSES_OF_CLIENT < CHECKS_OF_CLIENT, "wrong passwords are refused sooner than right ones");

// Sessions of the dashboard.

/// Seconds after which a session ends if it is not used, and in any case.
pub const SESSION_SECONDS: Range = 60..=366 * 24 * 3600;
/// How often the use of a session is noted, and its token replaced, at most: each is a command of group 0. A session that ends sooner is noted four times before.
pub const SESSION_REFRESH: Duration = Duration::from_secs(10 * 60);
/// How long the token before the current one is accepted: for requests that were sent with it, and took as long as they may.
pub const PREVIOUS_TOKEN_MAX: Duration = Duration::from_secs(120);
/// How long a request waits for the cluster to note that its session is used; it is answered in any case.
pub const SESSION_NOTE_MAX: Duration = Duration::from_secs(1);
/// How long a request with an unknown token waits until this node has heard of the session: a sign-in through another node is a heartbeat away.
pub const SESSION_HEARD_MAX: Duration = Duration::from_millis(500);
/// Requests that wait for that at the same time: anybody can send unknown tokens.
pub const SESSION_WAITERS_MAX: usize = 64;
/// How long a one-time link can be used: as long as it takes to walk to a browser.
pub const ONE_TIME_LINK_MAX: Duration = Duration::from_secs(600);
/// One-time links that can be used at the same time.
pub const ONE_TIME_LINKS: usize = 8;
/// Wrong keys of a client at once: typing errors, and those of others behind the same address.
pub const SIGN_INS_OF_CLIENT: u32 = 10;
/// How often a client may be wrong after that.
pub const SIGN_IN_OF_CLIENT_EVERY: Duration = Duration::from_secs(10);
/// Wrong keys of all clients at once, on one node. Whoever uses them up locks others out for a while, so there are more; a key has at least 22 characters.
pub const SIGN_INS_OF_ALL: u32 = 600;
/// How often all clients may be wrong after that.
pub const SIGN_IN_OF_ALL_EVERY: Duration = Duration::from_millis(100);

const _: () =
    assert!(PREVIOUS_TOKEN_MAX.as_secs() < SESSION_REFRESH.as_secs(), "one token before the current one is enough");
const _: () = assert!(SIGN_INS_OF_CLIENT < SIGN_INS_OF_ALL);
// Deleted links that can come back.

/// How long a node keeps a deleted link, in milliseconds: who has deleted the wrong one notices soon.
pub const DELETED_MS: u64 = 10 * 60_000;
/// Deleted links that a node keeps: they are deleted one by one, by hand.
pub const DELETED_LINKS_MAX: usize = 200;
/// The memory of these, in bytes: a link may have 20 KiB, and few have more than one.
pub const DELETED_BYTES_MAX: usize = 1 << 20;

// The dashboard.

/// Bytes of a form of the dashboard, unless `[http] body_max_bytes` is more: all texts that a link may have, of which a browser sends
/// most bytes as three characters, and the names of some thousands of fields.
pub const FORM_BYTES_MAX: usize = 512 << 10;

// Links with a limit of visits.

/// Visits of such links by a client at once, each of which the leader of the shard has to count: those of many people behind one address, too.
pub const LIMITED_VISITS_OF_CLIENT: u32 = 300;
/// How often one more is counted after that: a leader on a slow disk counts some thousands in a second.
pub const LIMITED_VISIT_OF_CLIENT_EVERY: Duration = Duration::from_millis(50);

// Files and connections that the system lets the process have.

/// Connections to the admin listener, which is for scrapes and for people.
pub const ADMIN_CONNECTIONS_MAX: usize = 256;
/// Files of the database, snapshots, a backup, the logs, and the ends of queues between threads.
pub const STORE_FILES: u64 = 128;
/// Files of each worker: its click journals, its queue and its timer.
pub const WORKER_FILES: u64 = 16;
/// Connections of other nodes whose handshake is in progress: as many as the peer port admits.
pub const HANDSHAKE_FILES: u64 = 128;
/// Connections of each other node: two each way, and the same again while they are made anew.
pub const PEER_FILES: u64 = 8;
/// Fewer connections for each worker than this can only be a mistake.
pub const CONNECTIONS_MIN: u64 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_files_are_kept_for_handshakes_as_the_peer_port_admits() {
        assert_eq!(HANDSHAKE_FILES, waypost_transport::SessionLimits::default().handshakes_max as u64);
    }
}
