//! The same slug in each domain, their settings, and what visitors of each host get.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use super::{domain, led_to, link, send, to, visit};
use crate::{fresh_node, node_in_temp};

#[tokio::test]
async fn the_same_slug_in_each_domain_is_a_link_of_its_own() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let made = domain(&client, json!({ "host": "B.Example." })).await;
    assert_eq!((&made["host"], &made["isDefault"]), (&json!("b.example"), &json!(false)));
    domain(&client, json!({ "host": "bücher.example" })).await;
    let hosts = [None, Some("b.example"), Some("xn--bcher-kva.example")];
    let mut tags = Vec::new();
    for (number, host) in hosts.iter().enumerate() {
        let body = json!({ "longUrl": format!("https://example.com/{number}"), "customSlug": "Sale", "domain": host });
        let made = link(&client, body.clone()).await;
        assert_eq!(made["domain"], json!(host));
        let at = host.map_or(node.address().to_string(), |host| format!("{host}:{}", node.address().port()));
        assert_eq!(made["shortUrl"], json!(format!("http://{at}/Sale")));
        let again = send(&client, Method::POST, "/api/v1/links", body).await;
        assert_eq!((again.status, again.problem()), (409, "slug-taken".to_owned()));
        assert_eq!(again.text("shortUrl"), made["shortUrl"].as_str().unwrap());
        tags.push(made);
    }
    assert!(tags[0]["id"] != tags[1]["id"] && tags[1]["id"] != tags[2]["id"]);
    // From the store, and then from the cache.
    for _ in 0..2 {
        assert_eq!(led_to(&client, "go.example", "/Sale").await, to("0"));
        assert_eq!(led_to(&client, "B.example:80", "/Sale").await, to("1"));
        assert_eq!(led_to(&client, "xn--bcher-kva.example", "/Sale").await, to("2"));
        assert_eq!(led_to(&client, "b.example", "/sale").await.0, 404);
    }
    // Each is shown, edited and deleted by its domain.
    let path = |host: &str| format!("/api/v1/links/Sale?domain={host}");
    let shown = client.get(&path("b.example")).await.unwrap();
    assert_eq!(shown.text("longUrl"), "https://example.com/1");
    assert_eq!(client.get(&path("DEFAULT")).await.unwrap().text("longUrl"), "https://example.com/0");
    let edited =
        send(&client, Method::PATCH, &path("B.EXAMPLE"), json!({ "longUrl": "https://example.com/new" })).await;
    assert_eq!((edited.status, edited.text("domain")), (200, "b.example".to_owned()));
    let put =
        send(&client, Method::PUT, &path("b%C3%BCcher.example"), json!({ "longUrl": "https://example.com/put" })).await;
    assert_eq!((put.status, put.text("domain")), (200, "xn--bcher-kva.example".to_owned()));
    assert_eq!(led_to(&client, "b.example", "/Sale").await, to("new"));
    assert_eq!(led_to(&client, "go.example", "/Sale").await, to("0"));
    let at = format!("b.example:{}", node.address().port());
    let preview = client.request(Method::GET, "/Sale+").header("host", at).header("accept", "application/json");
    let preview = client.send(preview).await.unwrap().json();
    assert_eq!(preview["longUrl"], "https://example.com/new");
    assert_eq!(preview["shortUrl"], tags[1]["shortUrl"]);
    let qr = client.get("/api/v1/links/Sale/qr?domain=b.example").await.unwrap();
    assert_eq!((qr.status, qr.header("content-type")), (200, Some("image/png")));
    assert_ne!(client.get("/api/v1/links/Sale/qr").await.unwrap().body, qr.body);
    assert_eq!(send(&client, Method::DELETE, &path("b.example"), Value::Null).await.status, 204);
    assert_eq!(led_to(&client, "b.example", "/Sale").await.0, 404);
    assert_eq!(led_to(&client, "go.example", "/Sale").await, to("0"));
}

