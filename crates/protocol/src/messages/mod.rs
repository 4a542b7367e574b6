//! The messages of each service, one file a service.

pub mod click_counter;
pub mod janitor;
pub mod key_allocator;
pub mod link_store;
pub mod redirector;

pub use click_counter::{ClickCounter, Flush, Flushed};
pub use janitor::Janitor;
pub use key_allocator::{KeyAllocator, NextKeys};
pub use link_store::{
    Changed, CreateLink, Created, DeleteLink, EditLink, EndJournals, GetCrawlable, GetCreated, GetHistory, GetLink,
    GetOrphans, GetStats, LinkHistory, LinkStore, LinkView, MayVisit, RecordClicks, Recorded, ResetStats, Upkeep,
    UpkeepDone, UseVisit,
};
pub use redirector::{Redirector, Resolution, Resolve};

use crate::kinds::{Kinds, distinct};
use crate::message::{MessageList, Service};

const fn of<S: Service>() -> &'static Kinds {
    S::Messages::KINDS
}

/// The messages of all services.
pub const ALL: [&Kinds; 5] =
    [of::<KeyAllocator>(), of::<LinkStore>(), of::<Redirector>(), of::<ClickCounter>(), of::<Janitor>()];

const _: () = assert!(distinct(&ALL), "two messages share a number or a name, or a number is retired");
