//! Answers that were found a moment ago: some take longer to find than a page may. An answer is kept for a while: longer, the longer it took to find.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use waypost_protocol::UnixMs;

/// The answers that are kept.
const KEPT_MAX: usize = 16;
/// An answer is kept for so many times the time that it took to find: whoever asks all the time takes 2 % of one core.
const KEPT_FACTOR: u32 = 50;
/// And no longer than this.
const KEPT_FOR_MAX: Duration = Duration::from_secs(120);

struct Kept<K, V> {
    question: K,
    answer: V,
    at: UnixMs,
    found: Instant,
    lasts: Duration,
}

/// Answers by their questions.
pub(crate) struct Recent<K, V>(Mutex<VecDeque<Kept<K, V>>>);

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: PartialEq, V: Clone> Recent<K, V> {
    /// An answer, and when it was found.
    pub(super) fn get(&self, question: &K, now: Instant) -> Option<(V, UnixMs)> {
        let kept = self.0.lock();
        let found = kept.iter().find(|kept| kept.question == *question)?;
        (now.duration_since(found.found) < found.lasts).then(|| (found.answer.clone(), found.at))
    }

    /// Keeps an answer that was found at `found`, the wall clock being `at`, and has taken so long.
    pub(super) fn keep(&self, question: K, answer: V, (at, found): (UnixMs, Instant), took: Duration) {
        let mut kept = self.0.lock();
        kept.retain(|other| other.question != question);
        let lasts = (took * KEPT_FACTOR).min(KEPT_FOR_MAX);
        kept.push_back(Kept { question, answer, at, found, lasts });
        while kept.len() > KEPT_MAX {
            kept.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_kept_the_longer_the_longer_it_took_and_only_for_the_same_question() {
        let recent = Recent::default();
        let found = Instant::now();
        let (few, many) = (Duration::from_millis(2), Duration::from_secs(60));
        recent.keep(24, "day", (UnixMs(7), found), few);
        recent.keep(48, "days", (UnixMs(7), found), many);
        let get = |question, after| recent.get(&question, found + after);
        assert_eq!(get(24, Duration::from_millis(99)), Some(("day", UnixMs(7))));
        assert_eq!((get(24, Duration::from_millis(100)), get(25, Duration::ZERO)), (None, None));
        assert!(get(48, KEPT_FOR_MAX - few).is_some() && get(48, KEPT_FOR_MAX).is_none());
        // Another answer takes its place, and the oldest make room.
        recent.keep(48, "other", (UnixMs(8), found), many);
        assert_eq!(get(48, Duration::ZERO), Some(("other", UnixMs(8))));
        (0..KEPT_MAX).for_each(|question| recent.keep(question, "new", (UnixMs(9), found), many));
        assert!(get(48, Duration::ZERO).is_none() && get(0, Duration::ZERO).is_some());
    }
}