#[tokio::test]
async fn bulk_changes_name_the_domain_of_each_link() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    domain(&client, json!({ "host": "b.example", "caseInsensitive": true })).await;
    let items = json!({ "items": [
        { "op": "create", "link": { "longUrl": "https://example.com/0", "customSlug": "a" } },
        { "op": "create", "link": { "longUrl": "https://example.com/1", "customSlug": "A", "domain": "b.example" } },
        { "op": "put", "code": "a", "domain": "b.example", "link": { "longUrl": "https://example.com/2" } },
        { "op": "put", "code": "p", "link": { "longUrl": "https://example.com/3", "domain": "b.example" } },
        { "op": "put", "code": "p", "domain": "DEFAULT", "link": { "longUrl": "https://example.com/3", "domain": "b.example" } },
        { "op": "edit", "code": "A", "domain": "b.example", "changes": { "title": "T" } },
        { "op": "delete", "code": "P", "domain": "b.example" },
        { "op": "delete", "code": "a", "domain": "c.example" },
        { "op": "create", "link": { "longUrl": "https://example.com/1", "domain": "c.example" } },
    ] });
    let answer = send(&client, Method::POST, "/api/v1/bulk", items).await.json();
    let statuses: Vec<u64> =
        answer["results"].as_array().unwrap().iter().map(|result| result["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [201, 201, 200, 201, 422, 200, 204, 404, 422], "{answer}");
    assert_eq!(answer["results"][2]["link"]["domain"], "b.example");
    assert_eq!(answer["results"][8]["problem"]["field"], "domain");
    assert_eq!(led_to(&client, "b.example", "/a").await, to("2"));
    assert_eq!(led_to(&client, "localhost", "/a").await, to("0"));
}

#[tokio::test]
async fn a_domain_says_where_visitors_go_who_find_nothing() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let settings = json!({
        "defaultStatus": 307, "baseUrl": "https://example.com/home", "unknownUrl": "https://example.com/unknown",
        "expiredUrl": "https://example.com/over",
    });
    let mut body = settings.clone();
    body["host"] = json!("b.example");
    let made = domain(&client, body).await;
    settings.as_object().unwrap().iter().for_each(|(name, value)| assert_eq!(&made[name], value, "{name}"));
    link(&client, json!({ "longUrl": "https://example.com/1", "customSlug": "plain", "domain": "b.example" })).await;
    let own = json!({
        "longUrl": "https://example.com/2", "customSlug": "own", "domain": "b.example", "redirectStatus": 302, "disabled": true,
        "expiredUrl": "https://example.com/own",
    });
    let own = link(&client, own).await;
    assert_eq!(own["redirectStatus"], 302);
    let over =
        json!({ "longUrl": "https://example.com/2", "customSlug": "over", "domain": "b.example", "disabled": true });
    assert_eq!(link(&client, over).await["redirectStatus"], 307);
    for _ in 0..2 {
        assert_eq!(led_to(&client, "b.example", "/plain").await, (307, to("1").1));
        assert_eq!(led_to(&client, "b.example", "/own").await, to("own"));
        assert_eq!(led_to(&client, "b.example", "/over").await, to("over"));
    }
    assert_eq!(
        send(&client, Method::PATCH, "/api/v1/links/own?domain=b.example", json!({ "disabled": false })).await.status,
        200
    );
    assert_eq!(led_to(&client, "b.example", "/own").await, to("2"));
    assert_eq!(led_to(&client, "b.example", "/nothing").await, to("unknown"));
    assert_eq!(led_to(&client, "b.example", "/").await, to("home"));
    assert_eq!(led_to(&client, "b.example", "/sitemap.xml").await.0, 404);
    for path in ["/", "/nothing", "/over"] {
        assert_eq!(led_to(&client, "localhost", path).await.0, 404, "{path}");
    }
    // The default domain has settings, too, and each can be cleared.
    let default = "/api/v1/domains/DEFAULT";
    for (name, value) in settings.as_object().unwrap() {
        let set = send(&client, Method::PATCH, default, json!({ name: value })).await;
        assert_eq!((set.status, &set.json()[name]), (200, value), "{name}");
    }
    assert_eq!(led_to(&client, "localhost", "/").await, to("home"));
    assert_eq!(led_to(&client, "localhost", "/nothing").await, to("unknown"));
    let code = client.shorten(json!({ "longUrl": "https://example.com/d" })).await.unwrap().text("shortCode");
    assert_eq!(led_to(&client, "localhost", &format!("/{code}")).await, (307, to("d").1));
    assert_eq!(led_to(&client, "localhost", &format!("/{code}")).await, (307, to("d").1));
    for path in [default, "/api/v1/domains/b.example"] {
        let clear = json!({ "defaultStatus": null, "baseUrl": null, "unknownUrl": null, "expiredUrl": null });
        let cleared = send(&client, Method::PATCH, path, clear).await.json();
        assert_eq!((&cleared["defaultStatus"], &cleared["baseUrl"]), (&json!(302), &Value::Null));
    }
    assert_eq!(led_to(&client, "localhost", &format!("/{code}")).await, to("d"));
    assert_eq!(led_to(&client, "b.example", "/").await.0, 404);
}

