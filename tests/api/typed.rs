//! What people type and paste, and what browsers and crawlers ask for by themselves.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use waypost_testkit::{Answer, Client};

use crate::fresh_node;

const BROWSER_ACCEPTS: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

async fn as_browser(client: &Client, path: &str) -> Answer {
    client.send(client.request(Method::GET, path).header("accept", BROWSER_ACCEPTS)).await.unwrap()
}

async fn link(client: &Client, slug: &str) {
    let made = client.shorten(json!({ "longUrl": "https://example.com/x", "customSlug": slug })).await.unwrap();
    assert_eq!(made.status, 201);
}

/// The paths of orphan visits, once there are at least so many.
async fn orphans(client: &Client, least: usize) -> Vec<String> {
    let since = Instant::now();
    loop {
        let told = client.get("/api/v1/stats/orphans").await.unwrap().json();
        let paths: Vec<String> =
            told["orphans"].as_array().unwrap().iter().map(|one| one["path"].as_str().unwrap().to_owned()).collect();
        if paths.len() >= least {
            return paths;
        }
        assert!(since.elapsed() < Duration::from_secs(60), "{paths:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_slug_in_letters_of_another_script_is_found_however_it_is_written() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let made = client
        .shorten(json!({ "longUrl": "https://example.com/x", "customSlug": "mu\u{308}nchen", "forwardPath": true }))
        .await
        .unwrap();
    assert_eq!((made.status, made.text("shortCode").as_str()), (201, "münchen"));
    let short_url = made.text("shortUrl");
    assert!(short_url.ends_with("/m%C3%BCnchen"), "{short_url}");
    assert_eq!(made.header("location"), Some(short_url.as_str()));
    for path in ["/münchen", "/m%C3%BCnchen", "/mu%CC%88nchen", "/m%c3%bcnchen/", "/m%C3%BCnchen."] {
        let answer = client.get(path).await.unwrap();
        assert_eq!((answer.status, answer.header("location")), (302, Some("https://example.com/x")), "{path}");
    }
    let below = client.get("/m%C3%BCnchen/a").await.unwrap();
    assert_eq!(below.header("location"), Some("https://example.com/x/a"));
    for path in ["/api/v1/links/münchen", "/api/v1/links/mu%CC%88nchen", "/m%C3%BCnchen+", "/analytics/m%C3%BCnchen"] {
        assert_eq!(client.get(path).await.unwrap().status, 200, "{path}");
    }
    let bulk = json!({ "items": [{ "op": "create", "link": { "longUrl": "https://example.com/y", "customSlug": "日本語" } }] });
    let made = client.send(client.request(Method::POST, "/api/v1/bulk").json(&bulk)).await.unwrap().json();
    let short_url = made["results"][0]["link"]["shortUrl"].as_str().unwrap();
    assert!(short_url.ends_with("/%E6%97%A5%E6%9C%AC%E8%AA%9E"), "{made}");

    // Simple clients, such as curl, send what was typed as it is: also the second time on a connection, and in the query.
    let request =
        "GET /münchen HTTP/1.1\r\nHost: h\r\n\r\nGET /münchen/ü?q=<ü> HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let answers = client.raw(request.as_bytes()).unwrap();
    let locations: Vec<&str> = answers.lines().filter_map(|line| line.strip_prefix("location: ")).collect();
    assert_eq!(locations, ["https://example.com/x", "https://example.com/x/%C3%BC"], "{answers}");
    let request = format!("GET /münchen HTTP/1.1\r\nHost: h\r\nX-Padding: {}\r\n\r\n", "a".repeat(600)).repeat(30);
    let answers = client.raw(request.as_bytes()).unwrap();
    assert_eq!(answers.matches("location: https://example.com/x\r\n").count(), 30, "{answers}");
    let request = "GET /api/v1/links/münchen HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let answer = client.raw(request.as_bytes()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"shortCode\":\"münchen\""), "{answer}");

    // A short URL, and a word that follows it without a space.
    link(&client, "abc").await;
    assert_eq!(client.get("/abcです").await.unwrap().header("location"), Some("https://example.com/x"));
    assert_eq!(client.get("/abcd-です").await.unwrap().status, 404);

    for (slug, reason) in [
        ("аре", "looks like \"ape\""),
        ("pаypal", "several scripts"),
        ("שלום1", "right to left"),
        ("a\u{202e}b", "position 2"),
    ] {
        let refused = client.shorten(json!({ "longUrl": "https://example.com/x", "customSlug": slug })).await.unwrap();
        assert_eq!(refused.status, 422, "{slug}");
        assert!(refused.text("detail").contains(reason), "{}", refused.text("detail"));
    }
    assert_eq!(client.send(client.request(Method::DELETE, "/api/v1/links/münchen")).await.unwrap().status, 204);
    assert_eq!(client.get("/münchen").await.unwrap().status, 404);
}

