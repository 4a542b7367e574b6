//! Who waits for a commit, which commits run, and who is answered when one ends.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::overlap::{COMMITS_MAX, Pace};

/// Called with the outcome of a commit.
pub(super) type Waiter = Box<dyn FnOnce(io::Result<()>) + Send>;

/// A commit that has begun: those who wrote before, and are to be answered.
struct Running {
    number: u64,
    began: Instant,
    waiters: Vec<Waiter>,
}

#[derive(Default)]
struct State {
    /// Who is to be answered by the next commit.
    waiting: Vec<Waiter>,
    /// The commits that run, the oldest first; at most `COMMITS_MAX`.
    running: VecDeque<Running>,
    /// The number of the last commit that has begun.
    begun: u64,
    /// Whether a thread is about to begin the next commit. The others are idle, or commit.
    picking: bool,
    /// Whether several writers shared the last commit.
    shared: bool,
    closed: bool,
    pace: Pace,
}

/// What the commit threads share with those who write.
///
/// A commit makes durable what was written before it began. So when one ends well, all that began before it are answered as well, and commits are
/// answered in the order in which they began.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// Wakes the thread that is about to begin a commit: somebody waits for one, or the store is closed.
    work: Condvar,
    /// Wakes the same thread: a commit has ended.
    ended: Condvar,
    /// Wakes a thread that is idle, to be the next that begins a commit.
    idle: Condvar,
    /// Held while waiters are called, so that it happens in order. Taken before `state`.
    answers: Mutex<()>,
}

/// A commit to be done.
pub(super) struct Begun {
    number: u64,
    /// Whether another commit may begin before it ends. If not, this thread begins the next one, too.
    overlaps: bool,
    /// The writers that share it.
    pub(super) waiters: usize,
}

impl Queue {
    /// Has a waiter called once everything that was written before this call is durable, or the store has failed.
    pub(super) fn push(&self, waiter: Waiter) {
        let mut state = self.state.lock();
        state.waiting.push(waiter);
        if state.waiting.len() == 1 {
            self.work.notify_one();
        }
    }

