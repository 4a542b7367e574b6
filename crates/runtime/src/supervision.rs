//! The shared state of all supervisors of a process: metrics, tasks, and the actors that stay down.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use waypost_tasks::Tasks;
use waypost_telemetry::Metrics;

use crate::spec::Spec;

/// An actor that panicked too often and stays down until the process restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GivenUp {
    /// Its name.
    pub actor: &'static str,
    /// Whether requests need it: without it the node is not ready.
    pub needed: bool,
}

/// The shared state of all supervisors of a process. Cheap to clone.
#[derive(Clone)]
pub struct Supervision {
    pub(crate) metrics: Metrics,
    pub(crate) tasks: Tasks,
    /// By name; the value is `needed`.
    given_up: Arc<Mutex<BTreeMap<&'static str, bool>>>,
}

impl Supervision {
    /// State without stopped actors.
    pub fn new(metrics: &Metrics) -> Self {
        Self { metrics: metrics.clone(), tasks: Tasks::new(metrics), given_up: Arc::default() }
    }

    /// The registry for the metrics of its actors.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The actors that stay down, by name.
    pub fn given_up(&self) -> Vec<GivenUp> {
        self.given_up.lock().iter().map(|(actor, needed)| GivenUp { actor, needed: *needed }).collect()
    }

    pub(crate) fn give_up(&self, spec: &Spec) {
        self.given_up.lock().insert(spec.name, spec.needed);
    }
}