#[tokio::test]
async fn an_unknown_host_is_the_default_domain_unless_that_says_otherwise() {
    let (_dir, builder) = node_in_temp();
    let node = builder
        .env("WAYPOST_HTTP_PUBLIC_URL", "https://go.example")
        .env("WAYPOST_HTTP_TRUSTED_PROXIES", "127.0.0.0/8")
        .env("WAYPOST_ADMIN_KEY", "a-long-enough-key-for-the-tests")
        .start()
        .unwrap();
    let client = node.client().with_key("a-long-enough-key-for-the-tests");
    domain(&client, json!({ "host": "b.example" })).await;
    link(&client, json!({ "longUrl": "https://example.com/0", "customSlug": "a", "domain": "go.example" })).await;
    let made =
        link(&client, json!({ "longUrl": "https://example.com/1", "customSlug": "a", "domain": "b.example" })).await;
    assert_eq!(made["shortUrl"], "https://b.example/a");
    let taken = send(&client, Method::POST, "/api/v1/domains", json!({ "host": "go.example" })).await;
    assert_eq!((taken.status, taken.problem()), (409, "conflict".to_owned()));
    let forwarded = |host: &'static str| {
        let request = client.request(Method::GET, "/a").header("host", "inner").header("x-forwarded-host", host);
        client.send(request)
    };
    for host in ["stray.example", "go.example", "10.1.1.1"] {
        assert_eq!(led_to(&client, host, "/a").await, to("0"), "{host}");
    }
    let set = send(&client, Method::PATCH, "/api/v1/domains/DEFAULT", json!({ "unknownHost": "notFound" })).await;
    assert_eq!((set.status, set.text("unknownHost")), (200, "notFound".to_owned()));
    for _ in 0..2 {
        assert_eq!(led_to(&client, "go.example", "/a").await, to("0"));
        assert_eq!(led_to(&client, "b.example", "/a").await, to("1"));
        for host in ["stray.example", "10.1.1.1", "xb.example"] {
            for path in ["/a", "/a+", "/", "/nothing"] {
                assert_eq!(led_to(&client, host, path).await.0, 404, "{host} {path}");
            }
        }
        // What a trusted proxy reports counts.
        assert_eq!(forwarded("b.example").await.unwrap().header("location"), Some("https://example.com/1"));
        assert_eq!(forwarded("go.example").await.unwrap().header("location"), Some("https://example.com/0"));
        assert_eq!(forwarded("stray.example").await.unwrap().status, 404);
    }
    // The API is served at any host.
    let shown = client.request(Method::GET, "/api/v1/links/a").header("host", "stray.example");
    assert_eq!(client.send(shown).await.unwrap().status, 200);
    let only = send(&client, Method::PATCH, "/api/v1/domains/b.example", json!({ "unknownHost": "notFound" })).await;
    assert_eq!((only.status, only.text("field")), (422, "unknownHost".to_owned()));
}

#[tokio::test]
async fn a_removed_domain_answers_nothing_and_has_its_links_when_it_is_made_again() {
    let (_dir, mut node) = fresh_node();
    let client = node.client();
    domain(&client, json!({ "host": "b.example", "caseInsensitive": true, "baseUrl": "https://example.com/home" }))
        .await;
    link(&client, json!({ "longUrl": "https://example.com/0", "customSlug": "a" })).await;
    link(&client, json!({ "longUrl": "https://example.com/1", "customSlug": "a", "domain": "b.example" })).await;
    assert_eq!(led_to(&client, "b.example", "/a").await, to("1"));
    let path = "/api/v1/domains/b.example";
    assert_eq!(send(&client, Method::DELETE, path, Value::Null).await.status, 204);
    let gone = send(&client, Method::DELETE, path, Value::Null).await;
    assert_eq!((gone.status, gone.problem()), (404, "domain-not-found".to_owned()));
    // Not the links of the default domain: its visitors would be led astray.
    for at in ["/a", "/a+", "/"] {
        assert_eq!(led_to(&client, "b.example", at).await.0, 404, "{at}");
    }
    for method in [Method::GET, Method::DELETE] {
        let refused = send(&client, method, "/api/v1/links/a?domain=b.example", Value::Null).await;
        assert_eq!(refused.problem(), "domain-not-found");
    }
    let hosts = client.get("/api/v1/domains").await.unwrap().json();
    assert_eq!(hosts["domains"].as_array().unwrap().len(), 1, "{hosts}");
    node.terminate().unwrap();
    node.restart().unwrap();
    let client = node.client();
    assert_eq!(led_to(&client, "b.example", "/a").await.0, 404);
    let other = send(&client, Method::POST, "/api/v1/domains", json!({ "host": "b.example" })).await;
    assert_eq!((other.status, other.problem()), (409, "conflict".to_owned()));
    let again = domain(&client, json!({ "host": "b.example", "caseInsensitive": true })).await;
    assert_eq!(again["baseUrl"], Value::Null);
    assert_eq!(led_to(&client, "b.example", "/A").await, to("1"));
}

