//! The document of the API (OpenAPI 3.1), made from the handlers and their types, and the page that shows it.
//!
//! The document is a file: the code that makes it would be a megabyte of the program. A test makes it, and fails when the file says something else.
//!
//! ```text
//! parameters.rs   parameters that several operations take
//! document.rs     makes the document: what the handlers say, and what follows for all of them
//! openapi.json    the document; `make openapi` writes it
//! operation.rs    an operation of the table of routes
//! page.rs         the same as a page
//! serve.rs        both, ready to send
//! ```

#[cfg(test)]
mod document;
mod operation;
mod page;
mod parameters;
mod serve;

#[cfg(test)]
pub(super) use document::{document, lines};
pub(super) use operation::Operation;
pub(super) use parameters::{BelowLink, OfDomain, OfEntry, OfHost, OfLink, OnlyIf, RetrySafely, UnlessKnown};
#[cfg(test)]
pub(super) use serve::DOCUMENT;
#[cfg(test)]
pub(super) use serve::{__path_docs, __path_openapi};
pub(super) use serve::{Documents, docs, openapi};
