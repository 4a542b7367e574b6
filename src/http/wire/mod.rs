//! What a connection may cost: the accepted stream, its deadlines, and how many a client may have.
//!
//! `stream` stands between the socket and actix-http and decides when is read; `framing` says where requests end; `tracked` tells it what
//! the `App` does; `conn` and `worker` close what is late; `refusal` makes problem documents of what actix-http refuses by itself.

mod addresses;
mod conn;
mod framing;
mod listener;
mod refusal;
mod stream;
mod tracked;
mod worker;

pub use addresses::Addresses;
pub(super) use addresses::{client_of, is_exempt};
pub(super) use conn::{Conn, Reason};
pub(super) use listener::serve;
pub(super) use stream::HEAD_BYTES_MAX;
pub(super) use tracked::Tracked;
pub use worker::ConnectionLimits;

#[cfg(test)]
mod tests;
