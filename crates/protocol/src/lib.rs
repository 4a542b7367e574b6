//! The vocabulary of Waypost: ids, codes, links, commands, and the messages of each service.
//!
//! This crate does no I/O, reads no clock and knows no actor framework. Everything that two floors have to agree on
//! (what a link is, how a code is spelled, which shard owns it, what may be asked of whom) is said here, once.

mod click_columns;
pub mod clicks;
pub mod code;
pub mod code_format;
pub mod codec;
pub mod command;
pub mod digest;
pub mod domain;
mod domain_table;
pub mod envelope;
pub mod fields;
mod hash;
pub mod history;
pub mod ids;
pub mod kinds;
pub mod level;
pub mod link;
pub mod listing;
pub mod message;
pub mod messages;
mod own_host;
pub mod password;
pub mod peer;
pub mod peer_request;
pub mod permutation;
pub mod properties;
pub mod record;
pub mod rules;
pub mod session;
pub mod sketch;
pub mod spec;
pub mod target;
mod text;
pub mod time;
pub mod typed;
pub mod unicode_slug;

pub use code::{Code, CodeError};
pub use code_format::{Alphabet, CodeFormat, CodeFormatError, CodeFormats};
pub use domain_table::{DomainTable, Domains, OfHost, Site, bare_host};
pub use envelope::{EnvelopeError, open, seal};
pub use fields::{FieldChanges, Fields};
pub use history::{History, HistoryEntry};
pub use ids::{Domain, KeyHash, LinkKey, NodeId, ShardId};
pub use level::Level;
pub use link::{Link, LinkVersion};
pub use message::{AnsweredBy, CallError, Class, Kind, Request, Retry, Service, ServiceError};
pub use own_host::{Hosts, OwnHost};
pub use password::{Password, PasswordHash};
pub use record::{NoRecord, Record, RecordError};
pub use spec::{LinkPatch, LinkSpec, LinkState, SpecError};
pub use target::{Target, TargetError};
pub use time::UnixMs;
