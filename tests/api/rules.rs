//! The rules of a link: who is led where, and how they are set, shown and cleared.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};
use waypost_testkit::{Answer, Client, write_places};

use crate::{fresh_node, node_in_temp};

const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1";
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:126.0) Gecko/20100101 Firefox/126.0";
const GOOGLEBOT: &str = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";

/// Who asks, and what for.
#[derive(Clone, Copy, Default)]
struct Who<'a> {
    agent: &'a str,
    languages: &'a str,
    query: &'a str,
    /// As a trusted proxy reports it.
    address: &'a str,
}

async fn led(client: &Client, code: &str, who: Who<'_>) -> String {
    let mut request = client.request(Method::GET, &format!("/{code}{}", who.query)).header("user-agent", who.agent);
    for (name, value) in [("accept-language", who.languages), ("x-forwarded-for", who.address)] {
        if !value.is_empty() {
            request = request.header(name, value);
        }
    }
    let answer = client.send(request).await.unwrap();
    assert_eq!(answer.status, 302, "{code}");
    assert_eq!(answer.header("cache-control"), Some("private, no-store"));
    answer.header("location").unwrap_or_default().to_owned()
}

async fn created(client: &Client, slug: &str, rules: Value) {
    let body = json!({ "longUrl": "https://example.com/else", "customSlug": slug, "rules": rules });
    let answer = client.shorten(body).await.unwrap();
    assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    assert_eq!(answer.json()["rules"], rules);
}

async fn send(client: &Client, method: Method, path: &str, body: &Value) -> Answer {
    client.send(client.request(method, path).json(body)).await.unwrap()
}

#[tokio::test]
async fn the_first_rule_that_matches_leads_the_visitor_and_the_link_itself_all_others() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    created(&client, "app", json!([
        { "conditions": [{ "type": "device", "value": "ios" }, { "type": "language", "value": "de" }], "longUrl": "https://example.com/ios-de" },
        { "conditions": [{ "type": "device", "value": "ios" }], "longUrl": "https://example.com/ios" },
        { "conditions": [{ "type": "browser", "value": "firefox" }, { "type": "os", "value": "linux" }], "longUrl": "https://example.com/fox" },
        { "conditions": [{ "type": "query", "value": "a b", "name": "ref" }], "longUrl": "https://example.com/ref" },
        { "conditions": [{ "type": "query", "name": "any" }], "longUrl": "https://example.com/any" },
        { "conditions": [{ "type": "before", "value": "2020-01-01T00:00:00.000Z" }], "longUrl": "https://example.com/past" },
        { "conditions": [{ "type": "after", "value": "2999-01-01T00:00:00.000Z" }], "longUrl": "https://example.com/future" },
    ])).await;
    // The first is read from the store, the second from the cache.
    for _ in 0..2 {
        for (who, end) in [
            (Who { agent: IPHONE, languages: "de-CH, de;q=0.9", ..Who::default() }, "ios-de"),
            (Who { agent: IPHONE, languages: "fr, de;q=0.5", ..Who::default() }, "ios"),
            (Who { agent: FIREFOX, languages: "de", ..Who::default() }, "fox"),
            (Who { agent: "x", query: "?ref=a+b", ..Who::default() }, "ref"),
            (Who { agent: "x", query: "?ref=a&any", ..Who::default() }, "any"),
            (Who { agent: GOOGLEBOT, ..Who::default() }, "else"),
            (Who { agent: "curl/8.5.0", query: "?ref=a", ..Who::default() }, "else"),
        ] {
            let to = led(&client, "app", who).await;
            assert_eq!(to, format!("https://example.com/{end}"), "{} {} {}", who.agent, who.languages, who.query);
        }
    }
}

