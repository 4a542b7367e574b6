//! What this node answers to others.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::RwLock;
use waypost_consensus::{GROUP_REQUESTS, Group, Groups, Members};
use waypost_link_store::NodeCatalog;
use waypost_protocol::command::{AdmitNode, AdmitNodeOutcome, NodeRecord, PutNode};
use waypost_protocol::listing::{NodePage, NodeTags};
use waypost_protocol::peer::{BoxFuture, PeerError, PeerService, Sender};
use waypost_protocol::peer_request::{AnsweredByPeer, AnswersPeers, PeerRequestList};
use waypost_protocol::{Kind, Level, NodeId};
use waypost_runtime::RemoteHandlers;
use waypost_store::SpaceWatch;
use waypost_store::machine::ClusterMachine;

use super::clock::Clock;
use super::leave::{Leave, RetireError};
use super::lists::AboutShards;
use super::placement_controller::PlacementController;
use super::requests::{
    ClockReport, CommittedAt, GetClock, GetCommitted, GetStatus, Join, LeaveCluster, ListLinks, ListTags, MoveLeader,
    NodeRequests, Probe, Probed,
};
use super::status::{CatalogReport, DiskReport, MemoryReport, NodeStatus, reports};
use crate::lifecycle::Lifecycle;
use crate::limits::{HAND_OVER_MAX, NODE_TEXT_BYTES_MAX};
use crate::memory::NodeMemory;

/// What there is once the node has started.
pub struct RunningNode {
    /// Its groups.
    pub groups: Arc<Groups>,
    /// The messages of its actors.
    pub handlers: RemoteHandlers,
    /// Whether it refuses changes for want of space.
    pub read_only: Arc<AtomicBool>,
    /// Whether it is about to stop.
    pub lifecycle: Arc<Lifecycle>,
    /// Its clock.
    pub clock: Arc<Clock>,
    /// Its catalog.
    pub catalog: Arc<NodeCatalog>,
    /// The disk of its data directory.
    pub disk: SpaceWatch,
    /// Its memory.
    pub memory: Arc<NodeMemory>,
}

/// Answers other nodes from the moment the peer port is open; what is not there yet is refused.
pub struct NodeService {
    name: String,
    config: u64,
    binding: Arc<RwLock<Option<[u8; 16]>>>,
    members: Arc<Members>,
    cluster: OnceLock<Arc<Group<ClusterMachine>>>,
    controller: OnceLock<Arc<PlacementController>>,
    leave: OnceLock<Box<dyn Leave>>,
    running: OnceLock<RunningNode>,
}

fn refused(error: impl ToString) -> PeerError {
    PeerError::Refused(error.to_string())
}

fn needed_as_it_was(name: &str, why: &RetireError) -> PeerError {
    refused(format!(
        "\"{name}\" comes with an empty data directory, but the cluster needs what it held: {why}. Is its disk mounted, and data_dir \
         right?"
    ))
}

impl NodeService {
    /// A node that has only its name and the digest of its configuration. `binding` is its cluster, once it has one.
    pub fn new(name: &str, config: u64, binding: Arc<RwLock<Option<[u8; 16]>>>, members: Arc<Members>) -> Self {
        Self {
            name: name.to_owned(),
            config,
            binding,
            members,
            cluster: OnceLock::new(),
            controller: OnceLock::new(),
            leave: OnceLock::new(),
            running: OnceLock::new(),
        }
    }

    /// Group 0 is open: new nodes can be taken in.
    pub fn set_cluster(&self, cluster: Arc<Group<ClusterMachine>>) {
        let _ = self.cluster.set(cluster);
    }

    /// The other nodes can be asked how they are: a node can be replaced.
    pub fn set_controller(&self, controller: Arc<PlacementController>) {
        let _ = self.controller.set(controller);
    }

    /// The node can be taken out while it runs.
    pub fn set_leave(&self, leave: Box<dyn Leave>) {
        let _ = self.leave.set(leave);
    }

    /// Takes this node out of the cluster.
    pub(super) async fn leave(&self) -> Result<(), String> {
        let leave = self.leave.get().ok_or_else(|| "it is starting".to_owned())?;
        leave.leave().await
    }

    /// The node has started.
    pub fn set_running(&self, running: RunningNode) {
        let _ = self.running.set(running);
    }

