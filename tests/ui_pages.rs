//! The pages of the dashboard without a browser: its frame, the first page and the list of links, as forms and links use them.

use reqwest::{Method, RequestBuilder};
use serde_json::json;
use tempfile::TempDir;
use waypost_testkit::{Answer, Client, Node};

use crate::api::{lists_all, waits_for};
use crate::node_in_temp;
use crate::sessions::Browser;

const KEY: &str = "a-long-enough-key-for-the-tests";

/// Somebody who has signed in. Without scripts: no page is looked at, only what it is made of.
struct Person {
    /// With the key, which opens the API and no page.
    client: Client,
    origin: String,
    cookie: String,
}

impl Person {
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method.clone(), path).header("accept-language", "en");
        let request = if method == Method::POST { request.header("origin", &self.origin) } else { request };
        request.header("cookie", &self.cookie)
    }

    async fn get(&self, path: &str) -> Answer {
        self.client.send(self.request(Method::GET, path)).await.unwrap()
    }

    async fn follow(&self, code: &str) -> Option<String> {
        self.client.follow(code).await.unwrap()
    }
}

async fn signed_in() -> (TempDir, Node, Person) {
    let (dir, builder) = node_in_temp();
    let node = builder.env("WAYPOST_ADMIN_KEY", KEY).start().unwrap();
    let client = node.client().with_key(KEY);
    lists_all(&client).await;
    let mut browser = Browser::of(&node);
    browser.sign_in().await;
    let person = Person { client, origin: format!("http://{}", node.address()), cookie: browser.cookie() };
    (dir, node, person)
}

async fn page(person: &Person, path: &str) -> (u16, String) {
    let answer = person.get(path).await;
    (answer.status, html(&answer))
}

fn html(answer: &Answer) -> String {
    String::from_utf8(answer.body.clone()).unwrap()
}

/// Sends a form, as a browser without scripts does.
async fn send(person: &Person, path: &str, fields: &[(&str, &str)]) -> Answer {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let request = person.request(Method::POST, path).header("content-type", "application/x-www-form-urlencoded");
    person.client.send(request.body(body)).await.unwrap()
}

/// Where an answer sends the browser.
fn leads_to(answer: &Answer) -> String {
    assert_eq!(answer.status, 303, "{}", html(answer));
    answer.header("location").unwrap().to_owned()
}

/// The value of the hidden field of a page.
fn field(page: &str, name: &str) -> String {
    let start =
        page.find(&format!("type=\"hidden\" name=\"{name}\" value=\"")).unwrap_or_else(|| panic!("{name}: {page}"));
    page[start..].split('"').nth(5).unwrap().to_owned()
}

/// Waits until the list has as many links.
async fn has_links(person: &Person, query: &str, links: u64) {
    let path = format!("/api/v1/links?{query}");
    waits_for(async || person.client.get(&path).await.unwrap().json()["total"] == links).await;
}

#[tokio::test]
async fn a_url_becomes_a_short_link_that_can_be_undone_until_it_is_changed() {
    let (_dir, _node, person) = signed_in().await;
    let (status, home) = page(&person, "/ui/").await;
    assert!(status == 200 && home.contains("No links yet"), "{home}");
    let made = leads_to(&send(&person, "/ui/links", &[("longUrl", "example.com/a b?c"), ("tags", "x, y")]).await);
    let (_, shown) = page(&person, &made).await;
    let code = field(&shown, "code");
    assert!(shown.contains("href=\"https://example.com/a%20b?c\"") || shown.contains("→ https://example.com/a%20b?c"));
    assert!(shown.contains("data:image/svg+xml;base64,") && shown.contains("Your short link"), "{shown}");
    // The same URL once more is the same link, and nothing to undo.
    let again =
        leads_to(&send(&person, "/ui/links", &[("longUrl", "https://example.com/a b?c"), ("tags", "x,y")]).await);
    assert!(again.contains(&code) && !again.contains("new=1"), "{again}");
    let undo = [("code", code.as_str()), ("domain", ""), ("version", &field(&shown, "version"))];
    let undone = send(&person, "/ui/links/undo", &undo).await;
    // Also the undo can be taken back.
    let deleted = leads_to(&undone);
    assert!(deleted.starts_with("/ui/deleted/"), "{deleted}");
    assert!(
        undone
            .header("set-cookie")
            .unwrap()
            .starts_with("waypost_notice=create.undone; Path=/ui; Max-Age=60; SameSite=Lax; HttpOnly")
    );
    assert_eq!(person.follow(&code).await, None);
    send(&person, &deleted, &[]).await;
    assert_eq!(person.follow(&code).await.as_deref(), Some("https://example.com/a%20b?c"));
    // A form that is sent twice makes one link.
    let form =
        [("longUrl", "https://example.com/twice"), ("always", "on"), ("key", "0123456789abcdef0123456789abcdef")];
    let twice =
        [leads_to(&send(&person, "/ui/links", &form).await), leads_to(&send(&person, "/ui/links", &form).await)];
    assert!(twice[0] == twice[1] && twice[0].contains("new=1"), "{twice:?}");
    // A link that somebody has changed stays.
    let made =
        leads_to(&send(&person, "/ui/links", &[("longUrl", "https://example.com/b"), ("customSlug", "kept")]).await);
    let (_, shown) = page(&person, &made).await;
    let edit = person.client.request(Method::PATCH, "/api/v1/links/kept").json(&json!({ "title": "mine" }));
    assert_eq!(person.client.send(edit).await.unwrap().status, 200);
    let undo = [("code", "kept"), ("domain", ""), ("version", &field(&shown, "version"))];
    let kept = send(&person, "/ui/links/undo", &undo).await;
    assert!(kept.header("set-cookie").unwrap().starts_with("waypost_notice=create.changed;"));
    assert!(person.follow("kept").await.is_some());
    // An address names any link as new, but only a link that is new can be undone.
    let (_, shown) = page(&person, "/ui/?made=kept&new=1").await;
    assert!(shown.contains("Your short link") && !shown.contains("/ui/links/undo"), "{shown}");
    let version = person.client.get("/api/v1/links/kept").await.unwrap().header("etag").unwrap().replace('"', "");
    let kept = send(&person, "/ui/links/undo", &[("code", "kept"), ("domain", ""), ("version", &version)]).await;
    assert!(kept.header("set-cookie").unwrap().starts_with("waypost_notice=create.changed;"));
    assert!(person.follow("kept").await.is_some());
}

