//! What a connection may cost: memory, time and places.

mod deadlines;
mod fast;
mod memory;
mod places;
mod refused;
mod unknown;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use waypost_testkit::{Client, Node};

/// How long something may take that happens soon on a machine with nothing else to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection on which a test sends what it likes.
struct Raw {
    stream: TcpStream,
}

impl Raw {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream }
    }

    fn send(&mut self, text: &str) {
        // The server may have closed meanwhile; what it answered tells.
        let _ = self.stream.write_all(text.as_bytes());
    }

    /// The head of an answer.
    fn head(&mut self) -> String {
        let mut bytes = Vec::new();
        let mut byte = [0];
        while !bytes.ends_with(b"\r\n\r\n") {
            assert_eq!(self.stream.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&bytes));
            bytes.push(byte[0]);
        }
        String::from_utf8(bytes).unwrap()
    }

    /// One answer: its head, and as much of a body as it says.
    fn answer(&mut self) -> String {
        let head = self.head();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        self.stream.read_exact(&mut body).unwrap();
        head + &String::from_utf8(body).unwrap()
    }

    /// Everything until the server closes the connection, and how long that took.
    fn end(&mut self) -> (String, Duration) {
        let (began, mut rest, mut buffer) = (Instant::now(), Vec::new(), [0; 4096]);
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => rest.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                Err(error) => {
                    panic!("the connection was not closed: {error}, after {}", String::from_utf8_lossy(&rest))
                }
            }
        }
        (String::from_utf8_lossy(&rest).into_owned(), began.elapsed())
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// Memory that the process has in use, in bytes.
fn memory(node: &Node) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// The value of a line of the metrics.
async fn metric(node: &Node, line: &str) -> Option<f64> {
    let text = String::from_utf8(Client::new(node.admin()).get("/metrics").await.unwrap().body).unwrap();
    text.lines().find_map(|have| have.strip_prefix(line)?.trim().parse().ok())
}
