//! `waypost shorten`, `resolve` and `health`.

use clap::Args;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use waypost_protocol::Code;
use waypost_protocol::typed::code_in_text;

use super::client::{Answer, Failed, Server, ServerArgs};
use super::{dates, exit};
use crate::say;

#[derive(Debug, Args)]
pub(super) struct ShortenArgs {
    /// The URL to shorten
    url: String,
    /// The code to use, instead of a generated one
    #[arg(long)]
    slug: Option<String>,
    /// When the link ends: 2030-12-31 (the end of that day here), 2030-12-31T18:00, with an offset such
    /// as 2030-12-31T18:00:00+01:00, or +30d, +12h from now
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    valid_until: Option<String>,
    /// If a link to this URL exists, show it instead of creating another one
    #[arg(long, conflicts_with = "slug")]
    find_existing: bool,
    /// A repeated request with the same key creates no second link
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Print the server's answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Args)]
pub(super) struct ResolveArgs {
    /// The code, or the whole short URL
    code: String,
    /// Print the link and its visits as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Args)]
pub(super) struct HealthArgs {
    /// Check redirects only: a node that refuses changes counts as healthy
    #[arg(long)]
    redirects: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// The code in a text that somebody typed or pasted.
pub(super) fn code_in(text: &str) -> Result<Code, Failed> {
    code_in_text(text).ok_or_else(|| {
        Failed::new(exit::NOT_FOUND, format!("there is no code in {text:?}; give one, or a whole short URL"))
    })
}

fn refused(answer: &Answer) -> Failed {
    let code = if answer.status == StatusCode::NOT_FOUND { exit::NOT_FOUND } else { exit::FAILURE };
    Failed::new(code, answer.problem())
}

pub(super) async fn shorten(args: ShortenArgs) -> Result<u8, Failed> {
    let valid_until = match &args.valid_until {
        Some(text) => Some(dates::read("--valid-until", text, dates::Of::End, &dates::here()?)?),
        None => None,
    };
    let body = json!({
        "longUrl": args.url, "customSlug": args.slug, "validUntil": valid_until,
        "findIfExists": args.find_existing,
    });
    let server = Server::new(&args.server)?;
    let answer = server.send(Method::POST, "/shorten", Some(&body), args.idempotency_key.as_deref()).await?;
    if !answer.status.is_success() {
        return Err(refused(&answer));
    }
    if args.json {
        say!("{}", answer.body)
    } else {
        say!("{}", answer.text("shortUrl"))
    }
    Ok(exit::OK)
}

pub(super) async fn resolve(args: ResolveArgs) -> Result<u8, Failed> {
    let code = code_in(&args.code)?;
    let answer = Server::new(&args.server)?.send(Method::GET, &format!("/analytics/{code}"), None, None).await?;
    if !answer.status.is_success() {
        return Err(refused(&answer));
    }
    if args.json {
        say!("{}", answer.body);
    }
    let target = answer.text("longUrl");
    if answer.body["expired"] == true {
        let end = answer.body["validUntil"].as_str().map(|end| format!(" (validUntil {end})")).unwrap_or_default();
        let led = if target.is_empty() { String::new() } else { format!("; it led to {target}") };
        return Err(Failed::new(exit::NOT_FOUND, format!("the link \"{code}\" has expired{end}{led}")));
    }
    if args.json {
        return Ok(exit::OK);
    }
    if target.is_empty() {
        return Err(Failed::new(
            exit::FAILURE,
            "the server tells where a link leads only to those who have its key: set WAYPOST_API_KEY, or WAYPOST_API_KEY_FILE",
        ));
    }
    say!("{target}");
    Ok(exit::OK)
}

pub(super) async fn health(args: HealthArgs) -> Result<u8, Failed> {
    let answer = Server::new(&args.server)?.send(Method::GET, "/health/ready", None, None).await?;
    if !answer.status.is_success() {
        return Err(Failed::new(exit::FAILURE, answer.problem()));
    }
    if args.redirects || answer.body["writable"] == true {
        say!("{}", answer.text("status"));
        return Ok(exit::OK);
    }
    let groups: Vec<String> =
        answer.body["leaderless"].as_array().into_iter().flatten().map(Value::to_string).collect();
    let why = match groups.is_empty() {
        true => "the disk has too little free space".to_owned(),
        false => format!("without a leader: groups {}", groups.join(", ")),
    };
    Err(Failed::new(exit::PARTLY, format!("ready for redirects; changes are refused ({why})")))
}

/// Fails with a clear message if there is no server, or if it does not accept the key.
pub(super) async fn require(server: &Server) -> Result<(), Failed> {
    server.send(Method::GET, "/health/live", None, None).await?;
    // Whether this link exists does not matter.
    let answer = server.send(Method::GET, "/api/v1/links/0", None, None).await?;
    match answer.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(refused(&answer)),
        _ => Ok(()),
    }
}
