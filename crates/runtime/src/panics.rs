//! Reports panics outside of an actor's context to its supervisor.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Panics in the futures of handlers, which run apart from their actor.
///
/// Only the first panic of each generation counts: the actor is rebuilt once, however many of its futures fail.
#[derive(Default)]
pub(crate) struct Panics {
    /// Increases with each rebuild of the actor.
    generation: AtomicU64,
    reported: Mutex<Option<(u64, String)>>,
    news: Notify,
}

impl Panics {
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Reports a panic in a future that an actor of this generation began.
    pub(crate) fn report(&self, generation: u64, text: &str) {
        *self.reported.lock() = Some((generation, text.to_owned()));
        self.news.notify_one();
    }

    /// Waits for the next panic of the current generation. Returns its text.
    pub(crate) async fn next(&self) -> String {
        loop {
            self.news.notified().await;
            if let Some((generation, text)) = self.reported.lock().take()
                && generation == self.generation()
            {
                return text;
            }
        }
    }

    /// The actor was rebuilt: futures of former generations do not count any more.
    pub(crate) fn rebuilt(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }
}
