//! All groups of a node, and who the node is.

use std::path::Path;
use std::sync::Arc;

use futures_util::future::try_join_all;
use waypost_protocol::command::{Command, Founding, Outcome};
use waypost_protocol::{NodeId, ShardId};
use waypost_store::machine::{ClusterMachine, ShardMachine};
use waypost_store::{Db, StoreError};

use crate::group::{Group, GroupOptions, GroupStatus};
use crate::proposer::ProposeError;

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
    Found(#[from] ProposeError),
}

/// Who this node is: kept in its data directory, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeIdentity {
    /// Random id, made at the first boot.
    pub id: NodeId,
    /// Grows by one with each start: tells apart what the node said in different lives.
    pub incarnation: u64,
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
        db.commit().wait_blocking()?;
        Ok(Self { id: NodeId(id), incarnation })
    }
}

/// The groups that this node holds: group 0, and one for each shard.
pub struct Groups {
    founding: Founding,
    cluster: Arc<Group<ClusterMachine>>,
    shards: Vec<Arc<Group<ShardMachine>>>,
}

impl Groups {
    /// Opens all groups, creating the cluster by `founding` if the data directory is new. When it returns, every group
    /// shows what had been acknowledged.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(
        db: &Db,
        node: NodeId,
        data_dir: &Path,
        founding: Founding,
        options: GroupOptions,
    ) -> Result<Self, OpenError> {
        let snapshots = data_dir.join("snapshots");
        std::fs::create_dir_all(&snapshots)?;
        let cluster = Group::<ClusterMachine>::open(db, 0, node, true, data_dir, options).await?;
        if cluster.read(|machine| machine.state().founding.is_none()) {
            let applied = cluster.propose(Command::Found(founding)).await?;
            debug_assert!(matches!(applied.outcome, Outcome::Done | Outcome::AlreadyFounded));
        }
        let founding = cluster
            .read(|machine| machine.state().founding.clone())
            .ok_or(OpenError::Group { group: 0, detail: "it does not know its cluster".to_owned() })?;
        let shards = try_join_all((1..=founding.shards).map(|id| {
            let (db, data_dir) = (db.clone(), data_dir.to_owned());
            async move {
                tokio::spawn(async move {
                    Group::<ShardMachine>::open(&db, id, node, true, &data_dir, options).await.map(Arc::new)
                })
                .await
                .unwrap_or_else(|error| Err(OpenError::Group { group: id, detail: error.to_string() }))
            }
        }))
        .await?;
        Ok(Self { founding, cluster: Arc::new(cluster), shards })
    }

    /// How the cluster was created.
    pub fn founding(&self) -> &Founding {
        &self.founding
    }

    /// Group 0.
    pub fn cluster(&self) -> &Arc<Group<ClusterMachine>> {
        &self.cluster
    }

    /// The group of a shard.
    pub fn shard(&self, shard: ShardId) -> Option<&Arc<Group<ShardMachine>>> {
        self.shards.get(shard.index())
    }

    /// The groups of all shards, by number.
    pub fn shards(&self) -> &[Arc<Group<ShardMachine>>] {
        &self.shards
    }

    /// What can be told of all groups.
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
