//! Visitors who try to break the statistics, or to be read back from them.

use std::path::Path;

use reqwest::Method;
use serde_json::json;
use waypost_testkit::Faults;

use super::{settled_sum, sum};
use crate::{fresh_node, node_in_temp};

fn contains(path: &Path, needle: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(contains(&path, needle));
        } else if std::fs::read(&path).unwrap().windows(needle.len()).any(|part| part == needle) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_addresses_nor_user_agents_are_in_the_data_directory() {
    let (_dir, builder) = node_in_temp();
    let builder =
        builder.env("WAYPOST_HTTP_TRUSTED_PROXIES", "127.0.0.1").env("WAYPOST_ADMIN_KEY", "0123456789abcdef0123456789");
    let mut node = builder.start().unwrap();
    let client = node.client().with_key("0123456789abcdef0123456789");
    let code = client.create("https://example.com/").await.unwrap();
    let address: std::net::Ipv6Addr = "2001:db8:1234:5678:9abc:def0:1357:2468".parse().unwrap();
    for _ in 0..200 {
        let visit = client
            .request(Method::GET, &format!("/{code}"))
            .header("x-forwarded-for", address.to_string())
            .header(
                "user-agent",
                "Mozilla/5.0 (Windows NT 10.0; rv:126.0) Gecko/20100101 Firefox/126.0 Unmistakable/77",
            )
            .header("referer", "https://referrer.example/a/private/path?token=hidden");
        assert_eq!(client.send(visit).await.unwrap().status, 302);
    }
    let data = node.data_dir().to_owned();
    let absent = [
        "Unmistakable".as_bytes(),
        b"Gecko/20100101",
        b"private/path",
        b"token=hidden",
        address.to_string().as_bytes(),
        &address.octets(),
    ]
    .map(<[u8]>::to_vec);
    // While the visits are in the journal, after they were counted, and after a stop.
    for needle in &absent {
        assert_eq!(contains(&data, needle), Vec::<String>::new(), "{:?}", String::from_utf8_lossy(needle));
    }
    settled_sum(&client, 200).await;
    let report = client.get(&format!("/api/v1/links/{code}/stats?by=referrer,browser")).await.unwrap().json();
    assert_eq!(report["by"]["referrer"][0], json!({ "value": "referrer.example", "clicks": 200 }));
    assert_eq!(
        (report["uniqueVisitors"].clone(), report["by"]["browser"][0]["value"].clone()),
        (json!(1), json!("Firefox"))
    );
    node.terminate().unwrap();
    for needle in &absent {
        assert_eq!(contains(&data, needle), Vec::<String>::new(), "{:?}", String::from_utf8_lossy(needle));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_referrers_agents_and_paths_stay_bounded() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let code = client.create("https://example.com/").await.unwrap();
    for i in 0..3000 {
        let visit = client
            .request(Method::GET, &format!("/{code}"))
            .header("user-agent", format!("Mozilla/5.0 agent {i} {}", "x".repeat(i % 500)))
            .header("referer", format!("https://host{i}.{}.example/", "y".repeat(i % 60)))
            .header("accept-language", ["de", "*", "zz-ZZ-zz", "x;;;", ""][i % 5]);
        assert_eq!(client.send(visit).await.unwrap().status, 302);
        if i % 3 == 0 {
            client.get(&format!("/unknown{i}")).await.unwrap();
        }
    }
    settled_sum(&client, 3000).await;
    let report = client.get(&format!("/api/v1/links/{code}/stats?by=referrer,language,browser")).await.unwrap().json();
    let referrers = report["by"]["referrer"].as_array().unwrap();
    assert!(referrers.len() <= 52, "{}", referrers.len());
    assert_eq!(referrers.iter().map(|value| value["clicks"].as_u64().unwrap()).sum::<u64>(), 3000);
    assert!(referrers.iter().any(|value| value["value"] == "(other)"));
    let orphans = client.get("/api/v1/stats/orphans").await.unwrap().json();
    let orphans = orphans["orphans"].as_array().unwrap();
    assert_eq!(orphans.iter().map(|orphan| orphan["visits"].as_u64().unwrap()).sum::<u64>(), 1000);
    // A header of a megabyte is refused, and the next request is answered.
    let huge = client.request(Method::GET, &format!("/{code}")).header("user-agent", "z".repeat(1 << 20));
    let refused = client.send(huge).await;
    assert!(refused.is_err() || refused.unwrap().status >= 400);
    // On a connection of its own: the other one ends with what was not read of it.
    assert!(node.client().follow(&code).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_trusted_cannot_be_many_visitors() {
    let (_dir, node) = fresh_node();
    let client = node.client();
    let code = client.create("https://example.com/").await.unwrap();
    for i in 0..100 {
        let spoofed =
            client.request(Method::GET, &format!("/{code}")).header("x-forwarded-for", format!("203.0.113.{i}"));
        assert_eq!(client.send(spoofed).await.unwrap().status, 302);
    }
    settled_sum(&client, 100).await;
    let report = client.get(&format!("/api/v1/links/{code}/stats")).await.unwrap().json();
    assert_eq!((report["clicks"].as_u64(), report["uniqueVisitors"].as_u64()), (Some(100), Some(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_loses_no_visit() {
    let (dir, builder) = node_in_temp();
    let faults = Faults::new(dir.path().join("faults")).unwrap();
    let node = faults.load_into(builder).start().unwrap();
    let client = node.client();
    let code = client.create("https://example.com/").await.unwrap();
    let day = 24 * 3_600_000;
    for offset in [0, -3 * day, 400 * day, -10 * 365 * day, 0] {
        faults.clock_off_by_ms(offset).unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(60)).await;
        for _ in 0..50 {
            assert!(client.follow(&code).await.unwrap().is_some());
        }
    }
    assert_eq!(settled_sum(&client, 250).await, 250);
    // The shard's time never runs back, so all of them are near where it has been.
    let report = client.get(&format!("/api/v1/links/{code}/stats?from=2016-01-01&to=2030-01-01&interval=month")).await;
    let report = report.unwrap();
    assert_eq!(report.status, 422, "more than ten years are refused");
    let report = client.get(&format!("/api/v1/links/{code}/stats?from=2021-01-01&to=2030-01-01&interval=month")).await;
    assert_eq!(report.unwrap().json()["clicks"], 250);
    assert_eq!(sum(&client).await, 250);
}
