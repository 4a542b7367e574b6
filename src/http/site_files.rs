//! Files that browsers and crawlers request from every site, without anybody having followed a link.

use actix_web::http::header::{CACHE_CONTROL, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};

use super::problem::Problem;
use super::robots;
use super::state::NodeState;

/// How long others may keep what never changes.
const ONE_DAY: HeaderValue = HeaderValue::from_static("public, max-age=86400");

/// How long others may keep `robots.txt`. Crawlers keep it for a day, whatever is said here.
const ONE_HOUR: HeaderValue = HeaderValue::from_static("public, max-age=3600");

/// Tells crawlers which links of the domain they may follow.
#[utoipa::path(get, path = "/robots.txt", operation_id = "getRobots", tag = "Visitors",
    responses((status = 200, description = "What crawlers may fetch", body = String, content_type = "text/plain")))]
pub(super) async fn robots(request: HttpRequest, node: web::Data<NodeState>) -> Result<HttpResponse, Problem> {
    let file = match node.visited(&request) {
        Some(site) => node.robots.file(&node.app, site.domain).await?,
        None => robots::without_links(),
    };
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, ONE_HOUR)).content_type("text/plain; charset=utf-8").body(file))
}

/// `GET /favicon.ico`: there is none, and browsers need not ask again for a day.
#[utoipa::path(get, path = "/favicon.ico", operation_id = "getFavicon", tag = "Visitors",
    responses((status = 204, description = "There is no icon")))]
pub(super) async fn favicon() -> HttpResponse {
    HttpResponse::NoContent().insert_header((CACHE_CONTROL, ONE_DAY)).finish()
}

/// The names of such files, in lower case.
const NAMES: &[&str] = &[
    "ads.txt",
    "ai.txt",
    "app-ads.txt",
    "apple-app-site-association",
    "browserconfig.xml",
    "clientaccesspolicy.xml",
    "crossdomain.xml",
    "dnt-policy.txt",
    "firebase-messaging-sw.js",
    "humans.txt",
    "llms-full.txt",
    "llms.txt",
    "manifest.json",
    "manifest.webmanifest",
    "opensearch.xml",
    "robots.txt",
    "safari-pinned-tab.svg",
    "security.txt",
    "sellers.json",
    "service-worker.js",
    "site.webmanifest",
    "sw.js",
    "trust.txt",
];

/// The first and last parts of names of such files that come in several sizes or parts.
const FAMILIES: &[(&str, &[&str])] = &[
    ("android-chrome", &[".png"]),
    ("apple-touch-icon", &[".png"]),
    ("favicon", &[".ico", ".png", ".svg", ".gif"]),
    ("mstile", &[".png"]),
    ("sitemap", &[".xml", ".xml.gz", ".txt"]),
];

/// Whether programs request a path from every site: such a request does not count as an orphan visit.
pub(super) fn is_site_file(path: &str) -> bool {
    let name = path.trim_matches('/').to_ascii_lowercase();
    name == ".well-known"
        || name.starts_with(".well-known/")
        || NAMES.contains(&name.as_str())
        || FAMILIES.iter().any(|(begin, ends)| {
            name.starts_with(begin) && !name.contains('/') && ends.iter().any(|end| name.ends_with(end))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_every_site_is_asked_for_are_told_from_mistyped_links() {
        for path in [
            "/favicon.ico",
            "/Favicon.ico",
            "//favicon.ico",
            "/favicon-32x32.png",
            "/favicon.svg",
            "/robots.txt",
            "/apple-touch-icon.png",
            "/apple-touch-icon-precomposed.png",
            "/apple-touch-icon-120x120.png",
            "/apple-touch-icon-120x120-precomposed.png",
            "/android-chrome-192x192.png",
            "/mstile-150x150.png",
            "/.well-known/security.txt",
            "/.well-known/apple-app-site-association",
            "/.well-known/",
            "/sitemap.xml",
            "/sitemap_index.xml",
            "/sitemap.xml.gz",
            "/ads.txt",
            "/app-ads.txt",
            "/humans.txt",
            "/site.webmanifest",
            "/browserconfig.xml",
            "/sw.js",
        ] {
            assert!(is_site_file(path), "{path}");
        }
        for path in [
            "/",
            "/sale",
            "/favicon",
            "/robots",
            "/apple",
            "/sitemap",
            "/x.png",
            "/favicon/x.png",
            "/well-known",
            "/.env",
            "/wp-login.php",
        ] {
            assert!(!is_site_file(path), "{path}");
        }
    }
}
