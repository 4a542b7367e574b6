//! Who may see the dashboard.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};

use crate::app::{Permission, Principal};
use crate::http::evidence::Sender;
use crate::http::problem::Problem;
use crate::http::state::NodeState;

/// Somebody who has signed in. The first argument of every handler of the dashboard, but for signing in and for files.
pub(super) struct SignedIn {
    pub(super) principal: Principal,
}

impl FromRequest for SignedIn {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        ready(signed_in(request))
    }
}

fn signed_in(request: &HttpRequest) -> Result<SignedIn, Problem> {
    let node = request.app_data::<web::Data<NodeState>>();
    let node = node.ok_or_else(|| Problem::not_ready("the server is starting"))?;
    let principal = node.app.authenticate(&Sender(request));
    // The server's own account has no place here without a key.
    principal.require(Permission::AdministerCluster)?;
    Ok(SignedIn { principal })
}
