//! The event loop: one thread, nonblocking sockets, one request in flight per connection, or several that are pipelined. Two system calls a request and
//! one `epoll_wait` for all that is ready, because the generator must not be what is measured.

use std::{
    collections::VecDeque,
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::{
    error::LoadError,
    http,
    pace::Pace,
    stats::Stats,
    workload::{Next, Verdict, Workload},
};

/// A request that is not answered within this time is given up and its connection replaced.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long answers are waited for after the last request was due.
const GRACE: Duration = Duration::from_secs(10);
/// How long the loop may be held up by one connection attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(100);
/// How long one may take before the run begins. When many are opened at once, the accept queue is full for a moment, and the kernel repeats an attempt after a second.
const FIRST_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause before a refused connection is tried again, so that a server that is down is not hammered.
const RECONNECT_PAUSE_NS: u64 = 20_000_000;
/// Largest answer accepted: redirects and creates are below 1 KiB, a list of 100 links is about 50 KiB.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Below this distance to the next request the open loop polls instead of sleeping: `epoll_wait` sleeps whole
/// milliseconds, which would show as latency.
const POLL_BELOW_NS: u64 = 2_000_000;

/// How a run is done.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The server.
    pub target: SocketAddr,
    /// Connections.
    pub connections: u32,
    /// Requests that are written to a connection at once; the next ones follow when all of them are answered.
    pub pipeline: u32,
    /// Requests begin only within this time.
    pub duration: Duration,
    /// Closed or open loop.
    pub pace: Pace,
}

#[derive(Debug)]
struct Flight {
    token: u64,
    /// What latency counts from: the intended time in the open loop, else the time of sending.
    from_ns: u64,
    sent_ns: u64,
}

#[derive(Debug)]
struct Connection {
    stream: Option<TcpStream>,
    retry_at_ns: u64,
    input: Box<[u8]>,
    filled: usize,
    /// What was sent and is not answered yet, in the order of the requests; never more than the plan's `pipeline`.
    flights: VecDeque<Flight>,
}

/// What the bytes of a connection are.
enum Read {
    Answer(http::Response),
    /// The beginning of an answer, or nothing.
    More,
    Malformed,
}

/// A started loop: all connections are open, no request was sent.
pub struct Engine<'a, W> {
    workload: &'a mut W,
    plan: Plan,
    epoll: Epoll,
    connections: Vec<Connection>,
    /// Open connections without a request in flight, the longest free first, so that all of them are used in turn; never
    /// more than there are connections.
    free: VecDeque<u32>,
    /// Number of connections that are not open.
    down: u32,
    /// Requests in flight on all connections.
    in_flight: usize,
    /// No more requests are to begin.
    ending: bool,
    output: Vec<u8>,
    started: Instant,
    stats: Stats,
}

impl<'a, W: Workload> Engine<'a, W> {
    /// Opens all connections.
    ///
    /// # Errors
    /// When the server does not accept a connection.
    pub fn connect(plan: Plan, workload: &'a mut W) -> Result<Self, LoadError> {
        let mut engine = Self {
            workload,
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            connections: Vec::with_capacity(plan.connections as usize),
            free: VecDeque::with_capacity(plan.connections as usize),
            down: plan.connections,
            in_flight: 0,
            ending: false,
            output: Vec::with_capacity(16 * 1024),
            started: Instant::now(),
            stats: Stats::new()?,
            plan,
        };
        for index in 0..engine.plan.connections {
            let input = vec![0; ANSWER_BYTES_MAX].into_boxed_slice();
            let flights = VecDeque::with_capacity(engine.plan.pipeline as usize);
            engine.connections.push(Connection { stream: None, retry_at_ns: 0, input, filled: 0, flights });
            engine
                .open(index, FIRST_CONNECT_TIMEOUT)
                .map_err(|source| LoadError::Connect { target: engine.plan.target, source })?;
        }
        Ok(engine)
    }

    /// Runs until the time is over or the workload has no more requests, then waits for the answers in flight.
    ///
    /// # Errors
    /// Only when the event loop itself fails; failed requests are counted.
    pub fn run(mut self) -> Result<Stats, LoadError> {
        self.started = Instant::now();
        let end_ns = nanos(self.plan.duration);
        let mut events = vec![EpollEvent::empty(); self.connections.len()];
        let mut checked_ns = 0;
        loop {
            let now_ns = self.now_ns();
            self.ending |= now_ns >= end_ns && self.schedule_is_done(now_ns, end_ns);
            if self.ending && (self.in_flight == 0 || now_ns >= end_ns + nanos(GRACE)) {
                break;
            }
            // Twice a second is enough for time-outs; while connections are down, their pause decides.
            let pause_ns = if self.down > 0 { RECONNECT_PAUSE_NS } else { 500_000_000 };
            if now_ns >= checked_ns + pause_ns {
                checked_ns = now_ns;
                self.give_up_old_requests(now_ns);
                self.reopen(now_ns);
            }
            self.send_what_is_due(now_ns);
            let ready = match self.epoll.wait(&mut events, self.wait_time(end_ns)) {
                Ok(ready) => ready,
                Err(nix::errno::Errno::EINTR) => 0,
                Err(error) => return Err(error.into()),
            };
            for event in &events[..ready] {
                self.readable(event.data() as u32);
            }
        }
        self.close(end_ns);
        Ok(self.stats)
    }

