//! The HTTP surface.

mod access;
mod accounts;
mod bad_input;
mod bulk;
mod conformance;
mod create;
mod document;
mod domains;
mod edit;
mod fields;
mod history;
mod limits;
mod lists;
mod pages;
mod passwords;
mod put;
mod qr;
mod redirect;
mod robots;
mod rules;
mod segments;
mod service;
mod sweeps;
mod typed;

pub(crate) use lists::{listing_node, lists_all, waits_for};
