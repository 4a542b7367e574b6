//! The state of one connection: what it waits for, and since when. Decides which deadline has passed; no I/O, and the
//! time is that of its worker.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};

use super::addresses::Seat;
use super::framing::Rest;

/// The bytes that a client has to take within the write deadline, unless the whole answer is shorter.
const PROGRESS_MIN: u64 = 16 * 1024;

/// Why a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Reason {
    /// The head of a request did not arrive in time.
    Head,
    /// The body did not arrive in time.
    Body,
    /// The client does not take its answers.
    Write,
    /// There was no further request.
    Idle,
    /// The client went on sending after the last answer.
    Close,
}

impl Reason {
    pub(super) const ALL: [Self; 5] = [Self::Head, Self::Body, Self::Write, Self::Idle, Self::Close];

    /// The label in metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Body => "body",
            Self::Write => "write",
            Self::Idle => "idle",
            Self::Close => "close",
        }
    }
}

/// The deadlines, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadlines {
    /// For the head of a request, and for its body.
    pub(super) request: u64,
    /// For taking [`PROGRESS_MIN`] bytes of an answer.
    pub(super) write: u64,
    /// For the next request.
    pub(super) idle: u64,
}

/// The time during which a worker served its connections, in milliseconds. It stops while the worker is suspended.
#[derive(Debug, Default)]
pub(super) struct WorkerTime {
    now: Cell<u64>,
}

impl WorkerTime {
    pub(super) fn advance(&self, by: u64) {
        self.now.set(self.now.get() + by);
    }

    pub(super) fn now(&self) -> u64 {
        self.now.get()
    }
}

/// A point in time, or none.
#[derive(Debug)]
struct Since(Cell<u64>);

impl Since {
    const NEVER: u64 = u64::MAX;

    fn never() -> Self {
        Self(Cell::new(Self::NEVER))
    }

    /// Sets it to now, unless it is set.
    fn begin(&self, now: u64) {
        if self.0.get() == Self::NEVER {
            self.0.set(now);
        }
    }

    fn restart(&self, now: u64) {
        self.0.set(now);
    }

    fn end(&self) {
        self.0.set(Self::NEVER);
    }

    fn is_on(&self) -> bool {
        self.0.get() != Self::NEVER
    }

    fn is_over(&self, now: u64, after: u64) -> bool {
        self.is_on() && now.saturating_sub(self.0.get()) >= after
    }
}

/// One connection, shared by its stream, by the service that answers its requests, and by the sweep of its worker.
#[derive(Debug)]
pub(in crate::http) struct Conn {
    time: Rc<WorkerTime>,
    seat: Option<Seat>,
    waker: RefCell<Option<Waker>>,
    /// The number of requests in the `App`, and of unfinished answers.
    busy: Cell<u32>,
    /// The part of the body of the last request in the `App` that has not arrived.
    pub(super) rest: RefCell<Rest>,
    /// Whether the `App` reads that body.
    wanted: Cell<bool>,
    /// Whether that body is a stream, whose deadline is for each piece.
    streamed: Cell<bool>,
    body: Since,
    /// Set while bytes have arrived and nothing was answered.
    reading: Since,
    blocked: Since,
    /// The bytes that were taken since then.
    taken: Cell<u64>,
    idle: Since,
    /// Something was answered.
    answered: Cell<bool>,
    /// The time at which the last answer was sent, while the connection waits for the client to close.
    closing: Since,
    doomed: Cell<Option<Reason>>,
    /// Its index in the list of its worker.
    pub(super) place: Cell<usize>,
}

impl Conn {
    pub(super) fn new(time: Rc<WorkerTime>, seat: Option<Seat>) -> Self {
        let idle = Since::never();
        idle.begin(time.now());
        Self {
            time,
            seat,
            waker: RefCell::default(),
            busy: Cell::new(0),
            rest: RefCell::default(),
            wanted: Cell::new(false),
            streamed: Cell::new(false),
            body: Since::never(),
            reading: Since::never(),
            blocked: Since::never(),
            taken: Cell::new(0),
            idle,
            answered: Cell::new(false),
            closing: Since::never(),
            doomed: Cell::new(None),
            place: Cell::new(usize::MAX),
        }
    }

    /// Stores the waker of its stream.
    pub(super) fn watch(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }

    /// A request has reached the `App`; `rest` is to come of it.
    pub(super) fn begin(&self, rest: Rest) {
        self.busy.set(self.busy.get() + 1);
        *self.rest.borrow_mut() = rest;
        self.wanted.set(false);
        self.streamed.set(false);
        self.body.end();
        self.reading.end();
    }

    /// A request was answered completely.
    pub(super) fn end(&self) {
        self.busy.set(self.busy.get().saturating_sub(1));
        self.body.end();
        self.idle.restart(self.time.now());
    }

