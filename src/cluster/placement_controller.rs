//! On the leader of group 0: settles who is to hold what, a few groups at a time, and evens out leaders.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use waypost_consensus::Groups;
use waypost_protocol::command::{ClusterCommand, Command, NodeRecord, Place, RaiseLevel, RaiseLevelOutcome};
use waypost_protocol::peer::Peers;
use waypost_protocol::{Level, NodeId};
use waypost_store::machine::ClusterState;

use super::clock;
use super::desired_placement::DesiredPlacement;
use super::leaders::{LeaderMove, leader_move};
use super::requests::{GetStatus, LeaveCluster, MoveLeader};
use super::service::NodeService;
use super::status::{ClusterView, NodeStatus, NodeView};
use crate::limits::{HAND_OVER_ANSWER_MAX, LEAVE_MAX, STATUS_MAX};

/// How often it looks.
const LOOK: Duration = Duration::from_millis(250);

/// How often it looks while the cluster is being created, and everybody waits for that.
const LOOK_BOOTSTRAP: Duration = Duration::from_millis(25);

/// How often leaders are evened out, one at a time.
const EVEN_OUT: Duration = Duration::from_millis(500);

/// The task, and what it can tell.
pub struct PlacementController {
    groups: Arc<Groups>,
    peers: Arc<dyn Peers>,
    service: Arc<NodeService>,
    desired: DesiredPlacement,
    moves_max: usize,
    /// The cluster is bootstrapped. That it stays.
    bootstrapped: AtomicBool,
}

impl PlacementController {
    /// With what the file wishes, and at most `moves_max` groups changed at a time.
    pub fn new(
        groups: Arc<Groups>,
        peers: Arc<dyn Peers>,
        service: Arc<NodeService>,
        desired: DesiredPlacement,
        moves_max: usize,
    ) -> Self {
        Self { groups, peers, service, desired, moves_max, bootstrapped: AtomicBool::new(false) }
    }

    /// Works until the node stops.
    pub async fn run(self: Arc<Self>) {
        let mut evened = Instant::now();
        loop {
            let bootstrapped = self.pending_bootstrap().is_none();
            tokio::time::sleep(if bootstrapped { LOOK } else { LOOK_BOOTSTRAP }).await;
            if !self.groups.cluster().is_leader() {
                continue;
            }
            let state = self.groups.cluster().read(|machine| machine.state().clone());
            let told = self.ask_all(&state).await;
            self.raise_level(&state, &told).await;
            if !bootstrapped {
                self.finish_bootstrap(&state, &told).await;
                continue;
            }
            let moving = moving(&state, &told, self.groups.bootstrap().shards);
            self.settle(&state, &told, &moving).await;
            if moving.is_empty() && evened.elapsed() >= EVEN_OUT {
                evened = Instant::now();
                self.even_out(&state, &told).await;
            }
        }
    }

    /// The number of shards.
    pub(super) fn shards(&self) -> u32 {
        self.groups.bootstrap().shards
    }

    /// Asks a node that is up to take itself out.
    pub(super) async fn ask_to_leave(&self, node: NodeId) -> Result<(), String> {
        if node == self.groups.node() {
            return self.service.leave().await;
        }
        let asked = self.peers.ask(node, 0, &LeaveCluster, LEAVE_MAX).await;
        asked.map_err(|error| error.to_string())
    }

    /// What group 0 says, and what the nodes that are up say of themselves.
    pub(super) async fn survey(&self) -> (ClusterState, BTreeMap<NodeId, NodeStatus>) {
        let state = self.groups.cluster().read(|machine| machine.state().clone());
        let told = self.ask_all(&state).await;
        (state, told)
    }

    /// Asks every node how it is.
    async fn ask_all(&self, state: &ClusterState) -> BTreeMap<NodeId, NodeStatus> {
        let own = self.groups.node();
        let asking = state.nodes.keys().map(|node| async move {
            let status = if *node == own {
                self.service.status()
            } else {
                self.peers.ask(*node, 0, &GetStatus, STATUS_MAX).await.ok()
            };
            status.map(|status| (*node, status))
        });
        join_all(asking).await.into_iter().flatten().collect()
    }

    /// Raises the level of the cluster once all of its nodes have said that they understand a higher one.
    async fn raise_level(&self, state: &ClusterState, told: &BTreeMap<NodeId, NodeStatus>) {
        let Some(level) = common_level(state, told).filter(|level| *level > state.level) else { return };
        let members = state.nodes.keys().copied().collect();
        match self.groups.cluster().propose(RaiseLevel { level, members }).await.map(|applied| applied.outcome) {
            Ok(RaiseLevelOutcome::Done) => tracing::info!(%level, "all nodes of the cluster understand this level now"),
            // A node has joined meanwhile, which may not be able to read the entry with the command: a checkpoint takes it out of the log.
            Ok(RaiseLevelOutcome::MembersChanged) => {
                self.groups.cluster().checkpoint();
            }
            Err(error) => tracing::debug!(%error, "the level of the cluster was not raised yet"),
        }
    }