#[tokio::test]
async fn what_cannot_be_a_domain_is_refused_with_the_reason_and_nothing_leads_to_a_domain() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    for host in ["", "DEFAULT", "https://b.example", "b.example:80", "127.0.0.1", "a b", "b..example"] {
        let refused = send(&client, Method::POST, "/api/v1/domains", json!({ "host": host })).await;
        assert_eq!((refused.status, refused.text("field")), (422, "host".to_owned()), "{host}");
    }
    let made = |name: &str, value: Value| {
        send(&client, Method::POST, "/api/v1/domains", json!({ "host": "b.example", name: value }))
    };
    for (name, value, status) in [
        ("defaultStatus", json!(301), 422),
        ("defaultStatus", json!(200), 422),
        ("baseUrl", json!("ftp://example.com"), 422),
        ("unknownUrl", json!("http://b.example/x"), 422),
        ("expiredUrl", json!("https://B.example/"), 422),
        ("later", json!(1), 400),
    ] {
        let refused = made(name, value.clone()).await;
        assert_eq!(refused.status, status, "{name} {value}");
        assert!(status == 400 || refused.text("field") == name, "{}", String::from_utf8_lossy(&refused.body));
    }
    assert_eq!(client.get("/api/v1/domains/b.example").await.unwrap().problem(), "domain-not-found");
    let first = domain(&client, json!({ "host": "b.example", "baseUrl": "https://example.com/1" })).await;
    // The same again is no error, something else is.
    assert_eq!(domain(&client, json!({ "host": "b.example", "baseUrl": "https://example.com/1" })).await, first);
    assert_eq!(made("baseUrl", json!("https://example.com/2")).await.problem(), "conflict");
    assert_eq!(send(&client, Method::PATCH, "/api/v1/domains/b.example", json!({})).await.status, 400);
    assert_eq!(send(&client, Method::DELETE, "/api/v1/domains/DEFAULT", Value::Null).await.problem(), "conflict");
    for (at, url) in
        [("longUrl", "https://b.example/x"), ("longUrl", "http://B.example./x"), ("expiredUrl", "https://b.example/")]
    {
        let mut body = json!({ "longUrl": "https://example.com/" });
        body[at] = json!(url);
        let refused = client.shorten(body).await.unwrap();
        assert_eq!((refused.problem(), refused.text("field")), ("invalid-url".to_owned(), at.to_owned()), "{url}");
    }
    let elsewhere = json!({ "longUrl": "https://b.example:444/x" });
    assert_eq!(client.shorten(elsewhere).await.unwrap().status, 201, "another port is another server");
    let unknown = client.shorten(json!({ "longUrl": "https://example.com/", "domain": "c.example" })).await.unwrap();
    assert_eq!((unknown.status, unknown.text("field")), (422, "domain".to_owned()));
    for path in ["/api/v1/links/a", "/api/v1/links/a/qr", "/api/v1/links/a/stats", "/analytics/a"] {
        let refused = client.get(&format!("{path}?domain=c.example")).await.unwrap();
        assert_eq!((refused.status, refused.problem()), (404, "domain-not-found".to_owned()), "{path}");
    }
    // A mistyped parameter must not change the link of the default domain.
    link(&client, json!({ "longUrl": "https://example.com/0", "customSlug": "a" })).await;
    let mistyped = send(&client, Method::DELETE, "/api/v1/links/a?domian=b.example", Value::Null).await;
    assert_eq!(mistyped.status, 400);
    assert_eq!(client.get("/api/v1/links/a").await.unwrap().status, 200);
}

