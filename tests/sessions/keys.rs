//! Signing in with the admin key, and what does not sign in.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use reqwest::Method;
use waypost_testkit::NodeBuilder;

use super::{Browser, KEY, keyed_node, one_time_link, set_cookie, text};
use crate::{PROGRAM, fresh_node};

#[tokio::test]
async fn the_admin_key_signs_in_and_the_browser_goes_on_to_the_page_that_it_wanted() {
    let (_dir, node) = keyed_node();
    let mut browser = Browser::of(&node);
    let wanted = browser.get("/ui/sessions?a=b").await;
    assert_eq!((wanted.status, wanted.header("location")), (303, Some("/ui/sign-in?next=%2Fui%2Fsessions%3Fa%3Db")));
    let page = browser.get("/ui/sign-in?next=%2Fui%2Fsessions%3Fa%3Db").await;
    assert_eq!(page.status, 200);
    let html = text(&page);
    assert!(
        html.contains("value=\"/ui/sessions?a=b\"") && html.contains("autocomplete=\"current-password\""),
        "{html}"
    );
    assert!(html.contains("waypost dashboard"), "{html}");
    let form = format!("username=admin&next=%2Fui%2Fsessions%3Fa%3Db&key=%20{KEY}%20");
    let signed_in = browser.post("/ui/sign-in", &form).await;
    assert_eq!(
        (signed_in.status, signed_in.header("location")),
        (303, Some("/ui/sessions?a=b")),
        "{}",
        text(&signed_in)
    );
    let cookie = set_cookie(&signed_in).unwrap();
    for part in ["; Path=/ui;", "; HttpOnly", "; SameSite=Lax", "; Max-Age=2592000"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Secure"), "{cookie}");
    let list = browser.get("/ui/sessions?a=b").await;
    assert_eq!(list.status, 200);
    assert!(text(&list).contains("Firefox (Linux)"), "{}", text(&list));
    // Who is signed in has no business on that page.
    assert_eq!(browser.get("/ui/sign-in").await.header("location"), Some("/ui/"));
    // A part of a page leads the whole browser there.
    let request = node.client().request(Method::GET, "/ui/sessions").header("hx-request", "true");
    let part = node.client().send(request).await.unwrap();
    assert_eq!((part.status, part.header("hx-refresh")), (401, Some("true")));
}

#[tokio::test]
async fn nothing_but_a_page_of_the_dashboard_is_gone_on_to() {
    let (_dir, node) = keyed_node();
    for next in
        ["https://evil.example/", "//evil.example/", "/uix", "/", "/ui/../api", "/ui//evil.example", "/ui/sign-out", ""]
    {
        let next = form_urlencoded::byte_serialize(next.as_bytes()).collect::<String>();
        let answer = Browser::of(&node).post("/ui/sign-in", &format!("key={KEY}&next={next}")).await;
        assert_eq!(answer.header("location"), Some("/ui/"), "{next}");
        let page = Browser::of(&node).get(&format!("/ui/sign-in?next={next}")).await;
        assert!(text(&page).contains("name=\"next\" value=\"/ui/\""), "{next}");
    }
}

#[tokio::test]
async fn each_sign_in_makes_a_new_token_whatever_the_browser_had_before() {
    let (_dir, node) = keyed_node();
    // Somebody has planted a token of their choice.
    let planted = "0".repeat(64);
    let mut browser = Browser { cookie: Some(planted.clone()), ..Browser::of(&node) };
    assert!(!browser.is_in().await);
    browser.sign_in().await;
    let first = browser.cookie.clone().unwrap();
    assert_ne!(first, planted);
    assert!(!Browser { cookie: Some(planted), ..browser.clone() }.is_in().await);
    // Signing in again ends the session before.
    browser.sign_in().await;
    assert_ne!(browser.cookie.as_ref(), Some(&first));
    assert!(browser.is_in().await && !Browser { cookie: Some(first), ..browser.clone() }.is_in().await);
    assert!(browser.others().await.is_empty());
}

#[tokio::test]
async fn neither_a_key_in_a_header_nor_the_own_account_signs_in() {
    let (_dir, keyed) = keyed_node();
    let (_other, open) = fresh_node();
    for (node, key) in [(&keyed, KEY.to_owned()), (&keyed, keyed.key().unwrap()), (&open, open.key().unwrap())] {
        for header in ["x-api-key", "authorization"] {
            let value = if header == "authorization" { format!("Bearer {key}") } else { key.clone() };
            for path in ["/ui/", "/ui/sessions"] {
                let answer = node.client().send(node.client().request(Method::GET, path).header(header, &value)).await;
                assert_eq!(answer.unwrap().status, 303, "{header} {path}");
            }
        }
    }
    // The own account may do everything else on an open node without a key.
    assert!(open.client().create("https://example.com/").await.is_ok());
    assert!(!Browser::of(&open).is_in().await);
    let page = text(&Browser::of(&open).get("/ui/sign-in").await);
    assert!(page.contains("waypost dashboard") && !page.contains("name=\"key\""), "{page}");
    let refused = Browser::of(&open).post("/ui/sign-in", "key=x").await;
    assert_eq!(refused.status, 403);
}

#[tokio::test]
async fn a_wrong_key_is_refused_with_words() {
    let (_dir, node) = keyed_node();
    let cli = node.key().unwrap();
    for (key, part) in [("", "copied whole"), ("wrong", "copied whole"), (&cli, "waypost commands")] {
        let refused = Browser::of(&node).post("/ui/sign-in", &format!("key={key}")).await;
        assert_eq!(refused.status, 403, "{key}");
        let html = text(&refused);
        assert!(
            html.contains(part) && html.contains("aria-invalid=\"true\"") && set_cookie(&refused).is_none(),
            "{html}"
        );
    }
    assert!(node.errors().contains("wrong key") && !node.errors().contains(&cli), "{}", node.errors());
}

#[tokio::test]
async fn a_client_that_tries_many_keys_has_to_wait_and_this_machine_does_not() {
    let (_dir, builder) = crate::node_in_temp();
    let builder = builder.env("WAYPOST_ADMIN_KEY", KEY).env("WAYPOST_HTTP_TRUSTED_PROXIES", "127.0.0.1/32");
    let node = builder.start().unwrap();
    let attempt = async |client: &str, key: &str| {
        let request = node.client().request(Method::POST, "/ui/sign-in").header("sec-fetch-site", "same-origin");
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let request = request.header("x-forwarded-for", client).body(format!("key={key}"));
        node.client().send(request).await.unwrap()
    };
    let mut tries = 0;
    let refused = loop {
        let answer = attempt("203.0.113.7", "wrong").await;
        match answer.status {
            403 => tries += 1,
            _ => break answer,
        }
        assert!(tries <= 60, "nothing bounds the attempts");
    };
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("10")));
    assert!(tries >= 10 && text(&refused).contains("too many wrong keys"), "{tries}");
    // Others, and those who sit at the machine, sign in.
    assert_eq!(attempt("203.0.113.8", KEY).await.status, 303);
    Browser::of(&node).sign_in().await;
}

