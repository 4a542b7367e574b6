//! The encoding of commands at level 0: what version 0.1 reads and writes.
//!
//! Kept for the logs of data directories from that version, and for clusters that still have a node of it. It never changes.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clicks::ClickBatch;
use crate::command::{Batch, BatchError, Bootstrap, Command, NewLink, NodeRecord};
use crate::digest::{IdempotencyKey, KeyDigest};
use crate::{FieldChanges, Fields, Level, LinkKey, LinkVersion, NodeId, Target, UnixMs};

#[derive(Serialize, Deserialize)]
struct BaseBatch {
    at: UnixMs,
    commands: Vec<BaseCommand>,
}

#[derive(Serialize, Deserialize)]
enum BaseCommand {
    Bootstrap(Bootstrap),
    LeaseKeys { node: NodeId, count: u64 },
    SetAdminKey { digest: KeyDigest, replace: bool },
    PutNode(Box<NodeRecord>),
    RemoveNode { node: NodeId },
    DrainNode { node: NodeId, drain: bool },
    Place { group: u32, voters: Vec<NodeId> },
    Create(Box<BaseNewLink>),
    Edit { key: LinkKey, if_version: Option<LinkVersion>, target: Option<Target>, valid_until: Option<Option<UnixMs>> },
    Delete { key: LinkKey, if_version: Option<LinkVersion> },
    RemoveExpired { keys: Vec<LinkKey>, before: UnixMs },
    RecordClicks(Arc<ClickBatch>),
    ResetStats { key: LinkKey },
}

#[derive(Serialize, Deserialize)]
struct BaseNewLink {
    key: LinkKey,
    target: Target,
    valid_until: Option<UnixMs>,
    created_by: u32,
    generated: bool,
    find_existing: bool,
    idempotency: Option<(IdempotencyKey, u64)>,
}

impl From<BaseCommand> for Command {
    fn from(base: BaseCommand) -> Self {
        match base {
            BaseCommand::Bootstrap(bootstrap) => Self::Bootstrap(bootstrap),
            BaseCommand::LeaseKeys { node, count } => Self::LeaseKeys { node, count },
            BaseCommand::SetAdminKey { digest, replace } => Self::SetAdminKey { digest, replace },
            BaseCommand::PutNode(record) => Self::PutNode(record),
            BaseCommand::RemoveNode { node } => Self::RemoveNode { node },
            BaseCommand::DrainNode { node, drain } => Self::DrainNode { node, drain },
            BaseCommand::Place { group, voters } => Self::Place { group, voters },
            BaseCommand::Create(new) => Self::Create(Box::new(NewLink {
                key: new.key,
                target: new.target,
                valid_until: new.valid_until,
                created_by: new.created_by,
                generated: new.generated,
                find_existing: new.find_existing,
                idempotency: new.idempotency,
                fields: Fields::default(),
            })),
            BaseCommand::Edit { key, if_version, target, valid_until } => {
                Self::Edit { key, if_version, target, valid_until, fields: FieldChanges::default() }
            }
            BaseCommand::Delete { key, if_version } => Self::Delete { key, if_version },
            BaseCommand::RemoveExpired { keys, before } => Self::RemoveExpired { keys, before },
            BaseCommand::RecordClicks(clicks) => Self::RecordClicks(clicks),
            BaseCommand::ResetStats { key } => Self::ResetStats { key },
        }
    }
}

impl BaseCommand {
    fn of(command: &Command) -> Self {
        debug_assert_eq!(command.level(), Level::BASE);
        match command.clone() {
            Command::Bootstrap(bootstrap) => Self::Bootstrap(bootstrap),
            Command::LeaseKeys { node, count } => Self::LeaseKeys { node, count },
            Command::SetAdminKey { digest, replace } => Self::SetAdminKey { digest, replace },
            Command::PutNode(record) => Self::PutNode(record),
            Command::RemoveNode { node } => Self::RemoveNode { node },
            Command::DrainNode { node, drain } => Self::DrainNode { node, drain },
            Command::Place { group, voters } => Self::Place { group, voters },
            Command::Create(new) => Self::Create(Box::new(BaseNewLink {
                key: new.key,
                target: new.target,
                valid_until: new.valid_until,
                created_by: new.created_by,
                generated: new.generated,
                find_existing: new.find_existing,
                idempotency: new.idempotency,
            })),
            Command::Edit { key, if_version, target, valid_until, fields: _ } => {
                Self::Edit { key, if_version, target, valid_until }
            }
            Command::Delete { key, if_version } => Self::Delete { key, if_version },
            Command::RemoveExpired { keys, before } => Self::RemoveExpired { keys, before },
            Command::RecordClicks(clicks) => Self::RecordClicks(clicks),
            Command::ResetStats { key } => Self::ResetStats { key },
            Command::AdmitNode { .. }
            | Command::RaiseLevel { .. }
            | Command::EndJournals { .. }
            | Command::RetireNode { .. } => {
                unreachable!("invariant: a batch has at least the level of each of its commands")
            }
        }
    }
}

/// The bytes of a batch of level 0.
pub(crate) fn encode(batch: &Batch) -> Vec<u8> {
    let base = BaseBatch { at: batch.at, commands: batch.commands.iter().map(BaseCommand::of).collect() };
    postcard::to_stdvec(&base).expect("invariant: commands have no shape that postcard refuses")
}

/// Reads a batch of level 0.
pub(crate) fn decode(bytes: &[u8]) -> Result<Batch, BatchError> {
    let base: BaseBatch = postcard::from_bytes(bytes).map_err(|error| BatchError::Damaged(error.to_string()))?;
    Ok(Batch { level: Level::BASE, at: base.at, commands: base.commands.into_iter().map(Command::from).collect() })
}

/// The bytes of one command, as level 0 sends it to a leader.
pub(crate) fn encode_one(command: &Command) -> Vec<u8> {
    postcard::to_stdvec(&BaseCommand::of(command)).expect("invariant: commands have no shape that postcard refuses")
}

/// Reads one command of level 0.
pub(crate) fn decode_one(bytes: &[u8]) -> Result<Command, BatchError> {
    let base: BaseCommand = postcard::from_bytes(bytes).map_err(|error| BatchError::Damaged(error.to_string()))?;
    Ok(base.into())
}
