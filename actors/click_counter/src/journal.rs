//! The click journal of this node: where an HTTP worker leaves a visit, and the ClickCounter finds it.
//!
//! Each worker has a buffer of its own, so nobody contends with it but the counter, for the moment in which it swaps the
//! buffer for an empty one. This journal is in memory: a clean stop loses nothing, a killed process loses what was not
//! yet drained. The interface is that of the journal on disk that will replace it: append, drain, nothing else.

use std::sync::Arc;

use parking_lot::Mutex;
use waypost_protocol::{KeyHash, UnixMs};
use waypost_telemetry::{Counter, Metrics};

/// One redirect that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Visit {
    /// Of which link.
    pub link: KeyHash,
    /// When.
    pub at: UnixMs,
}

/// The buffers of all workers.
#[derive(Clone)]
pub struct Journals {
    workers: Arc<Mutex<Vec<Arc<Buffer>>>>,
    capacity: usize,
    recorded: Counter,
    lost: Counter,
}

struct Buffer {
    visits: Mutex<Vec<Visit>>,
}

/// The buffer of one worker.
#[derive(Clone)]
pub struct Journal {
    buffer: Arc<Buffer>,
    capacity: usize,
    lost: Counter,
}

impl Journals {
    /// Journals that hold at most `capacity` visits a worker between two drains. A visit that finds its journal full is
    /// counted in `waypost_clicks_lost_total` and not recorded: the redirect is never held up.
    pub fn new(capacity: usize, metrics: &Metrics) -> Self {
        Self {
            workers: Arc::default(),
            capacity,
            recorded: metrics.counter("waypost_clicks_recorded_total", "Visits taken over by the click counter"),
            lost: metrics.counter("waypost_clicks_lost_total", "Visits not recorded because a journal was full"),
        }
    }

    /// A journal for one more worker.
    pub fn open(&self) -> Journal {
        let buffer = Arc::new(Buffer { visits: Mutex::new(Vec::with_capacity(1024.min(self.capacity))) });
        self.workers.lock().push(buffer.clone());
        Journal { buffer, capacity: self.capacity, lost: self.lost.clone() }
    }

    /// Takes everything recorded so far, buffer by buffer.
    pub fn drain(&self, mut take: impl FnMut(Visit)) {
        let buffers: Vec<Arc<Buffer>> = self.workers.lock().clone();
        for buffer in buffers {
            let room = Vec::with_capacity(buffer.visits.lock().capacity());
            let visits = std::mem::replace(&mut *buffer.visits.lock(), room);
            self.recorded.inc_by(visits.len() as u64);
            visits.into_iter().for_each(&mut take);
        }
    }
}

impl Journal {
    /// Records a visit.
    pub fn append(&self, link: KeyHash, at: UnixMs) {
        let mut visits = self.buffer.visits.lock();
        if visits.len() < self.capacity {
            visits.push(Visit { link, at });
        } else {
            drop(visits);
            self.lost.inc();
        }
    }
}
