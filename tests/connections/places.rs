//! How many connections a client may have, and how many there is room for.

use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use waypost_testkit::cannot_run;

use super::{PATIENCE, Raw, get};
use crate::node_in_temp;

/// Gives this thread, and what it starts, a network of its own, in which this machine has the addresses of others.
fn network_of_its_own() -> bool {
    let done = |arguments: &str| {
        std::process::Command::new("ip").args(arguments.split(' ')).status().is_ok_and(|status| status.success())
    };
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).is_ok()
        && done("link set lo up")
        && done("addr add 203.0.113.1/32 dev lo")
        && done("addr add 203.0.113.2/32 dev lo")
}

#[test]
fn a_client_has_so_many_connections_at_a_time_and_this_machine_as_many_as_it_likes() {
    if !network_of_its_own() {
        return cannot_run("a network namespace needs root, and the command ip");
    }
    let (_dir, builder) = node_in_temp();
    let node = builder
        .listen("0.0.0.0:0")
        .env("WAYPOST_ADMIN_KEY", "a-long-enough-key-for-the-tests")
        .env("WAYPOST_HTTP_CONNECTIONS_PER_ADDRESS_MAX", "5")
        .start()
        .unwrap();
    let port = node.address().port();
    // A connection to an own address comes from it.
    let connect = |address: &str| {
        let mut raw = Raw::connect(format!("{address}:{port}").parse().unwrap());
        raw.send(&get("/health/live"));
        raw
    };
    let mut open: Vec<Raw> = (0..5).map(|_| connect("203.0.113.1")).collect();
    open.iter_mut().for_each(|raw| assert!(raw.answer().starts_with("HTTP/1.1 200")));
    for _ in 0..3 {
        let refused = connect("203.0.113.1").end().0;
        assert!(refused.is_empty() || refused.starts_with("HTTP/1.1 429 "), "{refused}");
        assert!(refused.is_empty() || refused.contains("too-many-connections") && refused.contains("retry-after: 1"));
    }
    assert!(connect("203.0.113.2").answer().starts_with("HTTP/1.1 200"), "another client");
    let many: Vec<Raw> = (0..20).map(|_| connect("127.0.0.1")).collect();
    many.into_iter().for_each(|mut raw| assert!(raw.answer().starts_with("HTTP/1.1 200")));
    open.pop();
    let since = Instant::now();
    loop {
        let mut again = connect("203.0.113.1");
        let mut first = [0; 13];
        if again.stream.read(&mut first).is_ok_and(|length| length == 13) && first.starts_with(b"HTTP/1.1 200") {
            break;
        }
        assert!(since.elapsed() < PATIENCE, "the place was not given back");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Starts a node that may open so many files.
fn with_files(files: u64) -> (tempfile::TempDir, waypost_testkit::NodeBuilder) {
    let (dir, builder) = node_in_temp();
    let limited = builder.under(&["sh", "-c", &format!("ulimit -n {files}; exec \"$@\""), "sh"]);
    (dir, limited.env("WAYPOST_HTTP_WORKERS", "1"))
}

#[test]
fn connections_that_do_not_fit_in_the_limit_of_open_files_are_not_promised() {
    let (_dir, builder) = with_files(1024);
    let node = builder.start().unwrap();
    let told = node.errors();
    assert!(told.contains("connections_max") && told.contains("LimitNOFILE"), "{told}");
    // More than there are files: those for the store and the admin listener are kept.
    let clients: Vec<TcpStream> = (0..500).map(|_| TcpStream::connect(node.address()).unwrap()).collect();
    let mut admin = Raw::connect(node.admin());
    admin.send(&get("/health/ready"));
    assert!(admin.answer().starts_with("HTTP/1.1 200"));
    assert!(!node.errors().contains("Too many open files"), "{}", node.errors());
    drop(clients);
}

#[test]
fn a_node_that_may_open_too_few_files_says_how_many_it_needs() {
    let (_dir, builder) = with_files(200);
    let mut node = builder.spawn().unwrap();
    assert_eq!(node.wait_exit().unwrap().code(), Some(2), "{}", node.errors());
    let told = node.errors();
    assert!(told.contains("200 files") && told.contains("ulimit -n"), "{told}");
}