    /// Why the cluster is not bootstrapped yet, in words: no node is ready then, and no change is accepted.
    pub fn pending_bootstrap(&self) -> Option<String> {
        if self.bootstrapped.load(Ordering::Relaxed) {
            return None;
        }
        let shards = self.groups.bootstrap().shards;
        let why = self.groups.cluster().read(|machine| self.desired.pending_bootstrap(machine.state(), shards));
        self.bootstrapped.store(why.is_none(), Ordering::Relaxed);
        why
    }

    /// Notes of each group that has all its voters who they are. The reconcilers give them to it.
    async fn finish_bootstrap(&self, state: &ClusterState, told: &BTreeMap<NodeId, NodeStatus>) {
        if !self.desired.missing(state).is_empty() {
            return;
        }
        let whole = told.values().flat_map(|node| &node.groups).filter(|report| {
            let open = !state.placement.contains_key(&report.group);
            open && report.leader && !report.changing && report.voters == self.desired.voters(state, report.group)
        });
        let noting = whole.map(|report| {
            let command = Place { group: report.group, voters: report.voters.clone() };
            self.groups.cluster().propose(command)
        });
        // Those that are not noted are looked at again.
        let noted = join_all(noting).await.into_iter().filter(Result::is_ok).count();
        if noted > 0 {
            tracing::info!(groups = noted, "new groups have all their copies");
        }
    }

    /// Decides on the next moves.
    async fn settle(&self, state: &ClusterState, told: &BTreeMap<NodeId, NodeStatus>, moving: &BTreeSet<u32>) {
        let mut moves = moving.len();
        for group in 0..=self.groups.bootstrap().shards {
            let wanted = self.desired.voters(state, group);
            let Some(placed) = state.placement.get(&group).cloned() else { continue };
            if wanted.is_empty() || wanted == placed {
                continue;
            }
            // The same wish again, after a node of it has gone, costs nothing; a new one is a move.
            let known = placed.iter().all(|node| state.nodes.contains_key(node));
            let newcomers_up = wanted.iter().filter(|node| !placed.contains(node)).all(|node| told.contains_key(node));
            if !newcomers_up || known && (moves >= self.moves_max || moving.contains(&group)) {
                continue;
            }
            let command = Place { group, voters: wanted };
            match self.groups.cluster().propose(command).await {
                Ok(_) => moves += 1,
                Err(_) => return,
            }
        }
    }

    /// Moves one leader to where it is better off.
    async fn even_out(&self, state: &ClusterState, told: &BTreeMap<NodeId, NodeStatus>) {
        if let Some(LeaderMove { from, group, to }) = leader_move(state, told) {
            let _ = self.move_leader(from, group, to).await;
        }
    }

    /// Asks the leader of a group to hand over.
    ///
    /// # Errors
    /// Why it did not, in words.
    pub async fn move_leader(&self, from: NodeId, group: u32, to: NodeId) -> Result<(), String> {
        if from == self.groups.node() {
            let moved = match group.checked_sub(1).and_then(|shard| self.groups.shards().get(shard as usize)) {
                Some(shard) => shard.hand_over(Some(to), HAND_OVER_ANSWER_MAX).await,
                None => self.groups.cluster().hand_over(Some(to), HAND_OVER_ANSWER_MAX).await,
            };
            return if moved { Ok(()) } else { Err("leadership did not move in time".to_owned()) };
        }
        let asked = self.peers.ask(from, group, &MoveLeader { to }, HAND_OVER_ANSWER_MAX).await;
        asked.map_err(|error| error.to_string())
    }

