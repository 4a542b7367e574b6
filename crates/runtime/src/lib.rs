//! What actix lacks, added once: restart after a panic, true bounds, deadlines, and the same metrics for every actor.
//!
//! Actors are plain actix: `Actor`, `Handler`, `Context`. They are started by [`supervise`] and called through an
//! [`ActorRef`]; a message travels as an [`Ask`], which carries its place, its deadline and its timing.
//!
//! ```text
//!   call ─► admission (a place, or Overloaded at once) ─► mailbox ─► handler ─► answer
//!                 ▲                                          │ panic
//!                 └──── place given back on answer, drop, panic; mailbox kept, actor rebuilt
//! ```

mod actor_ref;
mod ask;
mod far;
mod metrics;
mod origin;
mod panics;
mod routes;
mod spec;
mod supervision;
mod supervisor;

pub use actor_ref::ActorRef;
pub use ask::{Answer, Ask, Held};
pub use far::{Far, Place, Router, Served};
pub use origin::{ORIGIN_BYTES_MAX, Origin};
pub use routes::Routes;
pub use spec::{Spec, WhenSpent};
pub use supervision::{GivenUp, Supervision};
pub use supervisor::{Rebuilt, next_generation, supervise};
