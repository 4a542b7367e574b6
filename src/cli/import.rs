//! `waypost import`: shortens many URLs, and reports the result of each.
//!
//! Each row carries an idempotency key made from its position and content, so an interrupted import that is started again
//! makes no duplicates while the server remembers the keys (a day). With `--find-existing` it makes none at any time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use waypost_protocol::domain::HostName;

use super::client::{Answer, Failed, Server, ServerArgs};
use super::import_report::{Done, Report};
use super::record::Row;
use super::rows::{self, RowResult, Rows};
use super::{columns, dates, domains, exit, health};
use crate::say;

/// How often a row is sent again when the server is busy or cannot be reached.
const TRIES: u32 = 8;

/// How many bulk requests are sent at once: a server answers four in all, and others may need theirs.
const REQUESTS_AT_ONCE: usize = 2;

/// The longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// The file; - for standard input
    file: PathBuf,
    /// Write the result of each row to this file, as CSV; it must not exist yet
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Overwrite the report if it exists
    #[arg(long, requires = "report")]
    force: bool,
    /// If a link with the same URL and fields exists, use it instead of creating a second one
    #[arg(long)]
    find_existing: bool,
    /// Import all rows into this domain; DEFAULT for the default one. Default: the one in the column
    /// Domain of each row, else the default domain
    #[arg(long, value_name = "HOST")]
    domain: Option<String>,
    /// Number of rows that are on their way at once
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Where rows go.
struct Placement {
    /// The domain of all rows: `Some(None)` = the default one. `None` = each row says it.
    domain: Option<Option<String>>,
    /// The hosts of the domains whose slugs may have several segments.
    multi_segment: BTreeSet<String>,
    /// The statuses of redirects of links that ask for none, by the host of the domain; `None` = the default domain.
    default_statuses: BTreeMap<Option<String>, u64>,
    /// Whether a link that exists is used.
    find_existing: bool,
    /// The zone of times without one.
    zone: TimeZone,
}

impl Placement {
    async fn of(args: &ImportArgs, server: &Server) -> Result<Self, Failed> {
        let domain = args.domain.as_deref().map(domains::named).transpose()?;
        // An earlier version has no domains, and what else goes wrong shows with the rows.
        let answer = server.send(Method::GET, "/api/v1/domains", None, None).await.ok();
        let all = answer.map(|answer| answer.body).unwrap_or_default();
        let all = || all["domains"].as_array().into_iter().flatten();
        let multi_segment = all().filter(|domain| domain["multiSegment"] == true);
        let status =
            |domain: &Value| Some((domain["host"].as_str().map(str::to_owned), domain["defaultStatus"].as_u64()?));
        Ok(Self {
            domain,
            multi_segment: multi_segment.filter_map(|domain| domain["host"].as_str().map(str::to_owned)).collect(),
            default_statuses: all().filter_map(status).collect(),
            find_existing: args.find_existing,
            zone: dates::here()?.time_zone().clone(),
        })
    }

    /// A row as it goes to the server: with its domain, and its slug without a host.
    fn placed(&self, mut row: Row) -> Row {
        if let Some(domain) = &self.domain {
            if row.domain.is_some() && row.domain != *domain {
                row.ignored = format!("{} domain", row.ignored).trim().to_owned();
            }
            row.domain.clone_from(domain);
        }
        // What is no host is left to the server to refuse.
        let host = row.domain.as_deref().and_then(|text| HostName::parse(text).ok());
        let multi_segment = host.as_ref().is_some_and(|host| self.multi_segment.contains(host.as_str()));
        // A list shows the status that visitors get; a link that asks for none follows its domain here, too.
        let default = self.default_statuses.get(&host.map(|host| host.as_str().to_owned())).copied().unwrap_or(302);
        row.further.retain(|(name, value)| !(*name == "redirectStatus" && *value == default));
        row.slug = row.slug.map(|text| columns::slug_of(&text, multi_segment).to_owned());
        row
    }
}

#[derive(Default)]
struct Summary {
    created: u64,
    existing: u64,
    failed: u64,
}

