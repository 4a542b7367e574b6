//! Files that browsers and crawlers request from every site, without anybody having followed a link.

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, HeaderValue};

/// How long these answers may be cached.
const ONE_DAY: HeaderValue = HeaderValue::from_static("public, max-age=86400");

/// `robots.txt`: services that show a preview of a posted link may fetch links. All others are asked to crawl
/// nothing: a link leads to another site, which has its own rules, and a crawler that tries codes would find private links.
const ROBOTS: &str = "\
# Previews of links that people share are welcome. There is nothing to crawl here: links lead to other sites.
User-agent: Twitterbot
User-agent: facebookexternalhit
User-agent: meta-externalfetcher
User-agent: LinkedInBot
User-agent: Slackbot
User-agent: Slackbot-LinkExpanding
User-agent: Slack-ImgProxy
User-agent: Discordbot
User-agent: TelegramBot
User-agent: WhatsApp
User-agent: SkypeUriPreview
User-agent: MicrosoftPreview
User-agent: Pinterestbot
User-agent: redditbot
User-agent: Mastodon
User-agent: Embedly
User-agent: Iframely
User-agent: vkShare
User-agent: Viber
User-agent: Line-Poker
User-agent: Snap URL Preview Service
User-agent: Bluesky Cardyb
User-agent: Tumblr
User-agent: bitlybot
Disallow:

User-agent: *
Disallow: /
";

/// `GET /robots.txt`.
#[utoipa::path(get, path = "/robots.txt", operation_id = "getRobots", tag = "Visitors",
    responses((status = 200, description = "What crawlers may fetch", body = String, content_type = "text/plain")))]
pub(super) async fn robots() -> HttpResponse {
    HttpResponse::Ok().insert_header((CACHE_CONTROL, ONE_DAY)).content_type("text/plain; charset=utf-8").body(ROBOTS)
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

    #[test]
    fn a_robots_file_welcomes_previews_and_nobody_else() {
        let groups: Vec<&str> = ROBOTS.split("\n\n").collect();
        let [previews, others] = groups[..] else { panic!("{ROBOTS}") };
        assert!(previews.contains("User-agent: Twitterbot\n") && previews.ends_with("\nDisallow:"), "{previews}");
        assert_eq!(others, "User-agent: *\nDisallow: /\n");
        assert!(!ROBOTS.to_lowercase().contains("googlebot"));
    }
}
