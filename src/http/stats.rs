//! Statistics of a link, of all links, and orphan visits, as JSON and as CSV.

use std::collections::BTreeMap;

use actix_web::http::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use waypost_protocol::clicks::{Dimension, Orphan, Whose, orphan_of};
use waypost_protocol::{Domains, LinkKey};

use super::authorized::{Authorized, ReadStatistics, WriteLinks};
use super::link_json::host_text;
use super::openapi::{OfDomain, OfLink};
use super::problem::Problem;
use super::state::NodeState;
use crate::app::{self, Answer, LinkName, Period, Principal, ReportQuery, Top};
use crate::cells::harmless;
use crate::times::{format_time, format_zoned};

/// The header of an answer without a leader.
const STALE: &str = "x-waypost-stale";

/// The length of a point of the series.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Interval {
    Hour,
    #[default]
    Day,
    Month,
}

/// Which visits count.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Bots {
    #[default]
    Exclude,
    Include,
    Only,
}

impl Bots {
    fn whose(self) -> Whose {
        match self {
            Self::Exclude => Whose::People,
            Self::Include => Whose::All,
            Self::Only => Whose::Bots,
        }
    }
}

/// The query parameters.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Query {
    /// The beginning: a day of `tz`, or a time (RFC 3339). Without it, 30 days before `to`.
    #[param(example = "2026-11-21")]
    from: Option<String>,
    /// The end: a day of `tz`, which counts as a whole, or a time (RFC 3339). Without it, now.
    #[param(example = "2026-11-25T10:00:00Z")]
    to: Option<String>,
    /// The length of a point of the series. Hours are kept for 90 days.
    #[serde(default)]
    #[param(inline)]
    interval: Interval,
    /// Dimensions, separated by commas: `country`, `city`, `referrer`, `browser`, `os`, `device`, `language`.
    #[serde(default)]
    #[param(example = "referrer,os")]
    by: String,
    /// Which visits count.
    #[serde(default)]
    #[param(inline)]
    bots: Bots,
    /// A time zone; without it UTC.
    #[serde(default)]
    #[param(example = "Europe/Berlin")]
    tz: String,
    /// The host of the link's domain, for the statistics of one link; without it the default domain.
    #[param(example = "go.example")]
    domain: Option<String>,
}

/// The statistics of a link, or of all links.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    #[serde(skip_serializing_if = "Option::is_none")]
    short_code: Option<String>,
    /// The host of the link's domain, unless it is the default one.
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<String>,
    from: String,
    to: String,
    interval: Interval,
    tz: String,
    bots: Bots,
    /// In the requested range.
    clicks: u64,
    bot_clicks: u64,
    /// Unique visitors; individual bots are not distinguished.
    unique_visitors: Option<u64>,
    /// The days that visitors and values cover, if these are more than the requested range: they are stored by day.
    #[serde(skip_serializing_if = "Option::is_none")]
    whole_days: Option<WholeDays>,
    /// Since the link was created, or its statistics were reset.
    total_clicks: u64,
    /// Answered without a leader: totals may be lower than in earlier answers.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stale: bool,
    series: Vec<Point>,
    by: BTreeMap<&'static str, Vec<ValueCount>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top: Option<Vec<TopLink>>,
    /// Why `top` is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    top_omitted: Option<&'static str>,
}

