//! The state of group 0: what the whole cluster agrees on.

use std::sync::Arc;

use waypost_protocol::command::{
    AdmitNode, AdmitNodeOutcome, Batch, Bootstrap, ClusterCommand, ClusterOutcome, Command as _, CreateCluster,
    CreateClusterOutcome, DrainNode, DrainNodeOutcome, LeaseKeys, LeaseKeysOutcome, NODES_MAX, NodeRecord, Place,
    PlaceOutcome, PutNode, PutNodeOutcome, RaiseLevel, RaiseLevelOutcome, RemoveNode, RemoveNodeOutcome, RetireNode,
    RetireNodeOutcome, SetAdminKey, SetAdminKeyOutcome,
};
use waypost_protocol::level::ClusterLevel;
use waypost_protocol::permutation::CODES;
use waypost_protocol::session::BY_ADMIN_KEY;
use waypost_protocol::{DomainTable, Level, NodeId};

use super::Machine;
use super::cluster_records::{self, StoredAs};
use super::cluster_state::{ClusterState, Gone};
use crate::{StoreError, Tree};

impl ClusterState {
    /// How many groups would have no majority left without a node.
    fn needing(&self, node: NodeId) -> u32 {
        let needs = |placed: &&Vec<NodeId>| placed.contains(&node) && placed.len() - 1 < placed.len() / 2 + 1;
        self.placement.values().filter(needs).count() as u32
    }

    /// Whether a node is the only one that stores links and is not drained.
    fn is_last_to_store(&self, node: NodeId) -> bool {
        let mut left = self.nodes.values().filter(|record| record.stores() && !record.drain);
        left.next().is_some_and(|record| record.id == node) && left.next().is_none()
    }

    /// Whether another node has the name of this one.
    fn has_namesake(&self, record: &NodeRecord) -> bool {
        self.nodes.values().any(|other| other.name == record.name && other.id != record.id)
    }

    /// Notes a node, in place of one of the same name: that one was emptied and has a new id, so the old id will not come back.
    fn note_node(&mut self, index: u64, record: &NodeRecord) -> Noted {
        if self.gone.contains(&record.id) {
            return Noted::NotFound;
        }
        let same_name = |other: &&NodeRecord| other.name == record.name && other.id != record.id;
        let replaced: Vec<NodeId> = self.nodes.values().filter(same_name).map(|node| node.id).collect();
        let needed: u32 = replaced.iter().map(|old| self.needing(*old)).sum();
        if needed > 0 {
            return Noted::NodeNeeded { groups: needed };
        }
        for old in replaced {
            self.leave(index, old);
        }
        let drain = self.nodes.get(&record.id).is_some_and(|known| known.drain);
        self.nodes.insert(record.id, NodeRecord { drain, ..record.clone() });
        Noted::Done
    }

    fn leave(&mut self, index: u64, node: NodeId) {
        self.nodes.remove(&node);
        self.gone.insert(node, index);
        // Before level 1 every replica keeps all of them.
        if self.level >= Level::ONE {
            self.gone.forget_oldest();
        }
    }
}

/// What each command does.
impl ClusterState {
    fn create(&mut self, create: &CreateCluster) -> CreateClusterOutcome {
        if self.bootstrap.is_some() {
            return CreateClusterOutcome::AlreadyBootstrapped;
        }
        self.bootstrap = Some(create.0.clone());
        CreateClusterOutcome::Done
    }

    fn lease_keys(&mut self, lease: &LeaseKeys) -> LeaseKeysOutcome {
        let start = self.next_key;
        let count = lease.count.min(CODES.saturating_sub(start));
        if count == 0 {
            return LeaseKeysOutcome::KeysExhausted;
        }
        self.next_key = start + count;
        LeaseKeysOutcome::Leased { start, count }
    }

    fn set_admin_key(&mut self, set: &SetAdminKey) -> SetAdminKeyOutcome {
        if self.admin_key.is_some() && !set.replace {
            return SetAdminKeyOutcome::AdminKeyExists;
        }
        if self.admin_key != Some(set.digest) {
            self.sessions.retain(|_, session| session.by != BY_ADMIN_KEY);
        }
        self.admin_key = Some(set.digest);
        SetAdminKeyOutcome::Done
    }

    fn put_node(&mut self, index: u64, put: &PutNode) -> PutNodeOutcome {
        let record = &put.0;
        // Since level 1 a node becomes a member by `AdmitNode` alone.
        if self.level >= Level::ONE && !self.nodes.contains_key(&record.id) {
            return PutNodeOutcome::NotFound;
        }
        if self.level >= Level::ONE && self.has_namesake(record) {
            return PutNodeOutcome::MembersChanged;
        }
        match self.note_node(index, record) {
            Noted::Done => PutNodeOutcome::Done,
            Noted::NotFound => PutNodeOutcome::NotFound,
            Noted::NodeNeeded { groups } => PutNodeOutcome::NodeNeeded { groups },
        }
    }

