//! `waypost links list`: links by words, tags, state and time, as a table, or all of them as CSV or NDJSON.

use std::io::{BufWriter, Write};
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::civil::Date;
use reqwest::Method;
use serde_json::Value;
use url::form_urlencoded::Serializer;

use crate::cli::client::{Failed, Server, ServerArgs};
use crate::cli::domains::DomainFilter;
use crate::cli::partial::ended;
use crate::cli::{dates, exit, table};
use crate::{complain, say};

/// The links of a page.
const PAGE: u64 = 500;

/// How long nothing may arrive of a whole list: the server waits that long for a shard without a leader.
const SILENCE_MAX: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Words that the slug, the URL, the title or the note have to have: parts of words are enough, in any case, with or without
    /// accents. A whole short URL means its link
    words: Vec<String>,
    /// A tag; repeat the option for several, or put commas between. One of them is enough
    #[arg(long = "tag", value_name = "TAG", value_delimiter = ',')]
    tags: Vec<String>,
    /// The links need all tags
    #[arg(long, requires = "tags")]
    all_tags: bool,
    /// A tag of which the links may have none
    #[arg(long = "exclude-tag", value_name = "TAG", value_delimiter = ',')]
    exclude_tags: Vec<String>,
    #[command(flatten)]
    domain: DomainFilter,
    /// The state of the links; protected: those with a password
    #[arg(long, value_name = "STATE", value_parser = ["active", "not-yet", "expired", "exhausted", "disabled", "protected", "ends-soon"])]
    state: Option<String>,
    /// The first day or time of creation: 2026-11-01 (here), 2026-11-01T10:00, with an offset such as 2026-11-01T10:00:00+01:00,
    /// or relative to now, such as -7d
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    created_from: Option<String>,
    /// The end of the creation, in the same forms; a day counts as a whole
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    created_to: Option<String>,
    /// The order: createdAt, editedAt, title, slug, visits or lastVisit; with - before it the largest first
    #[arg(long, value_name = "ORDER", allow_hyphen_values = true, default_value = "-createdAt", hide_possible_values = true,
        value_parser = ["createdAt", "-createdAt", "editedAt", "-editedAt", "title", "-title", "slug", "-slug", "visits", "-visits",
            "lastVisit", "-lastVisit"])]
    sort: String,
    /// How many links at most; default: 100 in a table and with --json, all with --csv and --ndjson
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Show all links
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// Begin behind the page of this "nextCursor"
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    /// Print the server's answer as JSON: one page, of at most 1,000 links
    #[arg(long, conflicts_with_all = ["csv", "ndjson", "all"])]
    json: bool,
    /// Print all links as CSV, for spreadsheets and `waypost import`
    #[arg(long, conflicts_with = "ndjson")]
    csv: bool,
    /// Print all links as JSON, one a line
    #[arg(long)]
    ndjson: bool,
    #[command(flatten)]
    server: ServerArgs,
}

impl ListArgs {
    /// The parameters of the filter and the order.
    fn query(&self) -> Result<Serializer<'static, String>, Failed> {
        let mut query = Serializer::new(String::new());
        let mut set = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                query.append_pair(name, &value);
            }
        };
        set("q", (!self.words.is_empty()).then(|| self.words.join(" ")));
        set("tags", (!self.tags.is_empty()).then(|| self.tags.join(",")));
        set("tagsMode", self.all_tags.then(|| "all".to_owned()));
        set("excludeTags", (!self.exclude_tags.is_empty()).then(|| self.exclude_tags.join(",")));
        set("domain", self.domain.named()?);
        let state = |state: &String| match state.as_str() {
            "not-yet" => "notYet".to_owned(),
            "ends-soon" => "endsSoon".to_owned(),
            other => other.to_owned(),
        };
        set("state", self.state.as_ref().map(state));
        let time = |option: &str, text: &Option<String>, end: bool| {
            text.as_deref().map(|text| created(option, text, end)).transpose()
        };
        set("createdFrom", time("--created-from", &self.created_from, false)?);
        set("createdTo", time("--created-to", &self.created_to, true)?);
        set("sort", Some(self.sort.clone()));
        Ok(query)
    }
}

/// A time of creation. An end that is a day is the begin of the next one, because it is not included.
fn created(option: &str, text: &str, end: bool) -> Result<String, Failed> {
    let next = text.trim().parse::<Date>().ok().filter(|_| end && !text.contains([':', 'T', 't']));
    let next = next.and_then(|day| day.tomorrow().ok()).map(|day| day.to_string());
    dates::read(option, next.as_deref().unwrap_or(text), dates::Of::Begin, &dates::here()?)
}

pub(super) async fn list(args: ListArgs) -> Result<u8, Failed> {
    let mut query = args.query()?;
    let server = Server::new(&args.server)?;
    if args.csv || args.ndjson {
        return whole(&args, query, &server).await;
    }
    if args.json {
        if let Some(limit) = args.limit {
            query.append_pair("limit", &limit.to_string());
        }
        if let Some(cursor) = &args.cursor {
            query.append_pair("cursor", cursor);
        }
        let answer = page(&server, &query.finish()).await?;
        say!("{answer}");
        return Ok(ended(&answer["partial"], "this list is incomplete"));
    }
    tables(&args, &query.finish(), &server).await
}