#[derive(Serialize, ToSchema)]
struct WholeDays {
    from: String,
    to: String,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Point {
    time: String,
    clicks: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    unique_visitors: Option<u64>,
}

#[derive(Serialize, ToSchema)]
struct ValueCount {
    /// `null` = unknown.
    value: Option<String>,
    clicks: u64,
}

impl From<app::Point> for Point {
    fn from(app::Point { time, clicks, unique_visitors }: app::Point) -> Self {
        Self { time: format_zoned(&time), clicks, unique_visitors }
    }
}

impl From<app::ValueCount> for ValueCount {
    fn from(app::ValueCount { value, clicks }: app::ValueCount) -> Self {
        Self { value, clicks }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TopLink {
    short_code: String,
    /// The host of its domain; `null` for the default domain.
    domain: Option<String>,
    clicks: u64,
}

/// Orphan visits: requests for unknown codes, and for `/`.
#[derive(Serialize, ToSchema)]
pub(super) struct Orphans {
    orphans: Vec<OrphanPath>,
}

/// Visits to one path.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct OrphanPath {
    /// The host of the domain; `null` for the default domain.
    domain: Option<String>,
    path: String,
    visits: u64,
    #[schema(format = DateTime)]
    last_visit: String,
}

impl OrphanPath {
    fn of(Orphan { path, count, last }: &Orphan, domains: &Domains) -> Self {
        let (domain, path) = orphan_of(path);
        Self {
            domain: host_text(domains.host(domain)),
            path: path.to_owned(),
            visits: *count,
            last_visit: format_time(*last),
        }
    }
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

async fn report(
    node: &NodeState,
    principal: &Principal,
    link: Option<LinkName<'_>>,
    query: Query,
) -> Result<Report, Problem> {
    let asked = ReportQuery {
        link,
        period: Period {
            from: query.from.as_deref(),
            to: query.to.as_deref(),
            zone: &query.tz,
            interval: match query.interval {
                Interval::Hour => app::Interval::Hour,
                Interval::Day => app::Interval::Day,
                Interval::Month => app::Interval::Month,
            },
        },
        whose: query.bots.whose(),
        by: dimensions(&query.by)?,
        ranked: true,
    };
    let Answer { value: report, stale } = node.app.report(principal, &asked).await?;
    let (top, top_omitted) = match report.top {
        Top::None => (None, None),
        Top::Links(links) => (Some(links), None),
        Top::TooManyLinks => {
            (None, Some("too many links have visits in this range to be compared; ask for fewer days"))
        }
        Top::OlderNode => (None, Some("a node of an older version cannot rank links by a range; upgrade it")),
    };
    let domains = node.app.all_domains();
    let top_link = |(key, clicks): (LinkKey, u64)| TopLink {
        short_code: key.code.to_string(),
        domain: host_text(domains.host(key.domain)),
        clicks,
    };
    Ok(Report {
        short_code: link.map(|name| name.code.to_owned()),
        domain: link.and_then(|name| name.domain).map(str::to_owned),
        from: format_zoned(&report.start),
        to: format_zoned(&report.end),
        interval: query.interval,
        tz: report.zone,
        bots: query.bots,
        clicks: report.clicks,
        bot_clicks: report.bot_clicks,
        unique_visitors: report.unique_visitors,
        whole_days: report.whole_days.map(|(from, to)| WholeDays { from: format_zoned(&from), to: format_zoned(&to) }),
        total_clicks: report.total_clicks,
        stale,
        series: report.points.into_iter().map(Point::from).collect(),
        by: report
            .by
            .into_iter()
            .map(|(dimension, values)| (dimension.as_str(), values.into_iter().map(ValueCount::from).collect()))
            .collect(),
        top: top.map(|links| links.into_iter().map(top_link).collect()),
        top_omitted,
    })
}

fn wants_csv(request: &HttpRequest) -> bool {
    let accepts = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accepts.contains("text/csv") && !accepts.contains("application/json")
}

/// The statistics of a link, or of all links, as CSV.
pub(super) async fn csv(
    node: &NodeState,
    principal: &Principal,
    code: Option<&str>,
    mut query: Query,
) -> Result<HttpResponse, Problem> {
    let domain = query.domain.take();
    let link = code.map(|code| LinkName { domain: domain.as_deref(), code });
    table(&report(node, principal, link, query).await?)
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

/// Sets a header, too, if an answer may be behind an earlier one.
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

/// Answers the statistics of one link.
#[utoipa::path(get, path = "/api/v1/links/{code}/stats", operation_id = "getLinkStatistics", tag = "Statistics", params(OfLink, Query),
    responses((status = 200, description = "The statistics", headers(("X-Waypost-Stale" = Option<String>, description = "`true` if no leader answered, so that totals may be lower than in earlier answers")),
        content((Report = "application/json"), (String = "text/csv")))))]
pub(super) async fn of_link(
    caller: Authorized<ReadStatistics>,
    request: HttpRequest,
    path: web::Path<String>,
    query: web::Query<Query>,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let mut query = query.into_inner();
    let domain = query.domain.take();
    let name = LinkName { domain: domain.as_deref(), code: &path };
    answer(&request, &report(&node, &caller.principal, Some(name), query).await?)
}

/// Answers the statistics of all links.
#[utoipa::path(get, path = "/api/v1/stats", operation_id = "getStatistics", tag = "Statistics", params(Query),
    responses((status = 200, description = "The statistics, and the most visited links", headers(("X-Waypost-Stale" = Option<String>, description = "`true` if no leader answered, so that totals may be lower than in earlier answers")),
        content((Report = "application/json"), (String = "text/csv")))))]
