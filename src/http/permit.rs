//! The permit of a request, as the first argument of a handler: it is checked before the body, the path and the query are looked at.
//!
//! Extractors are polled in the order of the arguments and the first error ends them, so a handler that takes a permit first reads nothing
//! for those who may not ask.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};

use super::problem::Problem;
use super::state::NodeState;

/// The caller may create, read and change links.
pub(super) struct Permit {
    /// The number of the key that it has (0 = it is of the own account), for the record of who created a link.
    pub(super) key: u32,
}

/// The caller has a key, and may read a backup and change the cluster.
pub(super) struct KeyPermit;

fn node(request: &HttpRequest) -> Result<&NodeState, Problem> {
    let node = request.app_data::<web::Data<NodeState>>();
    node.map(|node| &***node).ok_or_else(|| Problem::not_ready("the server is starting"))
}

impl FromRequest for Permit {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        ready(node(request).and_then(|node| node.access.check(request)).map(|key| Self { key }))
    }
}

impl FromRequest for KeyPermit {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        ready(node(request).and_then(|node| node.access.check_key(request)).map(|_| Self))
    }
}
