//! The options of a link's fields. What is not given is not sent, so that a command works with a server that does not know a field yet.

use clap::Args;
use serde_json::{Map, Value};

use crate::cli::client::Failed;
use crate::cli::dates;

/// The fields that can be set when a link is created, and changed later.
#[derive(Debug, Args)]
pub(super) struct FieldArgs {
    /// When the link ends: 2030-12-31 (the end of that day here), 2030-12-31T18:00, with an offset such
    /// as 2030-12-31T18:00:00+01:00, or +30d, +12h from now
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(super) valid_until: Option<String>,
}

impl FieldArgs {
    /// The JSON of the fields that are given.
    pub(super) fn given(&self) -> Result<Map<String, Value>, Failed> {
        let mut given = Map::new();
        if let Some(text) = &self.valid_until {
            let until = dates::read("--valid-until", text, dates::Of::End, &dates::here()?)?;
            given.insert("validUntil".to_owned(), until.into());
        }
        Ok(given)
    }
}
