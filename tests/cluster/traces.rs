//! Traces: what a collector is told of a request.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use waypost_testkit::{Collector, SeenSpan};

use super::{evened_out, started};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_is_told_of_a_request_through_all_actors_and_nodes() {
    let collector = Collector::start().await.unwrap();
    let traced = |cluster: waypost_testkit::Cluster| {
        cluster.env("WAYPOST_TRACES_ENDPOINT", &collector.endpoint()).env("WAYPOST_TRACES_EVERY", "1")
    };
    let (_dir, cluster) = started(3, traced).await;
    evened_out(&cluster).await;
    let client = cluster.client(0);
    let shorten = async |slug: String, headers: &[(&'static str, String)]| {
        let mut request = client.request(Method::POST, "/shorten");
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let body = json!({ "longUrl": "https://example.com/", "customSlug": slug });
        assert_eq!(client.send(request.json(&body)).await.unwrap().status, 201);
    };
    for i in 0..12 {
        shorten(format!("hands{i}"), &[("traceparent", format!("00-{TRACE}-{CALLER}-01"))]).await;
    }
    // Without a trace of the caller's there is one all the same.
    shorten("alone".to_owned(), &[]).await;

    let since = Instant::now();
    let whole = |spans: &[SeenSpan]| {
        let ours = || spans.iter().filter(|span| span.trace == TRACE);
        let nodes: BTreeSet<&str> = ours().map(|span| span.node.as_str()).collect();
        let requests = ours().filter(|span| span.name == "POST /shorten" && span.parent == CALLER).count();
        let alone =
            spans.iter().any(|span| span.name == "POST /shorten" && span.trace != TRACE && span.parent.is_empty());
        let ids: BTreeSet<&str> = ours().map(|span| span.id.as_str()).chain([CALLER]).collect();
        let connected = ours().all(|span| ids.contains(span.parent.as_str()));
        nodes.len() > 1 && requests == 12 && alone && connected
    };
    let mut spans = collector.spans();
    while !whole(&spans) {
        assert!(since.elapsed() < Duration::from_secs(60), "the collector was told of {spans:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
        spans = collector.spans();
    }
    assert!(spans.iter().all(|span| span.takes_time && span.trace.len() == 32));
    let names: BTreeSet<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    for name in ["ask link_store create_link", "link_store create_link"] {
        assert!(names.contains(name), "{names:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_does_not_answer_costs_no_request() {
    // Takes connections, and answers nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = silent.local_addr().unwrap();
    let (_dir, builder) = crate::node_in_temp();
    let traced = builder.env("WAYPOST_TRACES_ENDPOINT", &format!("http://{nobody}")).env("WAYPOST_TRACES_EVERY", "1");
    let mut node = traced.start().unwrap();
    let client = node.client();
    for i in 0..50 {
        let code = client.create(&format!("https://example.com/{i}")).await.unwrap();
        assert!(client.follow(&code).await.unwrap().is_some());
    }
    let stopping = Instant::now();
    assert_eq!(node.terminate().unwrap().code(), Some(0));
    assert!(stopping.elapsed() < Duration::from_secs(60));
    drop(silent);
}
