//! What the owner of a link is told.

use reqwest::Method;
use serde_json::{Value, json};
use waypost_testkit::Client;

use super::{settled_sum, sum};
use crate::fresh_node;

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0";
const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1";
const GOOGLEBOT: &str = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";

async fn visit(client: &Client, code: &str, headers: &[(&str, &str)]) {
    let request = headers
        .iter()
        .fold(client.request(Method::GET, &format!("/{code}")), |request, (name, value)| request.header(*name, *value));
    assert_eq!(client.send(request).await.unwrap().status, 302);
}

async fn report(client: &Client, path: &str) -> Value {
    let answer = client.get(path).await.unwrap();
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    answer.json()
}

/// Five visits of people to `one`, three of bots, and two of people to `two`.
async fn visited(client: &Client) {
    for code in ["one", "two"] {
        let made = client.shorten(json!({ "longUrl": "https://example.com/", "customSlug": code })).await.unwrap();
        assert_eq!(made.status, 201);
    }
    for _ in 0..3 {
        let referrer = ("referer", "https://www.news.example/today");
        visit(client, "one", &[("user-agent", FIREFOX), referrer, ("accept-language", "de-CH")]).await;
        visit(client, "one", &[("user-agent", GOOGLEBOT)]).await;
    }
    for _ in 0..2 {
        visit(client, "one", &[("user-agent", IPHONE), ("accept-language", "fr")]).await;
        visit(client, "two", &[("user-agent", IPHONE)]).await;
    }
    visit(client, "two", &[("user-agent", FIREFOX), ("sec-purpose", "prefetch")]).await;
    settled_sum(client, 11).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn visits_are_told_by_time_and_by_what_they_have_in_common() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    visited(&client).await;
    let all = "country,city,referrer,browser,os,device,language";
    let one = report(&client, &format!("/api/v1/links/one/stats?by={all}")).await;
    assert_eq!((&one["clicks"], &one["botClicks"], &one["uniqueVisitors"]), (&json!(5), &json!(3), &json!(2)));
    let by = |dimension: &str| one["by"][dimension].clone();
    assert_eq!(by("browser"), json!([{ "value": "Firefox", "clicks": 3 }, { "value": "Safari", "clicks": 2 }]));
    assert_eq!(by("os"), json!([{ "value": "Linux", "clicks": 3 }, { "value": "iOS", "clicks": 2 }]));
    assert_eq!(by("device"), json!([{ "value": "Desktop", "clicks": 3 }, { "value": "Mobile", "clicks": 2 }]));
    assert_eq!(by("language"), json!([{ "value": "de", "clicks": 3 }, { "value": "fr", "clicks": 2 }]));
    assert_eq!(by("referrer"), json!([{ "value": "news.example", "clicks": 3 }, { "value": null, "clicks": 2 }]));
    assert_eq!(by("country"), json!([{ "value": null, "clicks": 5 }]), "there is no database of places");
    let series = |report: &Value| -> u64 {
        report["series"].as_array().unwrap().iter().map(|point| point["clicks"].as_u64().unwrap()).sum()
    };
    assert_eq!((one["series"].as_array().unwrap().len(), series(&one)), (30, 5));
    for question in ["interval=hour", "interval=month", "tz=Asia/Kathmandu", "tz=Pacific/Apia&interval=hour"] {
        let told = report(&client, &format!("/api/v1/links/one/stats?{question}")).await;
        assert_eq!((series(&told), &told["clicks"]), (5, &json!(5)), "{question}");
    }
    let bots = report(&client, "/api/v1/links/one/stats?bots=only&by=browser").await;
    assert_eq!(bots["by"]["browser"], json!([{ "value": "search engine", "clicks": 3 }]));
    assert_eq!(series(&report(&client, "/api/v1/links/one/stats?bots=include").await), 8);
    let every = report(&client, "/api/v1/stats?by=device").await;
    assert_eq!((&every["clicks"], &every["botClicks"], &every["totalClicks"]), (&json!(7), &json!(4), &json!(7)));
    assert_eq!(
        every["top"],
        json!([{ "shortCode": "one", "domain": null, "clicks": 5 }, { "shortCode": "two", "domain": null, "clicks": 2 }])
    );
    let simple = report(&client, "/analytics/one").await;
    assert_eq!((&simple["totalClicks"], &simple["botClicks"]), (&json!(5), &json!(3)));
    assert_eq!(simple["last30Days"], json!({ "clicks": 5, "uniqueVisitors": 2 }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statistics_come_as_a_table_that_no_spreadsheet_runs() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    visited(&client).await;
    visit(&client, "one", &[("referer", "https://-evil.example/")]).await;
    settled_sum(&client, 12).await;
    let csv = async |path: &str| {
        let answer = client.send(client.request(Method::GET, path).header("accept", "text/csv")).await.unwrap();
        assert_eq!(answer.header("content-type"), Some("text/csv; charset=utf-8"));
        String::from_utf8(answer.body).unwrap()
    };
    let values = csv("/api/v1/links/one/stats?by=referrer").await;
    assert_eq!(values, "dimension,value,clicks\nreferrer,news.example,3\nreferrer,,2\nreferrer,'-evil.example,1\n");
    let series = csv("/api/v1/stats").await;
    assert!(series.starts_with("time,clicks\n") && series.trim_end().ends_with(",8"), "{series}");
    assert!(csv("/api/v1/stats/orphans").await.starts_with("path,visits,last,domain\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_parameter_holds_for_each_part_of_an_answer() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    visited(&client).await;
    // One more, which only bots have visited.
    client.shorten(json!({ "longUrl": "https://example.com/", "customSlug": "bots" })).await.unwrap();
    for _ in 0..4 {
        visit(&client, "bots", &[("user-agent", GOOGLEBOT)]).await;
    }
    settled_sum(&client, 15).await;
    let top = |counts: &[(&str, u64)]| -> Value {
        counts.iter().map(|(code, clicks)| json!({ "shortCode": code, "domain": null, "clicks": clicks })).collect()
    };
    for (bots, clicks, uniques, links) in [
        ("exclude", 7, json!(2), top(&[("one", 5), ("two", 2)])),
        ("include", 15, json!(2), top(&[("one", 8), ("bots", 4), ("two", 3)])),
        ("only", 8, json!(null), top(&[("bots", 4), ("one", 3), ("two", 1)])),
    ] {
        let told = report(&client, &format!("/api/v1/stats?bots={bots}&by=browser")).await;
        let sum =
            |list: &Value| list.as_array().unwrap().iter().map(|one| one["clicks"].as_u64().unwrap()).sum::<u64>();
        assert_eq!(
            (told["clicks"].as_u64(), &told["uniqueVisitors"], &told["top"]),
            (Some(clicks), &uniques, &links),
            "{bots}"
        );
        assert_eq!(
            (sum(&told["series"]), sum(&told["by"]["browser"]), told["totalClicks"].as_u64()),
            (clicks, clicks, Some(clicks))
        );
    }
    let day =
        |days: i64| (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * days)).strftime("%F").to_string();
    for (from, to) in [(day(1), day(2)), (day(-9), day(-3))] {
        let told = report(&client, &format!("/api/v1/stats?from={from}&to={to}&bots=include&by=os")).await;
        assert_eq!(
            (&told["clicks"], &told["top"], &told["uniqueVisitors"], &told["by"]["os"]),
            (&json!(0), &json!([]), &json!(0), &json!([]))
        );
    }
    let zoned = format!("/api/v1/stats?from={}T00:00:00+01:00&to={}", day(-1), day(0));
    assert_eq!(report(&client, &zoned).await["clicks"], 7, "a plus that is not escaped");
    let half = report(&client, &format!("/api/v1/stats?from={}T10:00:00Z", day(-1))).await;
    assert_eq!(half["wholeDays"]["from"], format!("{}T00:00:00Z", day(-1)));
    // What has no parameters takes none, above all not for less than it then forgets.
    for path in [
        "/api/v1/stats/orphans?from=2026-11-01",
        "/api/v1/stats/live?bots=only",
        "/api/v1/links/one/stats/live?bots=only",
    ] {
        assert_eq!(client.get(path).await.unwrap().status, 400, "{path}");
    }
    let part = client.request(Method::DELETE, "/api/v1/links/one/stats?to=2020-01-01");
    assert_eq!(client.send(part).await.unwrap().status, 400);
    assert_eq!(report(&client, "/api/v1/links/one/stats").await["clicks"], 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_names_no_browser_or_only_looks_ahead_is_no_person() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let code = client.create("https://example.com/").await.unwrap();
    let phone = "Mozilla/5.0 (Linux; Android 9; CUBOT_X18_Plus) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/116.0.0.0 Mobile Safari/537.36";
    for headers in [
        vec![("user-agent", "")],
        vec![("user-agent", FIREFOX), ("purpose", "preview")],
        vec![("user-agent", FIREFOX), ("x-purpose", "preview")],
        vec![("user-agent", FIREFOX), ("x-moz", "prefetch")],
        vec![("user-agent", FIREFOX), ("sec-purpose", "prefetch;prerender")],
        vec![("user-agent", phone)],
    ] {
        visit(&client, &code, &headers).await;
    }
    let nameless =
        client.raw(format!("GET /{code} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
    assert!(nameless.starts_with("HTTP/1.1 302"), "{nameless}");
    settled_sum(&client, 7).await;
    let told = report(&client, &format!("/analytics/{code}")).await;
    assert_eq!((&told["totalClicks"], &told["botClicks"]), (&json!(1), &json!(6)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleting_and_resetting_forget_everything() {
    let (_dir, mut node) = fresh_node();
    let client = node.client();
    visited(&client).await;
    assert_eq!(client.send(client.request(Method::DELETE, "/api/v1/links/one/stats")).await.unwrap().status, 204);
    assert_eq!(client.send(client.request(Method::DELETE, "/api/v1/links/two")).await.unwrap().status, 204);
    let again = json!({ "longUrl": "https://example.com/new", "customSlug": "two" });
    assert_eq!(client.shorten(again).await.unwrap().status, 201);
    node.terminate().unwrap();
    node.restart().unwrap();
    let client = node.client();
    for code in ["one", "two"] {
        let report = report(&client, &format!("/api/v1/links/{code}/stats?bots=include&by=browser")).await;
        assert_eq!(
            (&report["clicks"], &report["totalClicks"], &report["uniqueVisitors"]),
            (&json!(0), &json!(0), &json!(0))
        );
        assert_eq!(report["by"]["browser"], json!([]));
    }
    // The sum of all links goes on: visits of links that are no more are in it, and in no other figure.
    visit(&client, "two", &[("user-agent", FIREFOX)]).await;
    assert_eq!(settled_sum(&client, 12).await, 12);
    assert_eq!(report(&client, "/api/v1/links/two/stats").await["clicks"], 1);
    let all = report(&client, "/api/v1/stats?bots=include").await;
    assert_eq!(
        (&all["clicks"], &all["top"]),
        (&json!(12), &json!([{ "shortCode": "two", "domain": null, "clicks": 1 }]))
    );
    assert_eq!(client.send(client.request(Method::DELETE, "/api/v1/links/none/stats")).await.unwrap().status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statistics_are_the_same_after_a_restart_and_on_demand_of_nobody_without_the_key() {
    let (_dir, builder) = crate::node_in_temp();
    let key = "0123456789abcdef0123456789";
    let mut node = builder.env("WAYPOST_ADMIN_KEY", key).start().unwrap();
    visited(&node.client().with_key(key)).await;
    let path = "/api/v1/links/one/stats?by=browser,referrer,language";
    let before = report(&node.client().with_key(key), path).await;
    node.terminate().unwrap();
    node.restart().unwrap();
    let client = node.client().with_key(key);
    assert_eq!(report(&client, path).await, before);
    assert_eq!(sum(&client).await, 11);
    for path in [path, "/api/v1/stats", "/api/v1/stats/orphans", "/api/v1/stats/live", "/api/v1/links/one/stats/live"] {
        assert_eq!(node.client().get(path).await.unwrap().status, 401, "{path}");
    }
    assert_eq!(node.client().get("/analytics/one").await.unwrap().status, 200);
}

#[tokio::test]
async fn nonsense_is_refused_and_says_why() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    client.shorten(json!({ "longUrl": "https://example.com/", "customSlug": "one" })).await.unwrap();
    for (question, part) in [
        ("from=yesterday", "is not a valid time"),
        ("from=2026-11-22&to=2026-11-21", "has to be before"),
        ("by=colour", "is none of country"),
        ("tz=Nowhere", "is not a time zone"),
        ("from=2020-01-01&interval=hour", "longer interval"),
    ] {
        let answer = client.get(&format!("/api/v1/links/one/stats?{question}")).await.unwrap();
        assert_eq!(answer.status, 422, "{question}");
        assert!(answer.text("detail").contains(part), "{question}: {}", answer.text("detail"));
    }
    for question in ["interval=week", "bots=some", "form=2026-11-21"] {
        let answer = client.get(&format!("/api/v1/links/one/stats?{question}")).await.unwrap();
        assert_eq!((answer.status, answer.problem()), (400, "malformed-request".to_owned()), "{question}");
    }
    assert_eq!(client.get("/api/v1/links/none/stats").await.unwrap().status, 404);
    assert_eq!(client.get("/api/v1/links/none/stats/live").await.unwrap().status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_stream_tells_of_clicks_as_they_come_and_does_not_hold_up_a_stop() {
    let (_dir, mut node) = fresh_node();
    let client = node.client();
    client.shorten(json!({ "longUrl": "https://example.com/", "customSlug": "one" })).await.unwrap();
    let address = node.address();
    let heard = tokio::task::spawn_blocking(move || {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
        write!(stream, "GET /api/v1/links/one/stats/live HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut heard = String::new();
        let mut buffer = [0; 4096];
        while !heard.contains("\"totalClicks\":3") {
            let read = stream.read(&mut buffer).unwrap();
            assert!(read > 0, "{heard}");
            heard.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
        (heard, stream)
    });
    for _ in 0..3 {
        visit(&client, "one", &[("user-agent", FIREFOX)]).await;
    }
    let (heard, _open) = heard.await.unwrap();
    assert!(heard.contains("content-type: text/event-stream") && heard.contains("event: clicks"), "{heard}");
    assert_eq!(node.terminate().unwrap().code(), Some(0));
}
