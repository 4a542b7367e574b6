//! The node as a member of the cluster: how it finds or creates the cluster, and how the cluster is maintained.
//!
//! ```text
//! clock.rs                  the wall clock for irreversible actions (clock_trust.rs decides whether to trust it)
//! backup.rs                 a backup of all groups, wherever they are
//! start.rs                  a new node: creates a cluster, or finds one and joins
//! requests.rs               the requests that a node answers by itself
//! service.rs                the answers of this node to others
//! freshness.rs              how one node asks another for the positions of the groups that it leads
//! router.rs                 which node answers a message
//! lists.rs                  which nodes answer for a list, and how their pages become one
//! membership_reconciler.rs  gives the groups that this node leads the members that group 0 records
//! placement_controller.rs   on the leader of group 0: decides the placement, and balances leaders (leaders.rs decides)
//! leave.rs                  removes a node, if the others can go on without it
//! status.rs                 the status report of a node
//! desired_placement.rs      which nodes should hold a group, and the progress of a bootstrap
//! ```

mod backup;
mod clock;
mod clock_trust;
mod desired_placement;
mod freshness;
mod leaders;
mod leave;
mod lists;
mod membership_reconciler;
mod placement_controller;
mod requests;
mod router;
mod service;
mod start;
mod status;

pub use backup::{BackupError, Backups, Pieces};
pub use clock::{Clock, read_clocks};
pub use clock_trust::{Doubt, Reading};
pub use desired_placement::DesiredPlacement;
pub use freshness::position_query;
pub use leave::{Leave, RetireError};
pub use lists::{AllTags, Lists, Page};
pub use membership_reconciler::{LocalNode, MembershipReconciler};
pub use placement_controller::PlacementController;
pub use requests::ClockReport;
pub use router::ClusterRouter;
pub use service::{NodeService, RunningNode};
pub use start::{ClusterOrigin, find_or_create, is_gone};
pub use status::{CatalogReport, ClusterView, DiskReport, GroupReport, MemoryReport, NodeStatus, NodeView};
