//! A cluster with a node of an earlier version: what it does already, and what it refuses until all nodes understand it.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use waypost_protocol::command::{Batch, ClusterCommand, ClusterOutcome, NodeRecord, PutNode};
use waypost_protocol::{Level, NodeId, UnixMs};
use waypost_store::machine::{ClusterMachine, Machine};
use waypost_store::{Db, DbOptions};
use waypost_telemetry::Metrics;
use waypost_testkit::{Answer, Client, NodeBuilder};

use crate::PROGRAM;
use crate::sessions::{Browser, one_time_link};

/// What version 0.1 has left in `dir`, as if another node, which holds no links and is away, had been a member at that time.
fn left_by_two_nodes_of_the_first_version(dir: &Path) {
    let archive = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/data-directory-0.1.tar.gz");
    assert!(Command::new("tar").args(["-xzf", archive, "-C"]).arg(dir).status().unwrap().success());
    let db = Db::open(&dir.join("data"), &DbOptions::default(), &Metrics::new()).unwrap();
    let (mut machine, position) = ClusterMachine::open(db.tree("sm/0").unwrap()).unwrap();
    let old = NodeRecord {
        id: NodeId(77),
        name: "old".to_owned(),
        peer: "127.0.0.1:1".to_owned(),
        http: "127.0.0.1:1".to_owned(),
        zone: "zone".to_owned(),
        services: vec!["redirector".to_owned()],
        drain: true,
    };
    let batch = Batch { level: Level::BASE, at: UnixMs(1), commands: vec![ClusterCommand::from(PutNode(old))] };
    assert_eq!(machine.apply(1, &batch).unwrap(), [ClusterOutcome::Done]);
    assert_eq!(machine.level(), Level::BASE);
    machine.checkpoint(&position.unwrap()).unwrap();
    drop(machine);
    db.close().unwrap();
}

async fn send(client: &Client, method: Method, path: &str, body: Value) -> Answer {
    client.send(client.request(method, path).json(&body)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn properties_of_links_are_refused_with_the_reason_until_all_nodes_understand_them() {
    let dir = tempfile::tempdir().unwrap();
    left_by_two_nodes_of_the_first_version(dir.path());
    let node = NodeBuilder::new(PROGRAM, dir.path().join("data")).start().unwrap();
    let (client, admin) = (node.client(), node.admin_client().unwrap());
    assert_eq!(admin.get("/cluster").await.unwrap().json()["level"], 0);

    // What the earlier version has is done.
    let plain = json!({ "longUrl": "https://example.com/", "customSlug": "plain" });
    assert_eq!(client.shorten(plain.clone()).await.unwrap().status, 201);
    let link = "/api/v1/links/plain";
    let end = json!({ "validUntil": "2999-01-01T00:00:00Z" });
    assert_eq!(send(&client, Method::PATCH, link, end).await.status, 200);
    assert_eq!(client.follow("plain").await.unwrap().as_deref(), Some("https://example.com/"));

    let titled = json!({ "longUrl": "https://example.com/", "title": "T" });
    let lettered = json!({ "longUrl": "https://example.com/", "customSlug": "日本語" });
    let limited = json!({ "longUrl": "https://example.com/", "maxVisits": 5 });
    let item = json!({ "items": [{ "op": "create", "link": titled }] });
    for (method, path, body) in [
        (Method::POST, "/shorten", &titled),
        (Method::POST, "/shorten", &lettered),
        (Method::POST, "/api/v1/links", &titled),
        (Method::PUT, link, &titled),
        (Method::PUT, "/api/v1/links/other", &titled),
        (Method::PUT, "/api/v1/links/日本語", &json!({ "longUrl": "https://example.com/" })),
        (Method::PATCH, link, &json!({ "title": "T" })),
        (Method::GET, "/api/v1/links/plain/history", &Value::Null),
        (Method::POST, "/api/v1/links/plain/history/1/restore", &Value::Null),
        (Method::POST, "/shorten", &limited),
        (Method::PATCH, link, &json!({ "maxVisits": 5 })),
        (Method::POST, "/api/v1/domains", &json!({ "host": "b.example" })),
        (Method::PATCH, "/api/v1/domains/DEFAULT", &json!({ "baseUrl": "https://example.com/" })),
        (Method::POST, "/shorten", &json!({ "longUrl": "https://example.com/", "password": "secret" })),
        (Method::PUT, link, &json!({ "longUrl": "https://example.com/", "password": "secret" })),
        (Method::PATCH, link, &json!({ "password": "secret" })),
    ] {
        let refused = send(&client, method.clone(), path, body.clone()).await;
        assert_eq!((refused.status, refused.problem().as_str()), (409, "not-yet-supported"), "{method} {path}");
        assert!(refused.text("detail").contains("waypost cluster status"), "{}", refused.text("detail"));
    }
    let refused = send(&client, Method::POST, "/api/v1/bulk", item).await.json();
    assert_eq!(refused["results"][0]["problem"]["type"], "urn:waypost:problem:not-yet-supported", "{refused}");
    let sign_in = one_time_link(&node).await;
    let refused = Browser::of(&node).post(&sign_in, "").await;
    assert_eq!(refused.status, 409);
    assert!(String::from_utf8_lossy(&refused.body).contains("waypost cluster status"), "{:?}", refused.body);
    assert_eq!(client.get(link).await.unwrap().json()["title"], Value::Null);
    assert_eq!(client.get("/api/v1/links/other").await.unwrap().status, 404);

    // The last node of the earlier version leaves.
    let removed = admin.send(admin.request(Method::DELETE, "/cluster/nodes/old")).await.unwrap();
    assert_eq!(removed.status, 204, "{}", String::from_utf8_lossy(&removed.body));
    let since = Instant::now();
    loop {
        let answer = send(&client, Method::PATCH, link, json!({ "title": "T" })).await;
        if answer.status == 200 {
            break;
        }
        assert_eq!((answer.status, answer.problem().as_str()), (409, "not-yet-supported"));
        assert!(since.elapsed() < Duration::from_secs(60), "the level of the cluster is not raised");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // The same link: it was not used up.
    assert_eq!(Browser::of(&node).post(&sign_in, "").await.status, 303);
    assert_eq!(client.get(link).await.unwrap().json()["title"], "T");
    // The history begins with the first edit since then: how the link was before that is known, and not since when.
    let history = client.get("/api/v1/links/plain/history").await.unwrap().json();
    let known: Vec<(&Value, bool)> =
        history["entries"].as_array().unwrap().iter().map(|entry| (&entry["id"], entry["by"].is_string())).collect();
    assert_eq!(known, [(&json!(3), true), (&json!(2), false)], "{history}");
    assert_eq!(client.shorten(titled).await.unwrap().status, 201);
}
