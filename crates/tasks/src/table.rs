//! The list of all tasks, and what a panic in each of them leads to.

/// What a panic in a task leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The task is made anew after a growing pause. When the restarts of a minute are spent, the process exits with 70.
    Restart,
    /// The process exits with 70 at once: nobody could finish what the task has left half done.
    StopProcess,
    /// The store counts as failed, and the process exits with 74: replicas could diverge.
    FailStore,
    /// Only this connection, request or piece of work ends. Its caller gets an error; others are not touched.
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

            /// Its name in logs and metrics.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What a panic in it leads to.
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
    /// Notices when the consensus engine of a group has ended.
    EngineWatch = "engine_watch", Restart;
    /// Applies the log of a group; runs inside of the consensus engine.
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
    /// Brings groups to the members that group 0 wants, and keeps addresses.
    MembershipReconciler = "steward", Restart;
    /// Asks the leaders of shards how far they are.
    Freshness = "freshness", Restart;
    /// Changes the members of one group.
    MemberChange = "member_change", End;
    /// Writes one backup.
    Backup = "backup", End;
    /// Syncs the click journals.
    JournalSync = "journal_sync", Restart;
    /// Watches free space.
    SpaceWatch = "space_watch", Restart;
    /// Watches the wall clock for jumps.
    ClockWatch = "clock_watch", Restart;
    /// Looks for connections of an HTTP worker whose deadline is over.
    Deadlines = "deadlines", StopProcess;
    /// Ends a stopping node at once when it is told to stop again.
    SecondSignal = "second_signal", End;
    /// Polls an actor and rebuilds it.
    Supervisor = "supervisor", StopProcess;
    /// The part of a handler that runs after it has returned.
    Handler = "handler", Actor;
    /// Fetches a lease of codes, for KeyAllocator.
    LeaseFetch = "lease_fetch", Actor;
    /// One round of upkeep, for Janitor.
    UpkeepRound = "upkeep_round", Actor;
    /// Sends a shard its clicks, for ClickCounter.
    ClickSend = "click_send", Actor;
}
