//! Statistics of a link, of all links, and of those with a tag: as pages, as CSV and live.

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_DISPOSITION, HeaderValue};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use jiff::Zoned;
use waypost_protocol::UnixMs;
use waypost_protocol::clicks::{Dimension, orphan_of};

use super::context::context;
use super::guard::SignedIn;
use super::link::{Named, Shown};
use super::period::{Chosen, asked, chosen_whose, period_before, until_now};
use super::reply::with_status;
use super::top;
use crate::app::{
    Answer, Consistency, Interval, LinkName, Period, PeriodError, Point, Principal, Report, ReportError, ReportQuery,
    TaggedReport, Top,
};
use crate::http::answer::{reads, route};
use crate::http::problem::Problem;
use crate::http::state::NodeState;
use crate::http::{live as events, stats as api};
use crate::times::format_zoned;
use crate::ui::{
    Asked, Breakdown, Chart, ChartPoint, Context, LinkStatsView, OrphanRow, Section, StatFigure, StatisticsView, Stats,
    Tab, Tagged, TopList,
};

/// The paths that are shown as orphan visits.
const ORPHANS: usize = 100;
/// The tags that can be chosen from.
const TAGS: usize = 200;

/// What is to be reported of.
enum Of<'a> {
    Link(LinkName<'a>, UnixMs),
    All,
    Tag(&'a str),
}

/// Registers the pages.
pub(super) fn register(config: &mut ServiceConfig) {
    for (path, handler) in [
        ("/link/{code}/stats", reads().to(of_link)),
        ("/link/{code}/stats.csv", reads().to(csv_of_link)),
        ("/link/{code}/live", reads().to(live)),
        ("/statistics", reads().to(of_all)),
        ("/statistics/top", reads().to(top::part)),
        ("/statistics.csv", reads().to(csv_of_all)),
    ] {
        config.service(route(path, "GET, HEAD").route(handler));
    }
}

/// The statistics of a link.
async fn of_link(
    caller: SignedIn,
    request: HttpRequest,
    path: web::Path<String>,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let principal = &caller.principal;
    let shown = Shown::read(principal, &request, &node, &path, Tab::Statistics, Consistency::Local).await?;
    let Shown { cx, head, view, named } = shown;
    let mut asked = asked(&request, &cx, format!("{}/stats", head.path));
    let of = Of::Link(named.name(), view.link.created_at);
    let read = read_stats(&node, principal, &mut asked, &cx, &of).await?;
    let status = status_of(&asked);
    let stats = read.map(|read| read.stats);
    with_status(status, &request, &LinkStatsView { cx, head, asked, stats })
}

/// The statistics of all links, or of those with a tag.
async fn of_all(caller: SignedIn, request: HttpRequest, node: web::Data<NodeState>) -> Result<HttpResponse, Problem> {
    let principal = &caller.principal;
    let cx = context(&request, &node, Section::Statistics);
    let mut asked = asked(&request, &cx, format!("{}/statistics", cx.base));
    let tag = asked.form.given("tag").map(str::to_owned);
    let of = tag.as_deref().map_or(Of::All, Of::Tag);
    let read = read_stats(&node, principal, &mut asked, &cx, &of).await?;
    let tags = node.app.list_tags(principal, None).await;
    // Without a list of tags, one can still be typed.
    let tags = tags.map(|listed| listed.tags.into_iter().take(TAGS).map(|count| count.tag).collect());
    let orphans = match (&of, read.is_some()) {
        (Of::All, true) => orphans(&node, principal).await?,
        _ => Vec::new(),
    };
    let status = status_of(&asked);
    let (mut top, mut stats, mut tagged) = (TopList::Links { links: Vec::new(), at: None }, None, None);
    if let Some(read) = read {
        top = match of {
            Of::All => top::of_all(&request, &node, principal, &asked, &cx).await?,
            _ => top::list(&request, &node, &read.top, read.tagged.as_ref().map(|tagged| tagged.at)),
        };
        (stats, tagged) = (Some(read.stats), read.tagged);
    }
    let tags = tags.unwrap_or_default();
    with_status(status, &request, &StatisticsView { cx, asked, stats, top, orphans, tagged, tags })
}

fn status_of(asked: &Asked) -> StatusCode {
    if asked.form.is_refused() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK }
}

