//! How a supervisor hears of panics that happen outside of its actor's context.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Panics in the futures of handlers, which run apart from their actor.
///
/// Of one generation of an actor only the first counts: it is rebuilt once, however many of its futures fail.
#[derive(Default)]
pub(crate) struct Panics {
    /// Grows with each rebuild of the actor.
    generation: AtomicU64,
    reported: Mutex<Option<(u64, String)>>,
    news: Notify,
}

impl Panics {
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// A future that an actor of this generation has begun has panicked.
    pub(crate) fn report(&self, generation: u64, text: &str) {
        *self.reported.lock() = Some((generation, text.to_owned()));
        self.news.notify_one();
    }

    /// The text of the next panic of the current generation.
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

    /// The actor is rebuilt: what its former life has begun counts no more.
    pub(crate) fn rebuilt(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }
}
