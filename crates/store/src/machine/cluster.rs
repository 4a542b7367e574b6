//! The state of group 0: what the whole cluster agrees on.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use waypost_protocol::command::{Batch, Command, Founding, NodeRecord, Outcome};
use waypost_protocol::digest::KeyDigest;
use waypost_protocol::permutation::CODES;
use waypost_protocol::{NodeId, UnixMs};

use super::{META_KEY, Machine, decode, encode, open_record, seal_record};
use crate::{StoreError, Tree};

/// What the cluster has agreed on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterState {
    /// How the cluster was created; `None` = not yet.
    pub founding: Option<Founding>,
    /// The first number of the counter that nobody has leased. Never goes back.
    pub next_key: u64,
    /// blake3 of the admin key; `None` = there is none.
    pub admin_key: Option<KeyDigest>,
    /// The largest proposer's time seen.
    pub applied_at: UnixMs,
    /// The members of the cluster.
    pub nodes: BTreeMap<NodeId, NodeRecord>,
    /// Which nodes are to hold each group. A group that is not in it belongs to the node that created the cluster.
    pub placement: BTreeMap<u32, Vec<NodeId>>,
    /// Ids of nodes that were taken out or replaced.
    pub gone: BTreeSet<NodeId>,
}

impl ClusterState {
    /// How many groups would have no majority left without a node.
    fn needing(&self, node: NodeId) -> u32 {
        let needs = |placed: &&Vec<NodeId>| placed.contains(&node) && placed.len() - 1 < placed.len() / 2 + 1;
        self.placement.values().filter(needs).count() as u32
    }
}

/// The state machine of group 0.
pub struct ClusterMachine {
    tree: Tree,
    state: ClusterState,
    dirty: bool,
}

impl ClusterMachine {
    /// The state as of the last command applied.
    pub fn state(&self) -> &ClusterState {
        &self.state
    }

    /// Makes the state that of a new cluster with the same links, keys and settings, which has no members yet, for the next
    /// checkpoint to write. Of the numbers that are left, `skip` says how many are not given out: codes may have been made of
    /// them that this state does not know.
    ///
    /// # Errors
    /// When the state is not that of a cluster.
    pub fn begin_anew(&mut self, cluster_id: [u8; 16], skip: impl FnOnce(u64) -> u64) -> Result<&Founding, StoreError> {
        let state = &mut self.state;
        let Some(founding) = &mut state.founding else {
            return Err(StoreError::Corrupt {
                what: self.tree.name().to_owned(),
                detail: "it does not say how the cluster was created".to_owned(),
            });
        };
        founding.cluster_id = cluster_id;
        let left = CODES.saturating_sub(state.next_key);
        state.next_key += skip(left).min(left);
        state.nodes.clear();
        state.placement.clear();
        state.gone.clear();
        self.dirty = true;
        Ok(founding)
    }

    fn apply_one(&mut self, command: &Command) -> Result<Outcome, StoreError> {
        let state = &mut self.state;
        Ok(match command {
            Command::Found(founding) => match &state.founding {
                Some(_) => Outcome::AlreadyFounded,
                None => {
                    state.founding = Some(founding.clone());
                    Outcome::Done
                }
            },
            Command::LeaseKeys { node: _, count } => {
                let start = state.next_key;
                let count = (*count).min(CODES.saturating_sub(start));
                if count == 0 {
                    return Ok(Outcome::KeysExhausted);
                }
                state.next_key = start + count;
                Outcome::Leased { start, count }
            }
            Command::SetAdminKey { digest, replace } => {
                if state.admin_key.is_some() && !replace {
                    return Ok(Outcome::AdminKeyExists);
                }
                state.admin_key = Some(*digest);
                Outcome::Done
            }
            Command::PutNode(record) => {
                if state.gone.contains(&record.id) {
                    return Ok(Outcome::NotFound);
                }
                // A node that was emptied has a new id: the old one will not come back.
                let same_name = |other: &NodeRecord| other.name == record.name && other.id != record.id;
                let replaced: Vec<NodeId> =
                    state.nodes.values().filter(|other| same_name(other)).map(|n| n.id).collect();
                let needed: u32 = replaced.iter().map(|old| state.needing(*old)).sum();
                if needed > 0 {
                    return Ok(Outcome::NodeNeeded { groups: needed });
                }
                for old in replaced {
                    state.nodes.remove(&old);
                    state.gone.insert(old);
                }
                let drain = state.nodes.get(&record.id).is_some_and(|known| known.drain);
                state.nodes.insert(record.id, NodeRecord { drain, ..(**record).clone() });
                Outcome::Done
            }
            Command::RemoveNode { node } => match (state.nodes.contains_key(node), state.needing(*node)) {
                (false, _) => Outcome::NotFound,
                (true, 0) => {
                    state.nodes.remove(node);
                    state.gone.insert(*node);
                    Outcome::Done
                }
                (true, groups) => Outcome::NodeNeeded { groups },
            },
            Command::DrainNode { node, drain } => match state.nodes.get_mut(node) {
                Some(record) => {
                    record.drain = *drain;
                    Outcome::Done
                }
                None => Outcome::NotFound,
            },
            Command::Place { group, voters } => {
                state.placement.insert(*group, voters.clone());
                Outcome::Done
            }
            Command::Create(_)
            | Command::Edit { .. }
            | Command::Delete { .. }
            | Command::RemoveExpired { .. }
            | Command::RecordClicks(_)
            | Command::ResetStats { .. } => {
                return Err(StoreError::Corrupt {
                    what: format!("log of {}", self.tree.name()),
                    detail: "a command of a shard stands in the log of group 0".to_owned(),
                });
            }
        })
    }
}

#[derive(Serialize, Deserialize)]
struct MetaRecord {
    position: Vec<u8>,
    state: ClusterState,
}

impl Machine for ClusterMachine {
    fn open(tree: Tree) -> Result<(Self, Option<Vec<u8>>), StoreError> {
        let (state, position) = match tree.get(META_KEY)? {
            None => (ClusterState::default(), None),
            Some(value) => {
                let record: MetaRecord = decode("checkpoint", open_record(&tree, META_KEY, &value)?)?;
                (record.state, Some(record.position))
            }
        };
        Ok((Self { tree, state, dirty: false }, position))
    }

    fn reopen(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        let (machine, position) = Self::open(self.tree.clone())?;
        *self = machine;
        Ok(position)
    }

    fn apply(&mut self, _index: u64, batch: &Batch) -> Result<Vec<Outcome>, StoreError> {
        self.state.applied_at = self.state.applied_at.max(batch.at);
        self.dirty = true;
        batch.commands.iter().map(|command| self.apply_one(command)).collect()
    }

    fn pending_bytes(&self) -> u64 {
        if self.dirty { 1024 } else { 0 }
    }

    fn checkpoint(&mut self, position: &[u8]) -> Result<(), StoreError> {
        let record = MetaRecord { position: position.to_vec(), state: self.state.clone() };
        self.tree.insert(META_KEY, seal_record(&self.tree, META_KEY, &encode(&record)))?;
        self.dirty = false;
        Ok(())
    }

    fn tree(&self) -> &Tree {
        &self.tree
    }
}
