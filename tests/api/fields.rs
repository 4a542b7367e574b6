//! The properties of a link besides its target: what they do, and how they are set, shown and cleared.

use reqwest::Method;
use serde_json::{Value, json};
use waypost_testkit::{Answer, Client};

use crate::fresh_node;

async fn edit(client: &Client, code: &str, body: Value) -> Answer {
    client.send(client.request(Method::PATCH, &format!("/api/v1/links/{code}")).json(&body)).await.unwrap()
}

async fn created(client: &Client, mut body: Value) -> String {
    body["longUrl"] = body.get("longUrl").cloned().unwrap_or_else(|| json!("https://example.com/a?b=1#c"));
    let answer = client.shorten(body).await.unwrap();
    assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    answer.text("shortCode")
}

#[tokio::test]
async fn a_link_shows_all_its_properties_and_each_can_be_set_and_cleared() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let code = created(&client, json!({})).await;
    let path = format!("/api/v1/links/{code}");
    let plain = client.get(&path).await.unwrap().json();
    let defaults = json!({
        "title": null, "tags": [], "note": null, "validSince": null, "maxVisits": null, "redirectStatus": 302,
        "forwardQuery": false, "forwardPath": false, "expiredUrl": null, "crawlable": false, "disabled": false,
    });
    let given = json!({
        "title": "A \u{201c}title\u{201d}", "tags": ["Spring", "print"], "note": "line one\nline two",
        "validSince": "2020-01-01T00:00:00.000Z", "maxVisits": 1000, "redirectStatus": 307, "forwardQuery": true,
        "forwardPath": true, "expiredUrl": "https://example.com/over", "crawlable": true, "disabled": true,
    });
    for (name, value) in defaults.as_object().unwrap() {
        assert_eq!(&plain[name], value, "{name}");
        let set = edit(&client, &code, json!({ name: given[name] })).await;
        assert_eq!((set.status, &set.json()[name]), (200, &given[name]), "{name}");
        assert_eq!(client.get(&path).await.unwrap().json()[name], given[name], "{name}");
    }
    let all = client.get(&path).await.unwrap().json();
    for (name, value) in given.as_object().unwrap() {
        assert_eq!(&all[name], value, "{name} stays when others are changed");
        assert_eq!(edit(&client, &code, json!({ name: null })).await.status, 200);
    }
    let cleared = client.get(&path).await.unwrap().json();
    defaults.as_object().unwrap().iter().for_each(|(name, value)| assert_eq!(&cleared[name], value, "{name}"));
    // The same with a create.
    let mut body = given.clone();
    body["longUrl"] = json!("https://example.com/whole");
    let whole = client.shorten(body).await.unwrap().json();
    given.as_object().unwrap().iter().for_each(|(name, value)| assert_eq!(&whole[name], value, "{name}"));
    assert_eq!(whole["visits"], json!({ "total": 0, "people": 0, "bots": 0 }));
}

#[tokio::test]
async fn a_property_out_of_its_limits_is_refused_by_name_and_nothing_is_changed() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let code = created(&client, json!({ "title": "before" })).await;
    let many: Vec<String> = (0..33).map(|number| number.to_string()).collect();
    assert_eq!(edit(&client, &code, json!({ "title": "after", "longUrl": null })).await.json()["field"], "longUrl");
    for (name, value) in [
        ("title", json!("x".repeat(513))),
        ("title", json!("two\nlines")),
        ("note", json!("x".repeat(4097))),
        ("tags", json!(many)),
        ("tags", json!(["a", ""])),
        ("tags", json!(["a,b"])),
        ("validSince", json!("tomorrow")),
        ("redirectStatus", json!(303)),
        ("expiredUrl", json!("javascript:alert(1)")),
    ] {
        let answer = edit(&client, &code, json!({ "title": "after", name: value })).await;
        assert_eq!((answer.status, answer.json()["field"].as_str()), (422, Some(name)), "{name} {value}");
        let mut body = json!({ "longUrl": "https://example.com/" });
        body[name] = value;
        assert_eq!(client.shorten(body).await.unwrap().status, 422, "{name}");
    }
    let late = json!({ "longUrl": "https://example.com/", "validSince": "2031-01-01T00:00:00Z", "validUntil": "2030-01-01T00:00:00Z" });
    assert_eq!(client.shorten(late).await.unwrap().json()["field"], "validSince");
    assert_eq!(client.get(&format!("/api/v1/links/{code}")).await.unwrap().json()["title"], "before");
}

