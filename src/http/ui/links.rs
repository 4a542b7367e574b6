//! The list of links.

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue, LOCATION, SET_COOKIE};
use actix_web::{HttpRequest, HttpResponse, web};
use jiff::civil::Date;
use waypost_protocol::UnixMs;

use super::context::{CHOICE_KEPT, base, context, cookie, path_of_ours, set_cookie, wants_part};
use super::create_form::offered;
use super::guard::{Change, SignedIn};
use super::reply::{go_to, go_to_with, page, with_status};
use crate::app::{ListRequest, Principal};
use crate::http::list::{Asked, Cursor, ListQuery, whole_as_csv};
use crate::http::problem::Problem;
use crate::http::state::NodeState;
use crate::times::format_time;
use crate::ui::{Column, Context, Form, LinksView, ListView, Listing, Section};

/// The links of a page, unless the query says otherwise.
const PAGE_LINKS: u64 = 50;

/// The columns that were chosen.
const COLUMNS: &str = "waypost_columns";

/// Tells htmx what to write into the address bar.
const PUSH_URL: HeaderName = HeaderName::from_static("hx-push-url");
/// The same, in the place of the present address.
const REPLACE_URL: HeaderName = HeaderName::from_static("hx-replace-url");

/// Has htmx load another page.
const REDIRECT: HeaderName = HeaderName::from_static("hx-redirect");

/// A page of the list.
pub(super) async fn list(
    caller: SignedIn,
    request: HttpRequest,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let cx = context(&request, &node, Section::Links);
    let given = Form::read(request.query_string().as_bytes());
    let columns = Column::chosen(cookie(&request, COLUMNS).unwrap_or_default());
    let (status, list) = match listing(&caller.principal, &request, &node, &cx, &given).await {
        Ok(list) => (StatusCode::OK, list),
        // A place in another list, such as one in another time zone: the list begins anew.
        Err(problem) if problem.field() == Some("cursor") => {
            let first = Listing { asked: asked_of(&given), ..Listing::default() }.first(&cx);
            let mut response = go_to_with(&request, &first, "links.place-lost", None);
            if wants_part(&request) {
                // A redirect would be followed for the part, and the first links would stand below the last ones.
                *response.status_mut() = StatusCode::OK;
                if let Some(first) = response.headers_mut().remove(LOCATION).next() {
                    response.headers_mut().insert(REDIRECT, first);
                }
            }
            return Ok(response);
        }
        Err(problem) if is_mistake(&problem) => {
            let refused = Some(problem.detail().to_owned());
            (StatusCode::UNPROCESSABLE_ENTITY, Listing { asked: asked_of(&given), refused, ..Listing::default() })
        }
        Err(problem) => return Err(problem),
    };
    let list = Listing { columns, ..list };
    if !wants_part(&request) {
        let domains = offered(&caller.principal, &node)?.domains;
        return with_status(status, &request, &LinksView { cx, list, domains });
    }
    let here = list.here(&cx);
    let is_next = list.cursor.is_some();
    let mut response = page(&request, &ListView { cx, list })?;
    // A search is one step of the history, however many letters it has; further pages are noted by the script, as they are seen.
    if let Some(address) = HeaderValue::from_str(&here).ok().filter(|_| !is_next) {
        let typed = request.headers().get("hx-trigger-name").is_some_and(|name| name == "q");
        response.headers_mut().insert(if typed { REPLACE_URL } else { PUSH_URL }, address);
    }
    Ok(response)
}

/// Whether the query is to blame, so that the page with the filter is shown.
fn is_mistake(problem: &Problem) -> bool {
    matches!(problem.status(), StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::UNPROCESSABLE_ENTITY)
}

/// The filter and the order of a query.
pub(super) fn asked_of(given: &Form) -> Form {
    Form::of(
        given
            .pairs()
            .filter(|(name, value)| *name != "cursor" && *name != "limit" && !value.trim().is_empty())
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
    )
}

