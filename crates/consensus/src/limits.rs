//! The limits of replication, each with its reason, and what one owes to another. Pauses between two tries stand where they are used.

use std::time::Duration;

use waypost_store::VALUE_BYTES_MAX;

// Commands and entries.

/// Commands that may wait for a place in an entry. Above the admission bound of the actor in front of it.
pub(crate) const QUEUE_MAX: usize = 4096;
/// Commands in one entry: bounds how long one entry keeps the state locked while it is applied.
pub(crate) const ENTRY_COMMANDS_MAX: usize = 128;
/// Bytes of commands in one entry, unless it is a single one. Small entries are durable, and on their way to the followers, sooner.
pub(crate) const ENTRY_BYTES_MAX: usize = 12 * 1024;
/// Bytes of the largest single command.
pub(crate) const COMMAND_BYTES_MAX: usize = 20 * 1024;
/// What is stored with the commands of an entry takes no more bytes: term and node, kind and level, time and number of the commands,
/// version and checksum.
pub(crate) const ENTRY_HEAD_BYTES_MAX: usize = 64;
/// Entries of a group on their way at once: the next one is written while the last one is being made durable.
pub(crate) const IN_FLIGHT_MAX: usize = 4;

const _: () = assert!(ENTRY_BYTES_MAX < COMMAND_BYTES_MAX);
const _: () = assert!(COMMAND_BYTES_MAX + ENTRY_HEAD_BYTES_MAX <= VALUE_BYTES_MAX, "the largest command fits a record");

// The log in memory.

/// The number of decoded entries that are kept until they are applied: more than are in flight, and far fewer than one checkpoint covers.
pub(crate) const RECENT_MAX: usize = 256;
/// Entries read from the store at once while replaying, which bounds the memory of a restart.
pub(crate) const READ_ENTRIES: u64 = 256;
/// Bytes read from the store at once.
pub(crate) const READ_BYTES: usize = 4 << 20;

const _: () = assert!(RECENT_MAX > IN_FLIGHT_MAX, "what is in flight is applied without a read");
const _: () = assert!(READ_BYTES >= VALUE_BYTES_MAX, "a read returns at least one entry");

// Checkpoints, and the log that is kept behind them.

/// A checkpoint is due when the log since the last one has this many times the bytes at which changes make it due. This bounds the
/// replay after a crash when commands change the same records again and again, as clicks do.
pub(crate) const LOG_PER_CHECKPOINT: u64 = 4;
/// While an export runs, changes wait in memory for their checkpoint. At this multiple of the usual amount, `apply` waits for
/// the export too: it bounds the memory, and the log to replay after a crash.
pub(crate) const WAITING_PER_CHECKPOINT_MAX: u64 = 16;
/// The log between two marks is at least the kept part divided by this: it bounds the number of marks.
pub(crate) const MARKS_PER_KEPT: u64 = 16;
/// How long a replica may take at least, after it has installed a snapshot, to receive the entries that were added meanwhile. If the snapshot
/// took longer, because the machine or the network is slow, the replica may take as long for them.
pub(crate) const CATCH_UP_MIN: Duration = Duration::from_secs(5);
/// The most log that is kept for a replica that is being sent a snapshot, in lengths of that snapshot: entries are longer than what they leave
/// in the state.
pub(crate) const SNAPSHOT_LENGTHS: u64 = 2;

// The lease, and how fresh a replica is.

/// How long a leader leads after a request that a quorum has answered, and a follower believes in it after it has heard from it. openraft
/// refuses writes after the same time: it takes its longest election timeout as the lease.
pub(crate) const LEASE: Duration = Duration::from_millis(900);
/// Replicas that were opened at the same time begin to stand for election within so many milliseconds.
pub(crate) const ELECT_SPREAD_MS: u64 = 400;
/// How long a replica may answer by itself after a moment if it shows everything that was acknowledged before that moment.
///
/// Together with the time for which a node without a replica keeps an answer (at most a quarter of a second by default), this gives the bound of one second.
pub const FRESH: Duration = Duration::from_millis(750);
/// The pause between two rounds of questions: one small request to each node that leads a shard of which this node has a replica.
pub(crate) const ASK_EVERY: Duration = Duration::from_millis(150);
/// How long a node may take to answer such a question.
pub const ANSWER_MAX: Duration = Duration::from_millis(250);
/// The most that one failed question counts for, pause included: it may have waited for a processor, and not for its answer.
pub(crate) const QUESTION_MAX: Duration = Duration::from_millis(400);
/// If a question took this long, the process was suspended or nearly so: its connections have to come up again first. A question takes
/// `QUESTION_MAX` at most, and the rest is time without a processor.
pub(crate) const STOPPED_AFTER: Duration = Duration::from_secs(1);
/// If a replica has not applied its leader's commits after this long, it lags: others answer better.
pub(crate) const LAGS_AFTER: Duration = Duration::from_millis(300);
/// A replica counts as leaderless if its leader has not answered for this long, although it was asked again and again, and is not heard
/// otherwise. A killed leader counts as heard until its lease ends, so redirects wait a moment, but not longer, while it is replaced.
pub(crate) const LEADERLESS_AFTER: Duration = Duration::from_millis(600);
/// The same after the process was started or suspended: its connections come up first.
pub(crate) const LEADERLESS_AFTER_START: Duration = Duration::from_secs(3);
/// How long the answer of a leaderless replica may be cached: longer than a round of questions takes.
pub(crate) const LEADERLESS_KEEP: Duration = Duration::from_millis(600);
/// A replica that knows of a later state than its own is not the best there is, as long as it has heard of that state within this time:
/// another replica answers, or a leader is elected that brings it. Afterwards that state may be lost, or unreachable.
pub(crate) const AHEAD_COUNTS_FOR: Duration = Duration::from_secs(3);
/// How long an answer may wait until it is known whether the replica is fresh. By then the replica is known to lag, or to be leaderless.
pub(crate) const SURE_MAX: Duration = Duration::from_secs(1);
/// The most answers of the leader that wait until the replica has applied their commits.
pub(crate) const ANSWERS_WAITING_MAX: usize = 16;
/// How long a voter may be silent before its replica does not count: longer than a restart of its process takes.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(10);

