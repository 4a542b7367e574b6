//! The list of all tasks, and what follows from a panic in each of them.

/// What follows from a panic in a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The task is restarted after a growing pause. When the restarts of a minute are spent, the process exits with 70.
    Restart,
    /// The process exits with 70 at once, because nobody could finish the half-done work.
    StopProcess,
    /// The store counts as failed, and the process exits with 74, because replicas could diverge.
    FailStore,
    /// The task is restarted after a growing pause, however often: what it keeps can be made again, and the node does without meanwhile.
    RestartAlways,
    /// Only this connection, request or piece of work ends. Its caller gets an error; others are not affected.
    End,
    /// The task is a part of an actor: the actor is rebuilt, as its `Spec` says.
    Actor,
}

macro_rules! tasks {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $policy:ident;)*) => {
        /// A kind of background task. Many of a kind may run at once.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Task {
            $($(#[$doc])* $variant,)*
        }

        impl Task {
            /// All kinds, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name in logs and metrics.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What follows from a panic.
            pub const fn policy(self) -> Policy {
                match self { $(Self::$variant => Policy::$policy,)* }
            }
        }
    };
}

tasks! {
    /// Puts the commands of a group into log entries.
    Proposer = "proposer", Restart;
    /// Asks for a checkpoint of a group when one is due.
    Checkpoint = "checkpoint", Restart;
    /// Notices when openraft has stopped for a group.
    EngineWatch = "engine_watch", Restart;
    /// Applies the log of a group; runs inside openraft.
    Apply = "apply", FailStore;
    /// Installs a received snapshot.
    Install = "install", StopProcess;
    /// Closes the file of an export that nobody reads any more.
    ExportFile = "export_file", End;
    /// Flushes and syncs the store.
    GroupCommit = "group_commit", StopProcess;
    /// Accepts connections of other nodes.
    PeerPort = "peer_port", Restart;
    /// Serves one connection of another node.
    PeerSession = "peer_session", End;
    /// Serves one request of another node.
    PeerRequest = "peer_request", End;
    /// Keeps up one connection to another node.
    PeerLink = "peer_link", Restart;
    /// Places and moves replicas, on the leader of group 0.
    Controller = "controller", Restart;
    /// Gives groups the members that group 0 records, and keeps the addresses of nodes.
    MembershipReconciler = "steward", Restart;
    /// Asks the leaders of shards for their log positions.
    Freshness = "freshness", Restart;
    /// Changes the members of one group.
    MemberChange = "member_change", End;
    /// Writes one backup.
    Backup = "backup", End;
    /// Syncs the click journals.
    JournalSync = "journal_sync", Restart;
    /// Keeps the catalog like the shards.
    Catalog = "catalog", RestartAlways;
    /// Watches for operations of the database that do not end.
    StoreWatch = "store_watch", Restart;
    /// Watches free space.
    SpaceWatch = "space_watch", Restart;
    /// Watches the memory of the process.
    MemoryWatch = "memory_watch", Restart;
    /// Watches the wall clock for jumps.
    ClockWatch = "clock_watch", Restart;
    /// Closes connections of an HTTP worker at their deadlines.
    Deadlines = "deadlines", StopProcess;
    /// Ends a stopping node at once on a second signal.
    SecondSignal = "second_signal", End;
    /// Polls an actor and rebuilds it.
    Supervisor = "supervisor", StopProcess;
    /// The part of a handler that runs after it has returned.
    Handler = "handler", Actor;
    /// Fetches a lease of codes, for KeyAllocator.
    LeaseFetch = "lease_fetch", Actor;
    /// One round of maintenance, for Janitor.
    UpkeepRound = "upkeep_round", Actor;
    /// Sends clicks to a shard, for ClickCounter.
    ClickSend = "click_send", Actor;
}