    /// The cluster as this node sees it.
    pub async fn view(&self) -> ClusterView {
        let state = self.groups.cluster().read(|machine| machine.state().clone());
        let bootstrap = self.groups.bootstrap();
        let mut told = self.ask_all(&state).await;
        let mut moving = moving(&state, &told, bootstrap.shards);
        // What is still to be moved, though nobody has begun.
        moving.extend((0..=bootstrap.shards).filter(|group| {
            let wanted = self.desired.voters(&state, *group);
            !wanted.is_empty() && state.placement.get(group) != Some(&wanted)
        }));
        let led: BTreeSet<u32> = told
            .values()
            .flat_map(|node| &node.groups)
            .filter(|report| report.leader)
            .map(|report| report.group)
            .collect();
        let mut warnings = Vec::new();
        let configs: BTreeSet<u64> = told.values().map(|node| node.config).collect();
        if configs.len() > 1 {
            let own = told.get(&self.groups.node()).map(|node| node.config);
            let other: Vec<&str> = told
                .values()
                .filter(|node| Some(node.config) != own)
                .filter_map(|node| state.nodes.get(&node.node))
                .map(|node| node.name.as_str())
                .collect();
            warnings.push(format!(
                "cluster.toml differs between nodes: {} not what this node has; bring the same file to all and restart",
                if other.len() == 1 {
                    format!("that of {} is", other[0])
                } else {
                    format!("those of {} are", other.join(", "))
                }
            ));
        }
        if state.level < Level::CURRENT {
            let understands = |node: &NodeId| told.get(node).is_some_and(|status| status.level >= Level::CURRENT);
            let not: Vec<&str> =
                state.nodes.values().filter(|node| !understands(&node.id)).map(|node| node.name.as_str()).collect();
            if !not.is_empty() {
                warnings.push(format!(
                    "the cluster keeps to the level of an earlier version until {} runs this one and answers",
                    not.join(", ")
                ));
            }
        }
        for node in told.values().filter(|node| node.is_short_of_memory()) {
            let name = state.nodes.get(&node.node).map_or("a node", |node| &node.name);
            warnings.push(format!("{name} creates no links: it uses nearly all the memory that it may take; give it more ([limits] memory)"));
        }
        warnings.extend(self.clock_warnings(&state).await);
        if let Some(why) = self.pending_bootstrap() {
            warnings.push(format!("the cluster is being created, and accepts no changes before: {why}"));
        }
        let underreplicated = underreplicated(&told, |group| self.desired.voters(&state, group).len());
        let storing = state.nodes.values().filter(|node| node.stores() && !node.drain).count();
        if storing == 2 {
            warnings.push("of two nodes both are needed for changes: add a third, and one may be away".to_owned());
        }
        ClusterView {
            name: bootstrap.name.clone(),
            cluster: bootstrap.cluster_id.iter().map(|byte| format!("{byte:02x}")).collect(),
            shards: bootstrap.shards,
            asked: self.groups.node(),
            leaderless: (0..=bootstrap.shards).filter(|group| !led.contains(group)).collect(),
            moving: moving.into_iter().collect(),
            underreplicated,
            nodes: state
                .nodes
                .values()
                .map(|record| NodeView { record: record.clone(), status: told.remove(&record.id) })
                .collect(),
            level: state.level,
            warnings,
        }
    }

    /// What should be known of the nodes' clocks.
    async fn clock_warnings(&self, state: &ClusterState) -> Vec<String> {
        let Some(own) = self.service.clock() else { return Vec::new() };
        let asking = state.nodes.values().map(|record| async move {
            let report = match record.id == self.groups.node() {
                true => Some(own),
                false => clock::ask(&*self.peers, record.id).await,
            };
            report.map(|report| (record.name.clone(), report))
        });
        let told: Vec<_> = join_all(asking).await.into_iter().flatten().collect();
        // Read again: the others may have taken a second.
        clock::warnings(self.service.clock().unwrap_or(own).now, &told)
    }

    /// Changes what group 0 knows of a node.
    ///
    /// # Errors
    /// Why it could not, in words.
    pub async fn change<C: Command<Group = ClusterCommand>>(&self, command: C) -> Result<C::Outcome, String> {
        let applied = self.groups.cluster().propose_anywhere(command, HAND_OVER_ANSWER_MAX).await;
        applied.map(|applied| applied.outcome).map_err(|error| error.to_string())
    }

    /// The nodes that group 0 knows.
    pub fn nodes(&self) -> Vec<NodeRecord> {
        self.groups.cluster().read(|machine| machine.state().nodes.values().cloned().collect())
    }
}

/// The level that all nodes have said they understand; `None` while one of them does not answer.
fn common_level(state: &ClusterState, told: &BTreeMap<NodeId, NodeStatus>) -> Option<Level> {
    let levels: Option<Vec<Level>> = state.nodes.keys().map(|node| told.get(node).map(|status| status.level)).collect();
    levels?.into_iter().min()
}

/// The groups whose members are not what group 0 wants, as their leaders tell; also those of which no leader tells.
fn moving(state: &ClusterState, told: &BTreeMap<NodeId, NodeStatus>, shards: u32) -> BTreeSet<u32> {
    let mut actual: BTreeMap<u32, (&[NodeId], bool)> = BTreeMap::new();
    for report in told.values().flat_map(|node| &node.groups).filter(|report| report.leader) {
        actual.insert(report.group, (&report.voters, report.changing));
    }
    (0..=shards)
        .filter(|group| {
            let Some(placed) = state.placement.get(group) else { return false };
            let mut wanted = placed.clone();
            wanted.sort_unstable();
            actual.get(group).is_none_or(|(actual, changing)| *changing || *actual != wanted)
        })
        .collect()
}

/// The shards that have fewer copies on nodes that are up than the number `wished` for them, as their leaders tell.
fn underreplicated(told: &BTreeMap<NodeId, NodeStatus>, wished: impl Fn(u32) -> usize) -> Vec<u32> {
    let reports = told.values().flat_map(|node| &node.groups).filter(|report| report.leader && report.group != 0);
    let copies = |voters: &[NodeId]| voters.iter().filter(|voter| told.contains_key(voter)).count();
    let short = reports.filter(|report| copies(&report.voters) < wished(report.group)).map(|report| report.group);
    short.collect::<BTreeSet<u32>>().into_iter().collect()
}
