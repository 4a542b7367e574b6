//! The domains: list, make, change and remove them.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};

use super::context::{base, context};
use super::guard::{Change, SignedIn};
use super::reply::{go_to_with, page, with_status};
use crate::http::domains::{form_of, given, given_edit};
use crate::http::problem::Problem;
use crate::http::state::NodeState;
use crate::ui::{DomainPage, DomainRemoval, DomainRow, DomainsPage, Form, Section};

/// The domains.
pub(super) async fn domains(
    caller: SignedIn,
    request: HttpRequest,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let domains = node.app.domains(&caller.principal)?;
    let domains = domains.iter().map(|site| DomainRow::from(&**site)).collect();
    page(&request, &DomainsPage { cx: context(&request, &node, Section::Domains), domains })
}

/// A form for a new domain.
pub(super) async fn new(
    _: SignedIn,
    request: HttpRequest,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let form = Form::of([("length".to_owned(), "7".to_owned())]);
    let cx = context(&request, &node, Section::Domains);
    page(&request, &DomainPage { cx, form, name: String::new(), is_default: false })
}

/// Shows a form again, with the reason beside the field; problems that concern no form are errors.
fn refused(
    request: &HttpRequest,
    node: &NodeState,
    mut form: Form,
    name: &str,
    problem: &Problem,
) -> Result<HttpResponse, Problem> {
    if !matches!(problem.status(), StatusCode::BAD_REQUEST | StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY) {
        return Err(problem.clone());
    }
    // The form has several fields for it.
    let (field, reason) = match problem.field() {
        Some("codeFormat") => ("alphabet", problem.detail().trim_start_matches("codeFormat: ")),
        field => (field.unwrap_or_default(), problem.detail()),
    };
    form.refuse(field, reason);
    let is_default = name == waypost_protocol::domain::DEFAULT_NAME;
    let cx = context(request, node, Section::Domains);
    with_status(StatusCode::UNPROCESSABLE_ENTITY, request, &DomainPage { cx, form, name: name.to_owned(), is_default })
}

/// Makes a domain.
pub(super) async fn make(
    caller: Change,
    request: HttpRequest,
    body: web::Bytes,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let form = Form::read(&body);
    let own_hosts = node.own_hosts(&request);
    let made = async {
        let domain = given(&form)?;
        node.app.add_domain(&caller.principal, domain.host(), &domain.edit(&own_hosts)?).await?;
        Ok::<_, Problem>(())
    };
    match made.await {
        Ok(()) => Ok(go_to_with(&request, &format!("{}/domains", base(&request)), "domains.made", None)),
        Err(problem) => refused(&request, &node, form, "", &problem),
    }
}

/// The settings of a domain.
pub(super) async fn settings(
    caller: SignedIn,
    request: HttpRequest,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let query = Form::read(request.query_string().as_bytes());
    let site = node.app.domain(&caller.principal, query.value("host"))?;
    let (cx, row) = (context(&request, &node, Section::Domains), DomainRow::from(&*site));
    page(&request, &DomainPage { cx, form: form_of(&site), name: row.name, is_default: row.host.is_empty() })
}

/// Changes the settings of a domain.
pub(super) async fn edit(
    caller: Change,
    request: HttpRequest,
    body: web::Bytes,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let form = Form::read(&body);
    let own_hosts = node.own_hosts(&request);
    let site = node.app.domain(&caller.principal, form.value("name"))?;
    let row = DomainRow::from(&*site);
    let changed = async {
        let edit = given_edit(&form, row.host.is_empty())?;
        node.app.edit_domain(&caller.principal, &row.name, &edit.edit(&own_hosts)?).await?;
        Ok::<_, Problem>(())
    };
    match changed.await {
        Ok(()) => Ok(go_to_with(&request, &format!("{}/domains", base(&request)), "domains.saved", None)),
        Err(problem) => refused(&request, &node, form, &row.name, &problem),
    }
}

/// Says what removing a domain does.
pub(super) async fn ask_removal(
    caller: SignedIn,
    request: HttpRequest,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let query = Form::read(request.query_string().as_bytes());
    let site = node.app.domain(&caller.principal, query.value("host"))?;
    let host = DomainRow::from(&*site).host;
    if host.is_empty() {
        return Err(Problem::not_found());
    }
    page(&request, &DomainRemoval { cx: context(&request, &node, Section::Domains), host })
}

/// Removes a domain. Its links stay: made again, it has them again.
pub(super) async fn remove(
    caller: Change,
    request: HttpRequest,
    body: web::Bytes,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let form = Form::read(&body);
    let left_to_default = form.value("visitors") == "default";
    node.app.remove_domain(&caller.principal, form.value("host"), left_to_default).await?;
    Ok(go_to_with(&request, &format!("{}/domains", base(&request)), "domains.removed", None))
}
