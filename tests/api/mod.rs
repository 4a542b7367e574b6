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
mod pages;
mod passwords;
mod put;
mod qr;
mod redirect;
mod robots;
mod rules;
mod segments;
mod service;
mod typed;
