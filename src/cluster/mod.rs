//! The node among others: how it finds or founds its cluster, and what it does to keep it in shape.
//!
//! ```text
//! clock.rs                  whether the wall clock may be acted on where that cannot be undone (clock_trust.rs decides)
//! backup.rs                 a backup of all groups, wherever they are
//! start.rs                  a new node: found a cluster, or find one and join
//! service.rs                what this node answers to others
//! freshness.rs              how one node asks another how far the groups are that it leads
//! router.rs                 which node answers what
//! membership_reconciler.rs  makes the groups that this node leads have the members that group 0 wants
//! placement_controller.rs   on the leader of group 0: settles who is to hold what, and evens out leaders (leaders.rs decides)
//! leave.rs                  taking a node out, if the others can go on without it
//! status.rs                 how a node tells of itself
//! desired_placement.rs      which nodes should hold a group, and whether a new cluster has come so far
//! ```

mod backup;
mod clock;
mod clock_trust;
mod desired_placement;
mod freshness;
mod leaders;
mod leave;
mod membership_reconciler;
mod placement_controller;
mod router;
mod service;
mod start;
mod status;

pub use backup::{BackupError, Backups, Pieces};
pub use clock::{Clock, ClockReport, read_clocks};
pub use clock_trust::{Doubt, Reading};
pub use desired_placement::DesiredPlacement;
pub use freshness::committed_query;
pub use leave::{Leave, RetireError, SETTLE_MAX};
pub use membership_reconciler::{LocalNode, MembershipReconciler};
pub use placement_controller::PlacementController;
pub use router::ClusterRouter;
pub use service::{NodeService, RunningNode};
pub use start::{ClusterOrigin, find_or_create, is_gone};
pub use status::{ClusterView, GroupReport, NodeStatus, NodeView};
