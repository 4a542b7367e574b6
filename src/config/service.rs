//! The services that a node can run.

use serde::Serialize;

/// A service that a node can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the services are described in ARCHITECTURE.md")]
pub enum ServiceName {
    KeyAllocator,
    LinkStore,
    Redirector,
    ClickCounter,
    Janitor,
}

impl ServiceName {
    /// All five.
    pub const ALL: [Self; 5] =
        [Self::KeyAllocator, Self::LinkStore, Self::Redirector, Self::ClickCounter, Self::Janitor];

    /// The name in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::KeyAllocator => "key_allocator",
            Self::LinkStore => "link_store",
            Self::Redirector => "redirector",
            Self::ClickCounter => "click_counter",
            Self::Janitor => "janitor",
        }
    }
}
