//! What the catalog has of one shard, and what has to be done about it. Decisions only: no clock, no disk.

/// What the catalog has of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The catalog has not been opened since: what it has is not known.
    Unknown,
    /// The shard has to be read from its beginning.
    Waits,
    /// It is being read.
    Scanned {
        /// The next part of the scan.
        next: u32,
        /// The links that were read.
        done: u64,
    },
    /// All its links were read, and what the catalog has beside them is being removed.
    Cleared {
        /// The links that were read.
        done: u64,
    },
    /// It has all changes up to an index of the shard's log, and the others are told one by one.
    Follows {
        /// The index that is noted in the catalog.
        noted: u64,
    },
    /// This node has no replica any more, and what the catalog has of it is being removed.
    Leaves,
    /// This node has no replica any more, and the catalog has nothing of it.
    Gone,
}

/// How far a shard is in its own log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LogOf {
    /// The index of the checkpoint from which its state was read. What follows was or will be told as changed.
    pub(super) opened_at: u64,
    /// The last index in its log.
    pub(super) last: u64,
}

impl Part {
    /// What follows from the position that an opened catalog has of the shard.
    pub(super) fn opened(self, position: Option<u64>, log: LogOf) -> Self {
        match (self, position) {
            // Nobody has taken changes yet: all since the checkpoint are still told. A position that the log does not reach is of another
            // log, such as that of a directory that was restored.
            (Self::Unknown, Some(position)) if (log.opened_at..=log.last).contains(&position) => {
                Self::Follows { noted: position }
            }
            // It was opened before, and changes up to `noted` were taken.
            (Self::Follows { noted }, Some(position)) if position >= noted => Self::Follows { noted: position },
            (Self::Gone, None) => Self::Gone,
            _ => Self::Waits,
        }
    }

    /// What is left when changes were taken and are lost.
    pub(super) fn lost(self) -> Self {
        match self {
            Self::Gone => Self::Gone,
            _ => Self::Waits,
        }
    }

    /// Whether the shard has to be read, or is being read.
    pub(super) fn is_incomplete(self) -> bool {
        matches!(self, Self::Waits | Self::Scanned { .. } | Self::Cleared { .. })
    }

    /// Whether the catalog has the whole shard.
    pub(super) fn is_complete(self) -> bool {
        matches!(self, Self::Follows { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: LogOf = LogOf { opened_at: 100, last: 200 };

    #[test]
    fn after_a_start_a_position_that_the_log_still_tells_of_needs_no_scan() {
        let opened = |position| Part::Unknown.opened(position, LOG);
        for position in [100, 150, 200] {
            assert_eq!(opened(Some(position)), Part::Follows { noted: position });
        }
        assert_eq!(opened(Some(99)), Part::Waits, "nobody tells what has changed between it and the checkpoint");
        assert_eq!(opened(Some(201)), Part::Waits, "the log is another one");
        assert_eq!(opened(None), Part::Waits);
    }

    #[test]
    fn a_catalog_that_is_opened_again_goes_on_unless_it_has_less_than_was_written() {
        let follows = Part::Follows { noted: 150 };
        assert_eq!(follows.opened(Some(150), LOG), follows);
        assert_eq!(follows.opened(Some(149), LOG), Part::Waits);
        assert_eq!(follows.opened(None, LOG), Part::Waits, "it began anew");
        for unfinished in [Part::Waits, Part::Scanned { next: 3, done: 9 }, Part::Cleared { done: 9 }, Part::Leaves] {
            assert_eq!(unfinished.opened(Some(150), LOG), Part::Waits);
        }
        assert_eq!(Part::Gone.opened(None, LOG), Part::Gone);
        assert_eq!(Part::Gone.opened(Some(1), LOG), Part::Waits, "it has something all the same");
    }

    #[test]
    fn a_shard_whose_changes_are_lost_is_read_again() {
        assert_eq!(Part::Follows { noted: 1 }.lost(), Part::Waits);
        assert_eq!(Part::Gone.lost(), Part::Gone);
        assert!(Part::Follows { noted: 1 }.is_complete() && !Part::Scanned { next: 0, done: 0 }.is_complete());
    }
}
