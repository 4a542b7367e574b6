//! Lists that are read at the same time: a few, on the threads that may block.

use std::sync::Arc;
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// Runs readings, a few at a time.
pub(super) struct Reads {
    engine: Handle,
    permits: Arc<Semaphore>,
}

impl Reads {
    /// Runs so many at a time, on the blocking threads of a runtime.
    pub(super) fn new(engine: Handle, at_once: usize) -> Self {
        Self { engine, permits: Arc::new(Semaphore::new(at_once)) }
    }

    /// What a reading returns; `None` if it does not in time. It has to end by itself then. Its permit stays with it until it has, also when
    /// nobody waits for it any more: otherwise readings that are given up would pile up behind those who ask again.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        deadline: Instant,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let permit = tokio::time::timeout_at(deadline.into(), self.permits.clone().acquire_owned()).await.ok()?.ok()?;
        let reading = self.engine.spawn_blocking(move || {
            let value = read();
            drop(permit);
            value
        });
        tokio::time::timeout_at(deadline.into(), reading).await.ok()?.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    fn after(time: Duration) -> Instant {
        Instant::now() + time
    }

    const LONG: Duration = Duration::from_secs(600);
    const SHORT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn a_reading_that_nobody_waits_for_any_more_keeps_its_permit_until_it_has_ended() {
        let reads = Reads::new(Handle::current(), 1);
        let (end, ended) = mpsc::channel::<()>();
        assert_eq!(reads.run(after(SHORT), move || ended.recv().is_err()).await, None, "it takes too long");
        assert_eq!(reads.run(after(SHORT), || 1).await, None, "the permit is not free");
        drop(end);
        assert_eq!(reads.run(after(LONG), || 2).await, Some(2));
    }
}