pub(super) async fn run(args: ImportArgs) -> Result<u8, Failed> {
    let server = Server::new(&args.server)?;
    // Reports at once that there is no server, instead of after eight tries of each row.
    health::require(&server).await?;
    let into = Placement::of(&args, &server).await?;
    let Rows { rows, ignored } = open(&args.file)?;
    if !ignored.is_empty() {
        crate::complain!("these columns are not imported: {}", ignored.join(", "));
    }
    let mut report = args.report.as_deref().map(|path| Report::create(path, &args.file, args.force)).transpose()?;
    let bar = progress(&args.file)?;
    let mut summary = Summary::default();
    // Two requests at a time, so that the server has work while an answer is on its way.
    let requests = REQUESTS_AT_ONCE.min(args.concurrency.into());
    let rows_each = usize::from(args.concurrency) / requests;
    let mut done = stream::iter(rows)
        .chunks(rows_each)
        .map(|rows| import(&server, rows, &into))
        .buffered(requests)
        .flat_map(stream::iter);
    while let Some(done) = done.next().await {
        bar.inc(1);
        match done.status {
            "created" => summary.created += 1,
            "existing" => summary.existing += 1,
            _ => {
                summary.failed += 1;
                if report.is_none() {
                    bar.suspend(|| crate::complain!("line {}: {}: {}", done.row.line, done.row.url, done.error));
                }
            }
        }
        if let Some(report) = &mut report {
            report.write(&done)?;
        }
    }
    bar.finish_and_clear();
    if let Some(report) = report {
        report.finish()?;
    }
    let Summary { created, existing, failed } = summary;
    if args.json {
        say!("{}", json!({ "created": created, "existing": existing, "failed": failed }));
    } else {
        say!("{created} created, {existing} existing, {failed} failed");
    }
    Ok(if failed == 0 { exit::OK } else { exit::PARTLY })
}

fn open(path: &Path) -> Result<Rows, Failed> {
    let failed = |error: String| Failed::new(exit::USAGE, format!("{}: {error}", path.display()));
    let input: Box<dyn BufRead> = if path == Path::new("-") {
        Box::new(BufReader::new(std::io::stdin()))
    } else {
        Box::new(BufReader::new(File::open(path).map_err(|error| failed(crate::account::told(&error)))?))
    };
    rows::read(input).map_err(failed)
}

fn progress(path: &Path) -> Result<ProgressBar, Failed> {
    let style = |template: &str| {
        ProgressStyle::with_template(template).map_err(|error| Failed::new(exit::FAILURE, error.to_string()))
    };
    // Lines are counted first, which is fast compared with sending them. Standard input cannot be read twice, so it gets a spinner.
    let lines = if path == Path::new("-") { None } else { count_lines(path) };
    Ok(match lines {
        Some(lines) => ProgressBar::new(lines).with_style(style("{wide_bar} {pos}/{len} rows, {per_sec}, {eta} left")?),
        None => ProgressBar::new_spinner().with_style(style("{spinner} {pos} rows, {per_sec}")?),
    })
}

fn count_lines(path: &Path) -> Option<u64> {
    let mut reader = BufReader::new(File::open(path).ok()?);
    let mut lines = 0;
    loop {
        let buffer = reader.fill_buf().ok()?;
        if buffer.is_empty() {
            return Some(lines);
        }
        lines += buffer.iter().filter(|byte| **byte == b'\n').count() as u64;
        let length = buffer.len();
        reader.consume(length);
    }
}

/// The begin or the end of a link in the format of the server. A text that the server reads is kept, and so is an invalid one, for the server to refuse.
fn time(text: &str, of: dates::Of, zone: &TimeZone) -> String {
    match text.trim().parse::<Timestamp>() {
        Ok(_) => text.to_owned(),
        Err(_) => dates::absolute(text, of, zone).unwrap_or_else(|| text.to_owned()),
    }
}

/// A row, ready to be sent.
struct Ready {
    row: Row,
    body: Value,
    /// Its idempotency key: the same row of the same file has the same one.
    key: String,
}

/// Sends rows together. A server without bulk requests, or with too many, gets them one by one.
async fn import(server: &Server, rows: Vec<RowResult>, into: &Placement) -> Vec<Done> {
    let failed = |row: Row, error: String| Box::new(Done { row, status: "failed", error, ..Done::default() });
    let rows: Vec<Result<Ready, Box<Done>>> = rows
        .into_iter()
        .map(|row| match row {
            Err(error) => Err(failed(Row::default(), error)),
            Ok(mut row) => match row.refusal.take() {
                Some(refusal) => Err(failed(row, refusal)),
                None => Ok(ready(into.placed(row), into.find_existing, &into.zone)),
            },
        })
        .collect();
    let mut answers = bulk(server, rows.iter().flatten()).await.into_iter();
    join_all(rows.into_iter().map(|row| {
        let answer = row.as_ref().ok().and_then(|_| answers.next().flatten());
        async move {
            match row {
                Err(done) => *done,
                Ok(Ready { row, body, key }) => {
                    let answer = match answer {
                        Some(answer) => Ok(answer),
                        None => send(server, &body, &key).await,
                    };
                    told(row, answer, into.find_existing)
                }
            }
        }
    }))
    .await
}

