//! Backups: what is in them, what a restore makes of them, and of what is left of lost nodes.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use waypost_testkit::{Answer, Client, Load, NodeBuilder};

use crate::{PROGRAM, fresh_node};

fn waypost(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).env_remove("WAYPOST_SERVER").output().unwrap()
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn succeeds(arguments: &[&str]) -> String {
    let output = waypost(arguments);
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {out} {errors}");
    out.into_owned()
}

fn refuses(code: i32, arguments: &[&str]) -> String {
    let output = waypost(arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
    errors
}

async fn visits(client: &Client, code: &str, expected: u64) {
    let since = Instant::now();
    loop {
        let seen = client.get(&format!("/analytics/{code}")).await.unwrap().json()["totalClicks"].as_u64();
        assert!(seen <= Some(expected), "{seen:?} visits counted of {expected}");
        if seen == Some(expected) {
            return;
        }
        assert!(since.elapsed() < Duration::from_secs(60), "{seen:?} visits counted of {expected}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_node_is_as_at_the_backup_and_gives_no_code_twice() {
    let (dir, node) = fresh_node();
    let client = node.client();
    let mut before = Vec::new();
    for i in 0..60 {
        before.push(client.create(&format!("https://example.com/{i}")).await.unwrap());
    }
    let alias = json!({ "longUrl": "https://example.com/named", "customSlug": "named" });
    assert_eq!(client.shorten(alias).await.unwrap().status, 201);
    let rename =
        client.request(Method::PATCH, "/api/v1/links/named").json(&json!({ "longUrl": "https://example.com/renamed" }));
    assert_eq!(client.send(rename).await.unwrap().status, 200);
    let history = client.get("/api/v1/links/named/history").await.unwrap().json();
    assert_eq!(history["entries"][1]["longUrl"], "https://example.com/named", "{history}");
    let remove = |code: &str| client.request(Method::DELETE, &format!("/api/v1/links/{code}"));
    assert_eq!(client.send(remove(&before[0])).await.unwrap().status, 204);
    for _ in 0..7 {
        client.follow(&before[1]).await.unwrap();
    }
    visits(&client, &before[1], 7).await;

    let (file, data) = (dir.path().join("a.backup"), dir.path().join("restored"));
    let server = format!("http://{}", node.address());
    let told = succeeds(&["backup", path(&file), "--server", &server, "--data-dir", path(node.data_dir())]);
    assert!(told.contains("read back and sound"), "{told}");
    assert!(succeeds(&["check", "--backup", path(&file)]).contains("damaged      0"));
    let later = client.create("https://example.com/later").await.unwrap();
    let after = keys(&client).await;
    drop(node);

    let told = succeeds(&["restore", path(&file), "--data-dir", path(&data), "--json"]);
    let restored_at = Instant::now();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&told).unwrap()["links"], 60);
    let mut restored = NodeBuilder::new(PROGRAM, &data).start().unwrap();
    // What was restored is there for good, not only until the first restart.
    restored.terminate().unwrap();
    restored.restart().unwrap();
    let client = restored.client();
    for (i, code) in before.iter().enumerate().skip(1) {
        assert_eq!(client.follow(code).await.unwrap(), Some(format!("https://example.com/{i}")));
    }
    assert_eq!(client.follow("named").await.unwrap().as_deref(), Some("https://example.com/renamed"));
    assert_eq!(client.get("/api/v1/links/named/history").await.unwrap().json(), history);
    assert_eq!(client.follow(&before[0]).await.unwrap(), None, "a deleted link has come back");
    assert_eq!(client.follow(&later).await.unwrap(), None);
    visits(&client, &before[1], 8).await;
    let new = keys(&client).await;
    assert!(!new.contains(&later) && before.iter().all(|code| !new.contains(code)), "a code was given twice");
    assert_eq!(new.intersection(&after).next(), None, "a code was given twice");

    // The same backup again, when what the first restore had is lost as well. Some 20,000 codes are skipped for each second between.
    drop(restored);
    tokio::time::sleep(Duration::from_secs(2).saturating_sub(restored_at.elapsed())).await;
    std::fs::remove_dir_all(&data).unwrap();
    succeeds(&["restore", path(&file), "--data-dir", path(&data)]);
    let again = NodeBuilder::new(PROGRAM, &data).start().unwrap();
    let newest = keys(&again.client()).await;
    assert_eq!(newest.intersection(&new).next(), None, "a second restore gives codes of the first");
    assert_eq!(newest.intersection(&after).next(), None, "a code was given twice");
}

async fn send(client: &Client, method: Method, path: &str, body: serde_json::Value) -> Answer {
    client.send(client.request(method, path).json(&body)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_node_has_the_domains_with_their_settings_and_the_links_of_each() {
    let (dir, node) = fresh_node();
    let client = node.client();
    let format = json!({ "alphabet": "unambiguous", "length": 8, "prefix": "P-", "checkCharacter": true });
    for domain in [
        json!({ "host": "b.example", "multiSegment": true, "caseInsensitive": true, "baseUrl": "https://example.com/home" }),
        json!({ "host": "c.example", "defaultStatus": 307, "codeFormat": format }),
        json!({ "host": "gone.example", "multiSegment": true }),
        json!({ "host": "left.example" }),
    ] {
        assert_eq!(send(&client, Method::POST, "/api/v1/domains", domain).await.status, 201);
    }
    for (slug, domain, to) in [
        ("Docs/Setup", "b.example", "b"),
        ("a", "c.example", "c"),
        ("a/b", "gone.example", "gone"),
        ("a", "left.example", "left"),
        ("a", "DEFAULT", "default"),
    ] {
        let body = json!({ "longUrl": format!("https://example.com/{to}"), "customSlug": slug, "domain": domain });
        assert_eq!(client.shorten(body).await.unwrap().status, 201, "{domain}");
    }
    let body = json!({ "longUrl": "https://example.com/generated", "domain": "c.example" });
    let generated = client.shorten(body).await.unwrap().text("shortCode");
    let refuse = json!({ "unknownUrl": "https://example.com/unknown" });
    assert_eq!(send(&client, Method::PATCH, "/api/v1/domains/DEFAULT", refuse).await.status, 200);
    for path in ["gone.example", "left.example?visitors=default"] {
        let path = format!("/api/v1/domains/{path}");
        assert_eq!(send(&client, Method::DELETE, &path, json!(null)).await.status, 204);
    }
    let before = client.get("/api/v1/domains").await.unwrap().json();
    assert_eq!(before["domains"].as_array().unwrap().len(), 3);

    let (file, data) = (dir.path().join("a.backup"), dir.path().join("restored"));
    let server = format!("http://{}", node.address());
    succeeds(&["backup", path(&file), "--server", &server, "--data-dir", path(node.data_dir())]);
    drop(node);
    succeeds(&["restore", path(&file), "--data-dir", path(&data)]);
    let restored = NodeBuilder::new(PROGRAM, &data).start().unwrap();
    let client = restored.client();
    assert_eq!(client.get("/api/v1/domains").await.unwrap().json(), before);
    let generated_path = format!("/{generated}");
    for (host, path, status, to) in [
        ("b.example", "/docs/SETUP", 302, "b"),
        ("b.example", "/", 302, "home"),
        ("c.example", "/a", 307, "c"),
        ("c.example", generated_path.as_str(), 307, "generated"),
        ("left.example", "/a", 302, "default"),
        ("localhost", "/a", 302, "default"),
        ("localhost", "/nothing", 302, "unknown"),
    ] {
        let visit = client.send(client.request(Method::GET, path).header("host", host)).await.unwrap();
        let to = format!("https://example.com/{to}");
        assert_eq!((visit.status, visit.header("location")), (status, Some(to.as_str())), "{host}{path}");
    }
    let gone = client.request(Method::GET, "/a/b").header("host", "gone.example");
    assert_eq!(client.send(gone).await.unwrap().status, 404);
    // A new domain has a number of its own, and one that was removed has its links again.
    let new = send(&client, Method::POST, "/api/v1/domains", json!({ "host": "new.example" })).await;
    assert_eq!(new.status, 201);
    assert_eq!(client.get("/api/v1/links/a?domain=new.example").await.unwrap().problem(), "link-not-found");
    let again = json!({ "host": "gone.example", "multiSegment": true });
    assert_eq!(send(&client, Method::POST, "/api/v1/domains", again).await.status, 201);
    let there = client.get("/api/v1/links/a%2Fb?domain=gone.example").await.unwrap();
    assert_eq!(there.text("longUrl"), "https://example.com/gone");
    // Codes go on in the format of the domain, and none is given twice.
    let keys = client.get("/generate-key?count=1000&domain=c.example").await.unwrap().json();
    let keys: Vec<&str> = keys["keys"].as_array().unwrap().iter().filter_map(|key| key.as_str()).collect();
    assert!(keys.iter().all(|key| key.starts_with("P-") && key.len() == 11 && *key != generated), "{keys:?}");
}

/// More codes than a node takes from the cluster ahead of time.
async fn keys(client: &Client) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    while keys.len() < 20_000 {
        let answer = client.get("/generate-key?count=1000").await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.problem());
        keys.extend(answer.json()["keys"].as_array().unwrap().iter().map(|key| key.as_str().unwrap().to_owned()));
    }
    keys
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_taken_under_load_through_a_node_without_links_brings_a_cluster_back() {
    let (dir, mut cluster, edge) = crate::cluster::with_edge().await;
    let addresses: Vec<_> = (0..4).map(|index| cluster.node(index).address()).collect();
    let load = Load::start(4, &addresses);
    let client = cluster.client(1);
    let mut acknowledged = Vec::new();
    for i in 0..80 {
        acknowledged.push(client.create(&format!("https://example.com/{i}")).await.unwrap());
    }
    let file = dir.path().join("a.backup");
    let server = format!("http://{}", cluster.node(edge).address());
    let (written, data_dir) = (file.clone(), cluster.data_dir(edge));
    let told = tokio::task::spawn_blocking(move || {
        succeeds(&["backup", path(&written), "--server", &server, "--data-dir", path(&data_dir)])
    });
    assert!(told.await.unwrap().contains("of \"test\""));
    load.finish(&addresses[..1]).await.unwrap();
    for index in 0..4 {
        cluster.kill(index).unwrap();
        std::fs::rename(cluster.data_dir(index), dir.path().join(format!("lost{index}"))).unwrap();
    }

    let (config, data) = (cluster.file(), cluster.data_dir(0));
    succeeds(&["restore", path(&file), "--config", path(&config), "--node", "n1", "--data-dir", path(&data)]);
    cluster.start(&[0, 1, 2, edge]).unwrap();
    cluster.settled(0, 3).await.unwrap();
    cluster.kill(0).unwrap();
    for (i, code) in acknowledged.iter().enumerate() {
        assert_eq!(cluster.client(edge).follow(code).await.unwrap(), Some(format!("https://example.com/{i}")));
    }
    // A node of the old cluster is a stranger to the new one.
    std::fs::remove_dir_all(cluster.data_dir(0)).unwrap();
    std::fs::rename(dir.path().join("lost0"), cluster.data_dir(0)).unwrap();
    let stranger = cluster.builder(0).spawn().unwrap();
    let since = Instant::now();
    while !stranger.errors().contains("another cluster") {
        assert!(since.elapsed() < Duration::from_secs(60), "{}", stranger.errors());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disk_of_one_node_brings_back_what_the_cluster_had_acknowledged() {
    let (dir, mut cluster) = crate::cluster::cluster_of(3).await;
    // With one of three away, nothing is acknowledged that the other two do not both have.
    cluster.kill(2).unwrap();
    let mut acknowledged = Vec::new();
    while acknowledged.len() < 80 {
        let body = json!({ "longUrl": format!("https://example.com/{}", acknowledged.len()) });
        let answer = cluster.client(0).shorten(body).await.unwrap();
        if answer.status == 201 {
            acknowledged.push(answer.text("shortCode"));
        }
    }
    for _ in 0..9 {
        assert!(cluster.client(0).follow(&acknowledged[3]).await.unwrap().is_some());
    }
    for index in 0..2 {
        cluster.kill(index).unwrap();
    }
    for index in 1..3 {
        std::fs::remove_dir_all(cluster.data_dir(index)).unwrap();
    }
    let left = dir.path().join("left");
    std::fs::rename(cluster.data_dir(0), &left).unwrap();

    let (config, data) = (cluster.file(), cluster.data_dir(0));
    let told =
        succeeds(&["restore", path(&left), "--config", path(&config), "--node", "n1", "--data-dir", path(&data)]);
    assert!(told.contains("80 links"), "{told}");
    cluster.start(&[0, 1, 2]).unwrap();
    cluster.settled(0, 3).await.unwrap();
    for (i, code) in acknowledged.iter().enumerate() {
        assert_eq!(cluster.client(2).follow(code).await.unwrap(), Some(format!("https://example.com/{i}")));
    }
    // Those that no shard had counted when the node died come along too; one was just added.
    visits(&cluster.client(1), &acknowledged[3], 10).await;
    let new = keys(&cluster.client(1)).await;
    assert!(acknowledged.iter().all(|code| !new.contains(code)), "a code was given twice");

    // What was kept of before is of another cluster by now: together they would not be one.
    for index in 0..3 {
        cluster.kill(index).unwrap();
    }
    let mixed = dir.path().join("mixed");
    let told = refuses(1, &["restore", path(&data), path(&left), "--data-dir", path(&mixed)]);
    assert!(told.contains("another cluster") && !mixed.exists(), "{told}");
    let third = cluster.data_dir(2);
    let told = succeeds(&["restore", path(&third), path(&data), "--data-dir", path(&mixed)]);
    assert!(told.contains("80 links"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_refuses_what_is_damaged_in_use_or_in_the_way_and_leaves_nothing_behind() {
    let (dir, builder) = crate::node_in_temp();
    let node = builder.env("WAYPOST_ADMIN_KEY", "wp_admin_0123456789abcdefghijkl").start().unwrap();
    let client = node.client().with_key("wp_admin_0123456789abcdefghijkl");
    client.create("https://example.com/").await.unwrap();
    let (file, data) = (dir.path().join("a.backup"), dir.path().join("new"));
    let server = format!("http://{}", node.address());
    let told = refuses(1, &["backup", path(&file), "--server", &server]);
    assert!(told.contains("WAYPOST_API_KEY"), "{told}");
    assert!(!file.exists());
    let key = ["--server", &server, "--api-key", "wp_admin_0123456789abcdefghijkl"];
    succeeds(&[&["backup", path(&file)], &key[..]].concat());
    refuses(2, &[&["backup", path(&file)], &key[..]].concat());

    let whole = std::fs::read(&file).unwrap();
    let damaged = dir.path().join("damaged.backup");
    let cases = [0, 9, whole.len() / 2, whole.len() - 1].map(|at| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    });
    let shorter = [1, whole.len() / 2, 12].map(|less| whole[..whole.len() - less].to_vec());
    let longer = [whole.clone(), b"x".to_vec()].concat();
    for bytes in cases.into_iter().chain(shorter).chain([longer, Vec::new()]) {
        std::fs::write(&damaged, bytes).unwrap();
        refuses(3, &["check", "--backup", path(&damaged)]);
        refuses(3, &["restore", path(&damaged), "--data-dir", path(&data)]);
    }
    let told = refuses(1, &["restore", path(node.data_dir()), "--data-dir", path(&data)]);
    assert!(told.contains("in use"), "{told}");
    let told = refuses(2, &["restore", path(&file), "--data-dir", path(node.data_dir())]);
    assert!(told.contains("is not empty"), "{told}");
    refuses(2, &["restore", path(&dir.path().join("nowhere")), "--data-dir", path(&data)]);
    refuses(2, &["check", "--backup", path(&dir.path().join("nowhere"))]);
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("new")), "{left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_fills_a_directory_that_is_there_for_its_owner_only_and_half_of_one_is_never_started() {
    let (dir, node) = fresh_node();
    let code = node.client().create("https://example.com/").await.unwrap();
    let file = dir.path().join("a.backup");
    let server = format!("http://{}", node.address());
    succeeds(&["backup", path(&file), "--server", &server, "--data-dir", path(node.data_dir())]);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&file), 0o600);
    drop(node);

    // As the root of a file system of its own is.
    let data = dir.path().join("mounted");
    std::fs::create_dir_all(data.join("lost+found")).unwrap();
    let before = std::fs::metadata(&data).unwrap().ino();
    succeeds(&["restore", path(&file), "--data-dir", path(&data)]);
    assert_eq!(std::fs::metadata(&data).unwrap().ino(), before, "the directory itself has to stay");
    let mut restored = NodeBuilder::new(PROGRAM, &data).start().unwrap();
    assert!(restored.client().follow(&code).await.unwrap().is_some());
    restored.terminate().unwrap();

    let new = dir.path().join("a/new/one");
    succeeds(&["restore", path(&file), "--data-dir", path(&new)]);
    assert_eq!(mode(&new), 0o700);
    // Interrupted while everything was moved to its place.
    std::fs::create_dir(new.join(".restoring")).unwrap();
    std::fs::rename(new.join("store"), new.join(".restoring/store")).unwrap();
    let mut half = NodeBuilder::new(PROGRAM, &new).spawn().unwrap();
    assert_eq!(half.wait_exit().unwrap().code(), Some(2));
    assert!(half.errors().contains("was interrupted"), "{}", half.errors());
    let told = refuses(2, &["restore", path(&file), "--data-dir", path(&new)]);
    assert!(told.contains("interrupted"), "{told}");
    // Interrupted when only its traces were left to remove.
    std::fs::rename(new.join(".restoring/store"), new.join("store")).unwrap();
    let whole = NodeBuilder::new(PROGRAM, &new).start().unwrap();
    assert!(whole.client().follow(&code).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_nobody_reads_on_keeps_no_other_waiting() {
    let (dir, node) = fresh_node();
    // More than what connections and pipes hold.
    let rows: String = (0..2000).map(|i| format!("https://example.com/{i}/{}\n", "x".repeat(6000))).collect();
    let urls = dir.path().join("urls.txt");
    std::fs::write(&urls, rows).unwrap();
    let server = format!("http://{}", node.address());
    succeeds(&["import", path(&urls), "--server", &server]);
    let mut stuck = std::net::TcpStream::connect(node.address()).unwrap();
    let key = node.key().unwrap();
    stuck
        .write_all(format!("GET /api/v1/backup HTTP/1.1\r\nhost: localhost\r\nx-api-key: {key}\r\n\r\n").as_bytes())
        .unwrap();
    let mut head = [0; 12];
    stuck.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    // Two at once from one node are refused, with the reason.
    let file = dir.path().join("a.backup");
    let backup = ["backup", path(&file), "--server", &server, "--data-dir", path(node.data_dir())];
    let told = refuses(1, &backup);
    assert!(told.contains("another backup"), "{told}");
    // Links are made and followed meanwhile.
    let code = node.client().create("https://example.com/meanwhile").await.unwrap();
    assert!(node.client().follow(&code).await.unwrap().is_some());
    drop(stuck);
    let since = Instant::now();
    while waypost(&backup).status.code() != Some(0) {
        assert!(since.elapsed() < Duration::from_secs(60), "a backup that was given up keeps its turn");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(std::fs::metadata(&file).unwrap().len() > 12_000_000);
}
