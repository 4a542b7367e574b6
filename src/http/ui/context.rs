//! What every view needs, from the request; and the cookies that it comes from.

use actix_web::HttpRequest;
use actix_web::http::Method;
use actix_web::http::header::{COOKIE, HeaderValue, REFERER};
use jiff::tz::TimeZone;
use url::{Position, Url};

use crate::http::pages::languages;
use crate::http::state::NodeState;
use crate::ui::{Context, Language, Section, Theme, language};

/// The time zone, which a script sets.
const ZONE: &str = "waypost_zone";
/// The theme that was chosen.
pub(super) const THEME: &str = "waypost_theme";
/// The language that was chosen.
pub(super) const LANGUAGE: &str = "waypost_language";
/// Whether single keys do something: `off` if not.
pub(super) const KEYS: &str = "waypost_keys";
/// What came of the last change: the key of a text, perhaps with a number behind `~`.
pub(super) const NOTICE: &str = "waypost_notice";

/// How long a choice is kept, in seconds: a year.
pub(super) const CHOICE_KEPT: u32 = 31_536_000;
/// How long a notice waits for its page, in seconds.
pub(super) const NOTICE_KEPT: u32 = 60;

/// The context of a request.
pub(super) fn context(request: &HttpRequest, node: &NodeState, section: Section) -> Context {
    let zone = cookie(request, ZONE).and_then(|zone| TimeZone::get(zone).ok()).unwrap_or(TimeZone::UTC);
    let language = language(cookie(request, LANGUAGE), &languages(request));
    let mut context = Context {
        base: base(request).to_owned(),
        language,
        zone,
        theme: cookie(request, THEME).map(Theme::of).unwrap_or_default(),
        now: (node.clock)(),
        section,
        here: here(request),
        keys: cookie(request, KEYS) != Some("off"),
        notice: None,
    };
    context.notice = cookie(request, NOTICE).and_then(|notice| notice_text(&context, notice));
    context
}

/// The page to come back to: the one that is asked for. One that answers a form may be none that can be asked for, so it is the page of the form.
fn here(request: &HttpRequest) -> String {
    let base = base(request);
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return request.uri().path_and_query().map_or_else(|| format!("{base}/"), ToString::to_string);
    }
    came_from(base, request.headers().get(REFERER).and_then(|referer| referer.to_str().ok()).unwrap_or_default())
}

/// The page of the dashboard that a referrer names; the first one if it names none, or one that only answers forms.
fn came_from(base: &str, referrer: &str) -> String {
    let path = match Url::parse(referrer) {
        Ok(url) => path_of_ours(base, &url[Position::BeforePath..Position::AfterQuery]),
        Err(_) => String::new(),
    };
    let view = path.split('?').next().and_then(|path| path.strip_prefix(base)).unwrap_or_default();
    let of_link = view.strip_prefix("/link/").and_then(|rest| rest.split_once('/')).map(|(_, view)| view);
    let answers_forms = matches!(view, "/links/bulk" | "/tags/replace") || matches!(of_link, Some("state" | "restore"));
    if path.is_empty() || answers_forms { format!("{base}/") } else { path }
}

/// The text of a notice, if there is one: the cookie may have been written by anybody.
fn notice_text(context: &Context, notice: &str) -> Option<String> {
    match notice.split_once('~') {
        None => context.language.has(notice).then(|| context.t(notice).to_owned()),
        Some((key, number)) => {
            let number = number.parse().ok()?;
            context.language.has(&format!("{key}.other")).then(|| context.count(key, &number))
        }
    }
}

/// The value of a cookie.
pub(super) fn cookie<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    let headers = request.headers().get_all(COOKIE).filter_map(|header| header.to_str().ok());
    headers.flat_map(|header| header.split(';')).find_map(|pair| {
        let (found, value) = pair.trim().split_once('=')?;
        (found == name).then_some(value)
    })
}

