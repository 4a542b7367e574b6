//! The names of nodes, for messages.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use waypost_protocol::NodeId;

/// The names of nodes, for messages: as the nodes stated them, or as group 0 records them.
#[derive(Clone, Default)]
pub(crate) struct Names {
    names: Arc<RwLock<HashMap<NodeId, String>>>,
}

impl Names {
    pub(crate) fn forget(&self, node: NodeId) {
        self.names.write().remove(&node);
    }

    pub(crate) fn set(&self, node: NodeId, name: &str) {
        if self.names.read().get(&node).is_none_or(|known| known != name) {
            self.names.write().insert(node, name.to_owned());
        }
    }

    /// The name of a node, or its id if the name is not known.
    pub(crate) fn of(&self, node: NodeId) -> String {
        self.names.read().get(&node).cloned().unwrap_or_else(|| node.0.to_string())
    }
}