    /// The `App` reads the body.
    pub(super) fn want_body(&self) {
        if !self.wanted.replace(true) {
            self.body.begin(self.time.now());
        }
    }

    /// The body of the request is a stream of any length: the client has its time for each piece, and none while it is not waited for. For
    /// clients with a key: such a request ends only when they end it.
    pub(in crate::http) fn stream_body(&self) {
        self.streamed.set(true);
    }

    /// The `App` has asked for the next piece of a body; whether it is there.
    pub(super) fn asked_for_body(&self, is_there: bool) {
        match (self.streamed.get(), is_there) {
            (false, _) => {}
            (true, true) => self.body.end(),
            (true, false) => self.body.begin(self.time.now()),
        }
    }

    /// Whether the `App` is answering a request.
    pub(super) fn is_busy(&self) -> bool {
        self.busy.get() > 0
    }

    /// Whether more bytes are wanted. While a request is answered, only its body is.
    pub(super) fn may_read(&self) -> bool {
        !self.is_busy() || self.wanted.get() && self.rest.borrow().is_open()
    }

    /// Bytes were passed on that do not belong to the body of a request in the `App`.
    pub(super) fn has_read(&self) {
        if !self.is_busy() {
            self.reading.begin(self.time.now());
        }
    }

    /// The body has arrived completely, as far as the stream shows.
    pub(super) fn has_body(&self) {
        self.body.end();
        // If the request was answered before its body arrived, nothing more is waited for.
        if !self.is_busy() {
            self.reading.end();
            self.idle.restart(self.time.now());
        }
    }

    /// The socket accepted so many bytes.
    pub(super) fn wrote(&self, bytes: usize) {
        let now = self.time.now();
        self.reading.end();
        self.answered.set(true);
        self.idle.restart(now);
        if self.blocked.is_on() {
            self.taken.set(self.taken.get() + bytes as u64);
            if self.taken.get() >= PROGRESS_MIN {
                self.taken.set(0);
                self.blocked.restart(now);
            }
        }
    }

    /// The last answer was sent.
    pub(super) fn closes(&self) {
        self.closing.begin(self.time.now());
    }

    /// Whether bytes wait that the socket does not accept.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.is_on()
    }

    /// The socket accepts no bytes now.
    pub(super) fn blocks(&self) {
        if !self.blocked.is_on() {
            self.taken.set(0);
            self.blocked.begin(self.time.now());
        }
    }

    /// All bytes were accepted.
    pub(super) fn flushed(&self) {
        self.blocked.end();
    }

    /// Why the connection is to end.
    pub(in crate::http) fn doomed(&self) -> Option<Reason> {
        self.doomed.get()
    }

    /// Whether nothing more is read of it or waited for: the client had its time also to take the last answer.
    pub(super) fn is_cut_off(&self) -> bool {
        matches!(self.doomed.get(), Some(Reason::Write | Reason::Close))
    }

    /// Ends the connection: its stream notices when it is polled next.
    pub(super) fn doom(&self, reason: Reason) {
        self.doomed.set(Some(reason));
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// The deadline that has passed, if any. `crowded`: connections are scarce, so an idle one is kept only as long as a head may take.
    pub(super) fn late(&self, deadlines: &Deadlines, crowded: bool) -> Option<Reason> {
        let now = self.time.now();
        let is_over = |since: &Since, after| since.is_over(now, after);
        let late = if self.blocked.is_on() {
            is_over(&self.blocked, deadlines.write).then_some(Reason::Write)
        } else if self.closing.is_on() {
            is_over(&self.closing, deadlines.request).then_some(Reason::Close)
        } else if self.is_busy() {
            is_over(&self.body, deadlines.request).then_some(Reason::Body)
        } else if self.reading.is_on() {
            is_over(&self.reading, deadlines.request).then_some(Reason::Head)
        } else {
            let crowded = || crowded || self.seat.as_ref().is_some_and(Seat::is_crowded);
            let short = !self.answered.get() || crowded();
            let after = if short { deadlines.idle.min(deadlines.request) } else { deadlines.idle };
            is_over(&self.idle, after).then_some(Reason::Idle)
        };
        // One that was told to end and cannot, because its client takes nothing or goes on sending, is cut off.
        let ends_it = |late| matches!(late, Reason::Write | Reason::Close);
        late.filter(|late| self.doomed.get().is_none_or(|doomed| doomed != *late && ends_it(*late)))
    }
}

/// A request in the `App`, or an answer of which more is to come.
pub(super) struct Busy(Rc<Conn>);

