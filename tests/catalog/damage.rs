//! A catalog that is damaged, deleted, in the way of something else, read-only, or full: redirects and creates go on, lists say what is missing, and it heals by
//! itself.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde_json::json;
use waypost_testkit::Node;

use super::{lists_exactly, metric, report, walk_until};
use crate::fault::SmallDisk;
use crate::{fresh_node, node_in_temp};

/// All shards of a node.
fn all_shards() -> Vec<u64> {
    (0..16).collect()
}

async fn create(node: &Node, links: &mut BTreeMap<String, String>, count: usize) {
    let client = node.client();
    for _ in 0..count {
        let url = format!("https://example.com/{}", links.len());
        links.insert(client.create(&url).await.unwrap(), url);
    }
}

/// The node is what it was, apart from lists.
async fn goes_on(node: &Node, links: &mut BTreeMap<String, String>) {
    create(node, links, 20).await;
    for (code, url) in links.iter().take(20) {
        assert_eq!(node.client().follow(code).await.unwrap().as_ref(), Some(url));
    }
    let ready = node.client().get("/health/ready").await.unwrap();
    assert_eq!(ready.status, 200);
}

/// The files of the catalog.
fn files(data_dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![data_dir.join("catalog")];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found
}

#[tokio::test]
async fn a_catalog_that_was_garbled_or_deleted_while_the_node_was_down_is_made_anew() {
    let (_dir, mut node) = fresh_node();
    let mut links = BTreeMap::new();
    create(&node, &mut links, 300).await;
    lists_exactly(&node.client(), &links).await;
    for garble in [garble, cut, remove] {
        assert_eq!(node.terminate().unwrap().code(), Some(0));
        files(node.data_dir()).iter().for_each(|path| garble(path));
        node.restart().unwrap();
        goes_on(&node, &mut links).await;
        lists_exactly(&node.client(), &links).await;
    }
}

fn garble(path: &Path) {
    let bytes = std::fs::read(path).unwrap();
    let garbled: Vec<u8> = bytes.iter().enumerate().map(|(at, byte)| byte ^ (at % 251) as u8).collect();
    std::fs::write(path, garbled).unwrap();
}

