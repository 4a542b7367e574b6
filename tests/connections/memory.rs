//! Clients that send and never read, and clients that do nothing, take no more memory than the configuration says.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use waypost_testkit::{Node, cannot_run};

use super::{PATIENCE, Raw, get, memory, metric};
use crate::node_in_temp;

/// What cluster.toml says that a connection takes: one that does nothing, and one whose client never reads.
const IDLE_BYTES: u64 = 20 * 1024;
const NEVER_READING_BYTES: u64 = 160 * 1024;

/// What a node takes besides, under load: its caches warm up, and the allocator keeps some of what was freed.
const SLACK_BYTES: u64 = 32 << 20;

/// Sends requests until the socket takes none for a second; answers how many bytes it took.
fn send_until_refused(stream: &mut TcpStream, requests: &[u8]) -> usize {
    stream.set_nonblocking(true).unwrap();
    let (mut sent, mut since) = (0, Instant::now());
    while since.elapsed() < Duration::from_secs(1) {
        match stream.write(requests) {
            Ok(length) => {
                sent += length;
                since = Instant::now();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(Duration::from_millis(5)),
            Err(_) => break,
        }
        assert!(sent < 256 << 20, "the server goes on reading although nobody reads its answers");
    }
    sent
}

#[tokio::test]
async fn a_client_that_never_reads_is_not_read_from_and_takes_no_memory() {
    let (_dir, builder) = node_in_temp();
    let node = builder.env("WAYPOST_HTTP_WRITE_TIMEOUT_MS", "3600000").start().unwrap();
    let client = node.client();
    let long = client.create(&format!("https://example.com/{}", "a".repeat(8000))).await.unwrap();
    assert!(client.follow(&long).await.unwrap().is_some());
    let before = memory(&node);
    let mut open = Vec::new();
    for path in [format!("/{long}"), "/health/ready".to_owned(), "/unknown".to_owned(), "/api/v1/stats/live".to_owned()]
    {
        let mut stream = TcpStream::connect(node.address()).unwrap();
        send_until_refused(&mut stream, get(&path).repeat(1000).as_bytes());
        open.push(stream);
    }
    let grown = memory(&node).saturating_sub(before);
    assert!(grown < 16 << 20, "{} MiB more", grown >> 20);
    assert!(client.follow(&long).await.unwrap().is_some(), "others are served");
}

#[tokio::test]
async fn a_client_that_never_reads_is_cut_off_after_a_while() {
    let (_dir, builder) = node_in_temp();
    let node = builder.env("WAYPOST_HTTP_WRITE_TIMEOUT_MS", "500").start().unwrap();
    let code = node.client().create(&format!("https://example.com/{}", "a".repeat(8000))).await.unwrap();
    let mut stream = TcpStream::connect(node.address()).unwrap();
    send_until_refused(&mut stream, get(&format!("/{code}")).repeat(1000).as_bytes());
    let since = Instant::now();
    while metric(&node, "waypost_http_connections_late_total{deadline=\"write\"}").await != Some(1.0) {
        assert!(since.elapsed() < PATIENCE, "the connection stays");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    while metric(&node, "waypost_http_connections{listener=\"public\"}").await != Some(0.0) {
        assert!(since.elapsed() < PATIENCE, "the connection is there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn all_answers_of_a_client_that_pipelines_and_reads_come_in_order() {
    let (_dir, builder) = node_in_temp();
    let node = builder.start().unwrap();
    let code = node.client().create("https://example.com/").await.unwrap();
    let mut raw = Raw::connect(node.address());
    let body = "https://example.com/b";
    let post = format!(
        "POST /shorten HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let chunked = "POST /shorten HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n\
                   4\r\nhttp\r\n11\r\ns://example.com/c\r\n0\r\n\r\n";
    let requests = [get(&format!("/{code}")), post, get("/health/live"), chunked.to_owned(), get("/unknown1")];
    let mut sender = raw.stream.try_clone().unwrap();
    let all = requests.concat().repeat(200);
    let sending = std::thread::spawn(move || sender.write_all(all.as_bytes()));
    for round in 0..200 {
        for status in ["302", "201", "200", "201", "404"] {
            let answer = raw.answer();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{round}: {status}: {answer}");
        }
    }
    sending.join().unwrap().unwrap();
}

/// How many connections: few in a test among others, all of them in `make soak-connections`.
fn numbers() -> (usize, usize) {
    let number = |name: &str, else_: usize| std::env::var(name).map_or(else_, |text| text.parse().unwrap());
    (number("TEST_NEVER_READING", 50), number("TEST_IDLE", 500))
}

/// A client that follows a link over and over on one connection; answers how often, and how long the slowest took.
fn follow_steadily(address: SocketAddr, path: &str, ended: &AtomicBool, answered: &AtomicU64) -> Duration {
    let mut raw = Raw::connect(address);
    let mut slowest = Duration::ZERO;
    while !ended.load(Ordering::Relaxed) {
        let asked = Instant::now();
        raw.send(&get(path));
        assert!(raw.answer().starts_with("HTTP/1.1 302 "));
        slowest = slowest.max(asked.elapsed());
        answered.fetch_add(1, Ordering::Relaxed);
    }
    slowest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_connections_that_never_read_or_do_nothing_stay_within_the_budget_and_harm_no_visitor() {
    let (never_reading, idle) = numbers();
    let needed = (never_reading + idle) as u64 + 1024;
    let (soft, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    if hard < needed {
        return cannot_run("the system allows too few open files for so many connections");
    }
    if soft < needed {
        nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    }
    let (_dir, builder) = node_in_temp();
    let node = builder.env("WAYPOST_HTTP_WRITE_TIMEOUT_MS", "3600000").start().unwrap();
    let code = node.client().create("https://example.com/some/path?with=parameters").await.unwrap();
    let path = format!("/{code}");
    assert!(node.client().follow(&code).await.unwrap().is_some());

    let (ended, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (address, of_steady) = (node.address(), (ended.clone(), answered.clone(), path.clone()));
    let steady = std::thread::spawn(move || follow_steadily(address, &of_steady.2, &of_steady.0, &of_steady.1));
    let rate = |answered: &AtomicU64| {
        let before = answered.load(Ordering::Relaxed);
        std::thread::sleep(Duration::from_secs(2));
        (answered.load(Ordering::Relaxed) - before) / 2
    };
    let (alone, before) = (rate(&answered), memory(&node));

    let idle_ones: Vec<Raw> = (0..idle).map(|_| one_request(address, &path)).collect();
    let with_idle = memory(&node).saturating_sub(before);
    let flood = get(&path).repeat(1000);
    let mut open: Vec<TcpStream> = Vec::with_capacity(never_reading);
    for _ in 0..never_reading {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nonblocking(true).unwrap();
        open.push(stream);
    }
    // All of them send, until none is read from for a while.
    let (mut quiet, mut sent) = (Instant::now(), 0);
    while quiet.elapsed() < Duration::from_secs(2) {
        for stream in &mut open {
            if let Ok(length @ 1..) = stream.write(flood.as_bytes()) {
                sent += length;
                quiet = Instant::now();
            }
        }
        assert!(sent < never_reading * (64 << 20), "the server goes on reading");
        std::thread::sleep(Duration::from_millis(5));
    }
    let with_both = memory(&node).saturating_sub(before);
    let under_load = rate(&answered);
    ended.store(true, Ordering::Relaxed);
    let slowest = steady.join().unwrap();
    println!(
        "{idle} idle: {} KiB each; {never_reading} never reading: {} KiB each; a steady client: {alone}/s alone, {under_load}/s, slowest {slowest:?}",
        with_idle / 1024 / idle as u64,
        with_both.saturating_sub(with_idle) / 1024 / never_reading as u64,
    );
    let budget = idle as u64 * IDLE_BYTES + never_reading as u64 * NEVER_READING_BYTES + SLACK_BYTES;
    assert!(with_both < budget, "{} MiB more, and {} MiB were said", with_both >> 20, budget >> 20);
    assert!(under_load > 0, "a steady client is served");
    // All are still there: nobody was cut off to make this true.
    assert_eq!(open_connections(&node).await, (idle + never_reading) as f64);
    drop((idle_ones, open));
}

fn one_request(address: SocketAddr, path: &str) -> Raw {
    let mut raw = Raw::connect(address);
    raw.send(&get(path));
    let mut answer = [0; 4096];
    assert!(raw.stream.read(&mut answer).unwrap() > 12 && answer.starts_with(b"HTTP/1.1 302"));
    raw
}

/// Connections to the public listener, without that of the steady client, which has ended.
async fn open_connections(node: &Node) -> f64 {
    let since = Instant::now();
    loop {
        let open = metric(node, "waypost_http_connections{listener=\"public\"}").await.unwrap();
        // Those of other clients of this test end by and by.
        let (never_reading, idle) = numbers();
        if open <= (never_reading + idle) as f64 || since.elapsed() > PATIENCE {
            return open;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
