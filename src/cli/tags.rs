//! `waypost tags`: the tags of all links; rename, merge and remove them.

use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use serde_json::{Value, json};
use url::form_urlencoded::Serializer;

use super::client::{Failed, Server, ServerArgs};
use super::domains::DomainFilter;
use super::partial::ended;
use super::{exit, table};
use crate::{complain, say};

/// How long nothing may arrive while links are changed.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// The longest line of an answer: failures of some dozens of links.
const LINE_BYTES_MAX: usize = 1 << 20;

#[derive(Debug, Subcommand)]
pub(super) enum TagsCommand {
    /// List the tags of all links, those of the most links first
    List(ListArgs),
    /// Rename a tag in all links; if there are links with the new one, the two are merged
    Rename(RenameArgs),
    /// Remove a tag from all links; the links stay
    Delete(OfTag),
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// A part of the tag, in any case
    part: Option<String>,
    /// How many tags at most
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1000))]
    limit: u64,
    #[command(flatten)]
    domain: DomainFilter,
    /// Print the server's answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Args)]
pub(super) struct RenameArgs {
    #[command(flatten)]
    of: OfTag,
    /// The new tag
    new: String,
}

/// The tag that is changed, and how that is told.
#[derive(Debug, Args)]
pub(super) struct OfTag {
    /// The tag, in any case
    tag: String,
    #[command(flatten)]
    domain: DomainFilter,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) async fn run(command: TagsCommand) -> Result<u8, Failed> {
    match command {
        TagsCommand::List(args) => list(args).await,
        TagsCommand::Rename(args) => sweep(Method::PATCH, &args.of, Some(&json!({ "tag": args.new }))).await,
        TagsCommand::Delete(of) => sweep(Method::DELETE, &of, None).await,
    }
}

async fn list(args: ListArgs) -> Result<u8, Failed> {
    let mut query = Serializer::new(String::new());
    query.append_pair("limit", &args.limit.to_string());
    if let Some(part) = &args.part {
        query.append_pair("q", part);
    }
    if let Some(domain) = args.domain.named()? {
        query.append_pair("domain", &domain);
    }
    let server = Server::new(&args.server)?;
    let answer = server.send(Method::GET, &format!("/api/v1/tags?{}", query.finish()), None, None).await?;
    if !answer.status.is_success() {
        return Err(answer.refused());
    }
    if args.json {
        say!("{}", answer.body);
    } else {
        let tags = answer.body["tags"].as_array().map(Vec::as_slice).unwrap_or_default();
        let row = |tag: &Value| vec![tag["links"].to_string(), tag["tag"].as_str().unwrap_or("-").to_owned()];
        say!("{}", table::columns(&["LINKS", "TAG"], &tags.iter().map(row).collect::<Vec<_>>(), table::width()));
        let total = answer.body["total"].as_u64().unwrap_or_default();
        if total > tags.len() as u64 {
            let more = if answer.body["totalIsMinimum"] == true { " or more" } else { "" };
            complain!("{} of {total}{more} tags; --limit N shows more", tags.len());
        }
    }
    Ok(ended(&answer.body["partial"], "these tags are incomplete"))
}

/// Changes a tag, and shows how far the server is.
async fn sweep(method: Method, of: &OfTag, body: Option<&Value>) -> Result<u8, Failed> {
    let domain = of.domain.named()?.map(|host| format!("?domain={host}")).unwrap_or_default();
    let path = format!("/api/v1/tags/{}{domain}", utf8_percent_encode(&of.tag, NON_ALPHANUMERIC));
    let server = Server::new(&of.server)?;
    let mut lines = server.lines(method, &path, body).await?;
    let bar = ProgressBar::new(0);
    let bar = ProgressStyle::with_template("{wide_bar} {pos}/{len} links, {per_sec}, {eta} left")
        .map_or(bar.clone(), |style| bar.with_style(style));
    let mut last = Value::Null;
    let broken = || "; the same command again goes on".to_owned();
    while let Some(line) = lines
        .next(SILENCE_MAX, LINE_BYTES_MAX)
        .await
        .map_err(|failed| Failed::new(failed.code, failed.message + &broken()))?
    {
        let number = |name: &str| line[name].as_u64().unwrap_or_default();
        bar.set_length(number("links"));
        bar.set_position(number("changed") + number("failed"));
        for failure in line["failures"].as_array().into_iter().flatten() {
            let (code, why) =
                (failure["shortCode"].as_str().unwrap_or("?"), failure["problem"]["detail"].as_str().unwrap_or("?"));
            bar.suspend(|| complain!("{code}: {why}"));
        }
        last = line;
    }
    bar.finish_and_clear();
    if of.json {
        say!("{last}");
    } else {
        say!(
            "{} changed, {} failed",
            last["changed"].as_u64().unwrap_or_default(),
            last["failed"].as_u64().unwrap_or_default()
        );
    }
    if let Some(why) = last["problem"]["detail"].as_str() {
        complain!("waypost: {why}");
    }
    let whole = last["done"] == true && last["failed"] == 0;
    Ok(if whole { exit::OK } else { exit::PARTLY })
}