pub(super) async fn of_all(
    caller: Authorized<ReadStatistics>,
    request: HttpRequest,
    query: web::Query<Query>,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    if query.domain.is_some() {
        return Err(Problem::invalid(
            "domain",
            "these are the statistics of all links; domain is for those of one link",
        ));
    }
    answer(&request, &report(&node, &caller.principal, None, query.into_inner()).await?)
}

/// Deletes the statistics of a link.
#[utoipa::path(delete, path = "/api/v1/links/{code}/stats", operation_id = "deleteLinkStatistics", tag = "Statistics", params(OfLink, OfDomain),
    responses((status = 204, description = "The statistics are deleted")))]
pub(super) async fn reset(
    caller: Authorized<WriteLinks>,
    path: web::Path<String>,
    query: web::Query<OfDomain>,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let reset = node.app.reset_statistics(&caller.principal, query.name(&path)).await;
    reset.map_err(|error| Problem::of_change(error, None))?;
    Ok(HttpResponse::NoContent().finish())
}

/// Refuses parameters on routes without any: otherwise a client would not notice that they are ignored.
pub(super) fn no_parameters(request: &HttpRequest, what: &str) -> Result<(), Problem> {
    let query = request.query_string();
    if query.is_empty() { Ok(()) } else { Err(Problem::malformed(format!("{what}; this path takes no parameters"))) }
}

/// Orphan visits.
#[utoipa::path(get, path = "/api/v1/stats/orphans", operation_id = "getOrphanVisits", tag = "Statistics",
    responses((status = 200, description = "Visits to unknown codes and to `/` in the last 30 days", headers(("X-Waypost-Stale" = Option<String>, description = "`true` if no leader answered, so that totals may be lower than in earlier answers")),
        content((Orphans = "application/json"), (String = "text/csv")))))]
pub(super) async fn orphans(
    caller: Authorized<ReadStatistics>,
    request: HttpRequest,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    no_parameters(&request, "orphan visits are those of the last 30 days, of people and bots")?;
    let Answer { value: orphans, stale } = node.app.orphans(&caller.principal).await?;
    let domains = node.app.all_domains();
    let orphans = orphans.iter().map(|orphan| OrphanPath::of(orphan, &domains));
    let mut answer = if wants_csv(&request) {
        let row = |orphan: OrphanPath| {
            vec![orphan.path, orphan.visits.to_string(), orphan.last_visit, orphan.domain.unwrap_or_default()]
        };
        let head = ["path", "visits", "last", "domain"].map(str::to_owned).to_vec();
        csv_of(std::iter::once(head).chain(orphans.map(row)))?
    } else {
        HttpResponse::Ok().json(Orphans { orphans: orphans.collect() })
    };
    mark(&mut answer, stale);
    Ok(answer)
}
