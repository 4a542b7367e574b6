//! Nodes that are taken out while they run, and the clicks that they have.

use std::process::Command;
use std::time::{Duration, Instant};

use reqwest::Method;
use waypost_testkit::{Client, Cluster};

use super::{remove, with_edge};
use crate::PROGRAM;

/// How long clicks may take to be counted.
const SOON: Duration = Duration::from_secs(60);

/// Clicks reach their shards only when somebody asks for it, or after an hour.
fn hoarding(cluster: &Cluster, node: usize) -> waypost_testkit::NodeBuilder {
    cluster.builder(node).env("WAYPOST_CLICKS_INTERVAL_MS", "3600000")
}

async fn click(client: &Client, code: &str, times: u64) {
    for _ in 0..times {
        assert!(client.follow(code).await.unwrap().is_some());
    }
}

async fn counted(client: &Client, code: &str, clicks: u64) {
    let since = Instant::now();
    loop {
        let total = client.get(&format!("/analytics/{code}")).await.unwrap().json()["totalClicks"].as_u64();
        if total == Some(clicks) {
            return;
        }
        assert!(since.elapsed() < SOON && total < Some(clicks), "{total:?} of {clicks}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_removed_while_it_runs_brings_its_clicks_to_the_shards_first() {
    let (_dir, mut cluster, edge) = with_edge().await;
    cluster.node_mut(edge).terminate().unwrap();
    let hoards = hoarding(&cluster, edge).start().unwrap();
    cluster.take_over_ready(edge, hoards);
    let store = cluster.client(0);
    let code = store.create("https://example.com/").await.unwrap();
    click(&cluster.client(edge), &code, 300).await;
    remove(&cluster.node(1).admin_client().unwrap(), "n4").await;
    assert_eq!(cluster.node_mut(edge).wait_exit().unwrap().code(), Some(1));
    assert!(!cluster.node(edge).errors().contains("were not counted"), "{}", cluster.node(edge).errors());
    counted(&store, &code, 300).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_two_remove_at_once_while_it_redirects_loses_no_click() {
    let (_dir, mut cluster, edge) = with_edge().await;
    let store = cluster.client(0);
    let code = store.create("https://example.com/").await.unwrap();
    let visitor = cluster.client(edge);
    click(&visitor, &code, 1).await;
    let (first, second) = [0, 1].map(|node| cluster.node(node).admin_client().unwrap()).into();
    let visits = async {
        let (mut answered, mut unreachable) = (1, 0);
        // Until its process has ended: it must not answer again once it has closed.
        while unreachable < 20 {
            match visitor.get(&format!("/{code}")).await {
                Ok(answer) if answer.status == 302 => (answered, unreachable) = (answered + 1, 0),
                Ok(_) => unreachable = 0,
                Err(_) => unreachable += 1,
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        answered
    };
    let ask = async |admin: &Client| {
        let removed = admin.send(admin.request(Method::DELETE, "/cluster/nodes/n4")).await.unwrap();
        assert!(matches!(removed.status, 204 | 404 | 409), "{}", String::from_utf8_lossy(&removed.body));
    };
    let (answered, (), ()) = tokio::join!(visits, ask(&first), ask(&second));
    assert_eq!(cluster.node_mut(edge).wait_exit().unwrap().code(), Some(1));
    counted(&store, &code, answered).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_holds_links_is_emptied_before_it_is_removed() {
    let (_dir, mut cluster) = super::cluster_of(3).await;
    let code = cluster.client(0).create("https://example.com/").await.unwrap();
    click(&cluster.client(2), &code, 100).await;
    let admin = format!("http://{}", cluster.node(0).admin());
    let removed = Command::new(PROGRAM)
        .args(["cluster", "remove", "n3", "--admin", &admin, "--data-dir"])
        .arg(cluster.data_dir(0))
        .output()
        .unwrap();
    assert_eq!(removed.status.code(), Some(0), "{}", String::from_utf8_lossy(&removed.stderr));
    assert_eq!(cluster.node_mut(2).wait_exit().unwrap().code(), Some(1));
    counted(&cluster.client(0), &code, 100).await;
}

/// A cluster that has removed a node without links, which had died with 200 clicks of a link; the node's number, and the link.
async fn with_a_removed_node_that_has_clicks() -> (tempfile::TempDir, Cluster, usize, String) {
    let (dir, mut cluster, edge) = with_edge().await;
    cluster.node_mut(edge).terminate().unwrap();
    let hoards = hoarding(&cluster, edge).start().unwrap();
    cluster.take_over_ready(edge, hoards);
    let code = cluster.client(0).create("https://example.com/").await.unwrap();
    click(&cluster.client(edge), &code, 200).await;
    cluster.kill(edge).unwrap();
    remove(&cluster.node(0).admin_client().unwrap(), "n4").await;
    let refused = cluster.start(&[edge]).unwrap_err().to_string();
    assert!(refused.contains("of its click journals were not counted: keep"), "{refused}");
    (dir, cluster, edge, code)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clicks_of_a_node_that_was_removed_are_brought_in_when_it_joins_again_with_its_journals() {
    let (_dir, mut cluster, edge, code) = with_a_removed_node_that_has_clicks().await;
    for entry in std::fs::read_dir(cluster.data_dir(edge)).unwrap().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true if entry.file_name() == "journal" => {}
            true => std::fs::remove_dir_all(entry.path()).unwrap(),
            false => std::fs::remove_file(entry.path()).unwrap(),
        }
    }
    cluster.start(&[edge]).unwrap();
    let store = cluster.client(0);
    counted(&store, &code, 200).await;
    click(&cluster.client(edge), &code, 10).await;
    counted(&store, &code, 210).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clicks_of_a_node_that_was_removed_are_brought_in_by_another_node_that_is_given_its_journals() {
    let (_dir, mut cluster, edge, code) = with_a_removed_node_that_has_clicks().await;
    cluster.node_mut(1).terminate().unwrap();
    for entry in std::fs::read_dir(cluster.data_dir(edge).join("journal")).unwrap().flatten() {
        std::fs::rename(entry.path(), cluster.data_dir(1).join("journal").join(entry.file_name())).unwrap();
    }
    cluster.start(&[1]).unwrap();
    let store = cluster.client(0);
    counted(&store, &code, 200).await;
    click(&cluster.client(1), &code, 10).await;
    counted(&store, &code, 210).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_removal_is_refused_goes_on_with_redirects() {
    let (_dir, cluster) = super::cluster_of(2).await;
    let code = cluster.client(0).create("https://example.com/").await.unwrap();
    let admin = cluster.node(0).admin_client().unwrap();
    let refused = admin.send(admin.request(Method::DELETE, "/cluster/nodes/n2")).await.unwrap();
    assert_eq!(refused.status, 409, "{}", String::from_utf8_lossy(&refused.body));
    click(&cluster.client(1), &code, 5).await;
    assert_eq!(cluster.client(1).get("/health/ready").await.unwrap().status, 200);
}
