//! `waypost links history` and `restore`.

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::change::GuardArgs;
use super::show::print;
use crate::cli::client::{Failed, Server, ServerArgs};
use crate::cli::domains::DomainArgs;
use crate::cli::{exit, table};
use crate::say;

#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// The code, or the whole short URL
    code: String,
    #[command(flatten)]
    domain: DomainArgs,
    /// Print the server's answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The code, or the whole short URL
    code: String,
    #[command(flatten)]
    domain: DomainArgs,
    /// The entry whose URL the link is to have again, as `links history` numbers them
    id: u32,
    #[command(flatten)]
    guard: GuardArgs,
    /// Print the changed link as JSON, with its version in "etag"
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) async fn history(args: HistoryArgs) -> Result<u8, Failed> {
    let server = Server::new(&args.server)?;
    let path = args.domain.link(&args.code, &server).await?.path("/api/v1/links", "/history");
    let answer = server.send(Method::GET, &path, None, None).await?;
    if !answer.status.is_success() {
        return Err(answer.refused());
    }
    if args.json {
        say!("{}", answer.body);
    } else {
        say!("{}", table::columns(&["ID", "WHEN", "BY", "CHANGED", "LEADS TO"], &rows(&answer.body), table::width()));
    }
    Ok(exit::OK)
}

pub(super) async fn restore(args: RestoreArgs) -> Result<u8, Failed> {
    let (server, id) = (Server::new(&args.server)?, args.id);
    let link = args.domain.link(&args.code, &server).await?;
    let path = link.path("/api/v1/links", &format!("/history/{id}/restore"));
    let answer = server.send_with(Method::POST, &path, None, &args.guard.header()).await?;
    if !answer.status.is_success() {
        return Err(answer.refused());
    }
    print(&answer, args.json);
    Ok(exit::OK)
}

/// The entries of an answer. What is not known is a dash.
fn rows(answer: &Value) -> Vec<Vec<String>> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let row = |entry: &Value| {
        let changed = entry["changed"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let changed = changed.collect::<Vec<_>>().join(", ");
        vec![
            entry["id"].to_string(),
            text(&entry["changedAt"]),
            text(&entry["by"]),
            if changed.is_empty() { "-".to_owned() } else { changed },
            text(&entry["longUrl"]),
        ]
    };
    answer["entries"].as_array().into_iter().flatten().map(row).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_entry_is_a_row_and_what_is_not_known_a_dash() {
        let answer = json!({ "entries": [
            { "id": 3, "longUrl": "https://b/", "changedAt": "2026-11-26T08:00:00.000Z", "by": "admin", "changed": ["longUrl", "title"] },
            { "id": 2, "longUrl": "https://a/", "changedAt": null, "by": null, "changed": [] },
        ] });
        let expected = [
            ["3", "2026-11-26T08:00:00.000Z", "admin", "longUrl, title", "https://b/"],
            ["2", "-", "-", "-", "https://a/"],
        ];
        assert_eq!(rows(&answer), expected.map(|row| row.map(str::to_owned).to_vec()));
    }
}
