//! The proposer of a group: commands that arrive while an entry is on its way share the next one.
//!
//! Under load this divides the cost of an entry (log record, callbacks, wake-ups) by the number of commands in it. A lone
//! command waits for nobody.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use openraft::Raft;
use openraft::errors::{ClientWriteError, RaftError};
use tokio::sync::{Mutex, mpsc, oneshot};
use waypost_protocol::command::{self, Batch, Command, GroupCommand};
use waypost_protocol::level::ClusterLevel;
use waypost_protocol::{Level, UnixMs};
use waypost_store::machine::Machine;

use crate::limits::{ENTRY_BYTES_MAX, ENTRY_COMMANDS_MAX, IN_FLIGHT_MAX};
use crate::state_machine::GroupMachine;
use crate::types::{Proposal, TypeConfig};

/// A command that was applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied<O> {
    /// The index of the log entry that carried it.
    pub index: u64,
    /// What came of it.
    pub outcome: O,
}

impl<O> Applied<O> {
    /// The outcome as one of the command `C`; or as it was, when it is none.
    pub(crate) fn of_command<C>(self) -> Result<Applied<C::Outcome>, O>
    where
        C: Command,
        C::Group: GroupCommand<Outcome = O>,
    {
        let Self { index, outcome } = self;
        C::Outcome::try_from(outcome).map(|outcome| Applied { index, outcome })
    }
}

/// Why a command was not applied, or is not known to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Another node leads the group, if any does. Nothing was done.
    #[error("this node does not lead the group{}", if leader.is_none() { ", and no leader is known" } else { "" })]
    NotLeader {
        /// The node to ask.
        leader: Option<u64>,
    },
    /// Too many commands wait already. Nothing was done.
    #[error("too many commands wait for the group")]
    Overloaded,
    /// There is too little disk space, or memory, for a longer log. Nothing was done.
    #[error("the disk has too little free space, or the node too little memory")]
    NoSpace,
    /// The command is larger than an entry may be. Nothing was done.
    #[error("the command takes {bytes} bytes; at most {max} are possible")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The largest possible.
        max: usize,
    },
    /// Not all nodes of the cluster understand the command yet. Nothing was done.
    #[error(
        "not all nodes of the cluster understand this yet: it needs level {needed}, the cluster is at level {level}; \
         upgrade the nodes of an earlier version"
    )]
    NotYet {
        /// The level that the command needs.
        needed: Level,
        /// The level of the cluster.
        level: Level,
    },
    /// The group has stopped; whether the command was applied is not known.
    #[error("the group has stopped: {0}")]
    Stopped(String),
}

/// A command with its bytes: encoded once, when it is proposed.
pub(crate) struct Encoded<C> {
    command: C,
    level: Level,
    pub(crate) bytes: Vec<u8>,
}

impl<C: GroupCommand> Encoded<C> {
    pub(crate) fn new(command: C, level: Level) -> Self {
        let bytes = command.encode(level);
        Self { command, level, bytes }
    }

    /// The command and its bytes for a batch of a level, which rises once or twice in the life of a cluster.
    fn at(self, level: Level) -> (C, Vec<u8>) {
        let bytes = if level == self.level { self.bytes } else { self.command.encode(level) };
        (self.command, bytes)
    }
}

pub(crate) struct Waiting<C: GroupCommand> {
    pub(crate) encoded: Encoded<C>,
    pub(crate) reply: Reply<C::Outcome>,
}

type Reply<O> = oneshot::Sender<Result<Applied<O>, ProposeError>>;

type Write = BoxFuture<'static, ()>;

pub(crate) async fn run<M: Machine>(
    raft: Raft<TypeConfig, GroupMachine<M>>,
    clock: fn() -> UnixMs,
    level: Arc<ClusterLevel>,
    queue: Arc<Mutex<mpsc::Receiver<Waiting<M::Command>>>>,
) {
    // Nobody else has it; after a panic the next run of this task goes on with what waits.
    let mut queue = queue.lock().await;
    let mut in_flight: FuturesUnordered<Write> = FuturesUnordered::new();
    let mut held: Option<Waiting<M::Command>> = None;
    loop {
        let first = match held.take() {
            Some(first) => first,
            None => tokio::select! {
                Some(()) = in_flight.next() => continue,
                next = queue.recv() => match next {
                    Some(first) => first,
                    None => break,
                },
            },
        };
        if in_flight.len() >= IN_FLIGHT_MAX {
            // What arrives until one has come back shares the entry after it.
            in_flight.next().await;
        }
        let mut bytes = first.encoded.bytes.len();
        let mut encoded = vec![first.encoded];
        let mut replies = vec![first.reply];
        while encoded.len() < ENTRY_COMMANDS_MAX && !encoded[0].command.raises_level() {
            let Ok(next) = queue.try_recv() else { break };
            let more = next.encoded.bytes.len();
            if bytes + more > ENTRY_BYTES_MAX || next.encoded.command.raises_level() {
                held = Some(next);
                break;
            }
            bytes += more;
            encoded.push(next.encoded);
            replies.push(next.reply);
        }
        let proposal = proposal(level.get(), clock(), encoded);
        in_flight.push(Box::pin(write(raft.clone(), proposal, replies)));
    }
    while in_flight.next().await.is_some() {}
}

/// The log entry of commands, in a cluster that is at `level` by now.
fn proposal<C: GroupCommand>(level: Level, at: UnixMs, encoded: Vec<Encoded<C>>) -> Proposal {
    let level = encoded.iter().map(|encoded| encoded.command.level()).fold(level, Level::max);
    let (commands, bytes): (Vec<C>, Vec<Vec<u8>>) = encoded.into_iter().map(|encoded| encoded.at(level)).unzip();
    Proposal::new(Batch { level, at, commands }, command::join(at, &bytes))
}

async fn write<M: Machine>(
    raft: Raft<TypeConfig, GroupMachine<M>>,
    proposal: Proposal,
    replies: Vec<Reply<M::Outcome>>,
) {
    match raft.client_write(proposal).await {
        Ok(response) => {
            let index = response.log_id.index;
            let outcomes = response.data.into_vec::<M::Outcome>();
            for (reply, outcome) in replies.into_iter().zip(outcomes) {
                let _ = reply.send(Ok(Applied { index, outcome }));
            }
        }
        Err(error) => {
            let error = match error {
                RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
                    ProposeError::NotLeader { leader: forward.leader_id }
                }
                other => ProposeError::Stopped(other.to_string()),
            };
            for reply in replies {
                let _ = reply.send(Err(error.clone()));
            }
        }
    }
}
