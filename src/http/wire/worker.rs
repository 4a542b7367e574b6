//! The connections of one worker, and the sweep that closes those whose deadline has passed. One timer serves all of them: a request sets
//! none.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use waypost_telemetry::{Counter, CounterVec, Gauge, Metrics};

use super::addresses::{Addresses, Seat};
use super::conn::{Conn, Deadlines, Reason, WorkerTime};

/// The number of bytes that a worker reads at once, for any connection.
const READ_BYTES: usize = 16 * 1024;

/// The largest buffer for answers that a worker keeps.
const ANSWERS_KEPT_BYTES: usize = 128 * 1024;

/// The longest pause between two sweeps.
const TICK_MAX: Duration = Duration::from_millis(250);

/// The shortest pause.
const TICK_MIN: Duration = Duration::from_millis(20);

/// The limits of the connections of a listener.
#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    /// The most open connections of one worker; further ones wait to be accepted.
    pub connections_max: usize,
    /// The number of connections that each client may have.
    pub addresses: std::sync::Arc<Addresses>,
    /// How long an idle connection is kept.
    pub keep_alive: Duration,
    /// How long a client may take to send the head of a request, and again for its body.
    pub request: Duration,
    /// How long a client may take to read an answer, or 16 KiB of it.
    pub write: Duration,
}

#[derive(Clone)]
struct ConnectionMetrics {
    open: Gauge,
    refused: Counter,
    late: CounterVec,
    malformed: Counter,
    handed_on: Counter,
}

/// The shared state of the connections of one worker.
pub(in crate::http) struct Connections {
    pub(super) time: Rc<WorkerTime>,
    tick: Duration,
    deadlines: Deadlines,
    /// The number of connections from which on they count as scarce.
    crowded_at: usize,
    open: RefCell<Vec<Rc<Conn>>>,
    addresses: std::sync::Arc<Addresses>,
    /// The read buffer, empty between two polls.
    pub(super) buffer: RefCell<Box<[u8]>>,
    /// A buffer for answers, unless a connection has it.
    answers: RefCell<Vec<u8>>,
    metrics: ConnectionMetrics,
    told: Cell<Option<Instant>>,
    untold: Cell<u64>,
}

impl Connections {
    /// Creates it for one worker of the listener `name`.
    pub(super) fn new(name: &str, limits: &ConnectionLimits, metrics: &Metrics) -> Rc<Self> {
        let millis = |time: Duration| time.as_millis() as u64;
        let shortest = limits.request.min(limits.write).min(limits.keep_alive);
        let open = metrics.gauge_vec("waypost_http_connections", "Open connections", &["listener"]);
        let refused = metrics.counter_vec(
            "waypost_http_connections_refused_total",
            "Connections refused because their client had enough of them",
            &["listener"],
        );
        let late = metrics.counter_vec(
            "waypost_http_connections_late_total",
            "Connections closed at a deadline: for the head or body of a request, for taking the answer, or for the next request",
            &["deadline"],
        );
        for reason in Reason::ALL {
            late.with_label_values(&[reason.name()]);
        }
        let metrics = ConnectionMetrics {
            open: open.with_label_values(&[name]),
            refused: refused.with_label_values(&[name]),
            late,
            malformed: metrics.counter("waypost_http_malformed_total", "Requests whose head was malformed or too long"),
            handed_on: metrics.counter(
                "waypost_http_connections_handed_on_total",
                "Connections of the public listener with a request that the fast path for redirects does not know",
            ),
        };
        Rc::new(Self {
            time: Rc::default(),
            tick: (shortest / 8).clamp(TICK_MIN, TICK_MAX),
            deadlines: Deadlines {
                request: millis(limits.request),
                write: millis(limits.write),
                idle: millis(limits.keep_alive),
            },
            crowded_at: limits.connections_max - limits.connections_max / 4,
            open: RefCell::default(),
            addresses: limits.addresses.clone(),
            buffer: RefCell::new(vec![0; READ_BYTES].into_boxed_slice()),
            answers: RefCell::default(),
            metrics,
            told: Cell::new(None),
            untold: Cell::new(0),
        })
    }

    /// Admits a connection from this address, if its client may have another one.
    pub(super) fn enter(&self, address: Option<std::net::IpAddr>) -> Option<Option<Seat>> {
        let seat = address.map_or(Some(None), |address| self.addresses.enter(address));
        if seat.is_none() {
            self.metrics.refused.inc();
        }
        seat
    }

