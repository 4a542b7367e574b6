//! The dashboard in a real browser: Playwright leads Debian's Chromium through it.
//!
//! Each script has flows, which are functions; `browser.py` says what makes one fail. `TEST_FLOW=name` runs one flow only. Pictures of the pages on which flows failed are in
//! `target/ui-failures`.

use std::path::{Path, PathBuf};
use std::process::Command;

use waypost_testkit::{Cluster, Faults, Node, NodeBuilder, cannot_run, write_places};

use crate::cluster::{started, with_edge_of};
use crate::python_tools::python_tools;
use crate::{PROGRAM, node_in_temp};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const KEY: &str = "a-long-enough-key-for-the-tests";

/// The interpreter that has Playwright; `None` if it cannot be had, or there is no browser.
fn python() -> Option<PathBuf> {
    let browsers = ["chromium", "chromium-browser", "google-chrome"];
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).find(|dir| browsers.iter().any(|name| dir.join(name).exists()))?;
    Some(python_tools("tests/ui/requirements.txt", "ui-tools")?.join("bin/python3"))
}

/// Runs the flows of a script against a node.
fn run(script: &str, node: &Node, arguments: &[&str]) {
    let Some(python) = python() else {
        return cannot_run("the dashboard cannot be tested: it needs Chromium, Python with venv, and a package index");
    };
    let mut command = Command::new(python);
    command
        .arg(Path::new(ROOT).join("tests/ui").join(script))
        .args(["--server", &format!("http://{}", node.address()), "--admin", &format!("http://{}", node.admin())])
        .args(["--key", KEY, "--failures", &format!("{ROOT}/target/ui-failures")])
        .args(arguments)
        .args(std::env::var("TEST_FLOW").ok())
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let done = command.output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    println!("{said}");
    assert!(done.status.success(), "{script}: flows failed\n{said}\n{}", node.errors());
    assert!(!node.errors().contains("panic"), "{}", node.errors());
}

fn with_key(builder: NodeBuilder) -> Node {
    builder.env("WAYPOST_ADMIN_KEY", KEY).start().unwrap()
}

#[test]
fn links_are_managed_in_a_browser() {
    let (_dir, builder) = node_in_temp();
    let node = with_key(builder);
    let data = node.data_dir().display().to_string();
    run("one_node.py", &node, &["--program", PROGRAM, "--data-dir", &data]);
}

#[test]
fn many_links_are_found_and_changed_in_a_browser() {
    let (_dir, builder) = node_in_temp();
    run("lists.py", &with_key(builder), &[]);
}

#[test]
fn the_other_pages_are_used_in_a_browser() {
    let (_dir, builder) = node_in_temp();
    run("rest.py", &with_key(builder), &[]);
}

#[test]
fn links_are_managed_without_scripts() {
    let (_dir, builder) = node_in_temp();
    run("without_scripts.py", &with_key(builder), &[]);
}

#[test]
fn hostile_values_are_shown_and_not_run() {
    let (_dir, builder) = node_in_temp();
    run("hostile.py", &with_key(builder), &[]);
}

/// `TEST_PICTURES=folder` keeps pictures of the views there.
#[test]
fn every_view_is_accessible_and_fits_its_window() {
    let (dir, builder) = node_in_temp();
    // The scripts move the clock, for visits of a month.
    let faults = Faults::new(dir.path().join("faults")).unwrap();
    let clock = dir.path().join("faults/clock").display().to_string();
    let database = dir.path().join("places.mmdb");
    let places = [
        ([203, 0, 113, 0].into(), 24, "DE", "Berlin"),
        ([198, 51, 100, 0].into(), 25, "FR", "Paris"),
        ([198, 51, 100, 128].into(), 25, "PL", "Poznań"),
        ([192, 0, 2, 0].into(), 24, "GB", "Leeds"),
    ];
    write_places(&database, &places).unwrap();
    let builder = builder
        .env("WAYPOST_CLICKS_GEO_DATABASE", &database.display().to_string())
        .env("WAYPOST_HTTP_TRUSTED_PROXIES", "127.0.0.0/8")
        // Short links on pictures look like those of a real site.
        .env("WAYPOST_HTTP_PUBLIC_URL", "https://m.museum.example");
    let node = with_key(faults.load_into(builder));
    let pictures = std::env::var("TEST_PICTURES").ok();
    let pictures = pictures.iter().flat_map(|folder| ["--pictures", folder]);
    run("views.py", &node, &["--clock", &clock].into_iter().chain(pictures).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_replicas_serves_the_dashboard_while_another_node_is_down() {
    let (_dir, cluster, edge) = with_edge_of(|cluster| cluster.env("WAYPOST_ADMIN_KEY", KEY)).await;
    let killed = cluster.node(1).pid().to_string();
    run("three_nodes.py", cluster.node(edge), &["--kill", &killed]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cluster_is_changed_on_the_admin_listener_and_shown_on_the_public_one() {
    let (_dir, cluster) = started(3, |cluster| cluster.env("WAYPOST_ADMIN_KEY", KEY)).await;
    run("cluster.py", cluster.node(0), &["--program", PROGRAM]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_that_lack_shards_say_so() {
    // A shard is on one node only.
    let dir = tempfile::tempdir().unwrap();
    let mut cluster =
        Cluster::new(PROGRAM, dir.path()).env("WAYPOST_ADMIN_KEY", KEY).env("WAYPOST_CLUSTER_REPLICAS", "1");
    let all: Vec<usize> = (0..3).map(|_| cluster.add(None).unwrap()).collect();
    cluster.start(&all).unwrap();
    cluster.settled(0, 1).await.unwrap();
    let killed = cluster.node(2).pid().to_string();
    run("partial.py", cluster.node(0), &["--kill", &killed]);
}
