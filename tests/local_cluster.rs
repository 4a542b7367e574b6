//! `make cluster`: three nodes on one machine, started by deploy/local/cluster.sh.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::PROGRAM;

/// Generous: test machines are slow and busy.
const PATIENCE: Duration = Duration::from_secs(180);

const SECRET: &str = "only-for-a-try-on-one-machine";

/// Nodes a, b and c on addresses of their own, each with its data in `dir`.
fn write_file(dir: &Path) -> (PathBuf, String) {
    let net = format!("127.{}.{}", rand::random_range(1..255), rand::random_range(1..255));
    let node = |(number, name): (usize, &str)| {
        let (ip, data) = (format!("{net}.{}", number + 1), dir.join(name));
        format!(
            "[[node]]\nname = \"{name}\"\nhttp = \"{ip}:8080\"\nadmin = \"{ip}:9090\"\npeer = \"{ip}:7400\"\ndata_dir = \"{}\"\n",
            data.display()
        )
    };
    let path = dir.join("three.toml");
    let text: String = ["a", "b", "c"].into_iter().enumerate().map(node).collect();
    std::fs::write(&path, format!("[clicks]\njournal_records = 1000\n{text}")).unwrap();
    (path, net)
}

fn lines_of(child: &mut Child) -> Receiver<String> {
    let (send, lines) = channel();
    let stdout = child.stdout.take().unwrap();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                break;
            }
        }
    });
    lines
}

fn start(file: &Path) -> (Child, Receiver<String>) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/local/cluster.sh");
    // Where the tests run in the background, SIGINT is ignored, and a shell that begins so cannot trap it.
    let mut child = Command::new("env")
        .args(["--default-signal=INT", "bash", script, PROGRAM])
        .arg(file)
        .env("WAYPOST_CLUSTER_SECRET", SECRET)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = lines_of(&mut child);
    (child, lines)
}

fn wait(child: &mut Child) -> Option<i32> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        assert!(Instant::now() < deadline, "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The first line that has all of these words.
fn line_with(lines: &Receiver<String>, words: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    loop {
        let Ok(line) = lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) else {
            panic!("\"{words}\" was not said: {seen:#?}")
        };
        if line.contains(words) {
            return line;
        }
        seen.push(line);
    }
}

#[test]
fn a_local_cluster_whose_port_is_taken_says_which_and_leaves_nothing_running() {
    let dir = tempfile::tempdir().unwrap();
    let (file, net) = write_file(dir.path());
    let _taken = TcpListener::bind((format!("{net}.2"), 8080)).unwrap();
    let (mut script, lines) = start(&file);
    assert_eq!(wait(&mut script), Some(1));
    let said: Vec<String> = lines.iter().collect();
    let ended = said.iter().find(|line| line.starts_with("Node b has ended")).unwrap_or_else(|| panic!("{said:#?}"));
    assert!(ended.contains(&format!("cannot listen on {net}.2:8080")), "{ended}");
    assert!(!said.iter().any(|line| line.contains("Three nodes run") || line.contains("kill -9")), "{said:#?}");
    // Their data is free again.
    for node in ["a", "c"] {
        let db = dir.path().join(node).join("store/db");
        assert!(!db.exists() || std::fs::File::open(&db).unwrap().try_lock().is_ok(), "{node} still runs");
    }
}

#[test]
fn interrupting_a_local_cluster_ends_a_node_that_was_restarted_by_hand_too() {
    let dir = tempfile::tempdir().unwrap();
    let (file, _) = write_file(dir.path());
    let (mut script, lines) = start(&file);
    line_with(&lines, "Three nodes run");
    let said = line_with(&lines, "kill -9 ");
    let pid: i32 = said.split_whitespace().nth(2).unwrap().parse().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    line_with(&lines, "Node a has ended (signal 9)");
    let mut by_hand = Command::new(PROGRAM)
        .args(["serve", "--node", "a", "--config"])
        .arg(&file)
        .env("WAYPOST_CLUSTER_SECRET", SECRET)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    line_with(&lines_of(&mut by_hand), "waypost is ready");
    kill(Pid::from_raw(script.id() as i32), Signal::SIGINT).unwrap();
    assert_eq!(wait(&mut script), Some(0));
    assert_eq!(wait(&mut by_hand), Some(0), "it was not stopped in order");
}
