//! How a cluster comes about, grows and shrinks.

use std::process::Command;

use reqwest::Method;
use serde_json::json;
use waypost_testkit::{Cluster, Load, leaders};

use super::{addresses, cluster_of, emptied, evened_out, remove};
use crate::PROGRAM;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_answers_for_every_link_at_once() {
    let (_dir, cluster) = cluster_of(3).await;
    let clients = [cluster.client(0), cluster.client(1), cluster.client(2)];
    for i in 0..60 {
        let url = format!("https://example.com/{i}");
        let code = clients[i % 3].create(&url).await.unwrap();
        // Also on the nodes that may not have heard of it when the answer came.
        assert_eq!(clients[(i + 1) % 3].follow(&code).await.unwrap().as_ref(), Some(&url));
        assert_eq!(clients[(i + 2) % 3].follow(&code).await.unwrap().as_ref(), Some(&url));
        let path = format!("/api/v1/links/{code}");
        let edited = format!("https://example.com/edited/{i}");
        let edit = clients[(i + 1) % 3].request(Method::PATCH, &path).json(&json!({ "longUrl": edited }));
        assert_eq!(clients[0].send(edit).await.unwrap().status, 200);
        let strong = clients[(i + 2) % 3].get(&format!("{path}?consistency=strong")).await.unwrap();
        assert_eq!(strong.text("longUrl"), edited, "a strong read has to show the edit");
    }
    assert_eq!(clients[2].get("/neverwas").await.unwrap().status, 404);
    evened_out(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_is_seen_on_every_node_within_the_staleness_bound() {
    let (_dir, cluster) = cluster_of(3).await;
    let clients = [cluster.client(0), cluster.client(1), cluster.client(2)];
    let code = clients[0].create("https://example.com/0").await.unwrap();
    for i in 1..20 {
        let url = format!("https://example.com/{i}");
        let edit = clients[i % 3].request(Method::PATCH, &format!("/api/v1/links/{code}"));
        assert_eq!(clients[0].send(edit.json(&json!({ "longUrl": url }))).await.unwrap().status, 200);
        let answered = std::time::Instant::now();
        for client in &clients {
            while client.follow(&code).await.unwrap().as_ref() != Some(&url) {
                assert!(answered.elapsed().as_secs() < 10, "an old target is still served");
                tokio::task::yield_now().await;
            }
        }
    }
    let delete = clients[1].request(Method::DELETE, &format!("/api/v1/links/{code}"));
    assert_eq!(clients[1].send(delete).await.unwrap().status, 204);
    for client in &clients {
        while client.follow(&code).await.unwrap().is_some() {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_grows_to_three_and_shrinks_again_while_it_serves() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::new(PROGRAM, dir.path());
    cluster.add(None).unwrap();
    cluster.start(&[0]).unwrap();
    let load = Load::start(4, &addresses(&cluster, &[0]));
    let own = cluster.client(0).create("https://example.com/first").await.unwrap();
    for _ in 0..2 {
        let index = cluster.add(None).unwrap();
        cluster.start(&[index]).unwrap();
    }
    cluster.settled(0, 3).await.unwrap();
    load.aim(&addresses(&cluster, &[0, 1, 2]));
    assert!(cluster.client(2).follow(&own).await.unwrap().is_some());
    let admin = cluster.node(1).admin_client().unwrap();
    let drained = admin.send(admin.request(Method::POST, "/cluster/nodes/n1/drain")).await.unwrap();
    assert_eq!(drained.status, 204, "{}", String::from_utf8_lossy(&drained.body));
    emptied(&cluster, 1, "n1").await;
    load.aim(&addresses(&cluster, &[1, 2]));
    remove(&admin, "n1").await;
    cluster.kill(0).unwrap();
    let tally = load.finish(&addresses(&cluster, &[1, 2])).await.unwrap();
    assert!(tally.acknowledged > 50, "{tally:?}");
    assert!(cluster.client(2).follow(&own).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_links_serves_all_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::new(PROGRAM, dir.path());
    for _ in 0..3 {
        cluster.add(None).unwrap();
    }
    let edge = cluster.add(Some(r#"["redirector", "click_counter"]"#)).unwrap();
    // The cluster does not wait for who keeps no links.
    cluster.start(&[0, 1, 2]).unwrap();
    cluster.settled(0, 3).await.unwrap();
    cluster.start(&[edge]).unwrap();
    let (client, store) = (cluster.client(edge), cluster.client(0));
    for i in 0..20 {
        let url = format!("https://example.com/{i}");
        let code = if i % 2 == 0 { &client } else { &store }.create(&url).await.unwrap();
        assert_eq!(client.follow(&code).await.unwrap().as_ref(), Some(&url));
        let path = format!("/api/v1/links/{code}");
        let edit = store.request(Method::PATCH, &path).json(&json!({ "longUrl": "https://example.com/new" }));
        assert_eq!(store.send(edit).await.unwrap().status, 200);
        let edited = std::time::Instant::now();
        while client.follow(&code).await.unwrap().as_deref() != Some("https://example.com/new") {
            assert!(edited.elapsed().as_secs() < 10, "an edge node has to ask again after its bound");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let visits = async || store.get(&format!("/analytics/{code}")).await.unwrap().json()["totalClicks"].as_u64();
        while visits().await == Some(0) {
            assert!(edited.elapsed().as_secs() < 30, "clicks of an edge node have to arrive");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
    assert_eq!(client.get("/neverwas").await.unwrap().status, 404);
    assert_eq!(client.get("/generate-key").await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_removed_serves_nothing_when_it_comes_back() {
    let (_dir, mut cluster) = cluster_of(3).await;
    let code = cluster.client(0).create("https://example.com/old").await.unwrap();
    cluster.kill(2).unwrap();
    let admin = cluster.node(0).admin_client().unwrap();
    remove(&admin, "n3").await;
    let client = cluster.client(0);
    assert_eq!(
        client.send(client.request(Method::DELETE, &format!("/api/v1/links/{code}"))).await.unwrap().status,
        204
    );
    // What it has would lead to a target that was deleted meanwhile.
    let refused = cluster.start(&[2]).unwrap_err().to_string();
    assert!(refused.contains("was removed from the cluster"), "{refused}");
    // With an empty directory it is welcome, as a new node.
    std::fs::remove_dir_all(cluster.data_dir(2)).unwrap();
    cluster.start(&[2]).unwrap();
    cluster.settled(0, 3).await.unwrap();
    assert_eq!(cluster.client(2).get(&format!("/{code}")).await.unwrap().status, 404);
    // One that runs when it is removed ends by itself.
    let drained = admin.send(admin.request(Method::POST, "/cluster/nodes/n3/drain")).await.unwrap();
    assert_eq!(drained.status, 204);
    remove(&admin, "n3").await;
    assert_eq!(cluster.node_mut(2).wait_exit().unwrap().code(), Some(1));
    assert_eq!(client.get("/neverwas").await.unwrap().status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_begins_with_a_node_without_links_founds_a_whole_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::new(PROGRAM, dir.path());
    let edge = cluster.add(Some(r#"["redirector", "click_counter"]"#)).unwrap();
    for _ in 0..3 {
        cluster.add(None).unwrap();
    }
    cluster.start(&[edge, 1, 2, 3]).unwrap();
    cluster.settled(edge, 3).await.unwrap();
    let code = cluster.client(edge).create("https://example.com/").await.unwrap();
    assert!(cluster.client(3).follow(&code).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_holds_the_only_copy_is_neither_removed_nor_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::new(PROGRAM, dir.path()).env("WAYPOST_CLUSTER_REPLICAS", "1");
    for _ in 0..3 {
        cluster.add(None).unwrap();
    }
    cluster.start(&[0, 1, 2]).unwrap();
    cluster.settled(1, 1).await.unwrap();
    // A cluster may have settled before its first node was given anything.
    let holds = |view: &serde_json::Value| leaders(view).iter().any(|(name, ..)| name == "n1");
    cluster.wait(1, "the first node holds links", holds).await.unwrap();
    let mut links = Vec::new();
    for i in 0..30 {
        let url = format!("https://example.com/{i}");
        links.push((cluster.client(1).create(&url).await.unwrap(), url));
    }
    cluster.kill(0).unwrap();
    let admin = cluster.node(1).admin_client().unwrap();
    let removed = admin.send(admin.request(Method::DELETE, "/cluster/nodes/n1")).await.unwrap();
    assert_eq!(removed.status, 409, "{}", String::from_utf8_lossy(&removed.body));
    // Its disk is not mounted: an empty directory must not take the place of what it held.
    let (data, away) = (cluster.data_dir(0), cluster.dir().join("unmounted"));
    std::fs::rename(&data, &away).unwrap();
    let mut empty = cluster.builder(0).spawn().unwrap();
    let since = std::time::Instant::now();
    while !empty.errors().contains("Is its disk mounted") {
        assert!(since.elapsed().as_secs() < 60, "{}", empty.errors());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    empty.kill().unwrap();
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::rename(&away, &data).unwrap();
    cluster.start(&[0]).unwrap();
    cluster.settled(1, 1).await.unwrap();
    for (code, url) in &links {
        assert_eq!(cluster.client(2).follow(code).await.unwrap().as_ref(), Some(url));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_hold_two_copies_and_one_of_them_goes_on_with_redirects() {
    let (_dir, mut cluster) = cluster_of(2).await;
    let mut links = Vec::new();
    for i in 0..30 {
        let url = format!("https://example.com/{i}");
        links.push((cluster.client(0).create(&url).await.unwrap(), url));
    }
    for (code, url) in &links {
        assert_eq!(cluster.client(1).follow(code).await.unwrap().as_ref(), Some(url));
    }
    cluster.kill(0).unwrap();
    for (code, url) in &links {
        assert_eq!(cluster.client(1).follow(code).await.unwrap().as_ref(), Some(url));
    }
    let refused = cluster.client(1).shorten(json!({ "longUrl": "https://example.com/x" })).await.unwrap();
    assert!(matches!(refused.status, 503 | 504), "{}", refused.status);
    cluster.start(&[0]).unwrap();
    cluster.settled(0, 2).await.unwrap();
    cluster.client(1).create("https://example.com/x").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_moves_only_to_a_voter() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::new(PROGRAM, dir.path());
    for _ in 0..3 {
        cluster.add(None).unwrap();
    }
    let edge = cluster.add(Some(r#"["redirector", "click_counter"]"#)).unwrap();
    cluster.start(&[0, 1, 2, edge]).unwrap();
    cluster.settled(0, 3).await.unwrap();
    let admin = cluster.node(0).admin_client().unwrap();
    for group in [0, 1] {
        // The nodes may be evening out their leaders just then: one asks again.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        let status = loop {
            let moved =
                admin.request(Method::POST, "/cluster/move-leader").json(&json!({ "group": group, "to": "n4" }));
            let status = admin.send(moved).await.unwrap().status;
            if status != 503 || std::time::Instant::now() > deadline {
                break status;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        };
        assert_eq!(status, 409);
    }
    let next = format!("n{}", (cluster.leader(0, 1).await.unwrap() + 1) % 3 + 1);
    let leads = |view: &serde_json::Value| leaders(view).iter().any(|(name, group, _)| *group == 1 && *name == next);
    // The nodes may be evening out their leaders just then, or another may win the election: one asks again.
    let mut tries = 0;
    while !leads(&cluster.view(0).await.unwrap()) {
        let moved = admin.request(Method::POST, "/cluster/move-leader").json(&json!({ "group": 1, "to": next }));
        let status = admin.send(moved).await.unwrap().status;
        assert!(matches!(status, 204 | 503), "{status}");
        tries += 1;
        assert!(tries < 100, "the leader does not move");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    for i in 0..40 {
        cluster.client(i % 4).create(&format!("https://example.com/{i}")).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_with_different_files_found_no_cluster_and_say_why() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::new(PROGRAM, dir.path());
    for _ in 0..2 {
        cluster.add(None).unwrap();
    }
    let right = std::fs::read_to_string(cluster.file()).unwrap();
    let other = dir.path().join("other.toml");
    let start_second = |file: &std::path::Path| cluster.builder(1).of_file(file, "n2").spawn().unwrap();
    std::fs::write(&other, right.replace("[cluster]\n", "[cluster]\nshards = 8\n")).unwrap();
    let (one, two) = (cluster.builder(0).spawn().unwrap(), start_second(&other));
    let since = std::time::Instant::now();
    while !one.errors().contains("cluster.toml of n2 is not the same") {
        assert!(since.elapsed().as_secs() < 60, "{}", one.errors());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    drop((one, two));
    // The order of the nodes is no difference: which of them creates the cluster does not hang on it.
    let (head, nodes) = right.split_once("[[node]]").unwrap();
    let (first, second) = nodes.split_once("[[node]]").unwrap();
    std::fs::write(&other, format!("{head}[[node]]{second}\n[[node]]{first}")).unwrap();
    let mut two = start_second(&other);
    cluster.start(&[0]).unwrap();
    two.ready().unwrap();
    cluster.settled(0, 2).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_named_in_the_logs_of_all_nodes_that_did_something_for_it() {
    let chatty = |cluster: Cluster| cluster.env("WAYPOST_LOG_FORMAT", "json").env("WAYPOST_LOG_LEVEL", "debug");
    let (_dir, cluster) = super::started(3, chatty).await;
    evened_out(&cluster).await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    // Of some requests to one node, other nodes lead the shard.
    for i in 0..12 {
        let client = cluster.client(0);
        let request = client
            .request(Method::POST, "/shorten")
            .header("x-request-id", format!("many-hands-{i}"))
            .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"))
            .json(&json!({ "longUrl": "https://example.com/", "customSlug": format!("hands{i}") }));
        let answer = client.send(request).await.unwrap();
        assert_eq!((answer.status, answer.header("x-request-id")), (201, Some(format!("many-hands-{i}").as_str())));
    }
    let since = std::time::Instant::now();
    loop {
        let mut found = Vec::new();
        for node in [1, 2] {
            let logs = cluster.node(node).errors();
            let lines = logs.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            let ours = |line: &serde_json::Value| {
                line["http.request.id"].as_str().is_some_and(|id| id.starts_with("many-hands-"))
                    && line["message"] == "asked by another node"
            };
            found.extend(lines.filter(ours));
        }
        if let Some(line) = found.first() {
            assert_eq!(line["trace.id"], trace, "{line}");
            break;
        }
        assert!(since.elapsed().as_secs() < 30, "no other node names a request");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_store_founds_no_second_cluster_beside_a_node_that_knows_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::new(PROGRAM, dir.path());
    let store = cluster.add(None).unwrap();
    let edge = cluster.add(Some(r#"["redirector", "click_counter"]"#)).unwrap();
    cluster.start(&[store, edge]).unwrap();
    cluster.settled(store, 1).await.unwrap();
    let code = cluster.client(store).create("https://example.com/only").await.unwrap();
    cluster.kill(store).unwrap();
    // Its disk is not mounted.
    let (data, away) = (cluster.data_dir(store), cluster.dir().join("unmounted"));
    std::fs::rename(&data, &away).unwrap();
    let emptied = cluster.builder(store).spawn().unwrap();
    let since = std::time::Instant::now();
    while !emptied.errors().contains("there is a cluster, which cannot take this node in now") {
        assert!(since.elapsed().as_secs() < 60, "{}", emptied.errors());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(emptied.printed().is_empty(), "{:?}", emptied.printed());
    drop(emptied);
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::rename(&away, &data).unwrap();
    cluster.start(&[store]).unwrap();
    assert!(cluster.client(store).follow(&code).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_not_drained_when_no_other_could_hold_its_links() {
    let (_dir, cluster) = cluster_of(2).await;
    let admin = cluster.node(0).admin_client().unwrap();
    let ask =
        async |what: &str| admin.send(admin.request(Method::POST, &format!("/cluster/nodes/{what}"))).await.unwrap();
    assert_eq!(ask("n1/drain").await.status, 204);
    let refused = ask("n2/drain").await;
    assert_eq!(refused.status, 409, "{}", String::from_utf8_lossy(&refused.body));
    assert!(refused.text("detail").contains("undrain one first"), "{}", refused.text("detail"));
    assert_eq!(ask("n1/undrain").await.status, 204);
    assert_eq!(ask("n2/drain").await.status, 204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_drain_of_a_lone_node_is_refused_at_once() {
    let (_dir, cluster) = cluster_of(1).await;
    let admin = format!("http://{}", cluster.node(0).admin());
    let mut drain = Command::new(PROGRAM);
    drain.args(["cluster", "drain", "n1", "--admin", &admin, "--wait", "60", "--data-dir"]);
    let drained = drain.arg(cluster.data_dir(0)).output().unwrap();
    let said = String::from_utf8_lossy(&drained.stderr).into_owned();
    assert_eq!(drained.status.code(), Some(1), "{said}");
    assert!(said.contains("no other node could hold its links"), "{said}");
}
