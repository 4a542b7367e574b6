//! The heads of HTTP requests: those that the fast path for redirects knows, and headers, whoever parsed them.
//!
//! A crate of its own, so that a fuzzer can be let loose on it without the rest (`make fuzz`).

mod headers;
mod plain_request;

pub use headers::{Headers, Parsed, visible};
pub use plain_request::{HEADERS_MAX, Head, PlainRequest, code_ahead, read};