const fn ms(time: Duration) -> u128 {
    time.as_millis()
}

const _: () = assert!(ms(ASK_EVERY) + ms(ANSWER_MAX) <= ms(QUESTION_MAX), "a failed question counts whole");
const _: () = assert!(ms(QUESTION_MAX) < ms(STOPPED_AFTER));
const _: () = assert!(ms(QUESTION_MAX) < ms(FRESH), "an answer is still fresh when the next one arrives");
const _: () =
    assert!(ms(QUESTION_MAX) < ms(LEADERLESS_KEEP), "the next round ends before the answer of the last one does");
const _: () =
    assert!(ms(LEADERLESS_AFTER) < ms(SURE_MAX) && ms(LAGS_AFTER) < ms(SURE_MAX), "the wait ends with an answer");
const _: () = assert!(ms(LEADERLESS_AFTER) < ms(LEADERLESS_AFTER_START));
const _: () = assert!(ms(LEASE) < ms(AHEAD_COUNTS_FOR), "a leader can be elected meanwhile");
const _: () = assert!(ms(LEASE) < ms(SILENCE_MAX));

// Opening and closing a group.

/// How long a start may take to bring a group back to its acknowledged state.
pub(crate) const RECOVERY_MAX: Duration = Duration::from_secs(300);
/// How long a member may take to hear from the leader of group 0 what cluster it belongs to.
pub(crate) const JOIN_MAX: Duration = Duration::from_secs(300);
/// How long a read that may wait is behind what waits to be applied.
pub(crate) const TURN_MAX: Duration = Duration::from_millis(100);
/// How long a stop waits for a running export before it does without a last checkpoint.
pub(crate) const CLOSE_MAX: Duration = Duration::from_secs(5);

// Changes of members.

/// How long a new member may take to receive the state.
pub(crate) const CATCH_UP_MAX: Duration = Duration::from_secs(600);
/// How long a change of the voters may take.
pub(crate) const CHANGE_MAX: Duration = Duration::from_secs(30);
/// How long it may take until another voter leads in place of one that leaves.
pub(crate) const HAND_OVER_MAX: Duration = Duration::from_secs(3);

const _: () = assert!(ms(LEASE) < ms(HAND_OVER_MAX), "the old leader's lease ends before it is given up");
const _: () = assert!(ms(HAND_OVER_MAX) < ms(CHANGE_MAX));

// Snapshots.

/// A piece of a snapshot: small enough that other calls on the lane hardly wait, large enough to be quick.
pub(crate) const SNAPSHOT_PIECE_BYTES: usize = 512 * 1024;
/// How long a peer may take to store a piece.
pub(crate) const SNAPSHOT_PIECE_MAX: Duration = Duration::from_secs(10);
/// How often a piece is sent again before the transfer is given up until openraft begins anew (and goes on where it was).
pub(crate) const SNAPSHOT_PIECE_TRIES: u32 = 120;
/// How long a peer may take to install a whole snapshot.
pub(crate) const INSTALL_MAX: Duration = Duration::from_secs(300);
/// No snapshot of one shard is longer: what a peer can make this node store before it looks at it.
pub(crate) const SNAPSHOT_BYTES_MAX: u64 = 64 << 30;

// Exports, of which backups are made.

/// The size of a chunk: it is in memory for each reader.
pub(crate) const EXPORT_PIECE_BYTES: usize = 512 * 1024;
/// The number of exports of one group that may be read at a time. A further one replaces the one that has been idle longest.
pub(crate) const EXPORTS_MAX: usize = 2;
/// An export that was not read for this long is closed.
pub(crate) const EXPORT_IDLE_MAX: Duration = Duration::from_secs(60);
/// How long the leader may take to write the file.
pub(crate) const EXPORT_BEGIN_MAX: Duration = Duration::from_secs(120);
/// How long a chunk may take, and how often it is requested.
pub(crate) const EXPORT_PIECE_MAX: Duration = Duration::from_secs(10);
/// See [`EXPORT_PIECE_MAX`].
pub(crate) const EXPORT_PIECE_TRIES: u32 = 20;
/// How long a leader is looked for.
pub(crate) const EXPORT_LEADER_MAX: Duration = Duration::from_secs(20);

const _: () = assert!(ms(EXPORT_PIECE_MAX) < ms(EXPORT_IDLE_MAX), "a slow chunk does not close its export");
const _: () = assert!(ms(LEASE) < ms(EXPORT_LEADER_MAX));