#[tokio::test]
async fn a_short_url_with_what_stood_around_it_in_a_text_leads_where_the_link_does() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    link(&client, "abc-1").await;
    let typed = [
        "/abc-1/",
        "/abc-1.",
        "/abc-1,",
        "/abc-1)",
        "//abc-1",
        "//abc-1//",
        "/abc-1%20",
        "/abc-1;",
        "/abc-1:",
        "/abc-1!",
        "/abc-1'",
        "/abc-1]",
        "/(abc-1)",
        "/abc-1%3E",
        "/abc-1%22",
        "/abc-1%3F",
        "/abc-1%0A",
        "/abc-1%0d%0a",
        "/%20abc-1",
        "/abc-1%C2%A0",
        "/abc-1%E2%80%8B",
        "/abc-1%E2%80%A6",
        "/abc-1%C2%BB",
        "/abc-1%EF%BC%89",
        "/abc-1%E3%80%82",
        "/abc-1%ff",
        "/abc-1).",
        "/abc-1/.,",
        "/_abc-1_",
        "/abc-1/?utm=1",
        "/abc-1.?utm=1",
        "/%61bc-1",
        "/abc-1%2520",
        "/abc-1%3Futm=1",
        "/abc-1&utm=1",
        "/abc-1%23part",
    ];
    let ask = |path: &str| {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: h\r\nUser-Agent: Firefox/126.0\r\nConnection: close\r\n\r\n");
        client.raw(request.as_bytes()).unwrap()
    };
    // As it is asked for first, and when the link is in the cache.
    for path in typed.iter().chain(&["/abc-1"]).chain(&typed) {
        let answer = ask(path);
        assert!(
            answer.starts_with("HTTP/1.1 302") && answer.contains("location: https://example.com/x\r\n"),
            "{path}: {answer}"
        );
    }
    for path in ["/abc-1/x", "/x/abc-1", "/abc-1.x", "/abc_1", "/ABC-1", "/abc-1%2Fx", "/abc-1x."] {
        assert!(ask(path).starts_with("HTTP/1.1 404"), "{path}");
    }
    let post = client.send(client.request(Method::POST, "/abc-1/")).await.unwrap();
    assert_eq!(post.status, 415, "only visitors with a password send something to a link");
    // They are visits of the link.
    let since = Instant::now();
    loop {
        let told = client.get("/analytics/abc-1").await.unwrap().json();
        if told["totalClicks"] == 2 * typed.len() + 1 {
            break;
        }
        assert!(since.elapsed() < Duration::from_secs(60), "{told}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    client.get("/nothing/").await.unwrap();
    let orphans = orphans(&client, 6).await;
    assert!(orphans.contains(&"/nothing/".to_owned()) && !orphans.iter().any(|path| path == "/abc-1."), "{orphans:?}");
}

#[tokio::test]
async fn every_unknown_path_is_a_page_to_a_browser_and_a_document_to_a_program() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let admin = waypost_testkit::Client::new(node.admin());
    for path in ["/", "/nothing", "/shorten"] {
        let page = as_browser(&admin, path).await;
        assert_eq!(page.status, 404, "{path}");
        assert!(page.header("content-type").unwrap().starts_with("text/html"), "{path}");
        assert_eq!(admin.get(path).await.unwrap().problem(), "wrong-listener", "{path}");
    }
    let mut pages = Vec::new();
    for path in [
        "/",
        "/a/b",
        "/nothing/",
        "/nothing",
        "//",
        "/a%2Fb",
        "/%ff",
        "/%00",
        "/a/b/c?d=e",
        "/.env",
        "/wp-admin/setup.php",
    ] {
        let page = as_browser(&client, path).await;
        assert_eq!((page.status, page.header("content-type")), (404, Some("text/html; charset=utf-8")), "{path}");
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(
            (page.header("vary"), page.header("cache-control")),
            (Some("accept, accept-language"), Some("no-store")),
            "{path}"
        );
        let text = String::from_utf8(page.body).unwrap();
        assert!(
            text.contains("<h1>") && !text.contains("src=") && !text.contains("http"),
            "it loads something: {text}"
        );
        pages.push(text);
        for accept in ["", "*/*", "application/json", "text/html;q=0", "application/json, text/html;q=0.9"] {
            let document = client.send(client.request(Method::GET, path).header("accept", accept)).await.unwrap();
            let kind = document.header("content-type").map(str::to_owned);
            assert_eq!((document.status, kind.as_deref()), (404, Some("application/problem+json")), "{path} {accept}");
            assert_eq!(document.header("vary"), Some("accept, accept-language"), "{path}");
        }
    }
    let page = as_browser(&client, "/shorten").await;
    assert_eq!((page.status, page.header("allow")), (405, Some("POST")));
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    // What is for programs stays one.
    let api = as_browser(&client, "/api/v1/links/nothing").await;
    assert_eq!((api.status, api.header("content-type")), (404, Some("application/problem+json")));
}