    fn admit_node(&mut self, index: u64, admit: &AdmitNode) -> AdmitNodeOutcome {
        let record = &admit.record;
        if admit.level < self.level {
            return AdmitNodeOutcome::LevelTooLow { needed: self.level };
        }
        // The old node has to be retired first: only `RetireNode` checks whether a group still needs it.
        if self.has_namesake(record) {
            return AdmitNodeOutcome::MembersChanged;
        }
        if self.nodes.len() >= NODES_MAX && !self.nodes.contains_key(&record.id) {
            return AdmitNodeOutcome::TooManyNodes { max: NODES_MAX as u32 };
        }
        match self.note_node(index, record) {
            Noted::Done => AdmitNodeOutcome::Done,
            Noted::NotFound => AdmitNodeOutcome::NotFound,
            Noted::NodeNeeded { groups } => AdmitNodeOutcome::NodeNeeded { groups },
        }
    }

    fn raise_level(&mut self, raise: &RaiseLevel) -> RaiseLevelOutcome {
        if !self.nodes.keys().all(|node| raise.members.contains(node)) {
            return RaiseLevelOutcome::MembersChanged;
        }
        // What is stored at level 0 does not say when: a replica that was started anew meanwhile has forgotten it.
        if self.level == Level::BASE {
            self.gone.0.values_mut().for_each(|index| *index = 0);
        }
        self.level = self.level.max(raise.level);
        RaiseLevelOutcome::Done
    }

    fn remove_node(&mut self, index: u64, remove: &RemoveNode) -> RemoveNodeOutcome {
        // Since level 1 it has to be decided for the members that there are: `RetireNode`.
        if self.level >= Level::ONE {
            return RemoveNodeOutcome::MembersChanged;
        }
        match (self.nodes.contains_key(&remove.node), self.needing(remove.node)) {
            (false, _) => RemoveNodeOutcome::NotFound,
            (true, 0) => {
                self.leave(index, remove.node);
                RemoveNodeOutcome::Done
            }
            (true, groups) => RemoveNodeOutcome::NodeNeeded { groups },
        }
    }

    fn retire_node(&mut self, index: u64, retire: &RetireNode) -> RetireNodeOutcome {
        if !self.nodes.contains_key(&retire.node) {
            return RetireNodeOutcome::NotFound;
        }
        if !self.nodes.keys().eq(&retire.members) {
            return RetireNodeOutcome::MembersChanged;
        }
        match self.needing(retire.node) {
            0 => {
                self.leave(index, retire.node);
                RetireNodeOutcome::Done
            }
            groups => RetireNodeOutcome::NodeNeeded { groups },
        }
    }

    fn drain_node(&mut self, drain: &DrainNode) -> DrainNodeOutcome {
        // Of two that are drained at once, the second has to see the first.
        if drain.drain && self.level >= Level::ONE && self.is_last_to_store(drain.node) {
            return DrainNodeOutcome::NodeNeeded { groups: self.placement.len() as u32 };
        }
        match self.nodes.get_mut(&drain.node) {
            Some(record) => {
                record.drain = drain.drain;
                DrainNodeOutcome::Done
            }
            None => DrainNodeOutcome::NotFound,
        }
    }

    fn place(&mut self, place: &Place) -> PlaceOutcome {
        self.placement.insert(place.group, place.voters.clone());
        PlaceOutcome::Done
    }
}

/// What came of noting a node.
enum Noted {
    Done,
    /// It was removed.
    NotFound,
    /// Groups need the node that it would replace.
    NodeNeeded {
        groups: u32,
    },
}

/// The state machine of group 0.
pub struct ClusterMachine {
    tree: Tree,
    state: ClusterState,
    /// What the last checkpoint has written, and how: the next one writes what differs.
    stored: StoredAs,
    dirty: bool,
    /// Told when the level rises.
    level: Option<Arc<ClusterLevel>>,
    /// Told when a domain is changed.
    domains: Option<Arc<DomainTable>>,
}

impl ClusterMachine {
    /// The state as of the last command applied.
    pub fn state(&self) -> &ClusterState {
        &self.state
    }

    /// Makes the state that of a new cluster with the same links, keys and settings, which has no members yet and all of its groups on
    /// `node`, for the next checkpoint to write. Of the numbers that are left, `skip` says how many are not given out: codes may have been made of
    /// them that this state does not know.
    ///
    /// # Errors
    /// When the state is not that of a cluster.
    pub fn begin_anew(
        &mut self,
        cluster_id: [u8; 16],
        node: NodeId,
        skip: impl FnOnce(u64) -> u64,
    ) -> Result<&Bootstrap, StoreError> {
        let state = &mut self.state;
        let Some(bootstrap) = &mut state.bootstrap else {
            return Err(StoreError::Corrupt {
                what: self.tree.name().to_owned(),
                detail: "it does not say how the cluster was created".to_owned(),
            });
        };
        bootstrap.cluster_id = cluster_id;
        let left = CODES.saturating_sub(state.next_key);
        state.next_key += skip(left).min(left);
        state.nodes.clear();
        state.placement = (0..=bootstrap.shards).map(|group| (group, vec![node])).collect();
        state.gone = Gone::default();
        // Nobody is signed in to a cluster that begins with the past of another one.
        state.sessions.clear();
        self.dirty = true;
        Ok(bootstrap)
    }