#[tokio::test]
async fn a_form_that_is_refused_comes_back_with_what_was_typed_and_the_reason_beside_it() {
    let (_dir, _node, person) = signed_in().await;
    let long = "x".repeat(513);
    for (fields, reason) in [
        (vec![("longUrl", "ftp://example.com/<b>")], "ftp: addresses cannot be shortened"),
        (vec![("longUrl", "")], "Enter a URL."),
        (vec![("longUrl", "example.com"), ("customSlug", "a b")], "The slug cannot have"),
        (vec![("longUrl", "example.com"), ("title", &long)], "This text is too long."),
        (vec![("longUrl", "example.com"), ("domain", "other.example")], "There is no domain"),
    ] {
        let answer = send(&person, "/ui/links", &fields).await;
        let shown = html(&answer);
        assert!(answer.status == 422 && shown.contains(reason), "{}: {shown}", answer.status);
        assert!(shown.contains("aria-invalid=\"true\"") || fields.len() == 2 && fields[1].0 == "domain", "{shown}");
        assert!(!shown.contains("<b>"), "{shown}");
    }
    has_links(&person, "", 0).await;
}

#[tokio::test]
async fn a_list_is_searched_ordered_and_paged_by_its_address_and_says_what_it_does_not_know() {
    let (_dir, _node, person) = signed_in().await;
    for number in 0..60 {
        let tags = if number % 2 == 0 { vec!["even"] } else { vec![] };
        let body = json!({ "longUrl": format!("https://example.com/{number}"), "customSlug": format!("s{number:02}"), "tags": tags });
        assert_eq!(person.client.shorten(body).await.unwrap().status, 201);
    }
    has_links(&person, "", 60).await;
    let (_, first) = page(&person, "/ui/links?sort=slug&state=&q=").await;
    assert!(first.contains("60 links") && first.contains("/s00<") && !first.contains("/s55<"), "{first}");
    let next = first.split("rel=\"next\" href=\"").nth(1).unwrap().split('"').next().unwrap().replace("&#38;", "&");
    let (_, second) = page(&person, &next).await;
    assert!(second.contains("/s55<") && !second.contains("/s00<") && second.contains("To the beginning"), "{second}");
    // The place belongs to this order.
    let other = person.get(&next.replace("sort=slug", "sort=-slug")).await;
    assert_eq!(leads_to(&other), "/ui/links?sort=-slug");
    // Of a part of the page, a redirect would not be seen.
    let lost = person.request(Method::GET, &next.replace("sort=slug", "sort=-slug")).header("hx-request", "true");
    let lost = person.client.send(lost).await.unwrap();
    assert_eq!((lost.status, lost.header("hx-redirect")), (200, Some("/ui/links?sort=-slug")));
    assert!(lost.body.is_empty() && lost.header("set-cookie").unwrap().contains("links.place-lost"));
    let (_, even) = page(&person, "/ui/links?tags=even&createdFrom=2020-01-01").await;
    assert!(even.contains("30 links") && even.contains("value=\"2020-01-01\""), "{even}");
    let (_, none) = page(&person, "/ui/links?createdTo=2020-01-01").await;
    assert!(none.contains("No link fits"), "{none}");
    for query in ["state=nonsense", "colour=red", "createdFrom=yesterday", "domain=other.example", "sort=length"] {
        let (status, refused) = page(&person, &format!("/ui/links?{query}")).await;
        assert!(status == 422 && refused.contains("This list cannot be shown"), "{query}: {status} {refused}");
    }
    // A part of the page, as the script asks for it, is the list alone.
    let part = person.request(Method::GET, "/ui/links?q=s0").header("hx-request", "true");
    let part = person.client.send(part.header("hx-trigger-name", "q")).await.unwrap();
    assert_eq!(part.header("hx-replace-url"), Some("/ui/links?q=s0"));
    assert!(!html(&part).contains("<html") && html(&part).contains("10 links"), "{}", html(&part));
    let table = person.get("/ui/links/export?tags=even").await;
    assert_eq!((table.header("content-type"), html(&table).lines().count()), (Some("text/csv; charset=utf-8"), 31));
    let columns = send(&person, "/ui/links/columns", &[("column", "note"), ("back", "/ui/links?q=s0")]).await;
    assert_eq!(leads_to(&columns), "/ui/links?q=s0");
    assert!(columns.header("set-cookie").unwrap().starts_with("waypost_columns=note; "));
}

