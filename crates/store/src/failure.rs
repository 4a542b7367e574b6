//! The first failure of the store: it is final, and is reported to the registered hooks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use waypost_telemetry::Gauge;

use crate::StoreError;
use crate::endless::Running;
use crate::steps::Steps;

type Hook = Box<dyn Fn(&str) + Send + Sync>;

/// The first failure of the store. It never goes away.
#[derive(Default)]
pub(crate) struct Failure {
    why: OnceLock<String>,
    pub(crate) hook: Mutex<Option<Hook>>,
    pub(crate) gauge: OnceLock<Gauge>,
    pub(crate) steps: Steps,
    /// The operations that run.
    pub(crate) running: Arc<Running>,
}

impl Failure {
    pub(crate) fn get(&self) -> Option<String> {
        self.why.get().cloned()
    }

    /// Records a failure; reports only the first one. Returns the first failure.
    pub(crate) fn set(&self, why: String) -> String {
        if self.why.set(why.clone()).is_ok() {
            tracing::error!(why, "the store has failed");
            if let Some(gauge) = self.gauge.get() {
                gauge.set(1);
            }
            if let Some(hook) = &*self.hook.lock() {
                hook(&why);
            }
        }
        why
    }
}

/// Runs a change of the database. After the first failure it runs nothing any more. A panic is a failure like others.
pub(crate) fn guard<T>(failure: &Failure, work: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
    if let Some(why) = failure.get() {
        return Err(StoreError::Failed(why));
    }
    let _operation = failure.running.begin();
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => {
            failure.set(error.to_string());
            Err(error.into())
        }
        Err(_panic) => Err(StoreError::Failed(failure.set("the database panicked".to_owned()))),
    }
}
