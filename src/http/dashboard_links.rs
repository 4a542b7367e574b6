//! `POST /api/v1/dashboard-links`: one-time links to the dashboard, for `waypost dashboard`.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::authorized::{Authorized, ManageSessions};
use super::body::parse_json_only;
use super::dashboard::Dashboard;
use super::evidence::Sender;
use super::problem::Problem;
use super::state::NodeState;
use crate::app::LinkUser;
use crate::limits::ONE_TIME_LINK_MAX;

/// Who is to use the link.
#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schema(as = GivenDashboardLink)]
pub(super) struct Given {
    /// Whether only processes of the server's own account are to be able to use it: for a link that appears on a command line, which other accounts can read. A
    /// caller of another account gets a link that every account of the machine can use.
    own_account_only: bool,
}

/// A one-time link to the dashboard.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DashboardLink)]
pub(super) struct Made {
    /// The link. A browser on the machine of the server signs in with it, once.
    url: String,
    /// For how many seconds it can be used.
    expires_in_s: u64,
    /// Whether only processes of the server's own account can use it.
    own_account_only: bool,
}

/// Makes a one-time link to the dashboard.
///
/// The request has to come from the machine of the server, without a proxy.
#[utoipa::path(post, path = "/api/v1/dashboard-links", operation_id = "createDashboardLink", tag = "Administration",
    request_body = Given, responses((status = 201, description = "The link", body = Made)))]
pub(super) async fn post(
    caller: Authorized<ManageSessions>,
    request: HttpRequest,
    body: web::Bytes,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let given: Given = parse_json_only(&request, &body)?;
    let Some(dashboard) = &node.dashboard else {
        return Err(Problem::conflict("this node serves no dashboard: [dashboard] enabled is false"));
    };
    let Some(base) = dashboard.local_url() else {
        let url = dashboard.url();
        return Err(Problem::conflict(format!(
            "no listener of this node that serves the dashboard is on a loopback address, where one-time links are for; sign in with the admin key at {url}/"
        )));
    };
    let user = if given.own_account_only { LinkUser::OwnAccount } else { LinkUser::AnyAccount };
    let (secret, user) = node.app.make_one_time_link(&caller.principal, &Sender(&request), user)?;
    let url = Dashboard::one_time_url(&base, &secret);
    let own_account_only = user == LinkUser::OwnAccount;
    Ok(HttpResponse::Created().json(Made { url, expires_in_s: ONE_TIME_LINK_MAX.as_secs(), own_account_only }))
}
