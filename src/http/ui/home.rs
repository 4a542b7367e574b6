//! The first page.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use waypost_protocol::UnixMs;
use waypost_protocol::clicks::{HOUR_MS, Whose};
use waypost_protocol::listing::{LinkFilter, Matches, Sort, SortKey, StateFilter};

use super::context::context;
use super::create_form::{has_more, made_before, offered};
use super::guard::SignedIn;
use super::period::until_now;
use super::reply::{go_to, page};
use crate::app::{Answer, Interval, ListError, ListRequest, Listed, Period, Point, Principal, Report, ReportQuery};
use crate::cluster::{ClusterView, DiskReport};
use crate::http::problem::Problem;
use crate::http::state::NodeState;
use crate::times::format_time;
use crate::ui::{Attention, Context, Create, Figure, Figures, Form, HomeView, Section};

/// The links of each of the two lists.
const LINKS: usize = 8;

/// The hours of a day, and those of the 30 days that are compared.
const DAY_HOURS: usize = 24;
const MONTH_HOURS: usize = 30 * DAY_HOURS;

/// How long the page waits for other nodes to say how they are. One that is there says so within milliseconds.
const CLUSTER_WAIT: Duration = Duration::from_millis(100);

/// A disk with less free space than one part in so many is nearly full.
const DISK_PARTS: u64 = 20;

/// The path without the slash.
pub(super) async fn to_home(node: web::Data<NodeState>) -> HttpResponse {
    go_to(&format!("{}/", node.dashboard().path()))
}

/// The first page. Its query may name a link that was just made, or fill the form.
pub(super) async fn home(
    caller: SignedIn,
    request: HttpRequest,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let cx = context(&request, &node, Section::Home);
    let query = Form::read(request.query_string().as_bytes());
    let made = made_before(&caller.principal, &request, &node, &query).await;
    let create = Create { made, ..offered(&caller.principal, &node)? };
    page(&request, &view(&caller.principal, &request, &node, cx, create).await?)
}

/// The first page with the form filled, for bookmarklets and for what is shared: only a click creates something.
pub(super) async fn new(
    caller: SignedIn,
    request: HttpRequest,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let cx = context(&request, &node, Section::Home);
    let form = shared(&Form::read(request.query_string().as_bytes()));
    let create = Create { more: has_more(&form), form, ..offered(&caller.principal, &node)? };
    page(&request, &view(&caller.principal, &request, &node, cx, create).await?)
}

/// What is shared, as the fields of the form. Some phones share the URL as a part of the text.
fn shared(query: &Form) -> Form {
    let mut form = Form::default();
    let in_text = || query.value("text").split_whitespace().find(|word| word.contains("://"));
    let url = query.given("url").or_else(in_text).unwrap_or_default();
    form.set("longUrl", url);
    // A title that is only the URL once more is none.
    if let Some(title) = query.given("title").filter(|title| *title != url) {
        form.set("title", title);
    }
    form
}

/// The first page with a form. Lists, figures and the state of the cluster are asked for at the same time.
pub(super) async fn view(
    principal: &Principal,
    request: &HttpRequest,
    node: &NodeState,
    cx: Context,
    create: Create,
) -> Result<HomeView, Problem> {
    let list = |key, state, limit| {
        let filter = LinkFilter { state, ..LinkFilter::default() };
        let (sort, count) = (Sort { key, descending: true }, key == SortKey::CreatedAt);
        node.app.list_links(principal, ListRequest { filter, sort, after: None, limit, count, seen: None })
    };
    // One after the other, so that a page takes one turn of those that the node has for lists: eight pages at once would take all of them.
    let lists = async {
        (
            list(SortKey::CreatedAt, None, LINKS).await,
            list(SortKey::Visits, None, LINKS).await,
            list(SortKey::CreatedAt, Some(StateFilter::EndsSoon), 1).await,
            list(SortKey::CreatedAt, Some(StateFilter::Exhausted), 1).await,
        )
    };
    let ((newest, visited, ends_soon, exhausted), figures, cluster) = tokio::join!(
        lists,
        figures(principal, node, &cx),
        tokio::time::timeout(CLUSTER_WAIT, node.app.cluster(principal)),
    );
    let newest = newest?;
    let mut attention = Vec::new();
    attend_links(&cx, &mut attention, "endsSoon", "home.ends-soon", ends_soon);
    attend_links(&cx, &mut attention, "exhausted", "home.exhausted", exhausted);
    attend_cluster(&cx, &mut attention, node.app.is_read_only(), cluster.ok().and_then(Result::ok).as_ref());
    Ok(HomeView {
        total: newest.matches.unwrap_or_default().total,
        missing: newest.partial.len() as u64,
        visited: visited.map(|listed| node.link_items(request, &listed)).unwrap_or_default(),
        newest: node.link_items(request, &newest),
        figures,
        attention,
        create,
        cx,
    })
}

