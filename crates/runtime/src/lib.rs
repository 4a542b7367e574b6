//! What actix lacks, added once: restart after a panic, true bounds, deadlines, and the same metrics for every actor.
//!
//! Actors are plain actix: `Actor`, `Handler`, `Context`. They are started by [`supervise`] and called through an
//! [`ActorRef`]; a message travels as an [`Ask`], which carries its permit, its deadline and its timing.
//!
//! ```text
//!   call ─► admission (a permit, or Overloaded at once) ─► mailbox ─► handler ─► answer
//!                 ▲                                          │ panic
//!                 └──── permit returned on answer, drop, panic; mailbox kept, actor rebuilt
//! ```

mod actor_ref;
mod ask;
mod child;
mod hops;
mod metrics;
mod origin;
mod panics;
mod remote;
mod remote_handlers;
mod routes;
mod spec;
mod supervision;
mod supervisor;

pub use actor_ref::ActorRef;
pub use ask::{Answer, Ask, Responder};
pub use origin::{ORIGIN_BYTES_MAX, Origin};
pub use remote::{Destination, Remote, Router};
pub use remote_handlers::{OfService, RemoteHandlers};
pub use routes::{HandledBy, Routes};
pub use spec::{OnExhausted, Spec};
pub use supervision::{GivenUp, Supervision};
pub use supervisor::{Rebuilt, next_generation, supervise, supervise_some};