#[tokio::test]
async fn many_links_are_changed_at_once_and_the_change_is_taken_back() {
    let (_dir, _node, person) = signed_in().await;
    for number in 0..150 {
        let body = json!({ "longUrl": "https://example.com/x", "customSlug": format!("m{number}"), "title": "many" });
        assert_eq!(person.client.shorten(body).await.unwrap().status, 201);
    }
    has_links(&person, "q=many", 150).await;
    let selected = [("link", " m1"), ("link", " m2"), ("link", " nothing"), ("back", "/ui/links")];
    let with = |more: &[(&'static str, &'static str)]| [&selected[..], more].concat();
    let tagged = send(&person, "/ui/links/bulk", &with(&[("action", "tag"), ("tag", "new")])).await;
    let shown = html(&tagged);
    assert!(shown.contains("2 links have the tag") && shown.contains("1 link could not be changed"), "{shown}");
    has_links(&person, "tags=new", 2).await;
    // The undo is a form with the links that were changed.
    let undo = &shown[shown.find("bulk-undo").unwrap()..];
    assert!(undo.contains("value=\" m1\"") && undo.contains("value=\"untag\"") && !undo.contains("nothing"), "{undo}");
    send(&person, "/ui/links/bulk", &[("link", " m1"), ("link", " m2"), ("action", "untag"), ("tag", "NEW")]).await;
    has_links(&person, "tags=new", 0).await;

    // All that fit: it is asked before, and the page tells how far it is.
    let all = [("all", "on"), ("filter", "q=many"), ("back", "/ui/links?q=many"), ("action", "disable")];
    let asked = html(&send(&person, "/ui/links/bulk", &all).await);
    assert!(asked.contains("Disable 150 links?") && asked.contains("name=\"confirmed\""), "{asked}");
    assert!(person.follow("m9").await.is_some());
    let done = html(&send(&person, "/ui/links/bulk", &[&all[..], &[("confirmed", "on")]].concat()).await);
    assert!(
        done.contains("<progress value=\"64\" max=\"150\"") && done.contains("150 links are disabled now."),
        "{done}"
    );
    assert!(done.trim_end().ends_with("</html>") && done.matches("value=\" m").count() == 150, "{done}");
    assert_eq!(person.follow("m9").await, None);

    // A deletion is asked for, also of selected links.
    let delete = [("link", " m1"), ("action", "delete"), ("back", "/ui/links")];
    let asked = html(&send(&person, "/ui/links/bulk", &delete).await);
    assert!(asked.contains("Delete 1 link?") && asked.contains("no way back"), "{asked}");
    has_links(&person, "q=many", 150).await;
    let done = html(&send(&person, "/ui/links/bulk", &[&delete[..], &[("confirmed", "on")]].concat()).await);
    assert!(done.contains("1 link was deleted.") && !done.contains("bulk-undo"), "{done}");
    has_links(&person, "q=many", 149).await;

    let table = send(&person, "/ui/links/bulk", &[("link", " m2"), ("link", " m3"), ("action", "export")]).await;
    assert_eq!((table.header("content-type"), html(&table).lines().count()), (Some("text/csv; charset=utf-8"), 3));
    for (fields, notice) in [
        (vec![("action", "disable")], "bulk.none"),
        (vec![("action", "tag"), ("link", " m2")], "bulk.no-tag"),
        (vec![("action", "tag"), ("link", " m2"), ("tag", "a,b")], "bulk.bad-tag"),
    ] {
        let answer = send(&person, "/ui/links/bulk", &fields).await;
        assert!(answer.header("set-cookie").unwrap().contains(notice), "{notice}");
    }
    // More than one form may name are refused as a whole.
    let many: Vec<(&str, &str)> = [("link", " m2"); 1001].into_iter().chain([("action", "disable")]).collect();
    let refused = send(&person, "/ui/links/bulk", &many).await;
    assert!(refused.header("set-cookie").unwrap().contains("bulk.too-many~1000"));
    has_links(&person, "q=many&state=disabled", 149).await;
}

