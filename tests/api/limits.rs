//! Links for a limited number of visits.

use reqwest::Method;
use serde_json::{Value, json};
use waypost_testkit::{Answer, Client, NodeBuilder};

use crate::{PROGRAM, fresh_node};

async fn edit(client: &Client, code: &str, body: Value) -> Answer {
    client.send(client.request(Method::PATCH, &format!("/api/v1/links/{code}")).json(&body)).await.unwrap()
}

async fn created(client: &Client, body: Value) -> String {
    let answer = client.shorten(body).await.unwrap();
    assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    answer.text("shortCode")
}

async fn shown(client: &Client, code: &str) -> (String, Value, Value) {
    let link = client.get(&format!("/api/v1/links/{code}")).await.unwrap().json();
    (link["state"].as_str().unwrap().to_owned(), link["maxVisits"].clone(), link["visitsLeft"].clone())
}

#[tokio::test]
async fn a_limited_link_answers_410_after_its_last_visitor_until_the_limit_is_raised_or_removed() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let code = created(&client, json!({ "longUrl": "https://example.com/", "maxVisits": 2 })).await;
    let visit = || async { client.get(&format!("/{code}")).await.unwrap() };
    assert_eq!(shown(&client, &code).await, ("active".to_owned(), json!(2), json!(2)));
    for left in [1, 0] {
        let answer = visit().await;
        let headers = (answer.header("location"), answer.header("cache-control"));
        assert_eq!((answer.status, headers), (302, (Some("https://example.com/"), Some("private, no-store"))));
        assert_eq!(shown(&client, &code).await.2, json!(left));
    }
    for _ in 0..2 {
        let answer = visit().await;
        assert_eq!((answer.status, answer.problem().as_str()), (410, "link-exhausted"));
    }
    assert_eq!(shown(&client, &code).await, ("exhausted".to_owned(), json!(2), json!(0)));
    assert_eq!(client.get(&format!("/analytics/{code}")).await.unwrap().text("state"), "exhausted");
    let preview = client.get(&format!("/{code}+")).await.unwrap();
    assert_eq!((preview.status, preview.problem().as_str()), (410, "link-exhausted"));
    let page = client.request(Method::GET, &format!("/{code}")).header("accept", "text/html");
    let page = client.send(page.header("accept-language", "de")).await.unwrap();
    let html = String::from_utf8(page.body.clone()).unwrap();
    assert!(page.status == 410 && html.contains("Der Link ist aufgebraucht"), "{html}");

    let instead = edit(&client, &code, json!({ "expiredUrl": "https://example.com/over" })).await.json();
    assert_eq!((&instead["state"], &instead["visitsLeft"]), (&json!("exhausted"), &json!(0)));
    assert_eq!(visit().await.header("location"), Some("https://example.com/over"));
    assert_eq!(edit(&client, &code, json!({ "maxVisits": 3 })).await.json()["visitsLeft"], 1);
    let to = |answer: Answer| answer.header("location").unwrap_or_default().to_owned();
    assert_eq!(to(visit().await), "https://example.com/");
    assert_eq!(to(visit().await), "https://example.com/over");
    let cleared = edit(&client, &code, json!({ "maxVisits": null })).await.json();
    assert_eq!(
        (&cleared["maxVisits"], &cleared["visitsLeft"], &cleared["state"]),
        (&Value::Null, &Value::Null, &json!("active"))
    );
    for _ in 0..5 {
        assert_eq!(to(visit().await), "https://example.com/");
    }
}

