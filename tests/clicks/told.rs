//! Where visits come from, with a database of places, and who asked not to be counted.

use reqwest::Method;
use serde_json::{Value, json};
use waypost_testkit::write_places;

use super::settled_sum;
use crate::node_in_temp;

const KEY: &str = "0123456789abcdef0123456789";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn country_and_city_come_from_the_operators_database_which_is_read_again_when_it_changes() {
    let (dir, builder) = node_in_temp();
    let database = dir.path().join("places.mmdb");
    let berlin = ([203, 0, 113, 0].into(), 24, "DE", "Berlin");
    write_places(&database, &[berlin, ([198, 51, 100, 0].into(), 24, "FR", "Paris")]).unwrap();
    let node = builder
        .env("WAYPOST_CLICKS_GEO_DATABASE", &database.display().to_string())
        .env("WAYPOST_HTTP_TRUSTED_PROXIES", "127.0.0.0/8")
        .env("WAYPOST_ADMIN_KEY", KEY)
        .start()
        .unwrap();
    let client = node.client().with_key(KEY);
    let code = client.create("https://example.com/").await.unwrap();
    let visit = async |from: &str| {
        let request = client.request(Method::GET, &format!("/{code}")).header("x-forwarded-for", from);
        assert_eq!(client.send(request).await.unwrap().status, 302);
    };
    for address in ["203.0.113.1", "203.0.113.1", "203.0.113.200", "198.51.100.9", "192.0.2.1"] {
        visit(address).await;
    }
    settled_sum(&client, 5).await;
    let told = async || -> Value {
        client.get(&format!("/api/v1/links/{code}/stats?by=country,city")).await.unwrap().json()["by"].clone()
    };
    let expected = json!({
        "country": [{ "value": "DE", "clicks": 3 }, { "value": null, "clicks": 1 }, { "value": "FR", "clicks": 1 }],
        "city": [{ "value": "Berlin", "clicks": 3 }, { "value": null, "clicks": 1 }, { "value": "Paris", "clicks": 1 }],
    });
    assert_eq!(told().await, expected);
    // Another month, another database; one that is broken changes nothing.
    std::fs::write(dir.path().join("broken"), "no database").unwrap();
    std::fs::rename(dir.path().join("broken"), &database).unwrap();
    visit("203.0.113.1").await;
    write_places(&database, &[([203, 0, 113, 0].into(), 25, "AT", "Wien")]).unwrap();
    let since = std::time::Instant::now();
    while !told().await["country"].as_array().unwrap().iter().any(|value| value["value"] == "AT") {
        assert!(since.elapsed().as_secs() < 60, "the new database is not read");
        visit("203.0.113.1").await;
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_not_to_be_tracked_is_heard_where_that_is_configured() {
    let (_dir, builder) = node_in_temp();
    let node = builder
        .env("WAYPOST_CLICKS_RESPECT_DO_NOT_TRACK", "true")
        .env("WAYPOST_CLICKS_NO_TRACK_PARAMETER", "no-track")
        .env("WAYPOST_CLICKS_EXCLUDED_NETWORKS", "203.0.113.0/24")
        .env("WAYPOST_HTTP_TRUSTED_PROXIES", "127.0.0.1")
        .env("WAYPOST_ADMIN_KEY", KEY)
        .start()
        .unwrap();
    let client = node.client().with_key(KEY);
    let code = client.create("https://example.com/").await.unwrap();
    let agent = ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0");
    for (path, headers) in [
        ("", vec![agent]),
        ("", vec![agent, ("dnt", "1")]),
        ("", vec![agent, ("sec-gpc", "1")]),
        ("?no-track", vec![agent]),
        ("", vec![agent, ("x-forwarded-for", "203.0.113.5")]),
    ] {
        let request = client.request(Method::GET, &format!("/{code}{path}"));
        let request = headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        assert_eq!(client.send(request).await.unwrap().status, 302);
    }
    assert_eq!(settled_sum(&client, 3).await, 3);
    let told = client.get(&format!("/api/v1/links/{code}/stats?by=browser")).await.unwrap().json();
    assert_eq!((&told["clicks"], &told["uniqueVisitors"]), (&json!(3), &json!(1)));
    assert_eq!(told["by"]["browser"], json!([{ "value": null, "clicks": 2 }, { "value": "Firefox", "clicks": 1 }]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_counted_when_recording_is_off() {
    let (_dir, builder) = node_in_temp();
    let node = builder.env("WAYPOST_CLICKS_RECORD", "false").start().unwrap();
    let client = node.client();
    let code = client.create("https://example.com/").await.unwrap();
    for _ in 0..20 {
        assert!(client.follow(&code).await.unwrap().is_some());
    }
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(super::sum(&client).await, 0);
}
