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
use waypost_protocol::clicks::ClickDelta;
use waypost_protocol::command::{Batch, Command, Outcome};
use waypost_protocol::level::ClusterLevel;
use waypost_protocol::{Level, UnixMs};
use waypost_store::machine::Machine;

use crate::state_machine::GroupMachine;
use crate::types::{Outcomes, Proposal, TypeConfig};

/// Commands that may wait for a place in an entry. Above the admission bound of the actor in front of it.
pub(crate) const QUEUE_MAX: usize = 4096;

/// Commands in one entry: keeps an entry's record below the store's limit for a value together with `ENTRY_BYTES_MAX`.
const ENTRY_COMMANDS_MAX: usize = 128;

/// About how many bytes of commands go into one entry. One more command, at most a URL of 8 KiB with its dress, may
/// follow; the store takes values up to 24 KiB.
const ENTRY_BYTES_MAX: usize = 12 * 1024;

/// Entries of a group on their way at once: the next one is written while the last one is being made durable.
const IN_FLIGHT_MAX: usize = 4;

/// A command that was applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// The index of the log entry that carried it.
    pub index: u64,
    /// What came of it.
    pub outcome: Outcome,
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
    /// The disk has too little free space for a longer log. Nothing was done.
    #[error("the disk has too little free space")]
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

pub(crate) struct Waiting {
    pub(crate) command: Command,
    pub(crate) bytes: usize,
    pub(crate) reply: oneshot::Sender<Result<Applied, ProposeError>>,
}

/// The largest single command.
pub(crate) const COMMAND_BYTES_MAX: usize = 20 * 1024;

const _: () = assert!(ENTRY_BYTES_MAX < COMMAND_BYTES_MAX);

/// About how many bytes a command takes in the log.
pub(crate) fn size_of(command: &Command) -> usize {
    match command {
        Command::Create(new) => 96 + new.target.as_str().len() + new.key.code.as_bytes().len() + new.fields.bytes(),
        Command::Edit { target, key, fields, .. } => {
            64 + target.as_ref().map_or(0, |target| target.as_str().len()) + key.code.as_bytes().len() + fields.bytes()
        }
        Command::RecordClicks(batch) => {
            let delta = |delta: &ClickDelta| 24 + 16 * delta.tallies.len() + 4 * delta.visitors.len();
            64 + 20 * batch.spans.len()
                + batch.deltas.iter().map(delta).sum::<usize>()
                + batch.strings.iter().map(|text| text.len() + 2).sum::<usize>()
                + 12 * batch.orphans.len()
        }
        Command::RemoveExpired { keys, .. } => 16 + keys.iter().map(|key| 8 + key.code.as_bytes().len()).sum::<usize>(),
        Command::Delete { key, .. } | Command::ResetStats { key } => 24 + key.code.as_bytes().len(),
        Command::Bootstrap(bootstrap) => 128 + bootstrap.name.len(),
        Command::PutNode(record) | Command::AdmitNode { record, .. } => {
            let services = record.services.iter().map(|service| service.len() + 2).sum::<usize>();
            64 + record.name.len() + record.peer.len() + record.http.len() + record.zone.len() + services
        }
        Command::EndJournals { journals } => 16 + 10 * journals.len(),
        Command::RaiseLevel { members, .. } | Command::RetireNode { members, .. } => 16 + 10 * members.len(),
        Command::Place { voters, .. } => 16 + 10 * voters.len(),
        Command::LeaseKeys { .. }
        | Command::SetAdminKey { .. }
        | Command::RemoveNode { .. }
        | Command::DrainNode { .. } => 64,
    }
}

type Write = BoxFuture<'static, ()>;

pub(crate) async fn run<M: Machine>(
    raft: Raft<TypeConfig, GroupMachine<M>>,
    clock: fn() -> UnixMs,
    level: Arc<ClusterLevel>,
    queue: Arc<Mutex<mpsc::Receiver<Waiting>>>,
) {
    // Nobody else has it; after a panic the next run of this task goes on with what waits.
    let mut queue = queue.lock().await;
    let mut in_flight: FuturesUnordered<Write> = FuturesUnordered::new();
    let mut held: Option<Waiting> = None;
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
        let mut bytes = first.bytes;
        let mut commands = vec![first.command];
        let mut replies = vec![first.reply];
        // What raises the level is of the level that it names, so nothing else shares its entry.
        let raises = |command: &Command| matches!(command, Command::RaiseLevel { .. });
        while commands.len() < ENTRY_COMMANDS_MAX && !raises(&commands[0]) {
            let Ok(next) = queue.try_recv() else { break };
            if bytes + next.bytes > ENTRY_BYTES_MAX || raises(&next.command) {
                held = Some(next);
                break;
            }
            bytes += next.bytes;
            commands.push(next.command);
            replies.push(next.reply);
        }
        let level = commands.iter().map(Command::level).fold(level.get(), Level::max);
        in_flight.push(Box::pin(write(raft.clone(), Batch { level, at: clock(), commands }, replies)));
    }
    while in_flight.next().await.is_some() {}
}

async fn write<M: Machine>(
    raft: Raft<TypeConfig, GroupMachine<M>>,
    batch: Batch,
    replies: Vec<oneshot::Sender<Result<Applied, ProposeError>>>,
) {
    match raft.client_write(Proposal(Arc::new(batch))).await {
        Ok(response) => {
            let index = response.log_id.index;
            let Outcomes(outcomes) = response.data;
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