/// What a query asks for, in the words of the API: days are times in the zone of the page, and what is empty is absent.
pub(super) fn asked(
    principal: &Principal,
    request: &HttpRequest,
    node: &NodeState,
    cx: &Context,
    given: &Form,
) -> Result<Asked, Problem> {
    let pairs = given.pairs().filter(|(_, value)| !value.trim().is_empty()).map(|(name, value)| {
        let value = match name {
            "createdFrom" => day_in(cx, value, false),
            "createdTo" => day_in(cx, value, true),
            _ => None,
        }
        .unwrap_or_else(|| value.to_owned());
        (name.to_owned(), value)
    });
    let query = Form::of(pairs).query();
    // Parameters that do not exist are refused by name.
    let query = web::Query::<ListQuery>::from_query(&query).map_err(|error| Problem::malformed(error.to_string()))?;
    query.asked(node, principal, |text| node.own_link(request, text))
}

/// The begin of a day in the zone of the page, or its end.
fn day_in(cx: &Context, text: &str, end: bool) -> Option<String> {
    let date: Date = Some(text.trim()).filter(|text| text.len() == 10)?.parse().ok()?;
    let date = if end { date.tomorrow().ok()? } else { date };
    let at = date.to_zoned(cx.zone.clone()).ok()?.timestamp().as_millisecond();
    Some(format_time(UnixMs(u64::try_from(at).unwrap_or_default())))
}

async fn listing(
    principal: &Principal,
    request: &HttpRequest,
    node: &NodeState,
    cx: &Context,
    given: &Form,
) -> Result<Listing, Problem> {
    let Asked { filter, sort, print, cursor, seen, limit } = asked(principal, request, node, cx, given)?;
    let limit = limit.unwrap_or(PAGE_LINKS).min(waypost_protocol::listing::PAGE_LINKS_MAX as u64) as usize;
    let count = cursor.is_none() || !wants_part(request);
    let after = cursor.map(|cursor| cursor.after);
    let listed = node.app.list_links(principal, ListRequest { filter, sort, after, limit, count, seen }).await?;
    Ok(Listing {
        asked: asked_of(given),
        cursor: given.given("cursor").map(str::to_owned),
        items: node.link_items(request, &listed),
        next: listed.next.map(|after| Cursor::write(print, after)),
        total: listed.matches.map(|matches| matches.total),
        is_minimum: listed.matches.is_some_and(|matches| matches.is_minimum),
        missing: listed.partial.len() as u64,
        refused: None,
        columns: Vec::new(),
    })
}

/// The whole list as CSV.
pub(super) async fn export(
    caller: SignedIn,
    request: HttpRequest,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let cx = context(&request, &node, Section::Links);
    let given = Form::read(request.query_string().as_bytes());
    let asked = asked(&caller.principal, &request, &node, &cx, &given)?;
    whole_as_csv(node, request, caller.principal, asked).await
}

/// Keeps the choice of columns.
pub(super) async fn columns(_: Change, request: HttpRequest, body: web::Bytes) -> Result<HttpResponse, Problem> {
    let form = Form::read(&body);
    let chosen = Column::chosen(&form.all("column").collect::<Vec<_>>().join("."));
    let value = chosen.iter().map(|column| column.name()).collect::<Vec<_>>().join(".");
    let mut response = go_to(&path_of_ours(base(&request), form.value("back")));
    response.headers_mut().append(SET_COOKIE, set_cookie(&request, COLUMNS, &value, CHOICE_KEPT));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_zone_and_the_last_one_counts_as_a_whole() {
        let cx = Context::example("de");
        assert_eq!(day_in(&cx, "2026-11-26", false).as_deref(), Some("2026-11-25T23:00:00.000Z"));
        assert_eq!(day_in(&cx, "2026-11-26", true).as_deref(), Some("2026-11-26T23:00:00.000Z"));
        for text in ["2026-11-26T10:00:00Z", "26.11.2026", "", "2026-13-01", "9999-12-31x"] {
            assert_eq!(day_in(&cx, text, false), None, "{text}");
        }
        assert_eq!(day_in(&cx, "9999-12-31", true), None);
    }

    #[test]
    fn the_filter_of_a_page_has_neither_its_place_nor_empty_fields() {
        let given = Form::read(b"q=a+b&state=&cursor=x&limit=9&sort=-visits&tags=%20");
        assert_eq!(asked_of(&given).query(), "q=a+b&sort=-visits");
    }
}