#[tokio::test]
async fn files_that_every_site_is_asked_for_are_answered_and_are_no_orphan_visits() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let robots = client.get("/robots.txt").await.unwrap();
    assert_eq!((robots.status, robots.header("content-type")), (200, Some("text/plain; charset=utf-8")));
    let robots = String::from_utf8(robots.body).unwrap();
    assert!(robots.contains("User-agent: *\nDisallow: /\n") && robots.contains("User-agent: Twitterbot\n"), "{robots}");
    let icon = client.get("/favicon.ico").await.unwrap();
    assert_eq!((icon.status, icon.body.len(), icon.header("cache-control")), (204, 0, Some("public, max-age=86400")));
    let head = client.send(client.request(Method::HEAD, "/robots.txt")).await.unwrap();
    assert_eq!((head.status, head.body.len()), (200, 0));
    for path in [
        "/apple-touch-icon.png",
        "/apple-touch-icon-120x120-precomposed.png",
        "/.well-known/security.txt",
        "/.well-known/apple-app-site-association",
        "/apple-app-site-association",
        "/sitemap.xml",
        "/ads.txt",
        "/favicon-32x32.png",
        "/site.webmanifest",
    ] {
        assert_eq!(client.get(path).await.unwrap().status, 404, "{path}");
    }
    client.get("/mistyped").await.unwrap();
    // The visits of one worker are told in their order; with several, what came before comes with the next batch at the latest.
    client.get("/").await.unwrap();
    let mut told = orphans(&client, 2).await;
    told.sort();
    assert_eq!(told, ["/", "/mistyped"]);
}

#[tokio::test]
async fn a_url_is_taken_without_what_was_copied_along() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let mut text = "\u{feff}https://example.com/text\r\n\n".as_bytes().to_vec();
    let plain = client.request(Method::POST, "/shorten").header("content-type", "text/plain").body(text.clone());
    assert_eq!(client.send(plain).await.unwrap().text("longUrl"), "https://example.com/text");
    let untyped = client.send(client.request(Method::POST, "/shorten").body(text.clone())).await.unwrap();
    assert_eq!(untyped.text("longUrl"), "https://example.com/text");
    text = "\u{feff}{\"longUrl\":\"\u{200b}https://example.com/json\u{a0}\u{feff}\"}".as_bytes().to_vec();
    for content_type in [Some("application/json"), None] {
        let request = client.request(Method::POST, "/shorten").body(text.clone());
        let request = content_type.into_iter().fold(request, |request, kind| request.header("content-type", kind));
        let made = client.send(request).await.unwrap();
        assert_eq!(
            (made.status, made.text("longUrl")),
            (201, "https://example.com/json".to_owned()),
            "{content_type:?}"
        );
    }
    let code = client.create("https://example.com/before").await.unwrap();
    let edit =
        client.request(Method::PATCH, &format!("/api/v1/links/{code}")).header("content-type", "application/json");
    let edit = edit.body("\u{feff}{\"longUrl\":\"https://example.com/after\u{2060}\"}");
    assert_eq!(client.send(edit).await.unwrap().text("longUrl"), "https://example.com/after");
    for host in [
        format!("{}.example", "a".repeat(64)),
        vec!["a".repeat(60); 5].join("."),
        ".example.com".to_owned(),
        "a..b".to_owned(),
    ] {
        let refused = client.shorten(json!({ "longUrl": format!("https://{host}/") })).await.unwrap();
        assert_eq!((refused.status, refused.problem()), (422, "invalid-url".to_owned()), "{host}");
        assert!(refused.text("detail").contains("host"), "{}", refused.text("detail"));
    }
    assert_eq!(client.shorten(json!({ "longUrl": "https://example.com./" })).await.unwrap().status, 201);
    let quoted = client.shorten(json!({ "longUrl": "“<https://example.com/quoted>”" })).await.unwrap();
    assert_eq!((quoted.status, quoted.text("longUrl")), (201, "https://example.com/quoted".to_owned()));
}

#[tokio::test]
async fn the_last_times_that_can_be_written_are_ends_of_links() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    for (end, told) in [
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59.000Z"),
        ("9999-12-31t23:59:59.9999z", "9999-12-31T23:59:59.999Z"),
        ("2099-12-31 23:59:60+01:00", "2099-12-31T22:59:59.000Z"),
    ] {
        let made = client.shorten(json!({ "longUrl": "https://example.com/", "validUntil": end })).await.unwrap();
        assert_eq!((made.status, made.text("validUntil")), (201, told.to_owned()), "{end}");
        assert!(client.follow(&made.text("shortCode")).await.unwrap().is_some());
        let read = client.get(&format!("/api/v1/links/{}", made.text("shortCode"))).await.unwrap();
        assert_eq!(read.text("validUntil"), told);
    }
    let late = client
        .shorten(json!({ "longUrl": "https://example.com/", "validUntil": "9999-12-31T23:59:59-01:00" }))
        .await
        .unwrap();
    assert!(late.status == 422 && late.text("detail").contains("at the latest"), "{}", late.text("detail"));
}