    /// What the node says of itself, once it has started.
    pub fn status(&self) -> Option<NodeStatus> {
        let running = self.running.get()?;
        Some(NodeStatus {
            node: running.groups.node(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            stopping: running.lifecycle.state().is_stopping(),
            read_only: running.read_only.load(Ordering::Relaxed),
            links: running.groups.status().iter().map(|group| group.links).sum(),
            config: self.config,
            groups: reports(&running.groups),
            level: Level::CURRENT,
            catalog: running.catalog.status().map(CatalogReport::from),
            disk: running.disk.check().ok().map(DiskReport::from),
            memory: MemoryReport::of(&running.memory),
        })
    }

    /// What the node says of its clock, once it has started.
    pub fn clock(&self) -> Option<ClockReport> {
        self.running.get().map(|running| running.clock.report())
    }

    fn has_left(&self, node: NodeId) -> bool {
        self.cluster.get().is_some_and(|cluster| cluster.read(|machine| machine.state().gone.contains(&node)))
    }

    async fn join(&self, from: &Sender, join: Join, within: Duration) -> Result<[u8; 16], PeerError> {
        let Join { record, level } = join;
        let texts = [&record.name, &record.peer, &record.http, &record.zone];
        let short =
            texts.iter().all(|text| text.len() <= NODE_TEXT_BYTES_MAX) && record.services.len() <= NODE_TEXT_BYTES_MAX;
        if record.id != from.node || record.name != from.name || !short {
            return Err(refused("a node may only tell of itself, in short"));
        }
        let (Some(cluster), Some(binding)) = (self.cluster.get(), *self.binding.read()) else {
            return Err(refused("this node belongs to no cluster yet"));
        };
        let name = record.name.clone();
        let too_low = |needed: Level| {
            refused(format!(
                "\"{name}\" runs an earlier version of waypost (level {level}); this cluster is at level {needed}. Start it with the \
                 version of the other nodes"
            ))
        };
        let (needed, first) = cluster.read(|machine| (machine.state().level, machine.state().nodes.is_empty()));
        if level < needed {
            return Err(too_low(needed));
        }
        if first && needed >= Level::ONE {
            return Err(refused("the node that created the cluster is not noted as its first member yet; try again"));
        }
        let same_name = |other: &&NodeRecord| other.name == record.name && other.id != record.id;
        let (gone, namesakes) = cluster.read(|machine| {
            let namesakes = machine.state().nodes.values().filter(same_name).map(|node| node.id).collect::<Vec<_>>();
            (machine.state().gone.contains(&record.id), namesakes)
        });
        if !gone && !namesakes.is_empty() {
            self.replace(&name, &namesakes).await?;
        }
        let admitted = match needed {
            Level::BASE => {
                cluster.propose_anywhere(PutNode(record), within).await.map(|applied| applied.outcome.into())
            }
            _ => cluster.propose_anywhere(AdmitNode { record, level }, within).await.map(|applied| applied.outcome),
        };
        match admitted {
            Ok(AdmitNodeOutcome::Done) => {
                tracing::info!(name, "a node has joined the cluster");
                Ok(binding)
            }
            Ok(AdmitNodeOutcome::NodeNeeded { groups }) => Err(needed_as_it_was(&name, &RetireError::Placed(groups))),
            Ok(AdmitNodeOutcome::MembersChanged) => Err(refused("the members of the cluster are changing; try again")),
            Ok(AdmitNodeOutcome::TooManyNodes { max }) => {
                Err(refused(format!("the cluster has {max} nodes, which is as many as it may have; remove one first")))
            }
            Ok(AdmitNodeOutcome::LevelTooLow { needed }) => Err(too_low(needed)),
            Ok(AdmitNodeOutcome::NotFound) if self.has_left(from.node) => {
                Err(refused("this id was taken out of the cluster; empty the data directory to join as a new node"))
            }
            // This node has not heard yet of what the cluster has become.
            Ok(AdmitNodeOutcome::NotFound) => Err(refused("the cluster could not take it in just now; try again")),
            Err(error) => Err(refused(format!("the cluster cannot decide now: {error}"))),
        }
    }

    /// Takes out the nodes whose name a new one has.
    async fn replace(&self, name: &str, namesakes: &[NodeId]) -> Result<(), PeerError> {
        let controller = self.controller.get().ok_or_else(starting)?;
        match controller.replace(namesakes).await {
            Ok(()) => Ok(()),
            Err(error @ (RetireError::Needed(_) | RetireError::Placed(_))) => Err(needed_as_it_was(name, &error)),
            Err(error) => Err(refused(error)),
        }
    }

    async fn move_leader(&self, group: u32, to: NodeId) -> Result<(), PeerError> {
        let running = self.running()?;
        let moved = match group.checked_sub(1) {
            None => running.groups.cluster().hand_over(Some(to), HAND_OVER_MAX).await,
            Some(shard) => {
                let shard =
                    running.groups.shards().get(shard as usize).ok_or_else(|| refused("there is no such group"))?;
                shard.hand_over(Some(to), HAND_OVER_MAX).await
            }
        };
        if moved { Ok(()) } else { Err(refused("leadership did not move in time")) }
    }

    async fn answer(
        &self,
        from: Sender,
        kind: Kind,
        scope: u32,
        body: Vec<u8>,
        within: Duration,
    ) -> Result<Vec<u8>, PeerError> {
        let context = Context { from, scope, within };
        if !NodeRequests::is_members_only(kind) {
            return NodeRequests::dispatch(self, kind, body, context).await;
        }
        if !context.from.member {
            return Err(refused("only members of the cluster may ask this"));
        }
        if self.has_left(context.from.node) {
            return Err(refused(
                "this node was taken out of the cluster; empty its data directory to join as a new one",
            ));
        }
        if NodeRequests::KINDS.contains(kind) {
            return NodeRequests::dispatch(self, kind, body, context).await;
        }
        if GROUP_REQUESTS.contains(kind) {
            let group = self.members.get(scope).ok_or_else(|| refused("the group is not open on this node"))?;
            return group.answer(kind, body, within).await;
        }
        let serving = self.running()?.handlers.handle(kind, body, within);
        serving.ok_or_else(|| refused("there is no such request"))?.await
    }

    fn running(&self) -> Result<&RunningNode, PeerError> {
        self.running.get().ok_or_else(starting)
    }
}

fn starting() -> PeerError {
    refused("the node is starting")
}

/// What a request comes with.
pub(super) struct Context {
    from: Sender,
    scope: u32,
    within: Duration,
}

impl AnswersPeers<Probe, Context> for NodeService {
    async fn answer(&self, _: Probe, context: Context) -> Result<Probed, PeerError> {
        Ok(Probed {
            name: self.name.clone(),
            cluster: *self.binding.read(),
            gone: self.has_left(context.from.node),
            config: self.config,
            level: Level::CURRENT,
        })
    }
}

impl AnswersPeers<Join, Context> for NodeService {
    async fn answer(&self, join: Join, context: Context) -> Result<[u8; 16], PeerError> {
        self.join(&context.from, join, context.within).await
    }
}

impl AnswersPeers<GetStatus, Context> for NodeService {
    async fn answer(&self, _: GetStatus, _: Context) -> Result<NodeStatus, PeerError> {
        self.status().ok_or_else(starting)
    }
}

impl AnswersPeers<MoveLeader, Context> for NodeService {
    async fn answer(&self, MoveLeader { to }: MoveLeader, context: Context) -> Result<(), PeerError> {
        self.move_leader(context.scope, to).await
    }
}

impl AnswersPeers<GetClock, Context> for NodeService {
    async fn answer(&self, _: GetClock, _: Context) -> Result<ClockReport, PeerError> {
        self.clock().ok_or_else(starting)
    }
}

impl AnswersPeers<GetCommitted, Context> for NodeService {
    async fn answer(&self, asked: GetCommitted, _: Context) -> Result<CommittedAt, PeerError> {
        Ok(super::freshness::answer(&self.members, asked).await)
    }
}

impl AnswersPeers<LeaveCluster, Context> for NodeService {
    async fn answer(&self, _: LeaveCluster, _: Context) -> Result<(), PeerError> {
        self.leave().await.map_err(refused)
    }
}

impl AnswersPeers<ListLinks, Context> for NodeService {
    async fn answer(&self, asked: ListLinks, context: Context) -> Result<NodePage, PeerError> {
        Ok(asked.answered_by(&self.running()?.catalog, context.within).await)
    }
}

impl AnswersPeers<ListTags, Context> for NodeService {
    async fn answer(&self, asked: ListTags, context: Context) -> Result<NodeTags, PeerError> {
        Ok(asked.answered_by(&self.running()?.catalog, context.within).await)
    }
}

impl PeerService for NodeService {
    fn serve(
        &self,
        from: Sender,
        kind: Kind,
        scope: u32,
        body: Vec<u8>,
        within: Duration,
    ) -> BoxFuture<'_, Result<Vec<u8>, PeerError>> {
        Box::pin(self.answer(from, kind, scope, body, within))
    }
}