/// A cookie that scripts do not see, for the pages of the dashboard. `value` is a word.
pub(super) fn set_cookie(request: &HttpRequest, name: &str, value: &str, seconds: u32) -> HeaderValue {
    let node = request.app_data::<actix_web::web::Data<NodeState>>();
    let secure = if node.is_some_and(|node| node.address.is_https(request)) { "; Secure" } else { "" };
    let path = base(request);
    let text = format!("{name}={value}; Path={path}; Max-Age={seconds}; SameSite=Lax; HttpOnly{secure}");
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
}

/// Whether the request is for a part of a page, by htmx.
pub(super) fn wants_part(request: &HttpRequest) -> bool {
    request.headers().contains_key("hx-request")
}

/// The path of the dashboard, for a request to one of its pages.
pub(super) fn base(request: &HttpRequest) -> &str {
    let node = request.app_data::<actix_web::web::Data<NodeState>>();
    node.expect("invariant: the servers have the state of their node").dashboard().path()
}

/// A path of the dashboard, which is at `base`, that a request names; its first page if it names none, or one of elsewhere.
pub(super) fn path_of_ours(base: &str, text: &str) -> String {
    let elsewhere = || format!("{base}/");
    let here = Url::parse("http://here.invalid/").expect("invariant: this is a URL");
    let Ok(url) = here.join(text) else { return elsewhere() };
    let ours = url.path().strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if !text.starts_with('/') || url.origin() != here.origin() || !ours || url.path().contains("//") {
        return elsewhere();
    }
    match url.query() {
        None => url.path().to_owned(),
        Some(query) => format!("{}?{query}", url.path()),
    }
}

/// Whether a language exists.
pub(super) fn is_language(tag: &str) -> bool {
    Language::all().iter().any(|language| language.tag == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_leads_to_a_page_of_the_dashboard_or_to_the_first_one() {
        for (text, path) in [
            ("/ui/links?q=a%20b&sort=-visits", "/ui/links?q=a%20b&sort=-visits"),
            ("/ui", "/ui"),
            ("/ui/links#x", "/ui/links"),
            ("/ui/link/a/../b", "/ui/link/b"),
        ] {
            assert_eq!(path_of_ours("/ui", text), path);
        }
        for text in [
            "",
            "x",
            "/",
            "/uix",
            "/api/v1/links",
            "//other.example/ui/",
            "/\\other.example/ui",
            "https://other.example/ui/",
            "/ui/../abc",
            "/ui/%2e%2e/abc",
            "/ui//other.example",
            "\t//other.example/ui",
            "javascript:alert(1)",
        ] {
            assert_eq!(path_of_ours("/ui", text), "/ui/", "{text}");
        }
    }

    #[test]
    fn a_page_that_answers_a_form_leads_back_to_the_page_of_the_form() {
        for (referrer, path) in [
            ("https://go.example/ui/links?q=a%20b", "/ui/links?q=a%20b"),
            ("http://127.0.0.1:8080/ui/link/state", "/ui/link/state"),
            ("https://go.example/ui/link/a/rules?domain=b#x", "/ui/link/a/rules?domain=b"),
            // Nobody can ask for these.
            ("https://go.example/ui/links/bulk", "/ui/"),
            ("https://go.example/ui/tags/replace?x=1", "/ui/"),
            ("https://go.example/ui/link/a%2Fb/state", "/ui/"),
            ("https://go.example/elsewhere", "/ui/"),
            ("javascript:alert(1)", "/ui/"),
            ("/ui/links", "/ui/"),
            ("", "/ui/"),
        ] {
            assert_eq!(came_from("/ui", referrer), path, "{referrer}");
        }
    }

    #[test]
    fn a_notice_is_one_of_the_texts() {
        let context = Context::example("en");
        assert_eq!(notice_text(&context, "layout.copied").as_deref(), Some("Copied."));
        assert!(notice_text(&context, "partial.text~1200").is_some_and(|text| text.contains("1,200")));
        for notice in ["", "hello", "layout.copied~1", "partial.text~x", "partial.text", "~"] {
            assert_eq!(notice_text(&context, notice), None, "{notice}");
        }
    }
}
