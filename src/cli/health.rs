//! `waypost health`, and the check of other commands that there is a server.

use clap::Args;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::client::{Failed, Server, ServerArgs};
use super::exit;
use crate::say;

#[derive(Debug, Args)]
pub(super) struct HealthArgs {
    /// Check redirects only: a node that refuses changes counts as healthy
    #[arg(long)]
    redirects: bool,
    #[command(flatten)]
    server: ServerArgs,
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
    let is_short_of = |what: &str| answer.body["shortOf"].as_array().into_iter().flatten().any(|one| one == what);
    let why = match groups.is_empty() {
        true if is_short_of("memory") && !is_short_of("disk") => "memory is short; no links are created".to_owned(),
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
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(answer.refused()),
        _ => Ok(()),
    }
}
