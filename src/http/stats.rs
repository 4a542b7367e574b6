//! Statistics: of a link, of all links, and of what is no link; as JSON and as CSV.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use actix_web::http::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_json::json;
use waypost_protocol::clicks::{Counts, Dimension, Orphan, Ranking, Stats, Whose};
use waypost_protocol::messages::{Changed, GetOrphans, GetStats, LinkStore, ResetStats};
use waypost_protocol::{CallError, LinkKey, Request, ServiceError, ShardId, UnixMs};

use super::links::key_of;
use super::permit::Permit;
use super::problem::Problem;
use super::series::{Bots, Interval, Range, series};
use super::state::{NodeState, WorkerState};
use super::times::format_time;
use crate::cells::harmless;

/// Links of a list of the most visited.
const TOP_MAX: usize = 50;

/// Values of a dimension that are told.
const VALUES_MAX: usize = 1000;

/// The header of an answer that was given without a leader.
const STALE: &str = "x-waypost-stale";

/// The question, as it is written in the URL.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    from: Option<String>,
    to: Option<String>,
    #[serde(default)]
    interval: Interval,
    #[serde(default)]
    by: String,
    #[serde(default)]
    bots: Bots,
    #[serde(default)]
    tz: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    #[serde(skip_serializing_if = "Option::is_none")]
    short_code: Option<String>,
    from: String,
    to: String,
    interval: Interval,
    tz: String,
    bots: Bots,
    /// In the time asked for.
    clicks: u64,
    bot_clicks: u64,
    /// Different people; bots are not told apart.
    unique_visitors: Option<u64>,
    /// The days that visitors and values are of, where these are more than was asked for: they are kept by day.
    #[serde(skip_serializing_if = "Option::is_none")]
    whole_days: Option<WholeDays>,
    /// Since the link was made, or its statistics were reset.
    total_clicks: u64,
    /// Told without a leader: totals may be lower than what was told before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stale: bool,
    series: Vec<Point>,
    by: BTreeMap<&'static str, Vec<ValueCount>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top: Option<Vec<TopLink>>,
    /// Why there is no `top`.
    #[serde(skip_serializing_if = "Option::is_none")]
    top_omitted: Option<&'static str>,
}