#[tokio::test]
async fn addresses_are_those_that_a_trusted_proxy_reports_and_places_are_those_of_the_database() {
    let (dir, builder) = node_in_temp();
    let database = dir.path().join("places.mmdb");
    let berlin = ([203, 0, 113, 0].into(), 24, "DE", "Berlin");
    write_places(&database, &[berlin, ([198, 51, 100, 0].into(), 24, "FR", "Paris")]).unwrap();
    let key = "0123456789abcdef0123456789";
    let node = builder
        .env("WAYPOST_CLICKS_GEO_DATABASE", &database.display().to_string())
        .env("WAYPOST_HTTP_TRUSTED_PROXIES", "127.0.0.0/8")
        .env("WAYPOST_ADMIN_KEY", key)
        .start()
        .unwrap();
    let client = node.client().with_key(key);
    created(
        &client,
        "where",
        json!([
            { "conditions": [{ "type": "address", "value": "192.0.2.0/24" }], "longUrl": "https://example.com/office" },
            { "conditions": [{ "type": "city", "value": "berlin" }], "longUrl": "https://example.com/berlin" },
            { "conditions": [{ "type": "country", "value": "FR" }], "longUrl": "https://example.com/fr" },
            { "conditions": [{ "type": "address", "value": "2001:db8::/32" }], "longUrl": "https://example.com/six" },
        ]),
    )
    .await;
    for _ in 0..2 {
        for (address, end) in [
            ("192.0.2.77", "office"),
            ("203.0.113.9", "berlin"),
            ("198.51.100.1", "fr"),
            ("2001:db8::77", "six"),
            ("8.8.8.8, 192.0.2.1", "office"),
            ("192.0.2.1, 8.8.8.8", "else"),
            ("", "else"),
        ] {
            let to = led(&client, "where", Who { agent: "x", address, ..Who::default() }).await;
            assert_eq!(to, format!("https://example.com/{end}"), "{address}");
        }
    }
}

#[tokio::test]
async fn a_split_leads_each_visitor_to_the_same_target_and_all_of_them_by_its_weights() {
    let (_dir, builder) = node_in_temp();
    let key = "0123456789abcdef0123456789";
    let node =
        builder.env("WAYPOST_HTTP_TRUSTED_PROXIES", "127.0.0.0/8").env("WAYPOST_ADMIN_KEY", key).start().unwrap();
    let client = node.client().with_key(key);
    let weights = json!([
        { "longUrl": "https://example.com/a", "weight": 70 },
        { "longUrl": "https://example.com/b", "weight": 30 },
    ]);
    created(&client, "split", json!([{ "conditions": [], "weights": weights }])).await;
    let mut targets: BTreeMap<String, u32> = BTreeMap::new();
    for visitor in 0..400u32 {
        let address = format!("203.0.{}.{}", visitor / 200, visitor % 200);
        let who = Who { agent: FIREFOX, address: &address, ..Who::default() };
        let first = led(&client, "split", who).await;
        if visitor % 20 == 0 {
            assert_eq!(led(&client, "split", who).await, first, "{address}");
        }
        *targets.entry(first).or_default() += 1;
    }
    // The secret of a node is random. 280 are expected; outside of this range, six standard deviations away, is one run in some hundred millions.
    let a = targets["https://example.com/a"];
    assert!((226..=334).contains(&a) && targets["https://example.com/b"] == 400 - a, "{targets:?}");
}

#[tokio::test]
async fn rules_are_replaced_as_a_whole_and_cleared() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let rule = |value: &str, to: &str| json!({ "conditions": [{ "type": "device", "value": value }], "longUrl": to });
    created(&client, "edited", json!([rule("ios", "https://example.com/1")])).await;
    let link = "/api/v1/links/edited";
    let ios = || led(&client, "edited", Who { agent: IPHONE, ..Who::default() });
    assert_eq!(ios().await, "https://example.com/1");
    // Another field does not touch them.
    assert_eq!(
        send(&client, Method::PATCH, link, &json!({ "title": "T" })).await.json()["rules"].as_array().unwrap().len(),
        1
    );
    let two = json!([rule("android", "https://example.com/2"), rule("mobile", "https://example.com/3")]);
    let edited = send(&client, Method::PATCH, link, &json!({ "rules": two })).await;
    assert_eq!((edited.status, &edited.json()["rules"]), (200, &two));
    assert_eq!(ios().await, "https://example.com/3");
    for none in [json!(null), json!([])] {
        assert_eq!(send(&client, Method::PATCH, link, &json!({ "rules": two })).await.status, 200);
        let cleared = send(&client, Method::PATCH, link, &json!({ "rules": none })).await;
        assert_eq!((cleared.status, &cleared.json()["rules"]), (200, &json!([])));
        assert_eq!(ios().await, "https://example.com/else");
    }
    // A put without rules clears them, too.
    let put = json!({ "longUrl": "https://example.com/else", "rules": two });
    assert_eq!(send(&client, Method::PUT, link, &put).await.json()["rules"], two);
    let put = send(&client, Method::PUT, link, &json!({ "longUrl": "https://example.com/else" })).await;
    assert_eq!(put.json()["rules"], json!([]));
}

