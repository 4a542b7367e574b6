//! Who a node is: its id, and the cluster that it belongs to.

use waypost_protocol::NodeId;
use waypost_store::{Db, StoreError};

/// Who this node is: kept in its data directory, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeIdentity {
    /// Random id, made at the first boot.
    pub id: NodeId,
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
    /// Reads the identity of a data directory, making one with `fresh_id` if there is none.
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
        let cluster = Self::binding_of(db)?;
        db.commit().wait_blocking()?;
        Ok(Self { id: NodeId(id), cluster })
    }

    /// The cluster that the node of a database belongs to, without changing anything.
    ///
    /// # Errors
    /// If the store fails or the record is damaged.
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