impl Busy {
    pub(super) fn begin(conn: &Rc<Conn>, rest: Rest) -> Self {
        conn.begin(rest);
        Self(conn.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINES: Deadlines = Deadlines { request: 500, write: 1000, idle: 7500 };

    fn conn() -> (Rc<WorkerTime>, Conn) {
        let time = Rc::new(WorkerTime::default());
        (time.clone(), Conn::new(time, None))
    }

    /// The time until a deadline passes, and which one.
    fn ends(time: &WorkerTime, conn: &Conn) -> Option<(u64, Reason)> {
        (0..20_000).step_by(100).find_map(|passed| {
            let late = conn.late(&DEADLINES, false).map(|reason| (passed, reason));
            time.advance(100);
            late
        })
    }

    #[test]
    fn who_sends_nothing_has_as_long_as_for_a_head_and_after_an_answer_the_time_of_an_idle_connection() {
        let (time, conn) = conn();
        assert_eq!(ends(&time, &conn), Some((500, Reason::Idle)));
        conn.wrote(100);
        conn.flushed();
        assert_eq!(ends(&time, &conn), Some((7500, Reason::Idle)));
        conn.wrote(100);
        time.advance(500);
        assert_eq!(conn.late(&DEADLINES, true), Some(Reason::Idle), "connections are scarce");
    }

    #[test]
    fn every_head_has_its_deadline_which_more_bytes_do_not_move() {
        let (time, conn) = conn();
        for _ in 0..3 {
            time.advance(400);
            conn.has_read();
            time.advance(400);
            conn.has_read();
            assert_eq!(conn.late(&DEADLINES, false), None);
            time.advance(100);
            assert_eq!(conn.late(&DEADLINES, false), Some(Reason::Head));
            conn.wrote(100);
            assert_eq!(conn.late(&DEADLINES, false), None);
        }
    }

    #[test]
    fn a_body_has_its_deadline_from_when_it_is_read_and_the_app_has_none_of_ours() {
        let (time, conn) = conn();
        conn.has_read();
        conn.begin(Rest::Length(10));
        assert!(!conn.may_read(), "nobody reads the body yet");
        time.advance(5000);
        assert_eq!(conn.late(&DEADLINES, false), None);
        conn.want_body();
        assert!(conn.may_read());
        assert_eq!(ends(&time, &conn), Some((500, Reason::Body)));
        conn.has_body();
        assert_eq!(ends(&time, &conn), None);
        conn.end();
        assert_eq!(ends(&time, &conn), Some((500, Reason::Idle)));
    }

    #[test]
    fn a_body_that_is_a_stream_has_its_deadline_for_each_piece() {
        let (time, conn) = conn();
        conn.begin(Rest::Length(10));
        conn.stream_body();
        conn.want_body();
        for _ in 0..5 {
            conn.asked_for_body(false);
            time.advance(400);
            assert_eq!(conn.late(&DEADLINES, false), None);
            conn.asked_for_body(true);
            time.advance(5000);
            assert_eq!(conn.late(&DEADLINES, false), None, "nobody waits for the next one yet");
        }
        conn.asked_for_body(false);
        assert_eq!(ends(&time, &conn), Some((500, Reason::Body)));
        conn.end();
        conn.begin(Rest::Length(10));
        conn.want_body();
        conn.asked_for_body(true);
        assert_eq!(ends(&time, &conn), Some((500, Reason::Body)), "the next request is no stream");
    }

    #[test]
    fn who_takes_nothing_is_cut_off_and_who_takes_enough_is_not() {
        let (time, conn) = conn();
        conn.begin(Rest::None);
        conn.blocks();
        assert!(!conn.may_read());
        for _ in 0..10 {
            time.advance(900);
            conn.wrote(PROGRESS_MIN as usize);
            conn.blocks();
            assert_eq!(conn.late(&DEADLINES, false), None);
        }
        for _ in 0..3 {
            time.advance(300);
            conn.wrote(1);
            conn.blocks();
        }
        assert_eq!(ends(&time, &conn), Some((100, Reason::Write)));
        conn.flushed();
        assert_eq!(ends(&time, &conn), None);
    }

    #[test]
    fn one_that_was_answered_for_being_late_and_goes_on_sending_is_cut_off_later() {
        let (time, conn) = conn();
        conn.has_read();
        assert_eq!(ends(&time, &conn), Some((500, Reason::Head)));
        conn.doom(Reason::Head);
        assert!(!conn.is_cut_off(), "its answer is not sent yet");
        conn.wrote(300);
        conn.closes();
        assert!(!conn.is_cut_off(), "what it still sends is read, so that the answer is not lost");
        assert_eq!(ends(&time, &conn), Some((500, Reason::Close)));
        conn.doom(Reason::Close);
        assert!(conn.is_cut_off());
    }

    #[test]
    fn one_that_ends_and_cannot_since_its_client_takes_nothing_is_cut_off() {
        let (time, conn) = conn();
        conn.wrote(1);
        time.advance(7500);
        assert_eq!(conn.late(&DEADLINES, false), Some(Reason::Idle));
        conn.doom(Reason::Idle);
        assert_eq!(conn.late(&DEADLINES, false), None);
        conn.blocks();
        assert_eq!(ends(&time, &conn), Some((1000, Reason::Write)));
    }
}