/// The statistics of a link as CSV, as the API answers them.
async fn csv_of_link(
    caller: SignedIn,
    path: web::Path<String>,
    query: web::Query<api::Query>,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let file = api::csv(&node, &caller.principal, Some(&path), query.into_inner()).await?;
    Ok(as_file(file))
}

/// The statistics of all links as CSV.
async fn csv_of_all(
    caller: SignedIn,
    query: web::Query<api::Query>,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let file = api::csv(&node, &caller.principal, None, query.into_inner()).await?;
    Ok(as_file(file))
}

fn as_file(mut response: HttpResponse) -> HttpResponse {
    let file = HeaderValue::from_static("attachment; filename=\"statistics.csv\"");
    response.headers_mut().insert(CONTENT_DISPOSITION, file);
    response
}

/// The totals of a link, as server-sent events.
async fn live(
    caller: SignedIn,
    request: HttpRequest,
    path: web::Path<String>,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let Named { code, domain } = Named::of(&request, &path);
    events::stream_of_link(&request, node, (caller.principal, caller.session.id), domain, code).await
}

/// What was read.
struct Read {
    stats: Stats,
    top: Top,
    tagged: Option<Tagged>,
}

/// Reads the statistics that a form asks for; `None` if it is refused.
async fn read_stats(
    node: &NodeState,
    principal: &Principal,
    asked: &mut Asked,
    cx: &Context,
    of: &Of<'_>,
) -> Result<Option<Read>, Problem> {
    let created = if let Of::Link(_, created) = of { Some(*created) } else { None };
    let chosen = Chosen::of(&asked.form, asked.range(), cx, created);
    let zone = asked.zone.clone();
    let whose = chosen_whose(&asked.form);
    let query =
        ReportQuery { link: None, period: chosen.period(&zone), whose, by: Dimension::ALL.to_vec(), ranked: false };
    let read = report(node, principal, of, query).await;
    let (Answer { value: now, stale }, tagged) = match read {
        Ok(read) => read,
        Err(ReportError::Period(error)) => {
            let (field, key) = refusal(&error);
            asked.form.refuse(field, cx.t(key));
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    let mut before = None;
    if asked.form.is_on("compare")
        && let Some((from, to)) = period_before(&now, chosen.interval)
    {
        let period = Period { from: Some(&from), to: Some(&to), zone: &zone, interval: chosen.interval };
        let query = ReportQuery { link: None, period, whose, by: Vec::new(), ranked: false };
        before = report(node, principal, of, query).await.ok().map(|(answer, _)| answer.value);
    }
    let stats = stats(&now, before.as_ref(), &chosen, asked, cx, stale);
    Ok(Some(Read { stats, top: now.top, tagged }))
}

/// A report, and of which links it is if they are those with a tag.
async fn report(
    node: &NodeState,
    principal: &Principal,
    of: &Of<'_>,
    mut query: ReportQuery<'_>,
) -> Result<(Answer<Report>, Option<Tagged>), ReportError> {
    match of {
        Of::Link(name, _) => {
            query.link = Some(*name);
            Ok((node.app.report(principal, &query).await?, None))
        }
        Of::All => Ok((node.app.report(principal, &query).await?, None)),
        Of::Tag(tag) => {
            let TaggedReport { report, links, cut, partial, at } =
                node.app.report_of_tag(principal, tag, &query).await?;
            let (links, partial) = (links as u64, partial.len() as u64);
            Ok((report, Some(Tagged { tag: (*tag).to_owned(), links, cut, partial, at })))
        }
    }
}

/// The field of a form with the period, and the key of what is wrong with it.
fn refusal(error: &PeriodError) -> (&'static str, &'static str) {
    match error {
        PeriodError::Zone(_) => ("", "stats.refused.zone"),
        PeriodError::From(_) => ("from", "refused.date"),
        PeriodError::To(_) => ("to", "refused.date"),
        PeriodError::Order => ("from", "stats.refused.order"),
        PeriodError::TooLong => ("from", "stats.refused.too-long"),
        PeriodError::TooManyPoints { .. } => ("interval", "stats.refused.too-many-points"),
    }
}

fn stats(now: &Report, before: Option<&Report>, chosen: &Chosen, asked: &Asked, cx: &Context, stale: bool) -> Stats {
    let (label, short) = match chosen.interval {
        Interval::Hour => ("chart.at.hour", "chart.short.hour"),
        Interval::Day => ("chart.at.day", "chart.short.day"),
        Interval::Month => ("chart.at.month", "chart.short.month"),
    };
    let text = |at: &Zoned, key: &str| at.strftime(cx.t(key)).to_string();
    let point = |(at, point): (usize, &Point)| ChartPoint {
        label: text(&point.time, label),
        short: text(&point.time, short),
        clicks: point.clicks,
        visitors: point.unique_visitors,
        before: before.map(|report| report.points.get(at).map_or(0, |point| point.clicks)),
    };
    let points: Vec<ChartPoint> = now.points.iter().enumerate().map(point).collect();
    let is_of_bots = asked.form.value("bots") == "only";
    // The last hour is not over. Of days and months, the period before has as many hours already.
    let is_in_hour = chosen.interval == Interval::Hour && now.end.timestamp().as_millisecond() > cx.now.0 as i64;
    let clicks_before = before.map(|report| {
        let last = report.points.last().filter(|_| is_in_hour).map_or(0, |point| point.clicks);
        report.clicks.saturating_sub(last - until_now(last, cx.now))
    });
    let mut figures = vec![StatFigure { label: "stats.clicks", number: now.clicks, before: clicks_before }];
    if let Some(number) = now.unique_visitors {
        // Visitors are those of whole days: a part of a day is not compared with a whole one.
        let whole = before.filter(|report| now.whole_days.is_none() && report.whole_days.is_none());
        let before = whole.and_then(|report| report.unique_visitors);
        figures.push(StatFigure { label: "stats.visitors", number, before });
    }
    if !is_of_bots {
        let before = before.filter(|_| !is_in_hour).map(|report| report.bot_clicks);
        figures.push(StatFigure { label: "stats.bots", number: now.bot_clicks, before });
    }
    figures.push(StatFigure { label: "stats.total", number: now.total_clicks, before: None });
    let days = |(from, to): &(Zoned, Zoned)| format!("{} – {}", text(from, "chart.at.hour"), text(to, "chart.at.hour"));
    let breakdowns = now.by.iter().map(|(dimension, values)| {
        let values: Vec<_> = values.iter().map(|value| (value.value.clone(), value.clicks)).collect();
        Breakdown::new(*dimension, &values, cx)
    });
    let mut csv = form_urlencoded::Serializer::new(String::new());
    csv.append_pair("from", &format_zoned(&now.start)).append_pair("to", &format_zoned(&now.end));
    csv.append_pair("interval", chosen.interval_name()).append_pair("tz", &asked.zone);
    for name in ["bots", "domain"] {
        if let Some(value) = asked.form.given(name) {
            csv.append_pair(name, value);
        }
    }
    Stats {
        figures,
        chart: Chart::new(cx.t("stats.over-time").to_owned(), &points, cx),
        breakdowns: breakdowns.collect(),
        period: days(&(now.start.clone(), now.end.clone())),
        whole_days: now.whole_days.as_ref().map(days),
        stale,
        csv: csv.finish(),
    }
}

async fn orphans(node: &NodeState, principal: &Principal) -> Result<Vec<OrphanRow>, Problem> {
    let Answer { value: orphans, .. } = node.app.orphans(principal).await?;
    let domains = node.app.all_domains();
    let row = |orphan: &waypost_protocol::clicks::Orphan| {
        let (domain, path) = orphan_of(&orphan.path);
        let host = domains.host(domain).map(ToString::to_string).unwrap_or_default();
        OrphanRow { path: format!("{host}{path}"), clicks: orphan.count, last: orphan.last }
    };
    Ok(orphans.iter().take(ORPHANS).map(row).collect())
}