#[tokio::test]
async fn only_people_who_follow_a_limited_link_use_it_up() {
    let dir = tempfile::tempdir().unwrap();
    let builder = NodeBuilder::new(PROGRAM, dir.path().join("data"));
    let builder = builder.env("WAYPOST_CLICKS_RESPECT_DO_NOT_TRACK", "true");
    let node = builder.env("WAYPOST_CLICKS_NO_TRACK_PARAMETER", "no-track").start().unwrap();
    let client = node.client();
    let code = created(&client, json!({ "longUrl": "https://example.com/", "maxVisits": 1 })).await;
    let path = format!("/{code}");
    let others = || {
        let get = || client.request(Method::GET, &path);
        [
            client.request(Method::HEAD, &path),
            get().header("user-agent", "Googlebot/2.1 (+http://www.google.com/bot.html)"),
            get().header("user-agent", ""),
            get().header("sec-purpose", "prefetch;prerender"),
            get().header("x-purpose", "preview"),
        ]
    };
    for request in others() {
        assert_eq!(client.send(request).await.unwrap().status, 302);
    }
    assert_eq!(client.get(&format!("{path}+")).await.unwrap().status, 200);
    assert_eq!(shown(&client, &code).await.2, json!(1));
    // Who is not to be counted does use it up: otherwise everybody could visit it as often as they like.
    let untold = client.request(Method::GET, &format!("{path}?no-track")).header("dnt", "1");
    assert_eq!(client.send(untold).await.unwrap().status, 302);
    assert_eq!(shown(&client, &code).await.2, json!(0));
    for request in others() {
        assert_eq!(client.send(request).await.unwrap().status, 410);
    }
}

#[tokio::test]
async fn a_limit_is_a_whole_number_and_excludes_a_permanent_redirect_also_in_an_edit_of_one_of_them() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let url = "https://example.com/";
    for limit in [json!(0), json!(1_000_000_001)] {
        let refused = client.shorten(json!({ "longUrl": url, "maxVisits": limit })).await.unwrap();
        assert_eq!((refused.status, refused.text("field").as_str()), (422, "maxVisits"), "{limit}");
    }
    for limit in [json!(-1), json!(1.5), json!("2")] {
        assert_eq!(client.shorten(json!({ "longUrl": url, "maxVisits": limit })).await.unwrap().status, 400);
    }
    let both = json!({ "longUrl": url, "maxVisits": 1, "redirectStatus": 301 });
    let put = client.send(client.request(Method::PUT, "/api/v1/links/both").json(&both)).await.unwrap();
    for refused in [client.shorten(both).await.unwrap(), put] {
        assert_eq!((refused.status, refused.text("field").as_str()), (422, "maxVisits"));
    }
    let limited = created(&client, json!({ "longUrl": url, "maxVisits": 1 })).await;
    let permanent = created(&client, json!({ "longUrl": url, "redirectStatus": 308 })).await;
    for (code, body) in [(&limited, json!({ "redirectStatus": 301 })), (&permanent, json!({ "maxVisits": 1 }))] {
        let refused = edit(&client, code, body).await;
        assert_eq!((refused.status, refused.text("field").as_str()), (422, "maxVisits"));
    }
    assert_eq!(edit(&client, &permanent, json!({ "maxVisits": 1, "redirectStatus": 307 })).await.status, 200);
}

#[tokio::test]
async fn an_edit_of_the_begin_or_the_end_alone_is_checked_against_the_other_one() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let body = json!({ "longUrl": "https://example.com/", "validSince": "2030-01-01T00:00:00Z", "validUntil": "2031-01-01T00:00:00Z" });
    let code = created(&client, body).await;
    for body in [json!({ "validSince": "2031-01-01T00:00:00Z" }), json!({ "validUntil": "2029-01-01T00:00:00Z" })] {
        let refused = edit(&client, &code, body.clone()).await;
        assert_eq!((refused.status, refused.text("field").as_str()), (422, "validSince"), "{body}");
    }
    assert_eq!(edit(&client, &code, json!({ "validSince": "2030-06-01T00:00:00Z" })).await.status, 200);
    assert_eq!(
        edit(&client, &code, json!({ "validUntil": null, "validSince": "2040-01-01T00:00:00Z" })).await.status,
        200
    );
}
