//! The most visited links of a period. With many links it takes longer to find them than a page may, so that a page without them comes first.

use actix_web::{HttpRequest, HttpResponse, web};
use waypost_protocol::{LinkKey, UnixMs};

use super::context::context;
use super::guard::SignedIn;
use super::link::address;
use super::period::{Chosen, asked, chosen_whose};
use super::reply::page;
use crate::app::{Principal, Ranked, ReportQuery, Top};
use crate::http::problem::Problem;
use crate::http::state::NodeState;
use crate::ui::{Asked, Context, Section, TopLink, TopList, TopView};

/// The links that are shown as the most visited ones.
const TOP: usize = 20;

/// The list alone, for a page that has come without it.
pub(super) async fn part(
    caller: SignedIn,
    request: HttpRequest,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let cx = context(&request, &node, Section::Statistics);
    let mut asked = asked(&request, &cx, format!("{}/statistics", cx.base));
    asked.form.set("top", "on");
    let top = of_all(&request, &node, &caller.principal, &asked, &cx).await?;
    page(&request, &TopView { cx, top })
}

/// The most visited of all links, if they were found a moment ago, or if the form asks for them; otherwise where they can be asked for.
pub(super) async fn of_all(
    request: &HttpRequest,
    node: &NodeState,
    principal: &Principal,
    asked: &Asked,
    cx: &Context,
) -> Result<TopList, Problem> {
    let chosen = Chosen::of(&asked.form, asked.range(), cx, None);
    let (period, whose) = (chosen.period(&asked.zone), chosen_whose(&asked.form));
    let query = ReportQuery { link: None, period, whose, by: Vec::new(), ranked: true };
    let found = match asked.form.is_on("top") {
        true => Some(node.app.most_visited(principal, &query).await?),
        false => node.app.most_visited_before(principal, &query)?,
    };
    Ok(match found {
        Some(Ranked { top, at }) => list(request, node, &top, Some(at)),
        None => {
            let page = asked.with("top", "on");
            TopList::Later { part: page.replacen("/statistics?", "/statistics/top?", 1), page }
        }
    })
}

/// A list as it is shown.
pub(super) fn list(request: &HttpRequest, node: &NodeState, top: &Top, at: Option<UnixMs>) -> TopList {
    match top {
        Top::Links(links) => TopList::Links { links: top_links(request, node, links), at },
        Top::None => TopList::Links { links: Vec::new(), at },
        Top::TooManyLinks => TopList::Omitted("stats.top-too-many"),
        Top::OlderNode => TopList::Omitted("stats.top-older"),
    }
}

fn top_links(request: &HttpRequest, node: &NodeState, links: &[(LinkKey, u64)]) -> Vec<TopLink> {
    let largest = links.first().map_or(1, |(_, clicks)| *clicks).max(1);
    let row = |(key, clicks): &(LinkKey, u64)| {
        let short_url = node.short_url(request, key);
        TopLink {
            text: short_url.split_once("://").map_or(short_url.clone(), |(_, url)| url.to_owned()),
            address: address(node, key, "/stats"),
            clicks: *clicks,
            share: clicks.saturating_mul(100) / largest,
        }
    };
    links.iter().filter(|(_, clicks)| *clicks > 0).take(TOP).map(row).collect()
}
