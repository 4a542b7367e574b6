//! The event loop against small servers in the test: what it counts, and that it always ends.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use crate::{
    engine::{Engine, Plan},
    http::Response,
    pace::{Pace, Schedule},
    stats::{Report, Run},
    workload::{Next, Verdict, Workload},
};

/// Asks `left` times and takes any 302 for right.
struct Asking {
    left: u64,
    location: &'static [u8],
}

impl Workload for Asking {
    fn next(&mut self, _connection: u32, out: &mut Vec<u8>) -> Next {
        let Some(left) = self.left.checked_sub(1) else { return Next::End };
        self.left = left;
        out.extend_from_slice(b"GET /abc HTTP/1.1\r\nHost: h\r\n\r\n");
        Next::Request(left)
    }

    fn judge(&mut self, _token: u64, response: &Response, buf: &[u8]) -> Verdict {
        match &response.location {
            _ if response.status != 302 => Verdict::OtherStatus,
            Some(range) if &buf[range.clone()] == self.location => Verdict::Right,
            _ => Verdict::Wrong,
        }
    }
}

const FOUND: &str = "HTTP/1.1 302 Found\r\nLocation: https://e.com/\r\nContent-Length: 2\r\n\r\nok";

/// Answers every request with what `answer` gives for its number (from 0); an empty answer closes the connection. The
/// threads end with the test process.
fn server(answer: impl Fn(u64) -> String + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let shared = std::sync::Arc::new((answer, AtomicU64::new(0)));
        for stream in listener.incoming() {
            let shared = shared.clone();
            std::thread::spawn(move || converse(stream.unwrap(), &shared.0, &shared.1));
        }
    });
    address
}

fn converse(mut stream: TcpStream, answer: &dyn Fn(u64) -> String, number: &AtomicU64) {
    stream.set_nodelay(true).unwrap();
    let mut buf = [0; 4096];
    let mut filled = 0;
    loop {
        match stream.read(&mut buf[filled..]) {
            Ok(0) | Err(_) => return,
            Ok(count) => filled += count,
        }
        if !buf[..filled].ends_with(b"\r\n\r\n") {
            continue;
        }
        let requests = buf[..filled].windows(4).filter(|window| window == b"\r\n\r\n").count();
        filled = 0;
        let answers = (0..requests).map(|_| answer(number.fetch_add(1, Ordering::Relaxed)));
        let text = answers.collect::<String>();
        // In two pieces, so that the parser meets half an answer too.
        let (first, second) = text.split_at(text.len() / 2);
        if text.is_empty()
            || stream.write_all(first.as_bytes()).is_err()
            || stream.write_all(second.as_bytes()).is_err()
        {
            return;
        }
    }
}

fn run(target: SocketAddr, connections: u32, seconds: f64, pace: Pace, left: u64) -> Report {
    run_pipelined(1, target, connections, seconds, pace, left)
}

fn run_pipelined(pipeline: u32, target: SocketAddr, connections: u32, seconds: f64, pace: Pace, left: u64) -> Report {
    let plan = Plan { target, connections, pipeline, duration: Duration::from_secs_f64(seconds), pace };
    let mut asking = Asking { left, location: b"https://e.com/" };
    let stats = Engine::connect(plan, &mut asking).unwrap().run().unwrap();
    let run = Run { mode: "test", pace: "", rate: None, target: target.to_string(), connections };
    stats.report(run, None, 0.0)
}

#[test]
fn a_counted_run_asks_exactly_that_often_and_ends() {
    let report = run(server(|_| FOUND.to_owned()), 4, 60.0, Pace::Closed, 500);
    assert_eq!((report.requests, report.right), (500, 500));
    assert!(report.is_clean(), "{report:?}");
    assert!(report.seconds < 30.0);
}

#[test]
fn pipelined_requests_are_all_judged_and_the_last_ones_may_be_fewer() {
    let address = server(|number| if number % 5 == 0 { FOUND.replace("e.com", "f.com") } else { FOUND.to_owned() });
    let report = run_pipelined(16, address, 3, 60.0, Pace::Closed, 500);
    assert_eq!((report.requests, report.right, report.wrong_content), (500, 400, 100));
    assert_eq!((report.malformed, report.io_errors, report.reconnects), (0, 0, 0));
}