#[tokio::test]
async fn a_link_that_has_not_begun_or_is_disabled_says_so_until_that_is_changed() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let code = created(&client, json!({ "validSince": "2100-01-01T00:00:00Z" })).await;
    let visit = || async { client.get(&format!("/{code}")).await.unwrap() };
    // The first is read from the store, the second from the cache.
    for _ in 0..2 {
        let answer = visit().await;
        assert_eq!((answer.status, answer.problem()), (404, "link-not-yet-valid".to_owned()));
    }
    let state = || async { client.get(&format!("/api/v1/links/{code}")).await.unwrap().text("state") };
    assert_eq!(state().await, "notYet");
    assert_eq!(edit(&client, &code, json!({ "validSince": null, "disabled": true })).await.status, 200);
    for _ in 0..2 {
        let answer = visit().await;
        assert_eq!((answer.status, answer.problem()), (410, "link-disabled".to_owned()));
    }
    assert_eq!(state().await, "disabled");
    assert_eq!(edit(&client, &code, json!({ "expiredUrl": "https://example.com/over" })).await.status, 200);
    for _ in 0..2 {
        let answer = visit().await;
        assert_eq!((answer.status, answer.header("location")), (302, Some("https://example.com/over")));
    }
    assert_eq!(edit(&client, &code, json!({ "disabled": false })).await.status, 200);
    for _ in 0..2 {
        assert_eq!(visit().await.header("location"), Some("https://example.com/a?b=1#c"));
    }
    let told = client.get(&format!("/api/v1/links/{code}")).await.unwrap();
    let people_and_bots = &told.json()["visits"];
    assert_eq!(
        people_and_bots["total"],
        json!(people_and_bots["people"].as_u64().unwrap() + people_and_bots["bots"].as_u64().unwrap())
    );
}

#[tokio::test]
async fn a_permanent_redirect_may_be_kept_for_a_while_and_others_not() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    for (status, cache) in [
        (301, "private, max-age=3600"),
        (302, "private, no-store"),
        (307, "private, no-store"),
        (308, "private, max-age=3600"),
    ] {
        let code = created(&client, json!({ "redirectStatus": status })).await;
        for method in [Method::GET, Method::GET, Method::HEAD] {
            let answer = client.send(client.request(method, &format!("/{code}"))).await.unwrap();
            assert_eq!((answer.status, answer.header("cache-control")), (status, Some(cache)));
            assert_eq!(answer.header("location"), Some("https://example.com/a?b=1#c"));
        }
    }
}

#[tokio::test]
async fn query_and_path_are_forwarded_only_by_links_that_ask_for_it() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let plain = created(&client, json!({})).await;
    let both = created(&client, json!({ "forwardQuery": true, "forwardPath": true })).await;
    let to = |path: String| {
        let client = client.clone();
        async move {
            let answer = client.get(&path).await.unwrap();
            (answer.status, answer.header("location").unwrap_or_default().to_owned())
        }
    };
    for _ in 0..2 {
        assert_eq!(to(format!("/{plain}?x=2")).await, (302, "https://example.com/a?b=1#c".to_owned()));
        assert_eq!(to(format!("/{plain}/more")).await.0, 404);
        assert_eq!(to(format!("/{both}?x=2")).await, (302, "https://example.com/a?b=1&x=2#c".to_owned()));
        assert_eq!(to(format!("/{both}?b=2")).await, (302, "https://example.com/a?b=2#c".to_owned()));
        let below = to(format!("/{both}/more/%41/../x?b=2")).await;
        assert!(below.1.starts_with("https://example.com/a/"), "{below:?}");
        assert_eq!(to(format!("/{both}/more/%41?b=2")).await, (302, "https://example.com/a/more/%41?b=2#c".to_owned()));
        assert_eq!(
            to(format!("/{both}//evil.example")).await,
            (302, "https://example.com/a//evil.example?b=1#c".to_owned())
        );
    }
    // Also a path without a letter or a digit of ASCII; what is typed by mistake stays ignored by plain links.
    let japanese = "/%E6%97%A5%E6%9C%AC";
    assert_eq!(to(format!("/{both}{japanese}")).await.1, format!("https://example.com/a{japanese}?b=1#c"));
    for typed in ["/", "/)", "/%E2%80%9D"] {
        assert_eq!(to(format!("/{plain}{typed}")).await, (302, "https://example.com/a?b=1#c".to_owned()), "{typed}");
    }
    assert_eq!(to(format!("/{both}/")).await, (302, "https://example.com/a?b=1#c".to_owned()));
    assert_eq!(to("/neverwas/more".to_owned()).await.0, 404);
}