#[tokio::test]
async fn a_link_with_rules_is_not_the_same_as_one_without() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let ruled = json!({
        "longUrl": "https://example.com/found", "findIfExists": true,
        "rules": [{ "conditions": [], "longUrl": "https://example.com/elsewhere" }],
    });
    let first = client.shorten(ruled.clone()).await.unwrap();
    let plain = json!({ "longUrl": "https://example.com/found", "findIfExists": true });
    let second = client.shorten(plain).await.unwrap();
    assert_eq!((first.status, second.status), (201, 201));
    assert_ne!(first.text("shortCode"), second.text("shortCode"));
    let again = client.shorten(ruled).await.unwrap();
    assert_eq!((again.status, again.text("shortCode")), (200, first.text("shortCode")));
}

#[tokio::test]
async fn rules_that_cannot_be_are_refused_by_number_and_nothing_is_changed() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    created(&client, "kept", json!([{ "conditions": [], "longUrl": "https://example.com/kept" }])).await;
    let fine = json!({ "longUrl": "https://example.com/" });
    let loops = format!("http://{}/kept", node.address());
    for (rule, problem, part) in [
        (
            json!({ "conditions": [{ "type": "device", "value": "iphone" }], "longUrl": "https://a.example" }),
            "invalid-value",
            "rule 2, condition 1: ",
        ),
        (
            json!({ "conditions": [{ "type": "shoe", "value": "x" }], "longUrl": "https://a.example" }),
            "invalid-value",
            "give one of device, ",
        ),
        (json!({ "conditions": [] }), "invalid-value", "rule 2 leads nowhere"),
        (json!({ "longUrl": "javascript:alert(1)" }), "invalid-url", "rule 2: javascript:"),
        (json!({ "longUrl": loops }), "invalid-url", "rule 2: the URL leads to this server"),
        (
            json!({ "weights": [{ "longUrl": "https://a.example", "weight": 1 }] }),
            "invalid-value",
            "rule 2 has 1 weights",
        ),
        (
            json!({ "weights": [{ "longUrl": "https://a.example", "weight": 1 }, { "longUrl": "https://b.example", "weight": -1 }] }),
            "invalid-value",
            "rule 2, weight 2: ",
        ),
        (
            json!({ "weights": [{ "longUrl": "https://a.example", "weight": 1 }, { "longUrl": "x", "weight": 1 }] }),
            "invalid-url",
            "rule 2, weight 2: ",
        ),
    ] {
        let rules = json!([fine, rule]);
        for (method, path, body) in [
            (Method::POST, "/shorten", json!({ "longUrl": "https://example.com/", "rules": rules })),
            (Method::PUT, "/api/v1/links/other", json!({ "longUrl": "https://example.com/", "rules": rules })),
            (Method::PATCH, "/api/v1/links/kept", json!({ "title": "changed", "rules": rules })),
        ] {
            let refused = send(&client, method, path, &body).await;
            let (detail, field) = (refused.text("detail"), refused.text("field"));
            assert_eq!(
                (refused.status, refused.problem().as_str(), field.as_str()),
                (422, problem, "rules"),
                "{detail}"
            );
            assert!(detail.contains(part), "{detail}");
        }
    }
    let many = json!({ "rules": vec![fine; 65] });
    assert!(
        send(&client, Method::PATCH, "/api/v1/links/kept", &many).await.text("detail").contains("there are 65 rules")
    );
    // A browser would keep a permanent redirect to one of the targets.
    let permanent = json!({ "longUrl": "https://example.com/", "redirectStatus": 301, "rules": [{ "longUrl": "https://example.com/" }] });
    for (method, path) in
        [(Method::POST, "/shorten"), (Method::PUT, "/api/v1/links/kept"), (Method::PATCH, "/api/v1/links/kept")]
    {
        let refused = send(&client, method, path, &permanent).await;
        assert_eq!((refused.status, refused.text("field").as_str()), (422, "redirectStatus"));
    }
    // Also if the link has one of the two already.
    let always = json!({ "longUrl": "https://example.com/", "customSlug": "always", "redirectStatus": 308 });
    assert_eq!(client.shorten(always).await.unwrap().status, 201);
    for (link, changes) in [
        ("/api/v1/links/kept", json!({ "redirectStatus": 301 })),
        ("/api/v1/links/always", json!({ "rules": [{ "longUrl": "https://example.com/" }] })),
    ] {
        let refused = send(&client, Method::PATCH, link, &changes).await;
        assert_eq!((refused.status, refused.text("field").as_str()), (422, "redirectStatus"), "{link}");
    }
    let kept = client.get("/api/v1/links/kept").await.unwrap().json();
    assert_eq!((&kept["title"], &kept["rules"][0]["longUrl"]), (&Value::Null, &json!("https://example.com/kept")));
    assert_eq!(client.get("/api/v1/links/other").await.unwrap().status, 404);
}

