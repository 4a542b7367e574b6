//! The node among others: how it finds or founds its cluster, and what it does to keep it in shape.
//!
//! ```text
//! clock.rs     whether the wall clock may be acted on where that cannot be undone (clock_trust.rs decides)
//! backup.rs    a backup of all groups, wherever they are
//! start.rs     a new node: found a cluster, or find one and join
//! service.rs   what this node answers to others
//! freshness.rs how one node asks another how far the groups are that it leads
//! router.rs    which node answers what
//! steward.rs   makes the groups that this node leads have the members that group 0 wants
//! control.rs   on the leader of group 0: settles who is to hold what, and evens out leaders (leaders.rs decides)
//! leave.rs     taking a node out, if the others can go on without it
//! status.rs    how a node tells of itself
//! wish.rs      which nodes should hold a group, and whether a new cluster has come so far
//! ```

mod backup;
mod clock;
mod clock_trust;
mod control;
mod freshness;
mod leaders;
mod leave;
mod router;
mod service;
mod start;
mod status;
mod steward;
mod wish;

pub use backup::{BackupError, Backups, Pieces};
pub use clock::{Clock, ClockReport, read_clocks};
pub use clock_trust::{Doubt, Reading};
pub use control::Control;
pub use freshness::asking;
pub use leave::{Leave, RetireError, SETTLE_MAX};
pub use router::ClusterRouter;
pub use service::{NodeService, Ready};
pub use start::{Found, find_or_found, is_gone};
pub use status::{ClusterView, GroupReport, NodeStatus, NodeView};
pub use steward::{Own, Steward};
pub use wish::Wish;