    /// Adds an accepted connection.
    pub(super) fn add(&self, seat: Option<Seat>) -> Rc<Conn> {
        let conn = Rc::new(Conn::new(self.time.clone(), seat));
        let mut open = self.open.borrow_mut();
        conn.place.set(open.len());
        open.push(conn.clone());
        self.metrics.open.inc();
        conn
    }

    /// An empty buffer for answers.
    pub(super) fn answers(&self) -> Vec<u8> {
        let mut buffer = self.answers.take();
        buffer.reserve(1);
        buffer
    }

    /// Keeps a buffer for the next answers.
    pub(super) fn give_back(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() <= ANSWERS_KEPT_BYTES {
            buffer.clear();
            self.answers.replace(buffer);
        }
    }

    /// Counts a connection that is handed on to actix-http.
    pub(super) fn handed_on(&self) {
        self.metrics.handed_on.inc();
    }

    /// Removes a closed connection.
    pub(super) fn remove(&self, conn: &Conn) {
        let mut open = self.open.borrow_mut();
        let place = conn.place.get();
        open.swap_remove(place);
        if let Some(moved) = open.get(place) {
            moved.place.set(place);
        }
        self.metrics.open.dec();
    }

    /// Closes late connections, as long as the worker runs.
    pub(super) async fn sweep(self: Rc<Self>) {
        let mut last = Instant::now();
        loop {
            tokio::time::sleep(self.tick).await;
            let passed = last.elapsed();
            last += passed;
            self.look(passed);
        }
    }

    fn look(&self, passed: Duration) {
        // After a longer pause the worker was suspended, and nobody was late.
        self.time.advance(passed.min(self.tick * 2).as_millis() as u64);
        let open = self.open.borrow();
        let crowded = open.len() >= self.crowded_at;
        for conn in &*open {
            if let Some(reason) = conn.late(&self.deadlines, crowded) {
                self.metrics.late.with_label_values(&[reason.name()]).inc();
                conn.doom(reason);
            }
        }
    }

    /// Counts a malformed request. Anybody can send any number of these, so the log shows one
    /// in ten seconds, and the number of the others in between.
    pub(super) fn malformed(&self, status: u16) {
        const TELL_EVERY: Duration = Duration::from_secs(10);
        self.metrics.malformed.inc();
        if self.told.get().is_some_and(|told| told.elapsed() < TELL_EVERY) {
            self.untold.set(self.untold.get() + 1);
            return;
        }
        self.told.set(Some(Instant::now()));
        let others = self.untold.replace(0);
        tracing::warn!(status, others, "a malformed request was refused");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn connections() -> Rc<Connections> {
        let limits = ConnectionLimits {
            connections_max: 4,
            addresses: Addresses::new(10, Vec::new()),
            keep_alive: SECOND * 75,
            request: SECOND * 5,
            write: SECOND * 10,
        };
        Connections::new("public", &limits, &Metrics::new())
    }

    #[test]
    fn a_worker_that_stood_still_blames_nobody() {
        let connections = connections();
        let conn = connections.add(None);
        connections.look(SECOND * 3600);
        assert_eq!(conn.doomed(), None);
        (0..30).for_each(|_| connections.look(TICK_MAX));
        assert_eq!(conn.doomed(), Some(Reason::Idle));
    }

    #[test]
    fn the_list_knows_each_connection_that_is_open() {
        let connections = connections();
        let conns: Vec<_> = (0..3).map(|_| connections.add(None)).collect();
        connections.remove(&conns[0]);
        connections.remove(&conns[2]);
        assert_eq!(connections.open.borrow().len(), 1);
        assert!(Rc::ptr_eq(&connections.open.borrow()[0], &conns[1]));
        assert_eq!(conns[1].place.get(), 0);
    }

    #[test]
    fn when_connections_are_scarce_idle_ones_make_room() {
        let connections = connections();
        let conns: Vec<_> = (0..3).map(|_| connections.add(None)).collect();
        conns.iter().for_each(|conn| conn.wrote(1));
        (0..21).for_each(|_| connections.look(TICK_MAX));
        assert_eq!(conns[0].doomed(), Some(Reason::Idle));
    }
}
