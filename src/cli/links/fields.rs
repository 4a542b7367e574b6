//! The options of a link's fields. What is not given is not sent, so that a command works with a server that does not know a field yet.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::{Map, Value};

use crate::cli::client::Failed;
use crate::cli::dates;

/// The fields that can be set when a link is created, and changed later.
#[derive(Debug, Default, Args)]
pub(super) struct FieldArgs {
    /// What people call the link
    #[arg(long)]
    title: Option<String>,
    /// A tag; repeat the option for several, or put commas between. In an edit they replace the present ones
    #[arg(long = "tag", value_name = "TAG", value_delimiter = ',')]
    tags: Vec<String>,
    /// A note for those who manage the link
    #[arg(long)]
    note: Option<String>,
    /// When the link begins, like --valid-until; a date is the begin of that day. Before it the link answers 404
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    valid_since: Option<String>,
    /// When the link ends: 2030-12-31 (the end of that day here), 2030-12-31T18:00, with an offset such
    /// as 2030-12-31T18:00:00+01:00, or +30d, +12h from now
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    valid_until: Option<String>,
    /// Where visitors are sent while the link is expired or disabled, instead of 410
    #[arg(long, value_name = "URL")]
    expired_url: Option<String>,
    /// The status of the redirect; browsers keep a permanent one (301, 308) for up to an hour
    #[arg(long, value_name = "STATUS", value_parser = PossibleValuesParser::new(["301", "302", "307", "308"]).try_map(|text| text.parse::<u16>()))]
    redirect_status: Option<u16>,
    /// Add the visitor's query to that of the URL
    #[arg(long)]
    forward_query: bool,
    /// Add the path after the code to that of the URL
    #[arg(long)]
    forward_path: bool,
    /// The link answers 410 until it is enabled
    #[arg(long)]
    disable: bool,
}

impl FieldArgs {
    /// The JSON of the fields that are given.
    pub(super) fn given(&self) -> Result<Map<String, Value>, Failed> {
        let mut given = Map::new();
        let mut set = |name: &str, value: Option<Value>| given.extend(value.map(|value| (name.to_owned(), value)));
        let text = |text: &Option<String>| text.clone().map(Value::from);
        let time = |option: &str, text: &Option<String>, of| {
            let read = |text: &String| dates::read(option, text, of, &dates::here()?).map(Value::from);
            text.as_ref().map(read).transpose()
        };
        let flag = |given: bool| given.then_some(Value::from(true));
        set("title", text(&self.title));
        set("tags", (!self.tags.is_empty()).then(|| self.tags.clone().into()));
        set("note", text(&self.note));
        set("validSince", time("--valid-since", &self.valid_since, dates::Of::Begin)?);
        set("validUntil", time("--valid-until", &self.valid_until, dates::Of::End)?);
        set("expiredUrl", text(&self.expired_url));
        set("redirectStatus", self.redirect_status.map(Value::from));
        set("forwardQuery", flag(self.forward_query));
        set("forwardPath", flag(self.forward_path));
        set("disabled", flag(self.disable));
        Ok(given)
    }
}
