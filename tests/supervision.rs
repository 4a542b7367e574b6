//! What a panic in each task of a node leads to: `Task::ALL` is the list, and `Task::policy` the promise.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::json;
use waypost_tasks::{Policy, Task};
use waypost_testkit::{Client, Cluster, Node};

use crate::{PROGRAM, node_in_temp};

/// Makes tasks panic. Works in debug builds only.
const PANIC: &str = "TEST_PANIC";

const PATIENCE: Duration = Duration::from_secs(120);

fn tasks_of(policies: &[Policy]) -> impl Iterator<Item = Task> {
    Task::ALL.iter().copied().filter(move |task| policies.contains(&task.policy()))
}

/// A metric of a node, by the only label that it has.
async fn metric(node: &Node, name: &str, label: &str) -> BTreeMap<String, f64> {
    let text = Client::new(node.admin()).get("/metrics").await.unwrap();
    let text = String::from_utf8(text.body).unwrap();
    let begin = format!("{name}{{{label}=\"");
    let value = |line: &str| {
        let (of, rest) = line.strip_prefix(&begin)?.split_once('"')?;
        Some((of.to_owned(), rest.rsplit_once(' ')?.1.parse().ok()?))
    };
    text.lines().filter_map(value).collect()
}

/// Waits until something holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let since = Instant::now();
    while !holds().await {
        assert!(since.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_panic_in_any_task_that_can_go_on_is_survived_and_counted() {
    let once = |tasks: &mut dyn Iterator<Item = Task>| {
        tasks.map(|task| format!("{}:1", task.name())).collect::<Vec<_>>().join(",")
    };
    let faults = once(&mut tasks_of(&[Policy::Restart, Policy::RestartAlways, Policy::End, Policy::Actor]));
    let dir = tempfile::tempdir().unwrap();
    let mut cluster =
        Cluster::new(PROGRAM, dir.path()).env(PANIC, &faults).env("WAYPOST_STORAGE_CHECKPOINT_BYTES", "64KiB");
    let both: Vec<usize> = (0..2).map(|_| cluster.add(None).unwrap()).collect();
    cluster.start(&both).unwrap();
    cluster.settled(0, 2).await.unwrap();

    // Every kind of work is asked for until it is done.
    let client = cluster.client(0);
    let mut code = String::new();
    until("links are created", async || {
        let created = client.shorten(json!({ "longUrl": "https://example.com/kept" })).await.unwrap();
        code = created.text("shortCode");
        created.status == 201
    })
    .await;
    for node in both.iter().copied() {
        let client = cluster.client(node);
        until("links are followed", async || client.get(&format!("/{code}")).await.unwrap().status == 302).await;
    }
    until("clicks are counted", async || {
        let told = client.get(&format!("/analytics/{code}")).await.unwrap().json();
        told["totalClicks"].as_u64().is_some_and(|count| count >= 2)
    })
    .await;
    let mut tries = 0;
    until("a backup is whole", async || {
        tries += 1;
        let backup = std::process::Command::new(PROGRAM)
            .arg("backup")
            .arg(dir.path().join(format!("links{tries}.backup")))
            .args(["--server", &format!("http://{}", cluster.node(0).address()), "--data-dir"])
            .arg(cluster.data_dir(0))
            .output()
            .unwrap();
        backup.status.success()
    })
    .await;

    // Each has panicked, and those that work all the time do so again.
    for task in
        tasks_of(&[Policy::Restart, Policy::RestartAlways, Policy::End]).filter(|task| *task != Task::SecondSignal)
    {
        until(task.name(), async || {
            let mut panics = 0.0;
            let mut up = 0.0;
            for node in both.iter().map(|index| cluster.node(*index)) {
                let of = |values: BTreeMap<String, f64>| values.get(task.name()).copied().unwrap_or(0.0);
                panics += of(metric(node, "waypost_task_panics_total", "task").await);
                up += of(metric(node, "waypost_task_up", "task").await);
            }
            panics >= 1.0 && (task.policy() == Policy::End || up >= 1.0)
        })
        .await;
    }
    for actor in ["key_allocator", "janitor", "click_counter"] {
        until(actor, async || {
            let restarts = metric(cluster.node(0), "waypost_actor_restarts_total", "actor").await;
            restarts.get(actor).is_some_and(|count| *count >= 1.0)
        })
        .await;
    }
    assert!(cluster.node(0).errors().contains("a handler's future panicked"));

    // The last one: a node that is told to stop stops.
    assert_eq!(cluster.node_mut(1).terminate().unwrap().code(), Some(0));
    let log = cluster.node(1).errors();
    assert!(log.contains("second_signal") && log.contains("a task panicked and has ended"), "{log}");
}

#[tokio::test]
async fn a_panic_that_leaves_something_half_done_stops_the_process() {
    for (task, code) in [(Task::GroupCommit, 70), (Task::Deadlines, 70), (Task::Supervisor, 70), (Task::Apply, 74)] {
        let (_dir, builder) = node_in_temp();
        let mut node = builder.clone().env(PANIC, &format!("{}:1", task.name())).spawn().unwrap();
        let status = node.wait_exit().unwrap();
        assert_eq!(status.code(), Some(code), "{}: {}", task.name(), node.errors());
        // Nothing of it stays: the same directory serves without the fault.
        builder.start().unwrap();
    }
    // These are all; that of a snapshot has a test of its own.
    let stopping: Vec<Task> = tasks_of(&[Policy::StopProcess, Policy::FailStore]).collect();
    assert_eq!(stopping, [Task::Apply, Task::Install, Task::GroupCommit, Task::Deadlines, Task::Supervisor]);
}

#[tokio::test]
async fn a_panic_while_a_snapshot_is_installed_stops_the_process_and_the_next_start_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::new(PROGRAM, dir.path()).env("WAYPOST_STORAGE_CHECKPOINT_BYTES", "64KiB");
    let first = cluster.add(None).unwrap();
    cluster.start(&[first]).unwrap();
    let client = cluster.client(first);
    // So many that the logs do not reach back to the first any more.
    for number in 0..1500 {
        let created = client.shorten(json!({ "longUrl": format!("https://example.com/{number}/{}", "x".repeat(800)) }));
        assert_eq!(created.await.unwrap().status, 201);
    }
    let second = cluster.add(None).unwrap();
    let mut joining = cluster.builder(second).env(PANIC, "install:1").spawn().unwrap();
    assert_eq!(joining.wait_exit().unwrap().code(), Some(70), "{}", joining.errors());
    cluster.start(&[second]).unwrap();
    cluster.settled(first, 2).await.unwrap();
}

#[tokio::test]
async fn a_task_that_panics_again_and_again_stops_the_process() {
    let (_dir, builder) = node_in_temp();
    let mut node = builder.env(PANIC, "steward:100").spawn().unwrap();
    assert_eq!(node.wait_exit().unwrap().code(), Some(70));
    assert!(node.errors().contains("it panicked too often"), "{}", node.errors());
}

#[tokio::test]
async fn a_node_without_a_service_that_requests_need_is_not_ready_and_says_why() {
    let (_dir, builder) = node_in_temp();
    let node = builder.env(PANIC, "lease_fetch:100").start().unwrap();
    let client = node.client();
    until("the node is not ready", async || client.get("/health/ready").await.unwrap().status == 503).await;
    let answer = client.get("/health/ready").await.unwrap();
    assert!(answer.text("detail").contains("key_allocator"), "{:?}", answer.json());
    let given_up = metric(&node, "waypost_actor_given_up", "actor").await;
    assert_eq!(given_up.get("key_allocator"), Some(&1.0));
    let health = std::process::Command::new(PROGRAM)
        .args(["health", "--server", &format!("http://{}", node.address())])
        .output()
        .unwrap();
    assert_eq!(health.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&health.stderr).contains("key_allocator"));
}

#[tokio::test]
async fn every_thread_of_a_node_is_named_by_what_it_does() {
    let (_dir, builder) = node_in_temp();
    let node = builder.spawn().unwrap();
    let names = || -> BTreeSet<String> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", node.pid())).unwrap();
        // A thread may end while it is looked at.
        let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).ok();
        tasks.flatten().filter_map(name).map(|name| name.trim().to_owned()).collect()
    };
    let expected = [
        "waypost",
        "http-worker",
        "admin-worker",
        "link-store",
        "background",
        "engine",
        "group-commit",
        "journal-sync",
        "space-watch",
        "memory-watch",
        "store-watch",
        "catalog",
    ];
    until("the threads have their names", async || {
        let names = names();
        expected.iter().all(|name| names.contains(*name)) && !names.iter().any(|name| name.starts_with("actix-rt"))
    })
    .await;
}
