//! The cost of a connection: its stream, its deadlines, and the number that a client may have.
//!
//! `fast` answers redirects before actix-http sees them; `stream` is between the socket and actix-http and decides when to read; `framing` finds the ends of requests; `escape` escapes what no URI has; `tracked` reports
//! what the `App` does; `conn` and `worker` close late connections; `refusal` turns refusals of actix-http into problem documents.

mod addresses;
mod conn;
mod encode;
mod escape;
mod fast;
mod framing;
mod listener;
mod refusal;
mod stream;
mod tracked;
mod worker;

pub use addresses::Addresses;
pub(super) use addresses::{client_of, is_exempt};
pub(super) use conn::{Conn, Reason};
pub(super) use fast::{FastPath, NoFastPath, Step, Taken};
pub(super) use listener::{Served, serve};
pub(super) use stream::HEAD_BYTES_MAX;
pub(super) use tracked::Tracked;
pub use worker::ConnectionLimits;

#[cfg(test)]
mod tests;
