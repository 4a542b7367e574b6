//! The HTTP surface: routes, and the servers that listen.
//!
//! ```text
//!   socket ─► wire ─► FastRedirects ──cached GET /{code}──► 302
//!                │         └──other codes──► actix-web App ─► authorized · handlers · problem+json ─► src/app
//!                └──all else──► HttpService ─► Front ─► actix-web App
//! ```

mod accept;
mod access_log;
mod account;
mod admin;
mod analytics;
mod answer;
mod attempts;
mod authorized;
mod backup;
mod body;
mod budgets;
mod bulk;
mod dashboard;
mod dashboard_links;
mod domains;
mod evidence;
mod fast;
mod fast_app;
mod fast_miss;
mod flood;
mod forwarded;
mod front;
mod health;
mod history;
mod hit;
mod if_match;
mod keys;
mod limited;
mod link_json;
mod links;
mod list;
mod live;
mod metrics;
mod openapi;
mod origin;
mod pages;
mod paths;
mod preview;
mod problem;
mod qr;
mod redirect;
mod request_id;
mod robots;
mod routes;
mod ruled;
mod rules_json;
mod server;
mod shorten;
mod sign_ins;
mod site_files;
mod sites;
mod split_key;
mod state;
mod stats;
mod sweep;
mod tags;
mod traced;
mod ui;
mod unknown;
mod unlock;
mod visit_budgets;
mod visitor;
mod wire;

pub use admin::admin_server;
pub use attempts::PasswordAttempts;
pub use bulk::BULK_REQUESTS_MAX;
pub use dashboard::{Dashboard, NodeAddresses};
pub use evidence::is_loopback;
pub use list::LIST_STREAMS_MAX;
pub use live::LIVE_STREAMS_MAX;
pub use metrics::WorkerMetrics;
pub use origin::PublicAddress;
pub(crate) use origin::reachable;
pub use problem::Problem;
pub use redirect::found;
pub use robots::Robots;
pub use server::{PublicServer, public_server};
pub use split_key::SplitKey;
pub use state::{NodeState, WorkerState};
pub use unknown::UnknownCodes;
pub use visit_budgets::LimitedVisits;
pub use wire::{Addresses, ConnectionLimits};