/// Prints a whole list as the server sends it.
async fn whole(args: &ListArgs, mut query: Serializer<'static, String>, server: &Server) -> Result<u8, Failed> {
    query.append_pair("format", if args.csv { "csv" } else { "ndjson" });
    if let Some(limit) = args.limit {
        query.append_pair("limit", &limit.to_string());
    }
    if let Some(cursor) = &args.cursor {
        query.append_pair("cursor", cursor);
    }
    let mut download = server.download(&format!("/api/v1/links?{}", query.finish())).await?;
    let bar = ProgressBar::new_spinner();
    let bar = ProgressStyle::with_template("{spinner} {bytes} of links, {bytes_per_sec}")
        .map_or(bar.clone(), |style| bar.with_style(style));
    let mut out = BufWriter::new(std::io::stdout());
    let told = |error: std::io::Error| {
        Failed::new(exit::FAILURE, format!("standard output: {}", crate::account::told(&error)))
    };
    loop {
        match download.next(SILENCE_MAX).await {
            Ok(Some(piece)) => {
                match out.write_all(&piece) {
                    // Somebody has read enough, such as `head`.
                    Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(exit::OK),
                    written => written.map_err(told)?,
                }
                bar.inc(piece.len() as u64);
            }
            Ok(None) => break,
            Err(failed) => {
                bar.finish_and_clear();
                // What has come is worth having; its last line says what is missing.
                let _ = out.flush();
                let message = format!("the list is incomplete, and its last line may say why: {}", failed.message);
                return Err(Failed::new(exit::PARTLY, message));
            }
        }
    }
    bar.finish_and_clear();
    match out.flush() {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(told(error)),
        _ => Ok(exit::OK),
    }
}

/// Prints pages as tables.
async fn tables(args: &ListArgs, query: &str, server: &Server) -> Result<u8, Failed> {
    let wanted = if args.all { u64::MAX } else { args.limit.unwrap_or(100) };
    let (mut shown, mut cursor, mut partial) = (0, args.cursor.clone(), Vec::new());
    let width = table::width();
    let counted = loop {
        let limit = PAGE.min(wanted - shown);
        let next = cursor.as_ref().map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let answer = page(server, &format!("{query}&limit={limit}{next}")).await?;
        let links = answer["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        let rows: Vec<Vec<String>> = links.iter().map(row).collect();
        let head = if shown == 0 { &HEAD[..] } else { &[""; HEAD.len()][..] };
        let text = table::columns(head, &rows, width);
        // Later pages have no head: only a blank line stands there.
        let text = if shown == 0 { text.as_str() } else { text.split_once('\n').map_or("", |(_, rows)| rows) };
        if !(shown > 0 && rows.is_empty()) {
            say!("{text}");
        }
        shown += links.len() as u64;
        for shard in answer["partial"].as_array().into_iter().flatten() {
            if !partial.contains(shard) {
                partial.push(shard.clone());
            }
        }
        cursor = answer["nextCursor"].as_str().map(str::to_owned);
        if cursor.is_none() || shown >= wanted {
            let more = if answer["totalIsMinimum"] == true { " or more" } else { "" };
            let links = if answer["total"] == 1 && more.is_empty() { "link" } else { "links" };
            break format!("{}{more} {links}", answer["total"]);
        }
    };
    if cursor.is_some() {
        complain!("{shown} of {counted}; --limit N shows more, --all shows all");
    } else {
        complain!("{counted}");
    }
    Ok(ended(&Value::Array(partial), "this list is incomplete"))
}

async fn page(server: &Server, query: &str) -> Result<Value, Failed> {
    let answer = server.send(Method::GET, &format!("/api/v1/links?{query}"), None, None).await?;
    if answer.status.is_success() { Ok(answer.body) } else { Err(answer.refused()) }
}

const HEAD: [&str; 5] = ["SHORT URL", "CREATED", "VISITS", "STATE", "LEADS TO"];

/// A link as a row: its title and its tags follow where it leads.
fn row(link: &Value) -> Vec<String> {
    let text = |name: &str| link[name].as_str().unwrap_or("-").to_owned();
    let tags: Vec<&str> = link["tags"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut leads = text("longUrl");
    if let Some(title) = link["title"].as_str() {
        leads.push_str(&format!("  {title}"));
    }
    if !tags.is_empty() {
        leads.push_str(&format!("  [{}]", tags.join(", ")));
    }
    let created = text("createdAt");
    let state = match text("state").as_str() {
        "notYet" => "not yet".to_owned(),
        "active" if link["protected"] == true => "protected".to_owned(),
        other => other.to_owned(),
    };
    let visits = link["visits"]["total"].as_u64().map_or("-".to_owned(), |visits| visits.to_string());
    vec![text("shortUrl"), created.get(..10).unwrap_or(&created).to_owned(), visits, state, leads]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_link_is_a_row() {
        let link = json!({
            "shortUrl": "https://go.example/a", "longUrl": "https://example.com/", "createdAt": "2026-11-26T08:00:00.000Z", "state": "notYet",
            "title": "Spring", "tags": ["sale", "2027"], "visits": { "total": 12, "people": 10, "bots": 2 },
        });
        let expected =
            ["https://go.example/a", "2026-11-26", "12", "not yet", "https://example.com/  Spring  [sale, 2027]"];
        assert_eq!(row(&link), expected);
        let bare = json!({ "shortUrl": "s", "longUrl": "l", "createdAt": "c", "state": "active", "tags": [], "protected": true });
        assert_eq!(row(&bare), ["s", "c", "-", "protected", "l"]);
    }

    #[test]
    fn a_day_at_the_end_counts_as_a_whole() {
        let end = |text| created("--created-to", text, true).unwrap();
        let begin = |text| created("--created-from", text, false).unwrap();
        assert_eq!(end("2026-12-31"), begin("2027-01-01"));
        assert_eq!(end("2026-12-31T10:00:00Z"), "2026-12-31T10:00:00Z");
        assert!(created("--created-to", "never", true).is_err());
    }
}