/// The visits of all links; `None` if they cannot be told now.
async fn figures(principal: &Principal, node: &NodeState, cx: &Context) -> Option<Figures> {
    let from = cx.now.0.saturating_sub((2 * MONTH_HOURS as u64 - 1) * HOUR_MS);
    let from = format_time(UnixMs(from));
    let period = Period { from: Some(&from), interval: Interval::Hour, ..Period::default() };
    let query = ReportQuery { link: None, period, whose: Whose::People, by: Vec::new(), ranked: false };
    let Answer { value: Report { points, .. }, stale } = node.app.report(principal, &query).await.ok()?;
    Some(Figures { day: figure(&points, DAY_HOURS, cx.now), month: figure(&points, MONTH_HOURS, cx.now), stale })
}

/// The visits of the last hours, the present one among them, and of the same time before. Of the last hour before, only as much counts
/// as has passed of the present one.
fn figure(points: &[Point], hours: usize, at: UnixMs) -> Figure {
    let sum = |points: &[Point]| -> u64 { points.iter().map(|point| point.clicks).sum() };
    let (before, now) = points.split_at(points.len().saturating_sub(hours));
    let (last, before) = before[before.len().saturating_sub(hours)..].split_last().unzip();
    let part = last.map_or(0, |last: &Point| until_now(last.clicks, at));
    Figure { now: sum(now), before: sum(before.unwrap_or_default()) + part }
}

/// Notes links that need attention.
fn attend_links(
    cx: &Context,
    attention: &mut Vec<Attention>,
    state: &str,
    key: &str,
    listed: Result<Listed, ListError>,
) {
    let Ok(Some(Matches { total: total @ 1.., .. })) = listed.map(|listed| listed.matches) else { return };
    let href = format!("{}/links?state={state}", cx.base);
    attention.push(Attention { class: "warn", text: cx.count(key, &total), href });
}

/// Notes what needs attention of the cluster; `None` if some node did not say how it is.
fn attend_cluster(cx: &Context, attention: &mut Vec<Attention>, read_only: bool, cluster: Option<&ClusterView>) {
    let href = format!("{}/cluster", cx.base);
    let mut note = |text: String| attention.push(Attention { class: "bad", text, href: href.clone() });
    if read_only {
        note(cx.t("home.read-only").to_owned());
    }
    let Some(cluster) = cluster else { return note(cx.t("home.silent").to_owned()) };
    for node in &cluster.nodes {
        match &node.status {
            None => note(cx.with("home.node-down", &node.record.name)),
            Some(status) if status.read_only && node.record.id != cluster.asked => {
                note(cx.with("home.node-read-only", &node.record.name));
            }
            Some(status) if status.is_short_of_memory() => note(cx.with("home.node-no-memory", &node.record.name)),
            Some(status) if status.disk.is_some_and(is_nearly_full) => {
                note(cx.with("home.disk", &node.record.name));
            }
            Some(_) => {}
        }
    }
    if let groups @ 1.. = cluster.leaderless.len() as u64 {
        note(cx.count("home.leaderless", &groups));
    }
}

/// Whether somebody should see to the space of a disk before a node takes no changes any more.
fn is_nearly_full(disk: DiskReport) -> bool {
    disk.free_bytes < disk.total_bytes / DISK_PARTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_with_a_twentieth_left_is_nearly_full() {
        let disk = |free_bytes| DiskReport { free_bytes, total_bytes: 1000 };
        assert!(is_nearly_full(disk(49)) && !is_nearly_full(disk(50)));
    }

    #[test]
    fn the_last_hours_are_compared_with_those_before() {
        let at = jiff::Timestamp::UNIX_EPOCH.to_zoned(jiff::tz::TimeZone::UTC);
        let point = |clicks| Point { time: at.clone(), clicks, unique_visitors: None };
        let points: Vec<Point> = (1..=10).map(point).collect();
        let of = |points, hours| figure(points, hours, UnixMs(30 * 60_000));
        // Half of the present hour is over.
        assert_eq!(of(&points, 3), Figure { now: 8 + 9 + 10, before: 5 + 6 + 7 / 2 });
        assert_eq!(of(&points, 8), Figure { now: 3 + 4 + 5 + 6 + 7 + 8 + 9 + 10, before: 1 + 2 / 2 });
        assert_eq!(of(&[], 3), Figure::default());
    }

    #[test]
    fn what_is_shared_fills_the_form() {
        let form = |query: &str| {
            let form = shared(&Form::read(query.as_bytes()));
            (form.value("longUrl").to_owned(), form.value("title").to_owned())
        };
        assert_eq!(form("url=https://a.example/&title=A"), ("https://a.example/".to_owned(), "A".to_owned()));
        assert_eq!(form("text=See+https://a.example/x&title="), ("https://a.example/x".to_owned(), String::new()));
        assert_eq!(form("url=a.example&title=a.example").1, "");
        assert_eq!(form(""), (String::new(), String::new()));
    }
}