fn cut(path: &Path) {
    let bytes = std::fs::read(path).unwrap();
    std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

fn remove(path: &Path) {
    std::fs::remove_file(path).unwrap();
}

/// Writes over a file that is in use, if it is still there. Twice is as once.
fn garble_in_place(path: &Path) {
    let Ok(file) = std::fs::OpenOptions::new().write(true).open(path) else { return };
    let garbled: Vec<u8> = (0..file.metadata().unwrap().len()).map(|at| (at % 251) as u8).collect();
    file.write_all_at(&garbled, 0).unwrap();
}

/// Waits until all shards were read once more.
async fn is_made_anew(node: &Node, scans_before: f64) {
    let since = std::time::Instant::now();
    while metric(node, "waypost_catalog_scans_total").await < scans_before + 16.0 {
        assert!(since.elapsed() < super::PATIENCE, "{}", node.errors());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_catalog_that_is_garbled_while_the_node_runs_is_made_anew_once_somebody_reads_it() {
    let (_dir, node) = fresh_node();
    let mut links = BTreeMap::new();
    create(&node, &mut links, 300).await;
    lists_exactly(&node.client(), &links).await;
    let scans = metric(&node, "waypost_catalog_scans_total").await;
    // A reader forgets its pages when something was changed. Those that the change itself wrote are right when they are written after the
    // garbling, and a list may need no others: then nobody has read anything wrong, and it is garbled again.
    let since = std::time::Instant::now();
    loop {
        goes_on(&node, &mut links).await;
        if metric(&node, "waypost_catalog_scans_total").await > scans {
            break;
        }
        assert!(since.elapsed() < super::PATIENCE, "{}", node.errors());
        // The third file is memory that all of its users share.
        files(node.data_dir())
            .iter()
            .filter(|path| !path.ends_with("links.sqlite-shm"))
            .for_each(|path| garble_in_place(path));
        walk_until(&node.client(), "", "it is answered", |_| true).await;
    }
    assert!(node.errors().contains("the catalog of this node cannot be used"), "{}", node.errors());
    is_made_anew(&node, scans).await;
    goes_on(&node, &mut links).await;
    lists_exactly(&node.client(), &links).await;
}

#[tokio::test]
async fn a_catalog_that_is_deleted_while_the_node_runs_is_made_anew() {
    let (_dir, node) = fresh_node();
    let mut links = BTreeMap::new();
    create(&node, &mut links, 100).await;
    lists_exactly(&node.client(), &links).await;
    let scans = metric(&node, "waypost_catalog_scans_total").await;
    std::fs::remove_dir_all(node.data_dir().join("catalog")).unwrap();
    goes_on(&node, &mut links).await;
    // The open files still have everything, so only the count tells.
    is_made_anew(&node, scans).await;
    lists_exactly(&node.client(), &links).await;
    assert!(!files(node.data_dir()).is_empty());
}

#[tokio::test]
async fn without_a_place_for_its_catalog_a_node_goes_on_and_lists_say_what_is_missing_until_there_is_one() {
    let (_dir, builder) = node_in_temp();
    std::fs::create_dir_all(builder.data_dir()).unwrap();
    let in_the_way = builder.data_dir().join("catalog");
    std::fs::write(&in_the_way, b"a file").unwrap();
    let node = builder.start().unwrap();
    let mut links = BTreeMap::new();
    goes_on(&node, &mut links).await;
    let list = walk_until(&node.client(), "", "it is answered", |_| true).await;
    assert_eq!((list.partial, list.links.len()), (all_shards(), 0));
    // A list may be asked for before the node has tried to open its catalog.
    let since = std::time::Instant::now();
    let mut told = report(&node).await;
    while told["failure"] == json!("") {
        assert!(since.elapsed() < super::PATIENCE, "{told}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        told = report(&node).await;
    }
    assert_eq!(told["complete"], json!(0), "{told}");
    assert!(told["failure"].as_str().unwrap().contains("catalog"), "{told}");
    assert!(node.errors().contains("the catalog of this node cannot be used"), "{}", node.errors());
    assert_eq!(metric(&node, "waypost_catalog_shards_missing").await, 16.0);
    std::fs::remove_file(&in_the_way).unwrap();
    lists_exactly(&node.client(), &links).await;
    assert!(node.errors().contains("the catalog works again"), "{}", node.errors());
    assert_eq!(report(&node).await["failure"], json!(""));
}

#[tokio::test]
async fn a_catalog_whose_disk_became_read_only_does_without_until_it_can_be_written() {
    let (_dir, builder) = node_in_temp();
    let place = builder.data_dir().join("catalog");
    let Some(disk) = SmallDisk::mount(&place, "32m") else { return };
    let mut node = builder.start().unwrap();
    let mut links = BTreeMap::new();
    create(&node, &mut links, 50).await;
    lists_exactly(&node.client(), &links).await;
    assert_eq!(node.terminate().unwrap().code(), Some(0));
    disk.remount("ro");
    node.restart().unwrap();
    goes_on(&node, &mut links).await;
    let since = std::time::Instant::now();
    while report(&node).await["failure"] == json!("") {
        assert!(since.elapsed() < super::PATIENCE, "the read-only disk is not noticed");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let missing = walk_until(&node.client(), "", "shards are missing", |list| !list.partial.is_empty()).await;
    assert_eq!((missing.partial, missing.links.len()), (all_shards(), 0));
    goes_on(&node, &mut links).await;
    disk.remount("rw");
    lists_exactly(&node.client(), &links).await;
    assert_eq!(report(&node).await["failure"], json!(""));
}

#[tokio::test]
async fn a_catalog_whose_disk_is_full_does_without_until_there_is_space() {
    let (_dir, builder) = node_in_temp();
    let place = builder.data_dir().join("catalog");
    let Some(_disk) = SmallDisk::mount(&place, "8m") else { return };
    let node = builder.start().unwrap();
    let mut links = BTreeMap::new();
    create(&node, &mut links, 50).await;
    lists_exactly(&node.client(), &links).await;
    let ballast = place.join("ballast");
    // As much as there is room for.
    let _ = std::fs::write(&ballast, vec![1u8; 16 << 20]);
    let since = std::time::Instant::now();
    while report(&node).await["failure"] == json!("") {
        goes_on(&node, &mut links).await;
        assert!(since.elapsed() < super::PATIENCE, "the full disk is not noticed");
    }
    goes_on(&node, &mut links).await;
    let missing = walk_until(&node.client(), "", "shards are missing", |list| !list.partial.is_empty()).await;
    assert_eq!(missing.partial, all_shards());
    std::fs::remove_file(&ballast).unwrap();
    lists_exactly(&node.client(), &links).await;
}