    /// In the open loop a request that was due in time is still sent a little later, so that a stall is not hidden; but
    /// not beyond the grace.
    fn schedule_is_done(&self, now_ns: u64, end_ns: u64) -> bool {
        match &self.plan.pace {
            Pace::Closed => true,
            Pace::Open(schedule) => schedule.next_ns().is_none() || now_ns >= end_ns + nanos(GRACE),
        }
    }

    fn wait_time(&self, end_ns: u64) -> EpollTimeout {
        let now_ns = self.now_ns();
        if let Pace::Open(schedule) = &self.plan.pace {
            let distance_ns = schedule.next_ns().map_or(u64::MAX, |at| at.saturating_sub(now_ns));
            if !self.ending && distance_ns < POLL_BELOW_NS && !self.free.is_empty() {
                return EpollTimeout::ZERO;
            }
            return EpollTimeout::from(1_u8);
        }
        if self.down > 0 || self.ending || end_ns.saturating_sub(now_ns) < 50_000_000 {
            EpollTimeout::from(2_u8)
        } else {
            EpollTimeout::from(50_u8)
        }
    }

    fn send_what_is_due(&mut self, now_ns: u64) {
        // At most once a connection: one that breaks at every request would come back here for ever.
        for _ in 0..self.free.len() {
            if self.ending {
                return;
            }
            let Some(index) = self.free.pop_front() else { return };
            let from_ns = match &mut self.plan.pace {
                Pace::Closed => now_ns,
                Pace::Open(schedule) => match schedule.take_due(now_ns) {
                    Some(intended_ns) => intended_ns,
                    None => {
                        self.free.push_front(index);
                        return;
                    }
                },
            };
            self.send(index, from_ns);
        }
    }

    /// Sends requests on a connection that is open and free (and no longer in `free`).
    fn send(&mut self, index: u32, from_ns: u64) {
        self.output.clear();
        let sent_ns = self.now_ns();
        let connection = &mut self.connections[index as usize];
        for _ in 0..self.plan.pipeline {
            match self.workload.next(index, &mut self.output) {
                Next::Request(token) => connection.flights.push_back(Flight { token, from_ns, sent_ns }),
                Next::Later => break,
                Next::End => {
                    self.ending = true;
                    break;
                }
            }
            self.stats.sent(sent_ns.saturating_sub(from_ns));
        }
        if connection.flights.is_empty() {
            self.free.push_back(index);
            return;
        }
        connection.filled = 0;
        self.in_flight += connection.flights.len();
        let stream = connection.stream.as_mut().expect("a free connection is open");
        // The send buffer is empty (nothing else is in flight) and larger than all that is sent at once, so a short write is an error.
        if !matches!(stream.write(&self.output), Ok(written) if written == self.output.len()) {
            self.lost(index);
        }
    }

    /// The connection broke, with whatever was in flight on it. Between two requests that is the server's right.
    fn lost(&mut self, index: u32) {
        self.stats.io_errors += self.connections[index as usize].flights.len() as u64;
        self.replace(index);
    }

