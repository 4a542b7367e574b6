//! The document of the API (OpenAPI 3.1), made from the handlers and their types, and the page that shows it.
//!
//! ```text
//! parameters.rs   parameters that several operations take
//! document.rs     the document: what the handlers say, and what follows for all of them
//! page.rs         the same as a page
//! serve.rs        both, ready to send
//! ```

mod document;
mod page;
mod parameters;
mod serve;

pub(super) use document::{Operation, document};
pub(super) use parameters::{BelowLink, OfDomain, OfEntry, OfHost, OfLink, OnlyIf, RetrySafely, UnlessKnown};
pub(super) use serve::{__path_docs, __path_openapi, Documents, docs, openapi};
