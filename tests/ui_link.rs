//! The pages of one link, and the statistics, as a browser without scripts uses them.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;
use waypost_testkit::{Answer, Client, Node};

use crate::node_in_temp;

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:126.0) Gecko/20100101 Firefox/126.0";

const KEY: &str = "a-key-for-the-pages-of-a-link-0123456789";

/// A browser that has signed in: its pages have the cookie of a session, and the API has the key.
#[derive(Clone)]
struct Browser {
    api: Client,
    origin: String,
    cookie: String,
}

impl std::ops::Deref for Browser {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.api
    }
}

impl Browser {
    /// Nobody who has signed in.
    fn stranger(node: &Node) -> Self {
        Self { api: node.client(), origin: format!("http://{}", node.address()), cookie: String::new() }
    }

    async fn signed_in(node: &Node) -> Self {
        let mut browser = Self::stranger(node);
        let entered = post(&browser, "/ui/sign-in", &[("key", KEY)]).await;
        let mut cookies = entered.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap());
        let session = cookies.rfind(|cookie| cookie.starts_with("waypost_session="));
        browser.cookie = session.and_then(|cookie| cookie.split(';').next()).unwrap_or_default().to_owned();
        assert!(!browser.cookie.is_empty(), "{}", html(&entered));
        browser.api = browser.api.with_key(KEY);
        browser
    }

    async fn see(&self, path: &str) -> Answer {
        let request = self.request(Method::GET, path).header("cookie", &self.cookie);
        self.send(request.header("sec-fetch-site", "same-origin")).await.unwrap()
    }
}

async fn node() -> (TempDir, Node, Browser) {
    let (dir, builder) = node_in_temp();
    let node = builder.env("WAYPOST_ADMIN_KEY", KEY).start().unwrap();
    let browser = Browser::signed_in(&node).await;
    (dir, node, browser)
}

