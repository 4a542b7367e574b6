//! Authentication as extractors: the first argument of a handler that is not open to everybody.
//!
//! Extractors run in the order of the arguments and the first error ends them, so a handler that takes [`Authorized`] first reads
//! neither path nor body for clients without permission. The functions of the application layer authorise again. A handler cannot call them
//! without this extractor, because nothing else creates a [`Principal`].

use std::future::{Ready, ready};
use std::marker::PhantomData;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};

use super::evidence::Sender;
use super::problem::Problem;
use super::state::NodeState;
use crate::app::{Permission, Principal};

/// A permission as a type.
pub(super) trait Needed {
    const PERMISSION: Permission;
}

macro_rules! needed {
    ($($name:ident),*) => {$(
        pub(super) struct $name;

        impl Needed for $name {
            const PERMISSION: Permission = Permission::$name;
        }
    )*};
}

needed!(ReadLinks, WriteLinks, WriteDomains, ReadStatistics, ReadBackup, AdministerCluster, ManageSessions);

/// The sender of the request, which has a permission.
pub(super) struct Authorized<P> {
    pub(super) principal: Principal,
    permission: PhantomData<P>,
}

fn authenticate(request: &HttpRequest) -> Result<Principal, Problem> {
    let node = request.app_data::<web::Data<NodeState>>();
    let node = node.ok_or_else(|| Problem::not_ready("the server is starting"))?;
    Ok(node.app.authenticate(&Sender(request)))
}

impl<P: Needed> FromRequest for Authorized<P> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        ready(authenticate(request).and_then(|principal| {
            principal.require(P::PERMISSION)?;
            Ok(Self { principal, permission: PhantomData })
        }))
    }
}

/// For handlers that answer everybody, but some callers more than others.
impl FromRequest for Principal {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        ready(authenticate(request))
    }
}
