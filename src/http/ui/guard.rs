//! Who may see the dashboard, and change something with it.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::header::{HOST, HeaderName, ORIGIN};
use actix_web::{FromRequest, HttpRequest, web};
use url::Url;

use crate::app::{Denied, Permission, Principal, Unintended};
use crate::http::evidence::Sender;
use crate::http::problem::Problem;
use crate::http::state::NodeState;

/// Somebody who has signed in. The first argument of every handler of the dashboard that only reads, but for signing in and for files.
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

/// Somebody who has signed in, and sends a form of the dashboard. The first argument of every handler that changes something.
pub(super) struct Change {
    pub(super) principal: Principal,
}

impl FromRequest for Change {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        ready(from_own_page(request).and_then(|()| {
            let SignedIn { principal } = signed_in(request)?;
            Ok(Self { principal })
        }))
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

/// Refuses what another page has the browser send. Programs send neither of the two headers.
pub(super) fn from_own_page(request: &HttpRequest) -> Result<(), Problem> {
    let text = |name: HeaderName| request.headers().get(name).map(|value| value.to_str().unwrap_or_default());
    let site = text(HeaderName::from_static("sec-fetch-site"));
    let foreign = site.is_some_and(|site| !matches!(site, "same-origin" | "none"));
    let foreign = foreign || text(ORIGIN).is_some_and(|origin| !is_own_origin(request, origin, text(HOST)));
    if foreign { Err(Denied::Unintended(Unintended::OtherOrigin).into()) } else { Ok(()) }
}

/// Whether an origin is that of this server: the host of the request, or the public address where a proxy gives it another one.
fn is_own_origin(request: &HttpRequest, origin: &str, host: Option<&str>) -> bool {
    if origin.split_once("://").is_some_and(|(_, named)| Some(named) == host) {
        return true;
    }
    let node = request.app_data::<web::Data<NodeState>>();
    let own = node.and_then(|node| Url::parse(&node.address.api_url(request)).ok());
    let given = Url::parse(origin).ok();
    own.zip(given).is_some_and(|(own, given)| given.has_host() && own.origin() == given.origin())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_change_comes_from_a_page_of_this_server_or_from_a_program() {
        let allowed = |headers: &[(&'static str, &str)]| {
            let mut request = TestRequest::post().insert_header(("host", "go.example:8080"));
            for header in headers {
                request = request.insert_header(*header);
            }
            from_own_page(&request.to_http_request()).is_ok()
        };
        let own = ("origin", "http://go.example:8080");
        assert!(allowed(&[]) && allowed(&[own]) && allowed(&[own, ("sec-fetch-site", "same-origin")]));
        assert!(!allowed(&[own, ("sec-fetch-site", "cross-site")]));
        assert!(!allowed(&[own, ("sec-fetch-site", "same-site")]));
        for origin in ["null", "", "http://go.example", "https://evil.example", "http://go.example:8080.evil.example"] {
            assert!(!allowed(&[("origin", origin)]), "{origin}");
        }
    }
}