#[derive(Serialize)]
struct WholeDays {
    from: String,
    to: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Point {
    time: String,
    clicks: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    unique_visitors: Option<u64>,
}

#[derive(Serialize)]
struct ValueCount {
    /// `null`: it is not known.
    value: Option<String>,
    clicks: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TopLink {
    short_code: String,
    clicks: u64,
}

fn dimensions(text: &str) -> Result<Vec<Dimension>, Problem> {
    let names = || Dimension::ALL.map(Dimension::as_str).join(", ");
    let of = |name: &str| {
        Dimension::ALL
            .into_iter()
            .find(|dimension| dimension.as_str() == name)
            .ok_or_else(|| Problem::invalid("by", format!("\"{name}\" is none of {}", names())))
    };
    text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(of).collect()
}

/// How long it is waited for a shard's leader: about an election. Then a replica answers.
const LEADERLESS_MAX: Duration = Duration::from_secs(2);

/// The answer of a shard, and whether it may lack what others have told already: without a leader, a replica says what it knows.
pub(super) struct Told<T> {
    pub(super) answer: T,
    pub(super) stale: bool,
}

/// Asks the leader of a shard; without one, any replica. `ask` makes the message for the one or the other.
async fn ask_leader<M: Request<Service = LinkStore>>(
    node: &NodeState,
    ask: impl Fn(bool) -> M,
) -> Result<Told<M::Reply>, CallError> {
    let since = Instant::now();
    let patience = LEADERLESS_MAX.min(node.timeout / 2);
    match node.links.call_while_nobody(ask(true), node.timeout, patience).await {
        Err(CallError::Service(ServiceError::NotHere { .. }) | CallError::Unreachable { .. }) => {
            let answer = node.links.call(ask(false), node.timeout.saturating_sub(since.elapsed())).await?;
            Ok(Told { answer, stale: true })
        }
        answer => Ok(Told { answer: answer?, stale: false }),
    }
}

/// The statistics of a link, as far as its shard has them.
pub(super) async fn of_key(
    node: &NodeState,
    key: &LinkKey,
    hours: &std::ops::Range<u32>,
) -> Result<(Option<Stats>, bool), CallError> {
    let (from, to, shard) = (hours.start, hours.end, key.shard(node.shards));
    let ask = |from_leader| GetStats { shard, key: Some(key.clone()), from, to, from_leader, whose: Whose::People };
    let Told { answer, stale } = ask_leader(node, ask).await?;
    Ok((answer, stale))
}

/// What the shards know, added up.
pub(super) async fn ask(
    node: &NodeState,
    key: Option<&LinkKey>,
    hours: &std::ops::Range<u32>,
    whose: Whose,
) -> Result<Told<Stats>, Problem> {
    if let Some(key) = key {
        let (answer, stale) = of_key(node, key, hours).await?;
        return Ok(Told { answer: answer.ok_or_else(Problem::unknown_link)?, stale });
    }
    let (from, to) = (hours.start, hours.end);
    let of = |shard| ask_leader(node, move |from_leader| GetStats { shard, key: None, from, to, from_leader, whose });
    let mut all = Stats { ranking: Ranking::AsAsked, ..Stats::default() };
    let mut stale = false;
    let mut hours: BTreeMap<u32, Counts> = BTreeMap::new();
    let mut days: BTreeMap<u32, Counts> = BTreeMap::new();
    let mut values: BTreeMap<(Dimension, String), Counts> = BTreeMap::new();
    for told in try_join_all((0..node.shards).map(ShardId).map(of)).await? {
        stale |= told.stale;
        let Some(stats) = told.answer else { continue };
        stats.hours.iter().for_each(|(hour, counts)| hours.entry(*hour).or_default().merge(*counts));
        stats.days.iter().for_each(|(day, counts, _)| days.entry(*day).or_default().merge(*counts));
        all.visitors.merge(&stats.visitors);
        all.total.merge(stats.total);
        for (dimension, text, counts) in stats.values {
            values.entry((dimension, text)).or_default().merge(counts);
        }
        all.top.extend(stats.top);
        if all.ranking == Ranking::AsAsked {
            all.ranking = stats.ranking;
        }
    }
    all.hours = hours.into_iter().collect();
    all.days = days.into_iter().map(|(day, counts)| (day, counts, 0)).collect();
    all.values = values.into_iter().map(|((dimension, text), counts)| (dimension, text, counts)).collect();
    all.top.sort_by_key(|(key, counts)| (std::cmp::Reverse(whose.of(*counts)), key.code.clone()));
    all.top.truncate(TOP_MAX);
    Ok(Told { answer: all, stale })
}

async fn report(worker: &WorkerState, key: Option<LinkKey>, query: Query) -> Result<Report, Problem> {
    let now = (worker.node.clock)();
    let range = Range::parse(query.from.as_deref(), query.to.as_deref(), &query.tz, query.interval, now)?;
    let wanted = dimensions(&query.by)?;
    let whose = query.bots.whose();
    let Told { answer: stats, stale } = ask(&worker.node, key.as_ref(), &range.hours, whose).await?;
    let mut sum = Counts::default();
    stats.days.iter().for_each(|(_, counts, _)| sum.merge(*counts));
    let by = wanted.into_iter().map(|dimension| {
        let of = stats.values.iter().filter(|(other, ..)| *other == dimension);
        let mut values: Vec<ValueCount> = of
            .map(|(_, text, counts)| ValueCount { value: Some(text.clone()), clicks: query.bots.of(*counts) })
            .filter(|value| value.clicks > 0)
            .collect();
        // What the visits do not say adds up with what they say to all of them; unless a day is asked for in part.
        let known: u64 = values.iter().map(|value| value.clicks).sum();
        if let Some(unknown @ 1..) = query.bots.of(sum).checked_sub(known) {
            values.push(ValueCount { value: None, clicks: unknown });
        }
        values.sort_by(|one, other| other.clicks.cmp(&one.clicks).then_with(|| one.value.cmp(&other.value)));
        values.truncate(VALUES_MAX);
        (dimension.as_str(), values)
    });
    let by = by.collect();
    let people = query.bots != Bots::Only;
    let by_day = key.is_some() && query.interval == Interval::Day && range.is_utc() && people;
    let uniques: HashMap<u32, u64> = stats.days.iter().map(|(day, _, uniques)| (*day, *uniques)).collect();
    let points = series(&stats, &range, query.bots)?.into_iter().map(|(time, day, clicks)| Point {
        time,
        clicks,
        unique_visitors: by_day.then(|| day.and_then(|day| uniques.get(&day)).copied().unwrap_or(0)),
    });
    let series = points.collect();
    Ok(Report {
        from: range.start_text(),
        to: range.end_text(),
        interval: query.interval,
        tz: range.zone_name(),
        bots: query.bots,
        clicks: query.bots.of(sum),
        bot_clicks: sum.bots,
        unique_visitors: people.then(|| stats.visitors.count()),
        whole_days: range.whole_days().map(|(from, to)| WholeDays { from, to }),
        total_clicks: query.bots.of(stats.total),
        stale,
        series,
        by,
        top: (key.is_none() && stats.ranking == Ranking::AsAsked).then(|| {
            let top = |(key, counts): &(LinkKey, Counts)| TopLink {
                short_code: key.code.to_string(),
                clicks: query.bots.of(*counts),
            };
            stats.top.iter().map(top).collect()
        }),
        top_omitted: match stats.ranking {
            _ if key.is_some() => None,
            Ranking::AsAsked => None,
            Ranking::TooMany => Some("too many links have visits to be compared over so many days; ask for fewer days"),
            Ranking::Lifetime => Some("a node of an older version cannot rank links by a range; upgrade it"),
        },
        short_code: key.map(|key| key.code.to_string()),
    })
}

fn wants_csv(request: &HttpRequest) -> bool {
    let accepts = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accepts.contains("text/csv") && !accepts.contains("application/json")
}

fn csv_of(rows: impl IntoIterator<Item = Vec<String>>) -> Result<HttpResponse, Problem> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        let row = row.iter().map(|field| harmless(field).into_owned());
        writer.write_record(row).map_err(|error| Problem::malformed(error.to_string()))?;
    }
    let text = writer.into_inner().map_err(|error| Problem::malformed(error.to_string()))?;
    Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, "text/csv; charset=utf-8")).body(text))
}

