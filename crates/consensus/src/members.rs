//! The groups of this node, as other nodes see them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use waypost_protocol::Kind;
use waypost_protocol::peer::{BoxFuture, PeerError};

use crate::age::Committed;

/// A group, as other nodes see it.
pub trait Member: Send + Sync {
    /// Answers a request of another member.
    fn answer(&self, kind: Kind, body: Vec<u8>, within: Duration) -> BoxFuture<'_, Result<Vec<u8>, PeerError>>;

    /// How far the group is, if this node leads it and is sure of that.
    fn committed(&self) -> BoxFuture<'_, Option<Committed>>;

    /// The index up to which its log is applied here.
    fn applied(&self) -> u64;
}

/// The groups by number, for requests of other nodes: filled while they are opened.
#[derive(Default)]
pub struct Members {
    groups: RwLock<HashMap<u32, Arc<dyn Member>>>,
}

impl Members {
    pub(crate) fn add(&self, id: u32, group: Arc<dyn Member>) {
        self.groups.write().insert(id, group);
    }

    /// The group with a number, once it is open.
    pub fn get(&self, id: u32) -> Option<Arc<dyn Member>> {
        self.groups.read().get(&id).cloned()
    }
}
