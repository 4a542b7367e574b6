//! All groups of a node.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use waypost_protocol::command::{Bootstrap, CreateCluster, RaiseLevel};
use waypost_protocol::{DomainTable, Level, NodeId, ShardId};
use waypost_store::create_durably;
use waypost_store::machine::{ClusterMachine, ShardMachine};

use crate::error::OpenError;
use crate::group::{Group, GroupPlace, IfNew};
use crate::limits::JOIN_MAX;
use crate::members::Members;
use crate::status::GroupStatus;

/// The groups that this node holds: group 0, and one for each shard if it stores links.
pub struct Groups {
    node: NodeId,
    bootstrap: Bootstrap,
    cluster: Arc<Group<ClusterMachine>>,
    domains: Arc<DomainTable>,
    shards: Vec<Arc<Group<ShardMachine>>>,
}

/// Group 0, opened before the others.
pub struct OpenedCluster {
    place: GroupPlace,
    cluster: Arc<Group<ClusterMachine>>,
    domains: Arc<DomainTable>,
    members: Arc<Members>,
}

impl OpenedCluster {
    /// Opens group 0. With `bootstrap`, and if the data directory is new, this node creates the cluster; without it, it waits to
    /// be made a member.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(
        place: GroupPlace,
        bootstrap: Option<Bootstrap>,
        members: Arc<Members>,
    ) -> Result<Self, OpenError> {
        let snapshots = place.data_dir.join("snapshots");
        // Durably: a snapshot that is being installed must be found again after a power cut.
        create_durably(&snapshots)?;
        for entry in std::fs::read_dir(&snapshots)? {
            let entry = entry?;
            // What was on its way when the last life ended; one that was being installed is finished below.
            if !entry.file_name().to_string_lossy().starts_with("install-") {
                std::fs::remove_file(entry.path())?;
            }
        }
        let if_new = if bootstrap.is_some() { IfNew::Create } else { IfNew::Wait };
        let cluster = Arc::new(Group::<ClusterMachine>::open(&place, 0, if_new).await?);
        let domains = Arc::<DomainTable>::default();
        cluster.configure(|machine| {
            machine.follow_level(place.level.clone());
            machine.follow_domains(domains.clone());
        });
        members.add(0, cluster.clone());
        if let Some(bootstrap) = bootstrap
            && cluster.is_leader()
            && cluster.read(|machine| machine.state().bootstrap.is_none())
        {
            cluster.propose(CreateCluster(bootstrap)).await?;
            // It has no members yet that could understand less; who comes later has to understand it.
            cluster.propose(RaiseLevel { level: Level::CURRENT, members: Vec::new() }).await?;
        }
        Ok(Self { place, cluster, domains, members })
    }

    /// Group 0.
    pub fn cluster(&self) -> &Arc<Group<ClusterMachine>> {
        &self.cluster
    }

    /// Waits until it is known which cluster this is, and opens the groups of all shards if this node is to `store` links.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open_shards(self, store: bool) -> Result<Groups, OpenError> {
        let Self { place, cluster, domains, members } = self;
        let bootstrap = tokio::time::timeout(JOIN_MAX, async {
            loop {
                if let Some(bootstrap) = cluster.read(|machine| machine.state().bootstrap.clone()) {
                    return bootstrap;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let bootstrap = bootstrap.await.map_err(|_| OpenError::Group {
            group: 0,
            detail: "no leader has told this node about its cluster; look whether a majority of the nodes runs"
                .to_owned(),
        })?;
        // A cluster of one has all its shards on the node that made it; otherwise members are added one by one.
        let alone = cluster.voters() == BTreeSet::from([place.node])
            && cluster.read(|machine| machine.state().placement.is_empty());
        let if_new = if alone { IfNew::Create } else { IfNew::Wait };
        let wanted = 1..=if store { bootstrap.shards } else { 0 };
        let shards = try_join_all(wanted.map(|id| {
            let place = place.clone();
            let members = members.clone();
            async move {
                // Awaited below; a panic in it fails the start.
                let opening = tokio::spawn(async move {
                    let group = Group::<ShardMachine>::open(&place, id, if_new).await.map(Arc::new)?;
                    members.add(id, group.clone());
                    Ok::<_, OpenError>(group)
                });
                let failed = |error: tokio::task::JoinError| OpenError::Group { group: id, detail: error.to_string() };
                opening.await.map_err(failed)?
            }
        }))
        .await?;
        Ok(Groups { node: place.node, bootstrap, cluster, domains, shards })
    }
}

impl Groups {
    /// This node.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// How the cluster was created.
    pub fn bootstrap(&self) -> &Bootstrap {
        &self.bootstrap
    }

    /// Group 0.
    pub fn cluster(&self) -> &Arc<Group<ClusterMachine>> {
        &self.cluster
    }

    /// The group of a shard.
    pub fn shard(&self, shard: ShardId) -> Option<&Arc<Group<ShardMachine>>> {
        self.shards.get(shard.index())
    }

    /// Whether this node has a replica of a shard that takes part: it is a voter, and group 0 still wants it to be. A replica
    /// that was taken out never hears of that from its own group.
    pub fn takes_part(&self, shard: ShardId) -> bool {
        let Some(group) = self.shard(shard).filter(|group| !group.is_installing()) else { return false };
        let placed = self.cluster.read(|machine| {
            machine.state().placement.get(&group.id()).is_none_or(|placed| placed.contains(&self.node))
        });
        group.is_leader() || placed && group.voters().contains(&self.node)
    }

    /// The level that all nodes of the cluster understand, as far as this one has heard.
    pub fn level(&self) -> Level {
        self.cluster.level().get()
    }

    /// The domains, as far as this node has heard: every node learns all of group 0.
    pub fn domains(&self) -> &Arc<DomainTable> {
        &self.domains
    }

    /// Whether this node's replica of a shard may answer for it: it takes part, and has caught up with what was acknowledged before
    /// it did ([`crate::Freshness`]). How old its answers may be then is another question.
    pub fn holds(&self, shard: ShardId) -> bool {
        let ready = |group: &Arc<Group<ShardMachine>>| group.is_caught_up() || group.is_leader();
        self.shard(shard).is_some_and(ready) && self.takes_part(shard)
    }

    /// The groups of all shards, by number.
    pub fn shards(&self) -> &[Arc<Group<ShardMachine>>] {
        &self.shards
    }

    /// What can be told of all groups that this node has opened.
    pub fn status(&self) -> Vec<GroupStatus> {
        std::iter::once(self.cluster.status()).chain(self.shards.iter().map(|group| group.status())).collect()
    }

    /// Stops all groups, each with a checkpoint. A command that is proposed afterwards is refused.
    ///
    /// # Errors
    /// The first that occurred; the others are stopped all the same.
    pub async fn close(&self) -> Result<(), OpenError> {
        let mut result = Ok(());
        for group in &self.shards {
            result = result.and(group.close().await);
        }
        result.and(self.cluster.close().await)
    }
}
