//! All groups of a node, and who the node is.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use parking_lot::RwLock;
use waypost_protocol::command::{Bootstrap, Command, Outcome};
use waypost_protocol::{Level, NodeId, ShardId};
use waypost_store::machine::{ClusterMachine, ShardMachine};
use waypost_store::{Db, StoreError, create_durably};

use crate::group::{Group, GroupPlace, IfNew};
use crate::member::Member;
use crate::proposer::ProposeError;
use crate::status::GroupStatus;

/// Why the groups of a node could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store is damaged or fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file could not be read or written.
    #[error("cannot use the data directory: {0}")]
    Io(#[from] std::io::Error),
    /// A group does not come up.
    #[error("group {group}: {detail}")]
    Group {
        /// Which.
        group: u32,
        /// Why.
        detail: String,
    },
    /// The cluster could not be created.
    #[error("cannot create the cluster: {0}")]
    Bootstrap(#[from] ProposeError),
}

/// Who this node is: kept in its data directory, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeIdentity {
    /// Random id, made at the first boot.
    pub id: NodeId,
    /// Grows by one with each start: tells apart what the node said in different lives.
    pub incarnation: u64,
    /// The cluster that it belongs to, and whether it created it; `None` for a new node.
    pub cluster: Option<ClusterBinding>,
}

/// That a node belongs to a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterBinding {
    /// The cluster's id.
    pub id: [u8; 16],
    /// Whether this node created it (and is to do so again, if it died halfway).
    pub created: bool,
}

impl NodeIdentity {
    /// Reads the identity of a data directory, making one with `fresh_id` if there is none, and begins a new life.
    /// Durable when it returns.
    ///
    /// # Errors
    /// When the store fails.
    pub fn load(db: &Db, fresh_id: u64) -> Result<Self, StoreError> {
        let tree = db.tree("node")?;
        let read = |name: &[u8]| -> Result<Option<u64>, StoreError> {
            let Some(value) = tree.get(name)? else { return Ok(None) };
            let corrupt = |detail: String| StoreError::Corrupt { what: "identity of the node".to_owned(), detail };
            let (_, payload) = waypost_protocol::open(name, &value).map_err(|error| corrupt(error.to_string()))?;
            let bytes = payload.try_into().map_err(|_| corrupt("it is not a number".to_owned()))?;
            Ok(Some(u64::from_be_bytes(bytes)))
        };
        let write =
            |name: &[u8], number: u64| tree.insert(name, waypost_protocol::seal(name, 1, &number.to_be_bytes()));
        let id = match read(b"id")? {
            Some(id) => id,
            None => {
                write(b"id", fresh_id)?;
                fresh_id
            }
        };
        let incarnation = read(b"incarnation")?.unwrap_or(0) + 1;
        write(b"incarnation", incarnation)?;
        let cluster = Self::binding_of(db)?;
        db.commit().wait_blocking()?;
        Ok(Self { id: NodeId(id), incarnation, cluster })
    }

    /// The cluster that the node of a database belongs to, without changing anything.
    ///
    /// # Errors
    /// When the store fails or the record is damaged.
    pub fn binding_of(db: &Db) -> Result<Option<ClusterBinding>, StoreError> {
        let Some(value) = db.tree("node")?.get(b"cluster")? else { return Ok(None) };
        let corrupt = |detail: String| StoreError::Corrupt { what: "identity of the node".to_owned(), detail };
        let (_, payload) = waypost_protocol::open(b"cluster", &value).map_err(|error| corrupt(error.to_string()))?;
        let (created, cluster) = payload.split_first().ok_or_else(|| corrupt("it is empty".to_owned()))?;
        let id = cluster.try_into().map_err(|_| corrupt("it is no id of a cluster".to_owned()))?;
        Ok(Some(ClusterBinding { id, created: *created == 1 }))
    }

    /// Binds the node to a cluster, for ever. Durable when it returns.
    ///
    /// # Errors
    /// When the store fails.
    pub fn bind(&mut self, db: &Db, binding: ClusterBinding) -> Result<(), StoreError> {
        let mut payload = vec![u8::from(binding.created)];
        payload.extend_from_slice(&binding.id);
        db.tree("node")?.insert(b"cluster", waypost_protocol::seal(b"cluster", 1, &payload))?;
        db.commit().wait_blocking()?;
        self.cluster = Some(binding);
        Ok(())
    }
}

/// The groups by number, for requests of other nodes: filled while they are opened.
#[derive(Default)]
pub struct Members {
    groups: RwLock<HashMap<u32, Arc<dyn Member>>>,
}

impl Members {
    fn add(&self, id: u32, group: Arc<dyn Member>) {
        self.groups.write().insert(id, group);
    }

    /// The group with a number, once it is open.
    pub fn get(&self, id: u32) -> Option<Arc<dyn Member>> {
        self.groups.read().get(&id).cloned()
    }
}

/// The groups that this node holds: group 0, and one for each shard if it stores links.
pub struct Groups {
    node: NodeId,
    bootstrap: Bootstrap,
    cluster: Arc<Group<ClusterMachine>>,
    shards: Vec<Arc<Group<ShardMachine>>>,
}

/// How long a member may take to hear from the leader of group 0 what cluster it belongs to.
const JOIN_MAX: Duration = Duration::from_secs(300);

/// Group 0, opened before the others.
pub struct OpenedCluster {
    place: GroupPlace,
    cluster: Arc<Group<ClusterMachine>>,
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
        cluster.configure(|machine| machine.follow_level(place.level.clone()));
        members.add(0, cluster.clone());
        if let Some(bootstrap) = bootstrap
            && cluster.is_leader()
            && cluster.read(|machine| machine.state().bootstrap.is_none())
        {
            let applied = cluster.propose(Command::Bootstrap(bootstrap)).await?;
            debug_assert!(matches!(applied.outcome, Outcome::Done | Outcome::AlreadyBootstrapped));
            // It has no members yet that could understand less; who comes later has to understand it.
            cluster.propose(Command::RaiseLevel { level: Level::CURRENT, members: Vec::new() }).await?;
        }
        Ok(Self { place, cluster, members })
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
        let Self { place, cluster, members } = self;
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
        Ok(Groups { node: place.node, bootstrap, cluster, shards })
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
