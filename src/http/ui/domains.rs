//! The domains: list, make, change and remove them.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};

use super::context::{base, context};
use super::guard::{Change, SignedIn};
use super::refused;
use super::reply::{go_to_with, page, with_status};
use crate::app::{DomainError, Principal};
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

/// Why a domain is not made or changed.
enum Refusal {
    Value(Problem),
    Domain(DomainError),
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Value(problem)
    }
}

impl From<DomainError> for Refusal {
    fn from(error: DomainError) -> Self {
        Self::Domain(error)
    }
}

/// Makes a domain, or changes one, as a form says; shows the form again if it is refused.
async fn save(
    caller: &Principal,
    request: &HttpRequest,
    node: &NodeState,
    mut form: Form,
    before: Option<DomainRow>,
) -> Result<HttpResponse, Problem> {
    let own_hosts = node.own_hosts(request);
    let saved = async {
        match &before {
            None => {
                let domain = given(&form)?;
                node.app.add_domain(caller, domain.host(), &domain.edit(&own_hosts)?).await?;
            }
            Some(row) => {
                let edit = given_edit(&form, row.host.is_empty())?;
                node.app.edit_domain(caller, &row.name, &edit.edit(&own_hosts)?).await?;
            }
        }
        Ok::<_, Refusal>(())
    };
    let cx = context(request, node, Section::Domains);
    match saved.await {
        Ok(()) => {
            let key = if before.is_some() { "domains.saved" } else { "domains.made" };
            return Ok(go_to_with(request, &format!("{}/domains", cx.base), key, None));
        }
        Err(Refusal::Domain(error)) => refused::domain(&cx, &mut form, error)?,
        Err(Refusal::Value(problem)) => refused::setting(&cx, &mut form, problem)?,
    }
    let (name, is_default) = before.map_or((String::new(), false), |row| (row.name, row.host.is_empty()));
    with_status(StatusCode::UNPROCESSABLE_ENTITY, request, &DomainPage { cx, form, name, is_default })
}

/// Makes a domain.
pub(super) async fn make(
    caller: Change,
    request: HttpRequest,
    body: web::Bytes,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    save(&caller.principal, &request, &node, Form::read(&body), None).await
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
    let site = node.app.domain(&caller.principal, form.value("name"))?;
    save(&caller.principal, &request, &node, form, Some(DomainRow::from(&*site))).await
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
