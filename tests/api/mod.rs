//! The HTTP surface.

mod access;
mod bad_input;
mod create;
mod edit;
mod redirect;
mod service;
