//! Changes that no page of the dashboard has asked for, framing, and what is left in a browser after it has signed out.

use reqwest::Method;

use super::{Browser, KEY, keyed_node, one_time_link, set_cookie, text};

/// Headers of requests that do not come from a page of the dashboard.
const FOREIGN: &[&[(&str, &str)]] = &[
    &[],
    &[("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")],
    &[("origin", "https://evil.example")],
    &[("origin", "null"), ("sec-fetch-site", "same-origin")],
    &[("sec-fetch-site", "cross-site")],
    &[("sec-fetch-site", "same-site")],
];

#[tokio::test]
async fn pages_of_others_change_nothing_and_sign_nobody_in() {
    let (_dir, node) = keyed_node();
    let mut browser = Browser::of(&node);
    browser.sign_in().await;
    let mut other = Browser::of(&node);
    other.sign_in().await;
    let id = browser.others().await.remove(0);
    let link = one_time_link(&node).await;
    let (key, id) = (format!("key={KEY}"), format!("id={id}"));
    for (path, form) in [
        ("/ui/sign-in", key.as_str()),
        (link.as_str(), ""),
        ("/ui/sign-out", ""),
        ("/ui/sessions/end", id.as_str()),
        ("/ui/sessions/end-others", ""),
    ] {
        for headers in FOREIGN {
            let request = node.client().request(Method::POST, path).body(form.to_owned());
            let request = request.header("content-type", "application/x-www-form-urlencoded");
            let request = request.header("cookie", format!("waypost_session={}", browser.cookie.as_ref().unwrap()));
            let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
            let refused = node.client().send(request).await.unwrap();
            assert_eq!(refused.status, 403, "{path} {headers:?}");
            assert!(set_cookie(&refused).is_none());
        }
        // Other methods that change something, too, though none of them has a handler.
        for method in [Method::PUT, Method::PATCH, Method::DELETE] {
            let request = node.client().request(method, path).header("origin", "https://evil.example");
            assert_eq!(node.client().send(request).await.unwrap().status, 403);
        }
    }
    assert!(browser.is_in().await && other.is_in().await);
    // The link was not used up either, and the own pages do all of it.
    assert_eq!(Browser::of(&node).post(&link, "").await.status, 303);
    assert_eq!(browser.post("/ui/sessions/end", &id).await.header("location"), Some("/ui/sessions"));
    assert!(browser.is_in().await && !other.is_in().await);
    assert_eq!(browser.post("/ui/sessions/end-others", "").await.status, 303);
    assert!(browser.others().await.is_empty());
}

#[tokio::test]
async fn the_own_pages_are_known_behind_a_proxy() {
    let (_dir, builder) = crate::node_in_temp();
    let builder = builder.env("WAYPOST_ADMIN_KEY", KEY).env("WAYPOST_HTTP_TRUSTED_PROXIES", "127.0.0.1/32");
    let node = builder.start().unwrap();
    let sign_in = async |headers: &[(&str, &str)]| {
        let request = node.client().request(Method::POST, "/ui/sign-in").body(format!("key={KEY}"));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        node.client().send(request).await.unwrap()
    };
    let proxied =
        [("x-forwarded-host", "go.example"), ("x-forwarded-proto", "https"), ("x-forwarded-for", "203.0.113.7")];
    let with = |origin: &'static str| [&proxied[..], &[("origin", origin), ("sec-fetch-site", "same-origin")]].concat();
    let signed_in = sign_in(&with("https://go.example")).await;
    assert_eq!(signed_in.status, 303, "{}", text(&signed_in));
    assert!(set_cookie(&signed_in).unwrap().ends_with("; Secure"), "the cookie would be sent by http");
    for origin in ["http://go.example", "https://evil.example", "https://go.example:8443"] {
        assert_eq!(sign_in(&with(origin)).await.status, 403, "{origin}");
    }
    // With a public URL, also behind a proxy that is not trusted.
    let (_dir, builder) = crate::node_in_temp();
    let builder = builder.env("WAYPOST_ADMIN_KEY", KEY).env("WAYPOST_HTTP_PUBLIC_URL", "https://go.example");
    let node = builder.start().unwrap();
    for (origin, status) in [("https://go.example", 303), ("http://go.example", 403)] {
        let request = node.client().request(Method::POST, "/ui/sign-in").body(format!("key={KEY}"));
        let request = request.header("content-type", "application/x-www-form-urlencoded").header("origin", origin);
        assert_eq!(node.client().send(request).await.unwrap().status, status, "{origin}");
    }
}

#[tokio::test]
async fn no_page_can_be_framed_and_none_is_kept_in_a_cache() {
    let (_dir, node) = keyed_node();
    let mut browser = Browser::of(&node);
    let link = one_time_link(&node).await;
    let mut answers = vec![browser.get("/ui/sign-in").await, browser.get("/ui/").await, browser.get(&link).await];
    answers.push(browser.post("/ui/sign-in", "key=wrong").await);
    browser.sign_in().await;
    answers.extend([browser.get("/ui/").await, browser.get("/ui/sessions").await]);
    for answer in answers {
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{}", text(&answer));
        if answer.status != 303 {
            let policy = answer.header("content-security-policy").unwrap_or_default();
            assert!(policy.contains("frame-ancestors 'none'") && policy.contains("form-action 'self'"), "{policy}");
        }
    }
}

#[tokio::test]
async fn who_has_signed_out_is_out_and_leaves_nothing_in_the_browser() {
    let (_dir, node) = keyed_node();
    let mut browser = Browser::of(&node);
    browser.sign_in().await;
    let copied = browser.clone();
    let answer = browser.post("/ui/sign-out", "").await;
    assert_eq!((answer.status, answer.header("location")), (303, Some("/ui/sign-in")));
    assert_eq!(answer.header("clear-site-data"), Some("\"cache\""));
    assert!(set_cookie(&answer).unwrap().contains("Max-Age=0") && browser.cookie.is_none());
    // A copy of the cookie is worth nothing any more.
    for path in ["/ui/", "/ui/sessions"] {
        assert_eq!(copied.clone().get(path).await.status, 303, "{path}");
    }
    // Ending one's own session in the list is the same.
    browser.sign_in().await;
    let mut watcher = Browser::of(&node);
    watcher.sign_in().await;
    let id = watcher.others().await.remove(0);
    let answer = browser.post("/ui/sessions/end", &format!("id={id}")).await;
    assert_eq!(answer.header("location"), Some("/ui/sign-in"));
    assert!(browser.cookie.is_none() && watcher.others().await.is_empty());
}
