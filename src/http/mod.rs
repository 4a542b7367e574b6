//! The HTTP surface: routes, and the servers that listen.
//!
//! ```text
//!   socket ─► wire ─► HttpService ─► Front ──cached GET /{code}──► 302
//!                                      └──all else──► App ─► access · problem+json · handlers ─► actors
//! ```

mod accept;
mod access;
mod access_log;
mod account;
mod admin;
mod answer;
mod backup;
mod forwarded;
mod front;
mod health;
mod if_match;
mod keys;
mod link_json;
mod links;
mod live;
mod metrics;
mod origin;
mod pages;
mod permit;
mod problem;
mod redirect;
mod request_id;
mod series;
mod server;
mod shorten;
mod site_files;
mod state;
mod stats;
mod times;
mod traced;
mod unknown;
mod visitor;
mod wire;

pub use access::{Access, CLI_KEY_PREFIX, KEY_PREFIX, is_loopback};
pub use admin::{ADMIN_CONNECTIONS_MAX, admin_server};
pub use metrics::WorkerMetrics;
pub use origin::PublicAddress;
pub use problem::{KeyNeeded, Problem};
pub use redirect::found;
pub use server::{PublicServer, public_server};
pub use state::{NodeState, WorkerState};
pub use unknown::UnknownCodes;
pub use wire::{Addresses, ConnectionLimits};
