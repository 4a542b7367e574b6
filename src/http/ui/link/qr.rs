//! The QR code of a link: its page, and its images as files.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};

use super::super::guard::SignedIn;
use super::super::reply::with_status;
use super::shown::Shown;
use crate::app::{Consistency, LinkName};
use crate::http::problem::Problem;
use crate::http::qr::{Format, QrQuery, image};
use crate::http::state::NodeState;
use crate::ui::{Form, LinkQrView, Tab};

/// What the form has if nothing was chosen.
const DEFAULTS: [(&str, &str); 5] =
    [("size", "512"), ("margin", "4"), ("errorCorrection", "M"), ("color", "#000000"), ("background", "#ffffff")];

/// Shows the QR code, and how it can look.
pub(super) async fn show(
    caller: SignedIn,
    request: HttpRequest,
    path: web::Path<String>,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let principal = &caller.principal;
    let Shown { cx, head, named, .. } =
        Shown::read(principal, &request, &node, &path, Tab::Qr, Consistency::Local).await?;
    let mut form = Form::read(request.query_string().as_bytes());
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, default) in DEFAULTS {
        let value = form.given(name).unwrap_or(default).to_owned();
        query.append_pair(name, &value);
        form.set(name, value);
    }
    if let Some(domain) = &named.domain {
        query.append_pair("domain", domain);
    }
    let query = query.finish();
    let drawn = match web::Query::<QrQuery>::from_query(&query) {
        Ok(asked) => image(&node, &request, principal, named.name(), &asked, Format::Svg).await.map(drop),
        // A number of the form is none.
        Err(_) => Err(Problem::invalid("size", "this is no number")),
    };
    let refused = match drawn {
        Ok(()) => None,
        Err(problem) => Some(match problem.field() {
            Some("size") => ("size", "qr.refused.size"),
            Some("margin") => ("margin", "qr.refused.margin"),
            Some("errorCorrection") => ("errorCorrection", "qr.refused.level"),
            Some("color" | "background") => ("color", "qr.refused.color"),
            _ => return Err(problem),
        }),
    };
    let status = if refused.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let query = refused.is_none().then_some(query);
    if let Some((field, key)) = refused {
        form.refuse(field, cx.t(key));
    }
    with_status(status, &request, &LinkQrView { cx, head, form, query })
}

/// The image as SVG.
pub(super) async fn svg(
    caller: SignedIn,
    request: HttpRequest,
    path: web::Path<String>,
    query: web::Query<QrQuery>,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let name = LinkName { domain: query.domain(), code: &path };
    image(&node, &request, &caller.principal, name, &query, Format::Svg).await
}

/// The image as PNG.
pub(super) async fn png(
    caller: SignedIn,
    request: HttpRequest,
    path: web::Path<String>,
    query: web::Query<QrQuery>,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let name = LinkName { domain: query.domain(), code: &path };
    image(&node, &request, &caller.principal, name, &query, Format::Png).await
}
