//! Disks that fill up or fail.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use waypost_testkit::{NodeBuilder, cannot_run};

use crate::{PROGRAM, node_in_temp};

/// A small file system in memory, unmounted when the test ends.
pub(crate) struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    pub(crate) fn mount(path: &'a Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(path).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(path)
            .output()
            .is_ok_and(|output| output.status.success());
        if !mounted {
            cannot_run("a small tmpfs cannot be mounted here (it needs root)");
        }
        mounted.then_some(Self(path))
    }

    /// Mounts it again as `ro` or `rw`. Nobody may have a file of it open to write.
    pub(crate) fn remount(&self, how: &str) {
        let mounted = Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(self.0).status().unwrap();
        assert!(mounted.success(), "{how}");
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[tokio::test]
async fn a_node_whose_disk_fills_up_refuses_changes_before_it_fails_and_recovers_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    let Some(_disk) = SmallDisk::mount(&path, "96m") else { return };
    let node = NodeBuilder::new(PROGRAM, path.join("data"))
        .env("WAYPOST_CLICKS_JOURNAL_RECORDS", "10000")
        .env("WAYPOST_STORAGE_FREE_SPACE_LOW", "32MiB")
        .env("WAYPOST_STORAGE_FREE_SPACE_HIGH", "40MiB")
        .start()
        .unwrap();
    let client = node.client();
    let code = client.create("https://example.com/kept").await.unwrap();
    let ballast = path.join("ballast");
    std::fs::write(&ballast, vec![1u8; 70 << 20]).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let refused = loop {
        let answer = client.shorten(json!({ "longUrl": "https://example.com/refused" })).await.unwrap();
        if answer.status != 201 {
            break answer;
        }
        assert!(Instant::now() < deadline, "the full disk is not noticed");
    };
    assert_eq!((refused.status, refused.problem()), (507, "read-only".to_owned()));
    assert_eq!(client.follow(&code).await.unwrap().as_deref(), Some("https://example.com/kept"));
    let ready = client.get("/health/ready").await.unwrap();
    assert_eq!((ready.status, &ready.json()["writable"]), (200, &json!(false)));
    std::fs::remove_file(&ballast).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while client.shorten(json!({ "longUrl": "https://example.com/again" })).await.unwrap().status != 201 {
        assert!(Instant::now() < deadline, "changes are not accepted again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Runs a node whose system calls fail from some moment on; creates until it stops. Answers what was acknowledged.
async fn create_until_it_stops(builder: &NodeBuilder, inject: &str) -> (i32, String, HashMap<String, String>) {
    let mut node = builder
        .clone()
        .under(&["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync,pwrite64", "-e", inject])
        .start()
        .unwrap();
    let client = node.client();
    let mut acked = HashMap::new();
    for i in 0..5000 {
        let url = format!("https://example.com/{i}");
        match client.shorten(json!({ "longUrl": url })).await {
            Ok(answer) if answer.status == 201 => {
                acked.insert(answer.text("shortCode"), url);
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    let status = node.wait_exit().unwrap();
    (status.code().unwrap_or(-1), node.errors(), acked)
}

#[tokio::test]
async fn a_node_whose_disk_fails_stops_and_loses_nothing_that_it_acknowledged() {
    if Command::new("strace").arg("-V").output().is_err() {
        cannot_run("strace is not installed");
        return;
    }
    for inject in ["inject=fdatasync:error=EIO:when=60+", "inject=pwrite64:error=ENOSPC:when=60+"] {
        let (_dir, builder) = node_in_temp();
        let (code, errors, acked) = create_until_it_stops(&builder, inject).await;
        assert_eq!(code, 74, "{inject}: {errors}");
        assert!(errors.contains("the store has failed"), "{inject}: {errors}");
        assert!(!acked.is_empty(), "{inject}: nothing was acknowledged before the fault");
        let node = builder.start().unwrap();
        let client = node.client();
        for (code, url) in &acked {
            assert_eq!(client.follow(code).await.unwrap().as_ref(), Some(url), "{inject}: {code}");
        }
    }
}

#[test]
fn under_ci_a_test_of_the_disk_that_cannot_run_fails() {
    let this = std::env::current_exe().unwrap();
    for test in ["a_node_whose_disk_fails_stops", "a_node_whose_disk_fills_up_refuses"] {
        for (ci, passes) in [("true", false), ("false", true)] {
            // Without a path there is neither strace nor mount.
            let ran =
                Command::new(&this).arg(format!("fault::disk::{test}")).env("CI", ci).env("PATH", "").output().unwrap();
            let said = String::from_utf8_lossy(&ran.stdout).into_owned();
            assert!(said.contains("running 1 test"), "{said}");
            assert_eq!(ran.status.success(), passes, "CI={ci} {test}: {said}");
        }
    }
}