    /// Has `level` follow the level of the cluster.
    pub fn follow_level(&mut self, level: Arc<ClusterLevel>) {
        level.raise(self.state.level);
        self.level = Some(level);
    }

    /// Has `domains` follow the domains of the cluster.
    pub fn follow_domains(&mut self, domains: Arc<DomainTable>) {
        domains.publish(&self.state.domains);
        self.domains = Some(domains);
    }

    fn apply_one(&mut self, index: u64, command: &ClusterCommand) -> ClusterOutcome {
        let state = &mut self.state;
        match command {
            ClusterCommand::CreateCluster(create) => create.answered(state.create(create)),
            ClusterCommand::LeaseKeys(lease) => lease.answered(state.lease_keys(lease)),
            ClusterCommand::SetAdminKey(set) => set.answered(state.set_admin_key(set)),
            ClusterCommand::PutNode(put) => put.answered(state.put_node(index, put)),
            ClusterCommand::AdmitNode(admit) => admit.answered(state.admit_node(index, admit)),
            ClusterCommand::RaiseLevel(raise) => raise.answered(state.raise_level(raise)),
            ClusterCommand::RemoveNode(remove) => remove.answered(state.remove_node(index, remove)),
            ClusterCommand::RetireNode(retire) => retire.answered(state.retire_node(index, retire)),
            ClusterCommand::DrainNode(drain) => drain.answered(state.drain_node(drain)),
            ClusterCommand::Place(place) => place.answered(state.place(place)),
            ClusterCommand::AddDomain(add) => add.answered(state.add_domain(add)),
            ClusterCommand::SetDomain(set) => set.answered(state.set_domain(set)),
            ClusterCommand::RemoveDomain(remove) => remove.answered(state.remove_domain(remove)),
            ClusterCommand::OpenSession(open) => open.answered(state.open_session(open)),
            ClusterCommand::RefreshSession(refresh) => refresh.answered(state.refresh_session(refresh)),
            ClusterCommand::EndSession(end) => end.answered(state.end_session(end)),
            ClusterCommand::EndOtherSessions(end) => end.answered(state.end_other_sessions(end)),
        }
    }
}

fn changes_domains(command: &ClusterCommand) -> bool {
    matches!(command, ClusterCommand::AddDomain(_) | ClusterCommand::SetDomain(_) | ClusterCommand::RemoveDomain(_))
}

impl Machine for ClusterMachine {
    type Command = ClusterCommand;
    type Prepared = ();
    type Outcome = ClusterOutcome;

    fn open(tree: Tree) -> Result<(Self, Option<Vec<u8>>), StoreError> {
        let (state, stored, position) = cluster_records::load(&tree)?;
        Ok((Self { tree, state, stored, dirty: false, level: None, domains: None }, position))
    }

    fn reopen(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        let (machine, position) = Self::open(self.tree.clone())?;
        let (level, domains) = (self.level.take(), self.domains.take());
        *self = machine;
        if let Some(level) = level {
            self.follow_level(level);
        }
        if let Some(domains) = domains {
            self.follow_domains(domains);
        }
        Ok(position)
    }

    fn apply(&mut self, index: u64, batch: &Batch<ClusterCommand>) -> Result<Vec<ClusterOutcome>, StoreError> {
        // As in the shards, a time may step back since level 1.
        let stepping = batch.level.max(self.state.level) >= Level::ONE;
        self.state.applied_at = if stepping { batch.at } else { self.state.applied_at.max(batch.at) };
        self.dirty = true;
        let outcomes = batch.commands.iter().map(|command| self.apply_one(index, command)).collect();
        if let Some(level) = &self.level {
            level.raise(self.state.level);
        }
        if let Some(domains) = self.domains.as_ref().filter(|_| batch.commands.iter().any(changes_domains)) {
            domains.publish(&self.state.domains);
        }
        Ok(outcomes)
    }

    fn level(&self) -> Level {
        self.state.level
    }

    fn pending_bytes(&self) -> u64 {
        if self.dirty { 1024 } else { 0 }
    }

    fn prepare(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn write(&mut self, (): (), position: &[u8]) -> Result<(), StoreError> {
        self.stored = cluster_records::write(&self.tree, &self.state, &self.stored, position)?;
        self.dirty = false;
        Ok(())
    }

    fn tree(&self) -> &Tree {
        &self.tree
    }
}