#[tokio::test]
async fn a_replaced_key_ends_its_sessions_and_leaves_those_of_the_own_account() {
    let (_dir, mut node) = keyed_node();
    let mut by_key = Browser::of(&node);
    by_key.sign_in().await;
    let mut by_link = Browser::of(&node);
    let link = one_time_link(&node).await;
    assert_eq!(by_link.post(&link, "").await.status, 303);
    let at = |browser: &Browser, node: &waypost_testkit::Node| Browser {
        cookie: browser.cookie.clone(),
        ..Browser::of(node)
    };
    // The same key, set again by each start, ends nothing.
    node.terminate().unwrap();
    node.restart().unwrap();
    assert!(at(&by_key, &node).is_in().await && at(&by_link, &node).is_in().await);
    node.terminate().unwrap();
    let node = node.builder().clone().env("WAYPOST_ADMIN_KEY", "another-long-enough-key-for-tests").start().unwrap();
    assert!(!at(&by_key, &node).is_in().await && at(&by_link, &node).is_in().await);
}

#[tokio::test]
async fn nobody_is_signed_in_to_a_restored_cluster() {
    let (dir, node) = keyed_node();
    let mut browser = Browser::of(&node);
    browser.sign_in().await;
    let (backup, data) = (dir.path().join("a.backup"), dir.path().join("restored"));
    let waypost = |arguments: &[&str]| {
        let output = Command::new(PROGRAM).args(arguments).env_remove("WAYPOST_SERVER").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let (backup, data) = (backup.to_str().unwrap(), data.to_str().unwrap());
    let server = format!("http://{}", node.address());
    waypost(&["backup", backup, "--server", &server, "--data-dir", node.data_dir().to_str().unwrap()]);
    waypost(&["restore", backup, "--data-dir", data]);
    waypost(&["check", "--data-dir", data]);
    let restored = NodeBuilder::new(PROGRAM, data).env("WAYPOST_ADMIN_KEY", KEY).start().unwrap();
    let mut there = Browser { cookie: browser.cookie.clone(), ..Browser::of(&restored) };
    assert!(browser.is_in().await && !there.is_in().await);
    there.sign_in().await;
    assert!(there.others().await.is_empty());
}

/// The pages that can be seen without a session, and the path without the slash, which leads to the first one. The two documents that browsers ask for without
/// cookies name nothing but addresses.
const OPEN: &[&str] = &[
    "",
    "/sign-in",
    "/sign-in/{secret}",
    "/preferences",
    "/assets/{path:.*}",
    "/manifest.webmanifest",
    "/opensearch.xml",
];

/// The paths of all pages, as the code registers them.
fn paths(dir: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            paths(&path, found);
            continue;
        }
        let source = std::fs::read_to_string(path).unwrap();
        let named = source.split("route(").skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"'));
        found.extend(named.map(|rest| rest.split('"').next().unwrap().to_owned()));
        // In a list of paths with their handlers.
        let listed = source.split("(\"/").skip(1).filter_map(|rest| rest.split_once("\", reads().to("));
        found.extend(listed.filter(|(path, _)| !path.contains('"')).map(|(path, _)| format!("/{path}")));
    }
}

#[tokio::test]
async fn every_other_page_asks_who_is_there() {
    let (_dir, node) = keyed_node();
    let mut all = BTreeSet::new();
    paths(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/ui"), &mut all);
    assert!(
        all.len() > 30 && OPEN.iter().all(|open| all.contains(*open)),
        "the routes are written in another way: {all:?}"
    );
    for path in all.iter().filter(|path| !OPEN.contains(&path.as_str())) {
        let parts = path.split(['{', '}']).enumerate();
        let plain: String = parts.map(|(at, part)| if at % 2 == 1 { "x" } else { part }).collect();
        let mut asks = false;
        for method in [Method::GET, Method::POST] {
            let answer = Browser::of(&node).send(method.clone(), &format!("/ui{plain}"), "").await;
            let leads = answer.header("location").unwrap_or_default();
            let is_led = answer.status == 303 && leads.starts_with("/ui/sign-in");
            assert!(is_led || answer.status == 405, "{method} {path}: {} {leads}", answer.status);
            asks |= is_led;
        }
        assert!(asks, "{path}");
    }
}