    /// Ends the threads once nobody waits any more.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.work.notify_one();
        self.idle.notify_all();
    }

    /// Waits for a commit that this thread has to do. `None` when the store is closed.
    pub(super) fn begin(&self) -> Option<Begun> {
        let mut state = self.state.lock();
        while state.picking {
            self.idle.wait(&mut state);
        }
        state.picking = true;
        while state.waiting.is_empty() {
            if state.closed {
                state.picking = false;
                self.idle.notify_all();
                return None;
            }
            self.work.wait(&mut state);
        }
        self.wait_for_a_place(&mut state);
        // Under load, those that are about to write do so first where they wait for this core, and share this commit: several times as many.
        // A lone writer waits for nobody.
        if state.shared {
            MutexGuard::unlocked(&mut state, std::thread::yield_now);
        }
        let waiters = std::mem::take(&mut state.waiting);
        let count = waiters.len();
        state.begun += 1;
        state.shared = count > 1;
        let begun = Begun { number: state.begun, overlaps: state.pace.apart().is_some(), waiters: count };
        state.running.push_back(Running { number: begun.number, began: Instant::now(), waiters });
        if begun.overlaps {
            state.picking = false;
            self.idle.notify_one();
        }
        Some(begun)
    }

    /// Waits until one more commit may run.
    fn wait_for_a_place(&self, state: &mut MutexGuard<'_, State>) {
        while let Some(youngest) = state.running.back() {
            let due = state.pace.apart().map(|apart| youngest.began + apart);
            match due {
                Some(due) if state.running.len() < COMMITS_MAX => {
                    if due <= Instant::now() {
                        return;
                    }
                    self.ended.wait_until(state, due);
                }
                _ => self.ended.wait(state),
            }
        }
    }

    /// Answers all writers that the end of a commit decides; `result` says how, when their turn has come. `took` is the disk's time.
    pub(super) fn end(&self, begun: &Begun, took: Duration, result: impl FnOnce() -> Result<(), String>) {
        let _in_order = self.answers.lock();
        let result = result();
        let mut decided = Vec::new();
        {
            let mut state = self.state.lock();
            state.pace.note(took);
            if !begun.overlaps {
                state.picking = false;
            }
            while state.running.front().is_some_and(|oldest| oldest.number <= begun.number) {
                decided.extend(state.running.pop_front());
            }
        }
        self.ended.notify_one();
        for waiter in decided.into_iter().flat_map(|running| running.waiters) {
            waiter(result.clone().map_err(io::Error::other));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    /// The time of a commit on a disk where commits overlap.
    const SLOW: Duration = Duration::from_millis(9);

    /// A queue on a disk that takes so many milliseconds for a commit.
    fn queue(millis: u64) -> Queue {
        let mut pace = Pace::default();
        (0..8).for_each(|_| pace.note(Duration::from_millis(millis)));
        Queue { state: Mutex::new(State { pace, ..State::default() }), ..Queue::default() }
    }

    /// Has the numbers from 1 on wait, and receives each with its answer.
    fn answers(queue: &Queue) -> (impl Fn(u32), Receiver<(u32, bool)>) {
        let (done, answers) = channel();
        let push = move |number| {
            let done = done.clone();
            queue.push(Box::new(move |result| done.send((number, result.is_ok())).unwrap()));
        };
        (push, answers)
    }

    #[test]
    fn a_commit_that_ends_well_answers_those_that_began_before_it_and_in_their_order() {
        let queue = queue(8);
        let (push, answers) = answers(&queue);
        push(1);
        push(2);
        let first = queue.begin().unwrap();
        push(3);
        let second = queue.begin().unwrap();
        push(4);
        queue.end(&second, SLOW, || Ok(()));
        assert_eq!(answers.try_iter().collect::<Vec<_>>(), [(1, true), (2, true), (3, true)]);
        queue.end(&first, SLOW, || Ok(()));
        assert_eq!(answers.try_iter().count(), 0, "answered twice, or before its commit");
        let third = queue.begin().unwrap();
        queue.end(&third, SLOW, || Ok(()));
        assert_eq!(answers.try_iter().collect::<Vec<_>>(), [(4, true)]);
    }

    #[test]
    fn a_commit_that_fails_answers_all_that_began_before_it_as_failed() {
        let queue = queue(8);
        let (push, answers) = answers(&queue);
        push(1);
        let first = queue.begin().unwrap();
        push(2);
        let second = queue.begin().unwrap();
        queue.end(&second, SLOW, || Err("the disk".to_owned()));
        queue.end(&first, SLOW, || Ok(()));
        assert_eq!(answers.try_iter().collect::<Vec<_>>(), [(1, false), (2, false)]);
    }

    #[test]
    fn on_a_fast_disk_no_thread_may_begin_a_commit_before_the_last_one_has_ended() {
        let queue = queue(1);
        queue.push(Box::new(drop));
        let first = queue.begin().unwrap();
        assert!(queue.state.lock().picking, "another thread may begin");
        queue.end(&first, Duration::from_millis(1), || Ok(()));
        assert!(!queue.state.lock().picking, "nobody may begin any more");
    }

    #[test]
    fn no_more_commits_run_at_once_than_there_are_threads() {
        let (queue, ended) = (queue(8), AtomicBool::new(false));
        let begin = || {
            queue.push(Box::new(drop));
            queue.begin().unwrap()
        };
        let running: Vec<Begun> = (0..COMMITS_MAX).map(|_| begin()).collect();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let further = begin();
                assert!(ended.load(Ordering::SeqCst), "one too many");
                queue.end(&further, SLOW, || Ok(()));
            });
            std::thread::sleep(Duration::from_millis(20));
            ended.store(true, Ordering::SeqCst);
            queue.end(&running[0], SLOW, || Ok(()));
        });
        running[1..].iter().for_each(|begun| queue.end(begun, SLOW, || Ok(())));
    }

    #[test]
    fn a_closed_queue_ends_its_threads_once_nobody_waits() {
        let queue = queue(8);
        let (push, answers) = answers(&queue);
        (1..=100).for_each(&push);
        queue.close();
        std::thread::scope(|scope| {
            for _ in 0..COMMITS_MAX {
                scope.spawn(|| {
                    while let Some(begun) = queue.begin() {
                        queue.end(&begun, SLOW, || Ok(()));
                    }
                });
            }
        });
        assert_eq!(answers.try_iter().collect::<Vec<_>>(), (1..=100).map(|number| (number, true)).collect::<Vec<_>>());
    }
}