#[tokio::test]
async fn nobody_else_sees_or_changes_anything_and_pages_carry_their_headers() {
    let (_dir, node, person) = signed_in().await;
    // A key opens no page.
    let stranger = node.client().with_key(KEY);
    for path in ["/ui/", "/ui/links", "/ui/links/export", "/ui/new?url=x", "/ui/tools"] {
        let answer = stranger.get(path).await.unwrap();
        assert!(leads_to(&answer).starts_with("/ui/sign-in?next=%2Fui%2F"), "{path}");
    }
    let foreign = node.client().request(Method::POST, "/ui/links").header("cookie", &person.cookie);
    let foreign = foreign.header("accept", "text/html").header("origin", "https://evil.example");
    let refused = person.client.send(foreign.body("longUrl=https://example.com/evil")).await.unwrap();
    assert!(refused.status == 403 && html(&refused).contains("<nav"), "{}", html(&refused));
    has_links(&person, "", 0).await;
    let home = person.get("/ui/").await;
    assert_eq!(home.header("cache-control"), Some("no-store"));
    let policy = home.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'")
            && !policy.contains("unsafe")
            && policy.contains("frame-ancestors 'none'")
    );
    // A page that answers a form leads back to the page of the form.
    let refused =
        person.request(Method::POST, "/ui/links/undo").header("referer", format!("{}/ui/links?q=a", person.origin));
    let refused = person.client.send(refused.header("accept", "text/html")).await.unwrap();
    assert!(
        refused.status == 400 && html(&refused).contains("name=\"back\" value=\"/ui/links?q=a\""),
        "{}",
        html(&refused)
    );
    // A share, or a bookmark, fills the form and makes nothing.
    let (_, shared) = page(&person, "/ui/new?text=Look+https%3A%2F%2Fexample.com%2F%22&title=%3Cb%3E").await;
    assert!(shared.contains("value=\"https://example.com/&#34;\"") && !shared.contains("<b>"), "{shared}");
    has_links(&person, "", 0).await;
    let (status, missing) = page(&person, "/ui/nothing").await;
    assert!(status == 404 && missing.contains("There is nothing here") && missing.contains("<nav"), "{missing}");
    for (path, kind) in [
        ("/ui/manifest.webmanifest", "application/manifest+json"),
        ("/ui/opensearch.xml", "application/opensearchdescription+xml"),
    ] {
        let answer = stranger.get(path).await.unwrap();
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)));
        assert!(html(&answer).contains("/ui/"), "{}", html(&answer));
    }
}

#[tokio::test]
async fn a_theme_and_a_language_are_chosen_without_scripts() {
    let (_dir, node, person) = signed_in().await;
    let chosen = send(&person, "/ui/preferences", &[("theme", "dark"), ("back", "https://evil.example/")]).await;
    assert_eq!(
        (leads_to(&chosen), chosen.header("set-cookie").unwrap().starts_with("waypost_theme=dark; ")),
        ("/ui/".to_owned(), true)
    );
    let chosen = send(&person, "/ui/preferences", &[("keys", "off"), ("back", "/ui/links")]).await;
    assert!(leads_to(&chosen) == "/ui/links" && chosen.header("set-cookie").unwrap().starts_with("waypost_keys=off; "));
    let without =
        node.client().request(Method::GET, "/ui/").header("cookie", format!("{}; waypost_keys=off", person.cookie));
    let without = person.client.send(without.header("accept", "text/html")).await.unwrap();
    assert!(html(&without).contains("data-keys=\"off\"") && !page(&person, "/ui/").await.1.contains("data-keys"));
    let cookies = format!("{}; waypost_theme=dark; waypost_language=de; waypost_notice=create.undone", person.cookie);
    let shown = node.client().request(Method::GET, "/ui/").header("cookie", cookies);
    let shown = person.client.send(shown.header("accept-language", "en")).await.unwrap();
    assert!(html(&shown).contains("<html lang=\"de\" dir=\"ltr\" data-theme=\"dark\">"), "{}", html(&shown));
    // A notice is shown once.
    assert!(html(&shown).contains("Der Link wurde wieder gelöscht."));
    assert!(shown.header("set-cookie").unwrap().starts_with("waypost_notice=; Path=/ui; Max-Age=0;"));
}
