//! The messages of each service, one file a service, and the table of their numbers.

pub mod click_counter;
pub mod janitor;
pub mod key_allocator;
pub mod link_store;
pub mod redirector;

pub use click_counter::{ClickCounter, Flush, Flushed};
pub use janitor::{Janitor, Sweep, Swept};
pub use key_allocator::{KeyAllocator, NextKeys};
pub use link_store::{
    Changed, CreateLink, Created, DeleteLink, EditLink, EndJournals, GetLink, GetOrphans, GetStats, LinkStore,
    LinkView, RecordClicks, Recorded, ResetStats, Upkeep, UpkeepDone,
};
pub use redirector::{Redirector, Resolution, Resolve};

use crate::message::{Kind, Request};

/// Every message with its number and name. A number that was in a release is never used again.
pub const KINDS: &[(Kind, &str)] = &[
    (NextKeys::KIND, NextKeys::NAME),
    (CreateLink::KIND, CreateLink::NAME),
    (GetLink::KIND, GetLink::NAME),
    (EditLink::KIND, EditLink::NAME),
    (DeleteLink::KIND, DeleteLink::NAME),
    (RecordClicks::KIND, RecordClicks::NAME),
    (GetStats::KIND, GetStats::NAME),
    (GetOrphans::KIND, GetOrphans::NAME),
    (ResetStats::KIND, ResetStats::NAME),
    (EndJournals::KIND, EndJournals::NAME),
    (Upkeep::KIND, Upkeep::NAME),
    (Resolve::KIND, Resolve::NAME),
    (Flush::KIND, Flush::NAME),
    (Sweep::KIND, Sweep::NAME),
];

#[cfg(test)]
mod tests {
    use super::KINDS;

    #[test]
    fn no_two_messages_share_a_number_or_a_name() {
        for (i, (kind, name)) in KINDS.iter().enumerate() {
            for (other_kind, other_name) in &KINDS[i + 1..] {
                assert_ne!(kind, other_kind, "{name} and {other_name}");
                assert_ne!(name, other_name);
            }
        }
    }
}
