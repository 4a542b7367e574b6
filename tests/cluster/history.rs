//! The history of links in a cluster: through every node, also one without replicas, and after the leader has gone.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use waypost_testkit::{Answer, Client};

use super::with_edge;

/// How long a busy machine may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends a request until no node says any more that it is not yet supported, or that nobody leads.
async fn send(client: &Client, method: Method, path: &str, body: &Value) -> Answer {
    let since = Instant::now();
    loop {
        let answer = client.send(client.request(method.clone(), path).json(body)).await.unwrap();
        if !matches!(answer.status, 409 | 503) {
            return answer;
        }
        assert!(since.elapsed() < PATIENCE, "{method} {path}: {}", String::from_utf8_lossy(&answer.body));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn shown(client: &Client, code: &str) -> Vec<(u64, String)> {
    let answer = send(client, Method::GET, &format!("/api/v1/links/{code}/history"), &Value::Null).await.json();
    let entries = answer["entries"].as_array().unwrap_or_else(|| panic!("{answer}")).iter();
    entries.map(|entry| (entry["id"].as_u64().unwrap(), entry["longUrl"].as_str().unwrap().to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_shows_and_restores_former_targets_also_one_without_replicas_and_after_a_leader_has_gone() {
    let (_dir, mut cluster, edge) = with_edge().await;
    assert_eq!(edge, 3);
    // Every node knows the level from then on.
    for node in 0..4 {
        send(&cluster.client(node), Method::GET, "/api/v1/links/none/history", &Value::Null).await;
    }
    let to = |code: usize, n: usize| format!("https://example.com/{code}/{n}");
    // The shards of the codes are led by different nodes.
    for code in 0..8 {
        let [writer, editor, reader] = [code, code + 1, code + 2].map(|node| cluster.client(node % 4));
        let (path, alias) = (format!("/api/v1/links/past-{code}"), format!("past-{code}"));
        let made = send(&writer, Method::PUT, &path, &json!({ "longUrl": to(code, 1) })).await;
        assert_eq!(made.status, 201);
        assert_eq!(send(&editor, Method::PATCH, &path, &json!({ "longUrl": to(code, 2) })).await.status, 200);
        assert_eq!(shown(&reader, &alias).await, [(2, to(code, 2)), (1, to(code, 1))]);
        let restored = send(&reader, Method::POST, &format!("{path}/history/1/restore"), &Value::Null).await;
        assert_eq!((restored.status, restored.text("longUrl")), (200, to(code, 1)));
        assert_eq!(reader.follow(&alias).await.unwrap(), Some(to(code, 1)));
    }
    cluster.kill(0).unwrap();
    for code in 0..8 {
        for node in 1..4 {
            let expected = [(3, to(code, 1)), (2, to(code, 2)), (1, to(code, 1))];
            assert_eq!(shown(&cluster.client(node), &format!("past-{code}")).await, expected, "{code} {node}");
        }
    }
}