    fn readable(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        let Some(stream) = connection.stream.as_mut() else { return };
        match stream.read(&mut connection.input[connection.filled..]) {
            Ok(0) => self.lost(index),
            Ok(count) => {
                connection.filled += count;
                self.answered(index);
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => self.lost(index),
        }
    }

    /// Handles the answers on connection `index` that are complete.
    fn answered(&mut self, index: u32) {
        let mut start = 0;
        loop {
            let response = match self.next_answer(index, start) {
                Read::Answer(response) => response,
                Read::More => break,
                Read::Malformed => return,
            };
            let connection = &mut self.connections[index as usize];
            let Some(flight) = connection.flights.pop_front() else { return };
            let verdict = self.workload.judge(flight.token, &response, &connection.input[start..connection.filled]);
            start += response.body.end;
            let ended = connection.flights.is_empty();
            self.in_flight -= 1;
            let now_ns = self.now_ns();
            self.stats.answered(response.status, now_ns - flight.from_ns);
            match verdict {
                Verdict::Right => self.stats.right += 1,
                Verdict::OtherStatus => self.stats.other_status += 1,
                Verdict::Wrong => self.stats.wrong += 1,
            }
            if response.close {
                self.lost(index);
                return;
            }
            if ended {
                if matches!(self.plan.pace, Pace::Closed) && !self.ending && now_ns < nanos(self.plan.duration) {
                    self.send(index, now_ns);
                } else {
                    self.free.push_back(index);
                }
                return;
            }
        }
        let connection = &mut self.connections[index as usize];
        if start > 0 {
            connection.input.copy_within(start..connection.filled, 0);
            connection.filled -= start;
        }
    }

    /// Parses the answer at offset `start` of the input of connection `index`. If the bytes are malformed, it replaces the connection.
    fn next_answer(&mut self, index: u32, start: usize) -> Read {
        let connection = &self.connections[index as usize];
        let bytes = &connection.input[start..connection.filled];
        let expected = connection.flights.len();
        let whole_buffer = start == 0 && connection.filled == connection.input.len();
        match http::parse(bytes) {
            // The last answer that is expected ends what was read.
            Ok(Some(response)) if expected > 1 || (expected == 1 && response.body.end == bytes.len()) => {
                Read::Answer(response)
            }
            Ok(None) if expected > 0 && !whole_buffer => Read::More,
            // Malformed, too large, or an answer that nobody asked for.
            Ok(_) | Err(_) => {
                self.stats.malformed += 1;
                self.stats.io_errors += expected.saturating_sub(1) as u64;
                self.replace(index);
                Read::Malformed
            }
        }
    }

    /// Drops connection `index` with whatever was in flight on it, and opens it again if the server lets it.
    fn replace(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        if connection.stream.take().is_some() {
            self.down += 1;
            self.stats.reconnects += 1;
        }
        self.in_flight -= connection.flights.len();
        connection.flights.clear();
        self.free.retain(|free| *free != index);
        if self.open(index, CONNECT_TIMEOUT).is_err() {
            self.stats.connect_errors += 1;
            let now_ns = self.now_ns();
            self.connections[index as usize].retry_at_ns = now_ns + RECONNECT_PAUSE_NS;
        }
    }

    fn open(&mut self, index: u32, limit: Duration) -> std::io::Result<()> {
        // Loopback answers or refuses a connection at once; the limit is for a full accept queue.
        let stream = TcpStream::connect_timeout(&self.plan.target, limit)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        // Level-triggered and registered once: no further `epoll_ctl` for the life of the connection.
        self.epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, u64::from(index)))?;
        let connection = &mut self.connections[index as usize];
        connection.stream = Some(stream);
        connection.filled = 0;
        self.down -= 1;
        self.free.push_back(index);
        Ok(())
    }

    fn reopen(&mut self, now_ns: u64) {
        for index in 0..self.plan.connections {
            let connection = &self.connections[index as usize];
            if connection.stream.is_none() && connection.retry_at_ns <= now_ns {
                self.replace(index);
                // The server is down or full: one attempt a round tells that.
                if self.connections[index as usize].stream.is_none() {
                    return;
                }
            }
        }
    }

    fn give_up_old_requests(&mut self, now_ns: u64) {
        for index in 0..self.plan.connections {
            let flights = &self.connections[index as usize].flights;
            if flights.front().is_some_and(|flight| now_ns >= flight.sent_ns + nanos(REQUEST_TIMEOUT)) {
                flights.iter().for_each(|flight| self.stats.timed_out(now_ns - flight.from_ns));
                self.replace(index);
            }
        }
    }

    /// Counts what was never answered or never sent. Its wait so far goes into the histogram as a lower bound, so that a
    /// server that stops answering cannot look fast.
    fn close(&mut self, end_ns: u64) {
        let now_ns = self.now_ns();
        for connection in &mut self.connections {
            connection.flights.drain(..).for_each(|flight| self.stats.timed_out(now_ns - flight.from_ns));
        }
        // A workload that ran out of requests ended the run itself: what the schedule still holds was never wanted.
        if let Pace::Open(schedule) = &mut self.plan.pace
            && now_ns >= end_ns
        {
            while let Some(intended_ns) = schedule.take_due(now_ns) {
                self.stats.never_sent(now_ns - intended_ns);
            }
        }
        self.stats.close(now_ns);
    }

    fn now_ns(&self) -> u64 {
        nanos(self.started.elapsed())
    }
}

/// Nanoseconds of a duration; runs are bounded to hours, which is far below the 584 years that fit.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
