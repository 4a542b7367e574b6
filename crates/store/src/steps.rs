//! Steps: the moments between two changes of the disk, for tests that crash a node at each of them.
//!
//! Debug builds only: a release build has neither the hook nor the calls.

/// Called at each step, with a name that says what was changed.
#[cfg(debug_assertions)]
pub type StepHook = std::sync::Arc<dyn Fn(&str) + Send + Sync>;

/// The hook for the steps of one database and of the files beside it.
#[derive(Default)]
pub(crate) struct Steps {
    #[cfg(debug_assertions)]
    hook: parking_lot::RwLock<Option<StepHook>>,
}

impl Steps {
    #[cfg(debug_assertions)]
    pub(crate) fn listen(&self, hook: Option<StepHook>) {
        *self.hook.write() = hook;
    }

    /// Reports a step. Call this after each change.
    #[cfg(debug_assertions)]
    pub(crate) fn reached(&self, what: impl FnOnce() -> String) {
        let hook = self.hook.read().clone();
        if let Some(hook) = hook {
            hook(&what());
        }
    }

    #[cfg(not(debug_assertions))]
    pub(crate) fn reached(&self, _: impl FnOnce() -> String) {}
}
