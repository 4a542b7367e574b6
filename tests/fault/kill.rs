//! SIGKILL at any moment: what was acknowledged is there afterwards, and no code names two links.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use crate::{fresh_node, node_in_temp};

/// Clients that create at once.
const CLIENTS: usize = 8;

/// One life of the node: clients create at full speed until it is killed. Answers what was acknowledged: code to URL.
async fn create_until_killed(
    node: &mut waypost_testkit::Node,
    life: usize,
    pause: Duration,
    acked: &Arc<Mutex<HashMap<String, String>>>,
) {
    let stopped = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (client, stopped, acked) = (node.client(), stopped.clone(), acked.clone());
            tokio::spawn(async move {
                for i in 0.. {
                    if stopped.load(Ordering::Relaxed) {
                        break;
                    }
                    let url = format!("https://example.com/{life}/{number}/{i}");
                    // Every tenth claims an alias that others claim too.
                    let slug = (i % 10 == 0).then(|| format!("alias-{life}-{i}"));
                    let Ok(answer) = client.shorten(json!({ "longUrl": url, "customSlug": slug })).await else { break };
                    if answer.status == 201 {
                        let code = answer.text("shortCode");
                        let other = acked.lock().unwrap().insert(code.clone(), url);
                        assert_eq!(other, None, "{code} was issued twice");
                    } else {
                        assert_eq!(answer.status, 409);
                    }
                }
            })
        })
        .collect();
    tokio::time::sleep(pause).await;
    node.kill().unwrap();
    stopped.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_link_survives_sigkill() {
    // More for a long run: see `make soak-kill`.
    let lives: usize = std::env::var("TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(6);
    let (_dir, mut node) = fresh_node();
    let acked = Arc::new(Mutex::new(HashMap::new()));
    // The moment of the kill is what is random here; a run cannot be replayed to the microsecond anyway.

    for life in 0..lives {
        let pause = Duration::from_millis(waypost_testkit::pick(100..600));
        create_until_killed(&mut node, life, pause, &acked).await;
        node.restart().unwrap();
        let client = node.client();
        // All of the last life, and a sample of the earlier ones; all of them at the end.
        let wanted: Vec<(String, String)> = acked
            .lock()
            .unwrap()
            .iter()
            .filter(|(_, url)| life + 1 == lives || url.contains(&format!("/{life}/")))
            .map(|(code, url)| (code.clone(), url.clone()))
            .collect();
        for (code, url) in wanted {
            assert_eq!(client.follow(&code).await.unwrap().as_ref(), Some(&url), "{code} in life {life}");
        }
    }
    let total = acked.lock().unwrap().len();
    println!("{total} acknowledged links over {lives} kills, all there");
    assert!(total > lives * 10, "too few links to show anything: {total}");
}

#[tokio::test]
async fn a_clean_stop_loses_no_click() {
    let (_dir, builder) = node_in_temp();
    // Clicks are brought to the shards far too seldom for this test: only the stop can save them.
    let mut node = builder.env("WAYPOST_CLICKS_INTERVAL_MS", "3600000").start().unwrap();
    let client = node.client();
    let mut codes = Vec::new();
    for i in 0..20 {
        codes.push(client.create(&format!("https://example.com/{i}")).await.unwrap());
    }
    for (i, code) in codes.iter().enumerate() {
        for _ in 0..=i {
            client.follow(code).await.unwrap().unwrap();
        }
    }
    let stopped = node.terminate().unwrap();
    assert_eq!(stopped.code(), Some(0), "{}", node.errors());
    node.restart().unwrap();
    let client = node.client();
    for (i, code) in codes.iter().enumerate() {
        let analytics = client.get(&format!("/analytics/{code}")).await.unwrap().json();
        assert_eq!(analytics["totalClicks"], i + 1);
    }
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_up_a_stop() {
    let (_dir, mut node) = fresh_node();
    let mut idle = std::net::TcpStream::connect(node.address()).unwrap();
    std::io::Write::write_all(&mut idle, b"GET /health/live HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let mut head = [0; 15];
    std::io::Read::read_exact(&mut idle, &mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    // The grace for open requests is ten seconds by default; an idle connection must not use it up.
    assert_eq!(node.terminate().unwrap().code(), Some(0));
    assert!(!node.errors().contains("requests did not end in time"), "{}", node.errors());
}