/// The answers to rows in one request. Those that are missing are to be sent alone.
async fn bulk(server: &Server, rows: impl Iterator<Item = &Ready>) -> Vec<Option<Answer>> {
    let item = |row: &Ready| json!({ "op": "create", "link": row.body, "idempotencyKey": row.key });
    let items: Vec<Value> = rows.map(item).collect();
    if items.is_empty() {
        return Vec::new();
    }
    let answer = server.send(Method::POST, "/api/v1/bulk", Some(&json!({ "items": items })), None).await;
    answer.map(|answer| answers_in(&answer)).unwrap_or_default()
}

/// The answers in that to a bulk request; `None` for a row that may succeed if it is sent alone: the server was busy, or does not know
/// everything that an item can have.
fn answers_in(answer: &Answer) -> Vec<Option<Answer>> {
    let results = answer.body["results"].as_array().filter(|_| answer.status == StatusCode::OK);
    let one = |result: &Value| {
        let status = StatusCode::from_u16(u16::try_from(result["status"].as_u64()?).ok()?).ok()?;
        let body = if status.is_success() { &result["link"] } else { &result["problem"] };
        let answer = Answer { status, body: body.clone(), retry_after: None, etag: None };
        (!is_busy(status) && status != StatusCode::BAD_REQUEST).then_some(answer)
    };
    results.into_iter().flatten().map(one).collect()
}

/// Whether the same request may succeed a little later.
fn is_busy(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502..=504)
}

fn ready(row: Row, find_existing: bool, zone: &TimeZone) -> Ready {
    let valid_until = row.valid_until.as_deref().map(|text| time(text, dates::Of::End, zone));
    let mut body = json!({
        "longUrl": row.url, "customSlug": row.slug, "validUntil": valid_until,
        "findIfExists": find_existing && row.slug.is_none(),
    });
    // What a row does not have is not sent: the key of such a row stays the one that earlier versions made, and earlier servers take it.
    let mut set = |name: &str, value: Option<Value>| value.map(|value| body[name] = value);
    set("domain", row.domain.clone().map(Value::from));
    set("validSince", row.valid_since.as_deref().map(|text| time(text, dates::Of::Begin, zone).into()));
    // The server refuses what is not a number.
    set(
        "maxVisits",
        row.max_visits.as_deref().map(|text| text.parse::<u64>().map_or_else(|_| text.into(), Value::from)),
    );
    set("title", row.title.clone().map(Value::from));
    set("tags", (!row.tags.is_empty()).then(|| row.tags.clone().into()));
    set("note", row.note.clone().map(Value::from));
    set("disabled", row.disabled.then_some(true.into()));
    for (name, value) in &row.further {
        set(name, Some(value.clone()));
    }
    // With --find-existing the key is another one: otherwise the server would repeat its answer to an earlier import of this row.
    let (line, text) = (row.line.to_le_bytes(), body.to_string());
    let mut parts = vec![&line[..], text.as_bytes()];
    parts.extend(find_existing.then_some(&b"find"[..]));
    let key = format!("import-{:016x}", waypost_protocol::digest::fingerprint(&parts));
    Ready { row, body, key }
}

/// The result of a row.
fn told(row: Row, answer: Result<Answer, Failed>, find_existing: bool) -> Done {
    let (status, code, short_url, error) = match answer {
        Ok(answer) => match answer.status {
            StatusCode::CREATED => ("created", answer.text("shortCode"), answer.text("shortUrl"), String::new()),
            StatusCode::OK => ("existing", answer.text("shortCode"), answer.text("shortUrl"), String::new()),
            // A link with this slug and the same URL is the wanted link.
            StatusCode::CONFLICT if find_existing && answer.body.get("shortUrl").is_some() => {
                ("existing", row.slug.clone().unwrap_or_default(), answer.text("shortUrl"), String::new())
            }
            StatusCode::CONFLICT => ("conflict", String::new(), String::new(), answer.problem()),
            _ => ("failed", String::new(), String::new(), answer.problem()),
        },
        Err(failed) => ("failed", String::new(), String::new(), failed.message),
    };
    Done { row, status, code, short_url, error }
}

