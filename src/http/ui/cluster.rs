//! The cluster: its state, and, on the admin listener, drains, leaders and backups.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use super::context::{base, context};
use super::guard::{Change, SignedIn};
use super::reply::{go_to_with, page, with_status};
use crate::app::{ClusterError, Permission, Principal};
use crate::http::backup;
use crate::http::problem::Problem;
use crate::http::state::NodeState;
use crate::ui::{ClusterPage, DrainPage, Section};

async fn view(principal: &Principal, request: &HttpRequest, node: &NodeState) -> Result<ClusterPage, Problem> {
    let view = node.app.cluster(principal).await?;
    let can_change = principal.require(Permission::AdministerCluster).is_ok();
    let admin = node.dashboard().admin_page("/cluster");
    Ok(ClusterPage::of(context(request, node, Section::Cluster), &view, can_change, admin))
}

/// The state of the cluster.
pub(super) async fn cluster(
    caller: SignedIn,
    request: HttpRequest,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    page(&request, &view(&caller.principal, &request, &node).await?)
}

/// Names a node.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NamedNode {
    node: String,
}

async fn drain_page(
    principal: &Principal,
    request: &HttpRequest,
    node: &NodeState,
    name: &str,
    refused: Option<String>,
) -> Result<DrainPage, Problem> {
    principal.require(Permission::AdministerCluster)?;
    let page = DrainPage::of(view(principal, request, node).await?, name, refused);
    Ok(page.ok_or_else(|| ClusterError::UnknownNode(name.to_owned()))?)
}

/// Says what draining a node does.
pub(super) async fn ask_drain(
    caller: SignedIn,
    request: HttpRequest,
    query: web::Query<NamedNode>,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    page(&request, &drain_page(&caller.principal, &request, &node, &query.node, None).await?)
}

/// Drains a node.
pub(super) async fn drain(
    caller: Change,
    request: HttpRequest,
    form: web::Form<NamedNode>,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    match node.app.drain_node(&caller.principal, &form.node, true).await {
        Ok(()) => Ok(go_to_with(&request, &format!("{}/cluster", base(&request)), "cluster.drained", None)),
        Err(error @ (ClusterError::Denied(_) | ClusterError::UnknownNode(_))) => Err(error.into()),
        Err(error) => {
            let refused = Some(error.to_string());
            let asked = drain_page(&caller.principal, &request, &node, &form.node, refused).await?;
            with_status(actix_web::http::StatusCode::CONFLICT, &request, &asked)
        }
    }
}

/// Ends draining a node.
pub(super) async fn undrain(
    caller: Change,
    request: HttpRequest,
    form: web::Form<NamedNode>,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    node.app.drain_node(&caller.principal, &form.node, false).await?;
    Ok(go_to_with(&request, &format!("{}/cluster", base(&request)), "cluster.undrained", None))
}

/// Names a group, and the node that is to lead it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewLeader {
    group: u32,
    to: String,
}

/// Moves the leadership of a group.
pub(super) async fn leader(
    caller: Change,
    request: HttpRequest,
    form: web::Form<NewLeader>,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    node.app.move_leader(&caller.principal, form.group, &form.to).await?;
    Ok(go_to_with(&request, &format!("{}/cluster", base(&request)), "cluster.leader-moved", None))
}

/// A backup of the whole cluster, as a file. By `POST`, so that no link of another page begins one.
pub(super) async fn take_backup(
    caller: Change,
    request: HttpRequest,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    // The public listener shows the cluster, and changes nothing and gives nothing away.
    caller.principal.require(Permission::AdministerCluster)?;
    backup::answer(&caller.principal, &request, &node).await
}
