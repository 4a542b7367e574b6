//! Whether a change comes from a page of the dashboard: a page of somebody else can make a browser send requests, with its cookies.
//!
//! Browsers say where a request comes from, in headers that no page can set. A request that says nothing is refused: every browser of the last years says
//! at least one of both.

use actix_web::HttpRequest;
use actix_web::http::header::{HeaderMap, HeaderName, ORIGIN};

use crate::http::problem::Problem;
use crate::http::state::NodeState;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Checks a request that may change something.
///
/// # Errors
/// The refusal.
pub(super) fn check(request: &HttpRequest, node: &NodeState) -> Result<(), Problem> {
    match comes_from_here(request.headers(), |origin| node.address.is_own_origin(request, origin)) {
        Some(true) => Ok(()),
        Some(false) => Err(Problem::of_another_page(
            "the request comes from a page of another origin. If this is the dashboard's own page behind a proxy, set [http] public_url, \
             or trusted_proxies to the address of the proxy",
        )),
        None => Err(Problem::of_another_page(
            "the request says neither by Origin nor by Sec-Fetch-Site where it comes from, as every current browser does; programs use the API",
        )),
    }
}

/// Whether a request comes from a page of this server, or from nobody's page; `None` if it does not say.
fn comes_from_here(headers: &HeaderMap, is_own: impl Fn(&str) -> bool) -> Option<bool> {
    let values = |name: HeaderName| {
        headers.get_all(name).map(|value| value.to_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let (origins, sites) = (values(ORIGIN), values(SEC_FETCH_SITE));
    if origins.is_empty() && sites.is_empty() {
        return None;
    }
    let own_site = sites.iter().all(|site| matches!(site.as_str(), "same-origin" | "none"));
    Some(own_site && origins.iter().all(|origin| is_own(origin)))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    #[test]
    fn only_a_page_of_this_server_changes_something_and_who_says_nothing_is_refused() {
        const OWN: (&str, &str) = ("origin", "https://go.example");
        for (pairs, expected) in [
            (vec![], None),
            (vec![("referer", "https://go.example/ui/")], None),
            (vec![OWN], Some(true)),
            (vec![("sec-fetch-site", "same-origin")], Some(true)),
            (vec![("sec-fetch-site", "none")], Some(true)),
            (vec![OWN, ("sec-fetch-site", "same-origin")], Some(true)),
            (vec![OWN, ("sec-fetch-site", "cross-site")], Some(false)),
            (vec![OWN, ("sec-fetch-site", "same-site")], Some(false)),
            (vec![("origin", "https://evil.example"), ("sec-fetch-site", "same-origin")], Some(false)),
            (vec![("origin", "null"), ("sec-fetch-site", "same-origin")], Some(false)),
            (vec![("origin", "")], Some(false)),
            (vec![("sec-fetch-site", "")], Some(false)),
            (vec![OWN, ("origin", "https://evil.example")], Some(false)),
            (vec![("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")], Some(false)),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in &pairs {
                headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
            }
            assert_eq!(comes_from_here(&headers, |origin| origin == OWN.1), expected, "{pairs:?}");
        }
    }
}
