//! `waypost resolve`: the short form of `waypost links show`, for scripts. A link that visitors do not get now is an error that says why.

use clap::Args;
use reqwest::Method;

use super::client::{Failed, Server, ServerArgs};
use super::domains::DomainArgs;
use super::exit;
use crate::{complain, say};

#[derive(Debug, Args)]
pub(super) struct ResolveArgs {
    /// The code, or the whole short URL
    code: String,
    #[command(flatten)]
    domain: DomainArgs,
    /// Print the link and its visits as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) async fn resolve(args: ResolveArgs) -> Result<u8, Failed> {
    let server = Server::new(&args.server)?;
    let link = args.domain.link(&args.code, &server).await?;
    let answer = server.send(Method::GET, &link.path("/analytics", ""), None, None).await?;
    let code = link.code;
    if !answer.status.is_success() {
        return Err(answer.refused());
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
    let off = match answer.body["state"].as_str() {
        Some("disabled") => Some("is disabled"),
        Some("exhausted") => Some("is used up"),
        Some("notYet") => Some("is not valid yet"),
        _ => None,
    };
    if let Some(off) = off {
        let leads = if target.is_empty() { String::new() } else { format!("; it leads to {target}") };
        return Err(Failed::new(exit::NOT_FOUND, format!("the link \"{code}\" {off}{leads}")));
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
    if answer.body["hasRules"] == true {
        complain!(
            "the link \"{code}\" has rules, which lead some visitors elsewhere: `waypost links show {code}` lists them"
        );
    }
    Ok(exit::OK)
}
