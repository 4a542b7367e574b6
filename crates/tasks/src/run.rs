//! Runs tasks and threads according to their policies.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use waypost_telemetry::{Counter, Gauge, Metrics};

use crate::{Policy, Task, fault};

/// Exit code of a process whose task could not be kept running (`EX_SOFTWARE`).
pub const EXIT_SOFTWARE: i32 = 70;

/// The restarts of one task within [`WINDOW`]. With the pauses between them they take about ten seconds. A task that panics more often
/// does no useful work.
const RESTARTS_MAX: u32 = 10;

/// The window in which restarts are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// The pause before the first restart of a window; it doubles with each further one, up to [`PAUSE_MAX`].
const PAUSE_FIRST: Duration = Duration::from_millis(10);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(5);

struct TaskMetrics {
    up: Gauge,
    panics: Counter,
}

/// Runs the tasks of a node. Cheap to clone.
#[derive(Clone)]
pub struct Tasks {
    metrics: Arc<[TaskMetrics]>,
    runtime: Option<tokio::runtime::Handle>,
}

/// The restarts of one task.
struct Budget {
    restarts: u32,
    since: Instant,
}

impl Budget {
    fn new() -> Self {
        Self { restarts: 0, since: Instant::now() }
    }

    /// The pause before the next restart; `None` if no restarts are left.
    fn next(&mut self, now: Instant) -> Option<Duration> {
        if now.duration_since(self.since) > WINDOW {
            *self = Self { restarts: 0, since: now };
        }
        if self.restarts >= RESTARTS_MAX {
            return None;
        }
        let pause = PAUSE_FIRST.saturating_mul(1 << self.restarts).min(PAUSE_MAX);
        self.restarts += 1;
        Some(pause)
    }
}

/// Counts a task as running until it is dropped.
struct Running(Gauge);

impl Running {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Tasks {
    /// Creates a runner that counts its tasks in `metrics`. Two runners with the same metrics count together.
    pub fn new(metrics: &Metrics) -> Self {
        let up = metrics.gauge_vec("waypost_task_up", "Background tasks running", &["task"]);
        let panics = metrics.counter_vec("waypost_task_panics_total", "Panics of background tasks", &["task"]);
        let of = |task: &Task| {
            let name = &[task.name()];
            TaskMetrics { up: up.with_label_values(name), panics: panics.with_label_values(name) }
        };
        Self { metrics: Task::ALL.iter().map(of).collect(), runtime: None }
    }

    /// The same runner, on this runtime instead of the caller's.
    #[must_use]
    pub fn on(&self, runtime: &tokio::runtime::Handle) -> Self {
        Self { runtime: Some(runtime.clone()), ..self.clone() }
    }

    fn start<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        match &self.runtime {
            Some(runtime) => runtime.spawn(future),
            None => tokio::spawn(future),
        }
    }

    /// Runs a task that can be restarted.
    pub fn spawn<F>(&self, task: Task, make: impl FnMut() -> F + Send + 'static) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.start(self.clone().keep(task, make))
    }

    /// Runs a task once. Its handle returns `None` if it panicked and its policy is to end.
    pub fn spawn_once<T: Send + 'static>(
        &self,
        task: Task,
        future: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<Option<T>> {
        self.start(self.clone().once(task, future))
    }

