//! `waypost links create`, and its short form `waypost shorten`.

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::fields::FieldArgs;
use super::show::print;
use crate::cli::client::{Answer, Failed, Server, ServerArgs};
use crate::cli::domains::DomainArgs;
use crate::cli::exit;
use crate::say;

/// What makes a link.
#[derive(Debug, Args)]
struct NewArgs {
    /// The URL to shorten
    url: String,
    /// The code to use, instead of a generated one
    #[arg(long)]
    slug: Option<String>,
    #[command(flatten)]
    domain: DomainArgs,
    #[command(flatten)]
    fields: FieldArgs,
    /// If a link with a generated code, this URL and these fields exists, show it instead of creating another one
    #[arg(long, conflicts_with = "slug")]
    find_existing: bool,
    /// A repeated request with the same key creates no second link
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ShortenArgs {
    #[command(flatten)]
    new: NewArgs,
    /// Print the server's answer as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    new: NewArgs,
    /// Print the link as JSON, with its version in "etag"
    #[arg(long)]
    json: bool,
}

async fn send(new: &NewArgs) -> Result<Answer, Failed> {
    let mut body = new.fields.given()?;
    body.insert("longUrl".to_owned(), new.url.as_str().into());
    body.insert("findIfExists".to_owned(), new.find_existing.into());
    if let Some(slug) = &new.slug {
        body.insert("customSlug".to_owned(), slug.as_str().into());
    }
    if let Some(host) = new.domain.given()? {
        body.insert("domain".to_owned(), host.into());
    }
    let (server, body) = (Server::new(&new.server)?, Value::Object(body));
    let answer = server.send(Method::POST, "/shorten", Some(&body), new.idempotency_key.as_deref()).await?;
    if answer.status.is_success() { Ok(answer) } else { Err(answer.refused()) }
}

pub(crate) async fn shorten(args: ShortenArgs) -> Result<u8, Failed> {
    let answer = send(&args.new).await?;
    if args.json {
        say!("{}", answer.body)
    } else {
        say!("{}", answer.text("shortUrl"))
    }
    Ok(exit::OK)
}

pub(super) async fn create(args: CreateArgs) -> Result<u8, Failed> {
    print(&send(&args.new).await?, args.json);
    Ok(exit::OK)
}