/// Sends a row until the server has answered, or no tries are left.
async fn send(server: &Server, body: &Value, key: &str) -> Result<Answer, Failed> {
    let mut tries = 0;
    loop {
        let answer = server.send(Method::POST, "/shorten", Some(body), Some(key)).await;
        tries += 1;
        let wait = match &answer {
            Ok(answer) if is_busy(answer.status) => answer.retry_after.unwrap_or(0),
            Err(failed) if failed.code == exit::UNREACHABLE => 0,
            _ => return answer,
        };
        if tries == TRIES {
            return answer;
        }
        let pause = Duration::from_millis(50 << tries).max(Duration::from_secs(wait)).min(PAUSE_MAX);
        // Jitter, so that the rows do not all come back at the same moment.
        tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_a_bulk_request_did_not_answer_for_good_are_sent_alone() {
        let answer = |status, body| Answer { status, body, retry_after: None, etag: None };
        let statuses = |answer: &Answer| {
            answers_in(answer).into_iter().map(|one| one.map(|one| one.status.as_u16())).collect::<Vec<_>>()
        };
        let results = json!({ "results": [
            { "status": 201, "link": { "shortCode": "a" } },
            { "status": 503, "problem": { "detail": "busy" } },
            { "status": 400, "problem": { "detail": "unknown field `idempotencyKey`" } },
            { "status": 422, "problem": { "detail": "no URL" } },
            { "status": 7 },
        ] });
        let answered = answer(StatusCode::OK, results.clone());
        assert_eq!(statuses(&answered), [Some(201), None, None, Some(422), None]);
        let bodies: Vec<Answer> = answers_in(&answered).into_iter().flatten().collect();
        assert_eq!((bodies[0].text("shortCode"), bodies[1].problem()), ("a".to_owned(), "no URL".to_owned()));
        // Too many bulk requests, none at all, or an answer that broke off.
        for refused in [answer(StatusCode::SERVICE_UNAVAILABLE, results), answer(StatusCode::OK, Value::Null)] {
            assert_eq!(statuses(&refused), []);
        }
    }

    #[test]
    fn a_row_goes_to_the_domain_of_all_rows_or_to_its_own_and_its_slug_is_what_that_domain_has() {
        let placed = |all: Option<Option<&str>>, domain: Option<&str>, slug: &str| {
            let into = Placement {
                domain: all.map(|all| all.map(str::to_owned)),
                multi_segment: BTreeSet::from(["docs.example".to_owned()]),
                default_statuses: BTreeMap::from([(None, 302), (Some("docs.example".to_owned()), 307)]),
                find_existing: false,
                zone: TimeZone::UTC,
            };
            let row = into.placed(Row {
                domain: domain.map(str::to_owned),
                slug: Some(slug.to_owned()),
                ignored: "ip".to_owned(),
                further: vec![("redirectStatus", 307.into())],
                ..Row::default()
            });
            // What its domain has anyway is not asked for.
            let follows = row.domain.as_deref().is_some_and(|host| host.eq_ignore_ascii_case("docs.example"));
            assert_eq!(row.further.is_empty(), follows, "{:?}", row.domain);
            (row.domain, row.slug.unwrap(), row.ignored)
        };
        let expected = |domain: Option<&str>, slug: &str, ignored: &str| {
            (domain.map(str::to_owned), slug.to_owned(), ignored.to_owned())
        };
        assert_eq!(placed(None, None, "https://a.example/b/c"), expected(None, "c", "ip"));
        assert_eq!(
            placed(None, Some("Docs.example"), "https://a.example/b/c"),
            expected(Some("Docs.example"), "b/c", "ip")
        );
        assert_eq!(placed(None, Some("not a host"), "c"), expected(Some("not a host"), "c", "ip"));
        let all = Some(Some("docs.example"));
        assert_eq!(placed(all, None, "a.example/b/c"), expected(Some("docs.example"), "b/c", "ip"));
        assert_eq!(placed(all, Some("a.example"), "c"), expected(Some("docs.example"), "c", "ip domain"));
        assert_eq!(placed(Some(None), Some("a.example"), "c"), expected(None, "c", "ip domain"));
    }
}