fn answer(request: &HttpRequest, report: &Report) -> Result<HttpResponse, Problem> {
    let mut answer = if wants_csv(request) { table(report)? } else { HttpResponse::Ok().json(report) };
    mark(&mut answer, report.stale);
    Ok(answer)
}

/// Says in a header, too, that an answer may be behind one that was given before.
fn mark(answer: &mut HttpResponse, stale: bool) {
    if stale {
        answer.headers_mut().insert(HeaderName::from_static(STALE), HeaderValue::from_static("true"));
    }
}

fn table(report: &Report) -> Result<HttpResponse, Problem> {
    let row = |fields: &[&str]| fields.iter().map(|field| (*field).to_owned()).collect::<Vec<_>>();
    if report.by.is_empty() {
        let points = report.series.iter().map(|point| vec![point.time.clone(), point.clicks.to_string()]);
        return csv_of(std::iter::once(row(&["time", "clicks"])).chain(points));
    }
    let values = report.by.iter().flat_map(|(dimension, values)| {
        let row = |value: &ValueCount| {
            vec![(*dimension).to_owned(), value.value.clone().unwrap_or_default(), value.clicks.to_string()]
        };
        values.iter().map(row).collect::<Vec<_>>()
    });
    csv_of(std::iter::once(row(&["dimension", "value", "clicks"])).chain(values))
}

/// Of one link.
pub(super) async fn of_link(
    _: Permit,
    request: HttpRequest,
    path: web::Path<String>,
    query: web::Query<Query>,
    worker: web::Data<WorkerState>,
) -> Result<HttpResponse, Problem> {
    answer(&request, &report(&worker, Some(key_of(&path)?), query.into_inner()).await?)
}

/// Of all links.
pub(super) async fn of_all(
    _: Permit,
    request: HttpRequest,
    query: web::Query<Query>,
    worker: web::Data<WorkerState>,
) -> Result<HttpResponse, Problem> {
    answer(&request, &report(&worker, None, query.into_inner()).await?)
}

/// Forgets the statistics of a link.
pub(super) async fn reset(
    _: Permit,
    request: HttpRequest,
    path: web::Path<String>,
    worker: web::Data<WorkerState>,
) -> Result<HttpResponse, Problem> {
    let node = &worker.node;
    no_parameters(&request, "all statistics of the link are forgotten")?;
    node.writable().map_err(CallError::from)?;
    let key = key_of(&path)?;
    match node.links.call(ResetStats { shard: key.shard(node.shards), key }, node.timeout).await? {
        Changed::Edited(_) => Ok(HttpResponse::NoContent().finish()),
        _ => Err(Problem::unknown_link()),
    }
}

/// Refuses parameters where there are none: nobody should take an answer for what they asked with them.
pub(super) fn no_parameters(request: &HttpRequest, what: &str) -> Result<(), Problem> {
    let query = request.query_string();
    if query.is_empty() { Ok(()) } else { Err(Problem::malformed(format!("{what}; this path takes no parameters"))) }
}

/// Visits to what is no link.
pub(super) async fn orphans(
    _: Permit,
    request: HttpRequest,
    worker: web::Data<WorkerState>,
) -> Result<HttpResponse, Problem> {
    let node = &worker.node;
    no_parameters(&request, "orphan visits are those of the last 30 days, of people and bots")?;
    let of = |shard| ask_leader(node, move |from_leader| GetOrphans { shard, from_leader });
    let told = try_join_all((0..node.shards).map(ShardId).map(of)).await?;
    let stale = told.iter().any(|told| told.stale);
    let mut all: BTreeMap<String, (u64, UnixMs)> = BTreeMap::new();
    for Orphan { path, count, last } in told.into_iter().flat_map(|told| told.answer) {
        let (sum, latest) = all.entry(path).or_default();
        *sum += count;
        *latest = last.max(*latest);
    }
    let mut all: Vec<_> = all.into_iter().collect();
    all.sort_by(|one, other| other.1.0.cmp(&one.1.0).then_with(|| one.0.cmp(&other.0)));
    let mut answer = if wants_csv(&request) {
        let rows = all.into_iter().map(|(path, (visits, last))| vec![path, visits.to_string(), format_time(last)]);
        csv_of(std::iter::once(vec!["path".to_owned(), "visits".to_owned(), "last".to_owned()]).chain(rows))?
    } else {
        let list: Vec<_> = all
            .into_iter()
            .map(|(path, (visits, last))| json!({ "path": path, "visits": visits, "lastVisit": format_time(last) }))
            .collect();
        HttpResponse::Ok().json(json!({ "orphans": list }))
    };
    mark(&mut answer, stale);
    Ok(answer)
}