#[test]
fn a_connection_that_is_closed_in_the_middle_of_pipelined_requests_loses_the_rest() {
    let address =
        server(
            |number| {
                if number == 10 { FOUND.replace("Content", "Connection: close\r\nContent") } else { FOUND.to_owned() }
            },
        );
    let report = run_pipelined(8, address, 1, 60.0, Pace::Closed, 80);
    // The eleventh answer is the third of the second eight; five are lost.
    assert_eq!((report.requests, report.right, report.io_errors, report.reconnects), (80, 75, 5, 1));
}

#[test]
fn malformed_bytes_after_a_good_pipelined_answer_cost_the_connection_and_the_rest_of_its_requests() {
    let address = server(|number| if number == 2 { "SSH-2.0 and so on\r\n".to_owned() } else { FOUND.to_owned() });
    let report = run_pipelined(8, address, 1, 60.0, Pace::Closed, 80);
    assert_eq!((report.requests, report.right, report.malformed, report.io_errors), (80, 74, 1, 5));
}

#[test]
fn a_timed_run_ends_in_time_with_every_answer_received() {
    let report = run(server(|_| FOUND.to_owned()), 4, 0.3, Pace::Closed, u64::MAX);
    assert!(report.is_clean(), "{report:?}");
    assert!(report.seconds >= 0.3);
}

#[test]
fn other_statuses_and_wrong_targets_are_told_apart() {
    let address = server(|number| match number % 3 {
        0 => FOUND.to_owned(),
        1 => FOUND.replace("e.com", "f.com"),
        _ => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
    });
    let report = run(address, 1, 60.0, Pace::Closed, 300);
    assert_eq!((report.right, report.wrong_content, report.other_status), (100, 100, 100));
    assert_eq!(report.statuses["404"], 100);
    assert!(!report.is_clean());
}

#[test]
fn a_connection_lost_in_the_middle_is_counted_and_replaced() {
    let address = server(|number| if number == 10 { String::new() } else { FOUND.to_owned() });
    let report = run(address, 2, 60.0, Pace::Closed, 100);
    assert_eq!((report.requests, report.right, report.io_errors, report.reconnects), (100, 99, 1, 1));
}

#[test]
fn an_answer_that_closes_is_right_and_the_next_request_uses_a_new_connection() {
    let address = server(|_| FOUND.replace("Content", "Connection: close\r\nContent"));
    let report = run(address, 2, 60.0, Pace::Closed, 50);
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.reconnects, 50);
}

#[test]
fn an_open_loop_sends_its_whole_schedule() {
    let pace = Pace::Open(Schedule::new(1_000.0, 0.5));
    let report = run(server(|_| FOUND.to_owned()), 8, 0.5, pace, u64::MAX);
    assert_eq!((report.requests, report.right, report.unsent), (500, 500, 0));
}

#[test]
fn a_stall_counts_for_all_requests_that_were_due_in_it() {
    // One answer of the single connection takes 300 ms. A closed loop would see one slow request; the requests that were
    // due meanwhile wait as well, so that about a third of the schedule is slow.
    let address = server(|number| {
        if number == 100 {
            std::thread::sleep(Duration::from_millis(300));
        }
        FOUND.to_owned()
    });
    let report = run(address, 1, 1.0, Pace::Open(Schedule::new(500.0, 1.0)), u64::MAX);
    assert_eq!(report.right, 500);
    assert!(report.latency_us.max >= 300_000.0);
    assert!(report.latency_us.p90 >= 100_000.0, "{:?}", report.latency_us);
}

#[test]
fn a_server_that_goes_away_does_not_hold_up_the_end() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Connections are accepted by the system and never answered; the listener's end resets them.
    let gone = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 16]);
    });
    let started = Instant::now();
    let report = run(address, 2, 0.5, Pace::Closed, u64::MAX);
    gone.join().unwrap();
    assert_eq!(report.right, 0);
    assert!(report.connect_errors > 0, "{report:?}");
    assert!(started.elapsed() < Duration::from_secs(20));
}