#[tokio::test]
async fn query_and_path_are_forwarded_to_the_target_of_the_rule() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let body = json!({
        "longUrl": "https://example.com/else", "customSlug": "forward", "forwardQuery": true, "forwardPath": true, "redirectStatus": 307,
        "rules": [{ "conditions": [{ "type": "query", "name": "ref" }], "longUrl": "https://example.com/ref?a=1" }],
    });
    assert_eq!(client.shorten(body).await.unwrap().status, 201);
    for _ in 0..2 {
        let answer = client.get("/forward/more?ref=x").await.unwrap();
        assert_eq!((answer.status, answer.header("location")), (307, Some("https://example.com/ref/more?a=1&ref=x")));
        let answer = client.get("/forward/more?a=2").await.unwrap();
        assert_eq!(answer.header("location"), Some("https://example.com/else/more?a=2"));
    }
}

#[tokio::test]
async fn a_preview_shows_where_the_link_leads_its_reader_and_that_others_are_led_elsewhere() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    created(
        &client,
        "varied",
        json!([
            { "conditions": [{ "type": "device", "value": "ios" }], "longUrl": "https://example.com/ios" },
        ]),
    )
    .await;
    client.shorten(json!({ "longUrl": "https://example.com/", "customSlug": "plain" })).await.unwrap();
    let preview = async |code: &str, agent: &str, accept: &str| {
        let request =
            client.request(Method::GET, &format!("/{code}+")).header("user-agent", agent).header("accept", accept);
        client.send(request.header("accept-language", "de")).await.unwrap()
    };
    let shown = preview("varied", IPHONE, "application/json").await.json();
    assert_eq!((&shown["longUrl"], &shown["varies"]), (&json!("https://example.com/ios"), &json!(true)));
    let shown = preview("varied", FIREFOX, "application/json").await.json();
    assert_eq!((&shown["longUrl"], &shown["varies"]), (&json!("https://example.com/else"), &json!(true)));
    assert_eq!(preview("plain", IPHONE, "application/json").await.json()["varies"], json!(false));
    for (code, varies) in [("varied", true), ("plain", false)] {
        let page = String::from_utf8(preview(code, IPHONE, "text/html").await.body).unwrap();
        assert_eq!(page.contains("führt er andere Personen woandershin"), varies, "{page}");
    }
    assert_eq!(client.get("/analytics/varied").await.unwrap().json()["hasRules"], json!(true));
    assert_eq!(client.get("/analytics/plain").await.unwrap().json()["hasRules"], Value::Null);
}