#[tokio::test]
async fn visits_and_orphan_visits_are_counted_by_domain() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    domain(&client, json!({ "host": "b.example", "caseInsensitive": true })).await;
    for (number, host) in [None, Some("b.example")].into_iter().enumerate() {
        link(&client, json!({ "longUrl": format!("https://example.com/{number}"), "customSlug": "a", "domain": host }))
            .await;
    }
    for (host, path, times) in [
        ("localhost", "/a", 2),
        ("b.example", "/A", 3),
        ("localhost", "/no", 1),
        ("b.example", "/no", 4),
        ("b.example", "/", 2),
    ] {
        for _ in 0..times {
            visit(&client, host, path).await;
        }
    }
    let since = Instant::now();
    let clicks = |query: &'static str| {
        let client = client.clone();
        async move { client.get(&format!("/analytics/a{query}")).await.unwrap().json()["totalClicks"].as_u64() }
    };
    let orphans = || async { client.get("/api/v1/stats/orphans").await.unwrap().json() };
    let visits = |answer: &Value, host: Value, path: &str| {
        let listed = answer["orphans"].as_array().unwrap().iter();
        let found = listed.clone().find(|orphan| orphan["domain"] == host && orphan["path"] == path);
        found.map_or(0, |orphan| orphan["visits"].as_u64().unwrap())
    };
    loop {
        let counted = (clicks("").await, clicks("?domain=b.example").await);
        let list = orphans().await;
        let seen = [(json!(null), "/no"), (json!("b.example"), "/no"), (json!("b.example"), "/")]
            .map(|(host, path)| visits(&list, host, path));
        if counted == (Some(2), Some(3)) && seen == [1, 4, 2] {
            break;
        }
        assert!(since.elapsed() < Duration::from_secs(60), "{counted:?} {seen:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let stats = client.get("/api/v1/links/A/stats?domain=b.example").await.unwrap().json();
    assert_eq!((&stats["totalClicks"], &stats["domain"]), (&json!(3), &json!("b.example")));
    let all = client.get("/api/v1/stats").await.unwrap().json();
    let top: Vec<(Value, Value)> =
        all["top"].as_array().unwrap().iter().map(|link| (link["domain"].clone(), link["clicks"].clone())).collect();
    assert_eq!(top, [(json!("b.example"), json!(3)), (Value::Null, json!(2))], "{all}");
    let reset = send(&client, Method::DELETE, "/api/v1/links/a/stats?domain=b.example", Value::Null).await;
    assert_eq!(reset.status, 204);
    assert_eq!((clicks("").await, clicks("?domain=b.example").await), (Some(2), Some(0)));
}

#[tokio::test]
async fn a_link_keeps_the_status_that_was_asked_for_when_the_default_of_its_domain_changes() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    domain(&client, json!({ "host": "b.example", "defaultStatus": 307 })).await;
    for (host, name, default, other) in [("localhost", "DEFAULT", 302, 307), ("b.example", "b.example", 307, 302)] {
        let body = |slug: &str, status: Option<u16>| json!({ "longUrl": "https://example.com/x", "customSlug": slug, "domain": name, "redirectStatus": status });
        link(&client, body("asks", Some(default))).await;
        link(&client, body("edited", None)).await;
        link(&client, body("plain", None)).await;
        let edit = json!({ "redirectStatus": default });
        let edited = send(&client, Method::PATCH, &format!("/api/v1/links/edited?domain={name}"), edit).await;
        assert_eq!((edited.status, edited.json()["redirectStatus"].as_u64()), (200, Some(default.into())));
        // With an idempotency key, this is the same request whatever the default is.
        let create = || {
            let request = client.request(Method::POST, "/api/v1/links").header("idempotency-key", format!("k-{name}"));
            client.send(request.json(&body("repeated", Some(default))))
        };
        assert_eq!(create().await.unwrap().status, 201);
        let change = json!({ "defaultStatus": other });
        assert_eq!(send(&client, Method::PATCH, &format!("/api/v1/domains/{name}"), change).await.status, 200);
        for _ in 0..2 {
            assert_eq!(led_to(&client, host, "/asks").await, (default, to("x").1), "{host}");
            assert_eq!(led_to(&client, host, "/edited").await, (default, to("x").1), "{host}");
            assert_eq!(led_to(&client, host, "/plain").await, (other, to("x").1), "{host}");
        }
        let again = create().await.unwrap();
        assert_eq!((again.status, again.json()["redirectStatus"].as_u64()), (201, Some(default.into())));
    }
}

