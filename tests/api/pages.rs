//! Pages for visitors: their language, the preview of a link, and the files of a site.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use waypost_testkit::{Answer, Client};

use crate::{fresh_node, node_in_temp};

async fn browse(client: &Client, path: &str, language: &str) -> Answer {
    let request = client.request(Method::GET, path).header("accept", "text/html,*/*;q=0.8");
    client.send(request.header("accept-language", language)).await.unwrap()
}

fn html(answer: &Answer) -> String {
    String::from_utf8(answer.body.clone()).unwrap()
}

#[tokio::test]
async fn a_page_is_in_the_visitors_language_and_has_the_status_of_the_document() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    for (accept, language, part) in [
        ("de-AT,de;q=0.9,en;q=0.5", "de", "gibt es nicht"),
        ("fr", "fr", "n’existe pas"),
        ("es-MX", "es", "no existe"),
        ("pt-BR", "pt", "não existe"),
        ("it", "it", "non esiste"),
        ("nl", "en", "no such link"),
    ] {
        let page = browse(&client, "/nothing", accept).await;
        assert_eq!((page.status, page.header("content-language")), (404, Some(language)), "{accept}");
        assert!(html(&page).contains(part) && html(&page).contains(&format!("lang=\"{language}\"")), "{}", html(&page));
    }
}

#[tokio::test]
async fn a_preview_shows_where_a_link_leads_and_counts_nothing() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let target = "https://example.com/?a=%22%3E&b='%3Cscript%3E";
    client.shorten(json!({ "longUrl": target, "customSlug": "abc" })).await.unwrap();
    let page = browse(&client, "/abc+", "de").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    let shown = html(&page);
    let escaped = "https://example.com/?a=%22%3E&#38;b=%27%3Cscript%3E";
    let leads = [escaped.to_owned(), escaped.replace("%27", "&#39;")];
    assert!(leads.iter().any(|target| shown.contains(&format!("href=\"{target}\""))), "{shown}");
    assert!(shown.contains("Wohin dieser Link führt"), "{shown}");
    let program = client.get("/abc+").await.unwrap();
    assert_eq!(program.text("shortUrl"), format!("http://{}/abc", node.address()));
    assert!(program.text("longUrl").starts_with("https://example.com/") && program.text("createdAt").starts_with("20"));
    let unknown = client.get("/nothing+").await.unwrap();
    assert_eq!((unknown.status, unknown.problem()), (404, "link-not-found".to_owned()));
    assert_eq!(browse(&client, "/nothing+", "en").await.status, 404);
    // A visit after them is counted, and it is the only one.
    assert!(client.follow("abc").await.unwrap().is_some());
    let deadline = Instant::now() + Duration::from_secs(20);
    let totals = loop {
        let totals = client.get("/analytics/abc").await.unwrap().json();
        if totals["totalClicks"] != 0 {
            break totals;
        }
        assert!(Instant::now() < deadline, "{totals}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!((&totals["totalClicks"], &totals["botClicks"]), (&json!(1), &json!(0)));
}

#[tokio::test]
async fn the_preview_of_an_expired_link_does_not_tell_where_it_led() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let end = (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(1)).to_string();
    client
        .shorten(json!({ "longUrl": "https://example.com/secret", "customSlug": "brief", "validUntil": end }))
        .await
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while client.get("/brief+").await.unwrap().status == 200 {
        assert!(Instant::now() < deadline, "it never expires");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let program = client.get("/brief+").await.unwrap();
    assert_eq!((program.status, program.problem()), (410, "link-expired".to_owned()));
    let page = browse(&client, "/brief+", "fr").await;
    assert!(page.status == 410 && html(&page).contains("Ce lien a expiré") && !html(&page).contains("secret"));
}

#[tokio::test]
async fn a_link_that_is_disabled_or_has_not_begun_has_a_page_and_its_preview_does_not_tell_where_it_leads() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    for (slug, property, value, status, title) in [
        ("later", "validSince", json!("2100-01-01T00:00:00Z"), 404, "Der Link gilt noch nicht"),
        ("off", "disabled", json!(true), 410, "Der Link ist deaktiviert"),
    ] {
        let mut body = json!({ "longUrl": "https://example.com/secret", "customSlug": slug, "title": "hidden" });
        body[property] = value;
        assert_eq!(client.shorten(body).await.unwrap().status, 201);
        for path in [format!("/{slug}"), format!("/{slug}+")] {
            let page = browse(&client, &path, "de").await;
            assert!(page.status == status && html(&page).contains(title), "{path}: {}", html(&page));
            assert!(!html(&page).contains("secret") && !html(&page).contains("hidden"), "{path}");
            assert_eq!(client.get(&path).await.unwrap().status, status, "{path}");
        }
    }
    let shown = json!({ "longUrl": "https://example.com/", "customSlug": "shown", "title": "A <b>title</b>" });
    client.shorten(shown).await.unwrap();
    assert!(html(&browse(&client, "/shown+", "de").await).contains("A &#60;b&#62;title"));
    assert_eq!(client.get("/shown+").await.unwrap().json()["title"], "A <b>title</b>");
}

#[tokio::test]
async fn pages_of_a_site_are_shown_and_checked_before_the_node_starts() {
    let (dir, builder) = node_in_temp();
    let pages = dir.path().join("pages");
    std::fs::create_dir(&pages).unwrap();
    std::fs::write(pages.join("page.html"), "<html lang=\"{{language}}\"><h1>Our site: {{title}}</h1>{{text}}")
        .unwrap();
    let node = builder.env("WAYPOST_HTTP_PAGES_DIR", pages.to_str().unwrap()).start().unwrap();
    let page = browse(&node.client(), "/nothing", "de").await;
    assert!(html(&page).contains("Our site: Diesen Link"), "{}", html(&page));
    std::fs::write(pages.join("page.html"), "<h1>{{titel}}</h1>").unwrap();
    let checked = std::process::Command::new(crate::PROGRAM)
        .args(["config", "check"])
        .env("WAYPOST_HTTP_PAGES_DIR", &pages)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert_eq!(checked.status.code(), Some(2));
    assert!(said.contains("page.html: line 1: there is no {{titel}}") && said.contains("PAGES_DIR"), "{said}");
}