fn html(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

async fn page(browser: &Browser, path: &str) -> String {
    let answer = browser.see(path).await;
    assert_eq!(answer.status, 200, "{path}: {}", html(&answer));
    html(&answer)
}

/// The value of the first field with a name.
fn field(page: &str, name: &str) -> String {
    let tag = page.split('<').find(|tag| tag.contains(&format!("name=\"{name}\""))).unwrap_or_default();
    tag.split("value=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default().to_owned()
}

async fn post(client: &Browser, path: &str, form: &[(&str, &str)]) -> Answer {
    let mut body = form_urlencoded::Serializer::new(String::new());
    body.extend_pairs(form);
    let request = client
        .request(Method::POST, path)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("cookie", &client.cookie)
        .header("origin", &client.origin)
        .header("sec-fetch-site", "same-origin")
        .body(body.finish());
    client.send(request).await.unwrap()
}

/// What a browser sends of the form of a link, if nothing is touched.
fn untouched(page: &str) -> Vec<(&'static str, String)> {
    const FIELDS: [&str; 9] =
        ["version", "base", "zone", "longUrl", "title", "tags", "validSince", "validUntil", "maxVisits"];
    FIELDS.map(|name| (name, field(page, name))).to_vec()
}

fn with<'a>(form: &'a [(&'static str, String)], changes: &[(&'static str, &'a str)]) -> Vec<(&'static str, &'a str)> {
    let kept = form.iter().filter(|(name, _)| !changes.iter().any(|(other, _)| other == name));
    kept.map(|(name, value)| (*name, value.as_str())).chain(changes.iter().copied()).collect()
}

#[tokio::test]
async fn a_form_changes_what_was_typed_and_tells_what_is_wrong_beside_its_field() {
    let (_dir, _node, client) = node().await;
    client.shorten(json!({ "longUrl": "https://example.com/a", "customSlug": "form", "title": "One" })).await.unwrap();
    let shown = page(&client, "/ui/link/form").await;
    let form = untouched(&shown);
    assert_eq!(field(&shown, "title"), "One");
    let saved =
        post(&client, "/ui/link/form", &with(&form, &[("title", "Two"), ("tags", "a, b"), ("forwardQuery", "on")]))
            .await;
    assert_eq!((saved.status, saved.header("location")), (303, Some("/ui/link/form")), "{}", html(&saved));
    let link = client.get("/api/v1/links/form").await.unwrap().json();
    assert_eq!(
        (&link["title"], &link["tags"], &link["forwardQuery"]),
        (&json!("Two"), &json!(["a", "b"]), &json!(true))
    );
    let form = untouched(&page(&client, "/ui/link/form").await);
    let refused = post(&client, "/ui/link/form", &with(&form, &[("longUrl", "mailto:x"), ("title", "Three")])).await;
    let text = html(&refused);
    assert_eq!(refused.status, 422);
    assert!(text.contains("href=\"#longUrl\"") && text.contains("aria-invalid=\"true\""), "{text}");
    assert_eq!((field(&text, "longUrl"), field(&text, "title")), ("mailto:x".to_owned(), "Three".to_owned()));
    let refused = post(&client, "/ui/link/form", &with(&form, &[("validUntil", "2001-01-01T00:00")])).await;
    assert!(refused.status == 422 && html(&refused).contains("id=\"validUntil-error\""), "{}", html(&refused));
}

#[tokio::test]
async fn a_form_may_be_longer_than_a_request_of_the_api_and_one_that_is_too_long_is_told_so() {
    let (_dir, _node, client) = node().await;
    client.shorten(json!({ "longUrl": "https://example.com/a", "customSlug": "long" })).await.unwrap();
    let form = untouched(&page(&client, "/ui/link/long").await);
    let long = "x".repeat(100 << 10);
    let saved = post(&client, "/ui/link/long", &with(&form, &[("title", "Long"), ("more", &long)])).await;
    assert_eq!(saved.status, 303, "{}", html(&saved));
    let long = "x".repeat(520 << 10);
    let refused = post(&client, "/ui/link/long", &with(&form, &[("title", "Longer"), ("more", &long)])).await;
    assert!(refused.status == 413 && html(&refused).contains("That is too long"), "{}", html(&refused));
    assert_eq!(client.get("/api/v1/links/long").await.unwrap().text("title"), "Long");
}

#[tokio::test]
async fn a_code_of_several_segments_in_a_domain_has_its_pages() {
    let (_dir, _node, client) = node().await;
    let domain =
        client.request(Method::POST, "/api/v1/domains").json(&json!({ "host": "m.example", "multiSegment": true }));
    assert_eq!(client.send(domain).await.unwrap().status, 201);
    let new = json!({ "longUrl": "https://example.com/a", "customSlug": "a/b", "domain": "m.example" });
    assert_eq!(client.shorten(new).await.unwrap().status, 201);
    let path = "/ui/link/a%2Fb?domain=m.example";
    let shown = page(&client, path).await;
    assert!(shown.contains("/ui/link/a%2Fb/stats?domain=m.example"), "{shown}");
    let saved = post(&client, path, &with(&untouched(&shown), &[("title", "Deep")])).await;
    assert_eq!((saved.status, saved.header("location")), (303, Some(path)), "{}", html(&saved));
    for end in ["rules", "stats", "qr", "history", "delete"] {
        assert!(page(&client, &format!("/ui/link/a%2Fb/{end}?domain=m.example")).await.contains("Deep"), "{end}");
    }
    assert_eq!(client.see("/ui/link/a%2Fb").await.status, 404, "it is not in the default domain");
}

#[tokio::test]
async fn what_only_one_has_changed_stays_and_of_what_both_have_changed_one_chooses() {
    let (_dir, _node, client) = node().await;
    client.shorten(json!({ "longUrl": "https://example.com/a", "customSlug": "both", "title": "One" })).await.unwrap();
    let form = untouched(&page(&client, "/ui/link/both").await);
    let patch = |body| client.send(client.request(Method::PATCH, "/api/v1/links/both").json(&body));
    // Somebody else changes the tags only: nothing clashes.
    patch(json!({ "tags": ["theirs"] })).await.unwrap();
    let saved = post(&client, "/ui/link/both", &with(&form, &[("title", "Mine")])).await;
    assert_eq!(saved.status, 303, "{}", html(&saved));
    let link = client.get("/api/v1/links/both").await.unwrap().json();
    assert_eq!((&link["title"], &link["tags"]), (&json!("Mine"), &json!(["theirs"])));
    // Both change the title.
    let form = untouched(&page(&client, "/ui/link/both").await);
    patch(json!({ "title": "Theirs" })).await.unwrap();
    let clash = post(&client, "/ui/link/both", &with(&form, &[("title", "Mine again"), ("maxVisits", "9")])).await;
    let text = html(&clash);
    assert_eq!(clash.status, 409);
    assert!(text.contains("Theirs") && text.contains("Mine again") && text.contains("name=\"pick.title\""), "{text}");
    assert_eq!(client.get("/api/v1/links/both").await.unwrap().text("title"), "Theirs");
    let again = untouched(&text);
    // While one chooses, somebody changes the title once more: one chooses again, with the choice as it was.
    patch(json!({ "title": "Theirs, too" })).await.unwrap();
    let clash = post(&client, "/ui/link/both", &with(&again, &[("pick.title", "theirs")])).await;
    let text = html(&clash);
    assert_eq!(clash.status, 409, "{text}");
    assert!(text.contains("Theirs, too") && text.contains("name=\"pick.title\" value=\"theirs\" checked"), "{text}");
    // Something else is changed: what was chosen still counts.
    patch(json!({ "tags": ["more"] })).await.unwrap();
    let chosen = post(&client, "/ui/link/both", &with(&untouched(&text), &[("pick.title", "theirs")])).await;
    assert_eq!(chosen.status, 303, "{}", html(&chosen));
    let link = client.get("/api/v1/links/both").await.unwrap().json();
    assert_eq!(
        (&link["title"], &link["maxVisits"], &link["tags"]),
        (&json!("Theirs, too"), &json!(9), &json!(["more"]))
    );
}

#[tokio::test]
async fn a_deleted_link_comes_back_with_its_password_and_a_claimed_code_stays() {
    let (_dir, _node, client) = node().await;
    let new =
        json!({ "longUrl": "https://example.com/a", "customSlug": "gone", "title": "Back", "password": "secret1" });
    assert_eq!(client.shorten(new).await.unwrap().status, 201);
    let path = "/ui/link/gone/delete";
    let asked = page(&client, path).await;
    let deleted = post(&client, path, &[("version", &field(&asked, "version"))]).await;
    let undo = deleted.header("location").unwrap().to_owned();
    assert!(deleted.status == 303 && undo.starts_with("/ui/deleted/"), "{undo}");
    let twice = post(&client, path, &[("version", &field(&asked, "version"))]).await;
    assert_eq!((twice.status, twice.header("location")), (303, Some(&*undo)), "{}", html(&twice));
    let other = post(&client, path, &[("version", "1-1")]).await;
    assert_eq!(other.status, 404, "that was not this link");
    assert_eq!(client.get("/api/v1/links/gone").await.unwrap().status, 404);
    assert!(!page(&client, &undo).await.contains("argon2"));
    let back = post(&client, &undo, &[]).await;
    assert_eq!((back.status, back.header("location")), (303, Some("/ui/link/gone")), "{}", html(&back));
    let twice = post(&client, &undo, &[]).await;
    assert_eq!((twice.status, twice.header("location")), (303, Some("/ui/link/gone")), "{}", html(&twice));
    let link = client.get("/api/v1/links/gone").await.unwrap().json();
    assert_eq!((&link["title"], &link["protected"]), (&json!("Back"), &json!(true)));
    let unlocked = post(&client, "/gone", &[("password", "secret1")]).await;
    assert_eq!(unlocked.status, 303);
    let gone = client.see(&undo).await;
    assert_eq!(gone.status, 404, "it is back already");
    assert!(html(&gone).contains("can be brought back for ten minutes"), "{}", html(&gone));
    client.send(client.request(Method::PATCH, "/api/v1/links/gone").json(&json!({ "title": "Later" }))).await.unwrap();
    assert_eq!(post(&client, &undo, &[]).await.status, 404, "it has changed since it came back");
    // Now somebody claims the code in between.
    let asked = page(&client, path).await;
    let deleted = post(&client, path, &[("version", &field(&asked, "version"))]).await;
    let undo = deleted.header("location").unwrap().to_owned();
    let claimed = json!({ "longUrl": "https://example.com/other", "customSlug": "gone" });
    assert_eq!(client.shorten(claimed).await.unwrap().status, 201);
    assert_eq!(post(&client, &undo, &[]).await.status, 409);
    let stale = post(&client, path, &[("version", "1-1")]).await;
    assert_eq!(stale.status, 409, "a link that was changed since is not deleted");
}

#[tokio::test]
async fn one_button_disables_and_enables_and_a_target_of_the_history_comes_back() {
    let (_dir, _node, client) = node().await;
    client.shorten(json!({ "longUrl": "https://example.com/old", "customSlug": "state" })).await.unwrap();
    for (value, status) in [("on", 410), ("", 302)] {
        let changed = post(&client, "/ui/link/state/state", &[("disabled", value)]).await;
        assert_eq!(changed.status, 303);
        assert_eq!(client.get("/state").await.unwrap().status, status);
    }
    let edit =
        client.request(Method::PATCH, "/api/v1/links/state").json(&json!({ "longUrl": "https://example.com/new" }));
    client.send(edit).await.unwrap();
    let history = page(&client, "/ui/link/state/history").await;
    assert!(history.contains("https://example.com/old") && history.contains("https://example.com/new"), "{history}");
    let form = [("version", field(&history, "version")), ("entry", "1".to_owned())];
    let restored =
        post(&client, "/ui/link/state/restore", &form.each_ref().map(|(name, value)| (*name, value.as_str()))).await;
    assert_eq!((restored.status, restored.header("location")), (303, Some("/ui/link/state/history")));
    assert_eq!(client.follow("state").await.unwrap().as_deref(), Some("https://example.com/old"));
    let late = post(&client, "/ui/link/state/restore", &[("version", "1-1"), ("entry", "1")]).await;
    assert_eq!(late.status, 409);
}

#[tokio::test]
async fn rules_are_made_by_buttons_saved_by_one_and_tried_before_that() {
    let (_dir, _node, client) = node().await;
    client.shorten(json!({ "longUrl": "https://example.com/", "customSlug": "ruled" })).await.unwrap();
    let path = "/ui/link/ruled/rules";
    let version = field(&page(&client, path).await, "version");
    let mut form = vec![("version", version.as_str()), ("zone", "UTC"), ("rules", "0"), ("do", "add")];
    assert!(html(&post(&client, path, &form).await).contains("id=\"rule-1\""));
    form = vec![
        ("version", &version),
        ("zone", "UTC"),
        ("rules", "2"),
        ("r0.conditions", "2"),
        ("r0.c0.type", "country"),
        ("r0.c0.value", "Schweiz"),
        ("r0.c1.type", "device"),
        ("r0.c1.value", "ios"),
        ("r0.targets", "1"),
        ("r0.t0.url", "https://example.com/ch"),
        ("r1.conditions", "0"),
        ("r1.targets", "2"),
        ("r1.t0.url", "https://example.com/b"),
        ("r1.t0.weight", "70"),
        ("r1.t1.url", "nothing"),
        ("r1.t1.weight", "30"),
        ("do", "save"),
    ];
    let refused = post(&client, path, &form).await;
    let text = html(&refused);
    assert_eq!(refused.status, 422);
    assert!(text.contains("id=\"r0-c0-error\"") && text.contains("id=\"r1-t1-error\""), "{text}");
    assert!(!text.contains("id=\"r0-c1-error\"") && !text.contains("id=\"r1-t0-error\""));
    assert_eq!(client.get("/api/v1/links/ruled").await.unwrap().json()["rules"], json!([]));
    form[5].1 = "CH";
    form[14].1 = "https://example.com/c";
    let last = form.len() - 1;
    form[last].1 = "test";
    let tried = |visitor: &[(&'static str, &'static str)]| {
        let form: Vec<_> = form.iter().chain(visitor).copied().collect();
        let client = client.clone();
        async move { html(&post(&client, path, &form).await) }
    };
    let swiss = tried(&[("v.country", "ch"), ("v.os", "ios")]).await;
    assert!(swiss.contains("Rule 1)") && swiss.contains("is not asked"), "{swiss}");
    let other = tried(&[("v.country", "DE"), ("v.agent", FIREFOX)]).await;
    assert!(other.contains("Rule 2)") && other.contains("70 %") && other.contains("(this visitor)"), "{other}");
    assert_eq!(client.get("/api/v1/links/ruled").await.unwrap().json()["rules"], json!([]), "asking saves nothing");
    form[last].1 = "save";
    let saved = post(&client, path, &form).await;
    assert_eq!((saved.status, saved.header("location")), (303, Some(path)), "{}", html(&saved));
    let rules = client.get("/api/v1/links/ruled").await.unwrap().json()["rules"].clone();
    assert_eq!(
        (&rules[0]["longUrl"], &rules[1]["weights"][1]["weight"]),
        (&json!("https://example.com/ch"), &json!(30))
    );
    let late = post(&client, path, &form).await;
    assert_eq!(late.status, 409, "the version of the form is an old one");
}

#[tokio::test]
async fn rules_are_made_tried_and_saved_on_the_admin_listener_as_well() {
    let (_dir, node, client) = node().await;
    client.shorten(json!({ "longUrl": "https://example.com/", "customSlug": "ruled" })).await.unwrap();
    let admin = Browser {
        api: Client::new(node.admin()).with_key(KEY),
        origin: format!("http://{}", node.admin()),
        cookie: client.cookie.clone(),
    };
    let path = "/ui/link/ruled/rules";
    let version = field(&page(&admin, path).await, "version");
    let mut form = vec![
        ("version", version.as_str()),
        ("zone", "UTC"),
        ("rules", "1"),
        ("r0.conditions", "1"),
        ("r0.c0.type", "browser"),
        ("r0.c0.value", "firefox"),
        ("r0.targets", "1"),
        ("r0.t0.url", "https://example.com/fox"),
        ("v.agent", FIREFOX),
        ("v.address", "192.0.2.7"),
        ("do", "add-condition.0"),
    ];
    let last = form.len() - 1;
    let added = post(&admin, path, &form).await;
    assert_eq!(added.status, 200, "{}", html(&added));
    form[last].1 = "test";
    let tried = post(&admin, path, &form).await;
    assert!(tried.status == 200 && html(&tried).contains("Rule 1)"), "{}", html(&tried));
    form[last].1 = "save";
    let saved = post(&admin, path, &form).await;
    assert_eq!((saved.status, saved.header("location")), (303, Some(path)), "{}", html(&saved));
    let rules = client.get("/api/v1/links/ruled").await.unwrap().json()["rules"].clone();
    assert_eq!(rules[0]["longUrl"], "https://example.com/fox");
}

#[tokio::test]
async fn the_qr_code_is_drawn_as_chosen_or_the_reason_stands_beside_its_field() {
    let (_dir, _node, client) = node().await;
    client.shorten(json!({ "longUrl": "https://example.com/", "customSlug": "code" })).await.unwrap();
    let shown = page(&client, "/ui/link/code/qr?size=300&color=%23123456").await;
    assert!(shown.contains("/ui/link/code/qr.svg?size=300") && shown.contains("%23123456"), "{shown}");
    let svg = client.see("/ui/link/code/qr.svg?size=300&color=%23123456").await;
    assert_eq!((svg.status, svg.header("content-type")), (200, Some("image/svg+xml")));
    assert!(html(&svg).contains("#123456"));
    let png = client.see("/ui/link/code/qr.png").await;
    assert!(png.status == 200 && png.body.starts_with(b"\x89PNG"));
    for (query, name) in [("size=1", "size"), ("margin=99", "margin"), ("color=ffffff", "color"), ("size=x", "size")] {
        let refused = client.see(&format!("/ui/link/code/qr?{query}")).await;
        assert_eq!(refused.status, 422, "{query}");
        assert!(html(&refused).contains(&format!("id=\"{name}-error\"")), "{query}");
    }
}

#[tokio::test]
async fn visits_are_seen_in_the_statistics_of_the_link_of_its_tag_and_of_all() {
    let (_dir, _node, client) = node().await;
    client.shorten(json!({ "longUrl": "https://example.com/", "customSlug": "seen", "tags": ["News"] })).await.unwrap();
    for _ in 0..3 {
        client.follow("seen").await.unwrap();
    }
    let end = Instant::now() + Duration::from_secs(30);
    let stats = loop {
        let shown = page(&client, "/ui/link/seen/stats?range=24h&compare=on").await;
        if shown.contains(": 3 clicks") {
            break shown;
        }
        assert!(Instant::now() < end, "{shown}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    assert!(stats.contains("role=\"img\"") && stats.contains("Firefox") && stats.contains("Linux"), "{stats}");
    let csv = client.see("/ui/link/seen/stats.csv?by=browser").await;
    assert!(html(&csv).contains("browser,Firefox,3"), "{}", html(&csv));
    assert!(csv.header("content-disposition").is_some_and(|value| value.starts_with("attachment")));
    // The most visited links may take longer than a page: they come after it, or with a page that waits for them.
    let all = page(&client, "/ui/statistics?range=7d").await;
    assert!(all.contains(": 3 clicks") && all.contains("hx-get=\"/ui/statistics/top?range=7d&#38;top=on\""), "{all}");
    for path in ["/ui/statistics/top?range=7d", "/ui/statistics?range=7d&top=on"] {
        let found = page(&client, path).await;
        assert!(found.contains("/ui/link/seen/stats") && !found.contains("hx-get=\"/ui/statistics/top"), "{found}");
    }
    let end = Instant::now() + Duration::from_secs(30);
    // The catalog hears of the link a moment later.
    loop {
        let tagged = page(&client, "/ui/statistics?tag=news&range=24h").await;
        if tagged.contains("1 link with the tag") && tagged.contains(": 3 clicks") {
            assert!(tagged.contains("/ui/link/seen/stats"));
            break;
        }
        assert!(Instant::now() < end, "{tagged}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let refused = client.see("/ui/link/seen/stats?from=2026-02-01&to=2026-01-01").await;
    assert!(refused.status == 422 && html(&refused).contains("id=\"from-error\""), "{}", html(&refused));
}

#[tokio::test]
async fn the_live_stream_of_a_page_ends_when_its_session_does_and_none_begins_without_one() {
    let (_dir, _node, client) = node().await;
    client.shorten(json!({ "longUrl": "https://example.com/", "customSlug": "live" })).await.unwrap();
    let ask = || {
        let request = client.request(Method::GET, "/ui/link/live/live").header("cookie", &client.cookie);
        request.header("sec-fetch-site", "same-origin").header("accept", "text/event-stream").send()
    };
    let stream = ask().await.unwrap();
    assert_eq!(stream.status(), 200);
    assert_eq!(post(&client, "/ui/sign-out", &[]).await.status, 303);
    let told = tokio::time::timeout(Duration::from_secs(30), stream.bytes()).await;
    assert!(told.expect("the stream goes on").unwrap().starts_with(b"event: clicks"));
    assert_eq!(ask().await.unwrap().status(), 401);
}

#[tokio::test]
async fn without_a_key_no_page_of_a_link_is_shown_and_nothing_is_changed() {
    let (_dir, node, client) = node().await;
    client.shorten(json!({ "longUrl": "https://example.com/", "customSlug": "mine" })).await.unwrap();
    let stranger = Browser::stranger(&node);
    for end in ["", "/rules", "/stats", "/stats.csv", "/live", "/qr", "/qr.svg", "/history", "/delete"] {
        let answer = stranger.see(&format!("/ui/link/mine{end}")).await;
        assert!(answer.status == 401 || answer.status == 303, "{end}: {}", answer.status);
        assert!(!html(&answer).contains("example.com"), "{end}");
    }
    for end in ["", "/state", "/delete", "/rules", "/restore"] {
        let answer = post(&stranger, &format!("/ui/link/mine{end}"), &[("disabled", "on"), ("do", "save")]).await;
        assert!(answer.status == 401 || answer.status == 303 || answer.status == 403, "{end}: {}", answer.status);
    }
    assert_eq!(client.get("/mine").await.unwrap().status, 302);
    assert_eq!(client.see("/ui/link/nothing").await.status, 404);
}