#[tokio::test]
async fn the_own_host_is_known_in_every_spelling_where_other_hosts_are_refused() {
    let key = "a-long-enough-key-for-the-tests";
    for (public_url, own, others) in [
        (
            Some("https://Go.example"),
            &["go.example", "GO.example.", "go.example.:443", "go.example:80"][..],
            &["127.0.0.1", "localhost"][..],
        ),
        (Some("http://[::1]:8080"), &["[::1]", "[0:0::1]:8080"], &["127.0.0.1", "[::2]"]),
        (
            None,
            &["127.0.0.1", "10.1.1.1:80", "[::1]:80", "localhost", "LOCALHOST.:8080"],
            &["go.example", "1.example", "1.2.3.4.5", "x.localhost"],
        ),
    ] {
        let (_dir, mut builder) = node_in_temp();
        builder = builder.env("WAYPOST_ADMIN_KEY", key);
        if let Some(url) = public_url {
            builder = builder.env("WAYPOST_HTTP_PUBLIC_URL", url);
        }
        let node = builder.start().unwrap();
        let client = node.client().with_key(key);
        link(&client, json!({ "longUrl": "https://example.com/0", "customSlug": "a" })).await;
        let refuse = json!({ "unknownHost": "notFound" });
        assert_eq!(send(&client, Method::PATCH, "/api/v1/domains/DEFAULT", refuse).await.status, 200);
        for _ in 0..2 {
            for host in own {
                assert_eq!(led_to(&client, host, "/a").await, to("0"), "{public_url:?} {host}");
            }
            for host in others {
                assert_eq!(led_to(&client, host, "/a").await.0, 404, "{public_url:?} {host}");
            }
        }
    }
}

#[tokio::test]
async fn the_host_by_which_a_request_comes_is_no_domain_without_a_public_url_and_a_mistake_can_be_taken_back() {
    let (_dir, builder) = node_in_temp();
    let node = builder.env("WAYPOST_ADMIN_KEY", "a-long-enough-key-for-the-tests").start().unwrap();
    let client = node.client().with_key("a-long-enough-key-for-the-tests");
    link(&client, json!({ "longUrl": "https://example.com/0", "customSlug": "a" })).await;
    assert_eq!(led_to(&client, "go.example", "/a").await, to("0"));
    // Made through the host that clients use, all links of the default domain would be lost there.
    let make = client.request(Method::POST, "/api/v1/domains").header("host", "Go.example:80");
    let refused = client.send(make.json(&json!({ "host": "go.example" }))).await.unwrap();
    assert_eq!((refused.status, refused.problem()), (409, "conflict".to_owned()));
    assert!(refused.text("detail").contains("public_url"), "{}", refused.text("detail"));
    assert_eq!(led_to(&client, "go.example", "/a").await, to("0"));
    // Through another address nobody can tell.
    domain(&client, json!({ "host": "go.example" })).await;
    link(&client, json!({ "longUrl": "https://example.com/1", "customSlug": "b", "domain": "go.example" })).await;
    assert_eq!(led_to(&client, "go.example", "/a").await.0, 404);
    // The same request again is no error, whatever host it comes by.
    let again = client.request(Method::POST, "/api/v1/domains").header("host", "go.example");
    assert_eq!(client.send(again.json(&json!({ "host": "go.example" }))).await.unwrap().status, 201);
    // A short URL of the default domain never has the host of another one.
    let shown = client.request(Method::GET, "/api/v1/links/a").header("host", "go.example");
    let shown = client.send(shown).await.unwrap();
    assert_eq!(shown.text("shortUrl"), format!("http://{}/a", node.address()));
    let path = "/api/v1/domains/go.example?visitors=default";
    assert_eq!(send(&client, Method::DELETE, path, Value::Null).await.status, 204);
    assert_eq!(led_to(&client, "go.example", "/a").await, to("0"));
    assert_eq!(led_to(&client, "go.example", "/b").await.0, 404);
    assert_eq!(client.get("/api/v1/links/b?domain=go.example").await.unwrap().problem(), "domain-not-found");
    // The links are kept in this case, too.
    domain(&client, json!({ "host": "go.example" })).await;
    assert_eq!(led_to(&client, "go.example", "/b").await, to("1"));
    let wrong = send(&client, Method::DELETE, "/api/v1/domains/go.example?visitors=nobody", Value::Null).await;
    assert_eq!(wrong.status, 400);
    assert_eq!(send(&client, Method::DELETE, "/api/v1/domains/go.example", Value::Null).await.status, 204);
    assert_eq!(led_to(&client, "go.example", "/a").await.0, 404);
}
