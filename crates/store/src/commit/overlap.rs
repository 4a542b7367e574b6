//! Which commits may run at the same time.

use std::time::Duration;

/// The commits that run at once, at most: with four, creates were no faster than with three (benches/README.md).
pub(super) const COMMITS_MAX: usize = 3;

/// Commits overlap if the disk takes at least this long for each. Below, those who come meanwhile soon share the next one, and sharing costs less
/// than another commit.
const SLOW: Duration = Duration::from_millis(2);

/// The shortest of so many commits is taken for the disk's time: others waited for a processor, too.
const SAMPLES: usize = 8;

/// How long the last commits took.
#[derive(Debug, Default)]
pub(super) struct Pace {
    last: [Duration; SAMPLES],
    next: usize,
}

impl Pace {
    pub(super) fn note(&mut self, took: Duration) {
        self.last[self.next] = took;
        self.next = (self.next + 1) % SAMPLES;
    }

    /// The time that the disk takes for a commit. Zero until there were enough.
    fn disk(&self) -> Duration {
        self.last.into_iter().min().unwrap_or_default()
    }

    /// How long after a commit has begun the next one may begin beside it; `None` if it has to wait for the end.
    pub(super) fn apart(&self) -> Option<Duration> {
        let disk = self.disk();
        (disk >= SLOW).then(|| disk / COMMITS_MAX as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(millis: &[u64]) -> Pace {
        let mut pace = Pace::default();
        millis.iter().for_each(|millis| pace.note(Duration::from_millis(*millis)));
        pace
    }

    #[test]
    fn commits_of_a_slow_disk_overlap_evenly() {
        assert_eq!(pace(&[9, 10, 9, 11, 9, 9, 12, 9]).apart(), Some(Duration::from_millis(3)));
    }

    #[test]
    fn a_fast_disk_that_is_kept_from_the_processor_now_and_then_is_not_slow() {
        assert_eq!(pace(&[30, 9, 8, 1, 8, 20, 12, 8]).apart(), None);
    }

    #[test]
    fn nothing_overlaps_before_there_is_experience_with_the_disk_and_old_commits_are_forgotten() {
        assert_eq!(pace(&[8; 7]).apart(), None);
        assert_eq!(pace(&[1, 9, 9, 9, 9, 9, 9, 9, 9]).apart(), Some(Duration::from_millis(3)));
    }
}
