//! Whole lists and sweeps in a cluster that lacks some shards: what is missing is told, and never looks complete.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use waypost_testkit::Cluster;

use crate::PROGRAM;
use crate::api::{lists_all, waits_for};

/// Everything that a node sends on a connection of its own until it closes it, and whether the body had its end.
fn raw(address: SocketAddr, path: &str) -> (String, bool) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let ends = answer.ends_with("0\r\n\r\n");
    // Without the head, and the lengths of the chunks.
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    let body = body.split("\r\n").filter(|part| !part.is_empty() && !part.bytes().all(|byte| byte.is_ascii_hexdigit()));
    (body.collect(), ends)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_lacks_shards_says_so_in_its_last_line_and_breaks_off() {
    let dir = tempfile::tempdir().unwrap();
    // A shard is on one node only.
    let mut cluster = Cluster::new(PROGRAM, dir.path()).env("WAYPOST_CLUSTER_REPLICAS", "1");
    let all: Vec<usize> = (0..3).map(|_| cluster.add(None).unwrap()).collect();
    cluster.start(&all).unwrap();
    cluster.settled(0, 1).await.unwrap();
    let client = cluster.client(0);
    lists_all(&client).await;
    let item = |n: usize| json!({ "op": "put", "code": format!("s{n}"), "link": { "longUrl": "https://example.com/", "tags": ["t"] } });
    let request = client.request(Method::POST, "/api/v1/bulk");
    let items: Vec<Value> = (0..700).map(item).collect();
    assert_eq!(client.send(request.json(&json!({ "items": items }))).await.unwrap().json()["failed"], 0);
    let list = async || client.get("/api/v1/links?limit=1000&sort=slug").await.unwrap().json();
    for node in 0..3 {
        let client = cluster.client(node);
        waits_for(async || client.get("/api/v1/links?limit=1").await.unwrap().json()["total"] == 700).await;
    }
    let (lines, ends) = raw(cluster.address(0), "/api/v1/links?format=ndjson");
    assert_eq!((lines.lines().count(), ends), (700, true));

    cluster.kill(2).unwrap();
    waits_for(async || list().await["partial"].is_array()).await;
    let left = list().await;
    let items = left["items"].as_array().unwrap().len();
    assert!(items < 700 && left["total"] == items, "{items} {}", left["total"]);
    let (lines, ends) = raw(cluster.address(0), "/api/v1/links?format=ndjson&sort=slug");
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (last, links) = lines.split_last().unwrap();
    assert_eq!((links.len(), ends), (items, false));
    assert_eq!(
        (&last["partial"], &last["problem"]["type"]),
        (&left["partial"], &json!("urn:waypost:problem:unavailable"))
    );
    let (table, ends) = raw(cluster.address(0), "/api/v1/links?format=csv");
    let records: Vec<csv::StringRecord> =
        csv::Reader::from_reader(table.as_bytes()).records().map(Result::unwrap).collect();
    assert_eq!((records.len(), ends), (items + 1, false));
    assert!(records[items][0].starts_with("!incomplete: "), "{:?}", records[items]);

    let waypost = |arguments: &[&str]| {
        let server = format!("http://{}", cluster.address(0));
        Command::new(PROGRAM).args(arguments).args(["--server", &server]).output().unwrap()
    };
    let written = waypost(&["links", "list", "--csv"]);
    assert_eq!(written.status.code(), Some(3));
    let errors = String::from_utf8_lossy(&written.stderr).into_owned();
    assert!(errors.contains("incomplete"), "{errors}");
    assert_eq!(csv::Reader::from_reader(&written.stdout[..]).records().count(), items + 1);
    assert_eq!(waypost(&["links", "list"]).status.code(), Some(3));

    // A sweep changes what it reaches, and does not say that it has ended.
    let renamed = client.request(Method::PATCH, "/api/v1/tags/t").json(&json!({ "tag": "new" }));
    let renamed = client.send(renamed).await.unwrap().json();
    assert_eq!((&renamed["changed"], &renamed["done"]), (&json!(items), &json!(false)), "{renamed}");
    assert_eq!(renamed["partial"], left["partial"]);
    cluster.start(&[2]).unwrap();
    waits_for(async || list().await.get("partial").is_none() && list().await["total"] == 700).await;
    let rest = client.request(Method::PATCH, "/api/v1/tags/t").json(&json!({ "tag": "new" }));
    let rest = client.send(rest).await.unwrap().json();
    assert_eq!((&rest["changed"], &rest["done"]), (&json!(700 - items), &json!(true)), "{rest}");
}
