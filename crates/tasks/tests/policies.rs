//! What a panic in a task leads to, by policy.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use waypost_tasks::{Policy, Task, Tasks};
use waypost_telemetry::Metrics;

/// Runs the test of this name in a process of its own, which has to exit. Returns the exit code.
fn exit_code_of(test: &str) -> Option<i32> {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test]).env(CHILD, "1").output().unwrap().status.code()
}

const CHILD: &str = "WAYPOST_TEST_EXIT_CHILD";

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

#[tokio::test]
async fn a_task_that_panics_is_made_anew_and_counted() {
    let metrics = Metrics::new();
    let runs = Arc::new(AtomicU32::new(0));
    let counted = runs.clone();
    let task = Tasks::new(&metrics).spawn(Task::Controller, move || {
        let counted = counted.clone();
        async move { assert!(counted.fetch_add(1, Ordering::SeqCst) >= 3, "not yet") }
    });
    task.await.unwrap();
    assert_eq!(runs.load(Ordering::SeqCst), 4);
    let text = metrics.render();
    assert!(text.contains("waypost_task_panics_total{task=\"controller\"} 3"), "{text}");
    assert!(text.contains("waypost_task_up{task=\"controller\"} 0"), "{text}");
}

#[tokio::test]
async fn a_task_that_cannot_be_made_is_tried_again() {
    let mut tries = 0;
    let task = Tasks::new(&Metrics::new()).spawn(Task::MembershipReconciler, move || {
        tries += 1;
        assert!(tries > 2, "not yet");
        async {}
    });
    task.await.unwrap();
}

#[test]
fn a_thread_that_panics_runs_again() {
    let metrics = Metrics::new();
    let mut runs = 0;
    let thread = Tasks::new(&metrics).thread(Task::SpaceWatch, move || {
        runs += 1;
        assert!(runs > 2, "not yet");
        assert_eq!(std::thread::current().name(), Some("space-watch"));
    });
    thread.unwrap().join().unwrap();
    assert!(metrics.render().contains("waypost_task_panics_total{task=\"space_watch\"} 2"));
}

#[tokio::test]
async fn a_piece_of_work_that_panics_ends_alone() {
    let metrics = Metrics::new();
    let tasks = Tasks::new(&metrics);
    let failed = tasks.spawn_once(Task::PeerRequest, async { panic!("in a request") });
    let done = tasks.spawn_once(Task::PeerRequest, async { 7 });
    assert_eq!((failed.await.unwrap(), done.await.unwrap()), (None::<()>, Some(7)));
    let text = metrics.render();
    assert!(text.contains("waypost_task_panics_total{task=\"peer_request\"} 1"), "{text}");
    assert!(text.contains("waypost_task_up{task=\"peer_request\"} 0"), "{text}");
}

#[tokio::test]
async fn a_process_exits_when_the_restarts_of_a_task_are_spent() {
    if is_child() {
        let panics = || async { panic!("each time") };
        let _ = Tasks::new(&Metrics::new()).spawn(Task::Proposer, panics).await;
        std::process::exit(1);
    }
    assert_eq!(exit_code_of("a_process_exits_when_the_restarts_of_a_task_are_spent"), Some(70));
}

#[test]
fn a_process_exits_when_a_task_leaves_something_half_done() {
    if is_child() {
        let _ = Tasks::new(&Metrics::new()).thread(Task::GroupCommit, || panic!("half done")).unwrap().join();
        std::process::exit(1);
    }
    assert_eq!(exit_code_of("a_process_exits_when_a_task_leaves_something_half_done"), Some(70));
}

#[tokio::test]
async fn a_process_exits_when_a_task_that_should_go_on_cannot_be_made_anew() {
    if is_child() {
        let _ = Tasks::new(&Metrics::new()).spawn_once(Task::MembershipReconciler, async { panic!("once") }).await;
        std::process::exit(1);
    }
    assert_eq!(exit_code_of("a_process_exits_when_a_task_that_should_go_on_cannot_be_made_anew"), Some(70));
}

#[test]
fn each_policy_has_a_task() {
    for policy in [Policy::Restart, Policy::StopProcess, Policy::FailStore, Policy::End, Policy::Actor] {
        assert!(Task::ALL.iter().any(|task| task.policy() == policy), "{policy:?}");
    }
}
