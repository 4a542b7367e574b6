//! Supervised background tasks: every task and thread of a node has a name, a policy and metrics.
//!
//! A detached task that panics ends silently, and its work with it. So no part of the product detaches a task by
//! itself: it asks [`Tasks`] to run a [`Task`], and [`Task::policy`] says what follows from a panic. [`Task::ALL`] is the one list.
//!
//! Futures that are awaited need no entry: their panic reaches the awaiting code.

mod fault;
mod priority;
mod run;
mod table;

pub use fault::fault;
pub use priority::{LOW, LOWEST, at_low_priority, lower_priority};
pub use run::{EXIT_SOFTWARE, Tasks, panic_text};
pub use table::{Policy, Task};