    /// Like [`Tasks::spawn_once`], on the current thread.
    pub fn spawn_once_local<T: 'static>(
        &self,
        task: Task,
        future: impl Future<Output = T> + 'static,
    ) -> JoinHandle<Option<T>> {
        tokio::task::spawn_local(self.clone().once(task, future))
    }

    /// Runs a thread with the name of the task, its underscores as dashes. After a panic `run` is called again, if that is its policy.
    ///
    /// # Errors
    /// If the operating system cannot start a thread.
    pub fn thread(
        &self,
        task: Task,
        mut run: impl FnMut() + Send + 'static,
    ) -> std::io::Result<std::thread::JoinHandle<()>> {
        let tasks = self.clone();
        let keep = move || {
            let _running = Running::new(&tasks.metrics[task as usize].up);
            let mut budget = Budget::new();
            loop {
                let run = || {
                    fault(task);
                    run();
                };
                let Err(panic) = catch_unwind(AssertUnwindSafe(run)) else { return };
                match tasks.after(task, &*panic, &mut budget) {
                    Some(pause) => std::thread::sleep(pause),
                    None => return,
                }
            }
        };
        std::thread::Builder::new().name(task.name().replace('_', "-")).spawn(keep)
    }

    /// Ends the process because a task cannot go on.
    pub fn stop_process(&self, task: Task, why: &str) -> ! {
        tracing::error!(task = task.name(), why, "a task cannot go on; the process exits");
        std::process::exit(EXIT_SOFTWARE);
    }

    async fn keep<F: Future<Output = ()>>(self, task: Task, mut make: impl FnMut() -> F) {
        let _running = Running::new(&self.metrics[task as usize].up);
        let mut budget = Budget::new();
        loop {
            // The factory may panic as well.
            let panic = match catch_unwind(AssertUnwindSafe(&mut make)) {
                Ok(future) => match caught(task, future).await {
                    Ok(()) => return,
                    Err(panic) => panic,
                },
                Err(panic) => panic,
            };
            match self.after(task, &*panic, &mut budget) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return,
            }
        }
    }

    async fn once<T>(self, task: Task, future: impl Future<Output = T>) -> Option<T> {
        let _running = Running::new(&self.metrics[task as usize].up);
        match caught(task, future).await {
            Ok(done) => Some(done),
            Err(panic) => {
                let pause = self.after(task, &*panic, &mut Budget::new());
                // This task cannot be restarted, so its work would silently remain undone.
                if pause.is_some() {
                    self.stop_process(task, "it panicked and cannot be made anew");
                }
                None
            }
        }
    }

    /// Handles a panic. Returns the pause before the next run, or `None` if there is none.
    fn after(&self, task: Task, panic: &(dyn Any + Send), budget: &mut Budget) -> Option<Duration> {
        self.metrics[task as usize].panics.inc();
        let text = panic_text(panic);
        match task.policy() {
            Policy::Restart => {
                let pause = budget.next(Instant::now());
                if pause.is_none() {
                    self.stop_process(task, &format!("it panicked too often; the last time: {text}"));
                }
                tracing::error!(task = task.name(), panic = text, "a task panicked and is restarted");
                pause
            }
            Policy::RestartAlways => {
                let pause = budget.next(Instant::now()).unwrap_or(PAUSE_MAX);
                tracing::error!(task = task.name(), panic = text, "a task panicked and is restarted");
                Some(pause)
            }
            Policy::StopProcess => self.stop_process(task, &format!("it panicked: {text}")),
            Policy::End => {
                tracing::error!(task = task.name(), panic = text, "a task panicked and has ended");
                None
            }
            // Such tasks run inside code that handles their panic; alone nothing would handle it.
            Policy::FailStore | Policy::Actor => self.stop_process(task, &format!("it panicked on its own: {text}")),
        }
    }
}

/// Polls a future until it is ready or panics.
async fn caught<T>(task: Task, future: impl Future<Output = T>) -> Result<T, Box<dyn Any + Send>> {
    let mut started = false;
    let mut future = pin!(future);
    std::future::poll_fn(|context| {
        let poll = || {
            if !std::mem::replace(&mut started, true) {
                fault(task);
            }
            future.as_mut().poll(context)
        };
        match catch_unwind(AssertUnwindSafe(poll)) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(done)) => Poll::Ready(Ok(done)),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    })
    .await
}

/// The text of a panic.
pub fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no text)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_restarts_of_a_minute_are_bounded_and_further_apart_each_time() {
        let mut budget = Budget::new();
        let now = budget.since;
        let pauses: Vec<Duration> = std::iter::from_fn(|| budget.next(now)).collect();
        assert_eq!(pauses.len(), RESTARTS_MAX as usize);
        assert!(pauses.is_sorted() && pauses[0] == PAUSE_FIRST && *pauses.last().unwrap() <= PAUSE_MAX);
        assert_eq!(budget.next(now + WINDOW), None);
        assert_eq!(budget.next(now + WINDOW * 2), Some(PAUSE_FIRST), "a new window");
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<&str> = Task::ALL.iter().map(|task| task.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Task::ALL.len());
    }
}
