//! Has the log of the catalog written into its file, on another thread than that of the indexer: the disk may take seconds for it, and links are to be listed meanwhile.

use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use waypost_catalog::{Catalog, CatalogError};

/// Writes the log of a catalog into its file when it is long, once at a time.
pub(super) struct LogWriter<'a> {
    engine: &'a Handle,
    writing: Option<JoinHandle<Result<(), CatalogError>>>,
}

impl<'a> LogWriter<'a> {
    /// One that works on the blocking threads of a runtime.
    pub(super) fn new(engine: &'a Handle) -> Self {
        Self { engine, writing: None }
    }

    /// Begins to write the log if it is long. Does not wait.
    ///
    /// # Errors
    /// If the last time has found damage.
    pub(super) fn step(&mut self, catalog: &Catalog) -> Result<(), CatalogError> {
        if let Some(writing) = &mut self.writing {
            match writing.now_or_never() {
                None => return Ok(()),
                Some(Ok(Err(error))) if error.is_damage() => return Err(error),
                // The log has everything still. If the disk is full, the indexer finds out.
                Some(Ok(Err(error))) => {
                    tracing::debug!(%error, "the log of the catalog cannot be written into its file yet");
                }
                Some(Ok(Ok(())) | Err(_)) => {}
            }
            self.writing = None;
        }
        if catalog.has_long_log() {
            let catalog = catalog.clone();
            self.writing = Some(self.engine.spawn_blocking(move || catalog.write_log()));
        }
        Ok(())
    }

    /// The catalog is another one from now on.
    pub(super) fn forget(&mut self) {
        self.writing = None;
    }
}
